//! Kubernetes NetworkPolicy → model: tier `default`, order 1000, only Allow.

use resources::{IpBlock, Key, Kind, LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, PortOrName};

use crate::model::{Action, Peer, Peers, Place, Policy, Port, Ports, Rule, Tier};
use crate::selector::PodSelector;

const ORDER: u32 = 1000;

/// The policy as the model has it.
pub(crate) fn translate(policy: &NetworkPolicy) -> Policy {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or("default");
    let spec = &policy.spec;
    let rule = |peers: &[NetworkPolicyPeer], ports: &[NetworkPolicyPort]| Rule {
        action: Action::Allow,
        peers: translate_peers(namespace, peers),
        ports: translate_ports(ports),
    };
    let ingress = || spec.ingress.iter().map(|written| rule(&written.from, &written.ports)).collect();
    let egress = || spec.egress.iter().map(|written| rule(&written.to, &written.ports)).collect();
    Policy {
        place: Place {
            tier: Tier::DEFAULT,
            order: ORDER,
            key: Key::namespaced(Kind::NetworkPolicy, namespace, &policy.metadata.name),
        },
        subject: PodSelector::in_namespace(namespace, &spec.pod_selector),
        ingress: spec.isolates_ingress().then(ingress),
        egress: spec.isolates_egress().then(egress),
    }
}

fn translate_peers(namespace: &str, peers: &[NetworkPolicyPeer]) -> Peers {
    if peers.is_empty() {
        return Peers::Any;
    }
    // A peer that names nothing is refused on admission; here it is nobody, never anybody.
    Peers::OneOf(peers.iter().filter_map(|peer| translate_peer(namespace, peer)).collect())
}

fn translate_peer(namespace: &str, peer: &NetworkPolicyPeer) -> Option<Peer> {
    let everything = LabelSelector::default();
    let selector = match (&peer.namespace_selector, &peer.pod_selector) {
        (None, None) => return peer.ip_block.as_ref().map(translate_block),
        (None, Some(pods)) => PodSelector::in_namespace(namespace, pods),
        (Some(namespaces), pods) => PodSelector::in_namespaces(namespaces, pods.as_ref().unwrap_or(&everything)),
    };
    Some(Peer::Pods(selector))
}

fn translate_block(block: &IpBlock) -> Peer {
    Peer::Network { network: block.cidr.network(), except: block.except.iter().map(|hole| hole.network()).collect() }
}

fn translate_ports(ports: &[NetworkPolicyPort]) -> Ports {
    if ports.is_empty() {
        return Ports::Any;
    }
    let translated = ports.iter().map(|port| {
        let protocol = port.protocol;
        match &port.port {
            None => Port::Numbers { protocol, first: 0, last: u16::MAX },
            Some(PortOrName::Number(first)) => {
                Port::Numbers { protocol, first: *first, last: port.end_port.unwrap_or(*first) }
            }
            Some(PortOrName::Name(name)) => Port::Named { protocol, name: name.clone() },
        }
    });
    Ports::OneOf(translated.collect())
}
