//! UPDATE: RFC 7606 row by row.

use std::net::Ipv4Addr;

use engine::wire::{
    Community, ExtendedCommunity, Fault, Ipv6ExtendedCommunity, LargeCommunity, NextHop, Nlri, Notification, Origin,
    Outcome, UpdateContext, decode_update,
};

use crate::support::*;

const TAW: Outcome = Outcome::TreatAsWithdraw;

/// Mandatory attributes with the one of this code replaced.
fn replaced(code: u8, replacement: &[u8]) -> Vec<u8> {
    let all = [(1, origin()), (2, as_path(&[PEER_AS])), (3, next_hop())];
    let mut out: Vec<u8> =
        all.iter().filter(|(other, _)| *other != code).flat_map(|(_, octets)| octets.clone()).collect();
    out.extend_from_slice(replacement);
    out
}

fn assert_taw(context: &UpdateContext, attributes: &[u8], code: u8, fault: Fault) {
    assert_error(&decode(context, attributes).unwrap(), code, fault, TAW);
}

pub(crate) fn more(extra: &[u8]) -> Vec<u8> {
    [mandatory(), extra.to_vec()].concat()
}

pub(crate) fn reset(result: Result<engine::wire::Update, Notification>) -> (u8, u8) {
    let notification = result.unwrap_err();
    (notification.code, notification.subcode)
}

#[test]
fn mandatory_attributes_make_a_route() {
    let update = decode(&external(), &mandatory()).unwrap();
    assert_accepted(&update);
    assert_eq!(update.v4.next_hop, Some(NextHop::V4(Ipv4Addr::new(192, 0, 2, 1))));
    let attributes = update.attributes.unwrap();
    assert_eq!((attributes.origin, attributes.as_path.to_string()), (Origin::Igp, "65001".to_owned()));
    assert_eq!((attributes.local_pref, attributes.med), (None, None));
}

#[test]
fn lengths_that_exceed_the_message_reset_the_session() {
    for octets in [
        &[][..],
        &[0],
        &[0, 0],
        &[0, 0, 0],
        &[0, 1],
        &[0, 0, 0, 1],
        &[0, 3, 24, 10, 0],
        &[255, 255, 0, 0],
        &[0, 0, 255, 255],
    ] {
        assert_eq!(reset(decode_update(octets, &external())), (3, 1), "{octets:02x?}");
    }
}

#[test]
fn classic_prefixes_that_are_cut_or_too_long_reset_the_session() {
    for field in [&[33, 1, 2, 3, 4, 5][..], &[24, 1, 2], &[255], &[32, 1, 2, 3], &[8, 10, 24]] {
        assert_eq!(reset(decode_update(&body(field, &[], &[]), &external())), (3, 10));
        assert_eq!(reset(decode_update(&body(&[], &mandatory(), field), &external())), (3, 10));
    }
}

#[test]
fn attribute_block_that_ends_inside_an_attribute_is_treated_as_withdrawal() {
    for tail in [&[0x40][..], &[0x40, 5], &[0x40, 5, 4, 0], &[0x50, 5, 0], &[0x50, 5, 255, 255], &[0xc0, 8, 255, 1]] {
        assert_taw(&external(), &more(tail), 0, Fault::Overrun);
    }
}

#[test]
fn extended_length_on_short_values_and_low_flag_bits_are_legal() {
    let attributes = [attribute(0x5f, 1, &[1]), as_path(&[PEER_AS]), attribute(0x4f, 3, &[192, 0, 2, 1])].concat();
    let update = decode(&external(), &attributes).unwrap();
    assert_accepted(&update);
    assert_eq!(update.attributes.unwrap().origin, Origin::Egp);
}

#[test]
fn repeated_attribute_keeps_the_first_unread_and_repeated_mp_attribute_resets() {
    let update = with(
        &external(),
        &[attribute(0x40, 1, &[9, 9]), attribute(0xc0, 99, &[1]), attribute(0xc0, 99, &[2])].concat(),
    );
    assert_accepted(&update);
    let codes: Vec<_> = update.errors.iter().map(|error| (error.code, error.fault, error.outcome)).collect();
    assert_eq!(codes, [(1, Fault::Duplicate, Outcome::Discard), (99, Fault::Duplicate, Outcome::Discard)]);
    assert_eq!(*update.attributes.unwrap().unknown[0].value, [1]);
    for attribute in [mp_reach_v6(), mp_unreach_v6()] {
        assert_eq!(reset(decode(&external(), &more(&[attribute.clone(), attribute].concat()))), (3, 1));
    }
}

