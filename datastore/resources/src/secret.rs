//! Kubernetes Secret.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ObjectMeta, null};

/// A Kubernetes Secret: passwords of BGP sessions are in such. What it holds is in no debug output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Manifest")]
pub struct Secret {
    /// Name, labels, version.
    pub metadata: ObjectMeta,
    /// Entries by name.
    pub data: BTreeMap<String, SecretBytes>,
}

/// What a manifest may say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null::default")]
    data: BTreeMap<String, SecretBytes>,
    #[serde(default, deserialize_with = "null::default")]
    string_data: BTreeMap<String, PlainText>,
}

#[derive(Deserialize)]
struct PlainText(String);

impl From<Manifest> for Secret {
    /// `stringData` wins over `data`, as the API server has it.
    fn from(manifest: Manifest) -> Self {
        let mut data = manifest.data;
        data.extend(manifest.string_data.into_iter().map(|(name, text)| (name, SecretBytes(text.0.into_bytes()))));
        Self { metadata: manifest.metadata, data }
    }
}

/// A value that nobody should see.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(pub Vec<u8>);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The value itself belongs into no message.
        decode(&text).map(Self).ok_or_else(|| de::Error::custom("not base64 (RFC 4648 §4)"))
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let octet = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let character = ALPHABET.get(value as usize).copied().filter(|_| digit as usize <= chunk.len());
            text.push(char::from(character.unwrap_or(b'=')));
        }
    }
    text
}

/// Line breaks are skipped, as the API server does; padding is required.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let mut chunks = digits.chunks(4).peekable();
    while let Some(chunk) = chunks.next() {
        let padding = chunk.iter().rev().take_while(|byte| **byte == b'=').count();
        if chunk.len() != 4 || padding > 2 || (padding > 0 && chunks.peek().is_some()) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in chunk.iter().take(4 - padding) {
            let value = ALPHABET.iter().position(|it| it == byte)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits <<= 6 * padding;
        let [_, octets @ ..] = bits.to_be_bytes();
        bytes.extend(octets.iter().take(3 - padding));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        // RFC 4648 §10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode("Zm9v\nYmFy\n").unwrap(), b"foobar");
        for wrong in ["Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9*", "=Zm9"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
    }
}
