//! Graceful restart from both sides (RFC 4724, RFC 8538), and origin sources that come and go.

use std::time::Duration;

use engine::{Event, Family, OriginAttributes, PerFamily, Prefix, RouteQuery, SessionState, Shutdown, SpeakerConfig};

use super::net::Net;
use super::{address, full_mesh, open_peer, speaker};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn restarted(as_number: u32, number: u8) -> SpeakerConfig {
    SpeakerConfig { restarted: true, forwarding_preserved: PerFamily::new(true, true), ..speaker(as_number, number) }
}

/// Three routers, each with ten prefixes, converged.
fn three(seed: u64) -> (Net, Vec<usize>) {
    let mut net = Net::new(seed);
    let nodes = full_mesh(&mut net, &[65001, 65002, 65003]);
    for node in &nodes {
        originate_ten(&mut net, *node);
    }
    net.run_secs(20);
    assert!(net.nodes.iter().all(|it| it.fib.len() == 20));
    (net, nodes)
}

fn originate_ten(net: &mut Net, node: usize) {
    for number in 0..10 {
        net.originate(node, &format!("10.{node}.{number}.0/24"));
    }
}

fn configure(net: &mut Net, node: usize) {
    for (number, as_number) in [(1u8, 65001), (2, 65002), (3, 65003)] {
        if usize::from(number) != node + 1 {
            net.set_peer(node, open_peer(&format!("n{number}"), &address(number), as_number));
        }
    }
}

#[test]
fn a_killed_speaker_that_comes_back_costs_no_route_anywhere() {
    for seed in 0..20 {
        let (mut net, nodes) = three(seed);
        net.run_secs(100);
        net.kill(nodes[0]);
        net.run_secs(20);
        assert!(net.speaker(nodes[1]).peer("n1").unwrap().helping);
        assert_eq!(net.nodes[nodes[1]].fib.len(), 20);
        net.restart(nodes[0], restarted(65001, 1));
        originate_ten(&mut net, nodes[0]);
        configure(&mut net, nodes[0]);
        net.run_secs(300);
        for node in &nodes {
            assert_eq!(net.nodes[*node].fib.len(), 20, "seed {seed}");
            assert_eq!(net.nodes[*node].removed, [], "seed {seed}, node {node}");
        }
        assert_eq!(
            net.nodes[nodes[0]].swept,
            [Family::Ipv4Unicast, Family::Ipv6Unicast, Family::Ipv4Unicast, Family::Ipv6Unicast]
        );
        let status = net.speaker(nodes[1]).peer("n1").unwrap();
        assert!(!status.helping);
        assert_eq!(status.families[0].stale, 0);
    }
}

#[test]
fn a_planned_shutdown_sends_no_cease_and_peers_keep_the_routes() {
    let (mut net, nodes) = three(1);
    let now = net.instant();
    net.speaker(nodes[0]).shutdown(now, Shutdown::Planned);
    net.run_secs(1);
    net.kill(nodes[0]);
    net.run_secs(10);
    assert_eq!(net.nodes[nodes[1]].removed, []);
    assert!(net.speaker(nodes[1]).peer("n1").unwrap().helping);
}

#[test]
fn an_administrative_shutdown_takes_the_routes_away_at_once() {
    let (mut net, nodes) = three(1);
    let now = net.instant();
    net.speaker(nodes[0]).shutdown(now, Shutdown::Administrative { reason: String::new() });
    net.run_secs(1);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 10);
    assert!(!net.speaker(nodes[1]).peer("n1").unwrap().helping);
}

#[test]
fn a_peer_that_does_not_come_back_loses_its_routes_after_the_restart_time() {
    let (mut net, nodes) = three(1);
    net.kill(nodes[0]);
    net.run_secs(119);
    assert_eq!(net.nodes[nodes[1]].removed, []);
    net.run_secs(2);
    assert_eq!(net.nodes[nodes[1]].removed.len(), 10);
}

#[test]
fn hold_timer_expiry_keeps_the_routes_where_both_know_how() {
    let (mut net, nodes) = three(1);
    net.unplug(nodes[0]);
    net.run_secs(100);
    assert!(net.speaker(nodes[1]).peer("n1").unwrap().helping, "RFC 8538 §4");
    assert_eq!(net.nodes[nodes[1]].removed, []);
}

#[test]
fn a_rebooted_peer_says_that_it_forwards_nothing_and_its_routes_go() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.run_secs(1);
    // No R bit, no F bit: the kernel is new.
    net.restart(nodes[0], speaker(65001, 1));
    configure(&mut net, nodes[0]);
    net.run_secs(20);
    assert_eq!(net.state(nodes[1], "n1"), SessionState::Established);
    assert_eq!(net.nodes[nodes[1]].removed.len(), 10);
}

