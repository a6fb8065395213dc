//! Communities of all kinds and their text (RFC 1997, 4360, 5668, 5701, 8092).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use zettabgp::message::attributes::community::BgpCommunity;

/// Text that is no community of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a community: expected {expected}")]
pub struct ParseCommunityError {
    /// The forms that are understood.
    pub expected: &'static str,
}

/// A community of RFC 1997.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// LLGR_STALE (RFC 9494).
    pub const LLGR_STALE: Self = Self(0xffff_0006);
    /// NO_LLGR (RFC 9494).
    pub const NO_LLGR: Self = Self(0xffff_0007);
    /// BLACKHOLE (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xffff_029a);
    /// NO_EXPORT (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// NO_ADVERTISE (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
    /// NO_EXPORT_SUBCONFED (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xffff_ff03);
    /// NOPEER (RFC 3765).
    pub const NOPEER: Self = Self(0xffff_ff04);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
        (Self::LLGR_STALE, "llgr-stale"),
        (Self::NO_LLGR, "no-llgr"),
        (Self::BLACKHOLE, "blackhole"),
        (Self::NO_EXPORT, "no-export"),
        (Self::NO_ADVERTISE, "no-advertise"),
        (Self::NO_EXPORT_SUBCONFED, "no-export-subconfed"),
        (Self::NOPEER, "no-peer"),
    ];

    /// The community `high:low`.
    #[must_use]
    pub const fn new(high: u16, low: u16) -> Self {
        Self((high as u32) << 16 | low as u32)
    }
}

impl fmt::Display for Community {
    /// The name of a well-known community, else `high:low`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(community, _)| community == self) {
            Some((_, name)) => f.write_str(name),
            None => BgpCommunity::new(self.0).fmt(f),
        }
    }
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    /// Reads `high:low`, one decimal number, or the name of a well-known community.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some((community, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*community);
        }
        text.parse::<BgpCommunity>()
            .map(|community| Self(community.value))
            .map_err(|_| ParseCommunityError { expected: "two numbers of 16 bits `65000:1` or a well-known name" })
    }
}

/// A large community (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global Administrator, an AS number.
    pub global: u32,
    /// Local Data Part 1.
    pub local1: u32,
    /// Local Data Part 2.
    pub local2: u32,
}

impl LargeCommunity {
    pub(super) fn from_octets(octets: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = octets;
        Self {
            global: u32::from_be_bytes([a, b, c, d]),
            local1: u32::from_be_bytes([e, f, g, h]),
            local2: u32::from_be_bytes([i, j, k, l]),
        }
    }

    pub(super) fn to_octets(self) -> [u8; 12] {
        let [a, b, c, d] = self.global.to_be_bytes();
        let [e, f, g, h] = self.local1.to_be_bytes();
        let [i, j, k, l] = self.local2.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    /// Reads `global:local1:local2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseCommunityError { expected: "three numbers of 32 bits `65000:1:2`" };
        let mut parts = text.trim().split(':').map(|part| part.parse().map_err(|_| error));
        let mut next = || parts.next().unwrap_or(Err(error));
        let community = Self { global: next()?, local1: next()?, local2: next()? };
        if parts.next().is_some() { Err(error) } else { Ok(community) }
    }
}

/// An extended community (RFC 4360): type, sub-type and six octets of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

const NON_TRANSITIVE: u8 = 0x40;
const TWO_OCTET_AS: u8 = 0x00;
const IPV4_ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;
const ROUTE_TARGET: u8 = 0x02;
const ROUTE_ORIGIN: u8 = 0x03;
const LINK_BANDWIDTH: u8 = 0x04;

impl ExtendedCommunity {
    /// True if it may cross an AS border (RFC 4360 §2).
    #[must_use]
    pub const fn is_transitive(&self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }

    /// Link bandwidth: the AS number and the bandwidth in octets per second, if it is one, transitive or not (RFC 10005).
    /// The number is as received: it may be negative, infinite or none.
    #[must_use]
    pub fn link_bandwidth(&self) -> Option<(u16, f32)> {
        let [kind, LINK_BANDWIDTH, a, b, c, d, e, f] = self.0 else { return None };
        (kind & !NON_TRANSITIVE == TWO_OCTET_AS).then(|| (u16::from_be_bytes([a, b]), f32::from_be_bytes([c, d, e, f])))
    }

