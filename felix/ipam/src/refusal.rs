//! Why there is no address.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::{pools::PassedOver, range::Family};

/// How full a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// Name of the pool.
    pub pool: String,
    /// Addresses in the pool.
    pub size: u128,
    /// Addresses assigned.
    pub used: u128,
    /// Addresses that reservations withhold.
    pub reserved: u128,
}

impl PoolUse {
    fn is_full(&self) -> bool {
        self.used.saturating_add(self.reserved) >= self.size
    }
}

impl fmt::Display for PoolUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, size, used, reserved } = self;
        let state = if self.is_full() { "is full" } else { "has no address for this node" };
        write!(f, "pool {pool} {state} ({used} of {size} in use")?;
        if *reserved > 0 {
            write!(f, ", {reserved} reserved")?;
        }
        f.write_str(")")
    }
}

/// Why a request got no address. `Display` is a sentence for the pod's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request wants no family.
    NothingAskedFor,
    /// No pool of the family may be used.
    NoPool {
        /// The family.
        family: Family,
        /// This node.
        node: String,
        /// Every pool of the family, and why not.
        passed: Vec<(String, PassedOver)>,
    },
    /// The request names a pool that does not exist.
    PoolUnknown {
        /// As asked for.
        asked: String,
    },
    /// The request names a pool that may not be used.
    PoolUnusable {
        /// Name of the pool.
        pool: String,
        /// Why not.
        because: PassedOver,
    },
    /// The pools have no free address that this node may take.
    Full {
        /// This node.
        node: String,
        /// The pools that were tried.
        pools: Vec<PoolUse>,
        /// The node has as many blocks as it may have.
        blocks_at_limit: Option<u32>,
        /// The node may not claim blocks (`autoAllocateBlocks: false`).
        no_claims: bool,
        /// Addresses of other nodes' blocks may not be taken (`strictAffinity`).
        strict: bool,
    },
    /// The address asked for has an owner.
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Handle of the owner.
        handle_id: Option<String>,
        /// What is noted of the owner.
        owner: BTreeMap<String, String>,
    },
    /// The address asked for is in no pool.
    AddressOutsidePools {
        /// The address.
        address: IpAddr,
    },
    /// The pool of the address asked for may not be used.
    AddressInClosedPool {
        /// The address.
        address: IpAddr,
        /// Name of the pool.
        pool: String,
        /// Why not.
        because: PassedOver,
    },
    /// The address asked for is in another node's block, and affinity is strict.
    AddressOfOtherNode {
        /// The address.
        address: IpAddr,
        /// Whose block it is.
        node: Option<String>,
    },
    /// The block of the address asked for cannot be used: see [`Assigned::unsound`](crate::Assigned::unsound).
    AddressInUnsoundBlock {
        /// The address.
        address: IpAddr,
    },
    /// More than one address of a family is asked for.
    TooManyAddresses {
        /// The family.
        family: Family,
    },
    /// Others changed the same objects each time.
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
}

impl Refusal {
    /// Whether the same request may succeed later without a change to the configuration.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::AddressTaken { .. } | Self::Contended { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAskedFor => f.write_str("neither an IPv4 nor an IPv6 address is asked for"),
            Self::NoPool { family, node, passed } => no_pool(f, *family, node, passed),
            Self::PoolUnknown { asked } => write!(f, "there is no IPPool {asked}"),
            Self::PoolUnusable { pool, because } => write!(f, "IPPool {pool} {because}"),
            Self::Full { node, pools, blocks_at_limit, no_claims, strict } => {
                full(f, node, pools, *blocks_at_limit, *no_claims, *strict)
            }
            Self::AddressTaken { address, handle_id, owner } => {
                write!(f, "{address} is taken")?;
                match (owner.get("namespace"), owner.get("pod"), handle_id) {
                    (Some(namespace), Some(pod), _) => write!(f, " by pod {namespace}/{pod}"),
                    (_, _, Some(handle_id)) => write!(f, " by {handle_id}"),
                    (_, _, None) => Ok(()),
                }
            }
            Self::AddressOutsidePools { address } => write!(f, "{address} is in no IPPool"),
            Self::AddressInClosedPool { address, pool, because } => {
                write!(f, "{address} is in IPPool {pool}, which {because}")
            }
            Self::AddressOfOtherNode { address, node } => {
                let node = node.as_deref().unwrap_or("no node");
                write!(f, "{address} is in a block of {node}, and strictAffinity forbids to take it from there")
            }
            Self::AddressInUnsoundBlock { address } => write!(f, "the IPAMBlock of {address} contradicts itself"),
            Self::TooManyAddresses { family } => write!(f, "more than one {family} address is asked for"),
            Self::Contended { attempts } => {
                write!(f, "other nodes changed the same IPAM objects each of {attempts} times")
            }
        }
    }
}

fn no_pool(f: &mut fmt::Formatter<'_>, family: Family, node: &str, passed: &[(String, PassedOver)]) -> fmt::Result {
    if passed.is_empty() {
        return write!(f, "there is no {family} IPPool");
    }
    write!(f, "no {family} IPPool may be used on {node}: ")?;
    for (index, (pool, because)) in passed.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{pool} {because}")?;
    }
    Ok(())
}

fn full(
    f: &mut fmt::Formatter<'_>,
    node: &str,
    pools: &[PoolUse],
    blocks_at_limit: Option<u32>,
    no_claims: bool,
    strict: bool,
) -> fmt::Result {
    for (index, pool) in pools.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{pool}")?;
    }
    if pools.iter().all(PoolUse::is_full) {
        return Ok(());
    }
    if let Some(limit) = blocks_at_limit {
        write!(f, ", {node} has all {limit} blocks it may have")?;
    }
    if no_claims {
        write!(f, ", autoAllocateBlocks is false")?;
    }
    if strict {
        write!(f, ", strictAffinity forbids to take one from another node's block")?;
    }
    Ok(())
}
