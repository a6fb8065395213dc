//! Packing: what is sent, and in how few messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use engine::prefix::{Family, Ipv4Prefix, Ipv6Prefix, NetPrefix};
use engine::wire::{
    AsPath, Community, EncodeContext, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, NextHop, Nlri,
    PathAttributes, UnknownAttribute, UnsentReason, Update, UpdateContext, decode_update, end_of_rib, frame,
    pack_announcements, pack_withdrawals,
};

use crate::support::*;

pub(crate) const V4_HOP: NextHop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn v6_hop() -> NextHop {
    NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: None }
}

fn route() -> PathAttributes {
    PathAttributes { as_path: AsPath::from_sequence(&[65001]), ..PathAttributes::default() }
}

/// The session that reads what `context` writes.
fn reader(context: &EncodeContext) -> UpdateContext {
    UpdateContext {
        four_octet_as: context.four_octet_as,
        peer_is_internal: true,
        check_first_as: false,
        add_path_receive: context.add_path,
        ..external()
    }
}

pub(crate) fn messages(out: &[u8], max_length: usize) -> Vec<&[u8]> {
    let (mut rest, mut bodies) = (out, Vec::new());
    while let Some(raw) = frame(rest, max_length).unwrap() {
        bodies.push(raw.body);
        rest = &rest[raw.length..];
    }
    assert!(rest.is_empty());
    bodies
}

pub(crate) fn decode_all(context: &EncodeContext, out: &[u8]) -> Vec<Update> {
    messages(out, context.max_length)
        .into_iter()
        .map(|body| {
            let update = decode_update(body, &reader(context)).unwrap();
            assert!(update.errors.is_empty(), "{:?}", update.errors);
            update
        })
        .collect()
}

pub(crate) fn announce<P: NetPrefix>(
    context: &EncodeContext,
    attributes: &PathAttributes,
    hop: &NextHop,
    nlri: &[Nlri<P>],
) -> BytesMut {
    let mut out = BytesMut::new();
    let count = pack_announcements(context, attributes, hop, nlri.iter().copied(), &mut out).unwrap();
    assert_eq!(count, messages(&out, context.max_length).len());
    out
}

fn hosts(count: u32) -> Vec<Nlri<Ipv4Prefix>> {
    (0..count).map(|number| Nlri::new(Ipv4Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + number)))).collect()
}

fn v6_hosts(count: u32) -> Vec<Nlri<Ipv6Prefix>> {
    (0..count).map(|number| Nlri::new(Ipv6Prefix::host(Ipv6Addr::from_bits(u128::from(number))))).collect()
}

#[test]
fn nothing_to_say_is_no_message() {
    assert!(announce(&sending(), &route(), &V4_HOP, &[] as &[Nlri<Ipv4Prefix>]).is_empty());
    let mut out = BytesMut::new();
    assert_eq!(pack_withdrawals(&sending(), std::iter::empty::<Nlri<Ipv6Prefix>>(), &mut out), 0);
    assert!(out.is_empty());
}

#[test]
fn announcement_is_these_octets() {
    let out = announce(&sending(), &route(), &V4_HOP, &[Nlri::new(v4("198.51.100.0/24"))]);
    let expected = body(&[], &mandatory(), NLRI);
    assert_eq!(out[19..], expected);
    assert_eq!(out[16..19], [0, 19 + expected.len() as u8, 2]);
}

#[test]
fn mp_reach_stands_first_and_has_the_short_length_up_to_255() {
    let out = announce(&sending(), &route(), &v6_hop(), &[Nlri::new(v6("2001:db8::/32"))]);
    assert_eq!(out[19..], body(&[], &[mp_reach_v6(), origin(), as_path(&[65001])].concat(), &[]));
    for (count, flags) in [(13, 0x80), (14, 0x90)] {
        // 21 octets in front, 17 (and 13 at the end) per prefix.
        let mut nlri = v6_hosts(count);
        nlri.push(Nlri::new(v6("2001:db8:1:1:1:1::/96")));
        let out = announce(&sending(), &route(), &v6_hop(), &nlri);
        assert_eq!(out[23..25], [flags, 14]);
        assert_eq!(decode_all(&sending(), &out)[0].v6.announced, nlri);
    }
    // Exactly 255 octets of value: 21 + 13 * 17 + 13.
    let mut nlri = v6_hosts(13);
    nlri.push(Nlri::new(v6("2001:db8:1:1:1:1::/96")));
    let out = announce(&sending(), &route(), &v6_hop(), &nlri);
    assert_eq!(out[25], 255);
}

