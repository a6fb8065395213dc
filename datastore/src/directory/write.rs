//! Compare-and-swap on files.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use resources::{Key, Kind, Resource};

use super::{
    files::Files,
    layout,
    load::{Entry, Loaded, Signature},
    version,
};
use crate::{Error, Write};

/// A write to be done.
pub(super) enum Operation {
    Create(Resource),
    Update(Resource),
    Delete(Key, Option<String>),
}

/// The folder is locked while this lives: closing the file unlocks it.
pub(super) struct Guard(#[expect(dead_code, reason = "held for its lock, which closing ends")] File);

impl Files {
    /// Excludes every other writer of the folder, in this and in other processes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn lock(&self) -> io::Result<Guard> {
        let file = File::options().create(true).truncate(false).write(true).open(self.layout.lock())?;
        file.lock()?;
        Ok(Guard(file))
    }

    /// Removes what a writer that was killed left. Only with the folder locked: then no writer is at work.
    pub(super) fn remove_temporaries(&self) {
        for kind in Kind::ALL {
            let folder = self.layout.absolute(&layout::state_folder(*kind));
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().ends_with(TEMPORARY) {
                    // Left over, it is never read as an object.
                    drop(fs::remove_file(entry.path()));
                }
            }
        }
    }

    /// Does a write, if what is on disk is what the writer saw.
    pub(super) fn write(&mut self, operation: Operation) -> Result<Write, Error> {
        match operation {
            Operation::Create(mut resource) => {
                let key = admit(&mut resource)?;
                self.store(key, resource, None)
            }
            Operation::Update(mut resource) => {
                let key = admit(&mut resource)?;
                match resource.metadata().resource_version.clone() {
                    Some(version) => self.store(key, resource, Some(&version)),
                    None => Err(Error::NoResourceVersion { key }),
                }
            }
            Operation::Delete(key, version) => self.delete(&key, version.as_deref()),
        }
    }

    /// Writes an object: in place of `version`, or where none is.
    fn store(&mut self, key: Key, mut resource: Resource, version: Option<&str>) -> Result<Write, Error> {
        let file = layout::state_file(&key);
        let guard = self.begin(&file)?;
        let current = self.current(&key, &file, version.is_some())?;
        let counter = match (&current, version) {
            (Some(_), None) => return Ok(Write::Exists),
            (None, Some(_)) => return Ok(Write::NotFound),
            (Some(current), Some(_)) if current.metadata().resource_version.as_deref() != version => {
                return Ok(Write::Conflict);
            }
            (Some(current), Some(_)) => {
                resource.metadata_mut().uid.clone_from(&current.metadata().uid);
                version::counter(current) + 1
            }
            (None, None) => 1,
        };
        if resource.metadata().uid.is_empty() {
            resource.metadata_mut().uid = uid().map_err(|source| Error::File { path: RANDOM_UUID.into(), source })?;
        }
        version::stamp(&mut resource, counter).map_err(|source| Error::Encode { key: key.clone(), source })?;
        self.put(&file, key, &resource)?;
        drop(guard);
        self.flush(&file)?;
        Ok(Write::Done(resource))
    }

    fn delete(&mut self, key: &Key, version: Option<&str>) -> Result<Write, Error> {
        let file = layout::state_file(key);
        let guard = self.begin(&file)?;
        let Some(current) = self.current(key, &file, true)? else { return Ok(Write::NotFound) };
        if version.is_some() && current.metadata().resource_version.as_deref() != version {
            return Ok(Write::Conflict);
        }
        let path = self.layout.absolute(&file);
        fs::remove_file(&path).map_err(|source| Error::File { path, source })?;
        self.apply(&file, None);
        drop(guard);
        self.flush(&file)?;
        Ok(Write::Done(Arc::unwrap_or_clone(current)))
    }

    /// Locks the folder and takes in what others wrote.
    fn begin(&mut self, file: &Path) -> Result<Guard, Error> {
        let failed = |path: PathBuf| move |source| Error::File { path, source };
        self.presence().map_err(failed(self.layout.own()))?;
        let guard = self.lock().map_err(failed(self.layout.lock()))?;
        self.take_in();
        // The kernel does not tell of what another machine wrote.
        self.refresh_if_changed(file);
        Ok(guard)
    }

    /// The object as it is. One in a file that people write may be looked at, not changed.
    fn current(&self, key: &Key, file: &Path, change: bool) -> Result<Option<Arc<Resource>>, Error> {
        let current = self.in_force.lock().get(key).cloned();
        match self.owner(key) {
            Some(owner) if owner != file && change => Err(Error::ByHand { key: key.clone(), file: owner.to_owned() }),
            _ => Ok(current),
        }
    }

    /// Writes an object to its file and puts it in force.
    fn put(&mut self, file: &Path, key: Key, resource: &Resource) -> Result<(), Error> {
        let text = version::manifest(resource).map_err(|source| Error::Encode { key: key.clone(), source })?;
        let path = self.layout.absolute(file);
        let signature = replace(&path, &text).map_err(|source| Error::File { path, source })?;
        let entry = Entry { document: 0, object: Arc::new(resource.clone()) };
        let loaded =
            Loaded { signature: Some(signature), objects: BTreeMap::from([(key, entry)]), ..Loaded::default() };
        self.apply(file, Some(loaded));
        Ok(())
    }

    /// Makes the name of a file, or its absence, survive the machine.
    fn flush(&self, file: &Path) -> Result<(), Error> {
        let path = self.layout.absolute(file.parent().unwrap_or(file));
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(|source| Error::File { path, source })
    }
}

/// The key of an object that may be written.
fn admit(resource: &mut Resource) -> Result<Key, Error> {
    resource.normalize();
    let key = resource.key();
    match resource.validate() {
        Ok(()) => Ok(key),
        Err(invalid) => Err(Error::Invalid { key, invalid }),
    }
}

const TEMPORARY: &str = ".tmp";
const RANDOM_UUID: &str = "/proc/sys/kernel/random/uuid";

fn uid() -> io::Result<String> {
    fs::read_to_string(RANDOM_UUID).map(|uuid| uuid.trim().to_owned())
}

/// Replaces a file as a whole: whoever reads sees all of the old or all of the new text.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<Signature> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(TEMPORARY);
    let temporary = path.with_file_name(name);
    let mut file = match File::create(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(path.parent().unwrap_or(path))?;
            File::create(&temporary)?
        }
        created => created?,
    };
    file.write_all(text)?;
    file.sync_data()?;
    let signature = Signature::of(&file.metadata()?);
    fs::rename(&temporary, path)?;
    Ok(signature)
}

/// Makes the folder of a kind, so that it survives the machine.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    File::open(folder.parent().unwrap_or(folder))?.sync_all()
}
