//! Routes: from one speaker to the next, reflected, refused, withheld.

use std::net::IpAddr;

use engine::wire::{Community, MessageKind, frame};
use engine::{
    Event, Guards, OriginAttributes, PeerConfig, PeerKind, Prefix, Refusal, RemoteAs, RouteQuery, RouteTable,
    SpeakerConfig, Step, Why, Withheld,
};

use super::net::{Net, NodeId};
use super::{address, full_mesh, open_peer, speaker};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// UPDATEs that one node sent to another.
fn updates(net: &Net, from: NodeId, to: NodeId) -> usize {
    let mut count = 0;
    for bytes in net.nodes[from].sent.get(&to).into_iter().flatten() {
        let mut rest = &bytes[..];
        while let Ok(Some(message)) = frame(rest, 65535) {
            count += usize::from(message.kind == MessageKind::Update);
            rest = &rest[message.length..];
        }
    }
    count
}

fn withheld(net: &mut Net, node: NodeId, text: &str, peer: &str) -> Option<Withheld> {
    let explanation = net.speaker(node).explain(prefix(text)).expect("the prefix is known");
    explanation.withheld.iter().find(|it| *it.0 == *peer).map(|it| it.1)
}

/// Nodes of one cluster: a mesh with pools.
fn cluster(net: &mut Net, count: u8) -> Vec<NodeId> {
    let guards = |own: u8| Guards {
        pools: vec![prefix("10.65.0.0/16"), prefix("fd00:65::/48")],
        own_blocks: vec![prefix(&format!("10.65.{own}.0/26"))],
        own_addresses: vec![address(own).parse().unwrap()],
        node_addresses: (1..=count).filter(|it| *it != own).map(|it| address(it).parse().unwrap()).collect(),
        service_prefixes: vec![prefix("10.96.0.0/12")],
        ..Guards::default()
    };
    let mut nodes = Vec::new();
    for number in 1..=count {
        let mut config = speaker(64512, number);
        config.calico_local_pref = true;
        nodes.push(net.add(&address(number), config));
        let now = net.instant();
        net.speaker(nodes[nodes.len() - 1]).set_guards(now, guards(number));
    }
    nodes
}

fn mesh_peer(number: u8, kind: PeerKind) -> PeerConfig {
    PeerConfig::new(format!("node-{number}"), address(number).parse().unwrap(), RemoteAs::Exactly(64512), kind)
}

fn mesh(net: &mut Net, count: u8) -> Vec<NodeId> {
    let nodes = cluster(net, count);
    for (own, node) in (1..).zip(&nodes) {
        for other in (1..=count).filter(|it| *it != own) {
            net.set_peer(*node, mesh_peer(other, PeerKind::Mesh));
        }
        net.originate(*node, &format!("10.65.{own}.0/26"));
    }
    nodes
}

#[test]
fn in_a_mesh_of_five_every_node_has_a_route_to_every_other_and_none_to_itself() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 5);
    net.run_secs(10);
    for (own, node) in (1..).zip(&nodes) {
        let routes: Vec<_> = net.nodes[*node].fib.keys().map(ToString::to_string).collect();
        let expected: Vec<_> = (1..=5).filter(|it| *it != own).map(|it| format!("10.65.{it}.0/26")).collect();
        assert_eq!(routes, expected);
        for other in (1..=5u8).filter(|it| *it != own) {
            assert_eq!(net.route(*node, &format!("10.65.{other}.0/26")), Some(vec![address(other)]));
        }
    }
}

#[test]
fn local_pref_in_the_cluster_is_calicos() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    net.run_secs(10);
    let explanation = net.speaker(nodes[0]).explain(prefix("10.65.2.0/26")).unwrap();
    assert_eq!(explanation.candidates[0].local_pref, 2_147_483_647 - 1024);
    assert_eq!(&*explanation.candidates[0].peer, "node-2");
}

