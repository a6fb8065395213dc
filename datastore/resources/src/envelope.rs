//! The outer object of a Calico manifest, in which an unknown field is refused.

use serde::{Deserialize, de::IgnoredAny};

use crate::ObjectMeta;

/// For kinds that mean nothing without a spec.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Envelope<S> {
    #[serde(default, rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(default, rename = "kind")]
    _kind: IgnoredAny,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: S,
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

/// For kinds whose fields all have defaults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound = "S: Default + Deserialize<'de>")]
pub(crate) struct DefaultEnvelope<S> {
    #[serde(default, rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(default, rename = "kind")]
    _kind: IgnoredAny,
    pub(crate) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "crate::null::default")]
    pub(crate) spec: S,
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

/// Declares a Calico kind: its metadata and its spec.
macro_rules! calico_kind {
    ($(#[$doc:meta])* $type:ident, $spec:ident, $envelope:ident, $text:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(from = $text)]
        pub struct $type {
            /// Name, labels, version.
            pub metadata: crate::ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
        }

        impl From<crate::envelope::$envelope<$spec>> for $type {
            fn from(envelope: crate::envelope::$envelope<$spec>) -> Self {
                Self { metadata: envelope.metadata, spec: envelope.spec }
            }
        }
    };
}
pub(crate) use calico_kind;
