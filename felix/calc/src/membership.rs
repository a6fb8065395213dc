//! Which addresses belong to which selector.
//!
//! Selectors are filed under a namespace and a label that whatever matches must have, so that a pod that changes is
//! compared only with selectors that may match it; pods are ordered by namespace, so that a new selector is compared
//! only with pods of namespaces it may pick.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use resources::Protocol;

use crate::namespace::NamespaceLabels;
use crate::selector::{Namespaces, PodSelector};
use crate::workload::{PodKey, Workload, WorkloadId};

/// What a set holds: something of every pod that a selector picks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetKey {
    pub(crate) selector: PodSelector,
    pub(crate) content: Content,
}

/// What of the pods a set holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content {
    /// Their addresses.
    Addresses,
    /// Their addresses with the port that they call so.
    Port { protocol: Protocol, name: String },
}

/// A member of a set; the port is 0 in sets of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Member {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// The members of a set, with how many pods make each one.
pub(crate) type Members = BTreeMap<Member, usize>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bucket {
    namespace: Option<String>,
    label: Option<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    workload: Workload,
    sets: BTreeSet<Arc<SetKey>>,
}

#[derive(Debug, Default)]
struct ActiveSet {
    users: usize,
    members: Members,
}

/// Pods and the sets in use.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    workloads: BTreeMap<WorkloadId, Entry>,
    sets: BTreeMap<Arc<SetKey>, ActiveSet>,
    buckets: BTreeMap<Bucket, BTreeSet<Arc<SetKey>>>,
    changed: BTreeSet<Arc<SetKey>>,
}

