//! Pods as policy sees them: manifests and local endpoints brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use resources::{Pod, Protocol};

use crate::{EndpointId, LocalEndpoint};

/// Namespace and name of a pod.
pub(crate) type PodKey = (String, String);

/// A pod; where there is no manifest, each of its local endpoints is one of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkloadId {
    pub(crate) pod: PodKey,
    pub(crate) endpoint: Option<EndpointId>,
}

/// What selectors, peers and named ports look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) ports: BTreeSet<NamedPort>,
}

/// A port that a pod gives a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedPort {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// What is kept of a Pod manifest.
#[derive(Debug)]
struct Manifest {
    node: String,
    host_network: bool,
    finished: bool,
    workload: Workload,
}

/// All manifests and local endpoints.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    manifests: BTreeMap<PodKey, Manifest>,
    endpoints: BTreeMap<EndpointId, LocalEndpoint>,
    endpoints_of: BTreeMap<PodKey, BTreeSet<EndpointId>>,
}

impl Workloads {
    /// Takes a manifest.
    pub(crate) fn set_pod(&mut self, key: PodKey, pod: &Pod) {
        let ports = pod.ports().filter(|port| !port.name.is_empty()).map(|port| NamedPort {
            name: port.name.clone(),
            protocol: port.protocol,
            port: port.container_port,
        });
        let manifest = Manifest {
            node: pod.spec.node_name.clone(),
            host_network: pod.spec.host_network,
            finished: matches!(pod.status.phase.as_str(), "Succeeded" | "Failed"),
            workload: Workload {
                labels: pod.metadata.labels.clone(),
                addresses: pod.addresses().into_iter().collect(),
                ports: ports.collect(),
            },
        };
        self.manifests.insert(key, manifest);
    }

    pub(crate) fn remove_pod(&mut self, key: &PodKey) {
        self.manifests.remove(key);
    }

    /// Takes an endpoint; returns the pods it concerns.
    pub(crate) fn set_endpoint(&mut self, endpoint: LocalEndpoint) -> Vec<PodKey> {
        let id = endpoint.id.clone();
        let pod = pod_of(&endpoint);
        let before = self.remove_endpoint(&id);
        self.endpoints_of.entry(pod.clone()).or_default().insert(id.clone());
        self.endpoints.insert(id, endpoint);
        before.into_iter().chain([pod]).collect()
    }

    /// Forgets an endpoint; returns whose it was.
    pub(crate) fn remove_endpoint(&mut self, id: &EndpointId) -> Option<PodKey> {
        let pod = pod_of(&self.endpoints.remove(id)?);
        if let Some(ids) = self.endpoints_of.get_mut(&pod) {
            ids.remove(id);
            if ids.is_empty() {
                self.endpoints_of.remove(&pod);
            }
        }
        Some(pod)
    }

    pub(crate) fn endpoints(&self) -> &BTreeMap<EndpointId, LocalEndpoint> {
        &self.endpoints
    }

    /// The local endpoints of a pod.
    pub(crate) fn endpoints_of(&self, pod: &PodKey) -> impl Iterator<Item = &EndpointId> {
        self.endpoints_of.get(pod).into_iter().flatten()
    }

    /// The labels of a local endpoint: its pod's, or its own where there is no manifest.
    pub(crate) fn labels_of<'a>(&'a self, endpoint: &'a LocalEndpoint) -> &'a BTreeMap<String, String> {
        self.manifests.get(&pod_of(endpoint)).map_or(&endpoint.labels, |manifest| &manifest.workload.labels)
    }

    /// What a pod is to policy: nothing if it shares the node's network and has no interface here.
    pub(crate) fn of_pod(&self, key: &PodKey, node: &str) -> BTreeMap<WorkloadId, Workload> {
        let endpoints: Vec<_> = self.endpoints_of(key).filter_map(|id| self.endpoints.get(id)).collect();
        let Some(manifest) = self.manifests.get(key) else {
            let own = |endpoint: &&LocalEndpoint| {
                let id = WorkloadId { pod: key.clone(), endpoint: Some(endpoint.id.clone()) };
                let addresses = endpoint.addresses.iter().copied().collect();
                (id, Workload { labels: endpoint.labels.clone(), addresses, ports: BTreeSet::new() })
            };
            return endpoints.iter().map(own).collect();
        };
        // An interface of its own shows that it does not share the node's network, whatever the manifest says.
        if manifest.host_network && endpoints.is_empty() {
            return BTreeMap::new();
        }
        let mut workload = manifest.workload.clone();
        let moved = !manifest.node.is_empty() && manifest.node != node && !workload.addresses.is_empty();
        if manifest.finished {
            workload.addresses.clear();
        } else if (!moved || manifest.host_network) && !endpoints.is_empty() {
            // What this node gave the pod is newer than its status, which may name an address that is another's by now.
            workload.addresses = endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
        }
        BTreeMap::from([(WorkloadId { pod: key.clone(), endpoint: None }, workload)])
    }
}

pub(crate) fn pod_of(endpoint: &LocalEndpoint) -> PodKey {
    (endpoint.namespace.clone(), endpoint.pod.clone())
}
