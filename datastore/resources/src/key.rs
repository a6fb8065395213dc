//! Which object: kind, namespace, name.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $api:ident $scope:ident,)*) => {
        /// A kind of resource that tortie reads or writes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in order.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name in the `kind` field.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The `apiVersion` that tortie writes.
            pub fn api_version(self) -> &'static str {
                match self { $(Self::$kind => $api,)* }
            }

            /// Whether objects of the kind live in a namespace.
            pub fn is_namespaced(self) -> bool {
                match self { $(Self::$kind => $scope,)* }
            }
        }
    };
}

const CORE: &str = "v1";
const DISCOVERY: &str = "discovery.k8s.io/v1";
const NETWORKING: &str = "networking.k8s.io/v1";
const CALICO: &str = "projectcalico.org/v3";
const CALICO_CRD: &str = "crd.projectcalico.org/v1";
const CLUSTER: bool = false;
const NAMESPACED: bool = true;

kinds! {
    /// Kubernetes Node, with Calico's node data as annotations.
    Node "Node" CORE CLUSTER,
    /// Kubernetes Namespace.
    Namespace "Namespace" CORE CLUSTER,
    /// Kubernetes Pod.
    Pod "Pod" CORE NAMESPACED,
    /// Kubernetes Service.
    Service "Service" CORE NAMESPACED,
    /// Kubernetes EndpointSlice (discovery.k8s.io).
    EndpointSlice "EndpointSlice" DISCOVERY NAMESPACED,
    /// Kubernetes NetworkPolicy (networking.k8s.io).
    NetworkPolicy "NetworkPolicy" NETWORKING NAMESPACED,
    /// Kubernetes Secret.
    Secret "Secret" CORE NAMESPACED,
    /// Calico IPPool.
    IpPool "IPPool" CALICO CLUSTER,
    /// Calico IPReservation.
    IpReservation "IPReservation" CALICO CLUSTER,
    /// Calico IPAMConfiguration (`IPAMConfig` in the older group).
    IpamConfiguration "IPAMConfiguration" CALICO CLUSTER,
    /// Calico BlockAffinity.
    BlockAffinity "BlockAffinity" CALICO CLUSTER,
    /// Calico IPAMBlock.
    IpamBlock "IPAMBlock" CALICO CLUSTER,
    /// Calico IPAMHandle.
    IpamHandle "IPAMHandle" CALICO CLUSTER,
    /// Calico BGPConfiguration.
    BgpConfiguration "BGPConfiguration" CALICO CLUSTER,
    /// Calico BGPPeer.
    BgpPeer "BGPPeer" CALICO CLUSTER,
    /// Calico BGPFilter.
    BgpFilter "BGPFilter" CALICO CLUSTER,
    /// Calico CalicoNodeStatus.
    CalicoNodeStatus "CalicoNodeStatus" CALICO CLUSTER,
    /// Calico FelixConfiguration.
    FelixConfiguration "FelixConfiguration" CALICO CLUSTER,
}

impl Kind {
    /// The kind that a manifest's `apiVersion` and `kind` name; none if tortie does not use it. Both groups in which
    /// Calico stores its kinds are known.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let kind = match (api_version, kind) {
            (CALICO_CRD, "IPAMConfig") => "IPAMConfiguration",
            _ => kind,
        };
        let api_version = if api_version == CALICO_CRD { CALICO } else { api_version };
        Self::ALL.iter().copied().find(|k| k.name() == kind && k.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names one object. Displays as `NetworkPolicy default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; absent for kinds that have none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Key of a cluster-wide object.
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Key of an object in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
