//! Allocation procedures as values: each asks for one store operation at a time and goes on with its answer.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use resources::{Key, Kind, Resource};

/// What a procedure wants the store to do. Every update and delete is a compare-and-swap.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Reads one object. Answered by [`Answer::Resource`].
    Get(Key),
    /// Reads all objects of a kind. Answered by [`Answer::List`].
    List(Kind),
    /// Writes an object that must not exist yet. Answered by [`Answer::Write`].
    Create(Resource),
    /// Replaces the object that has the resource version of this one. Answered by [`Answer::Write`].
    Update(Resource),
    /// Removes an object. Answered by [`Answer::Write`].
    Delete {
        /// Which.
        key: Key,
        /// Only if it still has this resource version.
        resource_version: Option<String>,
    },
}

/// What came of an [`Operation`].
///
/// An answer of another sort than the operation asks for counts as "nothing there" or as a conflict, which costs a retry
/// and never correctness. A store that fails altogether has no answer: drop the procedure, what it left behind is found
/// by a release of the handle and by [`reconcile`](crate::reconcile).
#[derive(Debug, Clone)]
pub enum Answer {
    /// The object, if there is one.
    Resource(Option<Resource>),
    /// All objects.
    List(Vec<Resource>),
    /// What a write did.
    Write(Write),
}

/// What a write did.
#[derive(Debug, Clone)]
pub enum Write {
    /// It happened; the object as stored, with its new resource version (for a delete: as it was).
    Done(Box<Resource>),
    /// The object has another resource version by now.
    Conflict,
    /// A create found an object of that name.
    Exists,
    /// An update or delete found none.
    NotFound,
}

/// Where a procedure stands.
#[derive(Debug)]
pub enum Step<T> {
    /// It wants this done, and waits for the answer.
    Do(Operation, Waiting<T>),
    /// It is finished.
    Done(T),
}

/// A procedure that waits for an answer. Dropping it abandons the procedure between two writes.
pub struct Waiting<T> {
    procedure: Pin<Box<dyn Future<Output = T> + Send>>,
    store: Store,
}

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl<T> Waiting<T> {
    /// Goes on with the answer to the operation that was asked for.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Step<T> {
        self.store.mailbox().answer = Some(answer);
        self.resume()
    }

    fn resume(mut self) -> Step<T> {
        loop {
            match self.procedure.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => return Step::Done(outcome),
                Poll::Pending => {
                    let operation = self.store.mailbox().operation.take();
                    // Only `Store::ask` ever suspends, and it leaves an operation.
                    if let Some(operation) = operation {
                        return Step::Do(operation, self);
                    }
                }
            }
        }
    }
}

/// Starts a procedure and runs it to its first operation.
pub(crate) fn start<T, F: Future<Output = T> + Send + 'static>(procedure: impl FnOnce(Store) -> F) -> Step<T> {
    let store = Store { mailbox: Arc::default() };
    Waiting { procedure: Box::pin(procedure(store.clone())), store }.resume()
}

#[derive(Default)]
struct Mailbox {
    operation: Option<Operation>,
    answer: Option<Answer>,
}

/// The store as a procedure sees it: each call suspends the procedure until the answer is there.
#[derive(Clone)]
pub(crate) struct Store {
    mailbox: Arc<Mutex<Mailbox>>,
}

impl Store {
    fn mailbox(&self) -> std::sync::MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, operation: Operation) -> Answer {
        self.mailbox().operation = Some(operation);
        poll_fn(|_| match self.mailbox().answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }

    pub(crate) async fn get(&self, key: Key) -> Option<Resource> {
        match self.ask(Operation::Get(key)).await {
            Answer::Resource(found) => found,
            Answer::List(_) | Answer::Write(_) => None,
        }
    }

    pub(crate) async fn list(&self, kind: Kind) -> Vec<Resource> {
        match self.ask(Operation::List(kind)).await {
            Answer::List(all) => all,
            Answer::Resource(_) | Answer::Write(_) => Vec::new(),
        }
    }

    pub(crate) async fn create(&self, resource: impl Into<Resource>) -> Write {
        self.write(Operation::Create(resource.into())).await
    }

    pub(crate) async fn update(&self, resource: impl Into<Resource>) -> Write {
        self.write(Operation::Update(resource.into())).await
    }

    pub(crate) async fn delete(&self, resource: impl Into<Resource>) -> Write {
        self.write(delete(resource)).await
    }

    async fn write(&self, operation: Operation) -> Write {
        match self.ask(operation).await {
            Answer::Write(write) => write,
            Answer::Resource(_) | Answer::List(_) => Write::Conflict,
        }
    }
}

/// The removal of an object as it was read.
pub(crate) fn delete(resource: impl Into<Resource>) -> Operation {
    let resource = resource.into();
    Operation::Delete { key: resource.key(), resource_version: resource.metadata().resource_version.clone() }
}
