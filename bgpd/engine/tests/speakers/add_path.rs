//! ADD-PATH (RFC 7911): several paths to one prefix, sent and received.

use std::collections::{BTreeMap, BTreeSet};

use engine::{AddPath, PeerConfig, RouteQuery, RouteStatus, RouteTable};

use super::net::{Net, NodeId};
use super::{address, open_peer, speaker};

const PREFIX: &str = "203.0.113.0/24";

/// The hub's number; 1 to 3 announce the same prefixes, 5 and 6 hear of them.
const HUB: u8 = 4;

fn peer(number: u8, as_number: u32, add_path: AddPath) -> PeerConfig {
    PeerConfig { add_path, ..open_peer(&format!("n{number}"), &address(number), as_number) }
}

const fn sends(send_max: u16) -> AddPath {
    AddPath { receive: false, send_max }
}

const RECEIVES: AddPath = AddPath { receive: true, send_max: 0 };

/// Three routers with the same prefixes, a hub, and two listeners; the hub sends `send_max` paths to both.
fn star(net: &mut Net, send_max: u16, listeners: [AddPath; 2]) -> Vec<NodeId> {
    let nodes: Vec<NodeId> =
        (1..=6).map(|number| net.add(&address(number), speaker(65000 + u32::from(number), number))).collect();
    for number in 1..=6u8 {
        if number == HUB {
            continue;
        }
        let as_number = 65000 + u32::from(number);
        let (here, there) = match number {
            5 => (listeners[0], sends(send_max)),
            6 => (listeners[1], sends(send_max)),
            _ => (AddPath::default(), AddPath::default()),
        };
        net.set_peer(nodes[usize::from(number) - 1], peer(HUB, 65000 + u32::from(HUB), here));
        net.set_peer(nodes[usize::from(HUB) - 1], peer(number, as_number, there));
    }
    for node in &nodes[..3] {
        net.originate(*node, PREFIX);
    }
    net.run_secs(20);
    nodes
}

fn table(net: &mut Net, node: NodeId, table: RouteTable) -> Vec<RouteStatus> {
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() })
}

fn received(net: &mut Net, node: NodeId) -> Vec<RouteStatus> {
    table(net, node, RouteTable::Received("n4".to_owned()))
}

fn advertised(net: &mut Net, hub: NodeId, peer: &str) -> Vec<RouteStatus> {
    table(net, hub, RouteTable::Advertised(peer.to_owned()))
}

fn paths(routes: &[RouteStatus]) -> BTreeSet<String> {
    routes.iter().map(|route| route.attributes.as_path.to_string()).collect()
}

fn ids(routes: &[RouteStatus]) -> BTreeMap<u32, String> {
    routes.iter().map(|route| (route.path_id, route.attributes.as_path.to_string())).collect()
}

#[test]
fn every_path_reaches_a_peer_that_takes_several_and_the_best_alone_one_that_does_not() {
    let mut net = Net::new(1);
    let nodes = star(&mut net, 8, [RECEIVES, AddPath::default()]);
    let several = received(&mut net, nodes[4]);
    assert_eq!(several.len(), 3);
    assert_eq!(paths(&several), ["65004 65001", "65004 65002", "65004 65003"].map(str::to_owned).into());
    assert_eq!(ids(&several), ids(&advertised(&mut net, nodes[3], "n5")), "both sides show the same identifiers");
    assert!(several.iter().all(|route| route.path_id != 0));
    let one = received(&mut net, nodes[5]);
    assert_eq!(one.iter().map(|it| it.path_id).collect::<Vec<_>>(), [0]);
    assert_eq!(advertised(&mut net, nodes[3], "n6").len(), 1);
    let status = net.speaker(nodes[3]).peer("n5").unwrap();
    assert_eq!(status.families[0].advertised, 3);
}

#[test]
fn one_path_is_withdrawn_without_the_others() {
    let mut net = Net::new(2);
    let nodes = star(&mut net, 8, [RECEIVES, RECEIVES]);
    let before = ids(&received(&mut net, nodes[4]));
    net.withdraw(nodes[0], PREFIX);
    net.run_secs(5);
    let mut expected = before.clone();
    expected.retain(|_, path| path != "65004 65001");
    assert_eq!(expected.len(), 2);
    for listener in [nodes[4], nodes[5]] {
        assert_eq!(ids(&received(&mut net, listener)), expected, "the others keep their identifiers");
    }
    net.originate(nodes[0], PREFIX);
    net.run_secs(5);
    assert_eq!(paths(&received(&mut net, nodes[4])).len(), 3);
    for node in &nodes[..3] {
        net.withdraw(*node, PREFIX);
    }
    net.run_secs(5);
    assert_eq!(received(&mut net, nodes[4]), []);
    assert_eq!(net.speaker(nodes[3]).status().rib_paths.v4, 0);
}

#[test]
fn no_more_paths_are_sent_than_configured_and_the_next_one_moves_up() {
    let mut net = Net::new(3);
    let nodes = star(&mut net, 2, [RECEIVES, RECEIVES]);
    assert_eq!(paths(&received(&mut net, nodes[4])), ["65004 65001", "65004 65002"].map(str::to_owned).into());
    net.withdraw(nodes[0], PREFIX);
    net.run_secs(5);
    assert_eq!(paths(&received(&mut net, nodes[4])), ["65004 65002", "65004 65003"].map(str::to_owned).into());
    net.originate(nodes[0], PREFIX);
    net.run_secs(5);
    assert_eq!(paths(&received(&mut net, nodes[4])), ["65004 65001", "65004 65002"].map(str::to_owned).into());
}

