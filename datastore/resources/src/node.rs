//! Kubernetes Node, and what Calico keeps on it as annotations.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

use crate::{AsNumber, Invalid, ObjectMeta, drain, null};

/// Annotation: IPv4 address of the node with its prefix length, `10.0.0.1/24`.
pub const IPV4_ADDRESS: &str = "projectcalico.org/IPv4Address";
/// Annotation: IPv6 address of the node with its prefix length.
pub const IPV6_ADDRESS: &str = "projectcalico.org/IPv6Address";
/// Annotation: the node's AS number, where it is not the cluster's.
pub const AS_NUMBER: &str = "projectcalico.org/ASNumber";
/// Annotation: the node is a route reflector of this cluster ID (dotted quad).
pub const ROUTE_REFLECTOR_CLUSTER_ID: &str = "projectcalico.org/RouteReflectorClusterID";

/// A Kubernetes Node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Name, labels, annotations, version.
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default, deserialize_with = "null::default")]
    pub spec: NodeSpec,
    /// What is.
    #[serde(default, deserialize_with = "null::default")]
    pub status: NodeStatus,
}

/// What is wanted of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Prefixes that Kubernetes assigned for its pods.
    #[serde(default, rename = "podCIDRs", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
    /// No new pods are to be placed here.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub unschedulable: bool,
    /// What keeps pods away that do not tolerate it.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// Keeps pods away that do not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub effect: String,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its addresses and names.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
    /// Its conditions.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NodeCondition>,
}

/// One address or name of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname` …
    #[serde(rename = "type", default, deserialize_with = "null::default")]
    pub address_type: String,
    /// The address.
    #[serde(default, deserialize_with = "null::default")]
    pub address: String,
}

/// One condition of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeCondition {
    /// `Ready`, `NetworkUnavailable` …
    #[serde(rename = "type", default, deserialize_with = "null::default")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default, deserialize_with = "null::default")]
    pub status: String,
}

/// What BGP needs to know of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeBgp {
    /// Its IPv4 address with the length of the prefix it is on (32 where that is not known).
    pub ipv4: Option<Ipv4Network>,
    /// Its IPv6 address with the length of the prefix it is on (128 where that is not known).
    pub ipv6: Option<Ipv6Network>,
    /// Its AS number, where it is not the cluster's.
    pub as_number: Option<u32>,
    /// It is a route reflector of this cluster.
    pub route_reflector_cluster_id: Option<Ipv4Addr>,
}

impl Node {
    /// What BGP needs to know: Calico's annotations, and `InternalIP` of the status for a family without annotation.
    pub fn bgp(&self) -> NodeBgp {
        let internal = self.internal_addresses();
        let ipv4 = internal.iter().find_map(|a| if let IpAddr::V4(a) = a { Some(Ipv4Network::from(*a)) } else { None });
        let ipv6 = internal.iter().find_map(|a| if let IpAddr::V6(a) = a { Some(Ipv6Network::from(*a)) } else { None });
        NodeBgp {
            ipv4: self.annotation(IPV4_ADDRESS).or(ipv4),
            ipv6: self.annotation(IPV6_ADDRESS).or(ipv6),
            as_number: self.annotation::<AsNumber>(AS_NUMBER).map(|number| number.0),
            route_reflector_cluster_id: self.annotation(ROUTE_REFLECTOR_CLUSTER_ID),
        }
    }

    /// Every address in its status.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.status.addresses.iter().filter_map(|a| a.address.parse().ok()).collect()
    }

    /// Whether its condition `Ready` is `True`; none if it has no such condition.
    pub fn ready(&self) -> Option<bool> {
        self.status.conditions.iter().find(|c| c.condition_type == "Ready").map(|c| c.status == "True")
    }

    fn internal_addresses(&self) -> Vec<IpAddr> {
        let internal = self.status.addresses.iter().filter(|a| a.address_type == "InternalIP");
        internal.filter_map(|a| a.address.parse().ok()).collect()
    }

    fn annotation<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.metadata.annotations.get(name).and_then(|text| text.parse().ok())
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        self.check::<Ipv4Network>(IPV4_ADDRESS, "an IPv4 address with its prefix length", out);
        self.check::<Ipv6Network>(IPV6_ADDRESS, "an IPv6 address with its prefix length", out);
        self.check::<AsNumber>(AS_NUMBER, "an AS number", out);
        self.check::<Ipv4Addr>(ROUTE_REFLECTOR_CLUSTER_ID, "a cluster ID as a dotted quad", out);
        self.check::<drain::Drain>(drain::DRAIN_ANNOTATION, drain::ALLOWED, out);
    }

    fn check<T: std::str::FromStr>(&self, name: &str, allowed: &str, out: &mut Vec<Invalid>) {
        if let Some(text) = self.metadata.annotations.get(name).filter(|text| text.parse::<T>().is_err()) {
            out.push(Invalid::new(format!("metadata.annotations[{name}]"), text, allowed));
        }
    }
}
