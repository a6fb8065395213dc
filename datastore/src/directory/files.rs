//! Every file of a folder, and which of them each object is taken from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use resources::Key;

use super::{
    admitted,
    layout::{self, Layout},
    load::{self, Loaded, Signature},
    notify::{Change, Notify},
};
use crate::{
    Error, Origin, Reason, Refusal,
    decode::{Ignored, Problem},
    store::Store,
};

/// How deep folders may be nested.
const DEPTH: usize = 64;

/// What of the folder is not known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scan {
    /// Which files there are. What is written to them is told when they are closed.
    Tree,
    /// Everything.
    Everything,
}

/// Precedence of files: those of the datastore first, then in order of paths.
type Rank = (bool, PathBuf);

/// The files of a folder as last read. Keeps the store in step with them.
pub(super) struct Files {
    pub(super) layout: Layout,
    pub(super) in_force: Arc<Store>,
    /// Whether `.tortie` is there; if it goes, so has the folder.
    pub(super) marked: bool,
    notify: Notify,
    loaded: BTreeMap<PathBuf, Loaded>,
    /// Per object the files that hold it.
    claims: BTreeMap<Key, BTreeSet<Rank>>,
    /// Folders that could not be read when everything was last looked through.
    unreadable: BTreeSet<PathBuf>,
}

impl Files {
    pub(super) fn open(layout: Layout, store: Arc<Store>) -> Result<Self, Error> {
        let notify = Notify::new().map_err(|source| Error::Notification { path: layout.root().to_owned(), source })?;
        let marked = fs::create_dir_all(layout.state())
            .inspect_err(|error| tracing::warn!(path = %layout.own().display(), %error, "the folder can only be read"))
            .is_ok();
        let files = Self {
            layout,
            in_force: store,
            marked,
            notify,
            loaded: BTreeMap::new(),
            claims: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        };
        // Whoever cannot write leaves nothing over either.
        if let Some(guard) = files.lock().ok().filter(|_| marked) {
            files.remove_temporaries();
            admitted::sweep(&files.layout);
            drop(guard);
        }
        Ok(files)
    }

