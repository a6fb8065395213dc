//! The decision against a naive reading of RFC 4271 §9.1.2.2, for random candidates in every order.

use std::net::IpAddr;

use proptest::prelude::*;

use super::decision::{Candidate, Decision, Options, decide};
use crate::reason::Step;

fn candidate() -> impl Strategy<Value = Candidate> {
    // Few values each, so that candidates are often equal up to a late step.
    let early = (
        prop::bool::weighted(0.2),
        0..3u32,
        prop::bool::weighted(0.1),
        0..2u32,
        0..2u32,
        0..3u32,
        prop::option::weighted(0.9, 0..3u32),
    );
    let late = (any::<bool>(), prop::option::weighted(0.9, 0..3u32), 0..3u32, 0..2u32, 0..4u8, 0..2u32);
    (early, late).prop_map(
        |((long_lived_stale, local_pref, local, as_path_length, origin, med, neighbour_as), late)| {
            let (external, metric, router_id, cluster_list_length, peer, path_id) = late;
            Candidate {
                long_lived_stale,
                local_pref,
                local,
                as_path_length,
                origin,
                med,
                neighbour_as,
                external,
                metric,
                router_id,
                cluster_list_length,
                peer_address: IpAddr::from([192, 0, 2, peer]),
                path_id,
            }
        },
    )
}

/// Whether `a` is removed because of `b` in a step; nothing but pairs.
type Removes = fn(&Candidate, &Candidate) -> bool;

const STEPS: [(Step, Removes); 12] = [
    (Step::LongLivedStale, |a, b| a.long_lived_stale && !b.long_lived_stale),
    (Step::LocalPref, |a, b| a.local_pref < b.local_pref),
    (Step::LocallyOriginated, |a, b| !a.local && b.local),
    (Step::AsPathLength, |a, b| a.as_path_length > b.as_path_length),
    (Step::Origin, |a, b| a.origin > b.origin),
    (Step::Med, |a, b| a.neighbour_as == b.neighbour_as && a.med > b.med),
    (Step::EbgpOverIbgp, |a, b| !a.external && b.external),
    (Step::IgpMetric, |a, b| a.metric > b.metric),
    (Step::RouterId, |a, b| a.router_id > b.router_id),
    (Step::ClusterListLength, |a, b| a.cluster_list_length > b.cluster_list_length),
    (Step::PeerAddress, |a, b| a.peer_address > b.peer_address),
    (Step::PathId, |a, b| a.path_id > b.path_id),
];

/// Where each candidate falls, `None` for those that never do.
fn naive(candidates: &[Candidate]) -> Vec<Option<Step>> {
    let mut fallen: Vec<Option<Step>> = vec![None; candidates.len()];
    for (step, removes) in STEPS {
        let left: Vec<usize> = (0..candidates.len()).filter(|it| fallen[*it].is_none()).collect();
        if step == Step::IgpMetric && left.iter().any(|it| candidates[*it].metric.is_none()) {
            continue;
        }
        for a in &left {
            if left.iter().any(|b| removes(&candidates[*a], &candidates[*b])) {
                fallen[*a] = Some(step);
            }
        }
    }
    fallen
}

fn steps(decision: &Decision) -> Vec<Option<Step>> {
    decision.losses.iter().map(|loss| loss.map(|it| it.step)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_candidate_falls_in_the_step_that_the_rfc_says(candidates in prop::collection::vec(candidate(), 0..8)) {
        let decision = decide(&candidates, Options::default());
        let expected = naive(&candidates);
        prop_assert_eq!(steps(&decision), expected.clone());
        let best = decision.best;
        prop_assert_eq!(best.is_none(), candidates.is_empty());
        prop_assert!(best.is_none_or(|it| expected[it].is_none()));
        let mut equal = decision.equal;
        equal.sort_unstable();
        let cut: Vec<usize> =
            (0..candidates.len()).filter(|it| expected[*it].is_none_or(Step::is_tie_break)).collect();
        prop_assert_eq!(equal, cut, "the ECMP set is what is left after the cost to the next hop");
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(
        mut candidates in prop::collection::vec(candidate(), 1..8),
        keys in prop::collection::vec(any::<u32>(), 8),
    ) {
        // Peer and path id are the key of a path: no two are the same.
        (0..).zip(&mut candidates).for_each(|(number, it)| it.path_id = number);
        let decision = decide(&candidates, Options::default());
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|it| keys[*it]);
        let shuffled: Vec<Candidate> = order.iter().map(|it| candidates[*it].clone()).collect();
        let other = decide(&shuffled, Options::default());
        let best = |decision: &Decision, of: &[Candidate]| decision.best.map(|it| of[it].clone());
        prop_assert_eq!(best(&decision, &candidates), best(&other, &shuffled));
        let back: Vec<_> = (0..candidates.len()).map(|it| {
            let at = order.iter().position(|from| *from == it).unwrap();
            other.losses[at]
        }).collect();
        prop_assert_eq!(decision.losses, back);
    }
}

fn path(neighbour_as: u32, med: u32, router_id: u32, external: bool) -> Candidate {
    Candidate {
        long_lived_stale: false,
        local_pref: 100,
        local: false,
        as_path_length: 2,
        origin: 0,
        med,
        neighbour_as: Some(neighbour_as),
        external,
        metric: Some(0),
        router_id,
        cluster_list_length: 0,
        peer_address: IpAddr::from([192, 0, 2, 1]),
        path_id: 0,
    }
}

#[test]
fn med_is_compared_within_a_neighbour_as_only() {
    // The classic cycle: a beats b by MED, b beats c and c beats a by router id.
    let candidates = [path(1, 10, 3, true), path(1, 20, 1, true), path(2, 50, 2, true)];
    let decision = decide(&candidates, Options::default());
    assert_eq!(decision.best, Some(2));
    assert_eq!(decision.losses[1].unwrap().to_string(), "lost at Med (20 > 10)");
    let always = decide(&candidates, Options { always_compare_med: true });
    assert_eq!(always.best, Some(0));
}

#[test]
fn the_loss_says_which_values_were_compared() {
    let mut longer = path(1, 0, 1, true);
    longer.as_path_length = 3;
    let decision = decide(&[path(1, 0, 2, true), longer], Options::default());
    assert_eq!(decision.losses[1].unwrap().to_string(), "lost at AsPathLength (3 > 2)");
    let decision = decide(&[path(1, 0, 2, true), path(2, 0, 1, true)], Options::default());
    assert_eq!(decision.losses[0].unwrap().to_string(), "equal cost, lost at RouterId (0.0.0.2 > 0.0.0.1)");
    assert_eq!(decision.equal, [1, 0]);
}