#[test]
fn attributes_stand_in_ascending_order_with_unknown_ones_between() {
    let attributes = PathAttributes {
        med: Some(1),
        local_pref: Some(2),
        atomic_aggregate: true,
        aggregator: Some((65001, Ipv4Addr::LOCALHOST)),
        communities: vec![Community::NO_EXPORT],
        extended_communities: vec![ExtendedCommunity([0; 8])],
        ipv6_extended_communities: vec![Ipv6ExtendedCommunity([0; 20])],
        large_communities: vec![LargeCommunity { global: 1, local1: 2, local2: 3 }],
        originator_id: Some(Ipv4Addr::LOCALHOST),
        cluster_list: vec![Ipv4Addr::LOCALHOST],
        otc: Some(9),
        unknown: [11, 20, 33, 99].map(|code| UnknownAttribute { code, value: [code].into() }).to_vec(),
        ..route()
    };
    let out = announce(&sending(), &attributes, &V4_HOP, &hosts(1));
    let (mut codes, mut block) = (Vec::new(), &out[23..out.len() - 5]);
    while let [flags, code, length, rest @ ..] = block {
        codes.push(*code);
        if [11, 20, 33, 99].contains(code) {
            assert_eq!(*flags, 0xe0);
        }
        block = &rest[usize::from(*length)..];
    }
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20, 25, 32, 33, 35, 99]);
    assert_eq!(decode_all(&sending(), &out)[0].attributes.as_ref().unwrap(), &attributes);
}

#[test]
fn unused_flag_bits_of_unknown_attributes_are_cleared_and_partial_set() {
    let received = with(&external(), &attribute(0xc5, 99, &[1])).attributes.unwrap();
    let out = announce(&sending(), &received, &V4_HOP, &hosts(1));
    assert!(out.windows(4).any(|octets| octets == [0xe0, 99, 1, 1]));
}

#[test]
fn partial_bit_of_known_attributes_is_passed_on() {
    let received = with(&external(), &attribute(0xe0, 8, &[0, 1, 0, 2])).attributes.unwrap();
    let out = announce(&sending(), &received, &V4_HOP, &hosts(1));
    assert!(out.windows(3).any(|octets| octets == [0xe0, 8, 4]));
}

#[test]
fn empty_lists_are_absent_attributes() {
    let out = announce(&sending(), &PathAttributes::default(), &V4_HOP, &hosts(1));
    assert_eq!(out[19..], body(&[], &[origin(), attribute(0x40, 2, &[]), next_hop()].concat(), &[32, 10, 0, 0, 0]));
}

#[test]
fn extended_length_is_used_only_above_255_octets() {
    for (count, flags) in [(63, 0xc0), (64, 0xd0)] {
        let attributes = PathAttributes { communities: vec![Community(1); count], ..route() };
        let out = announce(&sending(), &attributes, &V4_HOP, &hosts(1));
        let position = 19 + 4 + mandatory().len();
        assert_eq!(out[position..position + 2], [flags, 8]);
        assert_eq!(decode_all(&sending(), &out)[0].attributes.as_ref().unwrap(), &attributes);
    }
}

