//! What this node should be.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use nft::Ruleset;
use resources::Key;

use crate::EndpointId;

/// Everything this node should be, at one moment. Depends only on what is, never on how it came about; the generation
/// in the ruleset and the revision are the exceptions.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Raised by every change.
    pub revision: u64,
    /// Under which open connections were let through, 1 to 32767. When it is lower than before, it has come round:
    /// the generation bits of all connections must be cleared before this is applied.
    pub generation: u16,
    /// The table `inet tortie`. What has not changed since the last revision is the same allocation.
    pub ruleset: Ruleset,
    /// The routes of the agent.
    pub routes: BTreeMap<IpNetwork, DesiredRoute>,
    /// The prefixes that BGP is to announce, and why.
    pub origins: BTreeMap<IpNetwork, String>,
    /// Local endpoints, and what applies to them.
    pub endpoints: BTreeMap<EndpointId, Arc<EndpointPolicies>>,
    /// All policies, in evaluation order.
    pub policies: Vec<Arc<PolicyView>>,
    /// What is not as it should be. Sorted.
    pub conditions: Vec<Condition>,
}

/// Where a prefix goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DesiredRoute {
    /// To a local endpoint's interface.
    Endpoint {
        /// Name of the host's end.
        interface: String,
    },
    /// Nowhere: an address of an own block that no pod has.
    Blackhole,
}

/// A local endpoint, and what applies to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPolicies {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Name of the host's end.
    pub interface: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The labels in force: the Pod manifest's, else its own.
    pub labels: BTreeMap<String, String>,
    /// The policies that govern what may come in, in evaluation order. Empty: all may.
    pub ingress: Vec<Key>,
    /// The policies that govern what may go out, in evaluation order. Empty: all may.
    pub egress: Vec<Key>,
}

/// A policy as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// Which.
    pub key: Key,
    /// Its tier.
    pub tier: String,
    /// The local endpoints it selects.
    pub endpoints: Vec<EndpointId>,
    /// Its ingress rules in words; `None` when it does not govern what may come in.
    pub ingress: Option<Arc<[String]>>,
    /// Its egress rules in words; `None` when it does not govern what may go out.
    pub egress: Option<Arc<[String]>>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence that names the object, the field and the value.
    pub detail: String,
    /// What to do about it; may be empty.
    pub next: String,
}

/// How bad a condition is. Displays in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something may not do what was meant.
    Warning,
    /// Something does not work.
    Degraded,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Degraded => "degraded",
        })
    }
}
