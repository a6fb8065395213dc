//! What is wrong with an object, and what is right but has no effect.

use std::fmt;

/// A field that holds what it must not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invalid {
    /// Path of the field from the object's root: `spec.rules[1].port`.
    pub field: String,
    /// What it holds, as text.
    pub value: String,
    /// What it may hold, in words.
    pub allowed: String,
}

impl Invalid {
    /// A finding.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.to_string(), allowed: allowed.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} is not allowed, must be {}", self.field, self.value, self.allowed)
    }
}

/// A field that is understood and well formed but changes nothing yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsupported {
    /// Path of the field from the object's root: `spec.ipipMode`.
    pub field: String,
    /// What happens instead.
    pub effect: &'static str,
}

impl Unsupported {
    pub(crate) fn new(field: impl Into<String>, effect: &'static str) -> Self {
        Self { field: field.into(), effect }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not supported: {}", self.field, self.effect)
    }
}