#[test]
fn optional_or_transitive_bit_that_is_wrong_withdraws() {
    let rows: [(u8, u8, &[u8]); 12] = [
        (1, 0x40, &[0]),
        (2, 0x40, &[2, 1, 0, 0, 0xfd, 0xe9]),
        (3, 0x40, &[192, 0, 2, 1]),
        (4, 0x80, &[0; 4]),
        (5, 0x40, &[0; 4]),
        (8, 0xc0, &[0; 4]),
        (9, 0x80, &[0; 4]),
        (10, 0x80, &[0; 4]),
        (16, 0xc0, &[0; 8]),
        (25, 0xc0, &[0; 20]),
        (32, 0xc0, &[0; 12]),
        (35, 0xc0, &[0, 0, 0, 1]),
    ];
    for (code, right, value) in rows {
        for wrong in [0, 0x40, 0x80, 0xc0] {
            let update = decode(&internal(), &replaced(code, &attribute(wrong, code, value))).unwrap();
            if wrong == right {
                assert_accepted(&update);
            } else {
                assert_error(&update, code, Fault::Flags, TAW);
            }
            let partial = decode(&internal(), &replaced(code, &attribute(wrong | 0x20, code, value))).unwrap();
            assert_eq!(partial.treat_as_withdraw, wrong != right, "partial bit of {code}");
        }
    }
}

#[test]
fn flags_of_atomic_aggregate_and_aggregator_only_discard() {
    for (code, value, right) in [(6, &[][..], 0x40), (7, &[0, 0, 0, 1, 1, 2, 3, 4], 0xc0)] {
        for wrong in [0, 0x40, 0x80, 0xc0].into_iter().filter(|flags| *flags != right) {
            assert_error(&with(&external(), &attribute(wrong, code, value)), code, Fault::Flags, Outcome::Discard);
        }
    }
}

#[test]
fn origin_of_wrong_length_or_value_withdraws() {
    assert_taw(&external(), &replaced(1, &attribute(0x40, 1, &[])), 1, Fault::Length);
    assert_taw(&external(), &replaced(1, &attribute(0x40, 1, &[0, 0])), 1, Fault::Length);
    assert_taw(&external(), &replaced(1, &attribute(0x40, 1, &[3])), 1, Fault::Value);
}

#[test]
fn malformed_as_path_withdraws() {
    let peer = [0, 0, 0xfd, 0xe9];
    let good = [&[2, 1][..], &peer].concat();
    let cases: [Vec<u8>; 9] = [
        [&[5, 1][..], &peer].concat(),
        [&[3, 1][..], &peer].concat(),
        [&[4, 1][..], &peer].concat(),
        [&good[..], &[2, 0]].concat(),
        [&good[..], &[2]].concat(),
        [&[2, 2][..], &peer].concat(),
        [&good[..], &[2, 1, 0, 0, 0, 0]].concat(),
        [&good[..], &[1, 1, 0, 0, 0, 0]].concat(),
        [&[0, 1][..], &peer].concat(),
    ];
    for value in cases {
        assert_taw(&external(), &replaced(2, &attribute(0x40, 2, &value)), 2, Fault::Value);
        assert_taw(&internal(), &replaced(2, &attribute(0x40, 2, &value)), 2, Fault::Value);
    }
}

#[test]
fn first_as_of_an_external_path_is_the_peer() {
    for value in [as_path(&[64999, PEER_AS]), attribute(0x40, 2, &[]), attribute(0x40, 2, &[1, 1, 0, 0, 0xfd, 0xe9])] {
        assert_taw(&external(), &replaced(2, &value), 2, Fault::FirstAs);
        assert_accepted(&decode(&internal(), &replaced(2, &value)).unwrap());
        let route_server = UpdateContext { check_first_as: false, ..external() };
        assert_accepted(&decode(&route_server, &replaced(2, &value)).unwrap());
    }
}

