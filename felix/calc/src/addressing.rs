//! Pools and blocks: where prefixes go, which are announced, which sources are masqueraded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use nft::{Datatype, Family, Name, Set};
use resources::{AffinityState, BlockAffinity, IpPool, IpamBlock};

use crate::address_range::family;
use crate::render::{FAMILIES, of_family};
use crate::{Condition, DesiredRoute, LocalEndpoint, Severity};

/// What is kept of the address management.
#[derive(Debug, Default)]
pub(crate) struct Addressing {
    pools: BTreeMap<String, Pool>,
    /// Blocks by object name: prefix and who has it.
    blocks: BTreeMap<String, (IpNetwork, Option<String>)>,
    /// This node's confirmed affinities by object name.
    affinities: BTreeMap<String, IpNetwork>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pool {
    network: IpNetwork,
    masquerades: bool,
    announced: bool,
}

/// What follows for this node.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) routes: BTreeMap<IpNetwork, DesiredRoute>,
    pub(crate) origins: BTreeMap<IpNetwork, String>,
    pub(crate) conditions: Vec<Condition>,
}

impl Addressing {
    pub(crate) fn set_pool(&mut self, name: &str, pool: Option<&IpPool>) {
        let pool = pool.map(|pool| Pool {
            network: pool.spec.cidr.network(),
            masquerades: pool.spec.masquerades(),
            announced: !pool.spec.disable_bgp_export,
        });
        replace(&mut self.pools, name, pool);
    }

    pub(crate) fn set_block(&mut self, name: &str, block: Option<&IpamBlock>) {
        let block = block.filter(|block| !block.spec.deleted);
        replace(&mut self.blocks, name, block.map(|block| (block.spec.cidr.network(), block.spec.affinity.clone())));
    }

    pub(crate) fn set_affinity(&mut self, node: &str, name: &str, affinity: Option<&BlockAffinity>) {
        let own = affinity.map(|affinity| &affinity.spec).filter(|spec| {
            let of_host = spec.affinity_type.is_empty() || spec.affinity_type == "host";
            of_host && spec.node == node && spec.state == AffinityState::Confirmed && !spec.deleted
        });
        replace(&mut self.affinities, name, own.map(|spec| spec.cidr.network()));
    }

    /// The blocks that are this node's: it has confirmed them, and no block says that it is another's.
    fn own(&self, node: &str) -> Vec<IpNetwork> {
        let here = format!("host:{node}");
        let others = |network: &IpNetwork| {
            self.blocks.values().any(|(block, owner)| block == network && owner.as_ref() != Some(&here))
        };
        self.affinities.values().filter(|network| !others(network)).copied().collect()
    }

    /// Routes and announcements of this node with these endpoints.
    pub(crate) fn addresses<'e>(&self, node: &str, endpoints: impl Iterator<Item = &'e LocalEndpoint>) -> Addresses {
        let mut out = Addresses::default();
        let own = self.own(node);
        for block in &own {
            out.routes.insert(*block, DesiredRoute::Blackhole);
            match self.pool_of(block.ip()) {
                Some((name, pool)) if pool.announced => {
                    out.origins.insert(*block, format!("block of this node, pool {name}"));
                }
                Some(_) => {}
                None => {
                    out.origins.insert(*block, "block of this node, of no pool".to_owned());
                    out.conditions.push(Condition {
                        severity: Severity::Warning,
                        detail: format!("block {block} of this node is in no IPPool"),
                        next: "make a pool that holds it, or let its pods go".to_owned(),
                    });
                }
            }
        }
        for endpoint in endpoints {
            for address in &endpoint.addresses {
                self.endpoint_address(node, endpoint, *address, &own, &mut out);
            }
        }
        out
    }

    fn endpoint_address(
        &self,
        node: &str,
        endpoint: &LocalEndpoint,
        address: IpAddr,
        own: &[IpNetwork],
        out: &mut Addresses,
    ) {
        let host = IpNetwork::from(address);
        let interface = endpoint.interface.clone();
        if let Some(DesiredRoute::Endpoint { interface: other }) = out.routes.get(&host)
            && *other != interface
        {
            out.conditions.push(Condition {
                severity: Severity::Degraded,
                detail: format!(
                    "address {address} is on interface {other} and on interface {interface}, which gets it"
                ),
                next: "delete one of the two pods".to_owned(),
            });
        }
        out.routes.insert(host, DesiredRoute::Endpoint { interface });
        let announced = self.pool_of(address).is_none_or(|(_, pool)| pool.announced);
        if !announced || own.iter().any(|block| block.contains(address)) {
            return;
        }
        let pod = format!("{}/{}", endpoint.namespace, endpoint.pod);
        // A block that is not known (yet) is most likely one that this node is about to confirm.
        let Some((block, owner)) = self.blocks.values().find(|(block, _)| block.contains(address)) else { return };
        let owner = owner.as_deref().map_or("nobody", |owner| owner.strip_prefix("host:").unwrap_or(owner));
        if owner == node {
            return;
        }
        let cause = format!("address of {pod}, borrowed from block {block} of {owner}");
        out.origins.insert(host, cause);
    }

    fn pool_of(&self, address: IpAddr) -> Option<(&str, &Pool)> {
        let inside = self.pools.iter().filter(|(_, pool)| pool.network.contains(address));
        inside.max_by_key(|(_, pool)| pool.network.prefix()).map(|(name, pool)| (name.as_str(), pool))
    }

    /// The sets of `natOutgoing`: sources, and destinations that are spared. None without such a pool.
    pub(crate) fn masquerade_sets(&self) -> Vec<(Name, Arc<Set>)> {
        if !self.pools.values().any(|pool| pool.masquerades) {
            return Vec::new();
        }
        let mut sets = Vec::new();
        for of in FAMILIES {
            let datatype = match of {
                Family::Ipv4 => Datatype::Ipv4Addr,
                Family::Ipv6 => Datatype::Ipv6Addr,
            };
            let pools = || self.pools.values().filter(move |pool| family(&pool.network) == of);
            let set = |members: Vec<IpNetwork>| Set::intervals([datatype]).with_members(members).merge_ranges();
            let masqueraded = pools().filter(|pool| pool.masquerades).map(|pool| pool.network).collect();
            sets.push((of_family("masq", of), Arc::new(set(masqueraded))));
            sets.push((of_family("pools", of), Arc::new(set(pools().map(|pool| pool.network).collect()))));
        }
        sets
    }
}

fn replace<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}
