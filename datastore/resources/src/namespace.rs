//! Kubernetes Namespace.

use serde::{Deserialize, Serialize};

use crate::ObjectMeta;

/// A Kubernetes Namespace: its labels are what namespace selectors look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// Name, labels, version.
    pub metadata: ObjectMeta,
}