#[test]
pub(crate) fn messages_are_filled_to_the_limit_exactly() {
    for max_length in [4096, 65535] {
        let context = EncodeContext { max_length, ..sending() };
        let room = max_length - 23 - mandatory().len();
        let per_message = room / 5;
        let out = announce(&context, &route(), &V4_HOP, &hosts(per_message as u32));
        assert_eq!(messages(&out, max_length).len(), 1);
        assert!(max_length - out.len() < 5);
        let out = announce(&context, &route(), &V4_HOP, &hosts(per_message as u32 + 1));
        assert_eq!(messages(&out, max_length).len(), 2);
    }
    // 4096 = 23 + 18 + 811 * 5: not one octet is left.
    let filled = announce(&sending(), &route(), &V4_HOP, &hosts(810));
    let spare = 4096 - filled.len();
    let last = Ipv4Prefix::new(Ipv4Addr::new(11, 1, 1, 1), 8 * (spare as u8 - 1)).unwrap();
    let full = announce(&sending(), &route(), &V4_HOP, &[hosts(810), vec![Nlri::new(last)]].concat());
    assert_eq!(full.len(), 4096);
    assert_eq!(decode_all(&sending(), &full)[0].v4.announced.len(), 811);
}

#[test]
fn mp_messages_are_filled_to_the_limit_exactly() {
    let fixed = 23 + 4 + 21 + origin().len() + as_path(&[65001]).len();
    let per_message = (4096 - fixed) / 17;
    assert_eq!(messages(&announce(&sending(), &route(), &v6_hop(), &v6_hosts(per_message as u32)), 4096).len(), 1);
    assert_eq!(messages(&announce(&sending(), &route(), &v6_hop(), &v6_hosts(per_message as u32 + 1)), 4096).len(), 2);
    let mut out = BytesMut::new();
    let per_message = (4096 - 23 - 4 - 3) / 17;
    assert_eq!(pack_withdrawals(&sending(), v6_hosts(per_message as u32), &mut out), 1);
    assert_eq!(pack_withdrawals(&sending(), v6_hosts(per_message as u32 + 1), &mut out), 2);
    let per_message = (4096 - 23) / 5;
    assert_eq!(pack_withdrawals(&sending(), hosts(per_message as u32), &mut out), 1);
    assert_eq!(pack_withdrawals(&sending(), hosts(per_message as u32 + 1), &mut out), 2);
}

#[test]
fn route_that_fits_nowhere_is_named_and_the_others_are_sent() {
    let spare = 4096 - 23 - mandatory().len();
    // Room is left for a prefix of three octets and no more.
    let value = vec![7; spare - 4 - 3];
    let attributes = PathAttributes { unknown: vec![UnknownAttribute { code: 99, value: value.into() }], ..route() };
    let nlri = [Nlri::new(v4("10.0.0.0/8")), Nlri::new(v4("10.1.2.3/32")), Nlri::new(v4("11.0.0.0/8"))];
    let mut out = BytesMut::new();
    let unsent = pack_announcements(&sending(), &attributes, &V4_HOP, nlri, &mut out).unwrap_err();
    assert_eq!((unsent.reason, unsent.nlri), (UnsentReason::TooLarge, vec![nlri[1]]));
    let sent: Vec<_> = decode_all(&sending(), &out).into_iter().flat_map(|update| update.v4.announced).collect();
    assert_eq!(sent, [nlri[0], nlri[2]]);
    assert_eq!(unsent.messages, messages(&out, 4096).len());
    let huge = PathAttributes { communities: vec![Community(1); 20_000], ..route() };
    let unsent = pack_announcements(&sending(), &huge, &V4_HOP, nlri, &mut BytesMut::new()).unwrap_err();
    assert_eq!((unsent.messages, unsent.nlri.len()), (0, 3));
    let long = EncodeContext { max_length: 65535, ..sending() };
    assert!(pack_announcements(&long, &huge, &V4_HOP, nlri, &mut BytesMut::new()).is_err());
    let fits = PathAttributes { communities: vec![Community(1); 16_000], ..route() };
    assert_eq!(pack_announcements(&long, &fits, &V4_HOP, nlri, &mut BytesMut::new()), Ok(1));
}

