//! Import guards: what no peer, or no peer of its kind, may announce, whatever policy says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use prefix_trie::PrefixSet;

use crate::config::{Guards, PeerKind};
use crate::prefix::{Ipv4Prefix, Ipv6Prefix, NetPrefix, Prefix};
use crate::reason::Refusal;

/// A set of prefixes that is asked what lies inside it.
#[derive(Debug, Default)]
struct Ranges {
    any: bool,
    v4: PrefixSet<Ipv4Prefix>,
    v6: PrefixSet<Ipv6Prefix>,
}

impl Ranges {
    fn new(prefixes: &[Prefix]) -> Self {
        let mut ranges = Self { any: !prefixes.is_empty(), ..Self::default() };
        for prefix in prefixes {
            match prefix {
                Prefix::V4(prefix) => ranges.v4.insert(*prefix),
                Prefix::V6(prefix) => ranges.v6.insert(*prefix),
            };
        }
        ranges
    }

    /// Whether the prefix is a part of one of these, and not one of them.
    fn contain_part(&self, prefix: Prefix) -> bool {
        match prefix {
            Prefix::V4(prefix) => self.v4.get_lpm(&prefix).is_some_and(|range| range != prefix),
            Prefix::V6(prefix) => self.v6.get_lpm(&prefix).is_some_and(|range| range != prefix),
        }
    }

    fn cover(&self, prefix: Prefix) -> bool {
        // A speaker that is not part of a cluster has none, and this is asked of every prefix.
        self.any
            && match prefix {
                Prefix::V4(prefix) => self.v4.get_lpm(&prefix).is_some(),
                Prefix::V6(prefix) => self.v6.get_lpm(&prefix).is_some(),
            }
    }
}

/// [`Guards`] in a form that answers fast.
#[derive(Debug, Default)]
pub(crate) struct CompiledGuards {
    pools: Ranges,
    own_blocks: Ranges,
    other_blocks: Ranges,
    services: Ranges,
    own_addresses: BTreeSet<IpAddr>,
    node_addresses: BTreeSet<IpAddr>,
    lent: BTreeMap<Prefix, String>,
}

impl CompiledGuards {
    pub(crate) fn new(guards: Guards) -> Self {
        Self {
            pools: Ranges::new(&guards.pools),
            own_blocks: Ranges::new(&guards.own_blocks),
            other_blocks: Ranges::new(&guards.other_blocks),
            services: Ranges::new(&guards.service_prefixes),
            own_addresses: guards.own_addresses.into_iter().collect(),
            node_addresses: guards.node_addresses.into_iter().collect(),
            lent: guards.lent,
        }
    }

    /// Judges a prefix announced by a peer.
    pub(crate) fn judge<P: NetPrefix>(&self, prefix: P, kind: PeerKind, peer: &str) -> Option<Refusal> {
        if prefix.is_martian() {
            return Some(Refusal::Martian);
        }
        let trusted_for_default = matches!(kind, PeerKind::External | PeerKind::Static);
        if prefix.length() == 0 {
            return (!trusted_for_default).then_some(Refusal::DefaultRoute);
        }
        let (is_host, address) = (prefix.length() == P::MAX_LENGTH, prefix.address());
        if is_host && (self.own_addresses.contains(&address) || self.node_addresses.contains(&address)) {
            return Some(Refusal::NodeAddress);
        }
        let prefix = prefix.into();
        if self.own_blocks.cover(prefix) && self.lent.get(&prefix).is_none_or(|borrower| borrower != peer) {
            return Some(Refusal::OwnBlock);
        }
        if self.other_blocks.contain_part(prefix) && !self.is_lent(prefix, kind, peer) {
            return Some(Refusal::InsideBlock);
        }
        let service = self.services.cover(prefix);
        match kind {
            PeerKind::Mesh | PeerKind::Client => {
                (!service && !self.pools.cover(prefix)).then_some(Refusal::OutsidePools)
            }
            PeerKind::Reflector => None,
            PeerKind::Workload if !service && !self.pools.cover(prefix) => Some(Refusal::OutsidePools),
            PeerKind::External | PeerKind::Static | PeerKind::Workload => service.then_some(Refusal::ServicePrefix),
        }
    }

    /// Whether a part of a block is lent to the peer, or to somebody whose routes the peer passes on.
    fn is_lent(&self, prefix: Prefix, kind: PeerKind, peer: &str) -> bool {
        let borrower = self.lent.get(&prefix);
        match kind {
            PeerKind::Mesh | PeerKind::Client => borrower.is_some_and(|borrower| borrower == peer),
            PeerKind::Reflector | PeerKind::External | PeerKind::Workload | PeerKind::Static => borrower.is_some(),
        }
    }

    /// True for an address of this node.
    pub(crate) fn is_own_address(&self, address: IpAddr) -> bool {
        self.own_addresses.contains(&address)
    }