#[test]
fn what_a_mesh_peer_may_not_announce_is_refused_and_named() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    for stray in ["203.0.113.0/24", "10.65.1.0/27", "0.0.0.0/0", "192.0.2.1/32", "10.65.2.64/26"] {
        net.originate(nodes[1], stray);
    }
    net.run_secs(10);
    let why = |net: &mut Net, text: &str| net.speaker(nodes[0]).explain(prefix(text)).unwrap().candidates[0].why;
    assert_eq!(why(&mut net, "203.0.113.0/24"), Why::Refused(Refusal::OutsidePools));
    assert_eq!(why(&mut net, "10.65.1.0/27"), Why::Refused(Refusal::OwnBlock));
    assert_eq!(why(&mut net, "0.0.0.0/0"), Why::Refused(Refusal::DefaultRoute));
    assert_eq!(why(&mut net, "192.0.2.1/32"), Why::Refused(Refusal::NodeAddress));
    assert_eq!(why(&mut net, "10.65.2.64/26"), Why::Best);
    let status = net.speaker(nodes[0]).peer("node-2").unwrap();
    assert_eq!((status.families[0].received, status.families[0].rejected), (6, 4));
    assert_eq!(status.refusals.get("OwnBlock"), Some(&1));
    assert_eq!(net.nodes[nodes[0]].fib.len(), 2);
    let rejected = RouteQuery { table: RouteTable::Rejected("node-2".to_owned()), ..RouteQuery::default() };
    assert_eq!(net.speaker(nodes[0]).routes(&rejected).len(), 4);
}

#[test]
fn guards_that_come_later_judge_what_is_there_already() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    net.run_secs(10);
    assert!(net.route(nodes[0], "10.65.2.0/26").is_some());
    let now = net.instant();
    net.speaker(nodes[0]).set_guards(now, Guards { pools: vec![prefix("10.66.0.0/16")], ..Guards::default() });
    net.run_secs(1);
    assert_eq!(net.route(nodes[0], "10.65.2.0/26"), None);
    net.speaker(nodes[0]).set_guards(now, Guards { pools: vec![prefix("10.65.0.0/16")], ..Guards::default() });
    net.run_secs(1);
    assert!(net.route(nodes[0], "10.65.2.0/26").is_some());
}

#[test]
fn service_prefixes_are_passed_between_nodes_but_never_installed() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    net.originate(nodes[1], "10.96.0.10/32");
    net.run_secs(10);
    let explanation = net.speaker(nodes[0]).explain(prefix("10.96.0.10/32")).unwrap();
    assert!(explanation.candidates[0].best && !explanation.wanted);
    assert_eq!(net.route(nodes[0], "10.96.0.10/32"), None);
}

#[test]
fn a_route_stays_off_the_mesh_if_a_router_outside_announced_it() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    let tor = net.add(&address(200), speaker(65001, 200));
    let mut to_tor =
        PeerConfig::new("tor", address(200).parse().unwrap(), RemoteAs::Exactly(65001), PeerKind::External);
    to_tor.calico_local_pref = false;
    net.set_peer(nodes[0], to_tor);
    net.set_peer(tor, open_peer("node-1", &address(1), 64512));
    net.originate(tor, "203.0.113.0/24");
    net.run_secs(10);
    assert_eq!(net.route(nodes[0], "203.0.113.0/24"), Some(vec![address(200)]));
    assert_eq!(net.route(nodes[1], "203.0.113.0/24"), None);
    assert_eq!(withheld(&mut net, nodes[0], "203.0.113.0/24", "node-2"), Some(Withheld::NotOurs));
    assert_eq!(withheld(&mut net, nodes[0], "203.0.113.0/24", "tor"), Some(Withheld::FromThisPeer));
    // The built-in policy tells routers what is ours and nothing that others told us.
    assert_eq!(net.route(tor, "10.65.1.0/26"), Some(vec![address(1)]));
    assert_eq!(net.route(tor, "10.65.2.0/26"), None);
    assert_eq!(withheld(&mut net, nodes[0], "10.65.2.0/26", "tor"), Some(Withheld::NotOurs));
}

