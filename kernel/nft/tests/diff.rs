//! Changes lead from any ruleset to any other, and are never more than needed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

mod support;

use std::sync::Arc;

use nft::{Chain, Change, Data, Datatype, Element, Field, Name, Rule, Ruleset, Set, Statement, Verdict, diff, stages};
use proptest::prelude::*;
use support::{apply, v4};

fn names(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// Addresses of a small pool, so that two rulesets have some in common.
fn members() -> impl Strategy<Value = Set> {
    (prop::collection::btree_set(0u8..12, 0..6), any::<bool>(), any::<bool>()).prop_map(|(members, interval, sized)| {
        let kind = [Datatype::Ipv4Addr];
        let mut set = if interval { Set::intervals(kind) } else { Set::of(kind) };
        set.size = sized.then_some(100);
        set.with_members(members.into_iter().map(|n| v4(&format!("10.0.0.{}", n * 2))))
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Accept), Just(Verdict::goto("leaf0")), Just(Verdict::goto("leaf1"))]
}

fn map() -> impl Strategy<Value = Set> {
    prop::collection::btree_map(0u8..6, verdict(), 0..5).prop_map(|entries| {
        let entries = entries.into_iter().map(|(n, verdict)| (Element::ifname(&format!("cali{n}")), verdict));
        Set::verdict_map([Datatype::Ifname]).with_entries(entries)
    })
}

/// Rules that look into the sets of the pool.
fn rules(sets: &'static [&'static str]) -> impl Strategy<Value = Vec<Rule>> {
    let rule = (prop::sample::select(sets), any::<bool>()).prop_map(|(set, accept)| {
        Rule::new([Field::Ip4Saddr.within_set(set), if accept { Statement::accept() } else { Statement::drop() }])
    });
    prop::collection::vec(rule, 0..4)
}

