//! Namespaces and their labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::selector::NAMESPACE_NAME;

/// The labels of the namespaces that have a manifest.
#[derive(Debug, Default)]
pub(crate) struct NamespaceLabels(BTreeMap<String, BTreeMap<String, String>>);

impl NamespaceLabels {
    /// Takes the labels of a manifest, or that there is none (any more).
    pub(crate) fn set(&mut self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        match labels.cloned() {
            Some(mut labels) => {
                labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
                self.0.insert(name.to_owned(), labels)
            }
            None => self.0.remove(name),
        };
    }

    /// The labels of a namespace. Without a manifest it has the one that every namespace has.
    pub(crate) fn of(&self, name: &str) -> Cow<'_, BTreeMap<String, String>> {
        match self.0.get(name) {
            Some(labels) => Cow::Borrowed(labels),
            None => Cow::Owned(BTreeMap::from([(NAMESPACE_NAME.to_owned(), name.to_owned())])),
        }
    }
}
