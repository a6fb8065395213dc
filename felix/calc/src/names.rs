//! Names of sets and chains: the same content has the same name on every node and after every restart.

use nft::{Chain, Element, Family, Name};
use resources::Protocol;
use sha1::{Digest, Sha1};

use crate::membership::{Content, SetKey};
use crate::model::Direction;
use crate::selector::{Labels, Namespaces, Test};

/// Hexadecimal digits of a name: what people choose must not be made to collide.
const DIGITS: usize = 24;

/// Feeds parts into a hash so that no two lists of parts are the same bytes.
struct Digester(Sha1);

impl Digester {
    fn new() -> Self {
        Self(Sha1::new())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len()).0.update(bytes);
        self
    }

    fn number(&mut self, number: usize) -> &mut Self {
        self.0.update(u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
        self
    }

    fn labels(&mut self, labels: &Labels) -> &mut Self {
        self.number(labels.0.len());
        for requirement in &labels.0 {
            let (tag, values) = match &requirement.test {
                Test::In(values) => (0, Some(values)),
                Test::NotIn(values) => (1, Some(values)),
                Test::Exists => (2, None),
                Test::Absent => (3, None),
            };
            self.bytes(requirement.label.as_bytes()).number(tag).number(values.map_or(0, |values| values.len()));
            for value in values.into_iter().flatten() {
                self.bytes(value.as_bytes());
            }
        }
        self
    }

    fn finish(self, prefix: &str) -> Name {
        use std::fmt::Write as _;
        let mut name = prefix.to_owned();
        for byte in self.0.finalize().iter().take(DIGITS / 2) {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.into()
    }
}

const fn digit(family: Family) -> char {
    match family {
        Family::Ipv4 => '4',
        Family::Ipv6 => '6',
    }
}

/// `s4_…`: the addresses of a selector; `q4_…`: its named ports.
pub(crate) fn members(key: &SetKey, family: Family) -> Name {
    let mut digester = Digester::new();
    match &key.selector.namespaces {
        Namespaces::Named(name) => digester.number(0).bytes(name.as_bytes()),
        Namespaces::Labelled(labels) => digester.number(1).labels(labels),
    };
    digester.labels(&key.selector.pods);
    let kind = match &key.content {
        Content::Addresses => 's',
        Content::Port { protocol, name } => {
            digester.number(protocol_number(*protocol)).bytes(name.as_bytes());
            'q'
        }
    };
    digester.finish(&format!("{kind}{}_", digit(family)))
}

fn protocol_number(protocol: Protocol) -> usize {
    protocol.number().into()
}

/// `n4_…`: these ranges of addresses.
pub(crate) fn networks<'e>(elements: impl Iterator<Item = &'e Element>, family: Family) -> Name {
    let mut digester = Digester::new();
    for element in elements {
        digester.bytes(element.start().as_bytes()).bytes(element.end().as_bytes());
    }
    digester.finish(&format!("n{}_", digit(family)))
}

/// `gi_…`, `go_…`: a chain of these rules. A chain never changes, another takes its place: the interfaces that are led to
/// it change over one by one, each from all of the former rules to all of the new.
pub(crate) fn chain(chain: &Chain, direction: Direction) -> Name {
    let mut digester = Digester::new();
    for rule in &chain.rules {
        digester.bytes(nft::rule_text(rule).as_bytes());
    }
    digester.finish(match direction {
        Direction::Ingress => "gi_",
        Direction::Egress => "go_",
    })
}

/// As much of a text as a comment may have, 127 bytes.
pub(crate) fn comment(text: &str) -> &str {
    const MOST: usize = 127;
    let end = (0..=MOST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
