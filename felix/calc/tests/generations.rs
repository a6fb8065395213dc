//! When the generation rises: whenever a permission is taken away, and never else.

mod support;

use calc::{CalcGraph, Config, Update, generation_of, next_generation};
use nft::{ConnectionState, Direction, Outcome, verdict};
use support::*;

const RULE: &str = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}]}";

fn base() -> State {
    State::default()
        .with([pod("default", "client", &[("app", "client")], &["10.65.1.2"]), policy("default", "p", RULE)])
        .with_endpoints([endpoint("default", "web", &[("app", "web")], &["10.65.0.2"])])
}

/// Whether going from one state to the other raises the generation.
fn rises(from: &State, to: &State) -> bool {
    let mut graph = CalcGraph::new(Config::new(NODE));
    change(&mut graph, &State::default(), from);
    graph.on_update(Update::InSync);
    graph.flush();
    change(&mut graph, from, to);
    graph.flush();
    graph.current().is_some_and(|desired| desired.generation != 1)
}

fn with_rule(spec: &str) -> State {
    let mut state = base();
    state.resources[1] = policy("default", "p", spec);
    state
}

#[test]
fn what_only_adds_permissions_does_not_raise_it() {
    let both = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}, {port: 443}]}]}";
    let more_rules = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}";
    let more_blocks = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]}";
    let no_ports =
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
    assert!(!rises(&base(), &with_rule(both)), "a port");
    assert!(!rises(&base(), &with_rule(more_rules)), "a rule");
    assert!(!rises(&with_rule(more_rules), &with_rule(more_blocks)), "a network");
    assert!(!rises(&base(), &with_rule(no_ports)), "every port");
    assert!(!rises(&base(), &with_rule("{podSelector: {matchLabels: {app: web}}, ingress: [{}]}")), "everything");
    let peer = pod("default", "other", &[("app", "client")], &["10.65.1.3"]);
    assert!(!rises(&base(), &base().with([peer])), "a peer");
    assert!(!rises(&base(), &base().with([policy("default", "q", RULE)])), "another policy that also allows");
    let another = endpoint("default", "new", &[("app", "web")], &["10.65.0.3"]);
    assert!(!rises(&base(), &base().with_endpoints([another])), "an endpoint");
    let mut open = base();
    open.resources.truncate(1);
    assert!(!rises(&base(), &open), "no policy any more");
}

#[test]
fn what_takes_a_permission_away_raises_it() {
    let mut open = base();
    open.resources.truncate(1);
    assert!(rises(&open, &base()), "a first policy");
    let mut lonely = base();
    lonely.resources.remove(0);
    assert!(rises(&base(), &lonely), "a peer less");
    assert!(rises(&base(), &with_rule("podSelector: {matchLabels: {app: web}}")), "a rule less");
    let narrower = RULE.replace("port: 80", "port: 81");
    assert!(rises(&base(), &with_rule(&narrower)), "another port");
    let two = base().with([policy("default", "q", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}")]);
    assert!(rises(&two, &base()), "a policy less");
    let mut relabelled = base().with([policy("default", "q", "podSelector: {matchLabels: {app: other}}")]);
    relabelled.endpoints[0].labels = labels(&[("app", "other")]);
    assert!(rises(&base(), &relabelled), "another group");
    let blocks = |list: &str| {
        with_rule(&format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{list}]}}]}}"))
    };
    let hole = "{ipBlock: {cidr: 10.0.0.0/8, except: [10.65.0.0/16]}}";
    assert!(rises(&blocks("{ipBlock: {cidr: 10.0.0.0/8}}"), &blocks(hole)), "a hole");
    assert!(!rises(&blocks(hole), &blocks("{ipBlock: {cidr: 10.0.0.0/8}}")), "no hole any more");
}