#[test]
fn the_bound_changes_without_a_reset_and_the_direction_with_one() {
    let mut net = Net::new(4);
    let nodes = star(&mut net, 8, [RECEIVES, RECEIVES]);
    net.set_peer(nodes[3], peer(5, 65005, sends(1)));
    net.run_secs(5);
    assert_eq!(paths(&received(&mut net, nodes[4])), ["65004 65001".to_owned()].into());
    net.set_peer(nodes[3], peer(5, 65005, sends(3)));
    net.run_secs(5);
    assert_eq!(received(&mut net, nodes[4]).len(), 3);
    assert_eq!(net.speaker(nodes[3]).peer("n5").unwrap().flaps, 0);
    net.set_peer(nodes[3], peer(5, 65005, AddPath::default()));
    net.run_secs(30);
    assert_eq!(received(&mut net, nodes[4]).len(), 1);
    assert_eq!(net.speaker(nodes[3]).peer("n5").unwrap().flaps, 1);
}

#[test]
fn a_member_that_cannot_read_for_a_while_gets_the_paths_of_the_end() {
    let mut net = Net::new(5);
    let nodes = star(&mut net, 8, [RECEIVES, RECEIVES]);
    net.nodes[nodes[3]].slow.insert(nodes[4]);
    for round in 0..4000u32 {
        net.originate(nodes[0], &format!("10.{}.{}.0/24", round / 256, round % 256));
        net.originate(nodes[1], &format!("10.{}.{}.0/24", round / 256, round % 256));
    }
    net.run_secs(2);
    net.withdraw(nodes[1], PREFIX);
    for round in 0..4000u32 {
        net.withdraw(nodes[0], &format!("10.{}.{}.0/24", round / 256, round % 256));
    }
    net.run_secs(2);
    net.resume(nodes[3]);
    net.run_secs(10);
    let (slow, fast) = (received(&mut net, nodes[4]), received(&mut net, nodes[5]));
    assert_eq!(slow.len(), 4000 + 2);
    let key = |routes: &[RouteStatus]| -> BTreeSet<_> {
        routes.iter().map(|it| (it.prefix, it.path_id, it.attributes.as_path.to_string())).collect()
    };
    assert_eq!(key(&slow), key(&fast));
    assert_eq!(key(&slow), key(&advertised(&mut net, nodes[3], "n5")));
}

#[test]
fn a_refresh_brings_every_path_again_and_costs_none() {
    let mut net = Net::new(6);
    let nodes = star(&mut net, 8, [RECEIVES, RECEIVES]);
    let before = ids(&received(&mut net, nodes[4]));
    let now = net.instant();
    assert!(net.speaker(nodes[4]).request_refresh(now, "n4"));
    net.run_secs(5);
    assert_eq!(ids(&received(&mut net, nodes[4])), before);
    assert_eq!(net.nodes[nodes[4]].removed, []);
}

#[test]
fn a_peer_is_not_told_the_paths_it_announced_itself() {
    let mut net = Net::new(7);
    let nodes = star(&mut net, 8, [RECEIVES, AddPath { receive: true, send_max: 8 }]);
    net.originate(nodes[5], PREFIX);
    net.set_peer(nodes[3], peer(6, 65006, AddPath { receive: true, send_max: 8 }));
    net.run_secs(30);
    assert_eq!(paths(&received(&mut net, nodes[4])).len(), 4, "the other one hears of it");
    let back = paths(&received(&mut net, nodes[5]));
    assert_eq!(back, ["65004 65001", "65004 65002", "65004 65003"].map(str::to_owned).into());
}

#[test]
fn a_client_behind_a_reflector_has_both_next_hops_in_its_kernel() {
    let mut net = Net::new(8);
    let nodes: Vec<NodeId> = (1..=4).map(|number| net.add(&address(number), speaker(65010, number))).collect();
    let both = AddPath { receive: true, send_max: 4 };
    for number in 1..=3u8 {
        net.set_peer(nodes[usize::from(number) - 1], peer(4, 65010, both));
        net.set_peer(nodes[3], PeerConfig { route_reflector_client: true, ..peer(number, 65010, both) });
    }
    for node in &nodes[..2] {
        net.originate(*node, PREFIX);
    }
    net.run_secs(20);
    let routes = received(&mut net, nodes[2]);
    let hops: BTreeSet<String> = routes.iter().filter_map(|it| Some(it.next_hop?.to_string())).collect();
    assert_eq!(hops, [address(1), address(2)].into());
    let mut route = net.route(nodes[2], PREFIX).unwrap();
    route.sort();
    assert_eq!(route, [address(1), address(2)], "both are used");
    // A client hears the other's path, not its own.
    assert_eq!(received(&mut net, nodes[0]).len(), 1);
}

#[test]
fn a_peer_that_does_not_offer_to_receive_is_sent_none_of_it() {
    let mut net = Net::new(9);
    // The listener sends and does not receive: the two offers do not fit together (RFC 7911 §4).
    let nodes = star(&mut net, 8, [sends(4), RECEIVES]);
    assert_eq!(received(&mut net, nodes[4]).iter().map(|it| it.path_id).collect::<Vec<_>>(), [0]);
    assert_eq!(received(&mut net, nodes[5]).len(), 3);
}
