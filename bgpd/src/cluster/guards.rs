//! What the import guards must know: pools, our blocks, everybody's addresses, and what of our blocks is lent.

use std::{collections::BTreeMap, net::IpAddr};

use engine::{Guards, Prefix};
use ipnetwork::IpNetwork;
use resources::{AffinityState, IpamBlock};

use super::Cluster;

/// The owner's node in the attributes of an allocation.
const NODE_ATTRIBUTE: &str = "node";

impl Cluster {
    pub(super) fn guards(&self) -> Guards {
        let own_blocks: Vec<IpNetwork> = self
            .affinities
            .values()
            .filter(|a| a.spec.node == self.node_name && !a.spec.deleted && a.spec.state == AffinityState::Confirmed)
            .map(|a| a.spec.cidr.network())
            .collect();
        Guards {
            pools: self.pools.values().map(|pool| Prefix::from(pool.spec.cidr.network())).collect(),
            lent: self.lent(&own_blocks),
            own_blocks: own_blocks.into_iter().map(Prefix::from).collect(),
            own_addresses: self.nodes.get(&self.node_name).map(addresses).unwrap_or_default(),
            node_addresses: self
                .nodes
                .iter()
                .filter(|(name, _)| **name != self.node_name)
                .flat_map(|(_, n)| addresses(n))
                .collect(),
            service_prefixes: self.service_prefixes(),
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

    /// Addresses of our blocks that another node's pod has, with that node's name.
    fn lent(&self, own_blocks: &[IpNetwork]) -> BTreeMap<Prefix, String> {
        self.blocks
            .values()
            .filter(|block| own_blocks.contains(&block.spec.cidr.network()))
            .flat_map(|block| allocations(block).filter(|(_, node)| *node != self.node_name))
            .map(|(address, node)| (Prefix::from(IpNetwork::from(address)), node.to_owned()))
            .collect()
    }
}

fn addresses(node: &resources::Node) -> Vec<IpAddr> {
    let bgp = node.bgp();
    let annotated = bgp.ipv4.map(|n| IpAddr::V4(n.ip())).into_iter().chain(bgp.ipv6.map(|n| IpAddr::V6(n.ip())));
    annotated.chain(node.addresses()).collect()
}

/// Addresses in use in a block, with the node that uses each.
fn allocations(block: &IpamBlock) -> impl Iterator<Item = (IpAddr, &str)> {
    let base = block.spec.cidr.network().network();
    block.spec.allocations.iter().enumerate().filter_map(move |(ordinal, attribute)| {
        let node = block.spec.attributes.get((*attribute)?)?.secondary.get(NODE_ATTRIBUTE)?;
        Some((nth(base, ordinal)?, node.as_str()))
    })
}

fn nth(base: IpAddr, ordinal: usize) -> Option<IpAddr> {
    Some(match base {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(u32::try_from(ordinal).ok()?)?.into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(u128::try_from(ordinal).ok()?)?.into()),
    })
}
