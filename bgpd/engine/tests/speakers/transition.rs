//! Make before break: a peer that goes takes no route along that another one has.

use std::time::Duration;

use engine::{Event, PeerConfig, PeerKind, RemoteAs, SessionState};

use super::net::Net;
use super::{address, speaker};

const AS: u32 = 64512;
const BOUND: Duration = Duration::from_secs(60);

fn prefix(number: usize) -> String {
    format!("10.65.{number}.0/26")
}

fn peer(number: usize, kind: PeerKind) -> PeerConfig {
    let number = u8::try_from(number).unwrap();
    PeerConfig::new(format!("n{number}"), address(number).parse().unwrap(), RemoteAs::Exactly(AS), kind)
}

/// Nodes 1 to `count` with a prefix each.
fn nodes(net: &mut Net, count: usize) {
    for number in 1..=count {
        let number = u8::try_from(number).unwrap();
        let node = net.add(&address(number), speaker(AS, number));
        net.originate(node, &prefix(number.into()));
        let pools = vec!["10.65.0.0/16".parse().unwrap()];
        let now = net.instant();
        net.speaker(node).set_guards(now, engine::Guards { pools, ..engine::Guards::default() });
    }
}

/// A mesh of `count` nodes whose tables are complete.
fn mesh(net: &mut Net, count: usize) {
    nodes(net, count);
    (1..=count).for_each(|node| turn(net, node, &[]));
    net.run_secs(10);
    assert!(complete(net), "the mesh is complete");
}

/// What `other` is to `number` with these reflectors, or in the mesh without any; `None`: nothing.
fn kind(number: usize, other: usize, reflectors: &[usize]) -> Option<PeerKind> {
    match (reflectors.contains(&number), reflectors.contains(&other)) {
        _ if reflectors.is_empty() => Some(PeerKind::Mesh),
        (_, true) => Some(PeerKind::Reflector),
        (true, false) => Some(PeerKind::Client),
        (false, false) => None,
    }
}

/// A node sees that these are the reflectors from now on.
fn turn(net: &mut Net, number: usize, reflectors: &[usize]) {
    let now = net.instant();
    for other in (1..=net.nodes.len()).filter(|other| *other != number) {
        match kind(number, other, reflectors) {
            Some(kind) => net.speaker(number - 1).set_peer_gently(now, peer(other, kind), BOUND),
            None => net.speaker(number - 1).retire_peer(now, &format!("n{other}"), BOUND),
        }
    }
}

/// All nodes see it, in any order, within some seconds.
fn all_turn(net: &mut Net, reflectors: &[usize]) {
    let mut order: Vec<usize> = (1..=net.nodes.len()).collect();
    for last in (1..order.len()).rev() {
        let other = usize::try_from(net.dice.roll(last as u64 + 1)).unwrap();
        order.swap(last, other);
    }
    for node in order {
        turn(net, node, reflectors);
        let pause = net.dice.roll(4000);
        net.run(Duration::from_millis(pause));
    }
}

/// Every node has the sessions that these reflectors call for and no others, and no route was missing at any time.
fn ensure_turned(net: &mut Net, reflectors: &[usize], when: &str) {
    assert!(complete(net), "{when}: complete");
    let count = net.nodes.len();
    for number in 1..=count {
        let removed = &net.nodes[number - 1].removed;
        assert_eq!(removed, &[], "{when}: routes that node {number} was without for a moment");
        assert_eq!(net.speaker(number - 1).retiring(), Vec::<&str>::new());
        let peers = net.speaker(number - 1).peers();
        assert!(peers.iter().all(|peer| peer.state == SessionState::Established), "{when}: sessions of node {number}");
        let kinds: Vec<_> = peers.iter().map(|peer| (peer.name.to_string(), peer.kind)).collect();
        let others = (1..=count).filter(|other| *other != number);
        let expected = others.filter_map(|other| Some((format!("n{other}"), kind(number, other, reflectors)?)));
        assert_eq!(kinds, expected.collect::<Vec<_>>(), "{when}: peers of node {number}");
    }
}

fn complete(net: &Net) -> bool {
    let all: Vec<usize> = (1..=net.nodes.len()).collect();
    all.iter().all(|here| all.iter().all(|there| here == there || net.route(here - 1, &prefix(*there)).is_some()))
}

#[test]
fn from_mesh_to_reflectors_to_others_and_back_no_node_is_ever_without_a_route_whoever_sees_it_first() {
    for seed in 0..25 {
        let mut net = Net::new(seed);
        mesh(&mut net, 8);
        // All are replaced at once, then some.
        for reflectors in [[2, 5, 6].as_slice(), &[1, 3, 8], &[1, 3, 4], &[]] {
            all_turn(&mut net, reflectors);
            net.run_secs(10);
            net.run(BOUND);
            ensure_turned(&mut net, reflectors, &format!("seed {seed}, to {reflectors:?}"));
        }
    }
}

