//! A table like the Internet's, always the same one.

use std::{collections::HashSet, net::Ipv4Addr};

use anyhow::{Result, anyhow};
use bytes::{Bytes, BytesMut};
use engine::{
    Ipv4Prefix, NetPrefix as _, PerFamily,
    wire::{
        AsPath, Community, EncodeContext, LargeCommunity, MAX_LENGTH, NextHop, Nlri, Origin, PathAttributes,
        pack_announcements, pack_withdrawals,
    },
};

use super::tally::fingerprint;

/// Blocks that are not routed, or that the bench itself lives in (first octets).
const AVOIDED: [u8; 7] = [10, 100, 127, 169, 172, 192, 198];
/// Prefix lengths with their share of the Internet's table in per mille.
const LENGTHS: [(u8, u32); 9] =
    [(24, 600), (23, 100), (22, 115), (21, 45), (20, 45), (19, 30), (18, 15), (17, 15), (16, 35)];
/// AS_PATH lengths behind the sender, with their share in per mille; the mean is 3.7.
const PATHS: [(u8, u32); 6] = [(1, 30), (2, 150), (3, 310), (4, 270), (5, 150), (6, 90)];

/// The messages that announce and withdraw a table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Number of prefixes.
    pub(super) prefixes: u64,
    /// Number of sets of path attributes.
    pub(super) attribute_sets: usize,
    /// Sum of the prefixes' fingerprints.
    pub(super) fingerprint: u64,
    /// UPDATEs that announce everything.
    pub(super) announcements: Bytes,
    /// UPDATEs that withdraw everything.
    pub(super) withdrawals: Bytes,
}

impl Table {
    /// A table of `count` prefixes and about an eighth as many sets of path attributes, as `as_number` announces it from
    /// `next_hop`.
    ///
    /// The prefixes are always the same ones, the attributes those of the sender.
    pub(super) fn like_the_internet(count: usize, as_number: u32, next_hop: Ipv4Addr) -> Result<Self> {
        let mut random = Random(0x746f_7274_6965);
        let mut of_sender = Random(as_number.into());
        let mut seen = HashSet::with_capacity(count);
        let (mut announcements, mut withdrawals) = (BytesMut::new(), BytesMut::new());
        let mut all = Vec::with_capacity(count);
        let mut attribute_sets = 0;
        while all.len() < count {
            let size = random.set_size().min(count - all.len());
            let mut group = Vec::with_capacity(size);
            while group.len() < size {
                let prefix = random.prefix()?;
                if seen.insert((prefix.network(), prefix.length())) {
                    group.push(Nlri { prefix, path_id: None });
                }
            }
            all.extend_from_slice(&group);
            attribute_sets += 1;
            announce(&of_sender.attributes(as_number), next_hop, group, &mut announcements)?;
        }
        let fingerprint = all.iter().fold(0_u64, |sum, nlri| sum.wrapping_add(fingerprint(nlri.prefix)));
        pack_withdrawals(&context(), all, &mut withdrawals);
        Ok(Self {
            prefixes: count as u64,
            attribute_sets,
            fingerprint,
            announcements: announcements.freeze(),
            withdrawals: withdrawals.freeze(),
        })
    }

    /// A table of one host prefix that no other table has: what comes through proves that the way is open, or that
    /// everything before it has come through.
    pub(super) fn scout(number: u8, as_number: u32, next_hop: Ipv4Addr) -> Result<Self> {
        let prefix = Ipv4Prefix::host(Ipv4Addr::new(198, 51, 100, number));
        let (mut announcements, mut withdrawals) = (BytesMut::new(), BytesMut::new());
        let nlri = Nlri { prefix, path_id: None };
        let attributes = PathAttributes { as_path: AsPath::from_sequence(&[as_number]), ..PathAttributes::default() };
        announce(&attributes, next_hop, vec![nlri], &mut announcements)?;
        pack_withdrawals(&context(), [nlri], &mut withdrawals);
        Ok(Self {
            prefixes: 1,
            attribute_sets: 1,
            fingerprint: fingerprint(prefix),
            announcements: announcements.freeze(),
            withdrawals: withdrawals.freeze(),
        })
    }
}

const fn context() -> EncodeContext {
    EncodeContext {
        four_octet_as: true,
        max_length: MAX_LENGTH,
        add_path: PerFamily::new(false, false),
        extended_next_hop_v4: false,
    }
}

