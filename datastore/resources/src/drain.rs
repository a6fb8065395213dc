//! When a node asks BGP peers to find another way.

use std::str::FromStr;

use crate::Node;

/// Annotation of a Node: when its peers are told that it is a last resort (RFC 8326). `true`: now. `cordoned`: while the
/// node is cordoned. `false`, or without it: never.
pub const DRAIN_ANNOTATION: &str = "tortie.io/drain";

/// What the annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    Never,
    Now,
    Cordoned,
}

/// What the annotation may say.
pub(crate) const ALLOWED: &str = "true, false or cordoned";

impl FromStr for Drain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "false" => Ok(Self::Never),
            "true" => Ok(Self::Now),
            "cordoned" => Ok(Self::Cordoned),
            _ => Err(()),
        }
    }
}

impl Node {
    /// Whether its peers are to find another way now.
    pub fn is_drained(&self) -> bool {
        match self.metadata.annotations.get(DRAIN_ANNOTATION).and_then(|text| text.parse().ok()) {
            Some(Drain::Now) => true,
            Some(Drain::Cordoned) => self.spec.unschedulable,
            Some(Drain::Never) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource;

    #[test]
    fn a_cordoned_node_is_drained_only_if_it_asks_for_it() {
        for (value, drained) in [
            (None, [false, false]),
            (Some("false"), [false, false]),
            (Some("cordoned"), [false, true]),
            (Some("true"), [true, true]),
        ] {
            for (unschedulable, drained) in [false, true].into_iter().zip(drained) {
                let mut node = Node::default();
                node.metadata.annotations.extend(value.map(|it| (DRAIN_ANNOTATION.to_owned(), it.to_owned())));
                node.spec.unschedulable = unschedulable;
                assert_eq!(node.is_drained(), drained, "{value:?}, unschedulable {unschedulable}");
            }
        }
    }

    #[test]
    fn another_value_is_refused_by_name() {
        let mut node = Node::default();
        node.metadata.name = "n".to_owned();
        node.metadata.annotations.insert(DRAIN_ANNOTATION.to_owned(), "yes".to_owned());
        let invalid = Resource::from(node).validate().unwrap_err();
        let said = invalid[0].to_string();
        assert!(said.contains("tortie.io/drain") && said.contains("yes") && said.contains("cordoned"), "{said}");
    }
}
