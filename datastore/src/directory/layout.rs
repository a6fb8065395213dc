//! Where what is in a folder.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use nix::sys::statfs::{self, FsType};
use resources::{Key, Kind};

use super::version::hash;
use crate::{Error, decode::Format};

/// Names shorter than this are file names as they are: with namespace, extension and temporary marks they fit 255 octets.
const PLAIN_NAME: usize = 120;

/// The paths of a folder. Files are named relative to its root.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Result<Self, Error> {
        let root = fs::canonicalize(root).map_err(|source| Error::File { path: root.to_owned(), source })?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn own(&self) -> PathBuf {
        self.root.join(OWN)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    pub(super) fn admitted(&self) -> PathBuf {
        self.own().join("admitted")
    }

    /// Where the copy of what a file has in force is.
    pub(super) fn admitted_copy(&self, file: &Path) -> PathBuf {
        let mut name = self.admitted().join(file).into_os_string();
        name.push(COPY);
        name.into()
    }

    /// The file of which a path is the copy.
    pub(super) fn copied_file(&self, copy: &Path) -> Option<PathBuf> {
        let file = copy.strip_prefix(self.admitted()).ok()?;
        file.to_str()?.strip_suffix(COPY).map(PathBuf::from)
    }

    pub(super) fn absolute(&self, file: &Path) -> PathBuf {
        self.root.join(file)
    }

    /// Whether the kernel does not tell of everything that changes, because others change it on another machine.
    pub(super) fn is_remote(&self) -> bool {
        const FUSE: i64 = 0x6573_5546;
        const CIFS: i64 = 0xff53_4d42;
        const SMB2: i64 = 0xfe53_4d42;
        const CEPH: i64 = 0x00c3_6400;
        const V9FS: i64 = 0x0102_1997;
        let Ok(status) = statfs::statfs(&self.root) else { return false };
        let FsType(number) = status.filesystem_type();
        status.filesystem_type() == statfs::NFS_SUPER_MAGIC
            || [FUSE, CIFS, SMB2, CEPH, V9FS].contains(&(number & 0xffff_ffff))
    }
}

const OWN: &str = ".tortie";
const STATE: &str = ".tortie/state";
const STATUS: &str = ".tortie/status";
const COPY: &str = ".json";

/// The file in which the datastore keeps an object.
pub(super) fn state_file(key: &Key) -> PathBuf {
    state_folder(key.kind).join(file_name(key))
}

/// The file in which the datastore keeps the status of an object.
pub(super) fn status_file(key: &Key) -> PathBuf {
    Path::new(STATUS).join(key.kind.name().to_lowercase()).join(file_name(key))
}

fn file_name(key: &Key) -> String {
    let mut name = match &key.namespace {
        Some(namespace) => format!("{namespace}_{}", key.name),
        None => key.name.clone(),
    };
    if name.len() >= PLAIN_NAME {
        // No name has a '_' in its last part, so that this is no other object's file.
        let cut = (0..=PLAIN_NAME).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
        let mark = hash(name.as_bytes());
        name.truncate(cut);
        name = format!("{name}_{mark:016x}");
    }
    name + ".json"
}

pub(super) fn state_folder(kind: Kind) -> PathBuf {
    Path::new(STATE).join(kind.name().to_lowercase())
}

/// Whether the datastore wrote the file.
pub(super) fn is_state(file: &Path) -> bool {
    file.starts_with(STATE)
}

/// The notation of a manifest; none if the file is not one.
pub(super) fn format(file: &Path) -> Option<Format> {
    if is_hidden(file) && !is_state(file) || file.file_name().is_some_and(|name| hidden(&name.to_string_lossy())) {
        return None;
    }
    match file.extension()?.to_str()? {
        "yaml" | "yml" => Some(Format::Yaml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// Whether a folder may have manifests in it.
pub(super) fn is_looked_into(folder: &Path) -> bool {
    !is_hidden(folder) || folder == Path::new(OWN) || is_state(folder)
}

fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| matches!(part, Component::Normal(name) if hidden(&name.to_string_lossy())))
}

fn hidden(name: &str) -> bool {
    name.starts_with('.')
}
