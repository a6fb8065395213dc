//! UPDATE: MP_REACH_NLRI, MP_UNREACH_NLRI, next hops, End-of-RIB, ADD-PATH.

use std::net::{Ipv4Addr, Ipv6Addr};

use engine::prefix::{Family, PerFamily};
use engine::wire::{Fault, NextHop, Nlri, UpdateContext, decode_update};

use crate::support::*;
use crate::update::{more, reset};

#[test]
fn incorrect_mp_attribute_of_a_negotiated_family_resets_with_the_attribute() {
    let reach = mp_reach_v6();
    let mut cases = vec![
        attribute(0x80, 15, &[0, 2]),
        attribute(0x80, 15, &[]),
        attribute(0x80, 15, &[0, 2, 1, 129]),
        attribute(0x80, 15, &[0, 2, 1, 48, 1]),
        attribute(0x80, 14, &[0, 2, 1, 0]),
        attribute(0x80, 14, &[0, 2, 1, 0, 0]),
        attribute(0x80, 14, &[&[0, 2, 1, 4, 1, 2, 3, 4, 0][..], &[0]].concat()),
        attribute(0x80, 14, &[&[0, 1, 1, 5][..], &[1; 5], &[0, 8, 10]].concat()),
        attribute(0x80, 14, &[&[0, 2, 1, 16][..], &[1; 16], &[0, 129]].concat()),
    ];
    cases.extend([0x40, 0xc0, 0].map(|flags| [&[flags], &reach[1..]].concat()));
    cases.extend([0x40, 0xc0, 0].map(|flags| [&[flags], &mp_unreach_v6()[1..]].concat()));
    for attribute in cases {
        for attributes in [attribute.clone(), more(&attribute), [vec![0x40, 1, 1, 9], attribute.clone()].concat()] {
            for nlri in [NLRI, &[]] {
                let notification = decode_update(&body(&[], &attributes, nlri), &external()).unwrap_err();
                assert_eq!((notification.code, notification.subcode), (3, 9), "{attribute:02x?}");
                assert_eq!(notification.data, attribute);
            }
        }
    }
}

#[test]
fn mp_reach_of_every_next_hop_length_and_every_cut_resets_or_is_read() {
    for family in [1, 2] {
        for length in 0..=255u8 {
            let mut value = vec![0, family, 1, length];
            value.extend(std::iter::repeat_n(7, usize::from(length)));
            value.extend_from_slice(&[0, 16, 1, 2]);
            for cut in 0..=value.len() {
                let attribute = attribute(0x90, 14, &value[..cut]);
                let result =
                    decode_update(&body(&[], &[origin(), as_path(&[PEER_AS]), attribute].concat(), &[]), &external());
                let legal = matches!((family, length), (1, 4) | (_, 16 | 32));
                let head = 5 + usize::from(length);
                let whole = cut == value.len() || cut == head;
                assert_eq!(result.is_ok(), legal && whole, "family {family} length {length} cut {cut}");
            }
        }
    }
}

#[test]
fn mp_attributes_of_families_that_were_not_negotiated_are_ignored() {
    let evpn = attribute(0x80, 14, &[0, 25, 70, 4, 1, 2, 3, 4, 0, 255, 255]);
    let update = with(&external(), &evpn);
    assert_accepted(&update);
    assert_eq!(update.foreign_family, Some((25, 70)));
    let only_v4 = UpdateContext { families: PerFamily::new(true, false), ..external() };
    let update = with(&only_v4, &[mp_reach_v6(), mp_unreach_v6()].concat());
    assert_accepted(&update);
    assert!(update.v6.is_empty());
    assert_eq!(update.foreign_family, Some((2, 1)));
    assert_eq!(reset(decode(&external(), &more(&attribute(0xc0, 14, &[0, 25, 70, 0, 0])))), (3, 9));
    let only_v6 = UpdateContext { families: PerFamily::new(false, true), ..external() };
    let update = decode_update(&body(OTHER_NLRI, &mandatory(), NLRI), &only_v6).unwrap();
    assert!(update.v4.is_empty() && update.attributes.is_none());
    assert_eq!(update.foreign_family, Some((1, 1)));
}

#[test]
fn end_of_rib_is_an_empty_update_or_an_empty_mp_unreach() {
    let eor = |octets: &[u8]| decode_update(octets, &external()).unwrap().end_of_rib;
    assert_eq!(eor(&[0, 0, 0, 0]), Some(Family::Ipv4Unicast));
    assert_eq!(eor(&body(&[], &attribute(0x80, 15, &[0, 1, 1]), &[])), Some(Family::Ipv4Unicast));
    assert_eq!(eor(&body(&[], &attribute(0x90, 15, &[0, 2, 1]), &[])), Some(Family::Ipv6Unicast));
    assert_eq!(eor(&body(&[], &attribute(0x80, 15, &[0, 25, 70]), &[])), None);
    assert_eq!(eor(&body(&[], &mp_unreach_v6(), &[])), None);
    assert_eq!(eor(&body(OTHER_NLRI, &[], &[])), None);
    assert_eq!(eor(&body(&[], &[attribute(0x80, 15, &[0, 2, 1]), origin()].concat(), &[])), None);
    let only_v6 = UpdateContext { families: PerFamily::new(false, true), ..external() };
    assert_eq!(decode_update(&[0, 0, 0, 0], &only_v6).unwrap().end_of_rib, None);
}

