//! A folder of manifests as a datastore.
//!
//! # What people write
//!
//! Every file below the folder whose name ends in `.yaml`, `.yml` or `.json` and neither whose name nor whose folder's
//! begins with a dot, in any number of subfolders, with any number of documents. The folder is its own admission:
//!
//! - What does not parse or is not valid is refused and reported, and the version admitted before stays in force, also
//!   across a restart. Everything else goes on.
//! - A document that does not tell which object it is keeps everything in force that its file held before.
//! - A file that cannot be read, or that is empty, keeps its objects; removing the file removes them.
//! - A file counts when it is closed after writing, or renamed into place, not while it is being written. (At a start, after
//!   a lost notification, and in a folder on another machine, which is compared every 2 s, it may be read half written;
//!   when it is complete it is read again.)
//! - Of two objects of the same name, one that the datastore wrote wins, then the one in the first file in order of paths;
//!   the other is refused.
//! - If the folder itself vanishes, nothing changes.
//!
//! # What the datastore writes
//!
//! One JSON file per object, `.tortie/state/KIND/[NAMESPACE_]NAME.json`, written to a temporary file, flushed, renamed.
//! Any number of processes may share the folder: writes exclude each other through a lock on `.tortie/lock`, and compare
//! with what is on disk. A write that was answered survives the death of the process and of the machine; one that was
//! not has happened entirely or not at all. The status of an object is beside it, in `.tortie/status`, also where people
//! wrote the object. `.tortie/admitted` has what is in force of each file that people wrote;
//! losing it costs nothing but the memory of broken files.

mod admitted;
mod files;
mod layout;
mod load;
mod notify;
mod status;
mod version;
mod write;

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use resources::{Key, Kind, Resource};
use serde_json::Value;

use self::{
    files::{Files, Scan},
    layout::Layout,
    write::Operation,
};
use crate::{Answer, Datastore, Error, Refusal, Watch, Write, decode::Ignored, store::Store};

/// How often a folder on another machine is looked through, of whose changes the kernel does not tell. Milliseconds.
const REMOTE_SCAN: u16 = 2000;

/// A folder of manifests. Clones are handles on the same content; the folder is followed until the last is dropped.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
    /// The follower ends when the other end of this is closed.
    _followed: Arc<UnixStream>,
}

struct Inner {
    store: Arc<Store>,
    files: Mutex<Files>,
}

impl Directory {
    /// Opens a folder and reads everything in it. A thread follows its changes.
    ///
    /// A folder in which nothing can be written can be read all the same.
    ///
    /// # Errors
    /// When there is no such folder, or its changes cannot be followed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let layout = Layout::new(path.as_ref())?;
        let failed = |source| Error::Notification { path: path.as_ref().to_owned(), source };
        let remote = layout.is_remote();
        let store = Arc::new(Store::default());
        let mut files = Files::open(layout, Arc::clone(&store))?;
        files.scan(Scan::Everything);
        let (followed, end) = UnixStream::pair().map_err(failed)?;
        let changes = files.readiness()?;
        let inner = Arc::new(Inner { store, files: Mutex::new(files) });
        let follower = Arc::clone(&inner);
        let thread = thread::Builder::new().name("directory".to_owned());
        thread.spawn(move || follower.follow(&changes, &end, remote)).map_err(failed)?;
        Ok(Self { inner, _followed: Arc::new(followed) })
    }

    /// What is not admitted at this moment.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.inner.store.lock().refusals().values().flatten().cloned().collect()
    }

    /// Objects of kinds that tortie does not use, with the file that holds them, relative to the folder.
    pub fn ignored(&self) -> Vec<(PathBuf, Ignored)> {
        self.inner.files().ignored()
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|_| Error::Ending)?
    }

    async fn write(&self, operation: Operation) -> Result<Write, Error> {
        self.blocking(move |inner| inner.files().write(operation)).await
    }
}

impl Inner {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in changes as the kernel tells of them, until `end` is closed at its other end.
    fn follow(&self, changes: &OwnedFd, end: &UnixStream, remote: bool) {
        let timeout = if remote { PollTimeout::from(REMOTE_SCAN) } else { PollTimeout::NONE };
        loop {
            let mut ready = [changes.as_fd(), end.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let found = poll(&mut ready, timeout);
            if ready[1].any().unwrap_or(true) {
                return;
            }
            let mut files = self.files();
            match found {
                Ok(0) => files.scan(Scan::Everything),
                Ok(_) => files.take_in(),
                Err(Errno::EINTR) => {}
                Err(error) => return tracing::error!(%error, "the folder is no longer followed"),
            }
        }
    }
}

impl Datastore for Directory {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Resource>> {
        let key = key.clone();
        Box::pin(self.blocking(move |inner| {
            inner.files().take_in();
            Ok(inner.store.lock().get(&key).map(|object| Resource::clone(object)))
        }))
    }

    fn list(&self, kind: Kind) -> Answer<'_, Vec<Resource>> {
        Box::pin(self.blocking(move |inner| {
            inner.files().take_in();
            Ok(inner.store.lock().list(kind).map(|object| Resource::clone(object)).collect())
        }))
    }

    fn create(&self, resource: Resource) -> Answer<'_, Write> {
        Box::pin(self.write(Operation::Create(resource)))
    }

    fn update(&self, resource: Resource) -> Answer<'_, Write> {
        Box::pin(self.write(Operation::Update(resource)))
    }

    fn delete<'a>(&'a self, key: &'a Key, resource_version: Option<&'a str>) -> Answer<'a, Write> {
        Box::pin(self.write(Operation::Delete(key.clone(), resource_version.map(str::to_owned))))
    }

    fn report<'a>(&'a self, key: &'a Key, status: Value) -> Answer<'a, bool> {
        let key = key.clone();
        Box::pin(self.blocking(move |inner| inner.files().report(&key, &status)))
    }

    fn watch(&self, kinds: &[Kind]) -> Watch {
        self.inner.store.watch(kinds)
    }
}