#[test]
fn what_is_not_announced_again_goes_at_end_of_rib() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.run_secs(1);
    net.restart(nodes[0], restarted(65001, 1));
    configure(&mut net, nodes[0]);
    for number in 0..7 {
        net.originate(nodes[0], &format!("10.0.{number}.0/24"));
    }
    net.run_secs(30);
    let mut removed: Vec<_> = net.nodes[nodes[1]].removed.iter().map(ToString::to_string).collect();
    removed.sort();
    assert_eq!(removed, ["10.0.7.0/24", "10.0.8.0/24", "10.0.9.0/24"]);
}

#[test]
fn end_of_rib_waits_for_the_origin_sources() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.run_secs(1);
    let mut config = restarted(65001, 1);
    config.origin_sources = vec!["felix".to_owned()];
    net.restart(nodes[0], config);
    configure(&mut net, nodes[0]);
    net.run_secs(60);
    assert_eq!(net.nodes[nodes[1]].removed, [], "pod routes stay while felix has not spoken");
    assert!(net.speaker(nodes[1]).peer("n1").unwrap().helping);
    let now = net.instant();
    for number in 0..10 {
        let prefix = prefix(&format!("10.0.{number}.0/24"));
        net.speaker(nodes[0]).originate(now, "felix", prefix, OriginAttributes::new("a block"));
    }
    net.speaker(nodes[0]).origin_in_sync(now, "felix");
    net.run_secs(5);
    assert_eq!(net.nodes[nodes[1]].removed, []);
    assert!(!net.speaker(nodes[1]).peer("n1").unwrap().helping);
}

#[test]
fn one_dead_peer_delays_selection_by_five_seconds_at_most() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002, 65003, 65004, 65005]);
    for node in &nodes {
        originate_ten(&mut net, *node);
    }
    net.run_secs(200);
    net.kill(nodes[4]);
    net.kill(nodes[0]);
    net.run_secs(1);
    net.restart(nodes[0], restarted(65001, 1));
    originate_ten(&mut net, nodes[0]);
    for (number, as_number) in (2..=5u8).zip(65002..) {
        net.set_peer(nodes[0], open_peer(&format!("n{number}"), &address(number), as_number));
    }
    let started = |net: &Net| net.nodes[0].events.iter().any(|it| matches!(it, Event::SelectionStarted { .. }));
    net.establish(&[(nodes[0], "n2")], 20);
    net.run(Duration::from_millis(4500));
    assert!(!started(&net));
    net.run(Duration::from_millis(1000));
    assert!(started(&net));
}

fn sweeps(net: &Net, node: usize) -> usize {
    net.nodes[node].swept.len()
}

#[test]
fn stale_kernel_routes_are_swept_once_every_peer_has_sent_end_of_rib() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.run_secs(1);
    net.nodes[nodes[0]].swept.clear();
    net.restart(nodes[0], restarted(65001, 1));
    configure(&mut net, nodes[0]);
    net.establish(&[(nodes[0], "n2"), (nodes[0], "n3")], 20);
    net.run_secs(1);
    assert_eq!(net.nodes[nodes[0]].swept, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    net.run_secs(200);
    assert_eq!(sweeps(&net, nodes[0]), 2, "once per family");
}

#[test]
fn stale_kernel_routes_stay_while_a_peer_restarts_too() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    for node in [nodes[0], nodes[1]] {
        net.kill(node);
        net.nodes[node].swept.clear();
    }
    net.run_secs(1);
    net.restart(nodes[0], restarted(65001, 1));
    configure(&mut net, nodes[0]);
    net.establish(&[(nodes[0], "n3")], 20);
    net.run_secs(20);
    assert_eq!(sweeps(&net, nodes[0]), 0, "n2 is away");
    let mut config = restarted(65002, 2);
    config.origin_sources = vec!["felix".to_owned()];
    net.restart(nodes[1], config);
    configure(&mut net, nodes[1]);
    net.establish(&[(nodes[0], "n2")], 20);
    net.run_secs(20);
    assert!(!net.speaker(nodes[0]).status().selection_deferred.v4, "selection does not wait for it");
    assert_eq!(sweeps(&net, nodes[0]), 0, "n2 has not said what it has");
    let now = net.instant();
    net.speaker(nodes[1]).origin_in_sync(now, "felix");
    net.run_secs(1);
    assert_eq!(sweeps(&net, nodes[0]), 2);
}

#[test]
fn stale_kernel_routes_stay_until_the_new_ones_are_resolved() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.run_secs(1);
    net.nodes[nodes[0]].swept.clear();
    net.nodes[nodes[0]].silent = true;
    net.restart(nodes[0], restarted(65001, 1));
    configure(&mut net, nodes[0]);
    net.establish(&[(nodes[0], "n2"), (nodes[0], "n3")], 20);
    net.run_secs(60);
    assert_eq!(sweeps(&net, nodes[0]), 0, "the kernel has not said where next hops are");
    net.run_secs(60);
    assert_eq!(sweeps(&net, nodes[0]), 2, "120 s are the limit");
}

