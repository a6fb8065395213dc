//! The table of one family.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table;
use slab::Slab;

use super::{Attributes, KernelRoute, NextHopId, NextHops, Paths, PeerId, Sources};
use crate::prefix::NetPrefix;
use crate::reason::{Refusal, Why};
use crate::wire::PathAttributes;

/// A prefix in a [`Table`]. Dense, so that other tables can be vectors; used again after its entry is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PrefixId(pub(crate) u32);

impl PrefixId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether the session that a path came on is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Staleness {
    /// It is.
    #[default]
    Fresh,
    /// It was lost, and the peer may be back soon (RFC 4724).
    Stale,
    /// It was lost long ago: the path is a last resort and says so by LLGR_STALE (RFC 9494).
    LongLived,
}

/// What one peer said about one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) source: PeerId,
    /// As received; 0 without ADD-PATH. Source and path id are the key of a path.
    pub(crate) path_id: u32,
    /// In force but for LOCAL_PREF; [`Attributes::received`] has what came from the peer, which is the same unless a filter
    /// changed it. Of a refused path, what came.
    pub(crate) attributes: Attributes,
    /// After import policy; that received, or 0, if the path was refused.
    pub(crate) local_pref: u32,
    /// `None` for our own routes.
    pub(crate) next_hop: Option<NextHopId>,
    pub(crate) why: Why,
    /// In the ECMP set.
    pub(crate) multipath: bool,
    pub(crate) staleness: Staleness,
    /// Not yet announced again in a refresh (RFC 7313).
    pub(crate) unrefreshed: bool,
}

impl Path {
    /// Set by policy and guards; such a path is never a candidate.
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self.why {
            Why::Refused(Refusal::NextHopUnreachable | Refusal::NextHopUnresolved) => None,
            Why::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The attributes that take part in the decision; those received if the path was refused.
    pub(crate) fn in_force(&self) -> PathAttributes {
        let attributes = self.attributes.value();
        if self.refusal().is_some() {
            return attributes;
        }
        PathAttributes { local_pref: Some(self.local_pref), ..attributes }
    }

    pub(crate) const fn is_from(&self, source: PeerId, path_id: u32) -> bool {
        self.source.0 == source.0 && self.path_id == path_id
    }
}

/// The chosen path of a prefix, as exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Best {
    pub(crate) source: PeerId,
    pub(crate) attributes: Attributes,
    pub(crate) local_pref: u32,
    pub(crate) next_hop: Option<NextHopId>,
}

impl Best {
    /// A path as it is exported.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            source: path.source,
            attributes: path.attributes.clone(),
            local_pref: path.local_pref,
            next_hop: path.next_hop,
        }
    }

    /// The attributes with LOCAL_PREF after import policy.
    pub(crate) fn in_force(&self) -> PathAttributes {
        PathAttributes { local_pref: Some(self.local_pref), ..self.attributes.value() }
    }
}

/// Everything about one prefix.
#[derive(Debug)]
pub(crate) struct Entry<P> {
    pub(crate) prefix: P,
    pub(crate) paths: Paths,
    /// Loc-RIB.
    pub(crate) best: Option<Best>,
    /// The kernel route wanted.
    pub(crate) fib: Option<KernelRoute>,
    /// The shell was told of a kernel route.
    pub(crate) fib_told: bool,
    /// The kernel confirmed the route.
    pub(crate) fib_confirmed: bool,
    fib_queued: bool,
    dirty: bool,
    /// On the list of entries that may be empty.
    emptying: bool,
}

/// The entries of one family.
#[derive(Debug)]
pub(crate) struct Table<P> {
    ids: HashTable<PrefixId>,
    hasher: FixedState,
    entries: Slab<Entry<P>>,
    dirty: Vec<PrefixId>,
    fib_queue: VecDeque<PrefixId>,
    emptying: Vec<PrefixId>,
    /// So many of them could not go when they were last looked at.
    referred: usize,
    paths: u32,
    pub(crate) best: u32,
    pub(crate) fib_wanted: u32,
    pub(crate) fib_confirmed: u32,
}

impl<P: NetPrefix> Table<P> {
    pub(crate) fn new() -> Self {
        Self {
            ids: HashTable::new(),
            hasher: FixedState::default(),
            entries: Slab::new(),
            dirty: Vec::new(),
            fib_queue: VecDeque::new(),
            emptying: Vec::new(),
            referred: 0,
            paths: 0,
            best: 0,
            fib_wanted: 0,
            fib_confirmed: 0,
        }
    }

