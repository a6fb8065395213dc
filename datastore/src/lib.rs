//! Where resources are kept: list, watch, and compare-and-swap, the same over every back end.
//!
//! - [`Directory`]: a folder of manifests, its own admission.
//! - [`Memory`]: nothing but a map, for tests and for single processes.
//!
//! A consumer usually wants the [`syncer`]: one bounded stream of what is there, valid and merged over kinds.

pub mod decode;
mod directory;
mod memory;
mod refusal;
mod store;
pub mod syncer;
mod watch;

use std::{future::Future, path::PathBuf, pin::Pin};

use resources::{Invalid, Key, Kind, Resource};
use serde_json::Value;

pub use directory::Directory;
pub use memory::Memory;
pub use refusal::{Origin, Position, Reason, Refusal};
pub use watch::{Event, Watch};

/// What an asynchronous method of [`Datastore`] returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A place where resources are kept.
///
/// Reads see every write that was answered before they began, whichever handle made it. `metadata.resourceVersion` is
/// opaque: two reads of one object give the same exactly when nothing changed in between.
pub trait Datastore: Send + Sync + 'static {
    /// The object, if it is there.
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Resource>>;

    /// Every object of a kind, ordered by namespace and name.
    fn list(&self, kind: Kind) -> Answer<'_, Vec<Resource>>;

    /// Writes an object that must not be there yet: [`Write::Done`] with its new version and uid, or [`Write::Exists`].
    fn create(&self, resource: Resource) -> Answer<'_, Write>;

    /// Replaces an object, if it is unchanged since `metadata.resourceVersion`, which must be set: [`Write::Done`] with
    /// its new version, [`Write::Conflict`] or [`Write::NotFound`].
    fn update(&self, resource: Resource) -> Answer<'_, Write>;

    /// Removes an object, if it is unchanged since `resource_version` where that is given: [`Write::Done`] with what it
    /// was, [`Write::Conflict`] or [`Write::NotFound`].
    fn delete<'a>(&'a self, key: &'a Key, resource_version: Option<&'a str>) -> Answer<'a, Write>;

    /// Replaces the status of an object; false if there is no such object. A status is for people: nobody is told of it,
    /// and the object's version stays.
    fn report<'a>(&'a self, key: &'a Key, status: Value) -> Answer<'a, bool>;

    /// Follows the objects of some kinds, from the state of now on.
    fn watch(&self, kinds: &[Kind]) -> Watch;
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// It happened. The object as it is now; after a deletion, as it was.
    Done(Resource),
    /// The object changed since it was read.
    Conflict,
    /// There already is such an object.
    Exists,
    /// There is no such object.
    NotFound,
}

/// Why the datastore could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object to write is not valid.
    #[error("{key} is not valid: {}", list(.invalid))]
    Invalid {
        /// Which object.
        key: Key,
        /// What is wrong with it.
        invalid: Vec<Invalid>,
    },
    /// An update without `metadata.resourceVersion` would overwrite what others wrote.
    #[error("{key} cannot be updated without metadata.resourceVersion")]
    NoResourceVersion {
        /// Which object.
        key: Key,
    },
    /// A person's file holds the object; only objects that were created through the datastore are written by it.
    #[error("{key} is in {}, which is edited by hand", file.display())]
    ByHand {
        /// Which object.
        key: Key,
        /// The file that holds it.
        file: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Notifications of changes cannot be had.
    #[error("cannot watch {}: {source}", path.display())]
    Notification {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An object could not be written as JSON.
    #[error("{key}: {source}")]
    Encode {
        /// Which object.
        key: Key,
        /// What serde_json said.
        source: serde_json::Error,
    },
    /// The process is ending: its workers no longer take work.
    #[error("the process is ending")]
    Ending,
}

fn list(invalid: &[Invalid]) -> String {
    invalid.iter().map(Invalid::to_string).collect::<Vec<_>>().join("; ")
}
