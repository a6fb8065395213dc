//! One bounded stream of what is there, over several kinds.

use std::{collections::BTreeSet, sync::Arc};

use resources::{Key, Kind, Resource};
use tokio::sync::mpsc;

use crate::{Datastore, Event, Origin, Reason, Refusal, Watch};

/// What a consumer is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The object is there, and valid.
    Apply(Resource),
    /// The object is gone, or no longer valid.
    Delete(Key),
    /// Something is not admitted.
    Refused(Refusal),
    /// What was refused from there so far is void; what still is refused follows.
    Admitted(Origin),
    /// Everything that is there has been told. Said once.
    InSync,
}

/// Merges the events of some kinds into one stream.
///
/// An object that does not validate counts as absent and is refused. When the back end lists anew, what vanished
/// meanwhile is told as `Delete` before the list is complete. An `Apply` may repeat what is known.
pub struct Syncer {
    updates: mpsc::Sender<Update>,
    told: BTreeSet<Key>,
    refused: BTreeSet<Key>,
    /// Objects of the current list so far.
    listed: BTreeSet<Key>,
    in_sync: bool,
}

/// The consumer is gone.
struct Closed;

impl Syncer {
    /// Starts following `kinds`. At most `capacity` updates wait for the consumer; beyond that, the datastore coalesces.
    ///
    /// Must be called within a tokio runtime, on which a task runs until the receiver is dropped.
    pub fn start(datastore: Arc<dyn Datastore>, kinds: &[Kind], capacity: usize) -> mpsc::Receiver<Update> {
        let (updates, receiver) = mpsc::channel(capacity.max(1));
        let watch = datastore.watch(kinds);
        let syncer =
            Self { updates, told: BTreeSet::new(), refused: BTreeSet::new(), listed: BTreeSet::new(), in_sync: false };
        tokio::spawn(async move {
            // The back end works as long as somebody follows it.
            let _datastore = datastore;
            syncer.run(watch).await;
        });
        receiver
    }

    async fn run(mut self, mut watch: Watch) {
        loop {
            let event = tokio::select! {
                event = watch.next() => event,
                () = self.updates.closed() => return,
            };
            if self.handle(event).await.is_err() {
                return;
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), Closed> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(resource) => {
                self.listed.insert(resource.key());
                self.apply(resource).await?;
            }
            Event::InitDone => self.list_complete().await?,
            Event::Apply(resource) => self.apply(resource).await?,
            Event::Delete(key) => {
                self.admit(&key).await?;
                self.delete(key).await?;
            }
            Event::Refused(refusal) => self.send(Update::Refused(refusal)).await?,
            Event::RefusalCleared(origin) => self.send(Update::Admitted(origin)).await?,
        }
        Ok(())
    }

    async fn list_complete(&mut self) -> Result<(), Closed> {
        let vanished: Vec<Key> =
            self.told.union(&self.refused).filter(|key| !self.listed.contains(key)).cloned().collect();
        for key in vanished {
            self.admit(&key).await?;
            self.delete(key).await?;
        }
        self.listed.clear();
        if !self.in_sync {
            self.in_sync = true;
            self.send(Update::InSync).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, resource: Resource) -> Result<(), Closed> {
        let key = resource.key();
        self.admit(&key).await?;
        match resource.validate() {
            Ok(()) => {
                self.told.insert(key);
                self.send(Update::Apply(resource)).await
            }
            Err(invalid) => {
                self.delete(key.clone()).await?;
                self.refused.insert(key.clone());
                for invalid in invalid {
                    self.send(Update::Refused(refusal(&key, Reason::Invalid(invalid)))).await?;
                }
                Ok(())
            }
        }
    }

    async fn delete(&mut self, key: Key) -> Result<(), Closed> {
        if self.told.remove(&key) { self.send(Update::Delete(key)).await } else { Ok(()) }
    }

    /// Takes back what was refused of an object.
    async fn admit(&mut self, key: &Key) -> Result<(), Closed> {
        if self.refused.remove(key) { self.send(Update::Admitted(Origin::Object(key.clone()))).await } else { Ok(()) }
    }

    async fn send(&self, update: Update) -> Result<(), Closed> {
        self.updates.send(update).await.map_err(|_| Closed)
    }
}

fn refusal(key: &Key, reason: Reason) -> Refusal {
    Refusal {
        origin: Origin::Object(key.clone()),
        document: 0,
        key: Some(key.clone()),
        position: None,
        reason,
        last_version_in_force: false,
    }
}

#[cfg(test)]
mod tests {
    use resources::{Namespace, ObjectMeta};

    use super::*;

    fn namespace(name: &str) -> Resource {
        Namespace { metadata: ObjectMeta::named(name) }.into()
    }

    async fn told(events: Vec<Event>) -> Vec<Update> {
        let (updates, mut receiver) = mpsc::channel(100);
        let mut syncer = Syncer {
            updates,
            told: BTreeSet::new(),
            refused: BTreeSet::new(),
            listed: BTreeSet::new(),
            in_sync: false,
        };
        for event in events {
            assert!(syncer.handle(event).await.is_ok());
        }
        drop(syncer);
        let mut told = Vec::new();
        while let Some(update) = receiver.recv().await {
            told.push(update);
        }
        told
    }

    #[tokio::test]
    async fn what_vanished_between_two_lists_is_deleted_and_in_sync_is_not_said_again() {
        let (a, b, bad) = (namespace("a"), namespace("b"), namespace("NOT-VALID"));
        let events = vec![
            Event::Init,
            Event::InitApply(a.clone()),
            Event::InitApply(b.clone()),
            Event::InitApply(bad.clone()),
            Event::InitDone,
            Event::Init,
            Event::InitApply(b.clone()),
            Event::InitDone,
        ];
        let told = told(events).await;
        assert!(matches!(told[2], Update::Refused(_)));
        let rest: Vec<_> = told.into_iter().filter(|update| !matches!(update, Update::Refused(_))).collect();
        assert_eq!(
            rest,
            [
                Update::Apply(a.clone()),
                Update::Apply(b.clone()),
                Update::InSync,
                Update::Apply(b),
                Update::Admitted(Origin::Object(bad.key())),
                Update::Delete(a.key()),
            ]
        );
    }

    #[tokio::test]
    async fn a_list_that_begins_anew_before_it_is_complete_counts_from_its_beginning() {
        let (a, b) = (namespace("a"), namespace("b"));
        let events =
            vec![Event::Init, Event::InitApply(a.clone()), Event::Init, Event::InitApply(b.clone()), Event::InitDone];
        let wanted = [Update::Apply(a.clone()), Update::Apply(b), Update::Delete(a.key()), Update::InSync];
        assert_eq!(told(events).await, wanted);
    }

    #[tokio::test]
    async fn a_deletion_of_what_was_never_told_is_not_told() {
        assert_eq!(
            told(vec![Event::Init, Event::InitDone, Event::Delete(namespace("a").key())]).await,
            [Update::InSync]
        );
    }
}
