//! ROUTE-REFRESH (RFC 2918, RFC 7313).

use bytes::{BufMut, Bytes};
use zettabgp::BgpMessage;
use zettabgp::message::BgpRouterefreshMessage;

use super::Notification;
use super::encode::{message, patch_length, put_header};
use super::frame::MessageKind;
use crate::prefix::Family;

/// What a ROUTE-REFRESH asks or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefreshKind {
    /// Subtype 0: send everything again.
    Request,
    /// Subtype 1, BoRR: a refresh begins.
    Begin,
    /// Subtype 2, EoRR: a refresh has ended.
    End,
    /// Subtype 0 with outbound route filters (RFC 5291), which are not supported: to be ignored.
    Filter,
    /// Any other subtype: to be ignored.
    Unknown(u8),
}

impl RefreshKind {
    const fn subtype(self) -> u8 {
        match self {
            Self::Request | Self::Filter => 0,
            Self::Begin => 1,
            Self::End => 2,
            Self::Unknown(subtype) => subtype,
        }
    }
}

/// A ROUTE-REFRESH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteRefresh {
    /// Address Family Identifier.
    pub afi: u16,
    /// Subsequent Address Family Identifier.
    pub safi: u8,
    /// What it is about.
    pub kind: RefreshKind,
}

impl RouteRefresh {
    /// A ROUTE-REFRESH for a family.
    #[must_use]
    pub const fn new(family: Family, kind: RefreshKind) -> Self {
        Self { afi: family.afi(), safi: family.safi(), kind }
    }

    /// Its family, if it is one of ours.
    #[must_use]
    pub const fn family(&self) -> Option<Family> {
        Family::from_afi_safi(self.afi, self.safi)
    }
}

/// Decodes the body of a ROUTE-REFRESH.
///
/// # Errors
///
/// 7/1 with the whole message, if the length does not fit the subtype (RFC 7313 §5).
pub fn decode_route_refresh(body: &[u8]) -> Result<RouteRefresh, Notification> {
    let invalid_length = || {
        let mut whole = message(MessageKind::RouteRefresh, body.len());
        whole.put_slice(body);
        patch_length(&mut whole, 0);
        Notification::invalid_route_refresh_length(whole.to_vec())
    };
    let Some((fixed, rest)) = body.split_at_checked(4) else { return Err(invalid_length()) };
    let mut decoded = BgpRouterefreshMessage::new();
    decoded.decode_from(&super::open::codec_parameters(), fixed).map_err(|_| invalid_length())?;
    let kind = match decoded.subtype {
        0 if rest.is_empty() => RefreshKind::Request,
        0 if is_filter(rest) => RefreshKind::Filter,
        1 if rest.is_empty() => RefreshKind::Begin,
        2 if rest.is_empty() => RefreshKind::End,
        0..=2 => return Err(invalid_length()),
        subtype => RefreshKind::Unknown(subtype),
    };
    Ok(RouteRefresh { afi: decoded.afi, safi: decoded.safi, kind })
}

/// True for when-to-refresh and whole ORF entries: type, 2-octet length, value (RFC 5291 §4).
fn is_filter(after_family: &[u8]) -> bool {
    let Some((_when, mut entries)) = after_family.split_first() else { return false };
    while let [_kind, high, low, rest @ ..] = entries {
        let Some(behind) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { return false };
        entries = behind;
    }
    entries.is_empty()
}

/// Encodes a ROUTE-REFRESH; one with [`RefreshKind::Filter`] leaves without its filters.
#[must_use]
pub fn encode_route_refresh(refresh: &RouteRefresh) -> Bytes {
    let mut out = bytes::BytesMut::with_capacity(23);
    put_header(MessageKind::RouteRefresh, &mut out);
    out.put_u16(refresh.afi);
    out.put_u8(refresh.kind.subtype());
    out.put_u8(refresh.safi);
    patch_length(&mut out, 0);
    out.freeze()
}
