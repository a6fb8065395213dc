//! What a manifest says it is.

use crate::Kind;

/// What to do with a manifest of some `apiVersion` and `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// It is of a kind that tortie uses.
    Kind(Kind),
    /// It holds other objects in `items`; of the one kind it is named after, those that name none.
    List(Option<Kind>),
    /// tortie does not use the kind.
    Ignored,
}

/// Tells what a manifest is from its `apiVersion` and `kind`.
pub fn recognize(api_version: &str, kind: &str) -> Recognition {
    if let Some(kind) = Kind::of(api_version, kind) {
        return Recognition::Kind(kind);
    }
    match kind.strip_suffix("List") {
        Some("") if api_version == "v1" => Recognition::List(None),
        Some(element) => {
            Kind::of(api_version, element).map_or(Recognition::Ignored, |kind| Recognition::List(Some(kind)))
        }
        None => Recognition::Ignored,
    }
}
