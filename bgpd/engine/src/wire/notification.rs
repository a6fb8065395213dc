//! NOTIFICATION (RFC 4271 §4.5, §6; RFC 4486, 6608, 7313, 8538, 9003, 9234, 9384, 9687).

use std::fmt;

use bytes::{BufMut, Bytes};

use super::encode::{message, patch_length};
use super::frame::{HEADER_LENGTH, MAX_LENGTH, MessageKind};
use crate::prefix::Family;

/// The reason why a session ends, as it is sent and received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is "unspecific".
    pub subcode: u8,
    /// Data, by code and subcode.
    pub data: Vec<u8>,
}

const HEADER: u8 = 1;
const OPEN: u8 = 2;
const UPDATE: u8 = 3;
const HOLD_TIMER: u8 = 4;
const FSM: u8 = 5;
const CEASE: u8 = 6;
const ROUTE_REFRESH: u8 = 7;
const SEND_HOLD_TIMER: u8 = 8;

const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
const ADMINISTRATIVE_RESET: u8 = 4;
const HARD_RESET: u8 = 9;

/// Text that every receiver takes (RFC 9003 §2 allows 255 octets, its predecessor 128).
const MAX_COMMUNICATION: usize = 128;

/// Named constructors: one per code and subcode that the speaker sends.
impl Notification {
    /// A NOTIFICATION of any code.
    #[must_use]
    pub const fn new(code: u8, subcode: u8, data: Vec<u8>) -> Self {
        Self { code, subcode, data }
    }

    const fn bare(code: u8, subcode: u8) -> Self {
        Self::new(code, subcode, Vec::new())
    }

    /// 1/1 Connection Not Synchronized.
    #[must_use]
    pub const fn connection_not_synchronized() -> Self {
        Self::bare(HEADER, 1)
    }

    /// 1/2 Bad Message Length, with the length in octets as received.
    #[must_use]
    pub fn bad_message_length(length: u16) -> Self {
        Self::new(HEADER, 2, length.to_be_bytes().to_vec())
    }

    /// 1/3 Bad Message Type, with the type as received.
    #[must_use]
    pub fn bad_message_type(kind: u8) -> Self {
        Self::new(HEADER, 3, vec![kind])
    }

    /// 2/0: an OPEN whose lengths do not fit together.
    #[must_use]
    pub const fn malformed_open() -> Self {
        Self::bare(OPEN, 0)
    }

    /// 2/1 Unsupported Version Number, with the one that is supported.
    #[must_use]
    pub fn unsupported_version() -> Self {
        Self::new(OPEN, 1, vec![0, 4])
    }

    /// 2/2 Bad Peer AS.
    #[must_use]
    pub const fn bad_peer_as() -> Self {
        Self::bare(OPEN, 2)
    }

    /// 2/3 Bad BGP Identifier.
    #[must_use]
    pub const fn bad_bgp_identifier() -> Self {
        Self::bare(OPEN, 3)
    }

    /// 2/4 Unsupported Optional Parameter.
    #[must_use]
    pub const fn unsupported_optional_parameter() -> Self {
        Self::bare(OPEN, 4)
    }

    /// 2/6 Unacceptable Hold Time.
    #[must_use]
    pub const fn unacceptable_hold_time() -> Self {
        Self::bare(OPEN, 6)
    }

    /// 2/7 Unsupported Capability, with the missing ones as they would stand in OPEN (RFC 5492 §5).
    #[must_use]
    pub const fn unsupported_capability(capabilities: Vec<u8>) -> Self {
        Self::new(OPEN, 7, capabilities)
    }

    /// 2/11 Role Mismatch (RFC 9234 §4.2).
    #[must_use]
    pub const fn role_mismatch() -> Self {
        Self::bare(OPEN, 11)
    }

    /// 3/1 Malformed Attribute List.
    #[must_use]
    pub const fn malformed_attribute_list() -> Self {
        Self::bare(UPDATE, 1)
    }

