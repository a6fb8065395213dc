//! What is in force of each file, kept for the next start.
//!
//! A copy is not flushed: after the death of the machine it may be the one before, or unreadable, which is as if there
//! were none.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use resources::Key;

use super::{
    layout::Layout,
    load::{Entry, Loaded},
    version,
};
use crate::decode::{Format, decode};

/// A temporary file as old as this is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(60);

/// What a file had in force when this was last written.
pub(super) fn read(layout: &Layout, file: &Path) -> Loaded {
    let Ok(text) = fs::read_to_string(layout.admitted_copy(file)) else { return Loaded::default() };
    let mut objects = BTreeMap::new();
    for (key, (document, mut resource)) in decode(&text, Format::Json).objects {
        if version::stamp(&mut resource, 0).is_ok() {
            objects.insert(key, Entry { document, object: Arc::new(resource) });
        }
    }
    Loaded { objects, ..Loaded::default() }
}

/// Keeps what a file has in force. Nothing is written if that is what is kept already.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(layout: &Layout, file: &Path, objects: &BTreeMap<Key, Entry>) -> io::Result<()> {
    let copy = layout.admitted_copy(file);
    if objects.is_empty() {
        return match fs::remove_file(copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = version::manifests(objects.values().map(|entry| entry.object.as_ref())).map_err(io::Error::other)?;
    if fs::read(&copy).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut temporary = copy.clone().into_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    fs::write(&temporary, text)?;
    fs::rename(&temporary, &copy)
}

/// Drops the copies of files that are gone.
pub(super) fn sweep(layout: &Layout) {
    let mut folders = vec![layout.admitted()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if layout.copied_file(&path).is_none_or(|file| is_gone(&layout.absolute(&file))) {
                // What cannot be removed is tried again at the next start.
                if !is_being_written(&path) {
                    drop(fs::remove_file(path));
                }
            }
        }
    }
}

/// Whether this may be the temporary file of another process that shares the folder.
fn is_being_written(path: &Path) -> bool {
    let age = || fs::metadata(path).ok()?.modified().ok()?.elapsed().ok();
    path.extension().is_some_and(|extension| extension == "tmp") && age().is_none_or(|age| age < ABANDONED)
}

fn is_gone(path: &PathBuf) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_young_temporary_file_is_somebodys_and_an_old_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.json.1.tmp");
        fs::write(&path, "").unwrap();
        assert!(is_being_written(&path));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        assert!(!is_being_written(&path));
        let copy = folder.path().join("copy.json");
        fs::write(&copy, "").unwrap();
        assert!(!is_being_written(&copy), "only temporary files");
    }
}
