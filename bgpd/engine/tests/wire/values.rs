//! Prefixes, AS paths, communities, next hops as values and as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::prefix::{Family, Ipv4Prefix, Ipv6Prefix, NetPrefix, PerFamily, Prefix};
use engine::wire::{
    AsPath, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, NextHop, Segment, SegmentKind,
};
use ipnetwork::IpNetwork;
use proptest::prelude::*;

use crate::packing_properties::any_path;
use crate::support::*;

fn path(text: &str) -> AsPath {
    text.parse().unwrap()
}

#[test]
fn prefixes_are_equal_by_their_network_bits() {
    assert_eq!(v4("10.0.0.1/24"), v4("10.0.0.255/24"));
    assert_eq!(v4("10.0.0.1").to_string(), "10.0.0.1/32");
    assert_eq!(v6("2001:db8::1/64").to_string(), "2001:db8::/64");
    assert_eq!(Ipv4Prefix::new(Ipv4Addr::BROADCAST, 0), Some(Ipv4Prefix::DEFAULT));
    assert_eq!(Ipv6Prefix::new(Ipv6Addr::from_bits(u128::MAX), 0), Some(Ipv6Prefix::DEFAULT));
    assert_eq!((Ipv4Prefix::new(Ipv4Addr::LOCALHOST, 33), Ipv6Prefix::new(Ipv6Addr::LOCALHOST, 129)), (None, None));
    for text in ["", "10.0.0.0/33", "10.0.0/24", "x", "2001:db8::/129", "10.0.0.0/-1"] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
}

#[test]
fn prefixes_cover_their_parts_and_sort_before_them() {
    let outer: Prefix = "10.0.0.0/8".parse().unwrap();
    let inner: Prefix = "10.1.0.0/16".parse().unwrap();
    assert!(outer.covers(inner) && outer.covers(outer) && !inner.covers(outer) && outer < inner);
    assert!(!outer.covers("2001:db8::/32".parse().unwrap()));
    assert!(inner.contains_address("10.1.2.3".parse().unwrap()));
    assert!(!inner.contains_address("10.2.0.0".parse().unwrap()));
    assert_eq!(
        (inner.length(), inner.address(), inner.family()),
        (16, "10.1.0.0".parse().unwrap(), Family::Ipv4Unicast)
    );
    assert_eq!(Ipv6Prefix::from_prefix(inner), None);
}

#[test]
fn martians_are_known_and_ordinary_destinations_are_not() {
    for text in ["0.0.0.0/8", "0.1.2.3/32", "127.0.0.1/32", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"] {
        assert!(v4(text).is_martian(), "{text}");
    }
    for text in ["0.0.0.0/0", "10.0.0.0/8", "1.0.0.0/8", "223.255.255.0/24", "192.168.0.0/16", "128.0.0.0/1"] {
        assert!(!v4(text).is_martian(), "{text}");
    }
    for text in ["ff00::/8", "ff02::1/128", "fe80::/10", "fe80::1/128", "::1/128", "::/128", "::ffff:10.0.0.0/104"] {
        assert!(v6(text).is_martian(), "{text}");
    }
    for text in ["::/0", "2000::/3", "fc00::/7", "2001:db8::/32", "fd00::1/128"] {
        assert!(!v6(text).is_martian(), "{text}");
    }
}