#[test]
fn an_open_connection_that_is_no_longer_allowed_is_cut_in_both_directions() {
    let mut graph = CalcGraph::new(Config::new(NODE));
    change(&mut graph, &State::default(), &base());
    graph.on_update(Update::InSync);
    let first = graph.flush().unwrap();
    let mut request = packet(&first, "10.65.1.2", "10.65.0.2", TCP, 80);
    let opened = verdict(&first.ruleset, &request);
    assert_eq!(opened.outcome, Outcome::Accepted);
    request.conntrack.mark = opened.packet.conntrack.mark;
    request.conntrack.state = ConnectionState::Established;
    assert_eq!(verdict(&first.ruleset, &request).steps.len(), 1, "judged once");

    let reply = |mark| {
        let mut reply = packet(&first, "10.65.0.2", "10.65.1.2", TCP, 40_000);
        reply.conntrack = nft::Conntrack { state: ConnectionState::Established, direction: Direction::Reply, mark };
        reply
    };
    assert!(passes(&first.ruleset, &reply(request.conntrack.mark)));
    graph.on_update(Update::Deleted(resources::Key::namespaced(resources::Kind::Pod, "default", "client")));
    let second = graph.flush().unwrap();
    let judged = verdict(&second.ruleset, &request);
    assert_eq!(judged.outcome, Outcome::Dropped);
    assert!(!passes(&second.ruleset, &reply(judged.packet.conntrack.mark)));
    graph.on_update(Update::Resource(pod("default", "client", &[("app", "client")], &["10.65.1.2"])));
    let third = graph.flush().unwrap();
    request.conntrack.mark = judged.packet.conntrack.mark;
    assert!(!passes(&third.ruleset, &request), "cut is cut");
    assert!(connects(&third, "10.65.1.2", "10.65.0.2", TCP, 80), "a new one is allowed");
}

#[test]
fn a_held_generation_rises_once_when_it_is_let_go() {
    let mut graph = CalcGraph::new(Config::new(NODE));
    change(&mut graph, &State::default(), &base());
    graph.on_update(Update::InSync);
    graph.flush();
    graph.hold_generation(true);
    for spec in ["podSelector: {matchLabels: {app: web}}", "policyTypes: [Ingress, Egress]"] {
        graph.on_update(Update::Resource(policy("default", "p", spec)));
        assert_eq!(graph.flush().unwrap().generation, 1);
        assert!(graph.is_generation_due());
    }
    assert_eq!(graph.flush(), None);
    graph.hold_generation(false);
    assert_eq!(graph.flush().unwrap().generation, 2);
    assert!(!graph.is_generation_due());
    assert_eq!(graph.flush(), None);
}

#[test]
fn the_counter_has_15_bits_and_leaves_zero_out() {
    assert_eq!(next_generation(1), 2);
    assert_eq!(next_generation(0x7ffe), 0x7fff);
    assert_eq!(next_generation(0x7fff), 1);
    let mut graph = CalcGraph::new(Config { generation: 0, ..Config::new(NODE) });
    graph.on_update(Update::InSync);
    assert_eq!(graph.flush().unwrap().generation, 1);
}

#[test]
fn a_restarted_graph_goes_on_with_what_the_kernel_has() {
    let state = base();
    let mut first = CalcGraph::new(Config { generation: 77, ..Config::new(NODE) });
    change(&mut first, &State::default(), &state);
    first.on_update(Update::InSync);
    let kernel = first.flush().unwrap().ruleset.clone();
    assert_eq!(generation_of(&kernel), Some(77));

    let restarted = |state: &State| {
        let mut graph = CalcGraph::new(Config::new(NODE));
        graph.resume(&kernel);
        change(&mut graph, &State::default(), state);
        graph.on_update(Update::InSync);
        graph.flush().unwrap()
    };
    let same = restarted(&state);
    assert_eq!(same.generation, 77);
    assert!(nft::diff(&kernel, &same.ruleset).is_empty());
    let mut lonely = state.clone();
    lonely.resources.remove(0);
    assert_eq!(restarted(&lonely).generation, 78);
}

#[test]
fn a_rise_that_was_held_when_the_agent_died_is_made_up_for_by_the_next_one() {
    let mut first = CalcGraph::new(Config::new(NODE));
    change(&mut first, &State::default(), &base());
    first.on_update(Update::InSync);
    first.flush();
    first.hold_generation(true);
    let closed = with_rule("podSelector: {matchLabels: {app: web}}");
    change(&mut first, &base(), &closed);
    let kernel = first.flush().unwrap().ruleset.clone();
    let mut second = CalcGraph::new(Config::new(NODE));
    second.resume(&kernel);
    change(&mut second, &State::default(), &closed);
    second.on_update(Update::InSync);
    assert_eq!(second.flush().unwrap().generation, 2);
}
