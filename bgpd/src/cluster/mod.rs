//! From resources to peers: what BGPConfiguration, BGPPeer, Node, IPPool and block affinities mean for this node's
//! speaker. No I/O: updates in, a [`Topology`] out.

mod advertising;
mod election;
mod filters;
mod guards;
mod passwords;
mod peers;
mod reflectors;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use election::{Elected, Election};
use engine::{Guards, PeerConfig, PerFamily, Prefix};
use resources::{
    BgpConfiguration, BgpFilter, BgpPeer, BlockAffinity, IpPool, Key, Kind, LogSeverity, Node, Resource, Secret,
    node::NodeBgp,
};

use crate::{advertising::Advertising, password::Passwords, peer_routes::PeerRoutes, sockets::Listen};
use peers::Found;

/// The kinds that matter here.
pub(crate) const KINDS: [Kind; 8] = [
    Kind::Node,
    Kind::BgpConfiguration,
    Kind::BgpPeer,
    Kind::BgpFilter,
    Kind::Secret,
    Kind::IpPool,
    Kind::BlockAffinity,
    Kind::IpamBlock,
];

/// What this node's speaker should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topology {
    /// The speaker itself; a change of it starts the speaker anew.
    pub(crate) identity: Identity,
    /// Cluster id of a route reflector; `None`: the BGP Identifier.
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// Its peers, by name.
    pub(crate) peers: BTreeMap<String, PeerConfig>,
    /// The passwords of those that have one.
    pub(crate) passwords: Passwords,
    /// Those of them that are reached through a gateway.
    pub(crate) peer_routes: PeerRoutes,
    /// What it never accepts.
    pub(crate) guards: Guards,
    /// How its own prefixes are announced.
    pub(crate) advertising: Advertising,
    /// Where it listens.
    pub(crate) listen: Listen,
    /// Its peers are to find another way.
    pub(crate) drain: bool,
    /// What it logs, if that is said.
    pub(crate) log: Option<LogSeverity>,
    /// What is wrong or not acted upon, one sentence each.
    pub(crate) conditions: Vec<String>,
    /// How long what other nodes may still rely upon goes on after a change.
    pub(crate) linger: Duration,
}

/// What only a new speaker can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// AS number.
    pub(crate) local_as: u32,
    /// BGP Identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Our address of each family: the next hop where the session's address is of the other.
    pub(crate) addresses: PerFamily<Option<IpAddr>>,
}

/// The resources as they are now.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    node_name: String,
    /// Where the Secrets are.
    namespace: String,
    nodes: BTreeMap<String, Node>,
    configurations: BTreeMap<String, BgpConfiguration>,
    peers: BTreeMap<String, BgpPeer>,
    filters: BTreeMap<String, BgpFilter>,
    secrets: BTreeMap<Key, Secret>,
    pools: BTreeMap<String, IpPool>,
    affinities: BTreeMap<String, BlockAffinity>,
    /// What each block lends to others.
    lent: BTreeMap<String, Vec<(Prefix, String)>>,
    election: Election,
    /// What came out of it: `None` without automatic reflectors.
    elected: Option<Elected>,
    /// As the configuration last said.
    linger: Option<Duration>,
}

