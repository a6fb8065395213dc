//! Kubernetes Service and EndpointSlice, as far as announcing them goes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ObjectMeta, null};

/// Label of an EndpointSlice: the Service it belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Kubernetes Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Name, labels, version.
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default, deserialize_with = "null::default")]
    pub spec: ServiceSpec,
    /// What is.
    #[serde(default, deserialize_with = "null::default")]
    pub status: ServiceStatus,
}

/// What is wanted of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP` (also when empty), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(default, rename = "type", deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// Its first cluster address, where `clusterIPs` is absent; `None` if it has none.
    #[serde(
        default,
        rename = "clusterIP",
        deserialize_with = "null::default",
        skip_serializing_if = "String::is_empty"
    )]
    pub cluster_ip: String,
    /// Its cluster addresses, at most one per family.
    #[serde(default, rename = "clusterIPs", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<String>,
    /// Addresses outside the cluster under which it is to be reached.
    #[serde(
        default,
        rename = "externalIPs",
        deserialize_with = "null::default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub external_ips: Vec<String>,
    /// Who serves what comes from outside: `Cluster` (also when empty), or only the node's own pods: `Local`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub external_traffic_policy: String,
}

/// What is known of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its load balancer.
    #[serde(default, deserialize_with = "null::default")]
    pub load_balancer: LoadBalancer,
}

/// A service's load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Where it is reached.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One address of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancerIngress {
    /// The address; empty where it has a name instead.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub ip: String,
}

/// A part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name, labels, version.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default, deserialize_with = "null::default")]
    pub address_type: String,
    /// The endpoints.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its address.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Its state.
    #[serde(default, deserialize_with = "null::default")]
    pub conditions: EndpointConditions,
    /// The node it is on.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub node_name: String,
}

/// The state of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointConditions {
    /// It takes connections; absent means that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

impl Service {
    /// Its cluster addresses; none for a headless service and one that only stands for a name.
    pub fn cluster_addresses(&self) -> Vec<IpAddr> {
        let single = std::slice::from_ref(&self.spec.cluster_ip);
        let listed = if self.spec.cluster_ips.is_empty() { single } else { &self.spec.cluster_ips };
        if self.spec.service_type == "ExternalName" { Vec::new() } else { addresses(listed) }
    }

    /// Its addresses outside the cluster.
    pub fn external_addresses(&self) -> Vec<IpAddr> {
        addresses(&self.spec.external_ips)
    }

    /// The addresses of its load balancer.
    pub fn load_balancer_addresses(&self) -> Vec<IpAddr> {
        self.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip.parse().ok()).collect()
    }

    /// What comes from outside is served by the pods of the node it comes to, or not at all.
    pub fn is_local(&self) -> bool {
        self.spec.external_traffic_policy == "Local"
    }
}

fn addresses(texts: &[String]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
