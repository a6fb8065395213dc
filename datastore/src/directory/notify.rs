//! What the kernel tells of changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// A file was written and closed, renamed or removed. Relative to the root.
    File(PathBuf),
    /// A file appeared: a link to what is there already, or one that is about to be written.
    Created(PathBuf),
    /// A folder appeared or went, or a link to one: the tree is to be looked through.
    Tree,
    /// Something was not told: everything is to be compared.
    Anything,
}

/// Watches on folders.
pub(super) struct Notify {
    inotify: Inotify,
    folders: BTreeMap<i32, (WatchDescriptor, PathBuf)>,
}

impl Notify {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init()?, folders: BTreeMap::new() })
    }

    /// Becomes readable when something has changed.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        self.inotify.as_fd().try_clone_to_owned()
    }

    /// Watches a folder; again for one that is watched already, which costs nothing.
    pub(super) fn add(&mut self, absolute: &Path, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let descriptor = self.inotify.watches().add(absolute, mask)?;
        self.folders.insert(descriptor.get_watch_descriptor_id(), (descriptor, folder.to_owned()));
        Ok(())
    }

    /// Forgets the folders that are not among these.
    pub(super) fn retain(&mut self, folders: &BTreeSet<PathBuf>) {
        let gone = self.folders.extract_if(.., |_, (_, folder)| !folders.contains(folder));
        for (_, (descriptor, _)) in gone {
            // A folder that was removed took its watch with it.
            drop(self.inotify.watches().remove(descriptor));
        }
    }

    /// Everything that happened since the last time, in order. Does not wait.
    pub(super) fn take(&mut self) -> Vec<Change> {
        let mut buffer = [0; 16 * 1024];
        let mut changes: Vec<Change> = Vec::new();
        loop {
            let events = match self.inotify.read_events(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changes,
                Err(error) => {
                    tracing::warn!(%error, "changes of the folder cannot be read");
                    changes.push(Change::Anything);
                    return changes;
                }
            };
            for event in events {
                let folder = self.folders.get(&event.wd.get_watch_descriptor_id()).map(|(_, folder)| folder.as_path());
                if let Some(change) = change(event.mask, folder, event.name.map(Path::new))
                    && changes.last() != Some(&change)
                {
                    changes.push(change);
                }
            }
        }
    }
}

fn change(mask: EventMask, folder: Option<&Path>, name: Option<&Path>) -> Option<Change> {
    if mask.contains(EventMask::IGNORED) {
        return None;
    }
    // A projected volume is a hidden link that is replaced as a whole; the files link through it.
    let replaced = name == Some(Path::new("..data"));
    let tree = EventMask::ISDIR | EventMask::DELETE_SELF | EventMask::MOVE_SELF;
    if mask.contains(EventMask::Q_OVERFLOW) {
        return Some(Change::Anything);
    }
    match (folder, name) {
        (Some(folder), Some(name)) if !mask.intersects(tree) && !replaced => {
            let file = folder.join(name);
            Some(if mask.contains(EventMask::CREATE) { Change::Created(file) } else { Change::File(file) })
        }
        (Some(_), _) => Some(Change::Tree),
        // Of a folder that is no longer watched.
        (None, _) => None,
    }
}
