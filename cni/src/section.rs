//! One object of the network configuration: values are taken out of it by key, and what nobody took is named.

use serde_json::{Map, Value};

use crate::error::Error;

/// An object and where it stands (`ipam.`; empty at the top).
#[derive(Debug, Default)]
pub(crate) struct Section {
    path: String,
    map: Map<String, Value>,
}

impl Section {
    /// The whole configuration.
    pub(crate) fn top(map: Map<String, Value>) -> Self {
        Self { path: String::new(), map }
    }

    fn refusal(&self, key: &str, value: &Value, allowed: &'static str) -> Error {
        Error::Config { key: format!("{}{key}", self.path), value: value.to_string(), allowed }
    }

    /// Any value; `null` counts as absent.
    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// An object; an absent one is empty.
    pub(crate) fn section(&mut self, key: &str) -> Result<Self, Error> {
        let path = format!("{}{key}.", self.path);
        match self.value(key) {
            None => Ok(Self { path, map: Map::new() }),
            Some(Value::Object(map)) => Ok(Self { path, map }),
            Some(other) => Err(self.refusal(key, &other, "an object")),
        }
    }

    pub(crate) fn string(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.refusal(key, &other, "a string")),
        }
    }

    /// A boolean, or one written as a string.
    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(self.refusal(key, &other, "true or false")),
        }
    }

    pub(crate) fn unsigned(&mut self, key: &str, allowed: &'static str) -> Result<Option<u32>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.refusal(key, &value, allowed))
    }

    pub(crate) fn strings(&mut self, key: &str) -> Result<Vec<String>, Error> {
        const ALLOWED: &str = "a list of strings";
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(self.refusal(key, &other, ALLOWED)),
                })
                .collect(),
            Some(other) => Err(self.refusal(key, &other, ALLOWED)),
        }
    }

    /// Full paths of the keys that nobody took and that are not `null`, in order.
    pub(crate) fn leftover(self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| format!("{}{key}", self.path))
            .collect();
        keys.sort();
        keys
    }
}
