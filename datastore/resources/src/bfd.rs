//! BFD with a peer (RFC 5880).

use serde::{Deserialize, Serialize};

use crate::{Duration, Invalid};

/// How a peer is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bfd {
    /// Shortest interval between packets of ours; 10 ms to 60 s, default 300 ms.
    #[serde(default = "default_interval")]
    pub min_interval: Duration,
    /// Shortest interval between packets of the peer; 10 ms to 60 s, default `min_interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_receive: Option<Duration>,
    /// How many packets in a row the other side must miss; 1 to 255, default 3.
    #[serde(default = "default_multiplier")]
    pub multiplier: u8,
    /// The peer may be more than one hop away (RFC 5883); both sides must say the same.
    #[serde(default)]
    pub multihop: bool,
    /// With `multihop`: packets that arrive with a lower TTL are dropped; 1 to 255, default 1.
    #[serde(default, rename = "minTTL", skip_serializing_if = "Option::is_none")]
    pub min_ttl: Option<u8>,
    /// BGP is not Established before BFD is up, if the peer wants it so too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

impl Default for Bfd {
    fn default() -> Self {
        let (min_interval, multiplier) = (default_interval(), default_multiplier());
        Self { min_interval, min_receive: None, multiplier, multihop: false, min_ttl: None, strict: false }
    }
}

impl Bfd {
    /// Shortest interval between packets of the peer.
    pub fn min_receive(&self) -> Duration {
        self.min_receive.unwrap_or(self.min_interval)
    }

    /// Finds what is out of range; `field` is the path of the whole.
    pub fn validate(&self, field: &str, out: &mut Vec<Invalid>) {
        let range = std::time::Duration::from_millis(10)..=std::time::Duration::from_secs(60);
        for (name, interval) in [("minInterval", Some(self.min_interval)), ("minReceive", self.min_receive)] {
            if let Some(interval) = interval.filter(|it| !range.contains(&it.0)) {
                out.push(Invalid::new(format!("{field}.{name}"), interval, "from 10ms to 60s"));
            }
        }
        if self.multiplier == 0 {
            out.push(Invalid::new(format!("{field}.multiplier"), 0, "from 1 to 255"));
        }
        match self.min_ttl {
            Some(0) => out.push(Invalid::new(format!("{field}.minTTL"), 0, "from 1 to 255")),
            Some(ttl) if !self.multihop => {
                let allowed = "absent without multihop: on a single hop it is always 255";
                out.push(Invalid::new(format!("{field}.minTTL"), ttl, allowed));
            }
            _ => {}
        }
    }
}

const fn default_interval() -> Duration {
    Duration(std::time::Duration::from_millis(300))
}

const fn default_multiplier() -> u8 {
    3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Bfd {
        serde_json::from_str(text).unwrap()
    }

    fn refusals(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        read(text).validate("bfd", &mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_empty_object_is_the_defaults() {
        assert_eq!(read("{}"), Bfd::default());
        assert_eq!(Bfd::default().min_receive(), default_interval());
    }

    #[test]
    fn every_field_is_read() {
        let all = r#"{"minInterval": "100ms", "minReceive": "50ms", "multiplier": 5, "multihop": true, "minTTL": 250}"#;
        let bfd = read(all);
        assert_eq!((bfd.min_interval.to_string(), bfd.min_receive().to_string()), ("0.1s".into(), "0.05s".into()));
        assert_eq!((bfd.multiplier, bfd.multihop, bfd.min_ttl), (5, true, Some(250)));
        assert_eq!(refusals(all), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_is_refused_with_field_value_and_what_is_allowed() {
        assert!(serde_json::from_str::<Bfd>(r#"{"interval": "1s"}"#).is_err());
        for (text, field, part) in [
            (r#"{"minInterval": "1ms"}"#, "bfd.minInterval", "from 10ms to 60s"),
            (r#"{"minReceive": "61s"}"#, "bfd.minReceive", "from 10ms to 60s"),
            (r#"{"multiplier": 0}"#, "bfd.multiplier", "from 1 to 255"),
            (r#"{"minTTL": 250}"#, "bfd.minTTL", "absent without multihop"),
            (r#"{"multihop": true, "minTTL": 0}"#, "bfd.minTTL", "from 1 to 255"),
        ] {
            let refused = refusals(text);
            assert!(
                refused.len() == 1 && refused[0].starts_with(&format!("{field}: ")) && refused[0].contains(part),
                "{text}: {refused:?}"
            );
        }
    }
}