    /// 3/2 Unrecognized Well-known Attribute, with the attribute (flags, code, length, value).
    #[must_use]
    pub const fn unrecognized_well_known_attribute(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 2, attribute)
    }

    /// 3/3 Missing Well-known Attribute, with its code.
    #[must_use]
    pub fn missing_well_known_attribute(code: u8) -> Self {
        Self::new(UPDATE, 3, vec![code])
    }

    /// 3/4 Attribute Flags Error, with the attribute.
    #[must_use]
    pub const fn attribute_flags_error(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 4, attribute)
    }

    /// 3/5 Attribute Length Error, with the attribute.
    #[must_use]
    pub const fn attribute_length_error(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 5, attribute)
    }

    /// 3/6 Invalid ORIGIN Attribute, with the attribute.
    #[must_use]
    pub const fn invalid_origin_attribute(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 6, attribute)
    }

    /// 3/8 Invalid NEXT_HOP Attribute, with the attribute.
    #[must_use]
    pub const fn invalid_next_hop_attribute(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 8, attribute)
    }

    /// 3/9 Optional Attribute Error, with the attribute.
    #[must_use]
    pub const fn optional_attribute_error(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 9, attribute)
    }

    /// 3/10 Invalid Network Field.
    #[must_use]
    pub const fn invalid_network_field() -> Self {
        Self::bare(UPDATE, 10)
    }

    /// 3/11 Malformed AS_PATH.
    #[must_use]
    pub const fn malformed_as_path() -> Self {
        Self::bare(UPDATE, 11)
    }

    /// 4/0 Hold Timer Expired.
    #[must_use]
    pub const fn hold_timer_expired() -> Self {
        Self::bare(HOLD_TIMER, 0)
    }

    /// 5/1 Unexpected message in OpenSent (RFC 6608), with its type.
    #[must_use]
    pub fn unexpected_in_open_sent(kind: MessageKind) -> Self {
        Self::new(FSM, 1, vec![kind.code()])
    }

    /// 5/2 Unexpected message in OpenConfirm (RFC 6608), with its type.
    #[must_use]
    pub fn unexpected_in_open_confirm(kind: MessageKind) -> Self {
        Self::new(FSM, 2, vec![kind.code()])
    }

    /// 5/3 Unexpected message in Established (RFC 6608), with its type.
    #[must_use]
    pub fn unexpected_in_established(kind: MessageKind) -> Self {
        Self::new(FSM, 3, vec![kind.code()])
    }

    /// 6/1 Maximum Number of Prefixes Reached, with family and bound (RFC 4486 §4).
    #[must_use]
    pub fn maximum_prefixes_reached(family: Family, bound: u32) -> Self {
        let mut data = family.afi().to_be_bytes().to_vec();
        data.push(family.safi());
        data.extend_from_slice(&bound.to_be_bytes());
        Self::new(CEASE, 1, data)
    }

    /// 6/2 Administrative Shutdown, with a text for the peer's operator (RFC 9003); cut to 128 octets, empty for none.
    #[must_use]
    pub fn administrative_shutdown(communication: &str) -> Self {
        Self::new(CEASE, ADMINISTRATIVE_SHUTDOWN, shutdown_communication(communication))
    }

    /// 6/3 Peer De-configured.
    #[must_use]
    pub const fn peer_deconfigured() -> Self {
        Self::bare(CEASE, 3)
    }

    /// 6/4 Administrative Reset, with a text for the peer's operator (RFC 9003); cut to 128 octets, empty for none.
    #[must_use]
    pub fn administrative_reset(communication: &str) -> Self {
        Self::new(CEASE, ADMINISTRATIVE_RESET, shutdown_communication(communication))
    }

    /// 6/5 Connection Rejected.
    #[must_use]
    pub const fn connection_rejected() -> Self {
        Self::bare(CEASE, 5)
    }

    /// 6/6 Other Configuration Change.
    #[must_use]
    pub const fn other_configuration_change() -> Self {
        Self::bare(CEASE, 6)
    }

    /// 6/7 Connection Collision Resolution.
    #[must_use]
    pub const fn connection_collision_resolution() -> Self {
        Self::bare(CEASE, 7)
    }

    /// 6/8 Out of Resources.
    #[must_use]
    pub const fn out_of_resources() -> Self {
        Self::bare(CEASE, 8)
    }

    /// 6/9 Hard Reset around another NOTIFICATION (RFC 8538 §3.1).
    #[must_use]
    pub fn hard_reset(inner: &Self) -> Self {
        let mut data = vec![inner.code, inner.subcode];
        data.extend_from_slice(&inner.data);
        Self::new(CEASE, HARD_RESET, data)
    }

    /// 6/10 BFD Down (RFC 9384).
    #[must_use]
    pub const fn bfd_down() -> Self {
        Self::bare(CEASE, 10)
    }

    /// 7/1 Invalid Message Length of a ROUTE-REFRESH, with the whole message (RFC 7313 §5).
    #[must_use]
    pub const fn invalid_route_refresh_length(message: Vec<u8>) -> Self {
        Self::new(ROUTE_REFRESH, 1, message)
    }

    /// 8/0 Send Hold Timer Expired (RFC 9687 §5).
    #[must_use]
    pub const fn send_hold_timer_expired() -> Self {
        Self::bare(SEND_HOLD_TIMER, 0)
    }
}

