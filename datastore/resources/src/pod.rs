//! Kubernetes Pod, as far as networking sees it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ObjectMeta, Protocol, null};

/// A Kubernetes Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Name, labels, version.
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default, deserialize_with = "null::default")]
    pub spec: PodSpec,
    /// What is.
    #[serde(default, deserialize_with = "null::default")]
    pub status: PodStatus,
}

/// What is wanted of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node it runs on; empty while it is not scheduled.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// Shares the node's network: such a pod is never selected by a policy and never a peer.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub host_network: bool,
    /// Its service account; empty means `default`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Its containers.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// Containers that run before (or, with a restart policy of their own, beside) the others. Their ports count too.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
}

/// A container: its ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The ports it names.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
}

/// A port that a container declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// The name policies may use; empty if it has none.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The port in the pod's namespace.
    pub container_port: u16,
    /// Its protocol.
    #[serde(default, deserialize_with = "null::default")]
    pub protocol: Protocol,
}

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// Its first address, where `podIPs` is absent.
    #[serde(default, rename = "podIP", deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub pod_ip: String,
    /// Its addresses, at most one per family.
    #[serde(default, rename = "podIPs", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<PodIp>,
}

/// One address of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodIp {
    /// The address.
    #[serde(default, deserialize_with = "null::default")]
    pub ip: String,
}

impl Pod {
    /// The addresses in its status. A finished pod has none: its address may already be another pod's.
    pub fn addresses(&self) -> Vec<IpAddr> {
        if matches!(self.status.phase.as_str(), "Succeeded" | "Failed") {
            return Vec::new();
        }
        let listed = self.status.pod_ips.iter().map(|ip| ip.ip.as_str());
        let single = std::iter::once(self.status.pod_ip.as_str()).filter(|_| self.status.pod_ips.is_empty());
        listed.chain(single).filter_map(|text| text.parse().ok()).collect()
    }

    /// The ports that its containers and init containers declare.
    pub fn ports(&self) -> impl Iterator<Item = &ContainerPort> {
        self.spec.containers.iter().chain(&self.spec.init_containers).flat_map(|container| &container.ports)
    }

    /// Its service account, `default` unless named.
    pub fn service_account(&self) -> &str {
        if self.spec.service_account_name.is_empty() { "default" } else { &self.spec.service_account_name }
    }
}
