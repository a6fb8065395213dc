//! What is done to the AS_PATH on a session.

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Options about the AS_PATH of what a peer sends and is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AsPathOptions {
    /// How often our own AS number may be in a path that it sends, 0 to 255; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_own: Option<u8>,
    /// A path must begin with the AS number of an external peer; default true. A client of a route server turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_first: Option<bool>,
    /// A path with an AS_SET is treated as withdrawn (RFC 9774); default false.
    pub reject_sets: bool,
    /// What becomes of private numbers in paths sent to an external peer; default they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_private: Option<RemovePrivate>,
    /// Another AS number than our own on this session (RFC 7705).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalAs>,
}

/// What becomes of private AS numbers (RFC 6996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RemovePrivate {
    /// They go.
    Remove,
    /// Ours stands in their place.
    Replace,
}

/// The AS number that we use towards a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LocalAs {
    /// The number. In Calico `spec.localASNumber`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// It goes in front of what the peer sends; default false.
    pub prepend_inbound: bool,
    /// Our own number goes behind it in what is sent; default false: it stands there alone.
    pub prepend_outbound: bool,
}

impl AsPathOptions {
    pub(crate) fn validate(&self, at: &dyn Fn(&str) -> String, out: &mut Vec<Invalid>) {
        if let Some(number) = self.local.and_then(|it| it.number).filter(|it| *it == 0) {
            out.push(Invalid::new(at("asPath.local.number"), number, "1 to 4294967295"));
        }
    }
}
