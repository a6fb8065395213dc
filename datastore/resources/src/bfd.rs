//! BFD with a peer (RFC 5880): an annotation, since Calico's API has no field for it.

use serde::{Deserialize, Serialize};

use crate::{BgpConfiguration, BgpPeer, Duration, Invalid, ObjectMeta};

/// The annotation that turns BFD on: a [`Bfd`] as JSON, `{}` for the defaults. On a BGPPeer it is for the sessions of that
/// object, on the BGPConfiguration `default` for the node-to-node mesh.
///
/// An annotation and no kind of its own: it comes and goes with the object it belongs to, nobody has to keep two objects
/// in step, no CRD has to be installed, and Calico, which reads the same object, leaves it alone.
pub const BFD_ANNOTATION: &str = "tortie.io/bfd";

const ALLOWED: &str = "JSON such as {\"minInterval\": \"300ms\", \"minReceive\": \"300ms\", \"multiplier\": 3, \
                       \"multihop\": true, \"minTTL\": 250}";

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
}

impl Default for Bfd {
    fn default() -> Self {
        let (min_interval, multiplier) = (default_interval(), default_multiplier());
        Self { min_interval, min_receive: None, multiplier, multihop: false, min_ttl: None }
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

impl BgpPeer {
    /// How the peer is watched by BFD, if it is.
    pub fn bfd(&self) -> Option<Bfd> {
        read(&self.metadata)?.ok()
    }
}

impl BgpConfiguration {
    /// How the nodes of the mesh watch each other by BFD, if they do.
    pub fn mesh_bfd(&self) -> Option<Bfd> {
        read(&self.metadata)?.ok()
    }

    pub(crate) fn validate_annotations(&self, out: &mut Vec<Invalid>) {
        match self.metadata.annotations.get(BFD_ANNOTATION) {
            Some(text) if self.metadata.name != "default" => {
                let allowed = "absent but on the BGPConfiguration default: both ends of the mesh must agree";
                out.push(Invalid::new(field(), text, allowed));
            }
            _ => validate(&self.metadata, out),
        }
    }
}

fn field() -> String {
    format!("metadata.annotations[{BFD_ANNOTATION}]")
}

pub(crate) fn validate(metadata: &ObjectMeta, out: &mut Vec<Invalid>) {
    match read(metadata) {
        None => {}
        Some(Ok(bfd)) => bfd.validate(&field(), out),
        Some(Err(error)) => {
            let text = metadata.annotations.get(BFD_ANNOTATION).map(String::as_str).unwrap_or_default();
            out.push(Invalid::new(field(), text, format!("{ALLOWED} ({error})")));
        }
    }
}

fn read(metadata: &ObjectMeta) -> Option<Result<Bfd, serde_json::Error>> {
    metadata.annotations.get(BFD_ANNOTATION).map(|text| serde_json::from_str(text))
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

    fn peer(annotation: &str) -> BgpPeer {
        let mut metadata = ObjectMeta::named("tor");
        metadata.annotations.insert(BFD_ANNOTATION.to_owned(), annotation.to_owned());
        BgpPeer { metadata, spec: crate::BgpPeerSpec::default() }
    }

    fn refusals(annotation: &str) -> Vec<String> {
        let mut out = Vec::new();
        validate(&peer(annotation).metadata, &mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_empty_object_turns_it_on_with_the_defaults_and_no_annotation_leaves_it_off() {
        assert_eq!(peer("{}").bfd(), Some(Bfd::default()));
        assert_eq!(Bfd::default().min_receive(), default_interval());
        let without = BgpPeer { metadata: ObjectMeta::named("tor"), spec: crate::BgpPeerSpec::default() };
        assert_eq!(without.bfd(), None);
    }

    #[test]
    fn the_mesh_has_it_from_the_default_configuration_and_from_no_other() {
        for (name, refused) in [("default", 0), ("node.a", 1)] {
            let configuration = BgpConfiguration {
                metadata: ObjectMeta { name: name.to_owned(), ..peer("{}").metadata },
                spec: Default::default(),
            };
            let mut out = Vec::new();
            configuration.validate_annotations(&mut out);
            assert_eq!(out.len(), refused, "{name}: {out:?}");
            assert_eq!(configuration.mesh_bfd(), Some(Bfd::default()));
        }
    }

    #[test]
    fn every_field_is_read() {
        let all = r#"{"minInterval": "100ms", "minReceive": "50ms", "multiplier": 5, "multihop": true, "minTTL": 250}"#;
        let bfd = peer(all).bfd().unwrap();
        assert_eq!((bfd.min_interval.to_string(), bfd.min_receive().to_string()), ("0.1s".into(), "0.05s".into()));
        assert_eq!((bfd.multiplier, bfd.multihop, bfd.min_ttl), (5, true, Some(250)));
        assert_eq!(refusals(all), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_is_refused_with_field_value_and_what_is_allowed() {
        for (annotation, field, part) in [
            ("on", "metadata.annotations[tortie.io/bfd]", "JSON such as"),
            (r#"{"interval": "1s"}"#, "metadata.annotations[tortie.io/bfd]", "unknown field `interval`"),
            (r#"{"minInterval": "1ms"}"#, "metadata.annotations[tortie.io/bfd].minInterval", "from 10ms to 60s"),
            (r#"{"minReceive": "61s"}"#, "metadata.annotations[tortie.io/bfd].minReceive", "from 10ms to 60s"),
            (r#"{"multiplier": 0}"#, "metadata.annotations[tortie.io/bfd].multiplier", "from 1 to 255"),
            (r#"{"minTTL": 250}"#, "metadata.annotations[tortie.io/bfd].minTTL", "absent without multihop"),
            (r#"{"multihop": true, "minTTL": 0}"#, "metadata.annotations[tortie.io/bfd].minTTL", "from 1 to 255"),
        ] {
            let refused = refusals(annotation);
            assert!(
                refused.len() == 1 && refused[0].starts_with(&format!("{field}: ")) && refused[0].contains(part),
                "{annotation}: {refused:?}"
            );
        }
    }
}
