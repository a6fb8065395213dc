//! Following the objects of some kinds.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::{Stream, future::poll_fn};
use resources::{Key, Kind, Resource};

use crate::{
    Origin, Refusal,
    store::{State, Store},
};

/// What a watch says. It begins with `Init`, an `InitApply` for every object, and `InitDone`; when it starts anew, it
/// does so again, and an object that was there before and is not among the `InitApply`s is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The list begins.
    Init,
    /// An object of the list.
    InitApply(Resource),
    /// The list is complete.
    InitDone,
    /// An object is new or has changed.
    Apply(Resource),
    /// An object is gone.
    Delete(Key),
    /// Something is not admitted.
    Refused(Refusal),
    /// What was refused from there so far is void; what still is refused follows.
    RefusalCleared(Origin),
}

/// The events of some kinds of objects, and all refusals.
///
/// What changes several times before it is read is told once, as it is when it is read: a slow reader costs no memory.
pub struct Watch {
    store: Arc<Store>,
    queue: Arc<Queue>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Object(Key),
    Refusals(Origin),
}

/// What a watch has yet to tell.
pub(crate) struct Queue {
    kinds: BTreeSet<Kind>,
    pending: Mutex<Pending>,
}

struct Pending {
    /// Told before anything else.
    ready: VecDeque<Event>,
    /// Objects of the list that have not been told; none once the list is complete.
    list: Option<VecDeque<Key>>,
    /// Changes in the order in which they happened first. One that is not in `queued` has been told already.
    order: VecDeque<Change>,
    queued: BTreeSet<Change>,
    waker: Option<Waker>,
}

impl Queue {
    pub(crate) fn new(kinds: &[Kind], keys: VecDeque<Key>, refusals: Vec<Refusal>) -> Self {
        let refusals = refusals.into_iter().map(Event::Refused);
        let pending = Pending {
            ready: std::iter::once(Event::Init).chain(refusals).collect(),
            list: Some(keys),
            order: VecDeque::new(),
            queued: BTreeSet::new(),
            waker: None,
        };
        Self { kinds: kinds.iter().copied().collect(), pending: Mutex::new(pending) }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, change: &Change) {
        if matches!(change, Change::Object(key) if !self.kinds.contains(&key.kind)) {
            return;
        }
        let mut pending = self.lock();
        if pending.queued.insert(change.clone()) {
            pending.order.push_back(change.clone());
        }
        if let Some(waker) = pending.waker.take() {
            waker.wake();
        }
    }
}

impl Pending {
    fn next(&mut self, state: &State) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Some(list) = &mut self.list {
                let Some(key) = list.pop_front() else {
                    self.list = None;
                    return Some(Event::InitDone);
                };
                // What happened to it since the list was made is told with it.
                let change = Change::Object(key);
                self.queued.remove(&change);
                let Change::Object(key) = change else { continue };
                match state.get(&key) {
                    Some(object) => return Some(Event::InitApply(Resource::clone(object))),
                    None => continue,
                }
            }
            let change = self.order.pop_front()?;
            if self.queued.remove(&change) {
                self.ready.extend(told(change, state));
            }
        }
    }
}

fn told(change: Change, state: &State) -> Vec<Event> {
    match change {
        Change::Object(key) => match state.get(&key) {
            Some(object) => vec![Event::Apply(Resource::clone(object))],
            None => vec![Event::Delete(key)],
        },
        Change::Refusals(origin) => {
            let refusals = state.refusals().get(&origin).cloned().unwrap_or_default();
            let refused = refusals.into_iter().map(Event::Refused);
            std::iter::once(Event::RefusalCleared(origin)).chain(refused).collect()
        }
    }
}

impl Watch {
    pub(crate) fn new(store: Arc<Store>, queue: Arc<Queue>) -> Self {
        Self { store, queue }
    }

    /// The next event, as soon as there is one.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Event> {
        // The order of the locks is that of a change: first the state, then the queues that hear of it.
        let state = self.store.lock();
        let mut pending = self.queue.lock();
        match pending.next(&state) {
            Some(event) => Poll::Ready(event),
            None => {
                pending.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context).map(Some)
    }
}