    /// A non-transitive link bandwidth of `octets_per_second`.
    #[must_use]
    pub const fn from_link_bandwidth(as_number: u16, octets_per_second: f32) -> Self {
        let [a, b] = as_number.to_be_bytes();
        let [c, d, e, f] = octets_per_second.to_be_bytes();
        Self([TWO_OCTET_AS | NON_TRANSITIVE, LINK_BANDWIDTH, a, b, c, d, e, f])
    }

    fn from_text(sub_type: u8, administrator: &str, number: &str) -> Option<Self> {
        if let Ok(address) = administrator.parse::<Ipv4Addr>() {
            let [a, b, c, d] = address.octets();
            let [e, f] = number.parse::<u16>().ok()?.to_be_bytes();
            return Some(Self([IPV4_ADDRESS, sub_type, a, b, c, d, e, f]));
        }
        let as_number = administrator.parse::<u32>().ok()?;
        if let Ok(short) = u16::try_from(as_number) {
            let [a, b] = short.to_be_bytes();
            let [c, d, e, f] = number.parse::<u32>().ok()?.to_be_bytes();
            return Some(Self([TWO_OCTET_AS, sub_type, a, b, c, d, e, f]));
        }
        let [a, b, c, d] = as_number.to_be_bytes();
        let [e, f] = number.parse::<u16>().ok()?.to_be_bytes();
        Some(Self([FOUR_OCTET_AS, sub_type, a, b, c, d, e, f]))
    }
}

impl fmt::Display for ExtendedCommunity {
    /// `rt:` and `soo:` with AS number or address, `lb:` with octets per second, else 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub_type, a, b, c, d, e, g] = self.0;
        let name = match sub_type {
            ROUTE_TARGET => Some("rt"),
            ROUTE_ORIGIN => Some("soo"),
            _ => None,
        };
        match (kind, name, self.link_bandwidth()) {
            (TWO_OCTET_AS, Some(name), _) => {
                write!(f, "{name}:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g]))
            }
            (IPV4_ADDRESS, Some(name), _) => write!(f, "{name}:{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([e, g])),
            // A short number in the long form would read as the other type.
            (FOUR_OCTET_AS, Some(name), _) if (a, b) != (0, 0) => {
                write!(f, "{name}:{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g]))
            }
            (NON_TRANSITIVE, _, Some((as_number, bandwidth))) if bandwidth.is_finite() => {
                write!(f, "lb:{as_number}:{bandwidth}")
            }
            _ => write!(f, "0x{:016x}", u64::from_be_bytes(self.0)),
        }
    }
}

impl FromStr for ExtendedCommunity {
    type Err = ParseCommunityError;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |text: &str| -> Option<Self> {
            if let Some(digits) = text.strip_prefix("0x") {
                let value = u64::from_str_radix(digits, 16).ok()?;
                return (digits.len() == 16).then_some(Self(value.to_be_bytes()));
            }
            let (name, value) = text.split_once(':')?;
            let (administrator, number) = value.rsplit_once(':')?;
            match name {
                "rt" => Self::from_text(ROUTE_TARGET, administrator, number),
                "soo" => Self::from_text(ROUTE_ORIGIN, administrator, number),
                "lb" => Some(Self::from_link_bandwidth(administrator.parse().ok()?, number.parse().ok()?)),
                _ => None,
            }
        };
        parse(text.trim()).ok_or(ParseCommunityError {
            expected: "`rt:65000:1`, `soo:192.0.2.1:1`, `lb:65000:125000` or 16 hex digits",
        })
    }
}

/// An IPv6 Address Specific Extended Community (RFC 5701): type, sub-type, address, two octets of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6ExtendedCommunity(pub [u8; 20]);

impl Ipv6ExtendedCommunity {
    /// True if it may cross an AS border (RFC 5701 §2).
    #[must_use]
    pub const fn is_transitive(&self) -> bool {
        self.0[0] & NON_TRANSITIVE == 0
    }
}

impl fmt::Display for Ipv6ExtendedCommunity {
    /// `type.sub-type:[address]:number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub_type, address @ .., high, low] = self.0;
        write!(f, "{kind:#04x}.{sub_type:#04x}:[{}]:{}", Ipv6Addr::from(address), u16::from_be_bytes([high, low]))
    }
}
