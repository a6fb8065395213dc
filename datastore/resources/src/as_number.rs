//! Autonomous system numbers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A four-octet AS number (RFC 6793). Read from a number, `"64512"`, or `"1.10"` (RFC 5396 asdot); written as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsNumber(pub u32);

/// Why a text is no AS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AS number: must be {ALLOWED}")]
pub struct AsNumberError;

const ALLOWED: &str = "0 to 4294967295, or two numbers from 0 to 65535 with a dot between them";

impl FromStr for AsNumber {
    type Err = AsNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        match text.split_once('.') {
            None if digits(text) => text.parse().map(Self).map_err(|_| AsNumberError),
            Some((high, low)) if digits(high) && digits(low) => {
                let high: u16 = high.parse().map_err(|_| AsNumberError)?;
                let low: u16 = low.parse().map_err(|_| AsNumberError)?;
                Ok(Self(u32::from(high) << 16 | u32::from(low)))
            }
            _ => Err(AsNumberError),
        }
    }
}

impl fmt::Display for AsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for AsNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = AsNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an AS number: {ALLOWED}")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<AsNumber, E> {
                u32::try_from(value).map(AsNumber).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<AsNumber, E> {
                u32::try_from(value).map(AsNumber).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<AsNumber, E> {
                value.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
