//! Calico BGPConfiguration.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{AsNumber, Cidr, Community, Duration, Invalid, LogSeverity, Unsupported, envelope::calico_kind, null};

calico_kind! {
    /// BGP settings: `default` for the cluster, `node.NAME` for what differs on a node.
    BgpConfiguration, BgpConfigurationSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<BgpConfigurationSpec>"
}

/// BGP settings. What is absent has the default of the accessor of the same name, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BgpConfigurationSpec {
    /// What bgpd logs, where the node's file does not say it; absent means what the daemon starts with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_severity_screen: Option<LogSeverity>,
    /// Every node peers with every other; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// AS number of nodes that have none of their own; default 64512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_number: Option<AsNumber>,
    /// Prefixes of load balancer addresses to announce.
    #[serde(
        default,
        rename = "serviceLoadBalancerIPs",
        deserialize_with = "null::default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_load_balancer_ips: Vec<CidrBlock>,
    /// Prefixes of external addresses of services to announce.
    #[serde(
        default,
        rename = "serviceExternalIPs",
        deserialize_with = "null::default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_external_ips: Vec<CidrBlock>,
    /// Prefixes of cluster addresses of services to announce.
    #[serde(
        default,
        rename = "serviceClusterIPs",
        deserialize_with = "null::default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_cluster_ips: Vec<CidrBlock>,
    /// Load balancer addresses are announced as the whole prefix; default Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_aggregation: Option<Switch>,
    /// Names for community values.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<NamedCommunity>,
    /// Communities per prefix.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
    /// TCP port to listen on; default 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// TCP MD5 key of mesh peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_mesh_password: Option<BgpPassword>,
    /// Graceful restart time of mesh peers; default 120 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_mesh_max_restart_time: Option<Duration>,
    /// The addresses to listen on; default None, which means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_mode: Option<BindMode>,
    /// Interfaces whose prefixes are not announced. None ever is.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ignored_interfaces: Vec<String>,
    /// IPv4 address under which local workloads find their node.
    #[serde(default, rename = "localWorkloadPeeringIPV4", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ipv4: Option<Ipv4Addr>,
    /// IPv6 address under which local workloads find their node.
    #[serde(default, rename = "localWorkloadPeeringIPV6", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ipv6: Option<Ipv6Addr>,
    /// Which of Calico's daemons installs routes to other nodes' pods. Only bgpd does it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_cluster_routes: Option<String>,
    /// Metric of IPv4 routes; default 1024.
    #[serde(default, rename = "ipv4NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    pub ipv4_normal_route_priority: Option<u32>,
    /// Metric of IPv6 routes; default 1024.
    #[serde(default, rename = "ipv6NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    pub ipv6_normal_route_priority: Option<u32>,
}

/// A prefix in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CidrBlock {
    /// The prefix.
    pub cidr: Cidr,
}

/// Enabled or Disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Switch {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

impl Switch {
    /// Whether it is on.
    pub fn is_enabled(self) -> bool {
        self == Self::Enabled
    }
}

/// A community with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCommunity {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Community,
}

/// Communities that routes within a prefix get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixAdvertisement {
    /// The prefix.
    pub cidr: Cidr,
    /// Values, or names from `communities`.
    #[serde(default, deserialize_with = "null::default")]
    pub communities: Vec<String>,
}

/// Where a TCP MD5 key is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BgpPassword {
    /// The secret that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// An entry of a Kubernetes Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The secret's name.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The entry.
    pub key: String,
    /// The secret need not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// The addresses to listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BindMode {
    /// All.
    #[default]
    None,
    /// The node's own.
    NodeIP,
}

impl BgpConfigurationSpec {
    /// Whether every node peers with every other.
    pub fn node_to_node_mesh_enabled(&self) -> bool {
        self.node_to_node_mesh_enabled.unwrap_or(true)
    }

    /// AS number of nodes that have none of their own.
    pub fn as_number(&self) -> u32 {
        self.as_number.map_or(64512, |number| number.0)
    }

    /// TCP port to listen on.
    pub fn listen_port(&self) -> u16 {
        self.listen_port.unwrap_or(179)
    }

    /// Metric of IPv4 routes.
    pub fn ipv4_normal_route_priority(&self) -> u32 {
        self.ipv4_normal_route_priority.unwrap_or(1024)
    }