#[test]
fn without_policy_an_external_static_peer_exchanges_nothing_and_says_so() {
    let mut net = Net::new(3);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    let strict = |name: &str, number: u8, as_number| {
        PeerConfig::new(name, address(number).parse().unwrap(), RemoteAs::Exactly(as_number), PeerKind::Static)
    };
    net.set_peer(a, strict("b", 2, 65002));
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.originate(a, "10.1.0.0/16");
    net.originate(b, "10.2.0.0/16");
    net.establish(&[(a, "b"), (b, "a")], 10);
    net.run_secs(1);
    assert!(net.nodes[a].fib.is_empty() && net.nodes[b].fib.is_empty());
    assert_eq!(withheld(&mut net, a, "10.1.0.0/16", "b"), Some(Withheld::NoExportPolicy));
    let why = net.speaker(a).explain(prefix("10.2.0.0/16")).unwrap().candidates[0].why;
    assert_eq!(why, Why::Refused(Refusal::NoImportPolicy));
    net.set_peer(a, open_peer("b", &address(2), 65002));
    net.run_secs(1);
    assert!(net.nodes[a].fib.len() == 1 && net.nodes[b].fib.len() == 1, "a policy takes effect without a reset");
    net.set_peer(a, strict("b", 2, 65002));
    net.run_secs(1);
    assert!(net.nodes[a].fib.is_empty() && net.nodes[b].fib.is_empty());
}

#[test]
fn a_reflector_tells_clients_of_each_other_and_loops_are_refused() {
    let mut net = Net::new(3);
    let nodes = cluster(&mut net, 4);
    let (reflector, clients) = (nodes[0], &nodes[1..]);
    for (number, client) in (2..).zip(clients) {
        net.set_peer(reflector, mesh_peer(number, PeerKind::Client));
        net.set_peer(*client, mesh_peer(1, PeerKind::Reflector));
        net.originate(*client, &format!("10.65.{number}.0/26"));
    }
    net.run_secs(10);
    for (own, client) in (2..=4u8).zip(clients) {
        for other in (2..=4u8).filter(|it| *it != own) {
            // The next hop is the node itself, not the reflector.
            assert_eq!(net.route(*client, &format!("10.65.{other}.0/26")), Some(vec![address(other)]));
        }
    }
    let explanation = net.speaker(clients[0]).explain(prefix("10.65.3.0/26")).unwrap();
    let attributes = &explanation.candidates[0].attributes;
    assert_eq!(attributes.originator_id, Some([10, 0, 0, 3].into()));
    assert_eq!(attributes.cluster_list, [std::net::Ipv4Addr::from([10, 0, 0, 1])]);
    assert_eq!(attributes.local_pref, Some(2_147_483_647 - 1024));
    assert_eq!(withheld(&mut net, reflector, "10.65.3.0/26", "node-3"), Some(Withheld::FromThisPeer));
    // Written once for all: the same octets to each client that did not announce it.
    net.withdraw(clients[1], "10.65.3.0/26");
    net.run_secs(1);
    assert_eq!(net.route(clients[0], "10.65.3.0/26"), None);
    assert_eq!(net.route(clients[2], "10.65.3.0/26"), None);
}

#[test]
fn two_reflectors_leave_no_ghost_when_both_copies_are_withdrawn() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        let nodes = cluster(&mut net, 4);
        let (reflectors, clients) = nodes.split_at(2);
        for (own, reflector) in (1..=2u8).zip(reflectors) {
            net.set_peer(*reflector, mesh_peer(3 - own, PeerKind::Mesh));
            for number in 3..=4 {
                net.set_peer(*reflector, mesh_peer(number, PeerKind::Client));
            }
        }
        for client in clients {
            net.set_peer(*client, mesh_peer(1, PeerKind::Reflector));
            net.set_peer(*client, mesh_peer(2, PeerKind::Reflector));
        }
        net.originate(clients[0], "10.65.100.0/26");
        net.originate(clients[1], "10.65.100.0/26");
        net.run_secs(10);
        let hops = net.route(reflectors[0], "10.65.100.0/26").unwrap();
        assert_eq!(hops, [address(3), address(4)], "two nodes, two next hops");
        net.withdraw(clients[0], "10.65.100.0/26");
        net.withdraw(clients[1], "10.65.100.0/26");
        net.run_secs(5);
        for node in &nodes {
            assert_eq!(net.route(*node, "10.65.100.0/26"), None, "seed {seed}, node {node}");
            assert!(net.speaker(*node).explain(prefix("10.65.100.0/26")).is_none(), "seed {seed}, node {node}");
        }
    }
}

