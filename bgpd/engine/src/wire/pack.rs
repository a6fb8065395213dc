//! UPDATEs from routes, packed exactly (RFC 4271 §4.3, RFC 4760, RFC 7606 §5.1, RFC 8654).

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};

use super::attribute::{EXTENDED, OPTIONAL};
use super::block::{Block, DISCARDABLE};
use super::encode::{patch_length, patch_u16, put_header};
use super::frame::{HEADER_LENGTH, MAX_EXTENDED_LENGTH, MessageKind};
use super::nlri::{encode_nlri, encoded_length};
use super::{AttributeCode, NextHop, Nlri, PathAttributes};
use crate::prefix::{Family, NetPrefix, PerFamily};

/// What a session negotiated, as far as it decides how routes are written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncodeContext {
    /// Both sides sent the 4-octet AS capability.
    pub four_octet_as: bool,
    /// Longest message that the peer takes, in octets: 4096, or 65535 if it sent the extended message capability.
    pub max_length: usize,
    /// Families whose prefixes are written with a Path Identifier.
    pub add_path: PerFamily<bool>,
    /// The peer takes IPv4 prefixes with an IPv6 next hop: it sent the capability of RFC 8950.
    pub extended_next_hop_v4: bool,
}

/// Why routes were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnsentReason {
    /// Attributes and the prefix exceed the longest message, even without the attributes that may be dropped.
    TooLarge,
    /// The peer does not understand this kind of next hop for the family.
    NextHop,
}

/// Routes that cannot be written. Everything else of the same call was. A former version of them must be withdrawn from the
/// peer (RFC 8654 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent<P> {
    /// Messages written by the same call.
    pub messages: usize,
    /// The routes.
    pub nlri: Vec<Nlri<P>>,
    /// Why.
    pub reason: UnsentReason,
}

/// Appends the UPDATEs that announce `nlri` in the order given, each filled as far as the next prefix allows, and returns
/// their number. One message holds one kind of field (RFC 7606 §5.1): NLRI for IPv4 with an IPv4 next hop, else
/// MP_REACH_NLRI, which stands first.
///
/// A prefix that does not fit beside its attributes is tried without AGGREGATOR, then without ATOMIC_AGGREGATE, which a
/// receiver may discard anyway (RFC 8654 §4).
///
/// # Errors
///
/// The prefixes that could not be written.
pub fn pack_announcements<P: NetPrefix>(
    context: &EncodeContext,
    attributes: &PathAttributes,
    next_hop: &NextHop,
    nlri: impl IntoIterator<Item = Nlri<P>>,
    out: &mut BytesMut,
) -> Result<usize, Unsent<P>> {
    let mut octets = Vec::with_capacity(256);
    let block = Block::write(attributes, context.four_octet_as, classic_next_hop(P::FAMILY, next_hop), &mut octets);
    pack_block(context, block, next_hop, nlri, out)
}

/// The next hop that is written as NEXT_HOP, beside the other attributes.
pub(crate) const fn classic_next_hop(family: Family, next_hop: &NextHop) -> Option<Ipv4Addr> {
    match (family, next_hop) {
        (Family::Ipv4Unicast, NextHop::V4(address)) => Some(*address),
        _ => None,
    }
}

/// [`pack_announcements`] for attributes that are octets already, with [`classic_next_hop`] among them.
pub(crate) fn pack_block<P: NetPrefix>(
    context: &EncodeContext,
    block: Block<'_>,
    next_hop: &NextHop,
    nlri: impl IntoIterator<Item = Nlri<P>>,
    out: &mut BytesMut,
) -> Result<usize, Unsent<P>> {
    let classic = classic_next_hop(P::FAMILY, next_hop).is_some();
    let understood = match (P::FAMILY, next_hop) {
        (Family::Ipv4Unicast, NextHop::V6 { .. }) => context.extended_next_hop_v4,
        (Family::Ipv6Unicast, NextHop::V4(_)) => false,
        _ => true,
    };
    if !understood {
        return Err(Unsent { messages: 0, nlri: nlri.into_iter().collect(), reason: UnsentReason::NextHop });
    }
    let write = |block: &[u8], out: &mut BytesMut, nlri: &mut dyn Iterator<Item = Nlri<P>>| {
        if classic {
            Layout::announce_classic(context, block).pack(nlri, out)
        } else {
            Layout::announce_multiprotocol(context, P::FAMILY, next_hop, block).pack(nlri, out)
        }
    };
    let (mut messages, mut unfit) = write(block.0, out, &mut nlri.into_iter());
    for codes in DISCARDABLE {
        if unfit.is_empty() {
            return Ok(messages);
        }
        let mut reduced = Vec::with_capacity(block.0.len());
        block.without(codes, &mut reduced);
        let (written, still_unfit) = write(&reduced, out, &mut unfit.into_iter());
        messages += written;
        unfit = still_unfit;
    }
    if unfit.is_empty() {
        return Ok(messages);
    }
    Err(Unsent { messages, nlri: unfit, reason: UnsentReason::TooLarge })
}

/// Appends the UPDATEs that withdraw `nlri` in the order given, each filled as far as the next prefix allows, and returns
/// their number. IPv4 is withdrawn in the classic field whatever its next hop was.
pub fn pack_withdrawals<P: NetPrefix>(
    context: &EncodeContext,
    nlri: impl IntoIterator<Item = Nlri<P>>,
    out: &mut BytesMut,
) -> usize {
    let layout = match P::FAMILY {
        Family::Ipv4Unicast => Layout::withdraw_classic(context),
        Family::Ipv6Unicast => Layout::withdraw_multiprotocol(context, P::FAMILY),
    };
    let (messages, _unfit) = layout.pack(&mut nlri.into_iter(), out);
    messages
}

