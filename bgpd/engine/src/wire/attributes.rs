//! Path attributes as a value.

use std::fmt;
use std::net::Ipv4Addr;

use super::{AsPath, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};

/// ORIGIN (RFC 4271 §5.1.1), in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// Interior to the originating AS.
    #[default]
    Igp,
    /// Learned by the EGP protocol.
    Egp,
    /// Learned by other means.
    Incomplete,
}

impl Origin {
    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Igp),
            1 => Some(Self::Egp),
            2 => Some(Self::Incomplete),
            _ => None,
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igp => "IGP",
            Self::Egp => "EGP",
            Self::Incomplete => "INCOMPLETE",
        })
    }
}

/// Attribute type codes that the speaker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeCode;

impl AttributeCode {
    /// ORIGIN.
    pub const ORIGIN: u8 = 1;
    /// AS_PATH.
    pub const AS_PATH: u8 = 2;
    /// NEXT_HOP.
    pub const NEXT_HOP: u8 = 3;
    /// MULTI_EXIT_DISC.
    pub const MULTI_EXIT_DISC: u8 = 4;
    /// LOCAL_PREF.
    pub const LOCAL_PREF: u8 = 5;
    /// ATOMIC_AGGREGATE.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// AGGREGATOR.
    pub const AGGREGATOR: u8 = 7;
    /// COMMUNITIES (RFC 1997).
    pub const COMMUNITIES: u8 = 8;
    /// ORIGINATOR_ID (RFC 4456).
    pub const ORIGINATOR_ID: u8 = 9;
    /// CLUSTER_LIST (RFC 4456).
    pub const CLUSTER_LIST: u8 = 10;
    /// MP_REACH_NLRI (RFC 4760).
    pub const MP_REACH_NLRI: u8 = 14;
    /// MP_UNREACH_NLRI (RFC 4760).
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// AS4_PATH (RFC 6793).
    pub const AS4_PATH: u8 = 17;
    /// AS4_AGGREGATOR (RFC 6793).
    pub const AS4_AGGREGATOR: u8 = 18;
    /// IPv6 Address Specific Extended Community (RFC 5701).
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    /// LARGE_COMMUNITY (RFC 8092).
    pub const LARGE_COMMUNITIES: u8 = 32;
    /// ONLY_TO_CUSTOMER (RFC 9234).
    pub const ONLY_TO_CUSTOMER: u8 = 35;

    /// Name of an attribute in the words of its RFC, for the codes above.
    #[must_use]
    pub const fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            Self::ORIGIN => "ORIGIN",
            Self::AS_PATH => "AS_PATH",
            Self::NEXT_HOP => "NEXT_HOP",
            Self::MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
            Self::LOCAL_PREF => "LOCAL_PREF",
            Self::ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
            Self::AGGREGATOR => "AGGREGATOR",
            Self::COMMUNITIES => "COMMUNITIES",
            Self::ORIGINATOR_ID => "ORIGINATOR_ID",
            Self::CLUSTER_LIST => "CLUSTER_LIST",
            Self::MP_REACH_NLRI => "MP_REACH_NLRI",
            Self::MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
            Self::EXTENDED_COMMUNITIES => "EXTENDED COMMUNITIES",
            Self::AS4_PATH => "AS4_PATH",
            Self::AS4_AGGREGATOR => "AS4_AGGREGATOR",
            Self::IPV6_EXTENDED_COMMUNITIES => "IPv6 EXTENDED COMMUNITIES",
            Self::LARGE_COMMUNITIES => "LARGE_COMMUNITY",
            Self::ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
            _ => return None,
        })
    }
}

/// An optional transitive attribute that the speaker does not implement. It is passed on with the Partial bit set
/// (RFC 4271 §5) and its value untouched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownAttribute {
    /// Type code.
    pub code: u8,
    /// The value as received.
    pub value: Box<[u8]>,
}

/// Which of the optional transitive attributes arrived with the Partial bit: once set, it stays set (RFC 4271 §5).
/// [`UnknownAttribute`]s always leave with it and are not listed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Partial(u8);

impl Partial {
    const fn bit(code: u8) -> u8 {
        match code {
            AttributeCode::AGGREGATOR => 1,
            AttributeCode::COMMUNITIES => 2,
            AttributeCode::EXTENDED_COMMUNITIES => 4,
            AttributeCode::IPV6_EXTENDED_COMMUNITIES => 8,
            AttributeCode::LARGE_COMMUNITIES => 16,
            AttributeCode::ONLY_TO_CUSTOMER => 32,
            _ => 0,
        }
    }

    /// True if the attribute of this code is partial.
    #[must_use]
    pub const fn has(self, code: u8) -> bool {
        self.0 & Self::bit(code) != 0
    }

    /// Marks the attribute of this code.
    pub const fn set(&mut self, code: u8) {
        self.0 |= Self::bit(code);
    }
}

/// The path attributes of a route, without the next hop, which is a matter of the session.
///
/// Lists are kept in the order received; an empty list is an absent attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, in 4-octet numbers.
    pub as_path: AsPath,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS number and BGP Identifier.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES.
    pub communities: Vec<Community>,
    /// EXTENDED COMMUNITIES.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// IPv6 Address Specific Extended Communities.
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// LARGE_COMMUNITY, without duplicates.
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, the newest first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// ONLY_TO_CUSTOMER: the AS that set it.
    pub otc: Option<u32>,
    /// Attributes to be passed on unread, ascending by code.
    pub unknown: Vec<UnknownAttribute>,
    /// Which of the attributes above are partial.
    pub partial: Partial,
}