#[test]
fn internal_routes_are_not_passed_on_between_non_clients() {
    let mut net = Net::new(3);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65001, 2));
    let c = net.add(&address(3), speaker(65001, 3));
    net.set_peer(a, open_peer("b", &address(2), 65001));
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.set_peer(b, open_peer("c", &address(3), 65001));
    net.set_peer(c, open_peer("b", &address(2), 65001));
    net.originate(a, "10.1.0.0/16");
    net.run_secs(10);
    assert!(net.route(b, "10.1.0.0/16").is_some());
    assert_eq!(net.route(c, "10.1.0.0/16"), None);
    assert_eq!(withheld(&mut net, b, "10.1.0.0/16", "c"), Some(Withheld::NonClient));
    let mut client = open_peer("c", &address(3), 65001);
    client.route_reflector_client = true;
    net.set_peer(b, client);
    net.run_secs(1);
    assert_eq!(net.route(c, "10.1.0.0/16"), Some(vec![address(1)]), "a client is told, without a reset");
}

#[test]
fn paths_of_equal_cost_share_the_kernel_route_and_the_best_is_told_on() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002, 65003, 65004]);
    net.originate(nodes[1], "203.0.113.0/24");
    net.originate(nodes[2], "203.0.113.0/24");
    net.run_secs(10);
    assert_eq!(net.route(nodes[0], "203.0.113.0/24"), Some(vec![address(2), address(3)]));
    let explanation = net.speaker(nodes[0]).explain(prefix("203.0.113.0/24")).unwrap();
    let whys: Vec<_> = explanation.candidates.iter().map(|it| (it.multipath, it.why)).collect();
    assert_eq!(whys[0], (true, Why::Best));
    assert!(matches!(whys[1], (true, Why::Lost(loss)) if loss.step == Step::RouterId));
    assert!(matches!(whys[2], (false, Why::Lost(loss)) if loss.step == Step::AsPathLength));
    assert!(net.nodes.iter().all(|it| it.removed.is_empty()), "a route is replaced, never removed and added");
}

#[test]
fn an_as_path_loop_replaces_the_former_path_by_nothing() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002, 65001]);
    net.originate(nodes[2], "10.3.0.0/16");
    net.run_secs(10);
    // n1 and n3 have the same AS: what n2 learned from one loops at the other.
    let explanation = net.speaker(nodes[2]).explain(prefix("10.3.0.0/16")).unwrap();
    let by_n2 = explanation.candidates.iter().find(|it| &*it.peer == "n2").unwrap();
    assert_eq!(by_n2.why, Why::Refused(Refusal::LoopAsPath { own: 65001, allowed: 0 }));
    assert_eq!(by_n2.why.to_string(), "rejected: LoopAsPath (own AS 65001, allowed 0)");
}

#[test]
fn communities_bound_how_far_a_route_goes() {
    let mut net = Net::new(3);
    let a = net.add(&address(1), speaker(65001, 1));
    let inside = net.add(&address(2), speaker(65001, 2));
    let outside = net.add(&address(3), speaker(65002, 3));
    for (node, number, as_number) in [(inside, 2, 65001), (outside, 3, 65002)] {
        net.set_peer(a, open_peer(&format!("n{number}"), &address(number), as_number));
        net.set_peer(node, open_peer("a", &address(1), 65001));
    }
    let now = net.instant();
    let with = |community| OriginAttributes { communities: vec![community], ..OriginAttributes::new("a test") };
    net.speaker(a).originate(now, "test", prefix("10.1.0.0/16"), with(Community::NO_EXPORT));
    net.speaker(a).originate(now, "test", prefix("10.2.0.0/16"), with(Community::NO_ADVERTISE));
    net.speaker(a).originate(now, "test", prefix("10.3.0.0/16"), with(Community::GRACEFUL_SHUTDOWN));
    net.run_secs(10);
    assert!(net.route(inside, "10.1.0.0/16").is_some());
    assert_eq!(net.route(outside, "10.1.0.0/16"), None);
    assert_eq!(withheld(&mut net, a, "10.1.0.0/16", "n3"), Some(Withheld::NoExport));
    assert_eq!((net.route(inside, "10.2.0.0/16"), net.route(outside, "10.2.0.0/16")), (None, None));
    assert_eq!(withheld(&mut net, a, "10.2.0.0/16", "n2"), Some(Withheld::NoAdvertise));
    let local_pref = net.speaker(outside).explain(prefix("10.3.0.0/16")).unwrap().candidates[0].local_pref;
    assert_eq!(local_pref, 0, "a route on its way out is the last choice");
    // A community added later is a withdrawal where it forbids the route.
    net.speaker(a).originate(now, "test", prefix("10.3.0.0/16"), with(Community::NO_EXPORT));
    net.run_secs(1);
    assert_eq!(net.route(outside, "10.3.0.0/16"), None);
}

