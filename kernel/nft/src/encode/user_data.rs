//! What nft keeps beside a set or rule so that it can print it.
//!
//! The kernel stores these bytes and does not look at them; nft does, and aborts when the byte order of a verdict map
//! is wrong. Type, length and value, each type one byte (`libnftnl/udata.h`). Numbers are in the order of the machine.

use crate::datatype::needs_typeof;
use crate::netlink::{expression, payload_of, rule};
use crate::{Datatype, Field, MapData, Set};

const KEY_BYTE_ORDER: u8 = 0;
const DATA_BYTE_ORDER: u8 = 1;
const KEY_TYPEOF: u8 = 3;
const DATA_TYPEOF: u8 = 4;
const COMMENT: u8 = 7;

/// nft's byte orders; concatenations and verdicts have none.
const NO_ORDER: u32 = 0;
const HOST_ORDER: u32 = 1;
const BIG_ENDIAN: u32 = 2;

/// nft's kinds of expression.
const PAYLOAD: u32 = 7;
const META: u32 = 9;
const CT: u32 = 12;
const CONCATENATION: u32 = 13;
const NUMGEN: u32 = 23;

#[derive(Default)]
struct List(Vec<u8>);

impl List {
    fn bytes(&mut self, kind: u8, value: &[u8]) {
        // What is longer would be cut by the one byte that holds its length.
        if let Ok(length) = u8::try_from(value.len()) {
            self.0.extend_from_slice(&[kind, length]);
            self.0.extend_from_slice(value);
        }
    }

    fn number(&mut self, kind: u8, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn nested(&mut self, kind: u8, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(kind, &inner.0);
    }

    fn comment(&mut self, kind: u8, comment: &str) {
        let text: Vec<u8> = comment.bytes().chain([0]).collect();
        self.bytes(kind, &text);
    }
}

/// The user data of a named set.
pub(super) fn of_set(set: &Set) -> Vec<u8> {
    let values = match &set.data {
        Some(MapData::Values(parts)) => parts.as_slice(),
        Some(MapData::Verdict) | None => &[],
    };
    let mut list = List::default();
    list.number(KEY_BYTE_ORDER, byte_order(&set.key));
    if set.data.is_some() {
        list.number(DATA_BYTE_ORDER, byte_order(values));
    }
    if needs_typeof(&set.key) || needs_typeof(values) {
        list.nested(KEY_TYPEOF, |list| type_of(list, &set.key));
        if !values.is_empty() {
            list.nested(DATA_TYPEOF, |list| type_of(list, values));
        }
    }
    if let Some(comment) = set.kept_comment() {
        list.comment(COMMENT, comment);
    }
    list.0
}

/// The user data of an anonymous set or verdict map.
pub(super) fn of_anonymous_set(key: &[Datatype], is_map: bool) -> Vec<u8> {
    let mut list = List::default();
    list.number(KEY_BYTE_ORDER, byte_order(key));
    if is_map {
        list.number(DATA_BYTE_ORDER, NO_ORDER);
    }
    list.0
}

/// The user data of a rule with a comment.
pub(super) fn of_rule(comment: &str) -> Vec<u8> {
    let mut list = List::default();
    list.comment(rule::USER_COMMENT, comment);
    list.0
}

/// The comment in the user data of a set.
pub(crate) fn comment_of_set(data: &[u8]) -> Option<String> {
    comment(data, COMMENT)
}

/// The comment in the user data of a rule.
pub(crate) fn comment_of_rule(data: &[u8]) -> Option<String> {
    comment(data, rule::USER_COMMENT)
}

fn comment(mut data: &[u8], wanted: u8) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        if *kind == wanted {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8(text.to_vec()).ok();
        }
        data = after;
    }
    None
}

fn byte_order(parts: &[Datatype]) -> u32 {
    match parts {
        [single] if single.is_host_order() => HOST_ORDER,
        [_] => BIG_ENDIAN,
        _ => NO_ORDER,
    }
}

fn type_of(list: &mut List, parts: &[Datatype]) {
    if let [single] = parts {
        return expression_of(list, *single);
    }
    list.number(0, CONCATENATION);
    list.nested(1, |list| {
        for (index, part) in (0u8..).zip(parts) {
            list.nested(index, |list| expression_of(list, *part));
        }
    });
}

/// An expression that has this type; the same as [`Datatype::typeof_name`] says in words.
fn expression_of(list: &mut List, datatype: Datatype) {
    let field = match datatype {
        Datatype::Slot => return numgen(list),
        Datatype::Ipv4Addr => Field::Ip4Daddr,
        Datatype::Ipv6Addr => Field::Ip6Daddr,
        Datatype::InetService => Field::ThDport,
        Datatype::IcmpType => Field::IcmpType,
        Datatype::IcmpCode => Field::IcmpCode,
        Datatype::Icmpv6Type => Field::Icmpv6Type,
        Datatype::Icmpv6Code => Field::Icmpv6Code,
        Datatype::InetProto => return meta(list, expression::meta::L4PROTO),
        Datatype::NfProto => return meta(list, expression::meta::NFPROTO),
        Datatype::Ifname => return meta(list, expression::meta::IIFNAME),
        Datatype::Mark => return ct(list, expression::ct::MARK),
        Datatype::CtState => return ct(list, expression::ct::STATE),
        Datatype::CtDirection => return ct(list, expression::ct::DIRECTION),
    };
    let (header, number) = header_field(field);
    debug_assert!(payload_of(field).is_some());
    list.number(0, PAYLOAD);
    list.nested(1, |list| {
        list.number(0, header);
        list.number(1, number);
    });
}

/// nft's number of a header and of a field in it.
const fn header_field(field: Field) -> (u32, u32) {
    match field {
        Field::Ip4Saddr => (12, 11),
        Field::Ip4Daddr => (12, 12),
        Field::Ip6Saddr => (13, 8),
        Field::Ip6Daddr => (13, 9),
        Field::IcmpType => (4, 1),
        Field::IcmpCode => (4, 2),
        Field::Icmpv6Type => (14, 1),
        Field::Icmpv6Code => (14, 2),
        Field::ThSport => (11, 1),
        _ => (11, 2),
    }
}

fn meta(list: &mut List, key: u32) {
    list.number(0, META);
    list.nested(1, |list| list.number(0, key));
}

fn ct(list: &mut List, key: u32) {
    list.number(0, CT);
    list.nested(1, |list| {
        list.number(0, key);
        // No direction.
        list.number(1, u32::MAX);
    });
}

/// `numgen random mod 2 offset 0`
fn numgen(list: &mut List) {
    list.number(0, NUMGEN);
    list.nested(1, |list| {
        list.number(0, expression::numgen::RANDOM);
        list.number(1, 2);
        list.number(2, 0);
    });
}
