//! Message headers, path attributes, and the messages without content.

use std::net::Ipv4Addr;

use bytes::{BufMut, Bytes, BytesMut};

use super::attribute::{EXTENDED, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, PARTIAL, WELL_KNOWN};
use super::frame::{HEADER_LENGTH, MessageKind};
use super::{AS_TRANS, AttributeCode, PathAttributes, UnknownAttribute};
use crate::prefix::Family;

/// A buffer that begins with the header of a message; its length is written by [`patch_length`].
pub(super) fn message(kind: MessageKind, body_capacity: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER_LENGTH + body_capacity);
    put_header(kind, &mut out);
    out
}

/// Appends a header without length.
pub(super) fn put_header(kind: MessageKind, out: &mut impl BufMut) {
    out.put_bytes(0xff, 16);
    out.put_u16(0);
    out.put_u8(kind.code());
}

/// Writes the length of the message that begins at `start` and ends with the buffer.
pub(super) fn patch_length(out: &mut BytesMut, start: usize) {
    let length = out.len().saturating_sub(start);
    patch_u16(out, start + 16, length);
}

/// Overwrites two octets with a length.
pub(super) fn patch_u16(out: &mut BytesMut, at: usize, length: usize) {
    let value = u16::try_from(length).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// A KEEPALIVE.
#[must_use]
pub fn keepalive() -> Bytes {
    let mut out = message(MessageKind::Keepalive, 0);
    patch_length(&mut out, 0);
    out.freeze()
}

/// The End-of-RIB marker of a family (RFC 4724 §2): an empty UPDATE for IPv4 unicast, an empty MP_UNREACH_NLRI otherwise.
#[must_use]
pub fn end_of_rib(family: Family) -> Bytes {
    let mut out = message(MessageKind::Update, 10);
    out.put_u16(0);
    match family {
        Family::Ipv4Unicast => out.put_u16(0),
        Family::Ipv6Unicast => {
            out.put_u16(6);
            out.put_slice(&[0x80, 15, 3]);
            out.put_u16(family.afi());
            out.put_u8(family.safi());
        }
    }
    patch_length(&mut out, 0);
    out.freeze()
}

/// Writes the attributes of a route ascending by code, MP_REACH_NLRI excepted; NEXT_HOP if `next_hop` is given. `four` is
/// true towards a speaker of 4-octet AS numbers.
pub(super) fn encode_attributes(
    four: bool,
    attributes: &PathAttributes,
    next_hop: Option<Ipv4Addr>,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer { out, attributes, unknown: &attributes.unknown };
    writer.put(AttributeCode::ORIGIN, WELL_KNOWN, 1).put_u8(attributes.origin.code());
    let path = &attributes.as_path;
    path.encode(four, writer.put(AttributeCode::AS_PATH, WELL_KNOWN, path.encoded_length(four)));
    if let Some(address) = next_hop {
        writer.put(AttributeCode::NEXT_HOP, WELL_KNOWN, 4).put_u32(address.to_bits());
    }
    if let Some(med) = attributes.med {
        writer.put(AttributeCode::MULTI_EXIT_DISC, OPTIONAL_NON_TRANSITIVE, 4).put_u32(med);
    }
    if let Some(local_pref) = attributes.local_pref {
        writer.put(AttributeCode::LOCAL_PREF, WELL_KNOWN, 4).put_u32(local_pref);
    }
    if attributes.atomic_aggregate {
        writer.put(AttributeCode::ATOMIC_AGGREGATE, WELL_KNOWN, 0);
    }
    if let Some((as_number, identifier)) = attributes.aggregator {
        if four {
            writer.put(AttributeCode::AGGREGATOR, OPTIONAL_TRANSITIVE, 8).put_u32(as_number);
        } else {
            let short = u16::try_from(as_number).unwrap_or(AS_TRANS);
            writer.put(AttributeCode::AGGREGATOR, OPTIONAL_TRANSITIVE, 6).put_u16(short);
        }
        writer.out.put_u32(identifier.to_bits());
    }
    writer.put_list(AttributeCode::COMMUNITIES, &attributes.communities, |community| community.0.to_be_bytes());
    if let Some(identifier) = attributes.originator_id {
        writer.put(AttributeCode::ORIGINATOR_ID, OPTIONAL_NON_TRANSITIVE, 4).put_u32(identifier.to_bits());
    }
    writer.put_list(AttributeCode::CLUSTER_LIST, &attributes.cluster_list, Ipv4Addr::octets);
    writer.put_list(AttributeCode::EXTENDED_COMMUNITIES, &attributes.extended_communities, |community| community.0);
    if !four && path.has_wide_number() {
        let length = path.encoded_length(true);
        path.encode(true, writer.put(AttributeCode::AS4_PATH, OPTIONAL_TRANSITIVE, length));
    }
    if let Some((as_number, identifier)) = attributes.aggregator
        && !four
        && as_number > u32::from(u16::MAX)
    {
        writer.put(AttributeCode::AS4_AGGREGATOR, OPTIONAL_TRANSITIVE, 8).put_u32(as_number);
        writer.out.put_u32(identifier.to_bits());
    }
    let ipv6 = &attributes.ipv6_extended_communities;
    writer.put_list(AttributeCode::IPV6_EXTENDED_COMMUNITIES, ipv6, |community| community.0);
    let large = &attributes.large_communities;
    writer.put_list(AttributeCode::LARGE_COMMUNITIES, large, |community| community.to_octets());
    if let Some(as_number) = attributes.otc {
        writer.put(AttributeCode::ONLY_TO_CUSTOMER, OPTIONAL_TRANSITIVE, 4).put_u32(as_number);
    }
    writer.put_unknown_below(None);
}

/// Writes attributes in ascending order, with those that are passed on unread in between.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    attributes: &'a PathAttributes,
    unknown: &'a [UnknownAttribute],
}

impl Writer<'_> {
    /// Writes the header of an attribute; the caller writes `length` octets of value.
    fn put(&mut self, code: u8, flags: u8, length: usize) -> &mut Vec<u8> {
        self.put_unknown_below(Some(code));
        let partial = if self.attributes.partial.has(code) { PARTIAL } else { 0 };
        put_attribute_header(flags | partial, code, length, self.out);
        self.out
    }

    /// Writes a list of values; an empty one is an absent attribute.
    fn put_list<T, const N: usize>(&mut self, code: u8, list: &[T], octets: impl Fn(&T) -> [u8; N]) {
        if list.is_empty() {
            return;
        }
        let flags = if code == AttributeCode::CLUSTER_LIST { OPTIONAL_NON_TRANSITIVE } else { OPTIONAL_TRANSITIVE };
        let out = self.put(code, flags, list.len() * N);
        for item in list {
            out.put_slice(&octets(item));
        }
    }

    fn put_unknown_below(&mut self, code: Option<u8>) {
        while let Some((first, rest)) = self.unknown.split_first() {
            if code.is_some_and(|code| first.code >= code) {
                break;
            }
            put_attribute_header(OPTIONAL_TRANSITIVE | PARTIAL, first.code, first.value.len(), self.out);
            self.out.put_slice(&first.value);
            self.unknown = rest;
        }
    }
}

/// Writes flags, code and length, with Extended Length only above 255. A value beyond 65535 octets makes a block that fits
/// into no message, so that its length does not matter.
fn put_attribute_header(flags: u8, code: u8, length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(length) => out.put_slice(&[flags, code, length]),
        Err(_) => {
            out.put_slice(&[flags | EXTENDED, code]);
            out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        }
    }
}