impl Memberships {
    /// Compares the pods of a namespace anew, after its labels changed.
    pub(crate) fn refresh_namespace(&mut self, namespaces: &NamespaceLabels, name: &str) {
        let inside = self.workloads.range(first_in(name)..).take_while(|(id, _)| id.pod.0 == name);
        let ids: Vec<_> = inside.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(entry) = self.workloads.remove(&id) {
                self.place(namespaces, id, Some(entry.workload.clone()), Some(entry));
            }
        }
    }

    /// Takes what a pod is now, in place of what it was.
    pub(crate) fn set_pod(
        &mut self,
        namespaces: &NamespaceLabels,
        pod: &PodKey,
        workloads: BTreeMap<WorkloadId, Workload>,
    ) {
        let first = WorkloadId { pod: pod.clone(), endpoint: None };
        let mut before: BTreeMap<_, _> = BTreeMap::new();
        while let Some(id) = self.workloads.range(&first..).next().map(|(id, _)| id.clone()).filter(|id| id.pod == *pod)
        {
            if let Some(entry) = self.workloads.remove(&id) {
                before.insert(id, entry);
            }
        }
        for (id, workload) in workloads {
            let entry = before.remove(&id);
            self.place(namespaces, id, Some(workload), entry);
        }
        for (id, entry) in before {
            self.place(namespaces, id, None, Some(entry));
        }
    }

    /// Puts a workload (or nothing) where `before` was taken from.
    fn place(
        &mut self,
        namespaces: &NamespaceLabels,
        id: WorkloadId,
        workload: Option<Workload>,
        before: Option<Entry>,
    ) {
        let sets = workload.as_ref().map(|workload| self.sets_of(namespaces, &id.pod.0, workload)).unwrap_or_default();
        let same = |entry: &Entry| workload.as_ref() == Some(&entry.workload);
        let unchanged = before.as_ref().is_some_and(same);
        for (key, old) in before.iter().flat_map(|entry| entry.sets.iter().map(move |key| (key, &entry.workload))) {
            if !(unchanged && sets.contains(key)) {
                self.count(key, old, false);
            }
        }
        let Some(workload) = workload else { return };
        for key in &sets {
            if !(unchanged && before.as_ref().is_some_and(|entry| entry.sets.contains(key))) {
                self.count(key, &workload, true);
            }
        }
        self.workloads.insert(id, Entry { workload, sets });
    }

    /// Adds what a workload brings to a set, or takes it away.
    fn count(&mut self, key: &Arc<SetKey>, workload: &Workload, add: bool) {
        let Some(set) = self.sets.get_mut(key) else { return };
        let mut changed = false;
        for member in members_of(&key.content, workload) {
            if add {
                let count = set.members.entry(member).or_default();
                *count += 1;
                changed |= *count == 1;
            } else if let Some(count) = set.members.get_mut(&member) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    set.members.remove(&member);
                    changed = true;
                }
            }
        }
        if changed {
            self.changed.insert(Arc::clone(key));
        }
    }

    fn sets_of(&self, namespaces: &NamespaceLabels, namespace: &str, workload: &Workload) -> BTreeSet<Arc<SetKey>> {
        let mut found = BTreeSet::new();
        let labels = workload.labels.iter().map(|(label, value)| Some((label.clone(), value.clone())));
        for label in labels.chain([None]) {
            for namespace_name in [Some(namespace.to_owned()), None] {
                let bucket = Bucket { namespace: namespace_name, label: label.clone() };
                let matching = (self.buckets.get(&bucket).into_iter().flatten())
                    .filter(|key| key.selector.picks(namespaces, namespace, &workload.labels));
                found.extend(matching.cloned());
            }
        }
        found
    }

    /// Begins to use a set.
    pub(crate) fn acquire(&mut self, namespaces: &NamespaceLabels, key: &SetKey) {
        if let Some(set) = self.sets.get_mut(key) {
            set.users += 1;
            return;
        }
        let key = Arc::new(key.clone());
        for bucket in buckets(&key.selector) {
            self.buckets.entry(bucket).or_default().insert(Arc::clone(&key));
        }
        let mut members = Members::new();
        let mut take = |id: &WorkloadId, entry: &mut Entry| {
            if key.selector.picks(namespaces, &id.pod.0, &entry.workload.labels) {
                entry.sets.insert(Arc::clone(&key));
                for member in members_of(&key.content, &entry.workload) {
                    *members.entry(member).or_default() += 1;
                }
            }
        };
        match &key.selector.namespaces {
            Namespaces::Named(name) => {
                let first = first_in(name);
                let inside = self.workloads.range_mut(&first..).take_while(|(id, _)| id.pod.0 == *name);
                inside.for_each(|(id, entry)| take(id, entry));
            }
            Namespaces::Labelled(_) => self.workloads.iter_mut().for_each(|(id, entry)| take(id, entry)),
        }
        self.changed.insert(Arc::clone(&key));
        self.sets.insert(key, ActiveSet { users: 1, members });
    }

    /// Ceases to use a set; it is forgotten when nobody does.
    pub(crate) fn release(&mut self, key: &SetKey) {
        let Some(set) = self.sets.get_mut(key) else { return };
        set.users = set.users.saturating_sub(1);
        if set.users > 0 {
            return;
        }
        self.sets.remove(key);
        for bucket in buckets(&key.selector) {
            if let Some(keys) = self.buckets.get_mut(&bucket) {
                keys.remove(key);
                if keys.is_empty() {
                    self.buckets.remove(&bucket);
                }
            }
        }
        for entry in self.workloads.values_mut() {
            entry.sets.remove(key);
        }
        self.changed.insert(Arc::new(key.clone()));
    }

    /// The members of a set in use.
    pub(crate) fn members(&self, key: &SetKey) -> Option<&Members> {
        self.sets.get(key).map(|set| &set.members)
    }

    /// The sets that came, went or changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Arc<SetKey>> {
        std::mem::take(&mut self.changed)
    }
}

fn first_in(namespace: &str) -> WorkloadId {
    WorkloadId { pod: (namespace.to_owned(), String::new()), endpoint: None }
}

fn buckets(selector: &PodSelector) -> Vec<Bucket> {
    let namespace = match &selector.namespaces {
        Namespaces::Named(name) => Some(name.clone()),
        Namespaces::Labelled(_) => None,
    };
    match selector.pods.required() {
        None => vec![Bucket { namespace, label: None }],
        Some((label, values)) => {
            let bucket = |value: &String| Bucket {
                namespace: namespace.clone(),
                label: Some((label.to_owned(), value.clone())),
            };
            values.iter().map(bucket).collect()
        }
    }
}

fn members_of(content: &Content, workload: &Workload) -> BTreeSet<Member> {
    let addresses = workload.addresses.iter().copied();
    match content {
        Content::Addresses => addresses.map(|address| Member { address, port: 0 }).collect(),
        Content::Port { protocol, name } => {
            let ports = || workload.ports.iter().filter(|port| port.protocol == *protocol && port.name == *name);
            addresses.flat_map(|address| ports().map(move |port| Member { address, port: port.port })).collect()
        }
    }
}