#[test]
fn an_unreachable_next_hop_makes_a_path_ineligible_until_it_is_reachable_again() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.originate(nodes[1], "10.2.0.0/16");
    net.run_secs(10);
    let next_hop: IpAddr = address(2).parse().unwrap();
    let now = net.instant();
    net.speaker(nodes[0]).set_reachability(now, next_hop, None);
    net.run_secs(1);
    assert_eq!(net.route(nodes[0], "10.2.0.0/16"), None);
    let why = net.speaker(nodes[0]).explain(prefix("10.2.0.0/16")).unwrap().candidates[0].why;
    assert_eq!(why, Why::Refused(Refusal::NextHopUnreachable));
    let gateway = Some("192.0.2.254".parse().unwrap());
    let reachability = engine::Reachability { metric: 10, interface: 3, gateway, onlink: false };
    net.speaker(nodes[0]).set_reachability(now, next_hop, Some(reachability));
    net.run_secs(1);
    assert_eq!(net.route(nodes[0], "10.2.0.0/16"), Some(vec!["192.0.2.254".to_owned()]));
}

#[test]
fn beyond_the_limit_new_prefixes_are_blocked_until_there_is_room() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    let mut limited = open_peer("n2", &address(2), 65002);
    limited.limit.max = 4;
    net.set_peer(nodes[0], limited);
    for number in 0..6 {
        net.originate(nodes[1], &format!("10.{number}.0.0/16"));
    }
    net.run_secs(10);
    assert_eq!(net.nodes[nodes[0]].fib.len(), 4);
    let events = &net.nodes[nodes[0]].events;
    assert!(events.iter().any(|it| matches!(it, Event::PrefixLimitNear { .. })));
    assert_eq!(events.iter().filter(|it| matches!(it, Event::PrefixLimitExceeded { .. })).count(), 1);
    for number in 0..3 {
        net.withdraw(nodes[1], &format!("10.{number}.0.0/16"));
    }
    net.run_secs(1);
    let left: Vec<_> = net.nodes[nodes[0]].fib.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16"], "a refresh brought what was kept out");
}

#[test]
fn a_limit_with_action_restart_ends_the_session_and_tries_again_later() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    let mut limited = open_peer("n2", &address(2), 65002);
    limited.limit = engine::PrefixLimit {
        max: 1,
        warn_percent: 75,
        action: engine::LimitAction::Restart(std::time::Duration::from_secs(60)),
    };
    net.set_peer(nodes[0], limited);
    net.originate(nodes[1], "10.1.0.0/16");
    net.originate(nodes[1], "10.2.0.0/16");
    net.run_secs(10);
    let status = net.speaker(nodes[0]).peer("n2").unwrap();
    assert_eq!(status.diagnosis, Some(engine::Diagnosis::PrefixLimit));
    assert!(net.nodes[nodes[0]].fib.is_empty(), "the routes of a hard reset are not kept");
    net.withdraw(nodes[1], "10.2.0.0/16");
    net.run_secs(180);
    assert_eq!(net.nodes[nodes[0]].fib.len(), 1);
}

#[test]
fn nothing_identical_is_sent_again_except_on_request() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    for number in 0..100 {
        net.originate(nodes[0], &format!("10.{number}.0.0/16"));
    }
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(1);
    let before = updates(&net, nodes[0], nodes[1]);
    assert_eq!(before, 3, "one full UPDATE and two End-of-RIB");
    for number in 0..100 {
        net.originate(nodes[0], &format!("10.{number}.0.0/16"));
    }
    net.run_secs(1);
    assert_eq!(updates(&net, nodes[0], nodes[1]), before);
    let now = net.instant();
    assert!(net.speaker(nodes[1]).request_refresh(now, "n1"));
    net.run_secs(1);
    assert_eq!(updates(&net, nodes[0], nodes[1]), before + 1);
    let advertised = net.speaker(nodes[0]).peer("n2").unwrap().families[0].advertised;
    assert_eq!(advertised, 100);
}

