//! Automatic route reflectors: who reflects for whom.
//!
//! Every node comes to the same result, since it looks at the same resources: nodes are ranked by a hash of their names
//! (rendezvous hashing), and the first of each failure domain come before the second of any. What differs between nodes is
//! when they see a change; docs/topology.md says why no route is lost by that.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use engine::{Instant, PeerKind};
use resources::Reflectors;

/// A node of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// Kubernetes says that it is ready, or says nothing.
    pub(super) ready: bool,
    /// It has an address in every family that any of them has.
    pub(super) reachable: bool,
    /// Value of the label of failure domains, empty without.
    pub(super) domain: String,
}

/// What came out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elected {
    pub(super) reflectors: BTreeSet<String>,
    /// The mesh goes on beside them.
    pub(super) meshed: bool,
}

impl Elected {
    /// What one node is to another; `None`: nothing.
    pub(super) fn role(&self, own: &str, other: &str) -> Option<PeerKind> {
        match (self.reflectors.contains(own), self.reflectors.contains(other)) {
            (_, true) => Some(PeerKind::Reflector),
            (true, false) => Some(PeerKind::Client),
            (false, false) => self.meshed.then_some(PeerKind::Mesh),
        }
    }
}

/// What is remembered from one look at the resources to the next.
#[derive(Debug, Default)]
pub(super) struct Election {
    readiness: BTreeMap<String, Readiness>,
    /// Whether the mesh was wanted; unknown before the first look.
    meshed: Option<bool>,
}

/// A node's readiness, which counts only once it has lasted.
#[derive(Clone, Copy, Debug)]
struct Readiness {
    counts: bool,
    /// Since when Kubernetes says otherwise.
    otherwise_since: Option<Instant>,
}

impl Election {
    /// Looks at the nodes. `None`: the mesh alone.
    pub(super) fn review(
        &mut self,
        now: Instant,
        terms: Option<&Reflectors>,
        mut nodes: Vec<Candidate>,
    ) -> Option<Elected> {
        let Some(terms) = terms else {
            *self = Self { meshed: Some(true), ..Self::default() };
            return None;
        };
        self.settle(now, terms, &mut nodes);
        let count = nodes.len();
        let many = |limit: u32| usize::try_from(limit).is_ok_and(|limit| count > limit);
        // Whoever starts in between cannot know whether there was a mesh: reflectors do without one.
        let meshed = if many(terms.above) { false } else { self.meshed.unwrap_or(false) };
        let none = !many(terms.up_to());
        self.meshed = Some(none || meshed);
        (!none).then(|| Elected { reflectors: elect(&nodes, terms.count.into()), meshed })
    }

    /// Makes readiness what it was until the change has lasted. A node that is new has to prove itself first.
    fn settle(&mut self, now: Instant, terms: &Reflectors, nodes: &mut [Candidate]) {
        let first = self.readiness.is_empty();
        let former = std::mem::take(&mut self.readiness);
        for node in nodes {
            let new = Readiness { counts: first && node.ready, otherwise_since: None };
            let mut readiness = former.get(&node.name).copied().unwrap_or(new);
            let since = readiness.otherwise_since.filter(|_| readiness.counts != node.ready);
            readiness.otherwise_since = (readiness.counts != node.ready).then(|| since.unwrap_or(now));
            if readiness.otherwise_since.is_some_and(|since| since + terms.settle.0 <= now) {
                readiness = Readiness { counts: node.ready, otherwise_since: None };
            }
            node.ready = readiness.counts;
            self.readiness.insert(node.name.clone(), readiness);
        }
    }

    /// When to look again though nothing changes.
    pub(super) fn deadline(&self, terms: &Reflectors) -> Option<Instant> {
        self.readiness.values().filter_map(|it| it.otherwise_since).min().map(|since| since + terms.settle.0)
    }
}

/// The names of `count` nodes. Those that are ready come first; if they are too few, others fill up. When a node comes or
/// goes, at most one other changes its part.
fn elect(nodes: &[Candidate], count: usize) -> BTreeSet<String> {
    let mut ranked: Vec<_> =
        nodes.iter().map(|node| (Reverse((node.reachable, node.ready, weight(&node.name))), node)).collect();
    ranked.sort_by(|one, other| (&one.0, &one.1.name).cmp(&(&other.0, &other.1.name)));
    let mut seen: BTreeMap<(bool, bool, &str), usize> = BTreeMap::new();
    let mut rounds: Vec<_> = ranked
        .into_iter()
        .map(|(rank, node)| {
            let round = seen.entry((node.reachable, node.ready, &node.domain)).or_default();
            *round += 1;
            let Reverse((reachable, ready, weight)) = rank;
            (Reverse((reachable, ready)), *round, Reverse(weight), &node.name)
        })
        .collect();
    rounds.sort();
    rounds.into_iter().take(count).map(|(.., name)| name.clone()).collect()
}

/// A name's place among all names: FNV-1a, mixed as SplitMix64 does. It must never change, since nodes of different
/// versions have to agree.
fn weight(name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