#[test]
fn link_local_next_hops_come_in_three_encodings() {
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let read = |addresses: &[Ipv6Addr]| {
        let octets: Vec<u8> = addresses.iter().flat_map(Ipv6Addr::octets).collect();
        let value = [&[0, 2, 1, u8::try_from(octets.len()).unwrap()][..], &octets, &[0, 0]].concat();
        let attributes = [origin(), as_path(&[PEER_AS]), attribute(0x80, 14, &value)].concat();
        decode_update(&body(&[], &attributes, &[]), &external()).unwrap().v6.next_hop.unwrap()
    };
    for addresses in [&[link_local][..], &[link_local, link_local], &[Ipv6Addr::UNSPECIFIED, link_local]] {
        let next_hop = read(addresses);
        assert_eq!(next_hop, NextHop::V6 { global: link_local, link_local: None });
        assert_eq!(next_hop.link_local(), Some(link_local));
    }
    assert_eq!(read(&[global]).link_local(), None);
    assert_eq!(read(&[global, link_local]), NextHop::V6 { global, link_local: Some(link_local) });
    assert_eq!(read(&[global, global]), NextHop::V6 { global, link_local: None });
    assert!(read(&[Ipv6Addr::UNSPECIFIED]).is_martian());
}

#[test]
fn ipv4_prefixes_in_mp_reach_take_either_next_hop() {
    let reach = |next_hop: &[u8]| {
        let value = [&[0, 1, 1, u8::try_from(next_hop.len()).unwrap()][..], next_hop, &[0, 8, 10]].concat();
        attribute(0x80, 14, &value)
    };
    let base = [origin(), as_path(&[PEER_AS])].concat();
    let classic =
        decode_update(&body(&[], &[base.clone(), reach(&[192, 0, 2, 9])].concat(), &[]), &external()).unwrap();
    assert_eq!(classic.v4.next_hop, Some(NextHop::V4(Ipv4Addr::new(192, 0, 2, 9))));
    let six = Ipv6Addr::from_bits(0xfe80 << 112 | 7).octets();
    // A NEXT_HOP beside it does not count.
    let odd = attribute(0x40, 3, &[0, 0, 0, 0]);
    let update = decode_update(&body(&[], &[base.clone(), odd, reach(&six)].concat(), &[]), &external()).unwrap();
    assert_eq!(update.v4.next_hop, Some(NextHop::V6 { global: six.into(), link_local: None }));
    assert_eq!(update.v4.announced, [Nlri::new(v4("10.0.0.0/8"))]);
    let without = UpdateContext { extended_next_hop_v4: false, ..external() };
    assert_eq!(reset(decode_update(&body(&[], &[base, reach(&six)].concat(), &[]), &without)), (3, 9));
    let both = decode(&external(), &more(&reach(&six))).unwrap();
    assert!(both.treat_as_withdraw);
    assert_eq!(both.errors[0].fault, Fault::TwoNextHops);
    assert_eq!(both.v4.withdrawn.len(), 2);
    let agreeing = decode(&external(), &more(&reach(&[192, 0, 2, 1]))).unwrap();
    assert_eq!(agreeing.v4.announced.len(), 2);
}

#[test]
fn path_identifiers_are_read_where_they_were_negotiated() {
    let context = UpdateContext { add_path_receive: PerFamily::new(true, false), ..external() };
    let nlri = [&[0, 0, 0, 0][..], NLRI, &[255, 255, 255, 255], OTHER_NLRI].concat();
    let update = decode_update(&body(&nlri, &[mandatory(), mp_reach_v6()].concat(), &nlri), &context).unwrap();
    let expected = [Nlri::with_path_id(v4("198.51.100.0/24"), 0), Nlri::with_path_id(v4("203.0.113.0/24"), u32::MAX)];
    assert_eq!(update.v4.announced, expected);
    assert_eq!(update.v4.withdrawn, expected);
    assert_eq!(update.v6.announced, [Nlri::new(v6("2001:db8::/32"))]);
    for cut in [1, 2, 3, 4] {
        assert_eq!(reset(decode_update(&body(&[], &mandatory(), &nlri[..8 + cut]), &context)), (3, 10));
    }
    let context = UpdateContext { add_path_receive: PerFamily::new(false, true), ..external() };
    let cut = attribute(0x80, 15, &[0, 2, 1, 0, 0, 1]);
    assert_eq!(reset(decode_update(&body(&[], &cut, &[]), &context)), (3, 9));
}
