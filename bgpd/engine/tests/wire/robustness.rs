//! Octets that nobody would send: nothing panics, nothing grows without bound, and what is accepted makes sense.

use std::net::Ipv4Addr;

use bytes::BytesMut;
use engine::prefix::PerFamily;
use engine::wire::{
    EncodeContext, MAX_EXTENDED_LENGTH, MAX_LENGTH, NextHop, Nlri, Outcome, PathAttributes, Update, UpdateContext,
    decode, decode_notification, decode_open, decode_route_refresh, decode_update, encode_notification, encode_open,
    frame, pack_announcements,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::packing_properties::any_attributes;
use crate::support::*;

fn any_context() -> impl Strategy<Value = UpdateContext> {
    any::<[bool; 9]>().prop_map(|flags| UpdateContext {
        four_octet_as: flags[0],
        peer_is_internal: flags[1],
        peer_as: PEER_AS,
        check_first_as: flags[2],
        reject_as_sets: flags[3],
        families: PerFamily::new(flags[4], flags[5]),
        add_path_receive: PerFamily::new(flags[6], flags[7]),
        extended_next_hop_v4: flags[8],
    })
}

/// What must hold for every update that was accepted.
fn assert_sane(update: &Update, context: &UpdateContext) {
    let announced = update.v4.announced.len() + update.v6.announced.len();
    assert_eq!(update.attributes.is_some(), announced > 0);
    assert_eq!(update.v4.next_hop.is_some(), !update.v4.announced.is_empty());
    assert_eq!(update.v6.next_hop.is_some(), !update.v6.announced.is_empty());
    let worst = update.errors.iter().map(|error| error.outcome).max();
    assert_eq!(update.treat_as_withdraw, worst == Some(Outcome::TreatAsWithdraw));
    assert!(!update.treat_as_withdraw || announced == 0);
    assert!(context.families.v4 || update.v4.is_empty());
    assert!(context.families.v6 || update.v6.is_empty());
    for nlri in update.v4.withdrawn.iter().chain(&update.v4.announced) {
        assert_eq!(nlri.path_id.is_some(), context.add_path_receive.v4);
    }
    if let Some(attributes) = &update.attributes {
        assert!(context.peer_is_internal || attributes.local_pref.is_none());
        assert!(attributes.as_path.numbers().all(|number| number != 0));
    }
}

/// A good UPDATE with many attributes and both families.
fn rich(attributes: &PathAttributes) -> Vec<u8> {
    let context = EncodeContext { max_length: MAX_EXTENDED_LENGTH, ..sending() };
    let mut out = BytesMut::new();
    let next_hop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
    pack_announcements(&context, attributes, &next_hop, [Nlri::new(v4("198.51.100.0/24"))], &mut out).unwrap();
    let length = usize::from(u16::from_be_bytes([out[21], out[22]]));
    let block = [&out[23..23 + length], &mp_reach_v6(), &mp_unreach_v6()].concat();
    body(OTHER_NLRI, &block, NLRI)
}

fn mutated(mut octets: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (index, octet) in changes {
        if !octets.is_empty() {
            let position = index.index(octets.len());
            octets[position] = *octet;
        }
    }
    if let Some(cut) = cut {
        octets.truncate(cut.index(octets.len() + 1));
    }
    octets
}

fn any_changes() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    let octet = prop_oneof![any::<u8>(), Just(0), Just(255), Just(1)];
    (vec((any::<prop::sample::Index>(), octet), 0..5), proptest::option::weighted(0.2, any::<prop::sample::Index>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn arbitrary_octets_never_panic(octets in vec(any::<u8>(), 0..200), context in any_context()) {
        let _ = frame(&octets, MAX_LENGTH);
        let _ = decode_open(&octets).map(|open| encode_open(&open));
        let notification = decode_notification(&octets);
        let _ = (notification.to_string(), encode_notification(&notification, MAX_LENGTH));
        let _ = decode_route_refresh(&octets);
        if let Ok(update) = decode_update(&octets, &context) {
            assert_sane(&update, &context);
        }
    }

    #[test]
    fn arbitrary_attribute_blocks_never_panic(
        block in vec((any::<u8>(), 0..40u8, vec(any::<u8>(), 0..24)), 0..8), context in any_context(), nlri: bool
    ) {
        let block: Vec<u8> = block.iter().flat_map(|(flags, code, value)| attribute(*flags, *code, value)).collect();
        let octets = body(&[], &block, if nlri { NLRI } else { &[] });
        if let Ok(update) = decode_update(&octets, &context) {
            assert_sane(&update, &context);
        }
    }

    #[test]
    fn mutated_updates_never_panic(
        attributes in any_attributes(), (changes, cut) in any_changes(), context in any_context()
    ) {
        let octets = mutated(rich(&attributes), &changes, cut);
        if let Ok(update) = decode_update(&octets, &context) {
            assert_sane(&update, &context);
        }
    }

    #[test]
    fn mutated_streams_never_panic(attributes in any_attributes(), (changes, cut) in any_changes()) {
        let mut out = BytesMut::new();
        let next_hop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
        let _ = pack_announcements(&sending(), &attributes, &next_hop, [Nlri::new(v4("10.0.0.0/8"))], &mut out);
        let octets = mutated(out.to_vec(), &changes, cut);
        if let Ok(Some(raw)) = frame(&octets, MAX_LENGTH) {
            prop_assert!(raw.length <= octets.len());
            let _ = decode(&raw);
        }
    }
}

/// Every single-octet change of a rich UPDATE, all values at all places.
#[test]
fn every_single_octet_change_is_survived() {
    let good = rich(&PathAttributes {
        med: Some(1),
        communities: vec![engine::wire::Community::NO_EXPORT],
        aggregator: Some((65001, Ipv4Addr::LOCALHOST)),
        as_path: "65001 65536 {7,8}".parse().unwrap(),
        ..PathAttributes::default()
    });
    for context in [external(), internal(), two_octet()] {
        for position in 0..good.len() {
            for octet in 0..=255 {
                let mut octets = good.clone();
                octets[position] = octet;
                if let Ok(update) = decode_update(&octets, &context) {
                    assert_sane(&update, &context);
                }
            }
        }
    }
}
