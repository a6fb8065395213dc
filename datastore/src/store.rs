//! The objects in force and the refusals, as one process knows them, and who wants to hear of changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use resources::{Key, Kind, Resource};

use crate::{
    Origin, Refusal,
    watch::{Change, Queue, Watch},
};

/// Shared by a back end and its watches.
#[derive(Default)]
pub(crate) struct Store {
    state: Mutex<State>,
}

/// What is in force. Every change of it goes to the watches.
#[derive(Default)]
pub(crate) struct State {
    objects: BTreeMap<Key, Arc<Resource>>,
    refusals: BTreeMap<Origin, Vec<Refusal>>,
    watches: Vec<Weak<Queue>>,
}

impl Store {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant spans statements that may panic: a poisoned state is still a state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(self: &Arc<Self>, kinds: &[Kind]) -> Watch {
        let mut state = self.lock();
        let keys = state.objects.keys().filter(|key| kinds.contains(&key.kind)).cloned().collect();
        let refusals = state.refusals.values().flatten().cloned().collect();
        let queue = Arc::new(Queue::new(kinds, keys, refusals));
        state.watches.retain(|watch| watch.strong_count() > 0);
        state.watches.push(Arc::downgrade(&queue));
        Watch::new(Arc::clone(self), queue)
    }
}

impl State {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.objects.get(key)
    }

    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let first = Key::cluster(kind, "");
        self.objects.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// Puts an object in force. Nothing happens if it is what is in force already.
    pub(crate) fn put(&mut self, key: Key, object: Arc<Resource>) {
        if self.objects.get(&key) != Some(&object) {
            self.objects.insert(key.clone(), object);
            self.announce(&Change::Object(key));
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Resource>> {
        let removed = self.objects.remove(key);
        if removed.is_some() {
            self.announce(&Change::Object(key.clone()));
        }
        removed
    }

    pub(crate) fn refusals(&self) -> &BTreeMap<Origin, Vec<Refusal>> {
        &self.refusals
    }

    /// Replaces what is refused from an origin.
    pub(crate) fn refuse(&mut self, origin: Origin, refusals: Vec<Refusal>) {
        let before = self.refusals.get(&origin).map(Vec::as_slice).unwrap_or_default();
        if before == refusals {
            return;
        }
        if refusals.is_empty() {
            self.refusals.remove(&origin);
        } else {
            self.refusals.insert(origin.clone(), refusals);
        }
        self.announce(&Change::Refusals(origin));
    }

    fn announce(&mut self, change: &Change) {
        self.watches.retain(|watch| match watch.upgrade() {
            Some(queue) => {
                queue.push(change);
                true
            }
            None => false,
        });
    }
}