/// Gives each of many prefixes attributes of its own, so that each needs a message.
fn originate_many(net: &mut Net, node: NodeId, count: u32, round: u32) {
    let now = net.instant();
    for number in 0..count {
        let [_, _, a, b] = number.to_be_bytes();
        let mut attributes = OriginAttributes::new("a test");
        attributes.communities = vec![Community(number), Community(round)];
        let prefix = Prefix::new(IpAddr::from([10, a, b, 0]), 24).unwrap();
        net.speaker(node).originate(now, "test", prefix, attributes);
    }
}

#[test]
fn a_slow_peer_costs_state_and_not_bytes_delays_nobody_and_gets_the_last_state() {
    const COUNT: u32 = 20_000;
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002, 65003]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1"), (nodes[0], "n3"), (nodes[2], "n1")], 10);
    net.run_secs(1);
    net.nodes[nodes[0]].slow.insert(nodes[1]);
    for round in 0..3 {
        originate_many(&mut net, nodes[0], COUNT, round);
        net.run_secs(3);
    }
    let most = net.nodes[nodes[0]].most_in_flight;
    assert!((256 * 1024..256 * 1024 + 128 * 1024).contains(&most), "{most} octets in flight");
    let held = |net: &mut Net, node: NodeId| {
        let query = RouteQuery { table: RouteTable::Received("n1".to_owned()), ..RouteQuery::default() };
        let routes = net.speaker(node).routes(&query);
        routes.iter().filter(|it| it.attributes.communities.get(1) == Some(&Community(2))).count() as u32
    };
    assert_eq!(held(&mut net, nodes[2]), COUNT, "the fast peer is not kept waiting");
    let (slow, fast) = (updates(&net, nodes[0], nodes[1]), updates(&net, nodes[0], nodes[2]));
    net.resume(nodes[0]);
    net.run_secs(3);
    assert_eq!(held(&mut net, nodes[1]), COUNT);
    let (slow, fast_after) = (updates(&net, nodes[0], nodes[1]).max(slow), updates(&net, nodes[0], nodes[2]));
    assert_eq!(fast, fast_after, "nothing is sent twice to the fast one");
    assert!(slow < COUNT as usize * 2, "states that nobody waited for are skipped: {slow} UPDATEs");
}

#[test]
fn a_withdrawn_prefix_that_a_slow_peer_never_got_is_never_mentioned_to_it() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(1);
    net.nodes[nodes[0]].slow.insert(nodes[1]);
    originate_many(&mut net, nodes[0], 10_000, 0);
    net.settle();
    let before = updates(&net, nodes[0], nodes[1]);
    net.originate(nodes[0], "192.168.0.0/24");
    net.settle();
    net.withdraw(nodes[0], "192.168.0.0/24");
    net.resume(nodes[0]);
    net.run_secs(3);
    assert_eq!(updates(&net, nodes[0], nodes[1]) - before, 10_000 - (before - 2));
}

#[test]
fn a_late_joiner_gets_the_table_in_full_messages() {
    let mut net = Net::new(3);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    for number in 0..20_000u32 {
        let [_, _, high, low] = number.to_be_bytes();
        net.originate(a, &format!("10.{high}.{low}.0/24"));
    }
    net.run_secs(1);
    net.set_peer(a, open_peer("b", &address(2), 65002));
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.establish(&[(a, "b"), (b, "a")], 10);
    net.run_secs(5);
    assert_eq!(net.nodes[b].fib.len(), 20_000);
    // 4 octets per prefix; extended messages hold 65 000 octets, pieces of the queue 4096 prefixes.
    assert!(updates(&net, a, b) <= 8, "{} UPDATEs", updates(&net, a, b));
}

#[test]
fn a_refused_replacement_withdraws_the_former_path() {
    let mut net = Net::new(3);
    let nodes = mesh(&mut net, 2);
    net.originate(nodes[1], "10.65.9.0/26");
    net.run_secs(10);
    assert!(net.route(nodes[0], "10.65.9.0/26").is_some());
    // The pool shrinks at the receiver: the same announcement is now refused, and the old path is not left behind.
    let now = net.instant();
    net.speaker(nodes[0]).set_guards(now, Guards { pools: vec![prefix("10.65.0.0/22")], ..Guards::default() });
    let again = OriginAttributes { communities: vec![Community(7)], ..OriginAttributes::new("a test") };
    net.speaker(nodes[1]).originate(now, "test", prefix("10.65.9.0/26"), again);
    net.run_secs(1);
    assert_eq!(net.route(nodes[0], "10.65.9.0/26"), None);
}

