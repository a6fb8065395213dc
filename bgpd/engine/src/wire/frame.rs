//! Framing (RFC 4271 §4.1, §6.1; RFC 8654).

use super::{Notification, OpenMessage, RouteRefresh, decode_notification, decode_open, decode_route_refresh};

/// Octets of a message header.
pub const HEADER_LENGTH: usize = 19;
/// Longest message without the extended message capability, and longest OPEN and KEEPALIVE ever.
pub const MAX_LENGTH: usize = 4096;
/// Longest message with the extended message capability (RFC 8654).
pub const MAX_EXTENDED_LENGTH: usize = 65535;

/// Type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// OPEN.
    Open,
    /// UPDATE.
    Update,
    /// NOTIFICATION.
    Notification,
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
}

impl MessageKind {
    /// The type octet.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    /// Name for status and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
        }
    }

    /// Lengths that a message of this type may have.
    const fn lengths(self, max_length: usize) -> (usize, usize) {
        match self {
            Self::Open => (29, MAX_LENGTH),
            Self::Update | Self::RouteRefresh => (23, max_length),
            Self::Notification => (21, max_length),
            Self::Keepalive => (19, 19),
        }
    }
}

/// A whole message, not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawMessage<'a> {
    /// Its type.
    pub kind: MessageKind,
    /// Octets of the whole message, header included: how far to advance in the stream.
    pub length: usize,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Finds the first message in a stream of octets. `max_length` is [`MAX_EXTENDED_LENGTH`] once *we* sent the extended
/// message capability (RFC 8654 §4), else [`MAX_LENGTH`].
///
/// The header is judged as soon as its 19 octets are there: an illegal length is never waited for. `None` means that more
/// octets are needed.
///
/// # Errors
///
/// 1/1, 1/2 or 1/3 of RFC 4271 §6.1.
pub fn frame(buffer: &[u8], max_length: usize) -> Result<Option<RawMessage<'_>>, Notification> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
    let [marker @ .., high, low, kind] = header;
    if *marker != [0xff; 16] {
        return Err(Notification::connection_not_synchronized());
    }
    let octets = u16::from_be_bytes([*high, *low]);
    let length = usize::from(octets);
    let kind_read = MessageKind::from_code(*kind);
    let (shortest, longest) = kind_read.map_or((HEADER_LENGTH, max_length), |kind| kind.lengths(max_length));
    if length < shortest || length > longest {
        return Err(Notification::bad_message_length(octets));
    }
    let Some(kind) = kind_read else { return Err(Notification::bad_message_type(*kind)) };
    Ok(rest.get(..length - HEADER_LENGTH).map(|body| RawMessage { kind, length, body }))
}

/// A decoded message; UPDATEs stay octets, since their meaning depends on what the session negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// OPEN.
    Open(Box<OpenMessage>),
    /// The body of an UPDATE, for [`super::decode_update`].
    Update(&'a [u8]),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
}

/// Decodes a framed message.
///
/// # Errors
///
/// What [`decode_open`] and [`decode_route_refresh`] refuse.
pub fn decode<'a>(raw: &RawMessage<'a>) -> Result<Message<'a>, Notification> {
    Ok(match raw.kind {
        MessageKind::Open => Message::Open(Box::new(decode_open(raw.body)?)),
        MessageKind::Update => Message::Update(raw.body),
        MessageKind::Notification => Message::Notification(decode_notification(raw.body)),
        MessageKind::Keepalive => Message::Keepalive,
        MessageKind::RouteRefresh => Message::RouteRefresh(decode_route_refresh(raw.body)?),
    })
}
