//! OPEN (RFC 4271 §4.2, §6.2; RFC 5492, 6286, 6793, 7607, 9072, 9234).

use std::net::Ipv4Addr;

use bytes::{BufMut, Bytes};
use zettabgp::{BgpSessionParams, BgpTransportMode};

use super::encode::{message, patch_length};
use super::frame::{HEADER_LENGTH, MAX_LENGTH, MessageKind};
use super::{AS_TRANS, Capabilities, Notification, Role};
use crate::prefix::Family;

const VERSION: u8 = 4;
const CAPABILITIES: u8 = 2;
const EXTENDED_LENGTH: u8 = 255;

/// An OPEN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenMessage {
    /// AS number of the sender: the one of capability 65 if that is present, else My Autonomous System.
    pub as_number: u32,
    /// The field My Autonomous System. It should be the AS number, or [`AS_TRANS`] for a wide one; the capability governs
    /// if they disagree.
    pub my_autonomous_system: u16,
    /// Proposed hold time in seconds.
    pub hold_time: u16,
    /// BGP Identifier.
    pub bgp_identifier: Ipv4Addr,
    /// Capabilities.
    pub capabilities: Capabilities,
}

impl OpenMessage {
    /// An OPEN that carries the AS number in both places. `capabilities.four_octet_as` is overwritten.
    #[must_use]
    pub fn new(as_number: u32, hold_time: u16, bgp_identifier: Ipv4Addr, capabilities: Capabilities) -> Self {
        let capabilities = Capabilities { four_octet_as: Some(as_number), ..capabilities };
        Self { capabilities, ..Self::without_capabilities(as_number, hold_time, bgp_identifier) }
    }

    /// An OPEN without optional parameters, for a peer that refused them with 2/4 (RFC 5492 §3).
    #[must_use]
    pub fn without_capabilities(as_number: u32, hold_time: u16, bgp_identifier: Ipv4Addr) -> Self {
        Self {
            as_number,
            my_autonomous_system: u16::try_from(as_number).unwrap_or(AS_TRANS),
            hold_time,
            bgp_identifier,
            capabilities: Capabilities::default(),
        }
    }

    /// True if My Autonomous System is neither the AS number nor its stand-in. No error; worth a line in the log.
    #[must_use]
    pub fn as_numbers_disagree(&self) -> bool {
        self.my_autonomous_system != u16::try_from(self.as_number).unwrap_or(AS_TRANS)
            && self.my_autonomous_system != AS_TRANS
    }

    /// Judges what the octets alone cannot: AS, hold time, identifier, role, capabilities, families, in this order.
    ///
    /// # Errors
    ///
    /// The NOTIFICATION to send: 2/2, 2/6, 2/3, 2/11 or 2/7.
    pub fn check(&self, expected: &OpenExpectation) -> Result<(), Notification> {
        self.check_as(expected)?;
        if matches!(self.hold_time, 1 | 2) || (self.hold_time > 0 && self.hold_time < expected.minimum_hold_time) {
            return Err(Notification::unacceptable_hold_time());
        }
        let internal = self.as_number == expected.local_as;
        if self.bgp_identifier.is_unspecified() || (internal && self.bgp_identifier == expected.local_identifier) {
            return Err(Notification::bad_bgp_identifier());
        }
        self.check_role(expected)?;
        let missing = expected.required.missing_in(&self.capabilities).encode();
        if !missing.is_empty() {
            return Err(Notification::unsupported_capability(missing));
        }
        let usable = self.capabilities.usable_families();
        if !expected.families.iter().any(|family| usable.contains(family)) {
            let ours = Capabilities { families: expected.families.clone(), ..Capabilities::default() };
            return Err(Notification::unsupported_capability(ours.encode()));
        }
        Ok(())
    }

    fn check_as(&self, expected: &OpenExpectation) -> Result<(), Notification> {
        let internal = self.as_number == expected.local_as;
        let as_expected = match expected.remote_as {
            ExpectedAs::Number(as_number) => self.as_number == as_number,
            ExpectedAs::Internal => internal,
            ExpectedAs::External => !internal,
            ExpectedAs::Any => true,
        };
        if self.as_number != 0 && as_expected { Ok(()) } else { Err(Notification::bad_peer_as()) }
    }

    fn check_role(&self, expected: &OpenExpectation) -> Result<(), Notification> {
        let Some(ours) = expected.role else { return Ok(()) };
        let agreed = match self.capabilities.roles.as_slice() {
            [] => !expected.strict_role,
            [code] => Role::from_code(*code) == Some(ours.counterpart()),
            _ => false,
        };
        if agreed { Ok(()) } else { Err(Notification::role_mismatch()) }
    }
}

/// Which AS a peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpectedAs {
    /// This one.
    Number(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
    /// Any.
    Any,
}

