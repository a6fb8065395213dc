//! Address families.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// An address family that the speaker can carry (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Every family, in order of [`Family::index`].
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// Address Family Identifier.
    #[must_use]
    pub const fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// Subsequent Address Family Identifier.
    #[must_use]
    pub const fn safi(self) -> u8 {
        1
    }

    /// Position in arrays that hold one entry per family.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Ipv4Unicast => 0,
            Self::Ipv6Unicast => 1,
        }
    }

    /// The family of an AFI and SAFI, if it is one of ours.
    #[must_use]
    pub const fn from_afi_safi(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4Unicast,
            IpAddr::V6(_) => Self::Ipv6Unicast,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4",
            Self::Ipv6Unicast => "ipv6",
        })
    }
}

/// One value per family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct PerFamily<T> {
    /// The value of IPv4 unicast.
    pub v4: T,
    /// The value of IPv6 unicast.
    pub v6: T,
}

impl<T> PerFamily<T> {
    /// A value for each family.
    pub const fn new(v4: T, v6: T) -> Self {
        Self { v4, v6 }
    }

    /// The families with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &T)> {
        [(Family::Ipv4Unicast, &self.v4), (Family::Ipv6Unicast, &self.v6)].into_iter()
    }
}

impl PerFamily<bool> {
    /// True for the listed families.
    #[must_use]
    pub fn of(families: &[Family]) -> Self {
        Self { v4: families.contains(&Family::Ipv4Unicast), v6: families.contains(&Family::Ipv6Unicast) }
    }

    /// The families whose value is true, in order.
    pub fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let set = *self;
        Family::ALL.into_iter().filter(move |family| set[*family])
    }
}

impl<T> Index<Family> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.v4,
            Family::Ipv6Unicast => &self.v6,
        }
    }
}

impl<T> IndexMut<Family> for PerFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.v4,
            Family::Ipv6Unicast => &mut self.v6,
        }
    }
}