impl Cluster {
    /// Nothing known yet. Secrets are looked for in one namespace.
    pub(crate) fn new(node_name: &str, namespace: &str) -> Self {
        Self { node_name: node_name.to_owned(), namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Takes a new or changed object. Kinds that do not matter are ignored.
    pub(crate) fn apply(&mut self, resource: Resource) {
        let (key, name) = (resource.key(), resource.metadata().name.clone());
        match resource {
            Resource::Node(object) => drop(self.nodes.insert(name, *object)),
            Resource::BgpConfiguration(object) => drop(self.configurations.insert(name, *object)),
            Resource::BgpPeer(object) => drop(self.peers.insert(name, *object)),
            Resource::BgpFilter(object) => drop(self.filters.insert(name, *object)),
            Resource::Secret(object) => drop(self.secrets.insert(key, *object)),
            Resource::IpPool(object) => drop(self.pools.insert(name, *object)),
            Resource::BlockAffinity(object) => drop(self.affinities.insert(name, *object)),
            Resource::IpamBlock(object) => drop(self.lent.insert(name, guards::lent(&object))),
            _ => {}
        }
    }

    /// Forgets an object.
    pub(crate) fn delete(&mut self, key: &Key) {
        match key.kind {
            Kind::Node => drop(self.nodes.remove(&key.name)),
            Kind::BgpConfiguration => drop(self.configurations.remove(&key.name)),
            Kind::BgpPeer => drop(self.peers.remove(&key.name)),
            Kind::BgpFilter => drop(self.filters.remove(&key.name)),
            Kind::Secret => drop(self.secrets.remove(key)),
            Kind::IpPool => drop(self.pools.remove(&key.name)),
            Kind::BlockAffinity => drop(self.affinities.remove(&key.name)),
            Kind::IpamBlock => drop(self.lent.remove(&key.name)),
            _ => {}
        }
    }

    /// What the speaker should be; `None` while this node has no Node resource with an address.
    pub(crate) fn topology(&self) -> Option<Topology> {
        let node = self.nodes.get(&self.node_name)?.bgp();
        if node.ipv4.is_none() && node.ipv6.is_none() {
            return None;
        }
        let identity = Identity {
            local_as: self.as_number(&node),
            router_id: node.ipv4.map_or_else(|| router_id_of_name(&self.node_name), |network| network.ip()),
            addresses: PerFamily::new(node.ipv4.map(|n| n.ip().into()), node.ipv6.map(|n| n.ip().into())),
        };
        let Found { peers, passwords, routes: peer_routes, .. } = self.peers(&node);
        Some(Topology {
            identity,
            cluster_id: node.route_reflector_cluster_id,
            peers,
            passwords,
            peer_routes,
            guards: self.guards(),
            advertising: self.advertising(),
            listen: self.listen(&node),
            drain: self.nodes.get(&self.node_name).is_some_and(Node::is_drained),
            log: self.log_severity(),
            conditions: self.conditions(),
            linger: self.linger.unwrap_or(DEFAULT_LINGER),
        })
    }

    /// Why there is no topology, for status.
    pub(crate) fn missing(&self) -> String {
        format!(
            "Node {} has no address: annotate it with projectcalico.org/IPv4Address or give it an InternalIP",
            self.node_name
        )
    }

    fn default_configuration(&self) -> Option<&BgpConfiguration> {
        self.configurations.get("default")
    }

    fn as_number(&self, node: &NodeBgp) -> u32 {
        let cluster = || self.default_configuration().map_or(DEFAULT_AS, |c| c.spec.as_number());
        node.as_number.unwrap_or_else(cluster)
    }

    fn conditions(&self) -> Vec<String> {
        let mut conditions = self.unsupported();
        conditions.extend(self.kept_down());
        conditions
    }

    /// What keeps peers down, one sentence each.
    fn kept_down(&self) -> impl Iterator<Item = String> {
        let filters = self.peers.iter().filter_map(|(name, peer)| {
            let why = filters::compile(&peer.spec.filters, &self.filters).err()?;
            Some(format!("BGPPeer {name}: spec.filters: {why}; the peer is kept down"))
        });
        self.password_conditions().into_iter().chain(filters)
    }

    fn unsupported(&self) -> Vec<String> {
        let configurations = self.configurations.iter().filter(|(name, _)| {
            name.as_str() == "default" || name.strip_prefix("node.") == Some(self.node_name.as_str())
        });
        let objects = configurations
            .map(|(_, object)| Resource::from(object.clone()))
            .chain(self.peers.values().map(|object| Resource::from(object.clone())))
            .chain(self.filters.values().map(|object| Resource::from(object.clone())));
        objects
            .flat_map(|object| {
                let key = object.key();
                object.unsupported().into_iter().map(move |field| format!("{key}: {field}"))
            })
            .collect()
    }
}

const DEFAULT_AS: u32 = 64512;
const BGP_PORT: u16 = 179;
/// As long as a node may take for a restart.
const DEFAULT_LINGER: Duration = Duration::from_secs(120);

/// A BGP Identifier for a node without IPv4: FNV-1a over its name, never zero (RFC 6286 §2.1).
fn router_id_of_name(name: &str) -> Ipv4Addr {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ipv4Addr::from(hash.max(1))
}

#[cfg(test)]
mod tests;
