//! Who peers with whom: the node-to-node mesh, and what each BGPPeer adds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use engine::{Filters, NextHopMode, PeerConfig, PeerKind, RemoteAs};
use resources::{BgpPeer, BgpPeerSpec, Node, ReversePeering, SourceAddress, node::NodeBgp};

use super::{BGP_PORT, Cluster, filters, reflectors::recast};
use crate::{
    password::{Password, Passwords},
    peer_options,
    peer_routes::PeerRoutes,
};

/// The peers found so far. An address has one session, whoever names it first.
#[derive(Default)]
pub(super) struct Found {
    pub(super) peers: BTreeMap<String, PeerConfig>,
    addresses: BTreeSet<IpAddr>,
    pub(super) passwords: Passwords,
    pub(super) routes: PeerRoutes,
}

impl Found {
    fn add(&mut self, mut peer: PeerConfig, password: Option<&Password>, gateway: Option<IpAddr>) {
        if !self.peers.contains_key(&peer.name) && self.addresses.insert(peer.address) {
            peer.transport.md5 = password.is_some();
            self.passwords.extend(password.map(|it| (peer.address, it.clone())));
            self.routes.extend(gateway.map(|it| (peer.address, it)));
            self.peers.insert(peer.name.clone(), peer);
        }
    }
}

impl Cluster {
    /// This node's peers. BGPPeers come before the mesh and those for all nodes before those for some, so that the more
    /// deliberate word about an address is the one that counts.
    pub(super) fn peers(&self, own: &NodeBgp) -> Found {
        let mut found = Found::default();
        let (global, some): (Vec<_>, Vec<_>) =
            self.peers.values().partition(|p| p.spec.node.is_empty() && p.spec.node_selector.is_none());
        for peer in global.into_iter().chain(some) {
            self.add_bgp_peer(own, peer, &mut found);
        }
        self.add_mesh(own, &mut found);
        found
    }

    fn add_mesh(&self, own: &NodeBgp, found: &mut Found) {
        let spec = self.default_configuration().map(|c| &c.spec);
        let enabled = spec.is_none_or(|s| s.node_to_node_mesh_enabled());
        if !enabled || own.route_reflector_cluster_id.is_some() {
            return;
        }
        let password = spec.and_then(|s| s.node_mesh_password.as_ref());
        let Ok(password) = self.password(password) else { return };
        let options = self.default_configuration().map(|c| c.mesh_options()).unwrap_or_default();
        for (name, node) in &self.nodes {
            let bgp = node.bgp();
            if *name == self.node_name || bgp.route_reflector_cluster_id.is_some() {
                continue;
            }
            let Some(kind) = self.mesh_role(own, name, &bgp) else { continue };
            if let Some(peer) = self.node_peer(own, name, &bgp) {
                let mut peer = recast(peer, kind);
                if let Some(time) = spec.and_then(|s| s.node_mesh_max_restart_time) {
                    peer.graceful_restart.restart_time = time.0;
                }
                peer_options::apply(&options, &mut peer);
                found.add(peer, password.as_ref(), None);
            }
        }
    }

    fn add_bgp_peer(&self, own: &NodeBgp, peer: &BgpPeer, found: &mut Found) {
        let name = &peer.metadata.name;
        let here = self.selects(&peer.spec, &self.node_name);
        if !peer.spec.indispensable().is_empty() {
            return;
        }
        let Ok(filters) = filters::compile(&peer.spec.filters, &self.filters) else { return };
        let Ok(password) = self.password(peer.spec.password.as_ref()) else { return };
        let options = peer.options();
        if let Some(address) = peer.spec.peer_ip {
            if here {
                let mut config = self.address_peer(own, name, &peer.spec, address.address, address.port);
                config.filters = filters;
                peer_options::apply(&options, &mut config);
                found.add(config, password.as_ref(), peer.spec.reachable_by);
            }
            return;
        }
        let Some(selector) = &peer.spec.peer_selector else { return };
        let selected = |node: &Node| selector.matches(&node.metadata.labels);
        let reverse =
            peer.spec.reverse_peering == ReversePeering::Auto && self.nodes.get(&self.node_name).is_some_and(selected);
        for (other, node) in self.nodes.iter().filter(|(other, _)| **other != self.node_name) {
            let wanted = (here && selected(node)) || (reverse && self.selects(&peer.spec, other));
            if wanted && let Some(mut config) = self.node_peer(own, other, &node.bgp()) {
                adjust(&mut config, &peer.spec);
                config.filters = Filters::clone(&filters);
                peer_options::apply(&options, &mut config);
                found.add(config, password.as_ref(), None);
            }
        }
    }

