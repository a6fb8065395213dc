//! The paths of one prefix.

use std::ops::{Deref, DerefMut};
use std::slice;

use super::Path;

/// Paths in the order in which they came. Most prefixes of most speakers have one, which takes no allocation of its own.
#[derive(Debug)]
pub(crate) enum Paths {
    One(Path),
    /// None, or any number.
    Several(Vec<Path>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Deref for Paths {
    type Target = [Path];

    fn deref(&self) -> &[Path] {
        match self {
            Self::One(path) => slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

impl DerefMut for Paths {
    fn deref_mut(&mut self) -> &mut [Path] {
        match self {
            Self::One(path) => slice::from_mut(path),
            Self::Several(paths) => paths,
        }
    }
}

impl Paths {
    /// Adds a path behind the others.
    pub(crate) fn push(&mut self, path: Path) {
        *self = match std::mem::take(self) {
            Self::Several(paths) if paths.is_empty() => Self::One(path),
            Self::One(first) => Self::Several(vec![first, path]),
            Self::Several(mut paths) => {
                // Doubling would leave a third of a table with many peers empty.
                if paths.len() == paths.capacity() {
                    paths.reserve_exact(2 + paths.len() / 8);
                }
                paths.push(path);
                Self::Several(paths)
            }
        };
    }

    /// Takes out the first path for which `condemned` holds.
    pub(crate) fn take(&mut self, condemned: impl Fn(&Path) -> bool) -> Option<Path> {
        let at = self.iter().position(condemned)?;
        match std::mem::take(self) {
            Self::One(path) => Some(path),
            Self::Several(mut paths) => {
                let path = paths.remove(at);
                *self = Self::from(paths);
                Some(path)
            }
        }
    }

    /// Keeps the paths for which `keep` holds.
    pub(crate) fn retain_mut(&mut self, mut keep: impl FnMut(&mut Path) -> bool) {
        match self {
            Self::One(path) => {
                if !keep(path) {
                    *self = Self::default();
                }
            }
            Self::Several(paths) => {
                paths.retain_mut(keep);
                *self = Self::from(std::mem::take(paths));
            }
        }
    }
}

impl From<Vec<Path>> for Paths {
    fn from(mut paths: Vec<Path>) -> Self {
        match paths.pop() {
            Some(path) if paths.is_empty() => Self::One(path),
            Some(path) => {
                paths.push(path);
                Self::Several(paths)
            }
            None => Self::default(),
        }
    }
}
