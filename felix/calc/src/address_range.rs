//! Unions of prefixes with holes, as ranges of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nft::{Element, Family};

/// Addresses of one family from the first to the last, both included, as numbers.
type Range = (u128, u128);

/// The family of a network.
pub(crate) fn family(network: &IpNetwork) -> Family {
    Family::of(&network.ip())
}

/// Ranges that neither overlap nor touch, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressRanges {
    family: Family,
    ranges: Vec<Range>,
}

impl AddressRanges {
    pub(crate) fn new(family: Family) -> Self {
        Self { family, ranges: Vec::new() }
    }

    /// Adds a network but for its holes. What is of the other family adds nothing and cuts nothing.
    pub(crate) fn add(&mut self, network: &IpNetwork, except: &[IpNetwork]) {
        if family(network) != self.family {
            return;
        }
        let mut holes: Vec<_> = except.iter().filter(|hole| family(hole) == self.family).map(range).collect();
        holes.sort_unstable();
        let (mut first, last) = range(network);
        for (start, end) in holes {
            if start > first {
                self.ranges.push((first, start.saturating_sub(1).min(last)));
            }
            if end >= last {
                return self.merge();
            }
            first = first.max(end.saturating_add(1));
            if start > last {
                break;
            }
        }
        self.ranges.push((first, last));
        self.merge();
    }

    fn merge(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether every range is one address.
    pub(crate) fn are_addresses(&self) -> bool {
        self.ranges.iter().all(|(first, last)| first == last)
    }

    /// The network they are, if they are one.
    pub(crate) fn as_network(&self) -> Option<IpNetwork> {
        let [(first, last)] = self.ranges.as_slice() else { return None };
        let bits = match self.family {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        };
        let free = u8::try_from((first ^ last).count_ones()).ok()?;
        let network = IpNetwork::new(self.address(*first), bits - free.min(bits)).ok()?;
        (range(&network) == (*first, *last)).then_some(network)
    }

    /// As elements of a set.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Element> {
        self.ranges.iter().map(|(first, last)| Element::range(self.address(*first), self.address(*last)))
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.family {
            // Numbers of IPv4 ranges come from IPv4 addresses.
            Family::Ipv4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn range(network: &IpNetwork) -> Range {
    match network {
        IpNetwork::V4(network) => (network.network().to_bits().into(), network.broadcast().to_bits().into()),
        IpNetwork::V6(network) => (network.network().to_bits(), network.broadcast().to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn ranges(blocks: &[(&str, &[&str])]) -> AddressRanges {
        let mut ranges = AddressRanges::new(Family::Ipv4);
        for (block, except) in blocks {
            ranges.add(&network(block), &except.iter().map(|hole| network(hole)).collect::<Vec<_>>());
        }
        ranges
    }

    fn text(ranges: &AddressRanges) -> Vec<String> {
        ranges.ranges.iter().map(|(a, b)| format!("{}-{}", ranges.address(*a), ranges.address(*b))).collect()
    }

    #[test]
    fn a_hole_is_cut_from_its_own_block_only() {
        let both = ranges(&[("10.0.0.0/24", &["10.0.0.64/26"]), ("10.0.0.80/28", &[])]);
        assert_eq!(text(&both), ["10.0.0.0-10.0.0.63", "10.0.0.80-10.0.0.95", "10.0.0.128-10.0.0.255"]);
    }

    #[test]
    fn holes_at_both_ends_nested_and_of_everything() {
        let ends = ranges(&[("10.0.0.0/24", &["10.0.0.0/26", "10.0.0.192/26", "10.0.0.0/27"])]);
        assert_eq!(text(&ends), ["10.0.0.64-10.0.0.191"]);
        assert!(ranges(&[("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.128/25"])]).is_empty());
        assert!(ranges(&[("10.0.0.0/24", &["10.0.0.0/8"])]).is_empty());
        assert_eq!(text(&ranges(&[("10.0.0.0/24", &["11.0.0.0/8", "9.0.0.0/8"])])), ["10.0.0.0-10.0.0.255"]);
        let all = ranges(&[("0.0.0.0/0", &["0.0.0.0/1", "255.255.255.255/32"])]);
        assert_eq!(text(&all), ["128.0.0.0-255.255.255.254"]);
    }

    #[test]
    fn neighbours_become_one_network_and_the_other_family_is_left_out() {
        let mut halves = ranges(&[("10.0.0.128/25", &[]), ("10.0.0.0/25", &["fd00::/8"])]);
        halves.add(&network("fd00::/64"), &[]);
        assert_eq!(halves.as_network(), Some(network("10.0.0.0/24")));
        assert_eq!(ranges(&[("0.0.0.0/0", &[])]).as_network(), Some(network("0.0.0.0/0")));
        assert_eq!(ranges(&[("10.0.0.0/31", &["10.0.0.0/32"])]).as_network(), Some(network("10.0.0.1/32")));
        assert_eq!(ranges(&[("10.0.0.64/26", &[]), ("10.0.0.128/26", &[])]).as_network(), None);
        let mut six = AddressRanges::new(Family::Ipv6);
        six.add(&network("::/0"), &[]);
        assert_eq!(six.as_network(), Some(network("::/0")));
    }
}
