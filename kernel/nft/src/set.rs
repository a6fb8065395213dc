//! Sets and maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::value::padded;
use crate::{Datatype, Element, Value, Verdict};

/// Bytes of a set's comment that are kept.
const COMMENT_LENGTH: usize = 64;

/// A named set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The parts of the key.
    pub key: Vec<Datatype>,
    /// What a map maps to; `None` for a set.
    pub data: Option<MapData>,
    /// Elements may be ranges. Costs the hash: see the layout before setting it on something that grows.
    pub interval: bool,
    /// Rules may add elements. Its elements belong to the kernel then: they are neither written nor compared.
    pub dynamic: bool,
    /// After which time elements vanish.
    pub timeout: Option<Duration>,
    /// How many elements it may hold at most.
    pub size: Option<u32>,
    /// Printed by nft, else without effect. What is longer than 64 bytes is cut: the kernel keeps 256 bytes beside a set,
    /// and the types of a long key take most of them.
    pub comment: Option<String>,
    /// The elements; the value is `Some` in maps and `None` in sets.
    pub elements: Arc<BTreeMap<Element, Option<Data>>>,
}

/// The type of a map's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapData {
    /// Verdicts: for `vmap`.
    Verdict,
    /// Concatenated values.
    Values(Vec<Datatype>),
}

/// What an element of a map maps to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Of a verdict map.
    Verdict(Verdict),
    /// Of a map to values.
    Value(Value),
}

impl From<Verdict> for Data {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl<T: Into<Value>> From<T> for Data {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

impl Set {
    fn new(key: impl Into<Vec<Datatype>>, data: Option<MapData>) -> Self {
        Self {
            key: key.into(),
            data,
            interval: false,
            dynamic: false,
            timeout: None,
            size: None,
            comment: None,
            elements: Arc::default(),
        }
    }

    /// An empty set of single values (a hash).
    #[must_use]
    pub fn of(key: impl Into<Vec<Datatype>>) -> Self {
        Self::new(key, None)
    }

    /// An empty set of ranges.
    #[must_use]
    pub fn intervals(key: impl Into<Vec<Datatype>>) -> Self {
        Self { interval: true, ..Self::new(key, None) }
    }

    /// An empty map to verdicts.
    #[must_use]
    pub fn verdict_map(key: impl Into<Vec<Datatype>>) -> Self {
        Self::new(key, Some(MapData::Verdict))
    }

    /// An empty map to values.
    #[must_use]
    pub fn map(key: impl Into<Vec<Datatype>>, values: impl Into<Vec<Datatype>>) -> Self {
        Self::new(key, Some(MapData::Values(values.into())))
    }

    /// The same with these members added. For sets; see [`Set::merge_ranges`] when ranges may overlap.
    #[must_use]
    pub fn with_members<E: Into<Element>>(mut self, members: impl IntoIterator<Item = E>) -> Self {
        Arc::make_mut(&mut self.elements).extend(members.into_iter().map(|element| (element.into(), None)));
        self
    }

    /// The same with these entries added. For maps.
    #[must_use]
    pub fn with_entries<E: Into<Element>, D: Into<Data>>(mut self, entries: impl IntoIterator<Item = (E, D)>) -> Self {
        let entries = entries.into_iter().map(|(element, data)| (element.into(), Some(data.into())));
        Arc::make_mut(&mut self.elements).extend(entries);
        self
    }

    /// Adds a member; returns whether it is new.
    pub fn insert(&mut self, member: impl Into<Element>) -> bool {
        Arc::make_mut(&mut self.elements).insert(member.into(), None).is_none()
    }

    /// Adds or replaces an entry of a map; returns what was there.
    pub fn set(&mut self, element: impl Into<Element>, data: impl Into<Data>) -> Option<Data> {
        Arc::make_mut(&mut self.elements).insert(element.into(), Some(data.into())).flatten()
    }

    /// Takes a member or entry out; returns whether it was there.
    pub fn remove(&mut self, element: &Element) -> bool {
        Arc::make_mut(&mut self.elements).remove(element).is_some()
    }

    /// Merges ranges that overlap or touch, so that any list of networks or ports can be held: the kernel refuses
    /// overlaps. In a concatenation those are merged that have all but the last part in common; whoever has ranges in
    /// other parts keeps them apart. For sets without values.
    #[must_use]
    pub fn merge_ranges(mut self) -> Self {
        let merged = merge(&self.key, self.elements.keys());
        self.elements = Arc::new(merged.into_iter().map(|element| (element, None)).collect());
        self
    }
}

/// The elements with those ranges merged that overlap or touch in their last part and have the others in common.
pub(crate) fn merge<'a>(key: &[Datatype], elements: impl Iterator<Item = &'a Element>) -> BTreeSet<Element> {
    // Numbers in the order of the machine have no ranges, and their bytes no order.
    let Some((last, before)) = key.split_last().filter(|(last, _)| !last.is_host_order()) else {
        return elements.cloned().collect();
    };
    let at = before.iter().map(|part| padded(part.length())).sum();
    let split = |value: &Value| {
        let bytes = value.as_bytes();
        let (prefix, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
        // Without its padding, so that it has a successor.
        let last = rest.get(..last.length()).unwrap_or(rest);
        (Value::from_bytes(prefix), Value::from_bytes(last))
    };
    let join = |prefix: &Value, last: &Value| {
        let mut bytes = [prefix.as_bytes(), last.as_bytes()].concat();
        if !before.is_empty() {
            bytes.resize(padded(bytes.len()), 0);
        }
        Value::from_bytes(&bytes)
    };
    let mut sorted: Vec<_> = (elements.map(|element| {
        let ((first, start), (last, end)) = (split(element.start()), split(element.end()));
        ((first, last), start, end)
    }))
    .collect();
    sorted.sort();
    let mut merged: Vec<((Value, Value), Value, Value)> = Vec::with_capacity(sorted.len());
    for (prefix, start, end) in sorted {
        match merged.last_mut() {
            Some((same, _, top)) if *same == prefix && (start <= *top || successor(top).as_ref() == Some(&start)) => {
                if end > *top {
                    *top = end;
                }
            }
            _ => merged.push((prefix, start, end)),
        }
    }
    let whole = |((first, last), start, end): ((Value, Value), Value, Value)| {
        Element::range(join(&first, &start), join(&last, &end))
    };
    merged.into_iter().map(whole).collect()
}

/// The longest beginning of a text with at most so many bytes.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

impl Set {
    /// The comment as the kernel keeps it.
    pub(crate) fn kept_comment(&self) -> Option<&str> {
        self.comment.as_deref().map(|comment| clip(comment, COMMENT_LENGTH))
    }
}

/// The value after `value` in big endian order; `None` after the last.
pub(crate) fn successor(value: &Value) -> Option<Value> {
    let mut bytes = value.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        let (next, overflow) = byte.overflowing_add(1);
        *byte = next;
        if !overflow {
            return Some(Value::from_bytes(&bytes));
        }
    }
    None
}
