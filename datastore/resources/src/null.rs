//! `null` in a manifest means the same as leaving the field out.

use serde::{
    Deserialize, Deserializer,
    de::{IntoDeserializer, value::StringDeserializer},
};

pub(crate) fn default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// For enums whose default the API also writes as an empty text.
pub(crate) fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(T::default()) };
    let value: StringDeserializer<D::Error> = text.into_deserializer();
    T::deserialize(value)
}

pub(crate) fn or_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}

pub(crate) fn yes() -> bool {
    true
}

/// For `skip_serializing_if`: the field holds what its absence means.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