#[test]
fn a_reflector_that_dies_takes_its_own_routes_along_and_no_others() {
    let mut net = Net::new(9);
    mesh(&mut net, 8);
    all_turn(&mut net, &[2, 5, 6]);
    net.run_secs(80);
    net.unplug(4);
    net.run_secs(200);
    for number in [1, 2, 3, 4, 6, 7, 8] {
        assert_eq!(net.nodes[number - 1].removed, [prefix(5).parse().unwrap()], "node {number}");
    }
    let alive: Vec<usize> = vec![1, 2, 3, 4, 6, 7, 8];
    alive.iter().for_each(|node| turn(&mut net, *node, &[2, 6, 7]));
    net.run_secs(80);
    for number in alive {
        assert_eq!(net.nodes[number - 1].removed.len(), 1, "node {number}");
    }
}

#[test]
fn a_peer_that_has_the_only_path_stays_until_its_time_is_over() {
    let mut net = Net::new(3);
    mesh(&mut net, 3);
    let now = net.instant();
    net.speaker(0).retire_peer(now, "n2", BOUND);
    net.run_secs(55);
    assert_eq!(net.state(0, "n2"), SessionState::Established);
    assert_eq!(net.speaker(0).retiring(), ["n2"]);
    assert!(net.route(0, &prefix(2)).is_some());
    net.run_secs(10);
    assert!(net.speaker(0).peer("n2").is_none());
    assert_eq!(net.route(0, &prefix(2)), None);
    assert_eq!(net.route(1, &prefix(1)), None, "for good: the other side does not keep our routes");
    assert!(net.route(0, &prefix(3)).is_some());
}

#[test]
fn the_side_that_has_not_got_so_far_keeps_the_routes_as_those_of_a_peer_that_restarts() {
    let mut net = Net::new(4);
    mesh(&mut net, 3);
    // Node 3 reflects to node 1, which can let node 2 go; node 2 hears node 1 from nobody else.
    net.set_peer(2, peer(1, PeerKind::Client));
    net.set_peer(0, peer(3, PeerKind::Reflector));
    let now = net.instant();
    net.speaker(1).retire_peer(now, "n3", BOUND);
    net.run_secs(5);
    let now = net.instant();
    net.speaker(0).retire_peer(now, "n2", BOUND);
    net.run_secs(5);
    assert!(net.speaker(0).peer("n2").is_none(), "gone: its route comes by way of node 3");
    assert_eq!(net.route(0, &prefix(2)), Some(vec![address(2)]));
    assert_eq!(net.route(1, &prefix(1)), Some(vec![address(1)]), "kept");
    assert!(net.speaker(1).peer("n1").unwrap().helping);
}

#[test]
fn a_peer_that_is_wanted_again_keeps_its_session() {
    let mut net = Net::new(5);
    mesh(&mut net, 3);
    let now = net.instant();
    net.speaker(0).retire_peer(now, "n2", BOUND);
    net.run_secs(5);
    net.set_peer(0, peer(2, PeerKind::Mesh));
    net.run_secs(120);
    let peer = net.speaker(0).peer("n2").unwrap();
    assert_eq!((peer.state, peer.flaps), (SessionState::Established, 0));
    let down = |event: &Event| matches!(event, Event::SessionDown { established: true, .. });
    assert!(!net.nodes.iter().any(|node| node.events.iter().any(down)));
    assert!(net.nodes.iter().all(|node| node.removed.is_empty()));
}

#[test]
fn a_new_cluster_id_is_on_what_was_reflected_before_and_the_sessions_stay() {
    let mut net = Net::new(6);
    nodes(&mut net, 3);
    for client in [2, 3] {
        net.set_peer(0, peer(client, PeerKind::Client));
        net.set_peer(client - 1, peer(1, PeerKind::Reflector));
    }
    net.run_secs(10);
    let cluster_list = |net: &mut Net| {
        let explained = net.speaker(2).explain(prefix(2).parse().unwrap());
        let lists = explained.iter().flat_map(|it| &it.candidates).map(|it| it.attributes.cluster_list.clone());
        lists.collect::<Vec<_>>()
    };
    assert_eq!(cluster_list(&mut net), [[std::net::Ipv4Addr::new(10, 0, 0, 1)]]);
    let id = std::net::Ipv4Addr::new(224, 0, 0, 1);
    let now = net.instant();
    net.speaker(0).set_cluster_id(now, Some(id));
    net.run_secs(5);
    assert_eq!(cluster_list(&mut net), [[id]]);
    assert_eq!(net.speaker(0).peer("n2").unwrap().flaps, 0);
    assert!(net.nodes.iter().all(|node| node.removed.is_empty()));
}
