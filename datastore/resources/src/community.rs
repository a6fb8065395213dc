//! BGP communities as manifests write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A community value: `aa:nn` (RFC 1997) or `aa:nn:mm` (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997: AS number and value, 16 bits each.
    Standard(u16, u16),
    /// RFC 8092: global administrator and two local parts, 32 bits each.
    Large(u32, u32, u32),
}

/// Why a text is no community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a community: must be {ALLOWED}")]
pub struct CommunityError;

const ALLOWED: &str = "\"aa:nn\" with numbers up to 65535, or \"aa:nn:mm\" with numbers up to 4294967295";

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
            return Err(CommunityError);
        }
        let mut parts = text.split(':');
        let parsed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(a), Some(n), None, None) => a.parse().ok().zip(n.parse().ok()).map(|(a, n)| Self::Standard(a, n)),
            (Some(a), Some(n), Some(m), None) => match (a.parse(), n.parse(), m.parse()) {
                (Ok(a), Ok(n), Ok(m)) => Some(Self::Large(a, n, m)),
                _ => None,
            },
            _ => None,
        };
        parsed.ok_or(CommunityError)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, n) => write!(f, "{a}:{n}"),
            Self::Large(a, n, m) => write!(f, "{a}:{n}:{m}"),
        }
    }
}

impl Serialize for Community {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Community {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &ALLOWED))
    }
}