    pub(crate) fn find(&self, prefix: &P) -> Option<PrefixId> {
        let hash = self.hasher.hash_one(prefix);
        self.ids.find(hash, |id| self.entries.get(id.index()).is_some_and(|it| it.prefix == *prefix)).copied()
    }

    fn find_or_add(&mut self, prefix: P) -> PrefixId {
        let Self { ids, hasher, entries, .. } = self;
        let hash = hasher.hash_one(prefix);
        let same = |id: &PrefixId| entries.get(id.index()).is_some_and(|it| it.prefix == prefix);
        let rehash = |id: &PrefixId| entries.get(id.index()).map_or(0, |it| hasher.hash_one(it.prefix));
        match ids.entry(hash, same, rehash) {
            hash_table::Entry::Occupied(found) => *found.get(),
            hash_table::Entry::Vacant(vacant) => {
                let id = PrefixId(entries.vacant_key() as u32);
                vacant.insert(id);
                entries.insert(Entry {
                    prefix,
                    paths: Paths::default(),
                    best: None,
                    fib: None,
                    fib_told: false,
                    fib_confirmed: false,
                    fib_queued: false,
                    dirty: false,
                    emptying: false,
                });
                id
            }
        }
    }

    pub(crate) fn get(&self, id: PrefixId) -> Option<&Entry<P>> {
        self.entries.get(id.index())
    }

    pub(crate) fn get_mut(&mut self, id: PrefixId) -> Option<&mut Entry<P>> {
        self.entries.get_mut(id.index())
    }

