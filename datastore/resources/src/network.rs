//! Prefixes whose host bits are zero.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A prefix as written in a manifest. Equality and order are those of the prefix, host bits aside; whether any were
/// written is kept, because some fields refuse them.
#[derive(Clone, Copy, Debug)]
pub struct Cidr {
    network: IpNetwork,
    written: IpNetwork,
}

impl Cidr {
    /// The prefix, host bits zero.
    pub fn network(self) -> IpNetwork {
        self.network
    }

    /// The prefix as it was written.
    pub fn written(self) -> IpNetwork {
        self.written
    }

    /// Whether it was written with host bits that are not zero.
    pub fn has_host_bits(self) -> bool {
        self.network != self.written
    }

    /// Whether every address of `other` is one of this prefix.
    pub fn contains(self, other: Self) -> bool {
        self.network.prefix() <= other.network.prefix() && self.network.contains(other.network.ip())
    }

    /// Whether some address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other) || other.contains(self)
    }
}

impl From<IpNetwork> for Cidr {
    fn from(written: IpNetwork) -> Self {
        // The prefix length comes from a valid network of the same family.
        let network = IpNetwork::new(written.network(), written.prefix()).unwrap_or(written);
        Self { network, written }
    }
}

impl From<Cidr> for IpNetwork {
    fn from(cidr: Cidr) -> Self {
        cidr.network
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self::from(IpNetwork::from(address))
    }
}

impl FromStr for Cidr {
    type Err = ipnetwork::IpNetworkError;

    /// Reads `10.0.0.0/8`; a bare address is a prefix of full length.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<IpNetwork>().map(Self::from)
    }
}

impl PartialEq for Cidr {
    fn eq(&self, other: &Self) -> bool {
        self.network == other.network
    }
}

impl Eq for Cidr {}

impl PartialOrd for Cidr {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cidr {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.network.cmp(&other.network)
    }
}

impl std::hash::Hash for Cidr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.network.hash(state);
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.network)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A bare address would silently be one host; every CIDR field of the APIs wants the length.
        text.contains('/').then(|| text.parse().ok()).flatten().ok_or_else(|| {
            de::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"a prefix in CIDR notation such as \"10.0.0.0/24\" or \"fd00::/64\"",
            )
        })
    }
}
