//! The decision process (RFC 4271 §9.1.2.2, RFC 4456 §9, RFC 9494 §4.4).
//!
//! MULTI_EXIT_DISC is compared within a neighbour AS only, so "better" is no order: a path can lose to one that is itself
//! eliminated. Each step therefore eliminates from the whole set of candidates, and the result cannot depend on the order
//! in which they came.

use std::net::IpAddr;

use crate::reason::{Loss, Step};

/// What the decision compares of an eligible path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// A last resort (RFC 9494 §4.4).
    pub(crate) long_lived_stale: bool,
    pub(crate) local_pref: u32,
    pub(crate) local: bool,
    pub(crate) as_path_length: u32,
    pub(crate) origin: u32,
    /// Missing is 0.
    pub(crate) med: u32,
    /// Leftmost AS of the path; the local AS for an empty one, `None` if an AS_SET stands there.
    pub(crate) neighbour_as: Option<u32>,
    pub(crate) external: bool,
    /// Cost to the next hop.
    pub(crate) metric: Option<u32>,
    /// ORIGINATOR_ID, else the BGP Identifier of the peer.
    pub(crate) router_id: u32,
    pub(crate) cluster_list_length: u32,
    pub(crate) peer_address: IpAddr,
    pub(crate) path_id: u32,
}

/// Where the RFC leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) always_compare_med: bool,
}

/// The result for a set of candidates, by their index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Decision {
    /// `None` for no candidates.
    pub(crate) best: Option<usize>,
    /// Those of equal cost, the best first, the others in order of the steps behind the ECMP cut.
    pub(crate) equal: Vec<usize>,
    /// Where each candidate lost.
    pub(crate) losses: Vec<Option<Loss>>,
}

struct Elimination<'c> {
    candidates: &'c [Candidate],
    left: Vec<usize>,
    losses: Vec<Option<Loss>>,
}

impl Elimination<'_> {
    /// Keeps the candidates with the lowest value.
    fn lowest<V: Ord>(&mut self, step: Step, value: impl Fn(&Candidate) -> V, shown: impl Fn(&Candidate) -> u32) {
        let Self { candidates, left, losses } = self;
        if left.len() < 2 {
            return;
        }
        let get = |index: &usize| candidates.get(*index);
        let Some(best) = left.iter().filter_map(get).min_by_key(|it| value(it)) else { return };
        let (limit, best_shown) = (value(best), shown(best));
        left.retain(|index| {
            let Some(candidate) = candidates.get(*index) else { return false };
            let keep = value(candidate) <= limit;
            if !keep && let Some(loss) = losses.get_mut(*index) {
                *loss = Some(Loss { step, value: shown(candidate), best: best_shown });
            }
            keep
        });
    }

    fn lowest_number(&mut self, step: Step, value: impl Fn(&Candidate) -> u32 + Copy) {
        self.lowest(step, value, value);
    }

    /// Keeps the lowest MED of each neighbour AS.
    fn lowest_med(&mut self) {
        let Self { candidates, left, losses } = self;
        if left.len() < 2 {
            return;
        }
        let all: Vec<&Candidate> = left.iter().filter_map(|index| candidates.get(*index)).collect();
        left.retain(|index| {
            let Some(candidate) = candidates.get(*index) else { return false };
            let rivals = all.iter().filter(|it| it.neighbour_as == candidate.neighbour_as);
            let best = rivals.map(|it| it.med).min().unwrap_or(candidate.med);
            let keep = candidate.med <= best;
            if !keep && let Some(loss) = losses.get_mut(*index) {
                *loss = Some(Loss { step: Step::Med, value: candidate.med, best });
            }
            keep
        });
    }
}

/// Chooses.
pub(crate) fn decide(candidates: &[Candidate], options: Options) -> Decision {
    let left: Vec<usize> = (0..candidates.len()).collect();
    let mut set = Elimination { candidates, left, losses: vec![None; candidates.len()] };
    set.lowest_number(Step::LongLivedStale, |it| u32::from(it.long_lived_stale));
    set.lowest(Step::LocalPref, |it| u32::MAX - it.local_pref, |it| it.local_pref);
    set.lowest_number(Step::LocallyOriginated, |it| u32::from(!it.local));
    set.lowest_number(Step::AsPathLength, |it| it.as_path_length);
    set.lowest_number(Step::Origin, |it| it.origin);
    if options.always_compare_med {
        set.lowest_number(Step::Med, |it| it.med);
    } else {
        set.lowest_med();
    }
    set.lowest_number(Step::EbgpOverIbgp, |it| u32::from(!it.external));
    if set.left.iter().all(|index| candidates.get(*index).is_some_and(|it| it.metric.is_some())) {
        set.lowest_number(Step::IgpMetric, |it| it.metric.unwrap_or(0));
    }
    let mut equal = set.left.clone();
    equal.sort_by_key(|index| candidates.get(*index).map(tie_break));
    set.lowest_number(Step::RouterId, |it| it.router_id);
    set.lowest_number(Step::ClusterListLength, |it| it.cluster_list_length);
    set.lowest(Step::PeerAddress, |it| it.peer_address, |_| 0);
    set.lowest_number(Step::PathId, |it| it.path_id);
    Decision { best: equal.first().copied(), equal, losses: set.losses }
}

/// The steps behind the ECMP cut are a total order.
fn tie_break(candidate: &Candidate) -> (u32, u32, IpAddr, u32) {
    (candidate.router_id, candidate.cluster_list_length, candidate.peer_address, candidate.path_id)
}
