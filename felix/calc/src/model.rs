//! Policy, whatever kind it was written as: tiers → policies → rules over a closed set of matches.
//!
//! Every kind of policy translates into this, and the renderer knows nothing else. For one endpoint and direction, the
//! first tier with a policy for it decides: the rules of the tier's policies are tried in order, the first that matches
//! has its say, else the tier's default action. An endpoint for which no tier has a policy is open in that direction.

use std::fmt;

use ipnetwork::IpNetwork;
use resources::{Key, Protocol};

use crate::selector::PodSelector;

/// Which end of a connection a policy judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Direction {
    /// Connections to the endpoint.
    Ingress,
    /// Connections from the endpoint.
    Egress,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// A tier, by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tier {
    /// Lowest first.
    pub(crate) order: u32,
    /// Decides between tiers of the same order.
    pub(crate) name: &'static str,
    /// When none of its rules matches.
    pub(crate) default_action: Action,
}

impl Tier {
    /// Where NetworkPolicy lives.
    pub(crate) const DEFAULT: Self = Self { order: 1_000_000, name: "default", default_action: Action::Deny };
}

/// The place of a policy in evaluation order; unique, and enough to find it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) tier: Tier,
    /// Within the tier, lowest first.
    pub(crate) order: u32,
    /// Decides between policies of the same order.
    pub(crate) key: Key,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) place: Place,
    /// The pods it applies to.
    pub(crate) subject: PodSelector,
    /// Its rules for what may come in; `None`: it says nothing about that direction.
    pub(crate) ingress: Option<Vec<Rule>>,
    /// Its rules for what may go out.
    pub(crate) egress: Option<Vec<Rule>>,
}

impl Policy {
    pub(crate) fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule: matches when both the peer and the port do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) peers: Peers,
    pub(crate) ports: Ports,
}

/// What a rule or the end of a tier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    /// Allowed, finally for this direction.
    Allow,
    /// Denied, finally.
    Deny,
}

/// The other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Anybody, pods and others.
    Any,
    /// Any of these; nobody when there is none.
    OneOf(Vec<Peer>),
}

/// One kind of other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The addresses of these pods.
    Pods(PodSelector),
    /// The addresses of a prefix but for its holes, whoever has them.
    Network { network: IpNetwork, except: Vec<IpNetwork> },
}

/// Protocol and destination port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ports {
    /// Any protocol, also those without ports.
    Any,
    /// Any of these; nothing when there is none.
    OneOf(Vec<Port>),
}

/// One kind of port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    /// From the first to the last, both included; 0 to 65535 is the whole protocol.
    Numbers { protocol: Protocol, first: u16, last: u16 },
    /// The port that the destination pod calls so.
    Named { protocol: Protocol, name: String },
}
