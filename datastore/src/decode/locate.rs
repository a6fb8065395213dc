//! From the path of a field to its place in the text.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::Position;

/// Where the value at `path` is; if there is none, where the nearest value around it is.
pub(super) fn locate(text: &str, path: &str) -> Option<Position> {
    let steps = steps(path);
    (0..=steps.len()).rev().find_map(|length| {
        let walk = Walk(steps.get(..length)?);
        let options = super::options();
        serde_saphyr::with_deserializer_from_str_with_options(text, options, |d| walk.deserialize(d)).ok().flatten()
    })
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// `spec.rules[1].port`, or `metadata.annotations[example.org/name]` for keys that have dots.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((inner, tail)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            steps.push(inner.parse().map_or(Step::Key(inner), Step::Index));
            rest = tail;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).filter(|end| *end > 0).unwrap_or(rest.len());
            let (key, tail) = rest.split_at(end);
            steps.push(Step::Key(key));
            rest = tail;
        }
    }
    steps
}

struct Walk<'p>(&'p [Step<'p>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<Position>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.first() {
            None => {
                let here = <Spanned<IgnoredAny> as serde::Deserialize>::deserialize(deserializer)?.referenced;
                let whole = |number| usize::try_from(number).unwrap_or(usize::MAX);
                let position = Position { line: whole(here.line()), column: whole(here.column()) };
                Ok(Some(position).filter(|position| position.line > 0))
            }
            Some(Step::Key(_)) => deserializer.deserialize_map(self),
            Some(Step::Index(_)) => deserializer.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<Position>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value on the way to the field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else { return Ok(None) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted && found.is_none() {
                found = map.next_value_seed(Walk(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Index(wanted), rest)) = self.0.split_first() else { return Ok(None) };
        for _ in 0..*wanted {
            if sequence.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = sequence.next_element_seed(Walk(rest))?.flatten();
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}
