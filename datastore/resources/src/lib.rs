//! Kubernetes and Calico resources as Rust values: defaults, validation, selectors.
//!
//! Every kind is a struct with `metadata` and `spec`, in the field names of its API. Decoding applies the API's defaults.
//! The Calico kinds refuse a field they do not know; the Kubernetes kinds ignore it, because only what tortie uses is here.
//! What decodes may still be wrong: [`Resource::validate`] says what, with the field's path, its value and what is allowed.
//! What is right may still not be acted upon: [`Resource::unsupported`] lists those fields by name.

mod as_number;
mod as_path_options;
mod bfd;
mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod calico_node_status;
mod community;
mod drain;
mod duration;
mod envelope;
mod felix_configuration;
mod felix_fields;
mod header;
mod invalid;
mod ip_pool;
mod ipam;
mod key;
mod label_selector;
mod log_severity;
mod long_lived_restart;
mod metadata;
mod namespace;
mod network;
mod network_policy;
pub mod node;
mod null;
mod peer_options;
mod pod;
mod ports;
mod reflectors;
mod resource;
mod role;
mod secret;
pub mod selector;
pub mod service;
mod timestamp;

pub use as_number::AsNumber;
pub use as_path_options::{AsPathOptions, LocalAs, RemovePrivate};
pub use bfd::Bfd;
pub use bgp_configuration::{
    BgpConfiguration, BgpConfigurationSpec, BgpPassword, BindMode, CidrBlock, NamedCommunity, PrefixAdvertisement,
    SecretKeyRef, Switch,
};
pub use bgp_filter::{
    AddCommunity, BgpFilter, BgpFilterRule, BgpFilterSpec, CommunityMatch, FilterAction, FilterOperation,
    MatchOperator, PeerType, PrefixLengthRange, PrependAsPath, RouteSource, SetPriority,
};
pub use bgp_peer::{BgpPeer, BgpPeerSpec, NextHopMode, PeerAddress, ReversePeering, SourceAddress};
pub use calico_node_status::{
    AgentReport, CalicoNodeStatus, CalicoNodeStatusSpec, DaemonReport, LearnedFrom, NodeReport, NodeStatusClass,
    PeerOrigin, PeerReport, RouteReport, RoutesReport, SessionsReport,
};
pub use community::Community;
pub use drain::DRAIN_ANNOTATION;
pub use duration::Duration;
pub use felix_configuration::{
    DenyAction, EndpointToHostAction, FelixConfiguration, FelixConfigurationSpec, NatOutgoingExclusions, ProtocolPort,
};
pub use header::{Recognition, recognize};
pub use invalid::{Invalid, Unsupported};
pub use ip_pool::{AllowedUse, AssignmentMode, EncapsulationMode, IpPool, IpPoolSpec};
pub use ipam::{
    AffinityState, AllocationAttribute, BlockAffinity, BlockAffinitySpec, IpReservation, IpReservationSpec, IpamBlock,
    IpamBlockSpec, IpamConfiguration, IpamConfigurationSpec, IpamHandle, IpamHandleSpec,
};
pub use key::{Key, Kind};
pub use label_selector::{LabelSelector, LabelSelectorRequirement, Operator};
pub use log_severity::{LogSeverity, LogSeverityError};
pub use long_lived_restart::{LongLivedFamily, LongLivedRestart};
pub use metadata::ObjectMeta;
pub use namespace::Namespace;
pub use network::Cidr;
pub use network_policy::{
    EgressRule, IngressRule, IpBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    PolicyType,
};
pub use node::{Node, NodeSpec, NodeStatus};
pub use peer_options::{
    AddPath, AddressFamily, GracefulRestart, LimitAction, MaxPrefixes, NextHop, PEER_ANNOTATION, PeerOptions, Shutdown,
};
pub use pod::{Container, ContainerPort, Pod, PodIp, PodSpec, PodStatus};
pub use ports::{PortOrName, PortRange, Protocol};
pub use reflectors::{REFLECTORS_ANNOTATION, Reflectors};
pub use resource::{Object, Resource};
pub use role::Role;
pub use secret::{Secret, SecretBytes};
pub use selector::{Selector, SelectorError};
pub use service::{EndpointSlice, Service};
pub use timestamp::Timestamp;