#[test]
fn aggregator_goes_before_atomic_aggregate_when_room_is_short() {
    let spare = 4096 - 23 - mandatory().len();
    let sent = |left: usize| {
        let value = vec![7; spare - 4 - left];
        let attributes = PathAttributes {
            atomic_aggregate: true,
            aggregator: Some((65001, Ipv4Addr::LOCALHOST)),
            unknown: vec![UnknownAttribute { code: 99, value: value.into() }],
            ..route()
        };
        let mut out = BytesMut::new();
        pack_announcements(&sending(), &attributes, &V4_HOP, hosts(1), &mut out).ok()?;
        let read = decode_all(&sending(), &out).pop()?.attributes?;
        Some((read.aggregator.is_some(), read.atomic_aggregate))
    };
    assert_eq!(sent(5 + 3 + 11), Some((true, true)));
    assert_eq!(sent(5 + 3 + 10), Some((false, true)));
    assert_eq!(sent(5 + 3), Some((false, true)));
    assert_eq!(sent(5 + 2), Some((false, false)));
    assert_eq!(sent(5), Some((false, false)));
    assert_eq!(sent(4), None);
}

#[test]
fn next_hop_that_the_peer_does_not_understand_is_not_sent() {
    let without = EncodeContext { extended_next_hop_v4: false, ..sending() };
    let unsent = pack_announcements(&without, &route(), &v6_hop(), hosts(3), &mut BytesMut::new()).unwrap_err();
    assert_eq!((unsent.reason, unsent.nlri.len()), (UnsentReason::NextHop, 3));
    let unsent = pack_announcements(&sending(), &route(), &V4_HOP, v6_hosts(2), &mut BytesMut::new()).unwrap_err();
    assert_eq!((unsent.reason, unsent.nlri.len()), (UnsentReason::NextHop, 2));
    let out = announce(&sending(), &route(), &v6_hop(), &hosts(3));
    let update = decode_all(&sending(), &out).pop().unwrap();
    assert_eq!((update.v4.announced, update.v4.next_hop), (hosts(3), Some(v6_hop())));
}

#[test]
fn link_local_rides_along_in_32_octets() {
    let link_local = Some("fe80::1".parse().unwrap());
    let both = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local };
    let out = announce(&sending(), &route(), &both, &v6_hosts(1));
    assert_eq!(out[29], 32);
    assert_eq!(decode_all(&sending(), &out)[0].v6.next_hop, Some(both));
}

#[test]
fn long_wide_path_survives_a_two_octet_peer() {
    let context = EncodeContext { four_octet_as: false, max_length: 65535, ..sending() };
    let attributes = PathAttributes {
        as_path: AsPath::from_sequence(&(0..1000).map(|number| 4_200_000_000 + number).collect::<Vec<_>>()),
        aggregator: Some((4_200_000_001, Ipv4Addr::LOCALHOST)),
        ..route()
    };
    let out = announce(&context, &attributes, &V4_HOP, &hosts(1));
    assert_eq!(decode_all(&context, &out)[0].attributes.as_ref().unwrap(), &attributes);
    let short = EncodeContext { max_length: 4096, ..context };
    assert!(pack_announcements(&short, &attributes, &V4_HOP, hosts(1), &mut BytesMut::new()).is_err());
}

#[test]
fn as4_attributes_are_sent_only_for_wide_numbers() {
    let context = EncodeContext { four_octet_as: false, ..sending() };
    let narrow = PathAttributes { aggregator: Some((7, Ipv4Addr::LOCALHOST)), ..route() };
    let out = announce(&context, &narrow, &V4_HOP, &hosts(1));
    assert!(!out.windows(2).any(|octets| octets == [0xc0, 17] || octets == [0xc0, 18]));
    let wide = PathAttributes { as_path: AsPath::from_sequence(&[65001, 65536]), ..route() };
    let out = announce(&context, &wide, &V4_HOP, &hosts(1));
    assert!(out.windows(3).any(|octets| octets == [0xc0, 17, 10]));
    assert_eq!(decode_all(&context, &out)[0].attributes.as_ref().unwrap(), &wide);
}

#[test]
fn end_of_rib_is_understood() {
    for family in Family::ALL {
        let octets: Bytes = end_of_rib(family);
        assert_eq!(decode_all(&sending(), &octets)[0].end_of_rib, Some(family));
    }
    assert_eq!(end_of_rib(Family::Ipv4Unicast).len(), 23);
    assert_eq!(end_of_rib(Family::Ipv6Unicast).len(), 29);
}