    /// True for service prefixes: reflected between nodes, never installed.
    pub(crate) fn never_installed(&self, prefix: Prefix) -> bool {
        self.services.cover(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(guards: &CompiledGuards, prefix: &str, kind: PeerKind, peer: &str) -> Option<Refusal> {
        match prefix.parse().unwrap() {
            Prefix::V4(prefix) => guards.judge(prefix, kind, peer),
            Prefix::V6(prefix) => guards.judge(prefix, kind, peer),
        }
    }

    fn guards() -> CompiledGuards {
        let prefixes = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<Prefix>>();
        CompiledGuards::new(Guards {
            pools: prefixes(&["10.65.0.0/16", "fd00:65::/48"]),
            own_blocks: prefixes(&["10.65.1.0/26"]),
            other_blocks: prefixes(&["10.65.2.0/26"]),
            own_addresses: vec!["192.0.2.11".parse().unwrap()],
            node_addresses: vec!["192.0.2.12".parse().unwrap()],
            service_prefixes: prefixes(&["10.96.0.0/12"]),
            lent: ["10.65.1.9/32", "10.65.2.9/32"].map(|it| (it.parse().unwrap(), "node-b".to_owned())).into(),
        })
    }

    #[test]
    fn own_blocks_and_parts_of_them_are_refused_unless_lent_to_that_peer() {
        let guards = guards();
        for prefix in ["10.65.1.0/26", "10.65.1.8/32"] {
            for kind in [PeerKind::Mesh, PeerKind::External, PeerKind::Reflector] {
                assert_eq!(judge(&guards, prefix, kind, "node-b"), Some(Refusal::OwnBlock));
            }
        }
        assert_eq!(judge(&guards, "10.65.1.9/32", PeerKind::Mesh, "node-b"), None);
        assert_eq!(judge(&guards, "10.65.1.9/32", PeerKind::Mesh, "node-c"), Some(Refusal::OwnBlock));
        assert_eq!(judge(&guards, "10.65.1.0/25", PeerKind::Mesh, "node-b"), None);
    }

    #[test]
    fn a_part_of_another_nodes_block_comes_from_its_borrower_or_by_way_of_a_router() {
        let guards = guards();
        for kind in [PeerKind::Mesh, PeerKind::External, PeerKind::Reflector] {
            assert_eq!(judge(&guards, "10.65.2.8/32", kind, "node-b"), Some(Refusal::InsideBlock));
            assert_eq!(judge(&guards, "10.65.2.0/27", kind, "node-b"), Some(Refusal::InsideBlock));
            assert_eq!(judge(&guards, "10.65.2.0/26", kind, "node-b"), None, "the block itself");
            assert_eq!(judge(&guards, "10.65.2.9/32", kind, "node-b"), None, "what is lent");
        }
        assert_eq!(judge(&guards, "10.65.2.9/32", PeerKind::Mesh, "node-c"), Some(Refusal::InsideBlock));
        assert_eq!(judge(&guards, "10.65.2.9/32", PeerKind::External, "tor"), None);
    }

    #[test]
    fn mesh_peers_may_announce_pools_and_services_only() {
        let guards = guards();
        assert_eq!(judge(&guards, "10.65.7.0/26", PeerKind::Mesh, "b"), None);
        assert_eq!(judge(&guards, "fd00:65::/122", PeerKind::Mesh, "b"), None);
        assert_eq!(judge(&guards, "10.96.0.10/32", PeerKind::Mesh, "b"), None);
        assert_eq!(judge(&guards, "203.0.113.0/24", PeerKind::Mesh, "b"), Some(Refusal::OutsidePools));
        assert_eq!(judge(&guards, "203.0.113.0/24", PeerKind::External, "b"), None);
        assert_eq!(judge(&guards, "10.96.0.10/32", PeerKind::External, "b"), Some(Refusal::ServicePrefix));
    }

    #[test]
    fn the_default_route_comes_from_external_peers_only() {
        let guards = guards();
        for prefix in ["0.0.0.0/0", "::/0"] {
            assert_eq!(judge(&guards, prefix, PeerKind::External, "tor"), None);
            assert_eq!(judge(&guards, prefix, PeerKind::Mesh, "b"), Some(Refusal::DefaultRoute));
            assert_eq!(judge(&guards, prefix, PeerKind::Workload, "pod"), Some(Refusal::DefaultRoute));
        }
    }

    #[test]
    fn node_addresses_and_martians_are_never_learned() {
        let guards = guards();
        for address in ["192.0.2.11/32", "192.0.2.12/32"] {
            assert_eq!(judge(&guards, address, PeerKind::External, "tor"), Some(Refusal::NodeAddress));
        }
        assert_eq!(judge(&guards, "192.0.2.0/24", PeerKind::External, "tor"), None);
        for martian in ["127.0.0.0/8", "224.0.0.0/4", "ff00::/8", "fe80::/64"] {
            assert_eq!(judge(&guards, martian, PeerKind::External, "tor"), Some(Refusal::Martian));
        }
    }
}
