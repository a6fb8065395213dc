//! Path attributes as octets: the walk through their block, and what is wrong with one (RFC 4271 §4.3, RFC 7606).

use std::fmt;

use super::{AttributeCode, Notification};

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const PARTIAL: u8 = 0x20;
pub(super) const EXTENDED: u8 = 0x10;

pub(super) const WELL_KNOWN: u8 = TRANSITIVE;
pub(super) const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;
pub(super) const OPTIONAL_NON_TRANSITIVE: u8 = OPTIONAL;

/// What an error in an UPDATE leads to, the weakest first (RFC 7606 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The attribute is dropped, the rest of the message counts.
    Discard,
    /// Everything announced in the message counts as withdrawn.
    TreatAsWithdraw,
    /// The family is not used any more. Never chosen: a family that died silently is worse than a reset.
    DisableFamily,
    /// The session ends with a NOTIFICATION.
    SessionReset,
}

/// What is wrong with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Optional or Transitive bit is not that of the attribute.
    Flags,
    /// A length that the attribute cannot have.
    Length,
    /// A value that the attribute cannot have.
    Value,
    /// A mandatory attribute is missing.
    Missing,
    /// The attribute occurs again; the first one counts.
    Duplicate,
    /// Header or value goes beyond the block of attributes; nothing behind it was read.
    Overrun,
    /// A well-known attribute that the speaker does not know.
    Unrecognized,
    /// The first AS of AS_PATH is not the peer's.
    FirstAs,
    /// AS_PATH holds an AS_SET, and those are refused by configuration (RFC 9774).
    AsSet,
    /// The attribute has no meaning from such a peer: internal ones from an external peer, AS4 ones from a 4-octet
    /// speaker.
    NotFromThisPeer,
    /// Classic and MP_REACH_NLRI prefixes of IPv4 in one message have different next hops.
    TwoNextHops,
}

/// An error found in an UPDATE that did not end the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeError {
    /// Type code of the attribute; 0 when the block as a whole is meant.
    pub code: u8,
    /// What is wrong.
    pub fault: Fault,
    /// What it led to.
    pub outcome: Outcome,
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match AttributeCode::name(self.code) {
            Some(name) => f.write_str(name)?,
            None if self.code == 0 => f.write_str("attributes")?,
            None => write!(f, "attribute {}", self.code)?,
        }
        f.write_str(match self.fault {
            Fault::Flags => ": wrong flags",
            Fault::Length => ": wrong length",
            Fault::Value => ": malformed value",
            Fault::Missing => ": missing",
            Fault::Duplicate => ": occurs again",
            Fault::Overrun => ": goes beyond the attributes",
            Fault::Unrecognized => ": not known, but said to be well-known",
            Fault::FirstAs => ": does not begin with the AS of the peer",
            Fault::AsSet => ": holds an AS_SET",
            Fault::NotFromThisPeer => ": has no meaning from this peer",
            Fault::TwoNextHops => ": two next hops for prefixes of one family",
        })?;
        f.write_str(match self.outcome {
            Outcome::Discard => " (attribute discarded)",
            Outcome::TreatAsWithdraw => " (treated as withdrawal)",
            Outcome::DisableFamily => " (family disabled)",
            Outcome::SessionReset => " (session reset)",
        })
    }
}

/// One attribute as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawAttribute<'a> {
    pub(super) flags: u8,
    pub(super) code: u8,
    pub(super) value: &'a [u8],
    /// Flags, code, length and value.
    pub(super) whole: &'a [u8],
}

impl RawAttribute<'_> {
    /// True if Optional and Transitive are as `expected`. Partial and the low bits do not count.
    pub(super) const fn has_class(&self, expected: u8) -> bool {
        self.flags & (OPTIONAL | TRANSITIVE) == expected
    }

    /// The NOTIFICATION for a fault of this attribute, should it end the session (RFC 4271 §6.3).
    pub(super) fn notification(&self, fault: Fault) -> Notification {
        let whole = || self.whole.to_vec();
        match (fault, self.code) {
            (_, AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI) => {
                Notification::optional_attribute_error(whole())
            }
            (Fault::Unrecognized, _) => Notification::unrecognized_well_known_attribute(whole()),
            (Fault::Flags, _) => Notification::attribute_flags_error(whole()),
            (Fault::Length, _) => Notification::attribute_length_error(whole()),
            (_, AttributeCode::ORIGIN) => Notification::invalid_origin_attribute(whole()),
            (_, AttributeCode::AS_PATH) => Notification::malformed_as_path(),
            (_, AttributeCode::NEXT_HOP) => Notification::invalid_next_hop_attribute(whole()),
            _ => Notification::optional_attribute_error(whole()),
        }
    }
}

/// Iterator over a block of attributes. Ends after the first error.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

/// The block ends inside an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overrun;

impl<'a> Attributes<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    fn split(&self) -> Option<(RawAttribute<'a>, &'a [u8])> {
        let (flags, code, header, length) = match *self.rest {
            [flags, code, high, low, ..] if flags & EXTENDED != 0 => {
                (flags, code, 4, usize::from(u16::from_be_bytes([high, low])))
            }
            [flags, code, length, ..] if flags & EXTENDED == 0 => (flags, code, 3, usize::from(length)),
            _ => return None,
        };
        let (whole, rest) = self.rest.split_at_checked(header + length)?;
        let value = whole.get(header..)?;
        Some((RawAttribute { flags, code, value, whole }, rest))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<RawAttribute<'a>, Overrun>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.split() {
            Some((attribute, rest)) => {
                self.rest = rest;
                Some(Ok(attribute))
            }
            None => {
                self.rest = &[];
                Some(Err(Overrun))
            }
        }
    }
}