    /// Becomes readable when there is something to take in.
    pub(super) fn readiness(&self) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Notification { path: self.layout.root().to_owned(), source };
        self.notify.readiness().map_err(failed)
    }

    pub(super) fn ignored(&self) -> Vec<(PathBuf, Ignored)> {
        let files = self.loaded.iter();
        files.flat_map(|(file, loaded)| loaded.ignored.iter().map(|ignored| (file.clone(), ignored.clone()))).collect()
    }

    /// The file an object in force is taken from.
    pub(super) fn owner(&self, key: &Key) -> Option<&Path> {
        self.claims.get(key)?.first().map(|(_, file)| file.as_path())
    }

    /// Takes in what the kernel told of since the last time.
    pub(super) fn take_in(&mut self) {
        let mut scan = None;
        for change in self.notify.take() {
            match change {
                // Temporary files of writers, mostly.
                Change::File(file) | Change::Created(file) if layout::format(&file).is_none() => {}
                // What the datastore writes is never changed in place, so that an unchanged signature says enough.
                Change::File(file) if layout::is_state(&file) => self.refresh_if_changed(&file),
                Change::File(file) => self.refresh(&file),
                Change::Created(file) if self.is_link(&file) => self.refresh(&file),
                Change::Created(_) => {}
                Change::Tree => scan = scan.max(Some(Scan::Tree)),
                Change::Anything => scan = Some(Scan::Everything),
            }
        }
        if let Some(scan) = scan {
            self.scan(scan);
        }
    }

    fn is_link(&self, file: &Path) -> bool {
        fs::symlink_metadata(self.layout.absolute(file)).is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
    }

    /// Looks through the whole folder and reads what changed.
    pub(super) fn scan(&mut self, scan: Scan) {
        let root = PathBuf::new();
        if let Err(error) = self.presence() {
            return self.refuse_folder(&root, Some(&error));
        }
        let mut found = BTreeSet::new();
        let mut folders = BTreeSet::new();
        let mut unreadable = BTreeSet::new();
        let mut pending = vec![root];
        while let Some(folder) = pending.pop() {
            match self.look_into(&folder, &mut found, &mut pending) {
                Ok(()) => {
                    folders.insert(folder);
                }
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.refuse_folder(&folder, Some(&error));
                    unreadable.insert(folder);
                }
            }
        }
        for folder in std::mem::take(&mut self.unreadable).difference(&unreadable) {
            self.refuse_folder(folder, None);
        }
        self.refuse_folder(Path::new(""), None);
        let hidden = |file: &PathBuf| unreadable.iter().any(|folder| file.starts_with(folder));
        let gone = self.loaded.keys().filter(|file| !found.contains(*file) && !hidden(file));
        found.extend(gone.cloned().collect::<Vec<_>>());
        self.unreadable = unreadable;
        self.notify.retain(&folders);
        for file in found {
            if scan == Scan::Everything || !self.is_known(&file) {
                self.refresh_if_changed(&file);
            }
        }
    }

    /// Whether a path still is the file that was read from there, changed or not.
    fn is_known(&self, file: &Path) -> bool {
        let known = self.loaded.get(file).and_then(|loaded| loaded.signature);
        known.zip(self.found(file)).is_some_and(|(known, found)| known.is_same_file(found))
    }

    fn found(&self, file: &Path) -> Option<Signature> {
        fs::metadata(self.layout.absolute(file)).map(|metadata| Signature::of(&metadata)).ok()
    }

    /// Whether the folder is there. What is there without its mark is the place where it was mounted.
    pub(super) fn presence(&self) -> io::Result<()> {
        fs::metadata(self.layout.root())?;
        if self.marked { fs::metadata(self.layout.own()).map(drop) } else { Ok(()) }
    }

    fn look_into(&mut self, folder: &Path, files: &mut BTreeSet<PathBuf>, more: &mut Vec<PathBuf>) -> io::Result<()> {
        let absolute = self.layout.absolute(folder);
        // Before it is read, so that nothing is missed in between.
        self.notify.add(&absolute, folder)?;
        for entry in fs::read_dir(&absolute)? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                if layout::format(&path).is_some() {
                    files.insert(path);
                }
            } else if layout::is_looked_into(&path) && path.components().count() <= DEPTH {
                more.push(path);
            }
        }
        Ok(())
    }

    fn refuse_folder(&self, folder: &Path, error: Option<&io::Error>) {
        let refusal = error.map(|error| {
            let reason = Reason::Unreadable { error: error.to_string() };
            let problem = Problem { document: 0, key: None, position: None, reason };
            load::refusal(folder, problem, self.loaded.keys().any(|file| file.starts_with(folder)))
        });
        self.in_force.lock().refuse(Origin::File(folder.to_owned()), refusal.into_iter().collect());
    }

    pub(super) fn refresh_if_changed(&mut self, file: &Path) {
        let found = self.found(file);
        let known = self.loaded.get(file);
        let unchanged = match known {
            Some(loaded) => found.is_some() && loaded.signature == found,
            None => found.is_none(),
        };
        if !unchanged {
            self.refresh(file);
        }
    }

    /// Reads a file and puts in force what it says.
    fn refresh(&mut self, file: &Path) {
        if layout::format(file).is_none() {
            return;
        }
        let by_hand = !layout::is_state(file);
        let before = match self.loaded.get(file) {
            Some(loaded) => loaded.clone(),
            None if by_hand => admitted::read(&self.layout, file),
            None => Loaded::default(),
        };
        let loaded = load::load(&self.layout, file, before);
        // A file that went with the whole folder was not removed.
        if loaded.is_none() && self.presence().is_err() {
            return;
        }
        if by_hand && self.marked {
            let objects = loaded.as_ref().map(|loaded| loaded.objects.clone()).unwrap_or_default();
            if let Err(error) = admitted::write(&self.layout, file, &objects) {
                tracing::warn!(file = %file.display(), %error, "what is in force is not kept for the next start");
            }
        }
        self.apply(file, loaded);
    }

    /// Puts in force what a file says; none if the file is gone.
    pub(super) fn apply(&mut self, file: &Path, loaded: Option<Loaded>) {
        let rank: Rank = (!layout::is_state(file), file.to_owned());
        let before = self.loaded.remove(file).unwrap_or_default();
        let mut keys: BTreeSet<Key> = before.objects.into_keys().collect();
        for key in &keys {
            if let Some(claims) = self.claims.get_mut(key) {
                claims.remove(&rank);
            }
        }
        if let Some(loaded) = loaded {
            for key in loaded.objects.keys() {
                self.claims.entry(key.clone()).or_default().insert(rank.clone());
                keys.insert(key.clone());
            }
            self.loaded.insert(file.to_owned(), loaded);
        }
        let mut affected = BTreeSet::from([file.to_owned()]);
        for key in keys {
            affected.extend(self.settle(key));
        }
        for file in affected {
            let refusals = self.refusals(&file);
            self.in_force.lock().refuse(Origin::File(file), refusals);
        }
    }

    /// Puts in force what the first file says of an object. Gives the files that hold it.
    fn settle(&mut self, key: Key) -> Vec<PathBuf> {
        let files: Vec<PathBuf> = self.claims.get(&key).into_iter().flatten().map(|(_, file)| file.clone()).collect();
        let entry = files.first().and_then(|file| self.loaded.get(file)?.objects.get(&key));
        let mut state = self.in_force.lock();
        match entry {
            Some(entry) => state.put(key, Arc::clone(&entry.object)),
            None => {
                state.remove(&key);
                self.claims.remove(&key);
            }
        }
        files
    }

    /// What is refused of a file: what it says itself, and what others say first.
    fn refusals(&self, file: &Path) -> Vec<Refusal> {
        let Some(loaded) = self.loaded.get(file) else { return Vec::new() };
        let duplicates = loaded.objects.iter().filter_map(|(key, entry)| {
            let first = self.owner(key).filter(|first| *first != file)?.to_owned();
            Some(Refusal {
                origin: Origin::File(file.to_owned()),
                document: entry.document,
                key: Some(key.clone()),
                position: None,
                reason: Reason::Duplicate { first },
                last_version_in_force: false,
            })
        });
        loaded.refusals.iter().cloned().chain(duplicates).collect()
    }
}