prop_compose! {
    fn ruleset()(
        sets in prop::collection::vec(members(), 2),
        dispatch in map(),
        has_map in any::<bool>(),
        leaves in prop::collection::vec(rules(&["s0", "s1"]), 2),
        base in rules(&["s0", "s1"]),
        hook in 0usize..3,
    ) -> Ruleset {
        let mut ruleset = Ruleset::default();
        for (index, set) in sets.into_iter().enumerate() {
            ruleset.add_set(format!("s{index}"), set);
        }
        for (index, rules) in leaves.into_iter().enumerate() {
            ruleset.add_chain(format!("leaf{index}"), Chain::new(rules));
        }
        let mut rules = base;
        if has_map {
            ruleset.add_set("dispatch", dispatch);
            rules.push(Rule::new([Field::Iifname.vmap("dispatch")]));
        }
        let hook = [nft::Hook::Forward, nft::Hook::Input, nft::Hook::Forward][hook];
        ruleset.add_chain("base", Chain::base(nft::Base::filter(hook, 0), rules));
        ruleset
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_applied_to_what_is_give_what_shall_be(actual in ruleset(), desired in ruleset()) {
        prop_assert_eq!(apply(&actual, &diff(&actual, &desired)), desired);
    }

    #[test]
    fn stages_one_after_the_other_give_what_shall_be(actual in ruleset(), desired in ruleset()) {
        let stages = stages(&actual, &desired);
        prop_assert!(stages.iter().all(|changes| !changes.is_empty()));
        let result = stages.iter().fold(actual, |ruleset, changes| apply(&ruleset, changes));
        prop_assert_eq!(result, desired);
    }

    #[test]
    fn equal_rulesets_differ_in_nothing(ruleset in ruleset()) {
        let copy = apply(&Ruleset::default(), &diff(&Ruleset::default(), &ruleset));
        prop_assert_eq!(diff(&copy, &ruleset), []);
        prop_assert_eq!(diff(&ruleset, &ruleset.clone()), []);
    }

    #[test]
    fn everything_can_be_taken_down(ruleset in ruleset()) {
        prop_assert_eq!(apply(&ruleset, &diff(&ruleset, &Ruleset::default())), Ruleset::default());
    }

    #[test]
    fn one_new_element_is_one_change(ruleset in ruleset()) {
        let mut desired = ruleset.clone();
        let mut set = (*desired.sets["s0"]).clone();
        let new = Element::from(v4("10.9.9.9"));
        set.insert(new.clone());
        desired.add_set("s0", set);
        let changes = diff(&ruleset, &desired);
        let [Change::AddElements { name, elements, .. }] = changes.as_slice() else {
            return Err(TestCaseError::fail(format!("{:?}", names(&changes))));
        };
        prop_assert_eq!(name.as_str(), "s0");
        prop_assert_eq!(elements.keys().collect::<Vec<_>>(), [&new]);
        prop_assert_eq!(names(&diff(&desired, &ruleset)), ["delete 1 elements of s0"]);
    }
}

#[test]
fn all_steps_between_the_layouts_can_be_applied() {
    let mut rulesets = vec![Ruleset::default(), support::policy(), support::services()];
    rulesets.extend(support::kinds());
    for actual in &rulesets {
        for desired in &rulesets {
            assert_eq!(apply(actual, &diff(actual, desired)), *desired);
        }
    }
}

#[test]
fn another_verdict_is_a_deletion_and_an_addition() {
    let actual = support::policy();
    let mut desired = actual.clone();
    let mut map = (*actual.sets["to_pod"]).clone();
    map.set(Element::ifname("cali0"), Verdict::Drop);
    desired.add_set("to_pod", map);
    assert_eq!(names(&diff(&actual, &desired)), ["delete 1 elements of to_pod", "add 1 elements to to_pod"]);
}

#[test]
fn an_interface_is_led_to_a_chain_that_is_there_and_away_from_one_that_is_kept_until_then() {
    let mut actual = support::policy();
    let from = |set: &str| Rule::new([Field::Ip4Saddr.within_set(set), Statement::accept()]);
    actual.add_set("a", Set::of([Datatype::Ipv4Addr]).with_members([v4("10.0.0.1")]));
    actual.add_chain("old", Chain::new([from("a")]));
    let mut map = (*actual.sets["to_pod"]).clone();
    map.set(Element::ifname("cali0"), Verdict::goto("old"));
    actual.add_set("to_pod", map.clone());
    let mut desired = actual.clone();
    desired.chains.remove(&Name::from("old"));
    desired.sets.remove(&Name::from("a"));
    desired.add_chain("new", Chain::new([Rule::new([Statement::drop()])]));
    map.set(Element::ifname("cali0"), Verdict::goto("new"));
    desired.add_set("to_pod", map);
    let stages: Vec<_> = stages(&actual, &desired).iter().map(|changes| names(changes)).collect();
    assert_eq!(
        stages,
        [
            vec!["add chain new", "add 1 rules to chain new"],
            vec!["delete 1 elements of to_pod", "add 1 elements to to_pod"],
            vec!["flush chain old", "delete set a", "delete chain old"],
        ]
    );
}

#[test]
fn one_more_interface_of_a_known_chain_is_one_transaction() {
    let actual = support::policy();
    let mut desired = actual.clone();
    let mut map = (*actual.sets["to_pod"]).clone();
    map.set(Element::ifname("cali77"), Verdict::goto("deny"));
    desired.add_set("to_pod", map);
    assert_eq!(stages(&actual, &desired).len(), 1);
    assert_eq!(stages(&desired, &actual).len(), 1);
    assert_eq!(stages(&desired, &desired.clone()), Vec::<Vec<Change>>::new());
}

#[test]
fn a_chain_that_got_longer_has_its_new_rules_appended() {
    let actual = support::policy();
    let mut desired = actual.clone();
    let mut chain = (*actual.chains["spoof"]).clone();
    chain.rules.push(Rule::new([Statement::accept()]));
    desired.add_chain("spoof", chain.clone());
    assert_eq!(names(&diff(&actual, &desired)), ["add 1 rules to chain spoof"]);
    chain.rules.remove(0);
    desired.add_chain("spoof", chain);
    assert_eq!(names(&diff(&actual, &desired)), ["flush chain spoof", "add 4 rules to chain spoof"]);
}

#[test]
fn chains_come_before_the_elements_and_rules_that_enter_them() {
    let changes = diff(&Ruleset::default(), &support::policy());
    let last = |wanted: fn(&Change) -> bool| changes.iter().rposition(wanted).unwrap();
    let first = |wanted: fn(&Change) -> bool| changes.iter().position(wanted).unwrap();
    let is_dispatch = |change: &Change| matches!(change, Change::AddElements { elements, .. } if elements.values().any(|data| matches!(data, Some(Data::Verdict(_)))));
    assert_eq!(changes[0], Change::AddTable);
    assert!(
        last(|change| matches!(change, Change::AddSet { .. }))
            < first(|change| matches!(change, Change::AddChain { .. }))
    );
    assert!(
        last(|change| matches!(change, Change::AddChain { .. }))
            < first(|change| matches!(change, Change::AddElements { .. }))
    );
    assert!(last(|change| matches!(change, Change::AddRules { .. })) < first(is_dispatch));
}

#[test]
fn the_same_allocation_is_not_compared() {
    // Not equal to itself would show: a shared set whose elements differ cannot be made, so a shared chain stands in.
    let actual = support::policy();
    let desired = actual.clone();
    assert!(actual.chains.values().zip(desired.chains.values()).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!(diff(&actual, &desired), []);
}

#[test]
fn elements_of_dynamic_sets_are_left_to_the_kernel() {
    let actual = support::services();
    let mut desired = actual.clone();
    let mut dynamic = (*actual.sets["aff4"]).clone();
    dynamic.elements = Arc::new([(Element::from(v4("10.0.0.1")), None)].into());
    desired.add_set("aff4", dynamic);
    assert_eq!(diff(&actual, &desired), []);
    assert_eq!(diff(&desired, &actual), []);
}

#[test]
fn ranges_that_overlap_or_touch_are_merged() {
    let networks = ["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "11.0.0.0/8", "192.168.0.0/24", "255.255.255.255/32"];
    let set = Set::intervals([Datatype::Ipv4Addr])
        .with_members(networks.map(|network| Element::network(network.parse().unwrap())))
        .merge_ranges();
    let expected = [
        Element::network("10.0.0.0/7".parse().unwrap()),
        Element::network("192.168.0.0/24".parse().unwrap()),
        v4("255.255.255.255").into(),
    ];
    assert_eq!(set.elements.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn names_sort_as_text() {
    assert!(Name::from("a") < Name::from("b"));
}