    /// Metric of IPv6 routes.
    pub fn ipv6_normal_route_priority(&self) -> u32 {
        self.ipv6_normal_route_priority.unwrap_or(1024)
    }

    /// The communities of one advertisement, names resolved. Those that are neither value nor name are left out; an
    /// admitted object has none.
    pub fn resolve(&self, advertisement: &PrefixAdvertisement) -> Vec<Community> {
        advertisement.communities.iter().filter_map(|text| self.community(text)).collect()
    }

    /// Metric of a family's routes: IPv4 or IPv6.
    pub fn normal_route_priority(&self, ipv4: bool) -> u32 {
        if ipv4 { self.ipv4_normal_route_priority() } else { self.ipv6_normal_route_priority() }
    }

    fn community(&self, text: &str) -> Option<Community> {
        let named = || self.communities.iter().find(|named| named.name == text).map(|named| named.value);
        text.parse().ok().or_else(named)
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        if self.listen_port == Some(0) {
            out.push(Invalid::new("spec.listenPort", 0, "from 1 to 65535"));
        }
        if self.as_number == Some(AsNumber(0)) {
            out.push(Invalid::new("spec.asNumber", 0, "from 1 to 4294967295"));
        }
        for (field, priority) in [
            ("spec.ipv4NormalRoutePriority", self.ipv4_normal_route_priority),
            ("spec.ipv6NormalRoutePriority", self.ipv6_normal_route_priority),
        ] {
            validate_priority(field, priority, out);
        }
        self.validate_mesh(out);
        self.validate_communities(out);
        const ROUTES: [&str; 4] = ["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"];
        if let Some(value) = self.program_cluster_routes.as_deref().filter(|value| !ROUTES.contains(value)) {
            out.push(Invalid::new("spec.programClusterRoutes", value, format!("one of {}", ROUTES.join(", "))));
        }
    }

    fn validate_mesh(&self, out: &mut Vec<Invalid>) {
        if self.node_to_node_mesh_enabled() {
            return;
        }
        if self.node_mesh_password.is_some() {
            out.push(Invalid::new("spec.nodeMeshPassword", "set", "absent where nodeToNodeMeshEnabled is false"));
        }
        if let Some(time) = self.node_mesh_max_restart_time {
            out.push(Invalid::new("spec.nodeMeshMaxRestartTime", time, "absent where nodeToNodeMeshEnabled is false"));
        }
    }

    fn validate_communities(&self, out: &mut Vec<Invalid>) {
        if !self.communities.is_empty() && self.prefix_advertisements.is_empty() {
            let value = format!("{} communities", self.communities.len());
            out.push(Invalid::new("spec.communities", value, "used in prefixAdvertisements"));
        }
        for (field, length) in [
            ("spec.communities", self.communities.len()),
            ("spec.prefixAdvertisements", self.prefix_advertisements.len()),
        ] {
            if length > 500 {
                out.push(Invalid::new(field, format!("{length} entries"), "at most 500 entries"));
            }
        }
        for (index, advertisement) in self.prefix_advertisements.iter().enumerate() {
            let field = format!("spec.prefixAdvertisements[{index}].communities");
            if advertisement.communities.len() > 50 {
                let value = format!("{} entries", advertisement.communities.len());
                out.push(Invalid::new(&field, value, "at most 50 entries"));
            }
            for (entry, text) in advertisement.communities.iter().enumerate() {
                if self.community(text).is_none() {
                    let allowed = "\"aa:nn\", \"aa:nn:mm\", or a name from spec.communities";
                    out.push(Invalid::new(format!("{field}[{entry}]"), text, allowed));
                }
            }
        }
    }

    pub(crate) fn unsupported(&self, out: &mut Vec<Unsupported>) {
        let set = [
            (self.local_workload_peering_ipv4.is_some(), "spec.localWorkloadPeeringIPV4", "workloads do not peer"),
            (self.local_workload_peering_ipv6.is_some(), "spec.localWorkloadPeeringIPV6", "workloads do not peer"),
        ];
        out.extend(set.into_iter().filter(|(set, ..)| *set).map(|(_, field, effect)| Unsupported::new(field, effect)));
    }
}

pub(crate) fn validate_priority(field: impl Into<String>, priority: Option<u32>, out: &mut Vec<Invalid>) {
    if let Some(priority) = priority.filter(|p| !(1..=2_147_483_646).contains(p)) {
        out.push(Invalid::new(field, priority, "from 1 to 2147483646"));
    }
}
