//! Path Identifiers of what we send (RFC 7911 §3), and places in an Adj-RIB-Out.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;

use crate::prefix::NetPrefix;
use crate::rib::{Path, PeerId, PrefixId, Table};
use crate::wire::Nlri;

/// A place in the Adj-RIB-Out of a group: that of a prefix, or with ADD-PATH that of one path to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OutId(pub(crate) u32);

impl OutId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Place and Path Identifier are the same number but for the offset: 0 is avoided, as it may mean "none" elsewhere.
    const fn path_id(self) -> u32 {
        self.0 + 1
    }
}

impl From<PrefixId> for OutId {
    fn from(id: PrefixId) -> Self {
        Self(id.0)
    }
}

/// A path that has an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    prefix: PrefixId,
    source: PeerId,
    received_id: u32,
}

/// The identifiers of one family, the same towards all peers, so that a peer can move from one group to another. A path
/// keeps its identifier for as long as it lives or anybody may still hold it.
#[derive(Debug, Default)]
pub(crate) struct PathIds {
    numbered: Slab<Numbered>,
    by_prefix: HashMap<PrefixId, Vec<OutId>, FixedState>,
    /// Their paths were gone when last looked at.
    gone: Vec<OutId>,
}

impl PathIds {
    /// The place of a path; a new one if it has none.
    pub(super) fn place(&mut self, prefix: PrefixId, path: &Path) -> OutId {
        let Self { numbered, by_prefix, .. } = self;
        let places = by_prefix.entry(prefix).or_default();
        let known = |id: &&OutId| numbered.get(id.index()).is_some_and(|it| path.is_from(it.source, it.received_id));
        if let Some(found) = places.iter().find(known) {
            return *found;
        }
        let added = numbered.insert(Numbered { prefix, source: path.source, received_id: path.path_id });
        let id = OutId(added as u32);
        places.push(id);
        id
    }

    /// Every place of a prefix.
    pub(crate) fn of(&self, prefix: PrefixId) -> &[OutId] {
        self.by_prefix.get(&prefix).map(Vec::as_slice).unwrap_or_default()
    }

    /// The path at a place, if the prefix still has it.
    pub(crate) fn path<'p>(&self, id: OutId, paths: &'p [Path]) -> Option<&'p Path> {
        let numbered = self.numbered.get(id.index())?;
        paths.iter().find(|path| path.is_from(numbered.source, numbered.received_id))
    }

    /// Notes that the path at a place is gone.
    pub(super) fn note_gone(&mut self, id: OutId) {
        self.gone.push(id);
    }

    /// Frees the places of paths that are gone and that nobody refers to.
    pub(crate) fn sweep<P: NetPrefix>(&mut self, table: &Table<P>, referred: impl Fn(OutId) -> bool) {
        for id in std::mem::take(&mut self.gone) {
            let Some(numbered) = self.numbered.get(id.index()).copied() else { continue };
            let paths = table.get(numbered.prefix).map(|entry| &*entry.paths).unwrap_or_default();
            if self.path(id, paths).is_some() {
                continue;
            }
            if referred(id) {
                self.gone.push(id);
                continue;
            }
            self.numbered.remove(id.index());
            if let Some(places) = self.by_prefix.get_mut(&numbered.prefix) {
                places.retain(|it| *it != id);
                if places.is_empty() {
                    self.by_prefix.remove(&numbered.prefix);
                }
            }
        }
    }

    /// Forgets everything: no peer uses ADD-PATH any more.
    pub(crate) fn clear(&mut self) {
        if !self.numbered.is_empty() {
            *self = Self::default();
        }
    }
}

/// What stands at a place of one group's Adj-RIB-Out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'t, P> {
    pub(super) table: &'t Table<P>,
    /// With ADD-PATH.
    pub(super) paths: Option<&'t PathIds>,
}

impl<P: NetPrefix> Places<'_, P> {
    /// What is written for a place.
    pub(super) fn nlri(&self, id: OutId) -> Option<Nlri<P>> {
        let prefix = |id| self.table.get(id).map(|entry| entry.prefix);
        match self.paths {
            None => prefix(PrefixId(id.0)).map(Nlri::new),
            Some(paths) => {
                let numbered = paths.numbered.get(id.index())?;
                prefix(numbered.prefix).map(|prefix| Nlri::with_path_id(prefix, id.path_id()))
            }
        }
    }

    /// The place of what was written.
    pub(super) fn find(&self, nlri: &Nlri<P>) -> Option<OutId> {
        match nlri.path_id {
            None => self.table.find(&nlri.prefix).map(OutId::from),
            Some(path_id) => path_id.checked_sub(1).map(OutId),
        }
    }
}

/// The Path Identifier of a place.
pub(crate) const fn path_id_of(id: OutId) -> u32 {
    id.path_id()
}