#[test]
fn families_index_and_name_themselves() {
    let mut counts = PerFamily::new(1, 2);
    counts[Family::Ipv6Unicast] += 1;
    assert_eq!(counts.iter().collect::<Vec<_>>(), [(Family::Ipv4Unicast, &1), (Family::Ipv6Unicast, &3)]);
    for (index, family) in Family::ALL.into_iter().enumerate() {
        assert_eq!((family.index(), Family::from_afi_safi(family.afi(), family.safi())), (index, Some(family)));
    }
    assert_eq!(Family::from_afi_safi(1, 2), None);
    assert_eq!(PerFamily::<bool>::of(&[Family::Ipv6Unicast]).families().collect::<Vec<_>>(), [Family::Ipv6Unicast]);
    assert_eq!(Family::of(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string(), "ipv4");
}

#[test]
fn prepending_fills_the_leading_sequence_and_opens_a_new_one() {
    assert_eq!(AsPath::new().prepended(1, 2), path("1 1"));
    assert_eq!(path("2 3").prepended(1, 1).segments().count(), 1);
    let before_set = path("{2,3}").prepended(1, 1);
    assert_eq!((before_set.to_string().as_str(), before_set.length()), ("1 {2,3}", 2));
    let full = AsPath::from_sequence(&[7; 255]).prepended(1, 1);
    let lengths: Vec<_> = full.segments().map(|segment| segment.numbers.len()).collect();
    assert_eq!((lengths, full.length()), (vec![1, 255], 256));
}

#[test]
fn path_answers_the_questions_of_decision_and_loop_detection() {
    let path = path("65001 65100 65001 {65001,7}");
    assert_eq!((path.length(), path.count(65001), path.count(8)), (4, 3, 0));
    assert_eq!((path.first_as(), path.origin_as()), (Some(65001), None));
    assert!(path.has_set() && !path.has_wide_number() && !path.is_empty());
    assert_eq!(AsPath::new().first_as(), None);
    assert_eq!(AsPath::from_sequence(&[1, 65536]).origin_as(), Some(65536));
    let first = path.segments().next().unwrap();
    assert_eq!(first, Segment { kind: SegmentKind::Sequence, numbers: &[65001, 65100, 65001] });
}

#[test]
fn private_numbers_are_removed_with_the_segments_they_leave_empty() {
    let removed = path("64512 3 65534 {4200000000,4294967294} 65535 4294967295").without_private(None, None);
    assert_eq!(removed, {
        let mut expected = AsPath::from_sequence(&[3]);
        expected.push(SegmentKind::Sequence, &[65535, u32::MAX]);
        expected
    });
    assert!(path("64512 65000").without_private(None, None).is_empty());
    assert_eq!(path("64512 3 65000 65000").without_private(Some(7), Some(64512)), path("64512 3 7 7"));
}

#[test]
fn text_that_is_no_path_is_refused() {
    for text in ["0", "1 x", "{1", "{}", "1,2", "{1 2}", "4294967296", "}"] {
        assert!(text.parse::<AsPath>().is_err(), "{text}");
    }
    assert_eq!(path("  1   2 {3,4}5 ").to_string(), "1 2 {3,4} 5");
}

#[test]
fn communities_read_and_write_their_names() {
    for (community, text) in [
        (Community::NO_EXPORT, "no-export"),
        (Community::NO_ADVERTISE, "no-advertise"),
        (Community::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
        (Community::BLACKHOLE, "blackhole"),
        (Community::LLGR_STALE, "llgr-stale"),
        (Community::new(65000, 1), "65000:1"),
    ] {
        assert_eq!(community.to_string(), text);
        assert_eq!(text.parse(), Ok(community));
    }
    assert_eq!("65535:65281".parse(), Ok(Community::NO_EXPORT));
    assert_eq!("4294967041".parse(), Ok(Community::NO_EXPORT));
    for text in ["", "65536:1", "1:2:3", "1:", "x"] {
        assert!(text.parse::<Community>().is_err(), "{text}");
    }
}

#[test]
fn large_and_extended_communities_read_what_they_write() {
    let large = LargeCommunity { global: 4_200_000_000, local1: 2, local2: 3 };
    assert_eq!("4200000000:2:3".parse(), Ok(large));
    for text in ["1:2", "1:2:3:4", "1:2:4294967296", "::", ""] {
        assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
    }
    for text in ["rt:65000:4294967295", "rt:192.0.2.1:7", "soo:65536:9", "lb:65000:125000000", "0x4302000000000001"] {
        let community: ExtendedCommunity = text.parse().unwrap();
        assert_eq!(community.to_string(), text);
    }
    for text in ["rt:65536:65536", "rt:1", "rt:x:1", "0x43", "zz:1:2", "rt:1.2.3.4:65536", ""] {
        assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
    }
    let ipv6 = Ipv6ExtendedCommunity([0, 2, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9]);
    assert_eq!(ipv6.to_string(), "0x00.0x02:[2001:db8::1]:9");
    assert!(ipv6.is_transitive());
}

#[test]
fn link_bandwidth_is_read_in_both_forms() {
    let community = ExtendedCommunity::from_link_bandwidth(23456, 1.25e9);
    assert_eq!(community.link_bandwidth(), Some((23456, 1.25e9)));
    assert!(!community.is_transitive());
    let transitive = ExtendedCommunity([0, 4, 0, 1, 0x3f, 0x80, 0, 0]);
    assert_eq!(transitive.link_bandwidth(), Some((1, 1.0)));
    assert_eq!(ExtendedCommunity([0, 2, 0, 1, 0, 0, 0, 0]).link_bandwidth(), None);
    assert_eq!(ExtendedCommunity([0x40, 4, 0, 1, 0x7f, 0xc0, 0, 0]).to_string(), "0x400400017fc00000");
}

#[test]
fn next_hops_say_where_they_point_and_when_they_point_nowhere() {
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let both = NextHop::V6 { global, link_local: Some(link_local) };
    assert_eq!((both.address(), both.link_local()), (IpAddr::V6(global), Some(link_local)));
    assert_eq!(both.to_string(), "2001:db8::1 (fe80::1)");
    assert_eq!(NextHop::new(IpAddr::V6(link_local)).link_local(), Some(link_local));
    for text in ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255", "::", "::1", "ff02::1"] {
        assert!(NextHop::new(text.parse().unwrap()).is_martian(), "{text}");
    }
    for text in ["10.0.0.1", "fe80::1", "2001:db8::1"] {
        assert!(!NextHop::new(text.parse().unwrap()).is_martian(), "{text}");
    }
}

proptest! {
    #[test]
    fn paths_read_what_they_write(path in any_path()) {
        let read: AsPath = path.to_string().parse().unwrap();
        prop_assert_eq!(read.to_string(), path.to_string());
        prop_assert_eq!((read.length(), read.numbers().collect::<Vec<_>>()), (path.length(), path.numbers().collect()));
    }

    #[test]
    fn extended_communities_read_what_they_write(octets: [u8; 8], kind in 0..3u8, sub_type in 2..5u8) {
        for community in [ExtendedCommunity(octets), {
            let [_, _, rest @ ..] = octets;
            let [a, b, c, d, e, f] = rest;
            ExtendedCommunity([kind, sub_type, a, b, c, d, e, f])
        }] {
            prop_assert_eq!(community.to_string().parse::<ExtendedCommunity>().unwrap(), community);
        }
    }

    #[test]
    fn prefixes_survive_octets_text_and_network(v4 in any_v4(), v6 in any_v6()) {
        prop_assert_eq!(v4.with_octets(|octets| Ipv4Prefix::from_octets(v4.length(), octets)), Some(v4));
        prop_assert_eq!(v6.with_octets(|octets| Ipv6Prefix::from_octets(v6.length(), octets)), Some(v6));
        for prefix in [Prefix::V4(v4), Prefix::V6(v6)] {
            prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
            prop_assert_eq!(Prefix::from(IpNetwork::from(prefix)), prefix);
            prop_assert_eq!(Prefix::new(prefix.address(), prefix.length()), Some(prefix));
        }
        use prefix_trie::Prefix as Key;
        prop_assert_eq!(Ipv4Prefix::from_repr_len(v4.repr(), v4.prefix_len()), v4);
        prop_assert_eq!(Ipv6Prefix::from_repr_len(v6.repr(), v6.prefix_len()), v6);
    }
}
