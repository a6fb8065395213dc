//! What the graph is told as it happens.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use resources::{Key, Resource};

/// One piece of news. The order of pieces about different things does not matter.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A resource is there, or is now so.
    Resource(Resource),
    /// A resource is gone.
    Deleted(Key),
    /// A local endpoint is there, or is now so.
    Endpoint(LocalEndpoint),
    /// A local endpoint is gone.
    EndpointGone(EndpointId),
    /// The datastore's first complete picture has been told. Before it nothing is computed.
    InSync,
}

/// A pod's interface on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Who it is.
    pub id: EndpointId,
    /// Kubernetes namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the host's end.
    pub interface: String,
    /// The addresses it was given.
    pub addresses: Vec<IpAddr>,
    /// Its labels where there is no Pod manifest.
    pub labels: BTreeMap<String, String>,
    /// MAC address of the container's end.
    pub mac: [u8; 6],
}

/// An interface of a container, as the container runtime names it. Displays as `CONTAINER/INTERFACE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME, the name inside the container.
    pub if_name: String,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container_id, self.if_name)
    }
}