impl Notification {
    /// True for a Hard Reset, whatever it carries (RFC 8538 §3.1).
    #[must_use]
    pub const fn is_hard_reset(&self) -> bool {
        self.code == CEASE && self.subcode == HARD_RESET
    }

    /// What a Hard Reset carries: `None` if it is none or carries less than code and subcode.
    #[must_use]
    pub fn inner(&self) -> Option<Self> {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.is_hard_reset() => Some(Self::new(*code, *subcode, data.to_vec())),
            _ => None,
        }
    }

    /// The shutdown communication (RFC 9003) of 6/2 and 6/4, also inside a Hard Reset. Text that is cut off, no UTF-8 or
    /// holds control characters comes as hexadecimal digits.
    #[must_use]
    pub fn communication(&self) -> Option<String> {
        if let Some(inner) = self.inner() {
            return if inner.is_hard_reset() { None } else { inner.communication() };
        }
        if self.code != CEASE || !matches!(self.subcode, ADMINISTRATIVE_SHUTDOWN | ADMINISTRATIVE_RESET) {
            return None;
        }
        let (length, rest) = self.data.split_first()?;
        let text = rest
            .get(..usize::from(*length))
            .and_then(|octets| std::str::from_utf8(octets).ok())
            .filter(|text| !text.chars().any(char::is_control));
        match text {
            Some("") => None,
            Some(text) => Some(text.to_owned()),
            None => Some(hex(&self.data)),
        }
    }

    /// Code and subcode in words.
    #[must_use]
    pub const fn words(&self) -> (&'static str, &'static str) {
        (code_words(self.code), subcode_words(self.code, self.subcode))
    }
}

const fn code_words(code: u8) -> &'static str {
    match code {
        HEADER => "Message Header Error",
        OPEN => "OPEN Message Error",
        UPDATE => "UPDATE Message Error",
        HOLD_TIMER => "Hold Timer Expired",
        FSM => "Finite State Machine Error",
        CEASE => "Cease",
        ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
        SEND_HOLD_TIMER => "Send Hold Timer Expired",
        _ => "unknown error",
    }
}