    /// All entries in order of their id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PrefixId, &Entry<P>)> {
        self.entries.iter().map(|(index, entry)| (PrefixId(index as u32), entry))
    }

    /// Paths of all peers.
    pub(crate) const fn paths(&self) -> u32 {
        self.paths
    }

    fn mark(entry: &mut Entry<P>, id: PrefixId, dirty: &mut Vec<PrefixId>) {
        if !std::mem::replace(&mut entry.dirty, true) {
            dirty.push(id);
        }
    }

    /// The dirty entries in the order in which they became so; they are clean from now on.
    pub(crate) fn take_dirty(&mut self) -> Vec<PrefixId> {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            if let Some(entry) = self.entries.get_mut(id.index()) {
                entry.dirty = false;
            }
        }
        dirty
    }

    /// Stores a path in place of the former one with the same key. True if there was none.
    pub(crate) fn insert(&mut self, prefix: P, path: Path, sources: &mut Sources, next_hops: &mut NextHops) -> bool {
        let id = self.find_or_add(prefix);
        let Some(entry) = self.entries.get_mut(id.index()) else { return false };
        if let Some(counts) = sources.counts_mut(path.source, P::FAMILY) {
            counts.received += 1;
            counts.rejected += u32::from(path.refusal().is_some());
        }
        if let Some(next_hop) = path.next_hop {
            next_hops.hold(next_hop);
        }
        let former = entry.paths.iter_mut().find(|it| it.is_from(path.source, path.path_id));
        let is_new = former.is_none();
        match former {
            Some(former) => {
                let same = former.attributes == path.attributes
                    && former.local_pref == path.local_pref
                    && former.next_hop == path.next_hop
                    && former.refusal() == path.refusal();
                let (why, multipath) = (former.why, former.multipath);
                let former = std::mem::replace(former, path);
                Self::forget(&former, sources, next_hops);
                if same
                    && let Some(stored) = entry.paths.iter_mut().find(|it| it.is_from(former.source, former.path_id))
                {
                    // Nothing to decide; keep what the last decision said of it.
                    (stored.why, stored.multipath) = (why, multipath);
                    return false;
                }
            }
            None => {
                self.paths += 1;
                entry.paths.push(path);
            }
        }
        Self::mark(entry, id, &mut self.dirty);
        is_new
    }

    fn forget(path: &Path, sources: &mut Sources, next_hops: &mut NextHops) {
        if let Some(counts) = sources.counts_mut(path.source, P::FAMILY) {
            counts.received -= 1;
            counts.rejected -= u32::from(path.refusal().is_some());
            counts.stale -= u32::from(path.staleness > Staleness::Fresh);
        }
        if let Some(next_hop) = path.next_hop {
            next_hops.release(next_hop);
        }
    }

    /// True if the peer has this path in its Adj-RIB-In.
    pub(crate) fn holds(&self, prefix: &P, source: PeerId, path_id: u32) -> bool {
        self.find(prefix)
            .and_then(|id| self.get(id))
            .is_some_and(|entry| entry.paths.iter().any(|path| path.is_from(source, path_id)))
    }

    /// Takes back one path. Nothing happens if it is not there.
    pub(crate) fn remove(
        &mut self,
        prefix: &P,
        source: PeerId,
        path_id: u32,
        sources: &mut Sources,
        next_hops: &mut NextHops,
    ) {
        let Some(id) = self.find(prefix) else { return };
        let Some(entry) = self.entries.get_mut(id.index()) else { return };
        let Some(path) = entry.paths.take(|it| it.is_from(source, path_id)) else { return };
        Self::forget(&path, sources, next_hops);
        self.paths -= 1;
        Self::mark(entry, id, &mut self.dirty);
    }

    /// Takes back every path for which `condemned` holds; returns how many. It may change those that stay.
    pub(crate) fn retain(
        &mut self,
        mut condemned: impl FnMut(&mut Path) -> bool,
        sources: &mut Sources,
        next_hops: &mut NextHops,
    ) -> u32 {
        let Self { entries, dirty, paths, .. } = self;
        let mut removed = 0;
        for (index, entry) in entries.iter_mut() {
            let before = entry.paths.len();
            entry.paths.retain_mut(|path| {
                let goes = condemned(path);
                if goes {
                    Self::forget(path, sources, next_hops);
                }
                !goes
            });
            let gone = (before - entry.paths.len()) as u32;
            if gone > 0 {
                removed += gone;
                Self::mark(entry, PrefixId(index as u32), dirty);
            }
        }
        *paths -= removed;
        removed
    }

    /// Visits every path; those for which `changed` holds have their entries decided again.
    pub(crate) fn revise(&mut self, mut changed: impl FnMut(&P, &mut Path) -> bool) {
        let Self { entries, dirty, .. } = self;
        for (index, entry) in entries.iter_mut() {
            let mut any = false;
            for path in entry.paths.iter_mut() {
                any |= changed(&entry.prefix, path);
            }
            if any {
                Self::mark(entry, PrefixId(index as u32), dirty);
            }
        }
    }

    /// Has the shell told about the kernel route of an entry.
    pub(crate) fn queue_fib(&mut self, id: PrefixId) {
        if let Some(entry) = self.entries.get_mut(id.index())
            && !std::mem::replace(&mut entry.fib_queued, true)
        {
            self.fib_queue.push_back(id);
        }
    }

    /// The next entry whose kernel route changed.
    pub(crate) fn pop_fib(&mut self) -> Option<&mut Entry<P>> {
        let id = self.fib_queue.pop_front()?;
        let entry = self.entries.get_mut(id.index())?;
        entry.fib_queued = false;
        if entry.is_empty() && !std::mem::replace(&mut entry.emptying, true) {
            self.emptying.push(id);
        }
        Some(entry)
    }

    /// Notes that an entry may be empty.
    pub(crate) fn note_empty(&mut self, id: PrefixId) {
        if let Some(entry) = self.entries.get_mut(id.index())
            && entry.is_empty()
            && !std::mem::replace(&mut entry.emptying, true)
        {
            self.emptying.push(id);
        }
    }

    /// Drops empty entries that nobody outside refers to. Those that were referred to are not looked at every time, unless
    /// `all` says that nobody does any more: a slow peer may refer to a whole table.
    pub(crate) fn sweep(&mut self, all: bool, referred: impl Fn(PrefixId) -> bool) {
        let Self { ids, hasher, entries, emptying, .. } = self;
        if !all && emptying.len() <= 2 * self.referred {
            return;
        }
        emptying.retain(|id| {
            let Some(entry) = entries.get_mut(id.index()) else { return false };
            if !entry.is_empty() {
                entry.emptying = false;
                return false;
            }
            if referred(*id) {
                return true;
            }
            if let Ok(found) = ids.find_entry(hasher.hash_one(entry.prefix), |it| it == id) {
                found.remove();
            }
            entries.remove(id.index());
            false
        });
        self.referred = emptying.len();
    }
}

impl<P> Entry<P> {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.best.is_none() && self.fib.is_none() && !self.fib_queued && !self.dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Ipv4Prefix;

    #[test]
    fn a_million_routes_are_less_than_a_hundred_megabytes() {
        assert!(size_of::<Entry<Ipv4Prefix>>() <= 88, "{} octets", size_of::<Entry<Ipv4Prefix>>());
        assert!(size_of::<Path>() <= 40, "{} octets", size_of::<Path>());
    }
}
