//! Attribute sets, one shared copy per distinct value, kept as octets.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::wire::{AttributeCode, Block, Community, Origin, PathAttributes};

/// How AS numbers stand in the octets kept.
const FOUR_OCTET_AS: bool = true;

/// An interned attribute set. Two are equal exactly if they are the same object, as long as they come from one
/// [`Interner`] and were received alike.
#[derive(Clone)]
pub(crate) struct Attributes(Arc<Interned>);

struct Interned {
    octets: Box<[u8]>,
    hash: u64,
    summary: Summary,
    /// What an import filter made this of.
    received: Option<Attributes>,
}

/// What the decision process and export ask of every path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) local_pref: Option<u32>,
    pub(crate) med: Option<u32>,
    /// The leftmost AS; `None` if an AS_SET stands there, or nothing.
    pub(crate) first_as: Option<u32>,
    pub(crate) originator_id: Option<Ipv4Addr>,
    /// Length of AS_PATH as the decision process counts it.
    pub(crate) as_path_length: u32,
    pub(crate) cluster_list_length: u32,
    /// In octets per second.
    pub(crate) link_bandwidth: Option<f32>,
    pub(crate) origin: Origin,
    pub(crate) as_path_is_empty: bool,
    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub(crate) graceful_shutdown: bool,
    /// LLGR_STALE (RFC 9494).
    pub(crate) long_lived_stale: bool,
    /// NO_LLGR (RFC 9494).
    pub(crate) no_long_lived: bool,
    /// NO_ADVERTISE (RFC 1997).
    pub(crate) no_advertise: bool,
    /// NO_EXPORT or NO_EXPORT_SUBCONFED (RFC 1997).
    pub(crate) no_export: bool,
}

impl Summary {
    fn of(value: &PathAttributes) -> Self {
        let has = |community| value.communities.contains(&community);
        let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
        Self {
            local_pref: value.local_pref,
            med: value.med,
            first_as: value.as_path.first_as(),
            originator_id: value.originator_id,
            as_path_length: count(value.as_path.length()),
            cluster_list_length: count(value.cluster_list.len()),
            link_bandwidth: value.extended_communities.iter().find_map(|it| it.link_bandwidth()).map(|it| it.1),
            origin: value.origin,
            as_path_is_empty: value.as_path.is_empty(),
            graceful_shutdown: has(Community::GRACEFUL_SHUTDOWN),
            long_lived_stale: has(Community::LLGR_STALE),
            no_long_lived: has(Community::NO_LLGR),
            no_advertise: has(Community::NO_ADVERTISE),
            no_export: has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED),
        }
    }
}

impl Attributes {
    /// The attributes themselves, made from their octets.
    pub(crate) fn value(&self) -> PathAttributes {
        Block(&self.0.octets).read(FOUR_OCTET_AS)
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.0.summary
    }

    /// ONLY_TO_CUSTOMER (RFC 9234).
    pub(crate) fn otc(&self) -> Option<u32> {
        let octets = Block(&self.0.octets).value(AttributeCode::ONLY_TO_CUSTOMER);
        octets.try_into().ok().map(u32::from_be_bytes)
    }

    /// True if both have the same AS_PATH.
    pub(crate) fn has_as_path_of(&self, other: &Self) -> bool {
        self == other || self.as_path() == other.as_path()
    }

    fn as_path(&self) -> &[u8] {
        Block(&self.0.octets).value(AttributeCode::AS_PATH)
    }

    /// What came from the peer: itself, unless an import filter changed it.
    pub(crate) fn received(&self) -> &Self {
        self.0.received.as_ref().unwrap_or(self)
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
        self.value().fmt(f)
    }
}

/// Keeps one copy of each attribute set in use.
#[derive(Debug)]
pub(crate) struct Interner {
    sets: HashTable<Attributes>,
    hasher: FixedState,
    scratch: Vec<u8>,
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1024;

impl Interner {
    pub(crate) fn new() -> Self {
        Self { sets: HashTable::new(), hasher: FixedState::default(), scratch: Vec::new(), sweep_at: FIRST_SWEEP }
    }

    /// The shared copy of a value.
    pub(crate) fn intern(&mut self, value: &PathAttributes) -> Attributes {
        self.intern_made_of(value, None)
    }

    /// The shared copy of what an import filter made of received attributes.
    pub(crate) fn intern_changed(&mut self, value: &PathAttributes, received: &Attributes) -> Attributes {
        self.intern_made_of(value, Some(received))
    }

    /// The same with LLGR_STALE (RFC 9494 §4.2).
    pub(crate) fn intern_long_lived(&mut self, attributes: &Attributes) -> Attributes {
        if attributes.summary().long_lived_stale {
            return attributes.clone();
        }
        let mut value = attributes.value();
        value.communities.push(Community::LLGR_STALE);
        self.intern_changed(&value, attributes.received())
    }

    fn intern_made_of(&mut self, value: &PathAttributes, received: Option<&Attributes>) -> Attributes {
        let octets = Block::write(value, FOUR_OCTET_AS, None, &mut self.scratch).0;
        if let Some(received) = received.filter(|it| *it.0.octets == *octets) {
            return received.clone();
        }
        let hash = self.hasher.hash_one(octets);
        let same = |it: &Attributes| it.0.hash == hash && it.0.received.as_ref() == received && *it.0.octets == *octets;
        if let Some(found) = self.sets.find(hash, same) {
            return found.clone();
        }
        let (octets, received) = (octets.into(), received.cloned());
        let interned = Attributes(Arc::new(Interned { octets, hash, summary: Summary::of(value), received }));
        if self.sets.len() >= self.sweep_at {
            self.sweep();
        }
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
        let kept = interner.intern(&with(0));
        assert_eq!((kept.value(), kept.summary().med), (with(0), Some(0)));
        assert_eq!(kept, interner.intern(&with(0)));
        assert_ne!(kept, interner.intern(&with(1)));
        for med in 0..10_000 {
            interner.intern(&with(med));
        }
        assert!(interner.len() <= FIRST_SWEEP);
        assert_eq!(kept, interner.intern(&with(0)));
    }
}
