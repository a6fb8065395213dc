//! Address arithmetic: addresses as numbers, blocks of a pool, and the order in which a node walks them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, blocks of /26 unless the pool says otherwise.
    Ipv4,
    /// IPv6, blocks of /122 unless the pool says otherwise.
    Ipv6,
}

impl Family {
    /// Of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    /// Prefix length of a block when the pool names none.
    #[must_use]
    pub fn default_block_length(self) -> u8 {
        match self {
            Self::Ipv4 => 26,
            Self::Ipv6 => 122,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

/// Addresses of a prefix; `u128::MAX` for `::/0`.
pub(crate) fn size(cidr: &IpNetwork) -> u128 {
    let host_bits = u32::from(Family::of(cidr.ip()).bits().saturating_sub(cidr.prefix()));
    1u128.checked_shl(host_bits).unwrap_or(u128::MAX)
}

/// The address at `ordinal` in a prefix.
pub(crate) fn nth(cidr: &IpNetwork, ordinal: usize) -> Option<IpAddr> {
    let offset = u128::try_from(ordinal).ok().filter(|offset| *offset < size(cidr))?;
    Some(address(Family::of(cidr.ip()), number(cidr.network()) + offset))
}

/// The place of an address in a prefix.
pub(crate) fn ordinal(cidr: &IpNetwork, at: IpAddr) -> Option<usize> {
    cidr.contains(at).then(|| number(at) - number(cidr.network())).and_then(|offset| usize::try_from(offset).ok())
}

/// The aligned prefix of that length which holds an address.
pub(crate) fn enclosing(at: IpAddr, length: u8) -> Option<IpNetwork> {
    let network = IpNetwork::new(at, length).ok()?;
    IpNetwork::new(network.network(), length).ok()
}

/// Whether `outer` holds all of `inner`.
pub(crate) fn covers(outer: &IpNetwork, inner: &IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// The blocks of a pool in the order in which a node tries them: from a place that its name decides, so that nodes seldom
/// meet, upwards and around the end.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    pool: IpNetwork,
    block_length: u8,
    blocks: u128,
    start: u128,
}

impl Walk {
    /// The walk of `node`. A pool that is smaller than one block has no blocks.
    pub(crate) fn new(pool: IpNetwork, block_length: u8, node: &str) -> Self {
        let blocks = match block_length.checked_sub(pool.prefix()) {
            Some(bits) => 1u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX),
            None => 0,
        };
        let start = u128::from(fnv1a(node)).checked_rem(blocks).unwrap_or(0);
        Self { pool, block_length, blocks, start }
    }

    fn block_size(&self) -> u128 {
        let host_bits = Family::of(self.pool.ip()).bits().saturating_sub(self.block_length);
        1u128.checked_shl(u32::from(host_bits)).unwrap_or(u128::MAX)
    }

    /// All blocks, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        (0..self.blocks).filter_map(|step| self.at(step))
    }

    fn at(&self, step: u128) -> Option<IpNetwork> {
        // Written so that it cannot overflow where `blocks` is large.
        let to_end = self.blocks - self.start;
        let index = if step < to_end { self.start + step } else { step - to_end };
        let first = number(self.pool.network()) + index * self.block_size();
        IpNetwork::new(address(Family::of(self.pool.ip()), first), self.block_length).ok()
    }

    /// How many steps the walk takes to a block.
    pub(crate) fn position(&self, block: &IpNetwork) -> u128 {
        let index = number(block.network()).saturating_sub(number(self.pool.network())) / self.block_size();
        if index >= self.start { index - self.start } else { self.blocks - self.start + index }
    }
}

/// FNV-1a, 64 bits: it only has to spread names.
fn fnv1a(text: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(OFFSET, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn the_walk_visits_every_block_of_the_pool_once() {
        let walk = Walk::new(net("10.65.0.0/20"), 26, "node-a");
        let seen: BTreeSet<IpNetwork> = walk.iter().collect();
        assert_eq!(walk.iter().count(), 64);
        assert_eq!(seen.len(), 64);
        assert!(seen.iter().all(|block| covers(&net("10.65.0.0/20"), block)));
    }

    #[test]
    fn two_nodes_start_their_walks_at_different_blocks() {
        let first = |node| Walk::new(net("10.65.0.0/16"), 26, node).iter().next();
        assert_ne!(first("node-a"), first("node-b"));
        assert_eq!(first("node-a"), first("node-a"));
    }

    #[test]
    fn the_position_of_a_block_is_its_step_in_the_walk() {
        let walk = Walk::new(net("fd00::/112"), 122, "node-a");
        for (step, block) in walk.iter().enumerate() {
            assert_eq!(walk.position(&block), step as u128);
        }
    }

    #[test]
    fn a_pool_smaller_than_one_block_has_no_blocks() {
        assert_eq!(Walk::new(net("10.65.0.0/28"), 26, "node-a").iter().count(), 0);
    }

    #[test]
    fn the_walk_copes_with_the_whole_of_ipv6() {
        let walk = Walk::new(net("::/0"), 128, "node-a");
        assert_eq!(walk.iter().take(3).count(), 3);
    }

    #[test]
    fn ordinals_and_addresses_are_inverse() {
        let block = net("10.65.0.64/26");
        assert_eq!(nth(&block, 5), Some("10.65.0.69".parse().unwrap()));
        assert_eq!(ordinal(&block, "10.65.0.69".parse().unwrap()), Some(5));
        assert_eq!(nth(&block, 64), None);
        assert_eq!(ordinal(&block, "10.65.0.128".parse().unwrap()), None);
        assert_eq!(enclosing("10.65.0.69".parse().unwrap(), 26), Some(block));
    }
}
