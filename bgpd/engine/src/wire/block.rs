//! Path attributes kept as octets: a third of the memory of [`PathAttributes`], one allocation, and fast to compare.

use std::net::Ipv4Addr;

use super::attribute::{Attributes, Overrun};
use super::encode::encode_attributes;
use super::validation::Collected;
use super::{AttributeCode, PathAttributes, UpdateContext};
use crate::prefix::PerFamily;

/// Attributes of a route as they stand in an UPDATE: MP_REACH_NLRI excepted, NEXT_HOP if the writer gave one. Equal if the
/// attributes are, and written the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Block<'a>(pub(crate) &'a [u8]);

/// The attributes that a receiver may discard, the first to be left out first (RFC 8654 §4).
pub(super) const DISCARDABLE: [&[u8]; 2] = [
    &[AttributeCode::AGGREGATOR, AttributeCode::AS4_AGGREGATOR],
    &[AttributeCode::AGGREGATOR, AttributeCode::AS4_AGGREGATOR, AttributeCode::ATOMIC_AGGREGATE],
];

impl<'a> Block<'a> {
    /// Writes attributes into a buffer, in place of what it held.
    pub(crate) fn write(
        attributes: &PathAttributes,
        four_octet_as: bool,
        next_hop: Option<Ipv4Addr>,
        out: &'a mut Vec<u8>,
    ) -> Self {
        out.clear();
        encode_attributes(four_octet_as, attributes, next_hop, out);
        Self(out)
    }

    /// The attributes as fields.
    pub(crate) fn read(self, four_octet_as: bool) -> PathAttributes {
        let context = UpdateContext {
            four_octet_as,
            peer_is_internal: true,
            peer_as: 0,
            check_first_as: false,
            reject_as_sets: false,
            families: PerFamily::default(),
            add_path_receive: PerFamily::default(),
            extended_next_hop_v4: false,
        };
        let mut collected = Collected::new(&context);
        for attribute in Attributes::new(self.0).flatten() {
            // We wrote it: there is nothing to complain of.
            let _ = collected.accept(attribute);
        }
        collected.merge_as4();
        collected.attributes
    }

    /// The value of one attribute; empty if it is absent.
    pub(crate) fn value(self, code: u8) -> &'a [u8] {
        Attributes::new(self.0).flatten().find(|it| it.code == code).map_or(&[], |it| it.value)
    }

    /// The block without some attributes.
    pub(super) fn without(self, codes: &[u8], out: &mut Vec<u8>) {
        for attribute in Attributes::new(self.0) {
            match attribute {
                Ok(attribute) if codes.contains(&attribute.code) => {}
                Ok(attribute) => out.extend_from_slice(attribute.whole),
                // A value too long for its length: nothing makes this fit.
                Err(Overrun) => out.extend_from_slice(self.0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AsPath, Community, LargeCommunity, Origin, SegmentKind, UnknownAttribute};

    fn attributes() -> PathAttributes {
        let mut as_path = AsPath::from_sequence(&[65001, 4_200_000_001]);
        as_path.push(SegmentKind::Set, &[64512, 70000]);
        let mut attributes = PathAttributes {
            origin: Origin::Incomplete,
            as_path,
            med: Some(7),
            local_pref: Some(200),
            atomic_aggregate: true,
            aggregator: Some((70000, Ipv4Addr::new(192, 0, 2, 1))),
            communities: (0..100).map(Community).collect(),
            large_communities: vec![LargeCommunity { global: 1, local1: 2, local2: 3 }],
            originator_id: Some(Ipv4Addr::new(192, 0, 2, 2)),
            cluster_list: vec![Ipv4Addr::new(192, 0, 2, 3)],
            otc: Some(65001),
            unknown: vec![UnknownAttribute { code: 99, value: Box::new([1, 2, 3]) }],
            ..PathAttributes::default()
        };
        attributes.partial.set(AttributeCode::COMMUNITIES);
        attributes
    }

    #[test]
    fn what_was_written_is_read_for_both_widths_of_as_numbers() {
        for four_octet_as in [true, false] {
            for next_hop in [None, Some(Ipv4Addr::new(192, 0, 2, 9))] {
                for attributes in [attributes(), PathAttributes::default()] {
                    let mut octets = Vec::new();
                    let block = Block::write(&attributes, four_octet_as, next_hop, &mut octets);
                    assert_eq!(block.read(four_octet_as), attributes);
                }
            }
        }
    }

    #[test]
    fn attributes_are_found_and_left_out() {
        let (mut octets, mut left) = (Vec::new(), Vec::new());
        let block = Block::write(&attributes(), false, None, &mut octets);
        assert_eq!(block.value(AttributeCode::ORIGIN), [2]);
        assert_eq!(block.value(AttributeCode::EXTENDED_COMMUNITIES), [0_u8; 0]);
        block.without(DISCARDABLE[1], &mut left);
        let expected = PathAttributes { aggregator: None, atomic_aggregate: false, ..attributes() };
        assert_eq!(Block(&left).read(false), expected);
    }
}
