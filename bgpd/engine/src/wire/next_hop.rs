//! Next hops (RFC 4271 §5.1.3, RFC 4760 §3, RFC 2545 §3, RFC 8950).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

/// Where a route goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// An IPv4 router.
    V4(Ipv4Addr),
    /// An IPv6 router, for IPv6 routes and for IPv4 routes under RFC 8950.
    V6 {
        /// The address of 16 octets. A router known by its link-local address alone has that one here.
        global: Ipv6Addr,
        /// The link-local address that came along, or rides along when sent (32 octets, RFC 2545 §3).
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// The next hop that is this address.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(global) => Self::V6 { global, link_local: None },
        }
    }

    /// The network-layer address proper: the global one, or the link-local one if there is no other.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        match self {
            Self::V4(address) => IpAddr::V4(*address),
            Self::V6 { global, .. } => IpAddr::V6(*global),
        }
    }

    /// The link-local address, wherever it was carried.
    #[must_use]
    pub const fn link_local(&self) -> Option<Ipv6Addr> {
        match self {
            Self::V4(_) => None,
            Self::V6 { link_local: Some(address), .. } => Some(*address),
            Self::V6 { global, link_local: None } if global.is_unicast_link_local() => Some(*global),
            Self::V6 { .. } => None,
        }
    }

    /// True if it can be no router: unspecified, loopback, multicast, broadcast or reserved.
    #[must_use]
    pub const fn is_martian(&self) -> bool {
        match self {
            Self::V4(address) => matches!(address.octets()[0], 0 | 127 | 224..),
            Self::V6 { global, .. } => global.is_unspecified() || global.is_loopback() || global.is_multicast(),
        }
    }

    /// Reads the next hop of an MP_REACH_NLRI of an IPv4 or IPv6 family; `None` if the length is none of those: 16, 32,
    /// and 4 where `v4_allowed`.
    ///
    /// Peers on link-local sessions write `[LL]`, `[LL, LL]` or `[::, LL]`: all three become the link-local address
    /// alone.
    pub(super) fn decode(value: &[u8], v4_allowed: bool, v6_allowed: bool) -> Option<Self> {
        if let Ok(octets) = <[u8; 4]>::try_from(value) {
            return v4_allowed.then_some(Self::V4(Ipv4Addr::from(octets)));
        }
        if !v6_allowed {
            return None;
        }
        if let Ok(octets) = <[u8; 16]>::try_from(value) {
            return Some(Self::V6 { global: Ipv6Addr::from(octets), link_local: None });
        }
        let both = <[u8; 32]>::try_from(value).ok()?;
        let first = Ipv6Addr::from(<[u8; 16]>::try_from(both.get(..16)?).ok()?);
        let second = Ipv6Addr::from(<[u8; 16]>::try_from(both.get(16..)?).ok()?);
        let link_local = second.is_unicast_link_local().then_some(second);
        Some(match link_local {
            Some(address) if first.is_unspecified() || first == address => {
                Self::V6 { global: address, link_local: None }
            }
            _ => Self::V6 { global: first, link_local },
        })
    }

    pub(super) const fn encoded_length(&self) -> usize {
        match self {
            Self::V4(_) => 4,
            Self::V6 { link_local: None, .. } => 16,
            Self::V6 { link_local: Some(_), .. } => 32,
        }
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::V4(address) => out.put_slice(&address.octets()),
            Self::V6 { global, link_local } => {
                out.put_slice(&global.octets());
                if let Some(address) = link_local {
                    out.put_slice(&address.octets());
                }
            }
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6 { global, link_local: None } => global.fmt(f),
            Self::V6 { global, link_local: Some(address) } => write!(f, "{global} ({address})"),
        }
    }
}