#[test]
fn an_absent_peer_puts_the_sweep_off_until_the_limit() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    net.kill(nodes[0]);
    net.kill(nodes[1]);
    net.nodes[nodes[0]].swept.clear();
    net.restart(nodes[0], restarted(65001, 1));
    configure(&mut net, nodes[0]);
    net.run_secs(119);
    assert_eq!(sweeps(&net, nodes[0]), 0);
    net.run_secs(2);
    assert_eq!(sweeps(&net, nodes[0]), 2);
}

#[test]
fn without_any_peer_back_selection_begins_after_the_cap() {
    let mut net = Net::new(1);
    let a = net.add(&address(1), restarted(65001, 1));
    net.set_peer(a, open_peer("gone", &address(9), 65009));
    net.originate(a, "10.1.0.0/16");
    net.run_secs(119);
    assert!(net.speaker(a).status().selection_deferred.v4);
    net.run_secs(2);
    assert!(!net.speaker(a).status().selection_deferred.v4);
    assert_eq!(net.nodes[a].swept, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
}

#[test]
fn a_lost_connection_is_not_a_restart_and_costs_no_route() {
    for seed in 0..20 {
        let (mut net, nodes) = three(seed);
        net.run_secs(100);
        for wire in net.live_wires() {
            net.cut(wire);
        }
        net.run_secs(60);
        for node in &nodes {
            assert_eq!(net.nodes[*node].removed, [], "seed {seed}");
            assert_eq!(net.nodes[*node].fib.len(), 20);
        }
    }
}

#[test]
fn a_peer_that_reconnects_while_we_hold_its_dead_session_is_taken_over() {
    let (mut net, nodes) = three(1);
    net.run_secs(100);
    // The machine loses power: no FIN. It is back before our hold timer ends.
    net.unplug(nodes[0]);
    net.run_secs(5);
    assert_eq!(net.state(nodes[1], "n1"), SessionState::Established);
    net.restart(nodes[0], restarted(65001, 1));
    originate_ten(&mut net, nodes[0]);
    configure(&mut net, nodes[0]);
    net.establish(&[(nodes[0], "n2"), (nodes[0], "n3")], 10);
    net.run_secs(20);
    assert_eq!(net.nodes[nodes[1]].removed, []);
    assert_eq!(net.state(nodes[1], "n1"), SessionState::Established);
    assert_eq!(net.nodes[nodes[0]].fib.len(), 20);
}

#[test]
fn prefixes_of_a_lost_source_stay_for_the_stale_time_and_a_new_stream_replaces_them() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    let now = net.instant();
    for text in ["10.1.0.0/24", "10.1.1.0/24"] {
        net.speaker(nodes[0]).originate(now, "felix", prefix(text), OriginAttributes::new("a block"));
    }
    net.speaker(nodes[0]).origin_in_sync(now, "felix");
    net.run_secs(20);
    let now = net.instant();
    net.speaker(nodes[0]).origin_lost(now, "felix");
    net.run_secs(100);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 2);
    let now = net.instant();
    net.speaker(nodes[0]).origin_connected(now, "felix");
    net.speaker(nodes[0]).originate(now, "felix", prefix("10.1.0.0/24"), OriginAttributes::new("a block"));
    net.speaker(nodes[0]).origin_in_sync(now, "felix");
    net.run_secs(1);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 1);
    let now = net.instant();
    net.speaker(nodes[0]).origin_lost(now, "felix");
    net.run_secs(119);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 1);
    net.run_secs(2);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 0);
}

#[test]
fn attributes_that_change_while_their_source_is_away_do_not_prolong_its_stay() {
    let (mut net, nodes) = three(1);
    let now = net.instant();
    let tagged = |cause: &str| OriginAttributes {
        communities: vec!["65000:1".parse().unwrap()],
        ..OriginAttributes::new(cause)
    };
    net.speaker(nodes[0]).origin_lost(now, "test");
    net.speaker(nodes[0]).set_origin_attributes(now, "test", prefix("10.0.3.0/24"), tagged("a block"));
    net.speaker(nodes[0]).set_origin_attributes(now, "test", prefix("10.99.0.0/24"), tagged("not held"));
    net.run_secs(1);
    let query = RouteQuery { prefix: Some(prefix("10.0.3.0/24")), ..RouteQuery::default() };
    let received = net.speaker(nodes[1]).routes(&query);
    assert_eq!(received[0].attributes.communities, ["65000:1".parse().unwrap()]);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 20, "a prefix that is not held is not announced");
    net.run_secs(120);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 10);
}
