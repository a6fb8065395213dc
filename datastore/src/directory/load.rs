//! One file into what it has in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
};

use resources::{Key, Resource};

use super::{
    layout::{self, Layout},
    version,
};
use crate::{
    Origin, Reason, Refusal,
    decode::{Decoded, Ignored, Problem, decode},
};

/// What tells whether a file changed since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Signature {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }

    /// Whether it is of the same file, changed or not.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// An object that a file has in force.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The document that holds it, or held it when the file was last read well.
    pub(super) document: usize,
    pub(super) object: Arc<Resource>,
}

/// What a file has in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    /// None if it could not be read.
    pub(super) signature: Option<Signature>,
    pub(super) objects: BTreeMap<Key, Entry>,
    /// What is refused of it, whatever other files hold.
    pub(super) refusals: Vec<Refusal>,
    pub(super) ignored: Vec<Ignored>,
}

/// Reads a file that had `before` in force. None if there is no such file.
pub(super) fn load(layout: &Layout, file: &Path, before: Loaded) -> Option<Loaded> {
    let (signature, text) = match read(&layout.absolute(file)) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(keep(file, None, before, Reason::Unreadable { error: error.to_string() })),
    };
    let signature = Some(signature);
    let Ok(text) = String::from_utf8(text) else {
        let message = "is not UTF-8".to_owned();
        return Some(keep(file, signature, before, Reason::Malformed { field: None, message }));
    };
    if text.trim().is_empty() {
        // Nothing is lost by a new file that is still empty.
        let empty = before.objects.is_empty() && before.refusals.is_empty();
        let kept = keep(file, signature, before, Reason::Empty);
        return Some(if empty { Loaded { refusals: Vec::new(), ..kept } } else { kept });
    }
    let mut decoded = layout::format(file).map(|format| decode(&text, format)).unwrap_or_default();
    if layout::is_state(file) {
        refuse_strangers(file, &mut decoded);
    }
    Some(admit(file, signature, before, decoded))
}

fn read(path: &Path) -> io::Result<(Signature, Vec<u8>)> {
    let mut opened = File::open(path)?;
    // Taken before reading: what is written meanwhile makes it differ.
    let metadata = opened.metadata()?;
    let mut text = Vec::new();
    opened.read_to_end(&mut text)?;
    Ok((Signature::of(&metadata), text))
}

/// Nothing of the file can be used: what was in force stays.
fn keep(file: &Path, signature: Option<Signature>, before: Loaded, reason: Reason) -> Loaded {
    let problem = Problem { document: 0, key: None, position: None, reason };
    let refusals = vec![refusal(file, problem, !before.objects.is_empty())];
    Loaded { signature, refusals, ignored: Vec::new(), objects: before.objects }
}

/// A state file has the one object whose name it bears; writes would not find another.
fn refuse_strangers(file: &Path, decoded: &mut Decoded) {
    let strangers: Vec<Key> = decoded.objects.keys().filter(|key| layout::state_file(key) != *file).cloned().collect();
    for key in strangers {
        decoded.objects.remove(&key);
        let message = format!("belongs in {}", layout::state_file(&key).display());
        let reason = Reason::Malformed { field: None, message };
        decoded.problems.push(Problem { document: 0, key: Some(key), position: None, reason });
    }
}

fn admit(file: &Path, signature: Option<Signature>, before: Loaded, decoded: Decoded) -> Loaded {
    let mut objects = BTreeMap::new();
    for (key, (document, mut resource)) in decoded.objects {
        let counter = if layout::is_state(file) { version::counter(&resource) } else { 0 };
        // What was decoded can be encoded; if not, the version is missing and nobody can update the object.
        if version::stamp(&mut resource, counter).is_ok() {
            objects.insert(key, Entry { document, object: Arc::new(resource) });
        }
    }
    let anonymous = decoded.problems.iter().any(|problem| problem.key.is_none());
    let refused: BTreeSet<&Key> = decoded.problems.iter().filter_map(|problem| problem.key.as_ref()).collect();
    let stays = |key: &Key| !objects.contains_key(key) && (anonymous || refused.contains(key));
    let kept: BTreeMap<Key, Entry> = before.objects.into_iter().filter(|(key, _)| stays(key)).collect();
    let in_force = |problem: &Problem| match &problem.key {
        Some(key) => kept.contains_key(key),
        None => !kept.is_empty(),
    };
    let marked: Vec<bool> = decoded.problems.iter().map(in_force).collect();
    let refusals =
        decoded.problems.into_iter().zip(marked).map(|(problem, kept)| refusal(file, problem, kept)).collect();
    objects.extend(kept);
    Loaded { signature, objects, refusals, ignored: decoded.ignored }
}

pub(super) fn refusal(file: &Path, problem: Problem, last_version_in_force: bool) -> Refusal {
    let Problem { document, key, position, reason } = problem;
    let reason = match reason {
        Reason::Duplicate { .. } => Reason::Duplicate { first: file.to_owned() },
        reason => reason,
    };
    Refusal { origin: Origin::File(file.to_owned()), document, key, position, reason, last_version_in_force }
}
