//! What a manifest says it is.

use crate::Kind;

/// What to do with a manifest of some `apiVersion` and `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// It is of a kind that tortie uses.
    Kind(Kind),
    /// It holds other objects in `items`.
    List,
    /// tortie does not use the kind.
    Ignored,
}

/// Tells what a manifest is from its `apiVersion` and `kind`.
pub fn recognize(api_version: &str, kind: &str) -> Recognition {
    if let Some(kind) = Kind::of(api_version, kind) {
        return Recognition::Kind(kind);
    }
    let element = kind.strip_suffix("List");
    let is_list = element
        .is_some_and(|element| element.is_empty() && api_version == "v1" || Kind::of(api_version, element).is_some());
    if is_list { Recognition::List } else { Recognition::Ignored }
}
