//! Things to tell a graph, and questions to ask what it says.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several test programs, each of which uses another part of it"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use calc::{CalcGraph, Config, Desired, EndpointId, LocalEndpoint, Update};
use nft::{Outcome, Packet, Ruleset, verdict};
use resources::{
    AffinityState, BlockAffinity, BlockAffinitySpec, IpPool, IpPoolSpec, IpamBlock, IpamBlockSpec, Namespace,
    NetworkPolicy, ObjectMeta, Pod, PodIp, Resource,
};

pub const NODE: &str = "node-a";
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;
pub const ICMP: u8 = 1;

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A policy; `spec` is YAML, in one line or many.
pub fn policy(namespace: &str, name: &str, spec: &str) -> Resource {
    let policy = NetworkPolicy {
        metadata: ObjectMeta::namespaced(namespace, name),
        spec: serde_saphyr::from_str(spec).unwrap_or_else(|error| panic!("{spec}: {error}")),
    };
    let policy = Resource::from(policy);
    policy.validate().unwrap_or_else(|invalid| panic!("{spec}: {invalid:?}"));
    policy
}

pub fn pod_manifest(namespace: &str, name: &str, pairs: &[(&str, &str)], addresses: &[&str]) -> Pod {
    let mut pod = Pod { metadata: ObjectMeta::namespaced(namespace, name), ..Pod::default() };
    pod.metadata.labels = labels(pairs);
    pod.status.phase = "Running".to_owned();
    pod.status.pod_ips = addresses.iter().map(|ip| PodIp { ip: (*ip).to_owned() }).collect();
    pod
}

pub fn pod(namespace: &str, name: &str, pairs: &[(&str, &str)], addresses: &[&str]) -> Resource {
    pod_manifest(namespace, name, pairs, addresses).into()
}

pub fn with_ports(mut pod: Pod, yaml: &str) -> Resource {
    let containers = serde_saphyr::from_str(&format!("[{{name: main, ports: {yaml}}}]")).unwrap();
    pod.spec.containers = containers;
    pod.into()
}

pub fn namespace(name: &str, pairs: &[(&str, &str)]) -> Resource {
    let mut metadata = ObjectMeta::named(name);
    metadata.labels = labels(pairs);
    Namespace { metadata }.into()
}

/// The endpoint of a pod: its interface is `cali` and the pod's name.
pub fn endpoint(namespace: &str, pod: &str, pairs: &[(&str, &str)], addresses: &[&str]) -> LocalEndpoint {
    LocalEndpoint {
        id: EndpointId { container_id: format!("{namespace}-{pod}"), if_name: "eth0".to_owned() },
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        interface: format!("cali{pod}"),
        addresses: addresses.iter().map(|text| address(text)).collect(),
        labels: labels(pairs),
        mac: [2, 0, 0, 0, 0, 1],
    }
}

pub fn pool(name: &str, cidr: &str, change: impl FnOnce(&mut IpPoolSpec)) -> Resource {
    let mut spec = IpPoolSpec::new(cidr.parse().unwrap());
    change(&mut spec);
    IpPool { metadata: ObjectMeta::named(name), spec }.into()
}

pub fn affinity(node: &str, cidr: &str, state: AffinityState) -> Resource {
    let name = format!("{node}-{}", cidr.replace(['.', '/', ':'], "-"));
    let spec = BlockAffinitySpec {
        state,
        node: node.to_owned(),
        affinity_type: String::new(),
        cidr: cidr.parse().unwrap(),
        deleted: false,
    };
    BlockAffinity { metadata: ObjectMeta::named(name), spec }.into()
}

pub fn block(node: Option<&str>, cidr: &str) -> Resource {
    let spec = IpamBlockSpec {
        cidr: cidr.parse().unwrap(),
        affinity: node.map(|node| format!("host:{node}")),
        affinity_claim_time: None,
        allocations: Vec::new(),
        unallocated: Vec::new(),
        attributes: Vec::new(),
        sequence_number: 0,
        sequence_number_for_allocation: BTreeMap::new(),
        deleted: false,
        strict_affinity: false,
    };
    IpamBlock { metadata: ObjectMeta::named(cidr.replace(['.', '/', ':'], "-")), spec }.into()
}

/// What is, at one moment.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub resources: Vec<Resource>,
    pub endpoints: Vec<LocalEndpoint>,
}

impl State {
    pub fn with(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        self.resources.extend(resources);
        self
    }

    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = LocalEndpoint>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }

    pub fn updates(&self) -> Vec<Update> {
        let resources = self.resources.iter().cloned().map(Update::Resource);
        resources.chain(self.endpoints.iter().cloned().map(Update::Endpoint)).collect()
    }

    /// What a graph says that was told this and nothing else.
    pub fn desired(&self) -> Arc<Desired> {
        let mut graph = CalcGraph::new(Config::new(NODE));
        self.updates().into_iter().for_each(|update| graph.on_update(update));
        graph.on_update(Update::InSync);
        graph.flush().unwrap()
    }
}

/// Tells a graph what it takes to get from one state to another.
pub fn change(graph: &mut CalcGraph, from: &State, to: &State) {
    for old in &from.resources {
        if !to.resources.iter().any(|new| new.key() == old.key()) {
            graph.on_update(Update::Deleted(old.key()));
        }
    }
    for old in &from.endpoints {
        if !to.endpoints.iter().any(|new| new.id == old.id) {
            graph.on_update(Update::EndpointGone(old.id.clone()));
        }
    }
    for update in to.updates() {
        let is_known = match &update {
            Update::Resource(resource) => from.resources.contains(resource),
            Update::Endpoint(endpoint) => from.endpoints.contains(endpoint),
            _ => false,
        };
        if !is_known {
            graph.on_update(update);
        }
    }
}

/// The ruleset without its generation, as text.
pub fn text(desired: &Desired) -> String {
    let mark = u32::from(desired.generation) << 16;
    nft::text(&desired.ruleset)
        .replace(&format!("0x{mark:08x}"), "GENERATION")
        .replace(&format!("0x{:08x}", mark | 0xffff), "OTHERS")
}

/// The interface of an address: that of the endpoint that has it, else the uplink.
pub fn interface(desired: &Desired, address: IpAddr) -> String {
    let endpoint = desired.endpoints.values().find(|endpoint| endpoint.addresses.contains(&address));
    endpoint.map_or_else(|| "eth0".to_owned(), |endpoint| endpoint.interface.clone())
}

pub fn packet(desired: &Desired, source: &str, destination: &str, protocol: u8, port: u16) -> Packet {
    let (source, destination) = (address(source), address(destination));
    Packet::new(source, destination, protocol)
        .with_ports(40_000, port)
        .with_interfaces(Some(&interface(desired, source)), Some(&interface(desired, destination)))
}

pub fn passes(ruleset: &Ruleset, packet: &Packet) -> bool {
    verdict(ruleset, packet).outcome == Outcome::Accepted
}

/// Whether a new connection gets through this node.
pub fn connects(desired: &Desired, source: &str, destination: &str, protocol: u8, port: u16) -> bool {
    passes(&desired.ruleset, &packet(desired, source, destination, protocol, port))
}
