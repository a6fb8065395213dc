//! What must hold after any sequence of events: what one side says it told is what the other side holds, reflection
//! reaches exactly those it should, nothing loops, and no octets bring a speaker down.

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine::wire::{Community, Notification, encode_notification, frame, keepalive};
use engine::{Action, AddPath, Instant, OriginAttributes, Prefix, RouteQuery, RouteTable, SessionState, Speaker};
use proptest::prelude::*;

use super::net::{Dice, Net, NodeId};
use super::{address, full_mesh, open_peer, speaker};

/// Prefix and Path Identifier (0 without ADD-PATH) to communities and AS path, as text.
type Told = BTreeMap<(Prefix, u32), String>;

fn told(net: &mut Net, node: NodeId, table: RouteTable) -> Told {
    let query = RouteQuery { table, ..RouteQuery::default() };
    let routes = net.speaker(node).routes(&query);
    let as_text = |it: engine::RouteStatus| {
        let attributes = &it.attributes;
        ((it.prefix, it.path_id), format!("{} {:?} {:?}", attributes.as_path, attributes.communities, it.next_hop))
    };
    routes.into_iter().map(as_text).collect()
}

fn assert_consistent(net: &mut Net, nodes: &[NodeId], context: &str) {
    for from in nodes {
        for to in nodes.iter().filter(|it| *it != from) {
            let (from_name, to_name) = (format!("n{}", from + 1), format!("n{}", to + 1));
            if net.state(*from, &to_name) != SessionState::Established {
                continue;
            }
            let sent = told(net, *from, RouteTable::Advertised(to_name.clone()));
            let held = told(net, *to, RouteTable::Received(from_name));
            assert_eq!(sent, held, "{context}: {from} to {to}");
            let status = net.speaker(*from).peer(&to_name).unwrap();
            assert_eq!(status.families[0].advertised as usize, held.len(), "{context}: {from} to {to}");
        }
    }
}

fn churn(net: &mut Net, nodes: &[NodeId], prefixes: u64, steps: usize) {
    for _ in 0..steps {
        let node = nodes[net.dice.roll(nodes.len() as u64) as usize];
        let number = net.dice.roll(prefixes) as u8;
        let prefix: Prefix = format!("10.0.{number}.0/24").parse().unwrap();
        let now = net.instant();
        match net.dice.roll(7) {
            0..=3 => {
                let mut attributes = OriginAttributes::new("a test");
                attributes.communities = vec![Community(net.dice.roll(3) as u32)];
                net.speaker(node).originate(now, "test", prefix, attributes);
            }
            4..=5 => net.speaker(node).withdraw(now, "test", prefix),
            _ => {
                let span = std::time::Duration::from_millis(net.dice.roll(20));
                net.run(span);
            }
        }
        if net.dice.roll(10) == 0 {
            net.settle();
        }
    }
}

#[test]
fn what_is_said_to_be_advertised_is_what_the_peer_holds() {
    for seed in 0..60 {
        let mut net = Net::new(seed);
        let as_numbers: &[u32] = match seed % 3 {
            0 => &[65001, 65002, 65003],
            1 => &[65001, 65001, 65002],
            _ => &[65001, 65001, 65001, 65001],
        };
        let nodes = full_mesh(&mut net, as_numbers);
        net.run_secs(10);
        for round in 0..5 {
            churn(&mut net, &nodes, 12, 60);
            net.run_secs(2);
            assert_consistent(&mut net, &nodes, &format!("seed {seed}, round {round}"));
        }
        for wire in net.live_wires() {
            net.cut(wire);
        }
        churn(&mut net, &nodes, 12, 60);
        net.run_secs(120);
        assert_consistent(&mut net, &nodes, &format!("seed {seed}, after loss"));
    }
}