    fn selects(&self, spec: &BgpPeerSpec, node: &str) -> bool {
        if !spec.node.is_empty() {
            return spec.node == node;
        }
        let Some(selector) = &spec.node_selector else { return true };
        self.nodes.get(node).is_some_and(|n| selector.matches(&n.metadata.labels))
    }

    /// A session with another node: over IPv4 when both have it, else over IPv6; it carries both families.
    fn node_peer(&self, own: &NodeBgp, name: &str, other: &NodeBgp) -> Option<PeerConfig> {
        let (local, address) = match (own.ipv4, other.ipv4, own.ipv6, other.ipv6) {
            (Some(local), Some(remote), ..) => (IpAddr::V4(local.ip()), IpAddr::V4(remote.ip())),
            (_, _, Some(local), Some(remote)) => (IpAddr::V6(local.ip()), IpAddr::V6(remote.ip())),
            _ => return None,
        };
        let (ours, theirs) = (own.route_reflector_cluster_id, other.route_reflector_cluster_id);
        let kind = match (ours, theirs) {
            (Some(ours), theirs) if theirs != Some(ours) => PeerKind::Client,
            (None, Some(_)) => PeerKind::Reflector,
            _ => PeerKind::Mesh,
        };
        let mut peer = PeerConfig::new(name, address, RemoteAs::Exactly(self.as_number(other)), kind);
        peer.port = self.listen_port(name);
        peer.local_address = Some(local);
        Some(peer)
    }

    fn address_peer(
        &self,
        own: &NodeBgp,
        name: &str,
        spec: &BgpPeerSpec,
        address: IpAddr,
        port: Option<u16>,
    ) -> PeerConfig {
        let node = self.nodes.iter().find(|(node, n)| **node != self.node_name && has_address(&n.bgp(), address));
        if let Some((node, n)) = node
            && let Some(mut peer) = self.node_peer(own, node, &n.bgp())
        {
            peer.address = address;
            peer.port = port.unwrap_or(peer.port);
            peer.local_address = own_address(own, address);
            adjust(&mut peer, spec);
            return peer;
        }
        let own_as = self.as_number(own);
        let remote_as = spec.as_number.map_or(own_as, |number| number.0);
        let mut peer = PeerConfig::new(name, address, RemoteAs::Exactly(remote_as), PeerKind::External);
        peer.port = port.unwrap_or(BGP_PORT);
        peer.local_address = own_address(own, address);
        peer.route_reflector_client = own.route_reflector_cluster_id.is_some() && remote_as == own_as;
        adjust(&mut peer, spec);
        peer
    }
}

/// What a BGPPeer says beyond whom it names.
fn adjust(peer: &mut PeerConfig, spec: &BgpPeerSpec) {
    if spec.source_address == SourceAddress::None {
        peer.local_address = None;
    }
    if let Some(number) = spec.as_number {
        peer.remote_as = RemoteAs::Exactly(number.0);
    }
    peer.local_as = spec.local_as_number.map(|number| number.0);
    if let Some(time) = spec.max_restart_time {
        peer.graceful_restart.restart_time = time.0;
    }
    peer.keepalive_time = spec.keepalive_time.map(|time| peer_options::seconds(time.0).max(1));
    peer.allow_own_as = spec.num_allowed_local_as_numbers.map_or(0, |n| u8::try_from(n).unwrap_or(u8::MAX));
    peer.transport.ttl_security = spec.ttl_security;
    peer.next_hop = match spec.next_hop_mode {
        Some(resources::NextHopMode::SelfAddress) => NextHopMode::SelfAddress,
        Some(resources::NextHopMode::Keep) => NextHopMode::Keep,
        None if spec.keep_original_next_hop => NextHopMode::Keep,
        Some(resources::NextHopMode::Auto) | None => NextHopMode::Auto,
    };
}

fn has_address(node: &NodeBgp, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => node.ipv4.is_some_and(|n| n.ip() == address),
        IpAddr::V6(address) => node.ipv6.is_some_and(|n| n.ip() == address),
    }
}

fn own_address(own: &NodeBgp, peer: IpAddr) -> Option<IpAddr> {
    match peer {
        IpAddr::V4(_) => own.ipv4.map(|n| n.ip().into()),
        IpAddr::V6(_) => own.ipv6.map(|n| n.ip().into()),
    }
}