#[test]
fn as_sets_are_accepted_unless_the_configuration_refuses_them() {
    let value = attribute(0x40, 2, &[2, 1, 0, 0, 0xfd, 0xe9, 1, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
    let update = decode(&external(), &replaced(2, &value)).unwrap();
    assert_accepted(&update);
    let path = update.attributes.unwrap().as_path;
    assert_eq!((path.to_string().as_str(), path.length()), ("65001 {7,8}", 2));
    let strict = UpdateContext { reject_as_sets: true, ..external() };
    assert_taw(&strict, &replaced(2, &value), 2, Fault::AsSet);
}

#[test]
fn next_hop_of_wrong_length_withdraws_but_beside_mp_reach_it_is_ignored() {
    for length in [0, 1, 3, 5, 16] {
        let odd = attribute(0x40, 3, &vec![1; length]);
        assert_taw(&external(), &replaced(3, &odd), 3, Fault::Length);
        let attributes = [origin(), as_path(&[PEER_AS]), odd, mp_reach_v6()].concat();
        let update = decode_update(&body(&[], &attributes, &[]), &external()).unwrap();
        assert!(update.errors.is_empty());
        assert_eq!(update.v6.announced, [Nlri::new(v6("2001:db8::/32"))]);
    }
}

#[test]
fn two_errors_in_one_update_are_both_found() {
    let attributes = [attribute(0x40, 1, &[7]), as_path(&[PEER_AS]), attribute(0x40, 3, &[1])].concat();
    let update = decode(&external(), &attributes).unwrap();
    let codes: Vec<_> = update.errors.iter().map(|error| error.code).collect();
    assert_eq!((codes, update.treat_as_withdraw), (vec![1, 3], true));
}

#[test]
fn four_octet_numbers_of_wrong_length_withdraw() {
    for length in [0, 1, 3, 5, 8] {
        for (flags, code) in [(0x80, 4), (0x40, 5), (0x80, 9), (0xc0, 35)] {
            assert_taw(&internal(), &more(&attribute(flags, code, &vec![1; length])), code, Fault::Length);
        }
    }
    let attributes =
        [attribute(0x80, 4, &[0, 0, 0, 5]), attribute(0x40, 5, &[0, 0, 0, 200]), attribute(0xc0, 35, &[0, 0, 0, 9])];
    let read = with(&internal(), &attributes.concat()).attributes.unwrap();
    assert_eq!((read.med, read.local_pref, read.otc), (Some(5), Some(200), Some(9)));
}

#[test]
fn internal_attributes_from_an_external_peer_are_discarded_whatever_they_hold() {
    for code in [5, 9, 10] {
        for (flags, value) in [(0x40, &[0, 0, 0, 1][..]), (0x80, &[0, 0, 0, 1]), (0xc0, &[]), (0, &[1, 2, 3])] {
            let update = with(&external(), &attribute(flags, code, value));
            assert_error(&update, code, Fault::NotFromThisPeer, Outcome::Discard);
            let attributes = update.attributes.unwrap();
            assert_eq!((attributes.local_pref, attributes.originator_id), (None, None));
            assert!(attributes.cluster_list.is_empty());
        }
    }
}

#[test]
fn atomic_aggregate_with_a_value_is_discarded() {
    assert_error(&with(&external(), &attribute(0x40, 6, &[0])), 6, Fault::Length, Outcome::Discard);
    assert!(with(&external(), &attribute(0x40, 6, &[])).attributes.unwrap().atomic_aggregate);
}

#[test]
fn malformed_aggregator_is_discarded() {
    for length in [0, 6, 7, 9] {
        assert_error(&with(&external(), &attribute(0xc0, 7, &vec![1; length])), 7, Fault::Length, Outcome::Discard);
    }
    assert_error(&with(&external(), &attribute(0xc0, 7, &[0, 0, 0, 0, 1, 2, 3, 4])), 7, Fault::Value, Outcome::Discard);
    let good = with(&external(), &attribute(0xc0, 7, &[0, 1, 0, 0, 1, 2, 3, 4]));
    assert_eq!(good.attributes.unwrap().aggregator, Some((65536, Ipv4Addr::new(1, 2, 3, 4))));
    let short = [origin(), short_as_path(&[65001]), next_hop()].concat();
    for length in [0, 5, 7, 8] {
        let update = decode(&two_octet(), &[short.clone(), attribute(0xc0, 7, &vec![1; length])].concat()).unwrap();
        assert_error(&update, 7, Fault::Length, Outcome::Discard);
    }
}

#[test]
fn lists_that_are_empty_or_no_multiple_of_their_unit_withdraw() {
    for (flags, code, unit) in [(0xc0, 8, 4), (0x80, 10, 4), (0xc0, 16, 8), (0xc0, 25, 20), (0xc0, 32, 12)] {
        for length in [0, 1, unit - 1, unit + 1, 2 * unit - 1] {
            assert_taw(&internal(), &more(&attribute(flags, code, &vec![1; length])), code, Fault::Length);
        }
        for count in [1, 2, 3] {
            let value: Vec<u8> = (0..unit * count).map(|octet| octet as u8).collect();
            assert_accepted(&with(&internal(), &attribute(flags, code, &value)));
        }
    }
}

#[test]
fn communities_of_all_kinds_are_read_in_order() {
    let extended = [0, 2, 0xfd, 0xe9, 0, 0, 0, 1];
    let mut ipv6 = [0; 20];
    ipv6[1] = 2;
    let large = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let attributes = [
        attribute(0xc0, 8, &[0xff, 0xff, 0xff, 1, 0, 1, 0, 2]),
        attribute(0xc0, 16, &extended),
        attribute(0xc0, 25, &ipv6),
        attribute(0xc0, 32, &[large, [9; 12], large].concat()),
    ];
    let read = with(&external(), &attributes.concat()).attributes.unwrap();
    assert_eq!(read.communities, [Community::NO_EXPORT, Community::new(1, 2)]);
    assert_eq!(read.extended_communities, [ExtendedCommunity(extended)]);
    assert_eq!(read.ipv6_extended_communities, [Ipv6ExtendedCommunity(ipv6)]);
    let texts: Vec<_> = read.large_communities.iter().map(LargeCommunity::to_string).collect();
    assert_eq!(texts, ["1:2:3", "151587081:151587081:151587081"]);
}

#[test]
fn codes_that_are_not_implemented_are_never_looked_into() {
    let known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 25, 32, 35];
    let values: [&[u8]; 4] = [&[], &[0], &[255; 3], &[7; 40]];
    for code in (0..=255).filter(|code| !known.contains(code)) {
        for value in values {
            for low in [0, 0x20, 0x05] {
                let update = with(&external(), &attribute(0xc0 | low, code, value));
                assert_accepted(&update);
                let unknown = update.attributes.unwrap().unknown;
                assert_eq!((unknown[0].code, &*unknown[0].value), (code, value));
                let dropped = with(&external(), &attribute(0x80 | low, code, value));
                assert_accepted(&dropped);
                assert!(dropped.attributes.unwrap().unknown.is_empty() && dropped.errors.is_empty());
                for well_known in [0x40, 0] {
                    assert_taw(
                        &external(),
                        &more(&attribute(well_known | low, code, value)),
                        code,
                        Fault::Unrecognized,
                    );
                }
            }
        }
    }
}

#[test]
fn update_with_prefixes_but_without_useful_attributes_withdraws() {
    for attributes in [vec![], attribute(0xc0, 31, &[1]), mp_unreach_v6(), attribute(0x80, 31, &[])] {
        let update = decode(&external(), &attributes).unwrap();
        assert!(update.treat_as_withdraw);
        let missing: Vec<_> = update.errors.iter().map(|error| (error.code, error.fault)).collect();
        assert_eq!(missing, [(1, Fault::Missing), (2, Fault::Missing), (3, Fault::Missing)]);
        assert_eq!(update.v4.withdrawn, [Nlri::new(v4("198.51.100.0/24"))]);
    }
}

#[test]
fn each_missing_mandatory_attribute_withdraws() {
    for code in [1, 2, 3] {
        assert_taw(&external(), &replaced(code, &[]), code, Fault::Missing);
    }
    let only_mp = [origin(), as_path(&[PEER_AS]), mp_reach_v6()].concat();
    assert!(!decode_update(&body(&[], &only_mp, &[]), &external()).unwrap().treat_as_withdraw);
    let update = decode_update(&body(&[], &mp_reach_v6(), &[]), &external()).unwrap();
    assert_eq!(update.v6.withdrawn, [Nlri::new(v6("2001:db8::/32"))]);
}

#[test]
fn error_without_prefixes_resets_with_the_subcode_of_the_error() {
    let cases: [(Vec<u8>, u8); 8] = [
        (attribute(0x40, 1, &[0, 0]), 5),
        (attribute(0x40, 1, &[9]), 6),
        (attribute(0xc0, 1, &[0]), 4),
        (attribute(0x40, 2, &[9, 9]), 11),
        (attribute(0x40, 3, &[1]), 5),
        (attribute(0x40, 77, &[]), 2),
        (attribute(0xc0, 8, &[]), 5),
        (vec![0x40, 1, 200], 1),
    ];
    for (attribute, subcode) in cases {
        for attributes in [attribute.clone(), [mp_unreach_v6(), attribute.clone()].concat()] {
            for withdrawn in [&[][..], OTHER_NLRI] {
                let notification = decode_update(&body(withdrawn, &attributes, &[]), &external()).unwrap_err();
                assert_eq!((notification.code, notification.subcode), (3, subcode), "{attribute:02x?}");
                let with_data = !matches!(subcode, 1 | 11);
                assert_eq!(notification.data, if with_data { attribute.clone() } else { vec![] });
            }
        }
        // The same error beside prefixes never resets.
        assert!(decode(&external(), &attribute).unwrap().treat_as_withdraw);
    }
}

#[test]
fn discard_without_prefixes_is_harmless() {
    let update = decode_update(&body(OTHER_NLRI, &attribute(0x40, 6, &[1]), &[]), &external()).unwrap();
    assert_eq!((update.treat_as_withdraw, update.errors.len()), (false, 1));
    assert_eq!(update.v4.withdrawn, [Nlri::new(v4("203.0.113.0/24"))]);
}

#[test]
fn withdrawal_under_treat_as_withdraw_reaches_every_prefix_of_every_field() {
    let attributes =
        [attribute(0x40, 1, &[7]), mp_unreach_v6(), mp_reach_v6(), as_path(&[PEER_AS]), next_hop()].concat();
    let update = decode_update(&body(OTHER_NLRI, &attributes, &[NLRI, &[8, 10]].concat()), &external()).unwrap();
    assert!(update.treat_as_withdraw);
    let v4s: Vec<_> = update.v4.withdrawn.iter().map(|nlri| nlri.prefix.to_string()).collect();
    assert_eq!(v4s, ["203.0.113.0/24", "198.51.100.0/24", "10.0.0.0/8"]);
    let v6s: Vec<_> = update.v6.withdrawn.iter().map(|nlri| nlri.prefix.to_string()).collect();
    assert_eq!(v6s, ["2001:db8:1::/48", "2001:db8::/32"]);
    assert_eq!((update.v4.next_hop, update.v6.next_hop), (None, None));
}

#[test]
fn host_bits_are_dropped_and_extreme_lengths_are_prefixes() {
    let nlri = [&[20, 10, 1, 0xff][..], &[0], &[32, 1, 2, 3, 4], &[1, 0xff]].concat();
    let update = decode_update(&body(&[], &mandatory(), &nlri), &external()).unwrap();
    let texts: Vec<_> = update.v4.announced.iter().map(|nlri| nlri.prefix.to_string()).collect();
    assert_eq!(texts, ["10.1.240.0/20", "0.0.0.0/0", "1.2.3.4/32", "128.0.0.0/1"]);
}

#[test]
fn partial_bit_of_known_attributes_is_remembered() {
    let update = with(&external(), &[attribute(0xe0, 8, &[0, 1, 0, 2]), attribute(0xc0, 32, &[1; 12])].concat());
    let partial = update.attributes.unwrap().partial;
    assert!(partial.has(8) && !partial.has(32));
}

#[test]
fn order_of_attributes_does_not_matter() {
    let parts =
        [origin(), as_path(&[PEER_AS]), next_hop(), attribute(0xc0, 8, &[0, 1, 0, 2]), attribute(0xc0, 99, &[5])];
    let expected = decode(&external(), &parts.concat()).unwrap();
    for rotation in 0..parts.len() {
        let mut turned = parts.clone();
        turned.rotate_left(rotation);
        assert_eq!(decode(&external(), &turned.concat()).unwrap(), expected);
        turned.reverse();
        assert_eq!(decode(&external(), &turned.concat()).unwrap(), expected);
    }
}

#[test]
fn errors_read_as_sentences() {
    let update = decode(&external(), &replaced(1, &attribute(0x40, 1, &[9]))).unwrap();
    assert_eq!(update.errors[0].to_string(), "ORIGIN: malformed value (treated as withdrawal)");
    let update = decode(&external(), &more(&[0x40])).unwrap();
    assert_eq!(update.errors[0].to_string(), "attributes: goes beyond the attributes (treated as withdrawal)");
}