/// Octets of the header and of the two length fields of an UPDATE.
const EMPTY_UPDATE: usize = HEADER_LENGTH + 4;
/// Octets of an attribute header of the long form.
const LONG_HEADER: usize = 4;

/// Where the prefixes stand in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Withdrawn,
    Nlri,
    /// In an MP attribute whose value has this many octets in front of the prefixes.
    Multiprotocol(usize),
}

/// A message without its prefixes.
struct Layout<'a> {
    max_length: usize,
    add_path: bool,
    field: Field,
    /// What stands before the prefixes; lengths that depend on them are zero, an MP attribute has the long header.
    before: Vec<u8>,
    /// What stands behind them.
    after: &'a [u8],
}

impl<'a> Layout<'a> {
    fn new(context: &EncodeContext, family: Family, field: Field, after: &'a [u8]) -> Self {
        let mut before = Vec::with_capacity(EMPTY_UPDATE + 48);
        put_header(MessageKind::Update, &mut before);
        before.put_u16(0);
        Self {
            max_length: context.max_length.min(MAX_EXTENDED_LENGTH),
            add_path: context.add_path[family],
            field,
            before,
            after,
        }
    }

    fn announce_classic(context: &EncodeContext, block: &[u8]) -> Self {
        let mut layout = Self::new(context, Family::Ipv4Unicast, Field::Nlri, &[]);
        layout.before.put_u16(u16::try_from(block.len()).unwrap_or(u16::MAX));
        layout.before.put_slice(block);
        layout
    }

    fn announce_multiprotocol(context: &EncodeContext, family: Family, next_hop: &NextHop, block: &'a [u8]) -> Self {
        let field = Field::Multiprotocol(5 + next_hop.encoded_length());
        let mut layout = Self::new(context, family, field, block);
        layout.put_multiprotocol(AttributeCode::MP_REACH_NLRI, family);
        layout.before.put_u8(next_hop.encoded_length() as u8);
        next_hop.encode(&mut layout.before);
        layout.before.put_u8(0);
        layout
    }

    fn withdraw_classic(context: &EncodeContext) -> Self {
        Self::new(context, Family::Ipv4Unicast, Field::Withdrawn, &[0, 0])
    }

    fn withdraw_multiprotocol(context: &EncodeContext, family: Family) -> Self {
        let mut layout = Self::new(context, family, Field::Multiprotocol(3), &[]);
        layout.put_multiprotocol(AttributeCode::MP_UNREACH_NLRI, family);
        layout
    }

    fn put_multiprotocol(&mut self, code: u8, family: Family) {
        self.before.put_u16(0);
        self.before.put_slice(&[OPTIONAL | EXTENDED, code, 0, 0]);
        self.before.put_u16(family.afi());
        self.before.put_u8(family.safi());
    }

    /// True if a message with this many octets of prefixes is short enough.
    fn fits(&self, octets: usize) -> bool {
        let saved = match self.field {
            Field::Multiprotocol(front) if front + octets <= usize::from(u8::MAX) => 1,
            _ => 0,
        };
        self.before.len() + octets + self.after.len() - saved <= self.max_length
    }

    /// Writes the messages; returns their number and the prefixes of which one alone does not fit.
    fn pack<P: NetPrefix>(&self, nlri: &mut dyn Iterator<Item = Nlri<P>>, out: &mut BytesMut) -> (usize, Vec<Nlri<P>>) {
        let (mut messages, mut unfit) = (0, Vec::new());
        let (mut start, mut octets) = (out.len(), 0);
        for entry in nlri {
            let cost = encoded_length(&entry, self.add_path);
            if octets > 0 && !self.fits(octets + cost) {
                self.close(start, octets, out);
                (start, octets) = (out.len(), 0);
            }
            if octets == 0 {
                if !self.fits(cost) {
                    unfit.push(entry);
                    continue;
                }
                messages += 1;
                out.reserve(self.before.len() + self.after.len() + cost);
                out.put_slice(&self.before);
            }
            encode_nlri(&entry, self.add_path, out);
            octets += cost;
        }
        if octets > 0 {
            self.close(start, octets, out);
        }
        (messages, unfit)
    }

    /// Ends the message at `start`, which holds `octets` of prefixes.
    fn close(&self, start: usize, octets: usize, out: &mut BytesMut) {
        match self.field {
            Field::Withdrawn => patch_u16(out, start + HEADER_LENGTH, octets),
            Field::Nlri => {}
            Field::Multiprotocol(front) => {
                let attribute = start + EMPTY_UPDATE;
                let value = front + octets;
                let header = match u8::try_from(value) {
                    Ok(length) => {
                        out.copy_within(attribute + LONG_HEADER.., attribute + LONG_HEADER - 1);
                        out.truncate(out.len() - 1);
                        if let Some([flags, _code, field]) = out.get_mut(attribute..attribute + 3) {
                            *flags &= !EXTENDED;
                            *field = length;
                        }
                        LONG_HEADER - 1
                    }
                    Err(_) => {
                        patch_u16(out, attribute + 2, value);
                        LONG_HEADER
                    }
                };
                patch_u16(out, start + HEADER_LENGTH + 2, header + value + self.after.len());
            }
        }
        out.put_slice(self.after);
        patch_length(out, start);
    }
}
