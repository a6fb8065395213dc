//! Adj-RIB-Out of an update group: what its members are to be told.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::OutId;
use crate::prefix::Family;
use crate::reason::Withheld;
use crate::rib::PeerId;
use crate::wire::{Block, NextHop, PathAttributes, classic_next_hop};

/// Attributes and next hop as they are written; one object per distinct value in a group, so that the same object means
/// the same octets.
#[derive(Debug, Clone)]
pub(crate) struct Route(Arc<Content>);

#[derive(Debug)]
struct Content {
    octets: Box<[u8]>,
    next_hop: NextHop,
    hash: u64,
}

impl Route {
    pub(crate) fn block(&self) -> Block<'_> {
        Block(&self.0.octets)
    }

    pub(crate) fn next_hop(&self) -> &NextHop {
        &self.0.next_hop
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        // Routes of two groups can be equal without being one object; a member that moves brings such.
        std::ptr::eq(a, b) || (a.hash == b.hash && a.next_hop == b.next_hop && a.octets == b.octets)
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

/// What is told about a prefix, and to whom it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) route: Route,
    /// The peer it was learned from.
    pub(crate) source: PeerId,
    /// The peer whose address is the next hop.
    pub(crate) owner: PeerId,
}

impl Sent {
    pub(crate) fn is_visible_to(&self, peer: PeerId) -> bool {
        self.source != peer && self.owner != peer
    }
}

/// The table by place.
#[derive(Debug)]
pub(crate) struct AdjRibOut {
    slots: Vec<Result<Sent, Withheld>>,
    routes: HashTable<Route>,
    hasher: FixedState,
    scratch: Vec<u8>,
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1024;

impl AdjRibOut {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            routes: HashTable::new(),
            hasher: FixedState::default(),
            scratch: Vec::new(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// The shared copy of a route. `four_octet_as` is that of the group, always the same.
    pub(crate) fn intern(
        &mut self,
        attributes: &PathAttributes,
        next_hop: NextHop,
        family: Family,
        four_octet_as: bool,
    ) -> Route {
        let classic = classic_next_hop(family, &next_hop);
        let octets = Block::write(attributes, four_octet_as, classic, &mut self.scratch).0;
        let hash = self.hasher.hash_one((octets, &next_hop));
        let same = |it: &Route| it.0.hash == hash && it.0.next_hop == next_hop && *it.0.octets == *octets;
        if let Some(found) = self.routes.find(hash, same) {
            return found.clone();
        }
        if self.routes.len() >= self.sweep_at {
            self.routes.retain(|it| Arc::strong_count(&it.0) > 1);
            self.sweep_at = (self.routes.len() * 2).max(FIRST_SWEEP);
        }
        let route = Route(Arc::new(Content { octets: octets.into(), next_hop, hash }));
        self.routes.insert_unique(hash, route.clone(), |it| it.0.hash);
        route
    }

    pub(crate) fn get(&self, id: OutId) -> Result<&Sent, Withheld> {
        self.slots.get(id.index()).map_or(Err(Withheld::NoPath), |slot| slot.as_ref().map_err(|it| *it))
    }

    /// Sets a slot; the former state if that changes what anybody is told.
    pub(crate) fn set(&mut self, id: OutId, new: Result<Sent, Withheld>) -> Option<Option<Sent>> {
        if self.slots.len() <= id.index() {
            if new == Err(Withheld::NoPath) {
                return None;
            }
            self.slots.resize(id.index() + 1, Err(Withheld::NoPath));
        }
        let slot = self.slots.get_mut(id.index())?;
        if *slot == new {
            return None;
        }
        let former = std::mem::replace(slot, new);
        match (former, &*slot) {
            (Err(_), Err(_)) => None,
            (former, _) => Some(former.ok()),
        }
    }

    /// Everything told, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (OutId, &Sent)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.as_ref().ok().map(|sent| (OutId(index as u32), sent)))
    }

    /// Everything told, prefixes of one route next to each other, for full messages.
    pub(crate) fn by_route(&self) -> Vec<OutId> {
        let mut order: HashMap<&Route, usize, FixedState> = HashMap::with_hasher(self.hasher.clone());
        let mut runs: Vec<Vec<OutId>> = Vec::new();
        for (id, sent) in self.iter() {
            let next = runs.len();
            let run = *order.entry(&sent.route).or_insert(next);
            if run == next {
                runs.push(Vec::new());
            }
            if let Some(run) = runs.get_mut(run) {
                run.push(id);
            }
        }
        runs.concat()
    }
}
