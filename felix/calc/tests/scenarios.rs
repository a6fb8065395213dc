//! Each scenario is a list of states; what is computed for a state must not depend on how it was reached.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::sync::Arc;

use calc::{CalcGraph, Config, Desired, Update};
use resources::AffinityState;
use support::*;

fn graph() -> CalcGraph {
    let mut graph = CalcGraph::new(Config::new(NODE));
    graph.on_update(Update::InSync);
    graph.flush();
    graph
}

fn assert_same(reached: &Desired, told: &Desired, how: &str) {
    assert_eq!(text(reached), text(told), "{how}");
    assert_eq!(reached.routes, told.routes, "{how}");
    assert_eq!(reached.origins, told.origins, "{how}");
    assert_eq!(reached.endpoints, told.endpoints, "{how}");
    assert_eq!(reached.policies, told.policies, "{how}");
    assert_eq!(reached.conditions, told.conditions, "{how}");
}

/// Walks a graph through states; after each the output must be that of a graph that was told the state alone.
fn walk(states: &[State], how: &str) {
    let mut graph = graph();
    let mut before = State::default();
    for (index, state) in states.iter().enumerate() {
        change(&mut graph, &before, state);
        graph.flush();
        assert_same(graph.current().unwrap(), &state.desired(), &format!("{how}, state {index}"));
        before = state.clone();
    }
}

fn reversed(state: &State) -> State {
    let mut state = state.clone();
    state.resources.reverse();
    state.endpoints.reverse();
    state
}

/// Endpoints before resources, one by one with a flush after each, everything told twice.
fn told_piece_by_piece(state: &State, duplicate: bool) -> Arc<Desired> {
    let mut graph = graph();
    let mut updates = state.updates();
    updates.reverse();
    for update in updates {
        for _ in 0..=usize::from(duplicate) {
            graph.on_update(update.clone());
            graph.flush();
        }
    }
    graph.current().unwrap().clone()
}

fn expand(states: &[State]) {
    walk(states, "in order");
    walk(&states.iter().map(reversed).collect::<Vec<_>>(), "objects reversed");
    walk(&states.iter().rev().cloned().collect::<Vec<_>>(), "states reversed");
    let with_empty: Vec<_> = states.iter().flat_map(|state| [state.clone(), State::default()]).collect();
    walk(&with_empty, "empty states between");
    let mut squashed = graph();
    let mut before = State::default();
    for state in states {
        change(&mut squashed, &before, state);
        before = state.clone();
    }
    squashed.flush();
    assert_same(squashed.current().unwrap(), &before.desired(), "squashed");
    for (index, state) in states.iter().enumerate() {
        walk(std::slice::from_ref(state), &format!("state {index} alone"));
        walk(&[state.clone(), State::default()], &format!("state {index} and nothing"));
        let told = state.desired();
        assert_same(&told_piece_by_piece(state, false), &told, &format!("state {index} piece by piece"));
        assert_same(&told_piece_by_piece(state, true), &told, &format!("state {index} duplicated"));
    }
}

fn pods() -> State {
    State::default()
        .with([
            namespace("ops", &[("team", "a")]),
            with_ports(
                pod_manifest("default", "web", &[("app", "web")], &["10.65.0.2"]),
                "[{name: http, containerPort: 8080}]",
            ),
            pod("default", "client", &[("app", "client")], &["10.65.1.2"]),
            pod("ops", "monitor", &[("app", "monitor")], &["10.65.2.2"]),
        ])
        .with_endpoints([endpoint("default", "web", &[], &["10.65.0.2", "fd00::2"])])
}

const FROM_OPS: &str = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: http}]}]}";
const TO_CLIENT: &str = "{policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: client}}}]}]}";

#[test]
fn policies_come_change_and_go() {
    expand(&[
        pods(),
        pods().with([policy("default", "in", FROM_OPS)]),
        pods().with([policy("default", "in", FROM_OPS), policy("default", "out", TO_CLIENT)]),
        pods().with([policy("default", "in", TO_CLIENT), policy("default", "out", FROM_OPS)]),
        pods().with([policy("default", "out", "podSelector: {matchLabels: {app: nobody}}")]),
    ]);
}

