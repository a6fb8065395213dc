//! What the import guards must know: pools, our blocks, everybody's addresses, and what of our blocks is lent.

use std::net::IpAddr;

use engine::{Guards, Prefix};
use ipnetwork::IpNetwork;
use resources::{AffinityState, BlockAffinity, IpamBlock};

use super::Cluster;

/// The owner's node in the attributes of an allocation.
const NODE_ATTRIBUTE: &str = "node";

impl Cluster {
    pub(super) fn guards(&self) -> Guards {
        let (own, other): (Vec<_>, Vec<_>) = self
            .affinities
            .values()
            .filter(|a| !a.spec.deleted && a.spec.state == AffinityState::Confirmed)
            .partition(|a| a.spec.node == self.node_name);
        let prefixes =
            |affinities: Vec<&BlockAffinity>| affinities.iter().map(|a| Prefix::from(a.spec.cidr.network())).collect();
        let (own_node, other_nodes): (Vec<_>, Vec<_>) =
            self.nodes.iter().partition(|(name, _)| **name == self.node_name);
        Guards {
            pools: self.pools.values().map(|pool| Prefix::from(pool.spec.cidr.network())).collect(),
            own_blocks: prefixes(own),
            other_blocks: prefixes(other),
            own_addresses: own_node.iter().flat_map(|(_, node)| addresses(node)).collect(),
            node_addresses: other_nodes.iter().flat_map(|(_, node)| addresses(node)).collect(),
            service_prefixes: self.service_prefixes(),
            lent: self.lent.values().flatten().cloned().collect(),
        }
    }

    fn service_prefixes(&self) -> Vec<Prefix> {
        let Some(configuration) = self.default_configuration() else { return Vec::new() };
        let spec = &configuration.spec;
        [&spec.service_cluster_ips, &spec.service_external_ips, &spec.service_load_balancer_ips]
            .into_iter()
            .flatten()
            .map(|block| Prefix::from(block.cidr.network()))
            .collect()
    }
}

fn addresses(node: &resources::Node) -> Vec<IpAddr> {
    let bgp = node.bgp();
    let annotated = bgp.ipv4.map(|n| IpAddr::V4(n.ip())).into_iter().chain(bgp.ipv6.map(|n| IpAddr::V6(n.ip())));
    annotated.chain(node.addresses()).collect()
}

/// Addresses of a block that a pod of another node than the block's has, with that node's name.
pub(super) fn lent(block: &IpamBlock) -> Vec<(Prefix, String)> {
    let owner = block.spec.affinity.as_deref().and_then(|affinity| affinity.strip_prefix("host:"));
    let base = block.spec.cidr.network().network();
    let borrowed = block.spec.allocations.iter().enumerate().filter_map(|(ordinal, attribute)| {
        let node = block.spec.attributes.get((*attribute)?)?.secondary.get(NODE_ATTRIBUTE)?;
        let address = nth(base, ordinal).filter(|_| owner != Some(node.as_str()))?;
        Some((Prefix::from(IpNetwork::from(address)), node.clone()))
    });
    borrowed.collect()
}

fn nth(base: IpAddr, ordinal: usize) -> Option<IpAddr> {
    Some(match base {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(u32::try_from(ordinal).ok()?)?.into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(u128::try_from(ordinal).ok()?)?.into()),
    })
}
