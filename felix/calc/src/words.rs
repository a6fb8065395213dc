//! Rules in words, for people.

use std::fmt;
use std::sync::Arc;

use crate::model::{Action, Direction, Peer, Peers, Policy, Port, Ports, Rule};

/// The rules of a policy in one direction: `from pods app=web in namespace default to TCP 80, 443`.
pub(crate) fn rules(policy: &Policy, direction: Direction) -> Option<Arc<[String]>> {
    let rules = policy.rules(direction)?;
    Some(rules.iter().map(|rule| Words { rule, direction }.to_string()).collect())
}

struct Words<'a> {
    rule: &'a Rule,
    direction: Direction,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule.action {
            // What is listed is what is allowed.
            Action::Allow => {}
            Action::Deny => f.write_str("deny ")?,
        }
        f.write_str(match self.direction {
            Direction::Ingress => "from ",
            Direction::Egress => "to ",
        })?;
        match &self.rule.peers {
            Peers::Any => f.write_str("anywhere")?,
            Peers::OneOf(peers) => listed(f, peers, " or ")?,
        }
        match &self.rule.ports {
            Ports::Any => f.write_str(", any port and protocol"),
            Ports::OneOf(ports) => {
                f.write_str(", ")?;
                listed(f, ports, ", ")
            }
        }
    }
}

fn listed<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str("nothing");
    }
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { separator })?;
    }
    Ok(())
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(selector) => selector.fmt(f),
            Self::Network { network, except } if except.is_empty() => network.fmt(f),
            Self::Network { network, except } => {
                write!(f, "{network} except ")?;
                listed(f, except, " and ")
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers { protocol, first: 0, last: u16::MAX } => write!(f, "{protocol}"),
            Self::Numbers { protocol, first, last } if first == last => write!(f, "{protocol} {first}"),
            Self::Numbers { protocol, first, last } => write!(f, "{protocol} {first}-{last}"),
            Self::Named { protocol, name } => write!(f, "{protocol} port {name:?}"),
        }
    }
}