/// What the configuration of a peer demands of its OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExpectation {
    /// AS number of the peer.
    pub remote_as: ExpectedAs,
    /// AS number that we use on the session; the same one makes the peer internal.
    pub local_as: u32,
    /// Our BGP Identifier.
    pub local_identifier: Ipv4Addr,
    /// Smallest acceptable hold time in seconds; 0 of the peer (no keepalives) is accepted always.
    pub minimum_hold_time: u16,
    /// Families configured for the peer; at least one must be usable.
    pub families: Vec<Family>,
    /// Capabilities without which there is no session.
    pub required: Capabilities,
    /// Our role towards the peer (RFC 9234). Only for external peers.
    pub role: Option<Role>,
    /// Refuse a peer that sends no role.
    pub strict_role: bool,
}

/// What the codecs of zettabgp ask for and do not use for messages of fixed form. Guessing is off.
pub(super) fn codec_parameters() -> BgpSessionParams {
    let mut parameters = BgpSessionParams::new(0, 0, BgpTransportMode::IPv4, Ipv4Addr::UNSPECIFIED, Vec::new());
    parameters.fuzzy_pathid = false;
    parameters
}

/// Decodes the body of an OPEN, with what can be judged by the octets alone. [`OpenMessage::check`] does the rest.
///
/// # Errors
///
/// 2/1, 2/0 or 2/4 of RFC 4271 §6.2.
pub fn decode_open(body: &[u8]) -> Result<OpenMessage, Notification> {
    let [version, rest @ ..] = body else { return Err(Notification::malformed_open()) };
    if *version != VERSION {
        return Err(Notification::unsupported_version());
    }
    let [as_high, as_low, hold_high, hold_low, a, b, c, d, length, parameters @ ..] = rest else {
        return Err(Notification::malformed_open());
    };
    let my_autonomous_system = u16::from_be_bytes([*as_high, *as_low]);
    let mut capabilities = Capabilities::default();
    for parameter in Parameters::new(*length, parameters)? {
        let (kind, value) = parameter?;
        if kind != CAPABILITIES {
            return Err(Notification::unsupported_optional_parameter());
        }
        capabilities.decode_into(value).map_err(|_| Notification::malformed_open())?;
    }
    Ok(OpenMessage {
        as_number: capabilities.four_octet_as.unwrap_or(u32::from(my_autonomous_system)),
        my_autonomous_system,
        hold_time: u16::from_be_bytes([*hold_high, *hold_low]),
        bgp_identifier: Ipv4Addr::new(*a, *b, *c, *d),
        capabilities,
    })
}

/// The optional parameters of an OPEN, in the short or the extended form (RFC 9072).
struct Parameters<'a> {
    rest: &'a [u8],
    extended: bool,
}

impl<'a> Parameters<'a> {
    fn new(length: u8, octets: &'a [u8]) -> Result<Self, Notification> {
        let malformed = Notification::malformed_open;
        match octets {
            // The old length is ignored then, except that it must not be zero.
            [EXTENDED_LENGTH, high, low, rest @ ..] if length != 0 => {
                let total = usize::from(u16::from_be_bytes([*high, *low]));
                if rest.len() == total { Ok(Self { rest, extended: true }) } else { Err(malformed()) }
            }
            rest if rest.len() == usize::from(length) => Ok(Self { rest, extended: false }),
            _ => Err(malformed()),
        }
    }

    fn split(&self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (kind, length, behind) = match *self.rest {
            [kind, high, low, ref behind @ ..] if self.extended => {
                (kind, usize::from(u16::from_be_bytes([high, low])), behind)
            }
            [kind, length, ref behind @ ..] if !self.extended => (kind, usize::from(length), behind),
            _ => return None,
        };
        let (value, rest) = behind.split_at_checked(length)?;
        Some((kind, value, rest))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(u8, &'a [u8]), Notification>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((kind, value, rest)) = self.split() else {
            self.rest = &[];
            return Some(Err(Notification::malformed_open()));
        };
        self.rest = rest;
        Some(Ok((kind, value)))
    }
}

/// Encodes an OPEN, its capabilities in one optional parameter; in the extended form of RFC 9072 when they need more than
/// 255 octets. Unknown capabilities that would not fit into the message are left out.
#[must_use]
pub fn encode_open(open: &OpenMessage) -> Bytes {
    let mut capabilities = open.capabilities.encode();
    if HEADER_LENGTH + 16 + capabilities.len() > MAX_LENGTH {
        capabilities = Capabilities { unknown: Vec::new(), ..open.capabilities.clone() }.encode();
    }
    let mut out = message(MessageKind::Open, 16 + capabilities.len());
    out.put_u8(VERSION);
    out.put_u16(open.my_autonomous_system);
    out.put_u16(open.hold_time);
    out.put_slice(&open.bgp_identifier.octets());
    match (u8::try_from(capabilities.len()), u8::try_from(capabilities.len() + 2)) {
        (Ok(0), _) => out.put_u8(0),
        (Ok(length), Ok(total)) => out.put_slice(&[total, CAPABILITIES, length]),
        _ => {
            out.put_slice(&[EXTENDED_LENGTH, EXTENDED_LENGTH]);
            out.put_u16(capabilities.len() as u16 + 3);
            out.put_u8(CAPABILITIES);
            out.put_u16(capabilities.len() as u16);
        }
    }
    out.put_slice(&capabilities);
    patch_length(&mut out, 0);
    out.freeze()
}
