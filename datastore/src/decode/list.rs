//! One object, or a list of objects of different kinds.

use std::fmt;

use resources::{Kind, Resource};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::Shape;

/// After so many wrong items, the rest of a list is not looked at: each costs another pass.
pub(super) const REFUSED_ITEMS: usize = 100;

/// An object of a known kind.
pub(super) struct Object(pub(super) Kind);

impl Shape for Object {
    type Value = Resource;

    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Resource, D::Error> {
        Resource::deserialize(self.0, deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Resource;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Resource, D::Error> {
        self.read(deserializer)
    }
}

/// A list whose items have these kinds; those without are skipped. Gives the items with their index.
pub(super) struct List<'k>(pub(super) &'k [Option<Kind>]);

impl Shape for List<'_> {
    type Value = Vec<(usize, Resource)>;

    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<(usize, Resource)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                found = map.next_value_seed(Items(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Items<'k>(&'k [Option<Kind>]);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<(usize, Resource)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<(usize, Resource)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        for (index, kind) in self.0.iter().enumerate() {
            match kind {
                Some(kind) => match sequence.next_element_seed(Object(*kind))? {
                    Some(resource) => found.push((index, resource)),
                    None => break,
                },
                None => {
                    sequence.next_element::<IgnoredAny>()?;
                }
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// The index in a path such as `items[3].spec.cidr`.
pub(super) fn item_of(field: &str) -> Option<usize> {
    let (index, _) = field.strip_prefix("items[")?.split_once(']')?;
    index.parse().ok()
}
