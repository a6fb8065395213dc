//! What every object carries beside its spec.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, null};

/// The part of Kubernetes' ObjectMeta that tortie uses. Other fields are dropped when an object is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Name, unique per kind and namespace.
    pub name: String,
    /// Namespace; absent for kinds that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Differs between two objects that had the same name one after the other. Given by the datastore on creation.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Opaque; equal exactly while the object is unchanged. Given by the datastore, required to update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// What selectors look at.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What selectors do not look at.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339, UTC, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set while the object waits for finalizers before it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
}

impl ObjectMeta {
    /// Metadata of a cluster-wide object, nothing but its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Metadata of a namespaced object, nothing but its name and namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: Some(namespace.into()), ..Self::default() }
    }

    /// Takes labels and annotations out of the annotation in which `crd.projectcalico.org/v1` objects keep them. What is
    /// not readable stays, and does not validate.
    pub(crate) fn unwrap_calico(&mut self) {
        let Some(text) = self.annotations.get(CALICO_METADATA) else { return };
        let Ok(kept) = serde_json::from_str::<Kept>(text) else { return };
        self.annotations.remove(CALICO_METADATA);
        self.labels.extend(kept.labels);
        self.annotations.extend(kept.annotations);
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        if !is_subdomain(&self.name) {
            out.push(Invalid::new("metadata.name", &self.name, SUBDOMAIN));
        }
        if let Some(text) = self.annotations.get(CALICO_METADATA) {
            let field = format!("metadata.annotations[{CALICO_METADATA}]");
            out.push(Invalid::new(field, text, "JSON with labels and annotations"));
        }
        if let Some(namespace) = self.namespace.as_deref().filter(|n| !is_label(n)) {
            out.push(Invalid::new("metadata.namespace", namespace, LABEL));
        }
    }
}

/// Where Calico keeps what a person wrote as metadata of an object in the older group.
const CALICO_METADATA: &str = "projectcalico.org/metadata";

#[derive(Deserialize)]
struct Kept {
    #[serde(default, deserialize_with = "null::default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null::default")]
    annotations: BTreeMap<String, String>,
}

const SUBDOMAIN: &str =
    "at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit";
const LABEL: &str = "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";

/// RFC 1123 label as Kubernetes reads it.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// RFC 1123 subdomain as Kubernetes reads it: 253 characters in all, no limit per part.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().next_back().is_some_and(alphanumeric)
        && text.bytes().all(|b| alphanumeric(b) || b == b'-')
}