#[test]
fn a_watcher_hears_of_best_path_changes() {
    let mut net = Net::new(3);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.speaker(nodes[0]).watch_routes(true);
    net.originate(nodes[1], "10.2.0.0/16");
    net.run_secs(10);
    net.withdraw(nodes[1], "10.2.0.0/16");
    net.run_secs(1);
    let changes: Vec<_> = net.nodes[nodes[0]]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RouteChanged { best, .. } => Some(best.as_ref().map(ToString::to_string)),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [Some("n2".to_owned()), None]);
}

#[test]
fn an_ipv6_session_carries_both_families() {
    let mut net = Net::new(3);
    let a = net.add("2001:db8::1", SpeakerConfig::new(65001, [10, 0, 0, 1].into()));
    let b = net.add("2001:db8::2", SpeakerConfig::new(65002, [10, 0, 0, 2].into()));
    net.set_peer(a, open_peer("b", "2001:db8::2", 65002));
    net.set_peer(b, open_peer("a", "2001:db8::1", 65001));
    net.originate(a, "2001:db8:1::/48");
    net.originate(a, "10.1.0.0/16");
    net.run_secs(10);
    assert_eq!(net.route(b, "2001:db8:1::/48"), Some(vec!["2001:db8::1".to_owned()]));
    assert_eq!(net.route(b, "10.1.0.0/16"), Some(vec!["2001:db8::1".to_owned()]), "RFC 8950");
}

#[test]
fn the_longest_match_of_an_address_is_found() {
    let mut net = Net::new(3);
    let a = net.add(&address(1), speaker(65001, 1));
    for text in ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"] {
        net.originate(a, text);
    }
    net.run_secs(1);
    let find = |net: &mut Net, text: &str| net.speaker(a).longest_match(text.parse().unwrap());
    assert_eq!(find(&mut net, "10.1.2.3"), Some(prefix("10.1.0.0/16")));
    assert_eq!(find(&mut net, "10.2.2.3"), Some(prefix("10.0.0.0/8")));
    assert_eq!(find(&mut net, "11.0.0.1"), None);
    assert_eq!(find(&mut net, "2001:db8::9"), Some(prefix("2001:db8::/32")));
}

#[test]
fn a_peer_that_joins_later_is_told_what_the_only_one_before_it_had_announced() {
    let mut net = Net::new(7);
    let [a, hub, c] = [(1, 65001), (2, 65002), (3, 65003)]
        .map(|(number, as_number)| net.add(&address(number), speaker(as_number, number)));
    let peer = |number: u8| open_peer(&format!("n{number}"), &address(number), 65000 + u32::from(number));
    net.set_peer(a, peer(2));
    net.set_peer(c, peer(2));
    net.set_peer(hub, peer(1));
    net.originate(a, "10.1.0.0/16");
    net.originate(a, "10.2.0.0/16");
    net.run_secs(20);
    assert_eq!(net.route(hub, "10.1.0.0/16").unwrap(), [address(1)]);
    net.set_peer(hub, peer(3));
    net.originate(c, "10.3.0.0/16");
    net.establish(&[(hub, "n3")], 60);
    net.run_secs(5);
    for told in ["10.1.0.0/16", "10.2.0.0/16"] {
        assert!(net.route(c, told).is_some(), "{told}");
    }
    assert!(net.route(a, "10.3.0.0/16").is_some());
    net.withdraw(a, "10.2.0.0/16");
    net.run_secs(5);
    assert_eq!(net.route(c, "10.2.0.0/16"), None);
    // Alone again: what comes and goes meanwhile is known to the next one.
    let now = net.instant();
    net.speaker(hub).remove_peer(now, "n3");
    net.run_secs(1);
    assert_eq!(net.route(a, "10.3.0.0/16"), None);
    net.withdraw(a, "10.1.0.0/16");
    net.originate(a, "10.4.0.0/16");
    net.run_secs(5);
    net.set_peer(hub, peer(3));
    net.establish(&[(hub, "n3")], 60);
    net.run_secs(5);
    assert!(net.route(c, "10.4.0.0/16").is_some());
    assert_eq!(net.route(c, "10.1.0.0/16"), None);
}