const fn subcode_words(code: u8, subcode: u8) -> &'static str {
    match (code, subcode) {
        (HEADER, 1) => "Connection Not Synchronized",
        (HEADER, 2) => "Bad Message Length",
        (HEADER, 3) => "Bad Message Type",
        (OPEN, 1) => "Unsupported Version Number",
        (OPEN, 2) => "Bad Peer AS",
        (OPEN, 3) => "Bad BGP Identifier",
        (OPEN, 4) => "Unsupported Optional Parameter",
        (OPEN, 5) => "Authentication Failure",
        (OPEN, 6) => "Unacceptable Hold Time",
        (OPEN, 7) => "Unsupported Capability",
        (OPEN, 11) => "Role Mismatch",
        (UPDATE, 1) => "Malformed Attribute List",
        (UPDATE, 2) => "Unrecognized Well-known Attribute",
        (UPDATE, 3) => "Missing Well-known Attribute",
        (UPDATE, 4) => "Attribute Flags Error",
        (UPDATE, 5) => "Attribute Length Error",
        (UPDATE, 6) => "Invalid ORIGIN Attribute",
        (UPDATE, 7) => "AS Routing Loop",
        (UPDATE, 8) => "Invalid NEXT_HOP Attribute",
        (UPDATE, 9) => "Optional Attribute Error",
        (UPDATE, 10) => "Invalid Network Field",
        (UPDATE, 11) => "Malformed AS_PATH",
        (FSM, 1) => "Unexpected Message in OpenSent",
        (FSM, 2) => "Unexpected Message in OpenConfirm",
        (FSM, 3) => "Unexpected Message in Established",
        (CEASE, 1) => "Maximum Number of Prefixes Reached",
        (CEASE, ADMINISTRATIVE_SHUTDOWN) => "Administrative Shutdown",
        (CEASE, 3) => "Peer De-configured",
        (CEASE, ADMINISTRATIVE_RESET) => "Administrative Reset",
        (CEASE, 5) => "Connection Rejected",
        (CEASE, 6) => "Other Configuration Change",
        (CEASE, 7) => "Connection Collision Resolution",
        (CEASE, 8) => "Out of Resources",
        (CEASE, HARD_RESET) => "Hard Reset",
        (CEASE, 10) => "BFD Down",
        (ROUTE_REFRESH, 1) => "Invalid Message Length",
        _ => "",
    }
}

impl fmt::Display for Notification {
    /// `6/2 Cease, Administrative Shutdown: "maintenance"`; data that has no words of its own as hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.words();
        write!(f, "{}/{} {code}", self.code, self.subcode)?;
        if !subcode.is_empty() {
            write!(f, ", {subcode}")?;
        }
        match (self.inner(), self.communication()) {
            (Some(inner), _) if !inner.is_hard_reset() => write!(f, " ({inner})"),
            (None, Some(text)) => write!(f, ": {text:?}"),
            _ if self.data.is_empty() => Ok(()),
            _ => write!(f, " [{}]", hex(&self.data)),
        }
    }
}

fn shutdown_communication(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let cut = text.get(..text.floor_char_boundary(MAX_COMMUNICATION)).unwrap_or_default();
    let mut data = vec![cut.len() as u8];
    data.extend_from_slice(cut.as_bytes());
    data
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Decodes the body of a NOTIFICATION. A body of less than two octets, which [`super::frame`] never lets through, counts as
/// zeros: a NOTIFICATION is never answered by another (RFC 4271 §6.4).
#[must_use]
pub fn decode_notification(body: &[u8]) -> Notification {
    let code = body.first().copied().unwrap_or_default();
    let subcode = body.get(1).copied().unwrap_or_default();
    Notification::new(code, subcode, body.get(2..).unwrap_or_default().to_vec())
}

/// Encodes a NOTIFICATION, its data cut so that the message has no more than `max_length` octets: 4096 unless the peer sent
/// the extended message capability (RFC 8654 §5).
#[must_use]
pub fn encode_notification(notification: &Notification, max_length: usize) -> Bytes {
    let room = max_length.max(MAX_LENGTH).min(usize::from(u16::MAX)) - HEADER_LENGTH - 2;
    let data = notification.data.get(..room).unwrap_or(&notification.data);
    let mut out = message(MessageKind::Notification, 2 + data.len());
    out.put_u8(notification.code);
    out.put_u8(notification.subcode);
    out.put_slice(data);
    patch_length(&mut out, 0);
    out.freeze()
}
