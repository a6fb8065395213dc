//! Address families and prefixes.
//!
//! A prefix is canonical: its host bits are zero, so equal destinations are equal values. One type per family keeps the
//! tables small (5 and 17 octets); [`Prefix`] joins both for the edges of the API.

mod family;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

pub use self::family::{Family, PerFamily};

/// What the tables and the codec need of a prefix of one family.
pub trait NetPrefix:
    Copy
    + Eq
    + Ord
    + Hash
    + fmt::Debug
    + fmt::Display
    + Into<Prefix>
    + Into<IpNetwork>
    + prefix_trie::Prefix
    + Send
    + Sync
    + 'static
{
    /// The family of these prefixes.
    const FAMILY: Family;
    /// Length of a host prefix in bits.
    const MAX_LENGTH: u8;

    /// Prefix length in bits.
    fn length(&self) -> u8;

    /// The network address.
    fn address(&self) -> IpAddr;

    /// True if `other` is this prefix or a part of it.
    fn covers(&self, other: &Self) -> bool;

    /// The prefix, if it is of this family.
    fn from_prefix(prefix: Prefix) -> Option<Self>;

    /// The prefix of the `length` leading bits in `octets`, which holds at least [`octets_of`]`(length)` of them; bits
    /// behind the length are ignored. `None` if the length is not of this family or octets are missing.
    fn from_octets(length: u8, octets: &[u8]) -> Option<Self>;

    /// Hands the network address in network byte order to `take`; the first [`octets_of`]`(length)` of them are
    /// significant.
    fn with_octets<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R;

    /// True for destinations that no BGP speaker may install: unspecified ("this network"), loopback, link-local (IPv6),
    /// multicast, reserved. The default route is none of them.
    fn is_martian(&self) -> bool;
}

/// Octets that hold `length` bits of an address (RFC 4271 §4.3).
#[must_use]
pub const fn octets_of(length: u8) -> usize {
    (length as usize).div_ceil(8)
}

/// An IPv4 prefix without host bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipv4Prefix {
    address: Ipv4Addr,
    length: u8,
}

/// An IPv6 prefix without host bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipv6Prefix {
    address: Ipv6Addr,
    length: u8,
}

const fn mask4(length: u8) -> u32 {
    match u32::MAX.checked_shl(32 - length as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn mask6(length: u8) -> u128 {
    match u128::MAX.checked_shl(128 - length as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

impl Ipv4Prefix {
    /// The default route.
    pub const DEFAULT: Self = Self { address: Ipv4Addr::UNSPECIFIED, length: 0 };

    /// The prefix of `length` bits around an address; `None` above 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, length: u8) -> Option<Self> {
        if length > 32 {
            return None;
        }
        Some(Self { address: Ipv4Addr::from_bits(address.to_bits() & mask4(length)), length })
    }

    /// The prefix that holds this address alone.
    #[must_use]
    pub const fn host(address: Ipv4Addr) -> Self {
        Self { address, length: 32 }
    }

    /// The network address.
    #[must_use]
    pub const fn network(self) -> Ipv4Addr {
        self.address
    }

    /// True if the address lies inside.
    #[must_use]
    pub const fn contains_address(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask4(self.length) == self.address.to_bits()
    }
}

impl Ipv6Prefix {
    /// The default route.
    pub const DEFAULT: Self = Self { address: Ipv6Addr::UNSPECIFIED, length: 0 };

    /// The prefix of `length` bits around an address; `None` above 128.
    #[must_use]
    pub const fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        if length > 128 {
            return None;
        }
        Some(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask6(length)), length })
    }

    /// The prefix that holds this address alone.
    #[must_use]
    pub const fn host(address: Ipv6Addr) -> Self {
        Self { address, length: 128 }
    }

    /// The network address.
    #[must_use]
    pub const fn network(self) -> Ipv6Addr {
        self.address
    }

    /// True if the address lies inside.
    #[must_use]
    pub const fn contains_address(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask6(self.length) == self.address.to_bits()
    }
}

impl Hash for Ipv4Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.address.to_bits()) << 8 | u64::from(self.length));
    }
}

impl Hash for Ipv6Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.address.to_bits());
        state.write_u8(self.length);
    }
}

impl NetPrefix for Ipv4Prefix {
    const FAMILY: Family = Family::Ipv4Unicast;
    const MAX_LENGTH: u8 = 32;

    fn length(&self) -> u8 {
        self.length
    }

    fn address(&self) -> IpAddr {
        IpAddr::V4(self.address)
    }

    fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains_address(other.address)
    }

    fn from_prefix(prefix: Prefix) -> Option<Self> {
        match prefix {
            Prefix::V4(prefix) => Some(prefix),
            Prefix::V6(_) => None,
        }
    }

    fn from_octets(length: u8, octets: &[u8]) -> Option<Self> {
        let significant = octets.get(..octets_of(length))?;
        let mut address = [0; 4];
        address.get_mut(..significant.len())?.copy_from_slice(significant);
        Self::new(Ipv4Addr::from(address), length)
    }

    fn with_octets<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        take(&self.address.octets())
    }

    fn is_martian(&self) -> bool {
        let first = self.address.octets()[0];
        self.length != 0 && matches!(first, 0 | 127 | 224..)
    }
}

impl NetPrefix for Ipv6Prefix {
    const FAMILY: Family = Family::Ipv6Unicast;
    const MAX_LENGTH: u8 = 128;

    fn length(&self) -> u8 {
        self.length
    }

    fn address(&self) -> IpAddr {
        IpAddr::V6(self.address)
    }

    fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains_address(other.address)
    }

    fn from_prefix(prefix: Prefix) -> Option<Self> {
        match prefix {
            Prefix::V4(_) => None,
            Prefix::V6(prefix) => Some(prefix),
        }
    }

    fn from_octets(length: u8, octets: &[u8]) -> Option<Self> {
        let significant = octets.get(..octets_of(length))?;
        let mut address = [0; 16];
        address.get_mut(..significant.len())?.copy_from_slice(significant);
        Self::new(Ipv6Addr::from(address), length)
    }

    fn with_octets<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        take(&self.address.octets())
    }

    fn is_martian(&self) -> bool {
        let bits = self.address.to_bits();
        let starts = |value: u16, bits_of_it: u8| {
            self.length >= bits_of_it && (bits >> 112) as u16 >> (16 - bits_of_it) == value >> (16 - bits_of_it)
        };
        // ::/96 holds the unspecified and the loopback address and the deprecated IPv4-compatible ones, the block above it
        // the IPv4-mapped ones.
        let embedded = self.length >= 96 && matches!(bits >> 32, 0 | 0xffff);
        starts(0xff00, 8) || starts(0xfe80, 10) || embedded
    }
}

impl prefix_trie::Prefix for Ipv4Prefix {
    type R = u32;

    fn repr(&self) -> u32 {
        self.address.to_bits()
    }

    fn prefix_len(&self) -> u8 {
        self.length
    }

    fn from_repr_len(repr: u32, len: u8) -> Self {
        let length = len.min(32);
        Self { address: Ipv4Addr::from_bits(repr & mask4(length)), length }
    }
}

impl prefix_trie::Prefix for Ipv6Prefix {
    type R = u128;

    fn repr(&self) -> u128 {
        self.address.to_bits()
    }

    fn prefix_len(&self) -> u8 {
        self.length
    }

    fn from_repr_len(repr: u128, len: u8) -> Self {
        let length = len.min(128);
        Self { address: Ipv6Addr::from_bits(repr & mask6(length)), length }
    }
}

/// A prefix of either family. For API edges; tables are kept per family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// IPv4.
    V4(Ipv4Prefix),
    /// IPv6.
    V6(Ipv6Prefix),
}

impl Prefix {
    /// The prefix of `length` bits around an address; `None` if the address has fewer bits.
    #[must_use]
    pub const fn new(address: IpAddr, length: u8) -> Option<Self> {
        match address {
            IpAddr::V4(address) => match Ipv4Prefix::new(address, length) {
                Some(prefix) => Some(Self::V4(prefix)),
                None => None,
            },
            IpAddr::V6(address) => match Ipv6Prefix::new(address, length) {
                Some(prefix) => Some(Self::V6(prefix)),
                None => None,
            },
        }
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::Ipv4Unicast,
            Self::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// Prefix length in bits.
    #[must_use]
    pub const fn length(self) -> u8 {
        match self {
            Self::V4(prefix) => prefix.length,
            Self::V6(prefix) => prefix.length,
        }
    }

    /// The network address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::V4(prefix) => IpAddr::V4(prefix.address),
            Self::V6(prefix) => IpAddr::V6(prefix.address),
        }
    }

    /// True if `other` is this prefix or a part of it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(outer), Self::V4(inner)) => outer.covers(&inner),
            (Self::V6(outer), Self::V6(inner)) => outer.covers(&inner),
            _ => false,
        }
    }

    /// True if the address lies inside.
    #[must_use]
    pub const fn contains_address(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(prefix), IpAddr::V4(address)) => prefix.contains_address(address),
            (Self::V6(prefix), IpAddr::V6(address)) => prefix.contains_address(address),
            _ => false,
        }
    }
}

/// Text that is no prefix in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a prefix in CIDR notation")]
pub struct ParsePrefixError;

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    /// Reads CIDR notation; host bits are dropped, a bare address is a host prefix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<IpNetwork>().map(Self::from).map_err(|_| ParsePrefixError)
    }
}

impl From<IpNetwork> for Prefix {
    fn from(network: IpNetwork) -> Self {
        match network {
            IpNetwork::V4(network) => Self::V4(network.into()),
            IpNetwork::V6(network) => Self::V6(network.into()),
        }
    }
}

impl From<Prefix> for IpNetwork {
    fn from(prefix: Prefix) -> Self {
        match prefix {
            Prefix::V4(prefix) => prefix.into(),
            Prefix::V6(prefix) => prefix.into(),
        }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(Ipv4Prefix::host(address)),
            IpAddr::V6(address) => Self::V6(Ipv6Prefix::host(address)),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(prefix) => prefix.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! prefix_conversions {
    ($prefix:ident, $network:ident, $variant:ident) => {
        impl From<$prefix> for Prefix {
            fn from(prefix: $prefix) -> Self {
                Self::$variant(prefix)
            }
        }

        impl From<$network> for $prefix {
            fn from(network: $network) -> Self {
                Self { address: network.network(), length: network.prefix() }
            }
        }

        impl From<$prefix> for IpNetwork {
            fn from(prefix: $prefix) -> Self {
                // The length was checked when the prefix was made, so the host form is never taken.
                Self::new(IpAddr::$variant(prefix.address), prefix.length)
                    .unwrap_or_else(|_| Self::from(IpAddr::$variant(prefix.address)))
            }
        }

        impl FromStr for $prefix {
            type Err = ParsePrefixError;

            /// Reads CIDR notation; host bits are dropped, a bare address is a host prefix.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse::<$network>().map(Self::from).map_err(|_| ParsePrefixError)
            }
        }

        impl fmt::Display for $prefix {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.address, self.length)
            }
        }

        impl fmt::Debug for $prefix {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

prefix_conversions!(Ipv4Prefix, Ipv4Network, V4);
prefix_conversions!(Ipv6Prefix, Ipv6Network, V6);
