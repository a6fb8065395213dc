//! Automatic route reflectors: an annotation, since Calico's API has no field for them.

use serde::{Deserialize, Serialize};

use crate::{BgpConfiguration, Duration, Invalid};

/// The annotation on the BGPConfiguration `default` that turns automatic reflectors on: [`Reflectors`] as JSON.
pub const REFLECTORS_ANNOTATION: &str = "tortie.io/reflectors";

const ZONE: &str = "topology.kubernetes.io/zone";
const ALLOWED: &str = "JSON such as {\"above\": 100, \"upTo\": 80, \"count\": 3, \"failureDomainLabel\": \
                       \"topology.kubernetes.io/zone\", \"settle\": \"30s\", \"linger\": \"2m\"}";

/// When and how nodes of the mesh become route reflectors (RFC 4456) for the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reflectors {
    /// With more nodes than this the others peer with reflectors alone.
    pub above: u32,
    /// Up to this many nodes there are no reflectors; default four fifths of `above`. In between the mesh, if there is one,
    /// goes on, and so do reflectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u32>,
    /// How many reflectors, 1 to 32; default 3.
    #[serde(default = "three")]
    pub count: u8,
    /// They are spread over the values of this label.
    #[serde(default = "zone")]
    pub failure_domain_label: String,
    /// How long a node must have become ready, or not ready, before the election heeds it; default 30 s.
    #[serde(default = "half_a_minute")]
    pub settle: Duration,
    /// How long what other nodes may still rely upon goes on after a change; default 2 min.
    #[serde(default = "two_minutes")]
    pub linger: Duration,
}

impl Reflectors {
    /// Up to this many nodes there are no reflectors.
    pub fn up_to(&self) -> u32 {
        self.up_to.unwrap_or_else(|| self.above - self.above / 5)
    }

    fn validate(&self, out: &mut Vec<Invalid>) {
        let mut refuse = |name: &str, value: String, allowed: &str| {
            out.push(Invalid::new(format!("{}.{name}", field()), value, allowed));
        };
        if self.above == 0 {
            refuse("above", self.above.to_string(), "from 1");
        }
        if let Some(up_to) = self.up_to.filter(|up_to| *up_to > self.above) {
            refuse("upTo", up_to.to_string(), "at most the value of above");
        }
        if !(1..=32).contains(&self.count) {
            refuse("count", self.count.to_string(), "from 1 to 32");
        }
        if self.failure_domain_label.is_empty() {
            refuse("failureDomainLabel", String::new(), "the name of a label");
        }
        let hour = std::time::Duration::from_secs(3600);
        for (name, time) in [("settle", self.settle), ("linger", self.linger)] {
            if time.0 > hour {
                refuse(name, time.to_string(), "at most 1h");
            }
        }
    }
}

impl BgpConfiguration {
    /// Automatic reflectors, if they are wanted.
    pub fn reflectors(&self) -> Option<Reflectors> {
        self.read_reflectors()?.ok()
    }

    pub(crate) fn validate_reflectors(&self, out: &mut Vec<Invalid>) {
        let text = self.metadata.annotations.get(REFLECTORS_ANNOTATION).map(String::as_str).unwrap_or_default();
        match self.read_reflectors() {
            None => {}
            Some(_) if self.metadata.name != "default" => {
                let allowed = "absent but on the BGPConfiguration default: all nodes must come to the same result";
                out.push(Invalid::new(field(), text, allowed));
            }
            Some(Ok(reflectors)) => reflectors.validate(out),
            Some(Err(error)) => out.push(Invalid::new(field(), text, format!("{ALLOWED} ({error})"))),
        }
    }

    fn read_reflectors(&self) -> Option<Result<Reflectors, serde_json::Error>> {
        self.metadata.annotations.get(REFLECTORS_ANNOTATION).map(|text| serde_json::from_str(text))
    }
}

fn field() -> String {
    format!("metadata.annotations[{REFLECTORS_ANNOTATION}]")
}

const fn three() -> u8 {
    3
}

fn zone() -> String {
    ZONE.to_owned()
}

const fn half_a_minute() -> Duration {
    Duration(std::time::Duration::from_secs(30))
}

const fn two_minutes() -> Duration {
    Duration(std::time::Duration::from_secs(120))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectMeta;

    fn configuration(name: &str, annotation: &str) -> BgpConfiguration {
        let mut metadata = ObjectMeta::named(name);
        metadata.annotations.insert(REFLECTORS_ANNOTATION.to_owned(), annotation.to_owned());
        BgpConfiguration { metadata, spec: Default::default() }
    }

    fn refusals(configuration: &BgpConfiguration) -> Vec<String> {
        let mut out = Vec::new();
        configuration.validate_reflectors(&mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_threshold_is_enough_and_everything_else_has_a_default() {
        let reflectors = configuration("default", r#"{"above": 100}"#).reflectors().unwrap();
        assert_eq!((reflectors.up_to(), reflectors.count, reflectors.failure_domain_label.as_str()), (80, 3, ZONE));
        assert_eq!((reflectors.settle.0.as_secs(), reflectors.linger.0.as_secs()), (30, 120));
        let without = BgpConfiguration { metadata: ObjectMeta::named("default"), spec: Default::default() };
        assert_eq!(without.reflectors(), None);
    }

    #[test]
    fn every_field_is_read() {
        let all =
            r#"{"above": 10, "upTo": 9, "count": 2, "failureDomainLabel": "rack", "settle": "5s", "linger": "1m"}"#;
        let configuration = configuration("default", all);
        assert_eq!(refusals(&configuration), Vec::<String>::new());
        let read = configuration.reflectors().unwrap();
        assert_eq!((read.above, read.up_to(), read.count, read.failure_domain_label.as_str()), (10, 9, 2, "rack"));
        assert_eq!((read.settle.0.as_secs(), read.linger.0.as_secs()), (5, 60));
    }

    #[test]
    fn a_mistake_is_refused_with_field_value_and_what_is_allowed() {
        for (annotation, name, part) in [
            ("on", "", "JSON such as"),
            ("{}", "", "missing field `above`"),
            (r#"{"above": 5, "many": 3}"#, "", "unknown field `many`"),
            (r#"{"above": 0}"#, ".above", "from 1"),
            (r#"{"above": 5, "upTo": 6}"#, ".upTo", "at most the value of above"),
            (r#"{"above": 5, "count": 0}"#, ".count", "from 1 to 32"),
            (r#"{"above": 5, "failureDomainLabel": ""}"#, ".failureDomainLabel", "the name of a label"),
            (r#"{"above": 5, "settle": "2h"}"#, ".settle", "at most 1h"),
            (r#"{"above": 5, "linger": "2h"}"#, ".linger", "at most 1h"),
        ] {
            let refused = refusals(&configuration("default", annotation));
            let expected = format!("metadata.annotations[tortie.io/reflectors]{name}: ");
            assert!(
                refused.len() == 1 && refused[0].starts_with(&expected) && refused[0].contains(part),
                "{annotation}: {refused:?}"
            );
        }
        let elsewhere = refusals(&configuration("node.a", r#"{"above": 5}"#));
        assert!(elsewhere.len() == 1 && elsewhere[0].contains("absent but on the BGPConfiguration default"));
    }
}
