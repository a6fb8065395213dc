//! What address management must know of the cluster.

use std::collections::BTreeMap;

use ipam::View;
use resources::{IpPool, IpReservation, IpamConfiguration, Key, Kind, Resource};

/// Pools, reservations, settings, this node's labels and all namespaces' labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    node: String,
    node_labels: BTreeMap<String, String>,
    pools: BTreeMap<String, IpPool>,
    reservations: BTreeMap<String, IpReservation>,
    configuration: Option<IpamConfiguration>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    dirty: bool,
}

impl Inventory {
    /// Nothing known yet.
    pub(crate) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), dirty: true, ..Self::default() }
    }

    /// Takes a new or changed object.
    pub(crate) fn apply(&mut self, resource: &Resource) {
        let metadata = resource.metadata();
        let name = metadata.name.clone();
        match resource {
            Resource::IpPool(pool) => drop(self.pools.insert(name, (**pool).clone())),
            Resource::IpReservation(reservation) => drop(self.reservations.insert(name, (**reservation).clone())),
            Resource::IpamConfiguration(configuration) => self.configuration = Some((**configuration).clone()),
            Resource::Namespace(_) => drop(self.namespaces.insert(name, metadata.labels.clone())),
            Resource::Node(_) if name == self.node => self.node_labels.clone_from(&metadata.labels),
            _ => return,
        }
        self.dirty = true;
    }

    /// Forgets an object.
    pub(crate) fn delete(&mut self, key: &Key) {
        match key.kind {
            Kind::IpPool => drop(self.pools.remove(&key.name)),
            Kind::IpReservation => drop(self.reservations.remove(&key.name)),
            Kind::IpamConfiguration => self.configuration = None,
            Kind::Namespace => drop(self.namespaces.remove(&key.name)),
            Kind::Node if key.name == self.node => self.node_labels.clear(),
            _ => return,
        }
        self.dirty = true;
    }

    /// A copy, if anything changed since the last.
    pub(crate) fn changed(&mut self) -> Option<Self> {
        std::mem::take(&mut self.dirty).then(|| self.clone())
    }

    /// For the allocator.
    pub(crate) fn view(&self) -> View {
        View {
            node: self.node.clone(),
            node_labels: self.node_labels.clone(),
            pools: self.pools.values().cloned().collect(),
            reservations: self.reservations.values().cloned().collect(),
            configuration: self.configuration.as_ref().map(|c| c.spec.clone()).unwrap_or_default(),
        }
    }

    /// Labels of a namespace, with the one that Kubernetes gives each.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| namespace.to_owned());
        labels
    }

    /// The pools.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &IpPool> {
        self.pools.values()
    }
}
