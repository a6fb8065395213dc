//! Kubernetes NetworkPolicy (networking.k8s.io/v1).

use serde::{Deserialize, Serialize};

use crate::{Cidr, Invalid, LabelSelector, ObjectMeta, PortOrName, Protocol, null};

/// A Kubernetes NetworkPolicy. Unlike the other Kubernetes kinds it refuses unknown fields: a mistyped restriction that
/// is ignored would allow more than was meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Name, namespace, version.
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default, deserialize_with = "null::default")]
    pub spec: NetworkPolicySpec,
}

/// Which pods are isolated in which direction, and what they may still do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicySpec {
    /// The pods of the policy's namespace that it selects; empty selects all.
    #[serde(default, deserialize_with = "null::default")]
    pub pod_selector: LabelSelector,
    /// The directions it isolates as written; see [`NetworkPolicySpec::isolates_ingress`].
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub policy_types: Vec<PolicyType>,
    /// What may come in.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressRule>,
    /// What may go out.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
}

/// A direction, seen from the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyType {
    /// Connections to the pod.
    Ingress,
    /// Connections from the pod.
    Egress,
}

/// Connections that may come in: from any of the peers to any of the ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngressRule {
    /// Sources; empty means any.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<NetworkPolicyPeer>,
    /// Destination ports; empty means any, of any protocol.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
}

/// Connections that may go out: to any of the peers, to any of the ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Destinations; empty means any.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<NetworkPolicyPeer>,
    /// Destination ports; empty means any, of any protocol.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
}

/// Pods by labels, or addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicyPeer {
    /// Pods: of the policy's namespace, or of those that `namespace_selector` picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces: all their pods, or those that `pod_selector` picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses, pods or not. Stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A prefix with holes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpBlock {
    /// The prefix; host bits are dropped.
    pub cidr: Cidr,
    /// Prefixes within it that do not count.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Cidr>,
}

/// Ports of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicyPort {
    /// The protocol.
    #[serde(default, deserialize_with = "null::default")]
    pub protocol: Protocol,
    /// The port; absent means every port of the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortOrName>,
    /// The last port of a range that begins with `port`, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
}

impl NetworkPolicySpec {
    /// Whether the selected pods are isolated for incoming connections: unless `policyTypes` says otherwise, always.
    pub fn isolates_ingress(&self) -> bool {
        self.policy_types.is_empty() || self.policy_types.contains(&PolicyType::Ingress)
    }

    /// Whether the selected pods are isolated for outgoing connections: if `policyTypes` says so, or is absent and there
    /// is an egress rule.
    pub fn isolates_egress(&self) -> bool {
        if self.policy_types.is_empty() {
            return !self.egress.is_empty();
        }
        self.policy_types.contains(&PolicyType::Egress)
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        self.pod_selector.validate("spec.podSelector", out);
        for (index, rule) in self.ingress.iter().enumerate() {
            let field = format!("spec.ingress[{index}]");
            validate_peers(&rule.from, &format!("{field}.from"), out);
            validate_ports(&rule.ports, &format!("{field}.ports"), out);
        }
        for (index, rule) in self.egress.iter().enumerate() {
            let field = format!("spec.egress[{index}]");
            validate_peers(&rule.to, &format!("{field}.to"), out);
            validate_ports(&rule.ports, &format!("{field}.ports"), out);
        }
    }
}

fn validate_peers(peers: &[NetworkPolicyPeer], list: &str, out: &mut Vec<Invalid>) {
    for (index, peer) in peers.iter().enumerate() {
        let field = format!("{list}[{index}]");
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        match &peer.ip_block {
            None if !selects => {
                out.push(Invalid::new(&field, "{}", "a podSelector, a namespaceSelector, both, or an ipBlock"));
            }
            Some(block) if selects => {
                out.push(Invalid::new(format!("{field}.ipBlock"), block.cidr, "absent beside a selector"));
            }
            _ => {}
        }
        if let Some(selector) = &peer.pod_selector {
            selector.validate(&format!("{field}.podSelector"), out);
        }
        if let Some(selector) = &peer.namespace_selector {
            selector.validate(&format!("{field}.namespaceSelector"), out);
        }
        for (hole, except) in peer.ip_block.iter().flat_map(|block| block.except.iter().enumerate()) {
            let block = peer.ip_block.as_ref().map(|block| block.cidr);
            if block.is_some_and(|block| !block.contains(*except) || block == *except) {
                let allowed = "a longer prefix within ipBlock.cidr";
                out.push(Invalid::new(format!("{field}.ipBlock.except[{hole}]"), except, allowed));
            }
        }
    }
}

fn validate_ports(ports: &[NetworkPolicyPort], list: &str, out: &mut Vec<Invalid>) {
    for (index, port) in ports.iter().enumerate() {
        let field = format!("{list}[{index}]");
        if let Some(PortOrName::Name(name)) = &port.port
            && !is_port_name(name)
        {
            let allowed = "a number from 1 to 65535, or a port name: at most 15 lower-case letters, digits and single '-', \
                           with a letter among them";
            out.push(Invalid::new(format!("{field}.port"), name, allowed));
        }
        let Some(end) = port.end_port else { continue };
        let allowed = match &port.port {
            Some(PortOrName::Number(first)) if *first <= end => continue,
            Some(PortOrName::Number(first)) => format!("at least port, which is {first}"),
            Some(PortOrName::Name(_)) | None => "absent unless port is a number".to_owned(),
        };
        out.push(Invalid::new(format!("{field}.endPort"), end, allowed));
    }
}

/// IANA service name, RFC 6335 §5.1.
fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