#[test]
fn what_is_said_to_be_advertised_is_what_the_peer_holds_with_several_paths_too() {
    for seed in 0..40 {
        let mut net = Net::new(seed);
        let as_numbers: &[u32] =
            if seed % 2 == 0 { &[65001, 65002, 65003, 65004] } else { &[65001, 65001, 65002, 65003] };
        let nodes = full_mesh(&mut net, as_numbers);
        // One path more or less each round: up to three, or the best alone on a session that takes no more.
        let several = |net: &mut Net| {
            for (here, there) in (0..4).flat_map(|here| (0..4).map(move |there| (here, there))) {
                if here != there {
                    let number = there as u8 + 1;
                    let mut peer = open_peer(&format!("n{number}"), &address(number), as_numbers[there]);
                    let receive = !(seed + here as u64).is_multiple_of(3);
                    peer.add_path = AddPath { receive, send_max: 1 + net.dice.roll(3) as u16 };
                    net.set_peer(nodes[here], peer);
                }
            }
        };
        several(&mut net);
        net.run_secs(10);
        for round in 0..4 {
            churn(&mut net, &nodes, 8, 60);
            several(&mut net);
            net.run_secs(2);
            assert_consistent(&mut net, &nodes, &format!("seed {seed}, round {round}"));
        }
        for wire in net.live_wires() {
            net.cut(wire);
        }
        churn(&mut net, &nodes, 8, 60);
        net.run_secs(120);
        assert_consistent(&mut net, &nodes, &format!("seed {seed}, after loss"));
    }
}

#[test]
fn a_changed_export_policy_takes_back_and_sends_exactly_the_difference() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        let nodes = full_mesh(&mut net, &[65001, 65002, 65003]);
        net.run_secs(10);
        churn(&mut net, &nodes, 12, 60);
        net.run_secs(2);
        for policy in [engine::ExportPolicy::Reject, engine::ExportPolicy::Accept] {
            let mut config = open_peer("n2", &address(2), 65002);
            config.export = policy;
            net.set_peer(nodes[0], config);
            net.run_secs(1);
            assert_consistent(&mut net, &nodes, &format!("seed {seed}, {policy:?}"));
        }
        let mut moved = open_peer("n2", &address(2), 65002);
        moved.next_hop = engine::NextHopMode::Keep;
        net.set_peer(nodes[0], moved);
        net.run_secs(1);
        assert_consistent(&mut net, &nodes, &format!("seed {seed}, kept next hop"));
    }
}

/// Who of an internal cluster must hold a route of `origin` directly or by reflection (RFC 4456 §6): one reflector in the
/// middle, each other node a client or not.
fn reaches(clients: &[bool], origin: usize, to: usize) -> bool {
    origin == to || origin == 0 || to == 0 || clients[origin] || clients[to]
}

#[test]
fn reflection_reaches_exactly_those_that_rfc_4456_names_and_never_loops() {
    for seed in 0..64u64 {
        let mut net = Net::new(seed);
        let clients: Vec<bool> = (0..6).map(|it| it > 0 && seed >> (it - 1) & 1 == 1).collect();
        let nodes: Vec<NodeId> = (1..=6u8).map(|number| net.add(&address(number), speaker(65001, number))).collect();
        for number in 2..=6u8 {
            let mut spoke = open_peer(&format!("n{number}"), &address(number), 65001);
            spoke.route_reflector_client = clients[usize::from(number) - 1];
            net.set_peer(nodes[0], spoke);
            net.set_peer(nodes[usize::from(number) - 1], open_peer("n1", &address(1), 65001));
        }
        for node in &nodes {
            net.originate(*node, &format!("10.{node}.0.0/16"));
        }
        net.run_secs(10);
        for origin in &nodes {
            for to in nodes.iter().filter(|it| *it != origin) {
                let route = net.route(*to, &format!("10.{origin}.0.0/16"));
                let expected = reaches(&clients, *origin, *to).then(|| vec![address(*origin as u8 + 1)]);
                assert_eq!(route, expected, "seed {seed}: {origin} to {to}, clients {clients:?}");
            }
        }
        // Silence: a loop would go on.
        let before: usize = net.nodes.iter().flat_map(|it| it.sent.values()).map(Vec::len).sum();
        net.run_secs(5);
        let after: usize = net.nodes.iter().flat_map(|it| it.sent.values()).map(Vec::len).sum();
        assert!(after - before <= 10, "only KEEPALIVEs");
    }
}

