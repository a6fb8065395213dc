//! Long-lived graceful restart with a peer (RFC 9494).

use serde::{Deserialize, Serialize};

use crate::{Duration, Invalid};

/// Greatest time that fits into its field, in seconds.
const MOST: u64 = 0xff_ffff;

/// Long-lived graceful restart. It is off for a family that is not named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LongLivedRestart {
    /// Routes of IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<LongLivedFamily>,
    /// Routes of IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<LongLivedFamily>,
    /// Long-lived stale routes go to the peer although it does not know what they are, with NO_EXPORT and LOCAL_PREF 0; for
    /// a peer of our AS only.
    pub to_all_internal: bool,
}

/// Long-lived graceful restart of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LongLivedFamily {
    /// How long the peer shall keep our routes after the restart time, at most 16777215 s; 0: it shall not. Default 1 h.
    #[serde(deserialize_with = "crate::peer_options::time", skip_serializing_if = "Option::is_none")]
    pub stale_time: Option<Duration>,
    /// How long its routes are kept at most, whatever it asks for; default as long as it asks for.
    #[serde(deserialize_with = "crate::peer_options::time", skip_serializing_if = "Option::is_none")]
    pub max_stale_time: Option<Duration>,
}

impl LongLivedRestart {
    pub(crate) fn validate(&self, at: &dyn Fn(&str) -> String, out: &mut Vec<Invalid>) {
        for (family, options) in [("ipv4", self.ipv4), ("ipv6", self.ipv6)] {
            let Some(options) = options else { continue };
            for (field, time) in [("staleTime", options.stale_time), ("maxStaleTime", options.max_stale_time)] {
                if let Some(time) = time.filter(|it| it.0.as_secs() > MOST) {
                    out.push(Invalid::new(at(&format!("longLivedRestart.{family}.{field}")), time, "0 to 16777215 s"));
                }
            }
        }
    }
}
