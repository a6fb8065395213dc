//! Selectors in one canonical form, so that two that say the same share a set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use resources::{LabelSelector, Operator};

use crate::namespace::NamespaceLabels;

/// The label that every namespace has: its name.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Picks pods by their namespace and their labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PodSelector {
    pub(crate) namespaces: Namespaces,
    pub(crate) pods: Labels,
}

/// Picks namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Namespaces {
    /// The one of this name.
    Named(String),
    /// Those with such labels.
    Labelled(Labels),
}

/// Requirements on labels, all of which must hold. None: everything matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Labels(pub(crate) BTreeSet<Requirement>);

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Requirement {
    pub(crate) label: String,
    pub(crate) test: Test,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Test {
    /// There, with one of these values.
    In(BTreeSet<String>),
    /// Absent, or with none of these values.
    NotIn(BTreeSet<String>),
    /// There.
    Exists,
    /// Absent.
    Absent,
}

impl PodSelector {
    /// The pods of one namespace.
    pub(crate) fn in_namespace(namespace: &str, pods: &LabelSelector) -> Self {
        Self { namespaces: Namespaces::Named(namespace.to_owned()), pods: pods.into() }
    }

    /// The pods of some namespaces.
    pub(crate) fn in_namespaces(namespaces: &LabelSelector, pods: &LabelSelector) -> Self {
        Self { namespaces: Labels::from(namespaces).into(), pods: pods.into() }
    }

    /// All pods.
    pub(crate) fn everything() -> Self {
        Self { namespaces: Namespaces::Labelled(Labels::default()), pods: Labels::default() }
    }

    /// Whether it picks a pod of this namespace with these labels.
    pub(crate) fn picks(
        &self,
        namespaces: &NamespaceLabels,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        let in_namespace = match &self.namespaces {
            Namespaces::Named(name) => name == namespace,
            Namespaces::Labelled(required) if required.0.is_empty() => true,
            Namespaces::Labelled(required) => required.matches(&namespaces.of(namespace)),
        };
        in_namespace && self.pods.matches(labels)
    }
}

impl From<Labels> for Namespaces {
    /// A namespace asked for by the label that holds its name is asked for by name.
    fn from(labels: Labels) -> Self {
        let name = match labels.0.first() {
            Some(Requirement { label, test: Test::In(values) })
                if labels.0.len() == 1 && label == NAMESPACE_NAME && values.len() == 1 =>
            {
                values.first().cloned()
            }
            _ => None,
        };
        name.map_or(Self::Labelled(labels), Self::Named)
    }
}

impl From<&LabelSelector> for Labels {
    fn from(selector: &LabelSelector) -> Self {
        let equal = selector.match_labels.iter().map(|(label, value)| Requirement {
            label: label.clone(),
            test: Test::In(BTreeSet::from([value.clone()])),
        });
        let expressions = selector.match_expressions.iter().map(|requirement| {
            let values = requirement.values.iter().cloned().collect();
            let test = match requirement.operator {
                Operator::In => Test::In(values),
                Operator::NotIn => Test::NotIn(values),
                Operator::Exists => Test::Exists,
                Operator::DoesNotExist => Test::Absent,
            };
            Requirement { label: requirement.key.clone(), test }
        });
        Self(equal.chain(expressions).collect())
    }
}

impl Labels {
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.label);
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }

    /// Label and values of which whatever matches must have one; `None` if there is no such requirement.
    pub(crate) fn required(&self) -> Option<(&str, &BTreeSet<String>)> {
        self.0.iter().find_map(|requirement| match &requirement.test {
            Test::In(values) => Some((requirement.label.as_str(), values)),
            _ => None,
        })
    }
}

/// In words: `pods app=web in namespace default`.
impl fmt::Display for PodSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pods.0.is_empty() {
            true => f.write_str("all pods")?,
            false => write!(f, "pods {}", self.pods)?,
        }
        match &self.namespaces {
            Namespaces::Named(name) => write!(f, " in namespace {name}"),
            Namespaces::Labelled(labels) if labels.0.is_empty() => f.write_str(" in all namespaces"),
            Namespaces::Labelled(labels) => write!(f, " in namespaces {labels}"),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        let joined = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.test {
            Test::In(values) if values.len() == 1 => write!(f, "{label}={}", joined(values)),
            Test::In(values) => write!(f, "{label} in ({})", joined(values)),
            Test::NotIn(values) => write!(f, "{label} not in ({})", joined(values)),
            Test::Exists => write!(f, "{label} exists"),
            Test::Absent => write!(f, "{label} absent"),
        }
    }
}
