//! Which policies apply to which local endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use resources::Key;

use crate::EndpointId;
use crate::model::{Place, Policy};
use crate::namespace::NamespaceLabels;
use crate::selector::Namespaces;

/// What selects a local endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// What may be otherwise than it was.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Endpoints that came, went or have other policies.
    pub(crate) endpoints: BTreeSet<EndpointId>,
    /// Policies that came, went or say something else, and where they were before.
    pub(crate) policies: BTreeMap<Key, Option<Place>>,
    /// Policies that select other endpoints.
    pub(crate) subjects: BTreeSet<Key>,
}

/// Policies, local endpoints, and who applies to whom.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    policies: BTreeMap<Key, Arc<Policy>>,
    /// The policies by the one namespace in which they select, if it is one.
    by_namespace: BTreeMap<Option<String>, BTreeSet<Key>>,
    endpoints: BTreeMap<EndpointId, Selected>,
    applied: BTreeMap<EndpointId, BTreeSet<Place>>,
    subjects: BTreeMap<Key, BTreeSet<EndpointId>>,
    changed: Changed,
}

impl Selection {
    /// Takes a policy as it is now; `None`: it is gone.
    pub(crate) fn set_policy(&mut self, namespaces: &NamespaceLabels, key: &Key, policy: Option<Policy>) {
        if self.policies.get(key).map(AsRef::as_ref) == policy.as_ref() {
            return;
        }
        let before = self.policies.remove(key);
        let place = before.as_ref().map(|policy| policy.place.clone());
        self.changed.policies.entry(key.clone()).or_insert(place);
        let subjects = self.subjects.remove(key).unwrap_or_default();
        if let Some(before) = before {
            if let Some(keys) = self.by_namespace.get_mut(&only_namespace(&before)) {
                keys.remove(key);
            }
            for id in subjects {
                self.changed.endpoints.insert(id.clone());
                if let Some(places) = self.applied.get_mut(&id) {
                    places.remove(&before.place);
                }
            }
        }
        let Some(policy) = policy else { return };
        for (id, endpoint) in &self.endpoints {
            if policy.subject.picks(namespaces, &endpoint.namespace, &endpoint.labels) {
                self.changed.endpoints.insert(id.clone());
                self.applied.entry(id.clone()).or_default().insert(policy.place.clone());
                self.subjects.entry(key.clone()).or_default().insert(id.clone());
            }
        }
        self.by_namespace.entry(only_namespace(&policy)).or_default().insert(key.clone());
        self.policies.insert(key.clone(), Arc::new(policy));
    }

    /// Takes an endpoint as it is now, or with its namespace as it is now; `None`: it is gone.
    pub(crate) fn set_endpoint(&mut self, namespaces: &NamespaceLabels, id: &EndpointId, endpoint: Option<Selected>) {
        self.changed.endpoints.insert(id.clone());
        self.endpoints.remove(id);
        for place in self.applied.remove(id).unwrap_or_default() {
            if let Some(subjects) = self.subjects.get_mut(&place.key) {
                subjects.remove(id);
            }
            self.changed.subjects.insert(place.key);
        }
        let Some(endpoint) = endpoint else { return };
        let places = self.applied.entry(id.clone()).or_default();
        let here = Some(endpoint.namespace.clone());
        let candidates = [here, None].into_iter().filter_map(|namespace| self.by_namespace.get(&namespace)).flatten();
        for policy in candidates.filter_map(|key| self.policies.get(key)) {
            if policy.subject.picks(namespaces, &endpoint.namespace, &endpoint.labels) {
                let key = &policy.place.key;
                places.insert(policy.place.clone());
                self.subjects.entry(key.clone()).or_default().insert(id.clone());
                self.changed.subjects.insert(key.clone());
            }
        }
        self.endpoints.insert(id.clone(), endpoint);
    }

    pub(crate) fn policy(&self, key: &Key) -> Option<&Arc<Policy>> {
        self.policies.get(key)
    }

    /// The policies that apply to an endpoint, in evaluation order.
    pub(crate) fn applied(&self, id: &EndpointId) -> impl Iterator<Item = &Arc<Policy>> {
        self.applied.get(id).into_iter().flatten().filter_map(|place| self.policies.get(&place.key))
    }

    /// The local endpoints that a policy selects.
    pub(crate) fn subjects(&self, key: &Key) -> impl Iterator<Item = &EndpointId> {
        self.subjects.get(key).into_iter().flatten()
    }

    /// What may have changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }
}

/// The one namespace in which a policy selects, if it is one.
fn only_namespace(policy: &Policy) -> Option<String> {
    match &policy.subject.namespaces {
        Namespaces::Named(name) => Some(name.clone()),
        Namespaces::Labelled(_) => None,
    }
}
