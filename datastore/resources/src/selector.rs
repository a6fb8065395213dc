//! Calico's selector language.
//!
//! ```text
//! expr  := and { "||" and }     and := unary { "&&" unary }     unary := {"!"} ( "(" expr ")" | test )
//! test  := has(L) | all() | global() | L == S | L != S | L in {S,...} | L not in {S,...}
//!        | L contains S | L starts with S | L ends with S
//! ```
//! A label L is of `A-Z a-z 0-9 _ . / -`, at most 512 of them. A text S is in single or double quotes, without escapes.

mod parser;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A parsed selector. Cheap to clone; displays and serializes as it was written.
#[derive(Clone, Debug)]
pub struct Selector {
    text: Arc<str>,
    expression: Arc<Expression>,
}

/// Why a text is no selector, and where: a byte offset into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?}, column {}: {problem}", position + 1)]
pub struct SelectorError {
    /// The selector.
    pub text: String,
    /// Offset of the first byte that cannot be part of a selector.
    pub position: usize,
    /// What is wrong there.
    pub problem: SelectorProblem,
}

/// What is wrong at a position of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorProblem {
    /// A test, `!` or `(` is due.
    #[error("expected a label, has(), all(), global(), '!' or '('")]
    ExpectedTest,
    /// An operator is due.
    #[error("expected one of ==, !=, in, not in, contains, starts with, ends with")]
    ExpectedOperator,
    /// A text is due.
    #[error("expected a text in quotes")]
    ExpectedText,
    /// A text does not end.
    #[error("the quote is not closed")]
    UnclosedText,
    /// A set is due.
    #[error("expected '{{'")]
    ExpectedSet,
    /// A set goes on or ends.
    #[error("expected ',' or '}}'")]
    ExpectedSetEnd,
    /// A label is due.
    #[error("expected a label")]
    ExpectedLabel,
    /// A label is too long.
    #[error("a label has at most 512 characters")]
    LongLabel,
    /// A bracket is not closed.
    #[error("expected ')'")]
    ExpectedClose,
    /// The selector is complete, but the text goes on.
    #[error("expected '&&', '||' or the end")]
    ExpectedEnd,
    /// Brackets and negations are nested beyond reason.
    #[error("brackets and '!' are nested more than {} deep", parser::DEPTH)]
    TooDeep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    All,
    Global,
    Has(String),
    Equal(String, String),
    NotEqual(String, String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Contains(String, String),
    StartsWith(String, String),
    EndsWith(String, String),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Selector {
    /// Parses a selector. Empty text is `all()`.
    ///
    /// # Errors
    /// Where and why the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let expression = parser::parse(text)?;
        Ok(Self { text: text.into(), expression: Arc::new(expression) })
    }

    /// The selector that matches everything.
    pub fn all() -> Self {
        Self { text: "all()".into(), expression: Arc::new(Expression::All) }
    }

    /// Whether it matches a thing that has these labels. `global()` is true; what it means is the caller's to know.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(&|label| labels.get(label).map(String::as_str))
    }

    /// Whether it matches a thing whose labels `lookup` knows.
    pub fn matches_by<'l>(&self, lookup: &dyn Fn(&str) -> Option<&'l str>) -> bool {
        self.expression.matches(lookup)
    }

    /// Whether it is `all()` or empty.
    pub fn is_all(&self) -> bool {
        *self.expression == Expression::All
    }

    /// Whether `global()` occurs in it.
    pub fn uses_global(&self) -> bool {
        self.expression.uses_global()
    }
}

impl Expression {
    fn matches<'l>(&self, lookup: &dyn Fn(&str) -> Option<&'l str>) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(label) => lookup(label).is_some(),
            Self::Equal(label, text) => lookup(label) == Some(text),
            Self::NotEqual(label, text) => lookup(label) != Some(text),
            Self::In(label, set) => lookup(label).is_some_and(|value| set.contains(value)),
            Self::NotIn(label, set) => lookup(label).is_none_or(|value| !set.contains(value)),
            Self::Contains(label, text) => lookup(label).is_some_and(|value| value.contains(text)),
            Self::StartsWith(label, text) => lookup(label).is_some_and(|value| value.starts_with(text)),
            Self::EndsWith(label, text) => lookup(label).is_some_and(|value| value.ends_with(text)),
            Self::Not(inner) => !inner.matches(lookup),
            Self::And(parts) => parts.iter().all(|part| part.matches(lookup)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(lookup)),
        }
    }

    fn uses_global(&self) -> bool {
        match self {
            Self::Global => true,
            Self::Not(inner) => inner.uses_global(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::uses_global),
            _ => false,
        }
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self::all()
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for Selector {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// The default of a selector field that selects everything.
pub(crate) fn everything() -> Selector {
    Selector::all()
}

/// A selector field that selects everything when it is empty.
pub(crate) fn or_everything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Selector, D::Error> {
    Ok(optional(deserializer)?.unwrap_or_default())
}

/// A selector field that is not set when it is empty.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Selector>, D::Error> {
    let selector = Option::<Selector>::deserialize(deserializer)?;
    Ok(selector.filter(|selector| !selector.text.trim().is_empty()))
}