#[test]
fn pods_and_namespaces_change_labels_addresses_and_phases() {
    let policies = [policy("default", "in", FROM_OPS), policy("default", "out", TO_CLIENT)];
    let mut relabelled = pods().with(policies.clone());
    relabelled.resources[0] = namespace("ops", &[("team", "b")]);
    relabelled.resources[2] = pod("default", "client", &[("app", "other")], &["10.65.1.2"]);
    let mut moved = pods().with(policies.clone());
    moved.resources[2] = pod("default", "client", &[("app", "client")], &["10.65.1.9", "fd00::9"]);
    let mut finished = pod_manifest("ops", "monitor", &[("app", "monitor")], &["10.65.2.2"]);
    finished.status.phase = "Succeeded".to_owned();
    moved.resources[3] = finished.into();
    let mut unselected = pods().with(policies.clone());
    unselected.resources[1] = pod("default", "web", &[("app", "none")], &["10.65.0.2"]);
    expand(&[pods().with(policies.clone()), relabelled, moved, unselected]);
}

#[test]
fn endpoints_have_manifests_or_not() {
    let policies = [policy("default", "in", FROM_OPS), policy("default", "out", TO_CLIENT)];
    let bare = State::default().with(policies.clone()).with_endpoints([
        endpoint("default", "web", &[("app", "web")], &["10.65.0.2"]),
        endpoint("default", "client", &[("app", "client")], &["10.65.0.3"]),
        endpoint("ops", "monitor", &[], &["10.65.0.4"]),
    ]);
    let mut twice = bare.clone();
    let mut second = endpoint("default", "client", &[("app", "other")], &["10.65.0.7"]);
    second.id.container_id = "second".to_owned();
    second.interface = "calisecond".to_owned();
    twice.endpoints.push(second);
    let manifests = bare
        .clone()
        .with([pod("default", "client", &[("app", "x")], &["10.65.0.99"]), namespace("ops", &[("team", "a")])]);
    expand(&[bare, twice, manifests]);
}

#[test]
fn pools_blocks_and_borrowed_addresses() {
    let base = pods().with([
        pool("default", "10.65.0.0/16", |pool| pool.nat_outgoing = true),
        pool("quiet", "fd00::/64", |pool| pool.disable_bgp_export = true),
        affinity(NODE, "10.65.0.0/26", AffinityState::Confirmed),
        affinity(NODE, "fd00::/122", AffinityState::Confirmed),
        block(Some(NODE), "10.65.0.0/26"),
    ]);
    let mut borrowed = base.clone().with([block(Some("node-b"), "10.65.7.0/26")]);
    borrowed.endpoints.push(endpoint("default", "guest", &[], &["10.65.7.9"]));
    let lost = pods().with([
        pool("default", "10.65.0.0/16", |pool| pool.nat_outgoing = false),
        affinity(NODE, "10.65.0.0/26", AffinityState::PendingDeletion),
        block(Some("node-b"), "10.65.0.0/26"),
    ]);
    expand(&[base, borrowed, lost]);
}

#[test]
fn nothing_is_computed_before_the_datastore_is_in_sync_and_then_even_nothing_is() {
    let mut graph = CalcGraph::new(Config::new(NODE));
    pods().updates().into_iter().for_each(|update| graph.on_update(update));
    assert_eq!(graph.flush(), None);
    graph.on_update(Update::InSync);
    assert_eq!(graph.flush().unwrap().revision, 1);
    assert_eq!(graph.flush(), None);
    let mut empty = CalcGraph::new(Config::new(NODE));
    empty.on_update(Update::InSync);
    assert!(empty.flush().is_some());
}

#[test]
fn what_changes_nothing_is_no_revision_and_what_is_unchanged_is_shared() {
    let mut graph = graph();
    let state = pods().with([policy("default", "in", FROM_OPS)]);
    state.updates().into_iter().for_each(|update| graph.on_update(update));
    let first = graph.flush().unwrap();
    state.updates().into_iter().for_each(|update| graph.on_update(update));
    assert_eq!(graph.flush(), None);
    graph.on_update(Update::Resource(policy("default", "out", TO_CLIENT)));
    let second = graph.flush().unwrap();
    assert_eq!(second.revision, first.revision + 1);
    for (name, set) in &first.ruleset.sets {
        let kept = second.ruleset.sets.get(name).is_some_and(|other| Arc::ptr_eq(set, other));
        assert!(kept || name.as_str() == "from_pod", "{name}");
    }
}

#[test]
fn an_endpoint_never_comes_without_its_policy() {
    let mut graph = graph();
    graph.on_update(Update::Resource(policy("default", "in", FROM_OPS)));
    graph.flush();
    graph.on_update(Update::Endpoint(endpoint("default", "web", &[("app", "web")], &["10.65.0.2"])));
    let desired = graph.flush().unwrap();
    assert!(!connects(&desired, "192.0.2.7", "10.65.0.2", TCP, 8080));
    let view = desired.endpoints.values().next().unwrap();
    assert_eq!(view.ingress.iter().map(ToString::to_string).collect::<Vec<_>>(), ["NetworkPolicy default/in"]);
    assert!(view.egress.is_empty());
}
