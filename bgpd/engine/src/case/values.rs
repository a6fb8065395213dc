//! Configuration as words: `key=value` for what differs from a default, with the field names of the types.

use std::fmt::Write as _;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::prefix::{Family, Prefix};
use crate::wire::{Community, LargeCommunity};

/// Types that are written as their text.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Prefix, Family, Community, LargeCommunity);

/// Text that names no family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a family: expected ipv4 or ipv6")]
pub struct ParseFamilyError;

impl FromStr for Family {
    type Err = ParseFamilyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|family| family.to_string() == text).ok_or(ParseFamilyError)
    }
}

/// What is left of a line, word by word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(super) const fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// The next word, or what is missing.
    pub(super) fn need(&mut self, what: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// The next word as a value.
    pub(super) fn parse<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.need(what)?;
        word.parse().map_err(|_| format!("{what}: {word} is none"))
    }

    /// Everything left.
    pub(super) const fn rest(self) -> &'a str {
        self.rest.trim_ascii()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    /// The next word: up to white space outside of quotes, brackets and braces.
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let (mut depth, mut quoted, mut escaped) = (0_i32, false, false);
        let end = rest.find(|c: char| {
            match c {
                _ if std::mem::take(&mut escaped) => {}
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '{' | '[' if !quoted => depth += 1,
                '}' | ']' if !quoted => depth -= 1,
                _ => {}
            }
            c.is_whitespace() && depth <= 0 && !quoted
        });
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = behind;
        (!word.is_empty()).then_some(word)
    }
}

/// A name or a text as one word.
pub(super) fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-._:/%".contains(c));
    if plain { text.to_owned() } else { json!(text).to_string().replace('#', "\\u0023") }
}

/// What [`quoted`] wrote.
pub(super) fn unquoted(word: &str) -> String {
    serde_json::from_str(word).ok().filter(|_| word.starts_with('"')).unwrap_or_else(|| word.to_owned())
}

/// `value` with the fields that the words `key=value` name changed.
pub(super) fn changed<'a, T: Serialize + DeserializeOwned>(
    value: &T,
    words: impl Iterator<Item = &'a str>,
) -> Result<T, String> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(value) else {
        return Err("not a set of fields".to_owned());
    };
    for word in words {
        let (key, text) = word.split_once('=').ok_or_else(|| format!("{word}: expected key=value"))?;
        let field = fields.get_mut(key).ok_or_else(|| format!("{key}: no such field"))?;
        *field = read(text, field);
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

/// The words that make `value` of `default`.
pub(super) fn difference<T: Serialize>(value: &T, default: &T) -> String {
    let fields = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (fields, default) = (fields(value), fields(default));
    let mut text = String::new();
    for (key, field) in fields.iter().filter(|(key, field)| default.get(*key) != Some(field)) {
        let _ = write!(text, " {key}={}", write(field));
    }
    text
}

fn is_span(value: &Value) -> bool {
    value.as_object().is_some_and(|it| it.len() == 2 && it.contains_key("secs") && it.contains_key("nanos"))
}

/// A value as it stands behind `key=`; `5s` where a span is expected.
fn read(text: &str, former: &Value) -> Value {
    if is_span(former)
        && let Some(seconds) = text.strip_suffix('s').and_then(|it| it.parse::<u64>().ok())
    {
        return json!({"secs": seconds, "nanos": 0});
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn write(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let ambiguous = serde_json::from_str::<Value>(text).is_ok();
            if ambiguous { json!(text).to_string() } else { quoted(text) }
        }
        span if is_span(span) && span.get("nanos") == Some(&json!(0)) => {
            format!("{}s", span.get("secs").and_then(Value::as_u64).unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Octets as hexadecimal digits.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// What [`hex`] wrote; the word `marker` stands for the 16 octets that begin a message.
pub(super) fn octets(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.replace("marker", &"ff".repeat(16));
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|it| it.len() == 2);
        text.and_then(|it| u8::from_str_radix(it, 16).ok()).ok_or_else(|| format!("{text:?}: not an octet"))
    };
    digits.bytes().filter(|it| !it.is_ascii_whitespace()).collect::<Vec<_>>().chunks(2).map(pair).collect()
}