/// Writes the UPDATEs that announce prefixes of the same attributes.
pub(super) fn announce(
    attributes: &PathAttributes,
    next_hop: Ipv4Addr,
    group: Vec<Nlri<Ipv4Prefix>>,
    out: &mut BytesMut,
) -> Result<()> {
    let packed = pack_announcements(&context(), attributes, &NextHop::V4(next_hop), group, out);
    packed.map(drop).map_err(|unsent| anyhow!("prefixes that cannot be written: {:?}", unsent.reason))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// True in so many of a thousand cases.
    const fn per_mille(&mut self, share: u32) -> bool {
        self.below(1000) < share
    }

    fn among(&mut self, shares: &[(u8, u32)]) -> u8 {
        let mut ball = self.below(1000);
        for (value, share) in shares {
            match ball.checked_sub(*share) {
                Some(rest) => ball = rest,
                None => return *value,
            }
        }
        shares.first().map_or(0, |(value, _)| *value)
    }

    /// How many prefixes share a set of attributes: most few, few many; 8.3 on average.
    fn set_size(&mut self) -> usize {
        let size = match self.below(100) {
            0..50 => 1 + self.below(3),
            50..85 => 2 + self.below(9),
            _ => 10 + self.below(51),
        };
        size as usize
    }

    fn prefix(&mut self) -> Result<Ipv4Prefix> {
        let length = self.among(&LENGTHS);
        loop {
            let address = Ipv4Addr::from_bits(self.next() as u32);
            let first = address.octets()[0];
            if (1..=223).contains(&first) && !AVOIDED.contains(&first) {
                return Ipv4Prefix::new(address, length).ok_or_else(|| anyhow!("no prefix of length {length}"));
            }
        }
    }

    /// A public AS number: no private, reserved or documentation one.
    fn as_number(&mut self) -> u32 {
        match self.below(5) {
            0 => 1 + self.below(23_000),
            1 => 24_000 + self.below(40_000),
            _ => 131_072 + self.below(270_000),
        }
    }

    fn attributes(&mut self, sender: u32) -> PathAttributes {
        let mut path = vec![sender];
        for _ in 0..self.among(&PATHS) {
            path.push(self.as_number());
        }
        let last = path.last().copied().unwrap_or(sender);
        if self.per_mille(150) {
            path.extend((0..=self.below(3)).map(|_| last));
        }
        let mut attributes = PathAttributes {
            origin: if self.per_mille(120) { Origin::Incomplete } else { Origin::Igp },
            as_path: AsPath::from_sequence(&path),
            med: self.per_mille(250).then(|| self.below(200)),
            atomic_aggregate: self.per_mille(40),
            aggregator: self.per_mille(80).then(|| (last, Ipv4Addr::from_bits(0x0100_0000 + self.below(0x0f00_0000)))),
            ..PathAttributes::default()
        };
        if self.per_mille(750) {
            for _ in 0..=self.below(9) {
                let community = Community::new(1 + self.below(60_000) as u16, self.below(65_000) as u16);
                attributes.communities.push(community);
            }
        }
        if self.per_mille(150) {
            for _ in 0..=self.below(4) {
                let global = self.as_number();
                let large = LargeCommunity { global, local1: self.below(1000), local2: self.below(1000) };
                attributes.large_communities.push(large);
            }
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use engine::wire::{UpdateContext, decode_update, frame};

    use super::*;

    fn table() -> Table {
        Table::like_the_internet(20_000, 65001, Ipv4Addr::new(10, 0, 1, 1)).unwrap()
    }

    #[test]
    fn the_table_is_the_same_every_time() {
        assert_eq!(table().announcements, table().announcements);
    }

    #[test]
    fn every_message_is_right_and_every_prefix_is_announced_and_withdrawn_once() {
        let table = table();
        let context = UpdateContext {
            four_octet_as: true,
            peer_is_internal: false,
            peer_as: 65001,
            check_first_as: true,
            reject_as_sets: true,
            families: PerFamily::new(true, false),
            add_path_receive: PerFamily::new(false, false),
            extended_next_hop_v4: false,
        };
        let (mut announced, mut withdrawn, mut sets) = (HashSet::new(), HashSet::new(), HashSet::new());
        for stream in [&table.announcements, &table.withdrawals] {
            let mut rest = &stream[..];
            while let Some(message) = frame(rest, MAX_LENGTH).unwrap() {
                let update = decode_update(message.body, &context).unwrap();
                assert!(update.errors.is_empty(), "{:?}", update.errors);
                sets.extend(update.attributes);
                for nlri in update.v4.announced {
                    assert!(!nlri.prefix.is_martian() && announced.insert(nlri.prefix));
                }
                withdrawn.extend(update.v4.withdrawn.iter().map(|nlri| nlri.prefix));
                rest = &rest[message.length..];
            }
            assert!(rest.is_empty());
        }
        assert_eq!((announced.len(), &announced), (20_000, &withdrawn));
        assert!((2_000..3_000).contains(&sets.len()), "{} sets of attributes", sets.len());
        assert!(sets.len() + 20 > table.attribute_sets);
    }
}
