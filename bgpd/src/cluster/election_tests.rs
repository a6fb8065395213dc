use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn node(name: &str, domain: &str) -> Candidate {
    Candidate { name: name.to_owned(), ready: true, reachable: true, domain: domain.to_owned() }
}

fn many(count: usize) -> Vec<Candidate> {
    (0..count).map(|number| node(&format!("node-{number}"), "")).collect()
}

fn terms(above: u32, up_to: u32) -> Reflectors {
    let text = format!(r#"{{"above": {above}, "upTo": {up_to}, "settle": "30s"}}"#);
    serde_json::from_str(&text).unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::new(Duration::from_secs(seconds))
}

/// Up to 40 nodes with different names in up to five domains, some of them not ready or not to be reached.
fn cluster() -> impl Strategy<Value = Vec<Candidate>> {
    let node = ("[a-z]{1,6}", 0..5_u8, prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    prop::collection::vec(node, 1..40).prop_map(|nodes| {
        let mut seen = BTreeSet::new();
        let nodes = nodes.into_iter().filter(|(name, ..)| seen.insert(name.clone()));
        let candidate = |(name, domain, ready, reachable): (String, u8, bool, bool)| {
            let domain = format!("zone-{domain}");
            Candidate { name, ready, reachable, domain }
        };
        nodes.map(candidate).collect()
    })
}

proptest! {
    #[test]
    fn the_result_is_the_same_whatever_the_order(nodes in cluster(), count in 1..6_usize, seed in any::<u64>()) {
        let expected = elect(&nodes, count);
        let mut shuffled = nodes;
        shuffled.sort_by_key(|node| weight(&node.name) ^ seed);
        prop_assert_eq!(elect(&shuffled, count), expected);
    }

    #[test]
    fn so_many_are_elected_and_of_those_that_are_best_suited(nodes in cluster(), count in 1..6_usize) {
        let elected = elect(&nodes, count);
        prop_assert_eq!(elected.len(), count.min(nodes.len()));
        let suited = |node: &&Candidate| (node.reachable, node.ready);
        let worst = nodes.iter().filter(|node| elected.contains(&node.name)).map(|node| suited(&node)).min();
        let best = nodes.iter().filter(|node| !elected.contains(&node.name)).map(|node| suited(&node)).max();
        prop_assert!(best.is_none() || worst >= best, "{:?} is left out, {:?} is not", best, worst);
    }

    #[test]
    fn a_node_that_goes_or_comes_moves_at_most_one_other(nodes in cluster(), count in 1..6_usize, which in any::<prop::sample::Index>()) {
        let with = elect(&nodes, count);
        let mut fewer = nodes.clone();
        let gone = fewer.remove(which.index(fewer.len()));
        let without = elect(&fewer, count);
        let stayed: BTreeSet<_> = with.iter().filter(|name| **name != gone.name).cloned().collect();
        prop_assert!(stayed.is_subset(&without), "{stayed:?} {without:?}");
        if !with.contains(&gone.name) {
            prop_assert_eq!(with, without);
        }
    }

    #[test]
    fn a_node_that_is_not_ready_any_more_moves_at_most_one_other(nodes in cluster(), count in 1..6_usize, which in any::<prop::sample::Index>()) {
        let before = elect(&nodes, count);
        let mut changed = nodes.clone();
        let index = which.index(changed.len());
        changed[index].ready = false;
        let after = elect(&changed, count);
        let stayed: BTreeSet<_> = before.iter().filter(|name| **name != changed[index].name).cloned().collect();
        prop_assert!(stayed.is_subset(&after), "{stayed:?} {after:?}");
    }

    #[test]
    fn no_domain_has_two_more_than_another_that_had_one_left(nodes in cluster(), count in 1..8_usize) {
        let nodes: Vec<_> = nodes.into_iter().map(|node| Candidate { ready: true, reachable: true, ..node }).collect();
        let elected = elect(&nodes, count);
        let mut domains: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for node in &nodes {
            let (all, chosen) = domains.entry(&node.domain).or_default();
            *all += 1;
            *chosen += usize::from(elected.contains(&node.name));
        }
        let most = domains.values().map(|it| it.1).max().unwrap_or_default();
        for (domain, (all, chosen)) in domains {
            prop_assert!(chosen == all || chosen + 1 >= most, "{} has {} of {}, another has {}", domain, chosen, all, most);
        }
    }
}

#[test]
fn the_ranking_of_names_is_what_it_always_was() {
    let nodes: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| node(name, "")).collect();
    let mut order = Vec::new();
    for count in 1..=5 {
        let elected = elect(&nodes, count);
        order.extend(elected.into_iter().filter(|name| !order.contains(name)).collect::<Vec<_>>());
    }
    assert_eq!(order.concat(), "ecdba");
}

#[test]
fn the_parts_fall_to_all_nodes_alike() {
    let mut parts = BTreeMap::new();
    for cluster in 0..2000 {
        let nodes: Vec<_> = (0..10).map(|number| node(&format!("cluster-{cluster}-node-{number}"), "")).collect();
        for name in elect(&nodes, 3) {
            *parts.entry(name.rsplit('-').next().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
    }
    assert!(parts.values().all(|times| (500..700).contains(times)), "600 of 2000 each: {parts:?}");
}

#[test]
fn a_count_that_hovers_around_the_threshold_changes_nothing() {
    let mut election = Election::default();
    let terms = terms(10, 7);
    assert_eq!(election.review(at(0), None, many(9)), None);
    let mut meshed = |count| election.review(at(0), Some(&terms), many(count)).map(|it| it.meshed);
    for (count, expected) in [
        (7, None),
        (9, Some(true)),
        (10, Some(true)),
        (11, Some(false)),
        (10, Some(false)),
        (11, Some(false)),
        (8, Some(false)),
        (7, None),
        (8, Some(true)),
        (10, Some(true)),
        (11, Some(false)),
    ] {
        assert_eq!(meshed(count), expected, "{count} nodes");
    }
}

#[test]
fn whoever_starts_between_the_two_counts_takes_reflectors() {
    let elected = Election::default().review(at(0), Some(&terms(10, 7)), many(9)).unwrap();
    assert!(!elected.meshed && elected.reflectors.len() == 3);
}

#[test]
fn readiness_counts_once_it_has_lasted_and_flapping_changes_nothing() {
    let mut election = Election::default();
    let terms = terms(2, 1);
    let all = elect(&many(10), 3);
    let chosen = all.first().unwrap().clone();
    let mut review = |seconds, ready| {
        let nodes = many(10).into_iter().map(|node| Candidate { ready: node.name != chosen || ready, ..node });
        let elected = election.review(at(seconds), Some(&terms), nodes.collect()).unwrap().reflectors;
        (elected.contains(&chosen), election.deadline(&terms))
    };
    assert_eq!(review(0, true), (true, None));
    // It flaps.
    for seconds in (10..100).step_by(20) {
        assert_eq!(review(seconds, false), (true, Some(at(seconds + 30))));
        assert_eq!(review(seconds + 10, true), (true, None));
    }
    // It is gone, and comes back.
    assert_eq!(review(200, false), (true, Some(at(230))));
    assert_eq!(review(229, false), (true, Some(at(230))));
    assert_eq!(review(230, false), (false, None));
    assert_eq!(review(240, true), (false, Some(at(270))));
    assert_eq!(review(270, true), (true, None));
}

#[test]
fn a_new_node_has_to_prove_itself_before_it_reflects() {
    let mut election = Election::default();
    let terms = terms(2, 1);
    let old = many(10);
    let before = election.review(at(0), Some(&terms), old.clone()).unwrap().reflectors;
    // One that ranks before all others.
    let name = (0..).map(|number| format!("new-{number}"));
    let name = name.clone().find(|name| old.iter().all(|node| weight(name) > weight(&node.name))).unwrap();
    let nodes: Vec<_> = old.into_iter().chain([node(&name, "")]).collect();
    assert_eq!(election.review(at(10), Some(&terms), nodes.clone()).unwrap().reflectors, before);
    let after = election.review(at(40), Some(&terms), nodes).unwrap().reflectors;
    assert!(after.contains(&name) && after.intersection(&before).count() == 2, "{after:?}");
}

#[test]
fn roles_are_the_two_sides_of_one_session() {
    let reflectors = BTreeSet::from(["r".to_owned(), "s".to_owned()]);
    for meshed in [false, true] {
        let elected = Elected { reflectors: reflectors.clone(), meshed };
        let mesh = meshed.then_some(PeerKind::Mesh);
        for (own, other, expected) in [
            ("r", "s", Some(PeerKind::Reflector)),
            ("r", "a", Some(PeerKind::Client)),
            ("a", "r", Some(PeerKind::Reflector)),
            ("a", "b", mesh),
        ] {
            assert_eq!(elected.role(own, other), expected, "{own} {other}");
        }
    }
}
