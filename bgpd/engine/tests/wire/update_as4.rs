//! UPDATE from 2-octet speakers: AS4_PATH and AS4_AGGREGATOR (RFC 6793).

use std::net::Ipv4Addr;

use engine::wire::{AsPath, Fault, Outcome, Update};

use crate::support::*;

fn path(text: &str) -> AsPath {
    text.parse().unwrap()
}

#[test]
fn as4_attributes_of_a_four_octet_speaker_are_discarded_always() {
    for code in [17, 18] {
        for value in [&[][..], &[1], &[2, 1, 0, 0, 0, 1], &[0, 1, 0, 0, 1, 2, 3, 4]] {
            for flags in [0xc0, 0x40] {
                let update = with(&external(), &attribute(flags, code, value));
                assert_error(&update, code, Fault::NotFromThisPeer, Outcome::Discard);
                assert_eq!(update.attributes.unwrap().as_path.to_string(), "65001");
            }
        }
    }
}

fn from_two_octet(path: &[u16], more: &[u8]) -> Update {
    let attributes = [short_as_path(path), more.to_vec(), origin(), next_hop()].concat();
    decode(&two_octet(), &attributes).unwrap()
}

#[test]
fn malformed_as4_path_is_discarded_in_any_order() {
    let wide = [2, 1, 0, 1, 0, 0];
    for value in [
        &[][..],
        &[2],
        &[2, 1],
        &[2, 1, 0],
        &[2, 1, 0, 0, 0],
        &[2, 0],
        &[2, 2, 0, 0, 0, 1],
        &[7, 1, 0, 0, 0, 1],
        &[2, 1, 0, 0, 0, 0],
        &[2, 1, 0, 0, 0, 1, 9],
    ] {
        let as4 = attribute(0xc0, 17, value);
        for attributes in [
            [as4.clone(), short_as_path(&[65001, 23456]), origin(), next_hop()].concat(),
            [origin(), short_as_path(&[65001, 23456]), next_hop(), as4].concat(),
        ] {
            let update = decode(&two_octet(), &attributes).unwrap();
            assert_error(&update, 17, Fault::Value, Outcome::Discard);
            assert_eq!(update.attributes.unwrap().as_path, path("65001 23456"));
        }
    }
    let update = from_two_octet(&[65001, 23456], &attribute(0xc0, 17, &[&[3, 1, 0, 0, 0, 7][..], &wide].concat()));
    assert_eq!(update.attributes.unwrap().as_path, path("65001 65536"));
}

#[test]
fn as4_path_replaces_the_tail_of_the_path() {
    let as4 = |numbers: &[u32]| attribute(0xc0, 17, &as_path(numbers)[3..]);
    let merged = |short: &[u16], wide: &[u32]| from_two_octet(short, &as4(wide)).attributes.unwrap().as_path;
    assert_eq!(merged(&[65001, 23456, 23456], &[65536, 65537]), path("65001 65536 65537"));
    assert_eq!(merged(&[65001, 23456], &[65001, 65536]), path("65001 65536"));
    // Longer than the path: a 2-octet speaker removed something, so that it means nothing.
    assert_eq!(merged(&[65001, 23456], &[1, 2, 3]), path("65001 23456"));
    let set = [&[2, 1, 0xfd, 0xe9, 1, 2, 0, 1, 0, 2][..], &[2, 1, 0x5b, 0xa0]].concat();
    let attributes = [attribute(0x40, 2, &set), as4(&[65536]), origin(), next_hop()].concat();
    let update = decode(&two_octet(), &attributes).unwrap();
    assert_eq!(update.attributes.unwrap().as_path, path("65001 {1,2} 65536"));
}

#[test]
fn as4_aggregator_counts_only_beside_the_stand_in() {
    let as4 = [attribute(0xc0, 17, &as_path(&[65536])[3..]), attribute(0xc0, 18, &[0, 1, 0, 0, 9, 9, 9, 9])].concat();
    let trans = attribute(0xc0, 7, &[0x5b, 0xa0, 1, 2, 3, 4]);
    let read = from_two_octet(&[65001, 23456], &[as4.clone(), trans].concat()).attributes.unwrap();
    assert_eq!(read.aggregator, Some((65536, Ipv4Addr::new(9, 9, 9, 9))));
    assert_eq!(read.as_path, path("65001 65536"));
    let narrow = attribute(0xc0, 7, &[0, 7, 1, 2, 3, 4]);
    let read = from_two_octet(&[65001, 23456], &[as4.clone(), narrow].concat()).attributes.unwrap();
    assert_eq!(read.aggregator, Some((7, Ipv4Addr::new(1, 2, 3, 4))));
    assert_eq!(read.as_path, path("65001 23456"));
    let read = from_two_octet(&[65001, 23456], &as4).attributes.unwrap();
    assert_eq!((read.aggregator, read.as_path), (None, path("65001 65536")));
    for value in [&[0; 8][..], &[1; 7], &[1; 6], &[]] {
        let update = from_two_octet(&[65001], &attribute(0xc0, 18, value));
        assert_eq!((update.errors[0].code, update.errors[0].outcome), (18, Outcome::Discard));
        assert_accepted(&update);
    }
}
