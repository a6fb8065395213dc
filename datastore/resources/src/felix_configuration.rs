//! Calico FelixConfiguration: what tortie acts upon, and the names of all the rest.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Cidr, Invalid, PortRange, Protocol, Unsupported, bgp_configuration::validate_priority, envelope::calico_kind,
    felix_fields,
};

calico_kind! {
    /// Settings of the node agent: `default` for the cluster, `node.NAME` for what differs on a node.
    FelixConfiguration, FelixConfigurationSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<FelixConfigurationSpec>"
}

/// Settings of the node agent. What is absent has the default of the accessor of the same name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FelixConfigurationSpec {
    /// Prefix of the names of pods' interfaces; default `cali`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// What becomes of packets from a pod to its own node that its policies allow; default Accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_endpoint_to_host_action: Option<EndpointToHostAction>,
    /// What becomes of packets that a policy denies; default Drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nftables_filter_deny_action: Option<DenyAction>,
    /// Source address of masqueraded packets; absent: that of the outgoing interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_outgoing_address: Option<IpAddr>,
    /// Destinations that are not masqueraded; default IPPoolsOnly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_outgoing_exclusions: Option<NatOutgoingExclusions>,
    /// Source ports of masqueraded packets; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_port_range: Option<PortRange>,
    /// Whether IPv6 is handled; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_support: Option<bool>,
    /// Metric of IPv4 pod routes; default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_normal_route_priority: Option<u32>,
    /// Metric of IPv6 pod routes; default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_normal_route_priority: Option<u32>,
    /// Ports on which host endpoints accept whatever a policy says; absent: [`FelixConfigurationSpec::FAILSAFE_INBOUND`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failsafe_inbound_host_ports: Option<Vec<ProtocolPort>>,
    /// Ports to which host endpoints connect whatever a policy says; absent: [`FelixConfigurationSpec::FAILSAFE_OUTBOUND`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failsafe_outbound_host_ports: Option<Vec<ProtocolPort>>,
    /// Every other field, as written.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What becomes of packets from a pod to its own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointToHostAction {
    /// They are dropped.
    #[serde(alias = "DROP")]
    Drop,
    /// They are let in.
    #[serde(alias = "ACCEPT")]
    Accept,
    /// The host's own rules decide.
    #[serde(alias = "RETURN")]
    Return,
}

/// What becomes of packets that a policy denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DenyAction {
    /// They vanish.
    Drop,
    /// Their sender is told.
    Reject,
}

/// Destinations that are not masqueraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NatOutgoingExclusions {
    /// Addresses of pools.
    IPPoolsOnly,
    /// Addresses of pools and of nodes.
    IPPoolsAndHostIPs,
}

/// A port of a protocol, and optionally the peers it is open for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolPort {
    /// The protocol; default TCP.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Limits the peers; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<Cidr>,
}

impl FelixConfigurationSpec {
    /// Inbound failsafe ports unless set.
    pub const FAILSAFE_INBOUND: &[(Protocol, u16)] = &[
        (Protocol::Tcp, 22),
        (Protocol::Udp, 68),
        (Protocol::Tcp, 179),
        (Protocol::Tcp, 2379),
        (Protocol::Tcp, 2380),
        (Protocol::Tcp, 5473),
        (Protocol::Tcp, 6443),
        (Protocol::Tcp, 6666),
        (Protocol::Tcp, 6667),
    ];
    /// Outbound failsafe ports unless set.
    pub const FAILSAFE_OUTBOUND: &[(Protocol, u16)] = &[
        (Protocol::Udp, 53),
        (Protocol::Udp, 67),
        (Protocol::Tcp, 179),
        (Protocol::Tcp, 2379),
        (Protocol::Tcp, 2380),
        (Protocol::Tcp, 5473),
        (Protocol::Tcp, 6443),
        (Protocol::Tcp, 6666),
        (Protocol::Tcp, 6667),
    ];

    /// Prefix of the names of pods' interfaces.
    pub fn interface_prefix(&self) -> &str {
        self.interface_prefix.as_deref().unwrap_or("cali")
    }

    /// What becomes of packets from a pod to its own node that its policies allow. felix alone defaults to Drop, its
    /// manifests to Accept; the latter is what people know.
    pub fn default_endpoint_to_host_action(&self) -> EndpointToHostAction {
        self.default_endpoint_to_host_action.unwrap_or(EndpointToHostAction::Accept)
    }

    /// What becomes of packets that a policy denies.
    pub fn nftables_filter_deny_action(&self) -> DenyAction {
        self.nftables_filter_deny_action.unwrap_or(DenyAction::Drop)
    }

    /// Destinations that are not masqueraded.
    pub fn nat_outgoing_exclusions(&self) -> NatOutgoingExclusions {
        self.nat_outgoing_exclusions.unwrap_or(NatOutgoingExclusions::IPPoolsOnly)
    }

    /// Whether IPv6 is handled.
    pub fn ipv6_support(&self) -> bool {
        self.ipv6_support.unwrap_or(true)
    }

    /// Metric of IPv4 pod routes.
    pub fn ipv4_normal_route_priority(&self) -> u32 {
        self.ipv4_normal_route_priority.unwrap_or(1024)
    }

    /// Metric of IPv6 pod routes.
    pub fn ipv6_normal_route_priority(&self) -> u32 {
        self.ipv6_normal_route_priority.unwrap_or(1024)
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        for (name, value) in self.other.iter().filter(|(name, _)| !felix_fields::is_known(name)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            out.push(Invalid::new(format!("spec.{name}"), value, "absent: FelixConfiguration has no such field"));
        }
        if let Some(prefix) = &self.interface_prefix {
            let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if prefix.is_empty() || prefix.len() > 4 || !prefix.chars().all(usable) {
                let allowed = "1 to 4 letters, digits, '-', '_', '.': 11 more follow, and the kernel takes 15";
                out.push(Invalid::new("spec.interfacePrefix", prefix, allowed));
            }
        }
        validate_priority("spec.ipv4NormalRoutePriority", self.ipv4_normal_route_priority, out);
        validate_priority("spec.ipv6NormalRoutePriority", self.ipv6_normal_route_priority, out);
    }

    pub(crate) fn unsupported(&self, out: &mut Vec<Unsupported>) {
        const HOST_ENDPOINTS: &str = "host endpoints are not supported";
        if self.failsafe_inbound_host_ports.is_some() {
            out.push(Unsupported::new("spec.failsafeInboundHostPorts", HOST_ENDPOINTS));
        }
        if self.failsafe_outbound_host_ports.is_some() {
            out.push(Unsupported::new("spec.failsafeOutboundHostPorts", HOST_ENDPOINTS));
        }
        let others = self.other.keys().filter(|name| felix_fields::is_known(name));
        out.extend(others.map(|name| Unsupported::new(format!("spec.{name}"), "it changes nothing")));
    }
}
