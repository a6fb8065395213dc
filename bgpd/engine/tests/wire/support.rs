//! Octets and values that the tests are made of.

use std::net::Ipv4Addr;

use engine::prefix::{Ipv4Prefix, Ipv6Prefix, PerFamily};
use engine::wire::{AttributeError, EncodeContext, Fault, Notification, Outcome, Update, UpdateContext, decode_update};
use proptest::prelude::*;

pub(crate) const PEER_AS: u32 = 65001;

/// A 4-octet external session with both families.
pub(crate) fn external() -> UpdateContext {
    UpdateContext {
        four_octet_as: true,
        peer_is_internal: false,
        peer_as: PEER_AS,
        check_first_as: true,
        reject_as_sets: false,
        families: PerFamily::new(true, true),
        add_path_receive: PerFamily::new(false, false),
        extended_next_hop_v4: true,
    }
}

pub(crate) fn internal() -> UpdateContext {
    UpdateContext { peer_is_internal: true, ..external() }
}

pub(crate) fn two_octet() -> UpdateContext {
    UpdateContext { four_octet_as: false, ..external() }
}

pub(crate) fn sending() -> EncodeContext {
    EncodeContext {
        four_octet_as: true,
        max_length: 4096,
        add_path: PerFamily::new(false, false),
        extended_next_hop_v4: true,
    }
}

pub(crate) fn v4(text: &str) -> Ipv4Prefix {
    text.parse().unwrap()
}

pub(crate) fn v6(text: &str) -> Ipv6Prefix {
    text.parse().unwrap()
}

pub(crate) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![flags, code];
    if flags & 0x10 != 0 {
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    } else {
        out.push(u8::try_from(value.len()).unwrap());
    }
    out.extend_from_slice(value);
    out
}

pub(crate) fn origin() -> Vec<u8> {
    attribute(0x40, 1, &[0])
}

pub(crate) fn as_path(numbers: &[u32]) -> Vec<u8> {
    let mut value = vec![2, u8::try_from(numbers.len()).unwrap()];
    value.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    attribute(0x40, 2, &value)
}

pub(crate) fn short_as_path(numbers: &[u16]) -> Vec<u8> {
    let mut value = vec![2, u8::try_from(numbers.len()).unwrap()];
    value.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    attribute(0x40, 2, &value)
}

pub(crate) fn next_hop() -> Vec<u8> {
    attribute(0x40, 3, &[192, 0, 2, 1])
}

/// ORIGIN, AS_PATH and NEXT_HOP as an external 4-octet peer sends them.
pub(crate) fn mandatory() -> Vec<u8> {
    [origin(), as_path(&[PEER_AS]), next_hop()].concat()
}

pub(crate) const NLRI: &[u8] = &[24, 198, 51, 100];
pub(crate) const OTHER_NLRI: &[u8] = &[24, 203, 0, 113];

pub(crate) fn body(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(withdrawn.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(withdrawn);
    out.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(attributes);
    out.extend_from_slice(nlri);
    out
}

/// MP_REACH_NLRI of IPv6 unicast with one prefix, 2001:db8::/32.
pub(crate) fn mp_reach_v6() -> Vec<u8> {
    let mut value = vec![0, 2, 1, 16];
    value.extend_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    value.extend_from_slice(&[0, 32, 0x20, 1, 0xd, 0xb8]);
    attribute(0x80, 14, &value)
}

/// MP_UNREACH_NLRI of IPv6 unicast with one prefix, 2001:db8:1::/48.
pub(crate) fn mp_unreach_v6() -> Vec<u8> {
    attribute(0x80, 15, &[0, 2, 1, 48, 0x20, 1, 0xd, 0xb8, 0, 1])
}

pub(crate) fn decode(context: &UpdateContext, attributes: &[u8]) -> Result<Update, Notification> {
    decode_update(&body(&[], attributes, NLRI), context)
}

/// The update of good mandatory attributes and these.
pub(crate) fn with(context: &UpdateContext, more: &[u8]) -> Update {
    decode(context, &[mandatory(), more.to_vec()].concat()).unwrap()
}

/// Asserts that one error with this outcome was found, and that the message had its effect.
pub(crate) fn assert_error(update: &Update, code: u8, fault: Fault, outcome: Outcome) {
    assert_eq!(update.errors, [AttributeError { code, fault, outcome }]);
    if outcome == Outcome::Discard {
        assert_accepted(update);
    } else {
        assert!(update.treat_as_withdraw);
        assert_eq!(update.attributes, None);
        assert_eq!(update.v4.withdrawn.first().unwrap().prefix, v4("198.51.100.0/24"));
        assert!(update.v4.announced.is_empty() && update.v6.announced.is_empty());
    }
}

pub(crate) fn assert_accepted(update: &Update) {
    assert!(!update.treat_as_withdraw, "{:?}", update.errors);
    assert!(update.attributes.is_some());
    assert_eq!(update.v4.announced.first().unwrap().prefix, v4("198.51.100.0/24"));
    assert!(update.v4.next_hop.is_some());
}

pub(crate) fn any_v4() -> impl Strategy<Value = Ipv4Prefix> {
    (any::<u32>(), 0..=32u8).prop_map(|(bits, length)| Ipv4Prefix::new(Ipv4Addr::from_bits(bits), length).unwrap())
}

pub(crate) fn any_v6() -> impl Strategy<Value = Ipv6Prefix> {
    (any::<u128>(), 0..=128u8).prop_map(|(bits, length)| Ipv6Prefix::new(bits.into(), length).unwrap())
}
