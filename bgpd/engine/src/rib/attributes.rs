//! Attribute sets, one shared copy per distinct value.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::wire::{Community, PathAttributes};

/// An interned attribute set. Two are equal exactly if they are the same object, as long as they come from one
/// [`Interner`].
#[derive(Clone)]
pub(crate) struct Attributes(Arc<Interned>);

struct Interned {
    value: PathAttributes,
    hash: u64,
    as_path_length: u32,
    graceful_shutdown: bool,
    no_advertise: bool,
    no_export: bool,
}

impl Attributes {
    /// The attributes themselves.
    pub(crate) fn value(&self) -> &PathAttributes {
        &self.0.value
    }

    /// Length of AS_PATH as the decision process counts it.
    pub(crate) fn as_path_length(&self) -> u32 {
        self.0.as_path_length
    }

    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub(crate) fn graceful_shutdown(&self) -> bool {
        self.0.graceful_shutdown
    }

    /// NO_ADVERTISE (RFC 1997).
    pub(crate) fn no_advertise(&self) -> bool {
        self.0.no_advertise
    }

    /// NO_EXPORT or NO_EXPORT_SUBCONFED (RFC 1997).
    pub(crate) fn no_export(&self) -> bool {
        self.0.no_export
    }

    /// Identity, for memo keys that live no longer than `self`.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Attributes {}

impl Hash for Attributes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// Keeps one copy of each attribute set in use.
#[derive(Debug)]
pub(crate) struct Interner {
    sets: HashTable<Attributes>,
    hasher: FixedState,
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1024;

impl Interner {
    pub(crate) fn new() -> Self {
        Self { sets: HashTable::new(), hasher: FixedState::default(), sweep_at: FIRST_SWEEP }
    }

    /// The shared copy of a value.
    pub(crate) fn intern(&mut self, value: PathAttributes) -> Attributes {
        let hash = self.hasher.hash_one(&value);
        if let Some(found) = self.sets.find(hash, |it| it.0.hash == hash && it.0.value == value) {
            return found.clone();
        }
        if self.sets.len() >= self.sweep_at {
            self.sweep();
        }
        let has = |community| value.communities.contains(&community);
        let interned = Attributes(Arc::new(Interned {
            hash,
            as_path_length: u32::try_from(value.as_path.length()).unwrap_or(u32::MAX),
            graceful_shutdown: has(Community::GRACEFUL_SHUTDOWN),
            no_advertise: has(Community::NO_ADVERTISE),
            no_export: has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED),
            value,
        }));
        self.sets.insert_unique(hash, interned.clone(), |it| it.0.hash);
        interned
    }

    /// Drops what nobody uses; costs are spread by waiting until the table doubled.
    fn sweep(&mut self) {
        self.sets.retain(|it| Arc::strong_count(&it.0) > 1);
        self.sweep_at = (self.sets.len() * 2).max(FIRST_SWEEP);
    }

    /// Distinct sets in memory.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_one_object_and_unused_ones_are_swept() {
        let mut interner = Interner::new();
        let with = |med| PathAttributes { med: Some(med), ..PathAttributes::default() };
        let kept = interner.intern(with(0));
        assert_eq!(kept, interner.intern(with(0)));
        assert_ne!(kept, interner.intern(with(1)));
        for med in 0..10_000 {
            interner.intern(with(med));
        }
        assert!(interner.len() <= FIRST_SWEEP);
        assert_eq!(kept, interner.intern(with(0)));
    }
}
