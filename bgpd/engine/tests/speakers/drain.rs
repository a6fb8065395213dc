//! Graceful shutdown (RFC 8326): traffic moves away before the sessions go.

use std::time::Duration;

use engine::wire::Community;
use engine::{DownReason, Event, RouteQuery, RouteStatus, RouteTable, Shutdown};

use super::net::{Net, NodeId};
use super::{address, full_mesh, open_peer, speaker};

const PREFIX: &str = "203.0.113.0/24";

fn advertised(net: &mut Net, node: NodeId, peer: &str) -> Vec<RouteStatus> {
    let table = RouteTable::Advertised(peer.to_owned());
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() })
}

fn drain(net: &mut Net, node: NodeId, on: bool) {
    let now = net.instant();
    net.speaker(node).drain(now, on);
    net.run_secs(5);
}

/// A source (1), two ways to it (2 and 3), and a client (4), all external to each other but 1–4 and 2–3.
fn diamond(net: &mut Net) -> Vec<NodeId> {
    let numbers = [(1, 65001), (2, 65002), (3, 65003), (4, 65004)];
    let nodes: Vec<NodeId> = numbers.iter().map(|(n, asn)| net.add(&address(*n), speaker(*asn, *n))).collect();
    for (one, other) in [(1u8, 2u8), (1, 3), (4, 2), (4, 3)] {
        for (here, there) in [(one, other), (other, one)] {
            let peer = open_peer(&format!("n{there}"), &address(there), 65000 + u32::from(there));
            net.set_peer(nodes[usize::from(here) - 1], peer);
        }
    }
    net.originate(nodes[0], PREFIX);
    net.run_secs(10);
    nodes
}

#[test]
fn traffic_moves_to_the_other_way_before_the_session_ends_and_no_route_is_ever_missing() {
    let mut net = Net::new(1);
    let nodes = diamond(&mut net);
    assert_eq!(net.route(nodes[3], PREFIX), Some(vec![address(2), address(3)]));
    drain(&mut net, nodes[1], true);
    assert_eq!(net.route(nodes[3], PREFIX), Some(vec![address(3)]), "the draining one is the last resort");
    assert_eq!(net.speaker(nodes[3]).peer("n2").unwrap().flaps, 0);
    let now = net.instant();
    net.speaker(nodes[1]).shutdown(now, Shutdown::Administrative { reason: "drained".to_owned() });
    net.run_secs(5);
    assert_eq!(net.route(nodes[3], PREFIX), Some(vec![address(3)]));
    assert_eq!(net.nodes[nodes[3]].removed, []);
    let why = net.nodes[nodes[3]].events.iter().find_map(|event| match event {
        Event::SessionDown { established: true, reason: DownReason::NotificationReceived(it), .. } => Some(it),
        _ => None,
    });
    let why = why.unwrap().to_string();
    assert!(why.contains("Administrative Shutdown") && why.contains("drained"), "{why}");
}

#[test]
fn the_only_way_stays_in_use_while_it_drains() {
    let mut net = Net::new(2);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.originate(nodes[0], PREFIX);
    net.run_secs(10);
    drain(&mut net, nodes[0], true);
    assert_eq!(net.route(nodes[1], PREFIX), Some(vec![address(1)]));
    let routes = advertised(&mut net, nodes[0], "n2");
    assert_eq!(routes[0].attributes.communities, [Community::GRACEFUL_SHUTDOWN]);
    assert_eq!(routes[0].attributes.local_pref, None, "LOCAL_PREF is for internal peers");
    assert!(net.speaker(nodes[0]).status().draining);
}

#[test]
fn internal_peers_are_told_the_lowest_local_pref_and_taking_it_back_restores_what_was() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65001]);
    net.originate(nodes[0], PREFIX);
    net.run_secs(10);
    let before = advertised(&mut net, nodes[0], "n2")[0].attributes.clone();
    drain(&mut net, nodes[0], true);
    let during = advertised(&mut net, nodes[0], "n2")[0].attributes.clone();
    assert_eq!((during.local_pref, &*during.communities), (Some(0), &[Community::GRACEFUL_SHUTDOWN][..]));
    drain(&mut net, nodes[0], false);
    assert_eq!(advertised(&mut net, nodes[0], "n2")[0].attributes, before);
    assert_eq!(net.speaker(nodes[1]).peer("n1").unwrap().flaps, 0);
}

#[test]
fn a_reflector_that_drains_leaves_alone_what_does_not_lead_through_it() {
    let mut net = Net::new(4);
    let nodes: Vec<NodeId> = (1..=3).map(|number| net.add(&address(number), speaker(65010, number))).collect();
    for client in [1u8, 2] {
        net.set_peer(nodes[usize::from(client) - 1], open_peer("n3", &address(3), 65010));
        let mut peer = open_peer(&format!("n{client}"), &address(client), 65010);
        peer.route_reflector_client = true;
        net.set_peer(nodes[2], peer);
    }
    net.originate(nodes[0], PREFIX);
    net.originate(nodes[2], "198.51.100.0/24");
    net.run_secs(10);
    drain(&mut net, nodes[2], true);
    let prefs: Vec<_> = advertised(&mut net, nodes[2], "n2").iter().map(|it| it.attributes.local_pref).collect();
    assert_eq!(prefs, [Some(0), Some(100)], "its own prefix, then the reflected one");
}

#[test]
fn a_session_that_comes_up_while_draining_is_told_too() {
    let mut net = Net::new(5);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.originate(nodes[0], PREFIX);
    drain(&mut net, nodes[0], true);
    net.run(Duration::from_secs(10));
    assert_eq!(advertised(&mut net, nodes[0], "n2")[0].attributes.communities, [Community::GRACEFUL_SHUTDOWN]);
}