#[test]
fn three_reflectors_in_a_ring_converge_and_forget() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        // Each is a client of the next one: the worst that CLUSTER_LIST has to stop.
        let nodes: Vec<NodeId> = (1..=4u8).map(|number| net.add(&address(number), speaker(65001, number))).collect();
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let mut client = open_peer(&format!("n{}", to + 1), &address(to as u8 + 1), 65001);
            client.route_reflector_client = true;
            net.set_peer(nodes[from], client);
            let mut back = open_peer(&format!("n{}", from + 1), &address(from as u8 + 1), 65001);
            back.route_reflector_client = true;
            net.set_peer(nodes[to], back);
        }
        let mut client = open_peer("n4", &address(4), 65001);
        client.route_reflector_client = true;
        net.set_peer(nodes[0], client);
        net.set_peer(nodes[3], open_peer("n1", &address(1), 65001));
        net.originate(nodes[3], "10.4.0.0/16");
        net.run_secs(10);
        for node in &nodes[..3] {
            assert_eq!(net.route(*node, "10.4.0.0/16"), Some(vec![address(4)]), "seed {seed}");
        }
        net.withdraw(nodes[3], "10.4.0.0/16");
        net.run_secs(10);
        for node in &nodes {
            assert!(net.speaker(*node).explain("10.4.0.0/16".parse().unwrap()).is_none(), "seed {seed}, {node}");
        }
    }
}

/// Everything that one speaker sent to the other in a short life.
fn recorded() -> Vec<u8> {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    for number in 0..20 {
        net.originate(nodes[1], &format!("10.{number}.0.0/16"));
        net.originate(nodes[1], &format!("2001:db8:{number}::/48"));
    }
    net.run_secs(10);
    let mut stream = net.nodes[nodes[1]].sent[&nodes[0]].concat();
    stream.extend_from_slice(&keepalive());
    stream.extend_from_slice(&encode_notification(&Notification::administrative_reset("x"), 4096));
    stream
}

fn poll_everything(speaker: &mut Speaker, now: Instant) {
    while let Some(action) = speaker.poll_action() {
        if let Action::Send { conn, bytes } = action {
            speaker.handle_sent(now, conn, bytes.len());
        }
    }
    while speaker.poll_fib().is_some() || speaker.poll_event().is_some() || speaker.poll_next_hop().is_some() {}
}

fn feed(stream: &[u8], dice: &mut Dice) {
    let mut now = Instant::default();
    let mut one = Speaker::new(speaker(65001, 1), 1, now);
    let mut passive = open_peer("n2", &address(2), 65002);
    passive.passive = true;
    one.set_peer(now, passive);
    let local = (address(1).parse::<IpAddr>().unwrap(), 179).into();
    let remote = (address(2).parse::<IpAddr>().unwrap(), 40000).into();
    let Some(conn) = one.handle_accepted(now, local, remote, None) else { return };
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + dice.roll(rest.len() as u64) as usize);
        one.handle_received(now, conn, piece);
        poll_everything(&mut one, now);
        now = now + std::time::Duration::from_millis(dice.roll(1000));
        if one.poll_timeout().is_some_and(|at| at <= now) {
            one.handle_timeout(now);
        }
        rest = behind;
    }
    one.handle_closed(now, conn);
    poll_everything(&mut one, now);
    assert!(one.peer("n2").is_some());
    let _ = (one.status(), one.routes(&RouteQuery::default()), one.fib());
}

#[test]
fn mutated_streams_bring_no_speaker_down() {
    let stream = recorded();
    let mut dice = Dice(5);
    for _ in 0..3000 {
        let mut mutated = stream.clone();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(mutated.len() as u64) as usize;
            match dice.roll(4) {
                0 => mutated[at] = dice.roll(256) as u8,
                1 => mutated[at] ^= 1 << dice.roll(8),
                2 => {
                    mutated.truncate(at + 1);
                }
                _ => mutated.insert(at, dice.roll(256) as u8),
            }
        }
        feed(&mutated, &mut dice);
    }
}

#[test]
fn messages_in_any_order_bring_no_speaker_down() {
    let stream = recorded();
    let mut messages = Vec::new();
    let mut rest = &stream[..];
    while let Ok(Some(message)) = frame(rest, 65535) {
        messages.push(rest[..message.length].to_vec());
        rest = &rest[message.length..];
    }
    let mut dice = Dice(6);
    for _ in 0..2000 {
        let count = dice.roll(8);
        let picked: Vec<u8> =
            (0..count).flat_map(|_| messages[dice.roll(messages.len() as u64) as usize].clone()).collect();
        feed(&picked, &mut dice);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn octets_at_random_bring_no_speaker_down(stream in prop::collection::vec(any::<u8>(), 0..200), seed in any::<u64>()) {
        feed(&stream, &mut Dice(seed));
    }
}
