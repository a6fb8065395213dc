//! Sessions: opening, colliding, ending, coming back.

use std::net::IpAddr;
use std::time::Duration;

use engine::wire::{Capabilities, GracefulRestart, Notification, OpenMessage, encode_open, keepalive};
use engine::{
    Action, Diagnosis, DownReason, Event, ExportPolicy, Family, Instant, OriginAttributes, PeerConfig, SessionState,
    Shutdown, Speaker,
};

use super::net::Net;
use super::{address, full_mesh, open_peer, speaker};

fn downs(net: &Net, node: usize) -> Vec<&DownReason> {
    let is_down = |event| match event {
        &Event::SessionDown { established: true, ref reason, .. } => Some(reason),
        _ => None,
    };
    net.nodes[node].events.iter().filter_map(is_down).collect()
}

#[test]
fn two_speakers_that_dial_each_other_settle_on_one_connection() {
    for seed in 0..1000 {
        let mut net = Net::new(seed);
        let nodes = full_mesh(&mut net, &[65001, if seed % 2 == 0 { 65001 } else { 65002 }]);
        net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
        net.run_secs(60);
        assert_eq!(net.state(nodes[0], "n2"), SessionState::Established, "seed {seed}");
        assert_eq!(net.state(nodes[1], "n1"), SessionState::Established, "seed {seed}");
        assert_eq!(net.live_wires().len(), 1, "seed {seed}");
        for node in nodes {
            assert_eq!(downs(&net, node), Vec::<&DownReason>::new(), "an Established session was lost, seed {seed}");
        }
    }
}

#[test]
fn a_session_lives_on_keepalives_alone_and_dies_of_silence() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(3600);
    assert_eq!(net.state(nodes[0], "n2"), SessionState::Established);
    net.unplug(nodes[1]);
    net.run_secs(59);
    assert_eq!(net.state(nodes[0], "n2"), SessionState::Established);
    net.run_secs(32);
    assert_ne!(net.state(nodes[0], "n2"), SessionState::Established);
    assert_eq!(downs(&net, nodes[0]), [&DownReason::NotificationSent(Notification::hold_timer_expired())]);
    let status = net.speaker(nodes[0]).peer("n2").unwrap();
    assert_eq!((status.flaps, status.last_error.map(|it| it.0)), (1, Some(Diagnosis::HoldTimerExpired)));
}

#[test]
fn a_wrong_as_number_is_refused_on_both_sides_and_said() {
    let mut net = Net::new(1);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    net.set_peer(a, open_peer("b", &address(2), 65099));
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.run_secs(30);
    assert_ne!(net.state(a, "b"), SessionState::Established);
    let said = net.speaker(a).peer("b").unwrap().diagnosis;
    assert!(
        matches!(said, Some(Diagnosis::BadPeerAs { expected: 65099, got: 65002 } | Diagnosis::TcpReset)),
        "{said:?}"
    );
    let said = net.speaker(b).peer("a").unwrap().last_error.unwrap().0.to_string();
    assert!(said.starts_with("PeerSentNotification") || said.starts_with("TcpReset"), "{said}");
}

#[test]
fn a_peer_that_is_not_there_is_dialled_less_and_less_often_up_to_thirty_seconds() {
    let mut net = Net::new(1);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    net.kill(b);
    net.set_peer(a, open_peer("b", &address(2), 65002));
    net.run_secs(300);
    let changes = net.nodes[a].events.iter();
    let dials = changes.filter(|it| matches!(it, Event::StateChanged { to: SessionState::Connect, .. })).count();
    assert!((10..=16).contains(&dials), "{dials} dials in 300 s");
    assert_eq!(net.speaker(a).peer("b").unwrap().diagnosis, Some(Diagnosis::TcpRefused));
}

#[test]
fn a_passive_peer_waits_to_be_dialled() {
    let mut net = Net::new(1);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    let mut passive = open_peer("b", &address(2), 65002);
    passive.passive = true;
    net.set_peer(a, passive);
    net.run_secs(60);
    assert_eq!(net.state(a, "b"), SessionState::Active);
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.establish(&[(a, "b"), (b, "a")], 5);
}

#[test]
fn a_connection_from_a_stranger_is_refused_without_a_word() {
    let mut net = Net::new(1);
    let a = net.add(&address(1), speaker(65001, 1));
    let b = net.add(&address(2), speaker(65002, 2));
    net.set_peer(b, open_peer("a", &address(1), 65001));
    net.run_secs(10);
    assert!(net.nodes[a].events.iter().any(|it| matches!(it, Event::ConnectionRefused { .. })));
    assert!(net.nodes[a].sent.is_empty());
}

#[test]
fn a_peer_that_the_operator_shut_down_stays_down_until_he_takes_it_back() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.originate(nodes[1], "203.0.113.0/24");
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(5);
    let open = open_peer("n2", &address(2), 65002);
    net.set_peer(nodes[0], PeerConfig { shutdown: Some("rack 7".to_owned()), ..open.clone() });
    net.run_secs(5);
    let reasons = downs(&net, nodes[1]);
    let [DownReason::NotificationReceived(notification)] = reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(notification.communication().as_deref(), Some("rack 7"));
    assert_eq!(net.speaker(nodes[0]).status().rib_prefixes.v4, 0, "no route is kept of it");

    // Neither a command nor another change of it, nor the peer's dials bring it up.
    let now = net.instant();
    net.speaker(nodes[0]).reset_peer(now, "n2", "");
    net.set_peer(nodes[0], PeerConfig { shutdown: Some(String::new()), hold_time: 30, ..open.clone() });
    net.run_secs(600);
    assert_eq!(net.state(nodes[0], "n2"), SessionState::Idle);
    assert_eq!(net.speaker(nodes[0]).peer("n2").unwrap().diagnosis, Some(Diagnosis::AdminDown));

    net.set_peer(nodes[0], open);
    net.run_secs(120);
    assert_eq!(net.state(nodes[0], "n2"), SessionState::Established);
    assert_eq!(net.speaker(nodes[0]).status().rib_prefixes.v4, 1);
}

#[test]
fn an_administrative_shutdown_says_why_and_the_peer_reads_it() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    let now = net.instant();
    net.speaker(nodes[0]).shutdown(now, Shutdown::Administrative { reason: "new disk".to_owned() });
    net.run_secs(1);
    let reasons = downs(&net, nodes[1]);
    let [DownReason::NotificationReceived(notification)] = reasons[..] else { panic!("{reasons:?}") };
    assert!(notification.is_hard_reset(), "both sides know hard resets");
    assert_eq!(notification.communication().as_deref(), Some("new disk"));
    net.run_secs(120);
    assert_ne!(net.state(nodes[1], "n1"), SessionState::Established);
}

#[test]
fn a_reset_comes_back_at_once() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(100);
    let now = net.instant();
    assert!(net.speaker(nodes[0]).reset_peer(now, "n2", ""));
    net.run_secs(1);
    assert_eq!(downs(&net, nodes[1]).len(), 1);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
}

#[test]
fn a_peer_that_fails_after_each_open_is_dialled_ever_more_slowly() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    let mut lives = 0;
    for _ in 0..3000 {
        net.run(Duration::from_millis(100));
        let up = net.state(nodes[0], "n2") == SessionState::Established;
        let both = up && net.state(nodes[1], "n1") == SessionState::Established;
        if both {
            lives += 1;
            let wire = net.live_wires()[0];
            net.cut(wire);
        }
    }
    assert!((4..=14).contains(&lives), "{lives} sessions in 300 s");
}

#[test]
fn sessions_come_back_after_any_number_of_lost_connections() {
    for seed in 0..50 {
        let mut net = Net::new(seed);
        net.jitter = 50_000;
        let nodes = full_mesh(&mut net, &[65001, 65001, 65002]);
        for (number, node) in nodes.iter().enumerate() {
            net.originate(*node, &format!("10.{number}.0.0/16"));
        }
        for _ in 0..40 {
            net.run(Duration::from_millis(500));
            let wires = net.live_wires();
            if !wires.is_empty() {
                let pick = net.dice.roll(wires.len() as u64) as usize;
                net.cut(wires[pick]);
            }
        }
        let all: Vec<(usize, &str)> =
            nodes.iter().flat_map(|node| ["n1", "n2", "n3"].map(|peer| (*node, peer))).collect();
        let all: Vec<(usize, &str)> =
            all.into_iter().filter(|(node, peer)| *peer != format!("n{}", node + 1)).collect();
        net.establish(&all, 200);
        net.run_secs(5);
        for node in &nodes {
            let others = (0..nodes.len()).filter(|it| it != node);
            for other in others {
                let route = net.route(*node, &format!("10.{other}.0.0/16"));
                let direct = route.is_some_and(|it| it.contains(&address(other as u8 + 1)));
                assert!(direct, "seed {seed}, node {node}, to {other}");
            }
        }
    }
}

#[test]
fn a_peer_that_talks_but_does_not_read_is_given_up_after_the_send_hold_time() {
    let at = |seconds: u64| Instant::new(Duration::from_secs(seconds));
    let mut one = Speaker::new(speaker(65001, 1), 1, at(0));
    let mut passive = open_peer("n2", &address(2), 65002);
    passive.passive = true;
    one.set_peer(at(0), passive);
    let (local, remote): (IpAddr, IpAddr) = (address(1).parse().unwrap(), address(2).parse().unwrap());
    let conn = one.handle_accepted(at(0), (local, 179).into(), (remote, 40000).into(), None).unwrap();
    let restart = GracefulRestart { families: vec![(Family::Ipv4Unicast, true)], time: 120, ..Default::default() };
    let capabilities = Capabilities {
        families: vec![Family::Ipv4Unicast],
        graceful_restart: Some(restart),
        ..Capabilities::default()
    };
    let open = OpenMessage::new(65002, 90, [10, 0, 0, 2].into(), capabilities);
    one.handle_received(at(0), conn, &encode_open(&open));
    let mut ended = None;
    for second in 0..600 {
        one.handle_received(at(second), conn, &keepalive());
        // Nothing of what is to be sent is ever accepted.
        while one.poll_action().is_some() {}
        if one.poll_timeout().is_some_and(|it| it <= at(second)) {
            one.handle_timeout(at(second));
        }
        while let Some(event) = one.poll_event() {
            if let Event::SessionDown { reason, .. } = event {
                ended.get_or_insert((second, reason));
            }
        }
    }
    assert_eq!(ended, Some((480, DownReason::SendHoldTimerExpired)));
    assert!(!one.peer("n2").unwrap().helping, "a peer that does not read is not restarting");
}

#[test]
fn a_policy_that_changes_while_a_table_is_sent_again_takes_back_what_it_must() {
    let at = |seconds: u64| Instant::new(Duration::from_secs(seconds));
    let mut one = Speaker::new(speaker(65001, 1), 1, at(0));
    let mut peer = open_peer("n2", &address(2), 65002);
    peer.passive = true;
    one.set_peer(at(0), peer.clone());
    let (local, remote): (IpAddr, IpAddr) = (address(1).parse().unwrap(), address(2).parse().unwrap());
    let conn = one.handle_accepted(at(0), (local, 179).into(), (remote, 40000).into(), None).unwrap();
    // It knows no enhanced refresh: no End-of-RIB of a refresh takes from it what is not sent again.
    let capabilities =
        Capabilities { families: vec![Family::Ipv4Unicast], route_refresh: true, ..Capabilities::default() };
    one.handle_received(at(0), conn, &encode_open(&OpenMessage::new(65002, 90, [10, 0, 0, 2].into(), capabilities)));
    one.handle_received(at(0), conn, &keepalive());
    one.originate(at(1), "test", "10.0.0.0/24".parse().unwrap(), OriginAttributes::new("a test"));
    let sent = |one: &mut Speaker| {
        let mut octets = Vec::new();
        while let Some(action) = one.poll_action() {
            if let Action::Send { bytes, .. } = action {
                one.handle_sent(at(1), conn, bytes.len());
                octets.extend_from_slice(&bytes);
            }
        }
        octets
    };
    let has = |octets: &[u8], update: &[u8]| octets.windows(update.len()).any(|it| it == update);
    let (announced, withdrawn) = ([24, 10, 0, 0], [0, 4, 24, 10, 0, 0, 0, 0]);
    assert!(has(&sent(&mut one), &announced));
    assert!(one.resend(at(2), "n2"));
    one.set_peer(at(2), PeerConfig { export: ExportPolicy::Reject, ..peer });
    assert!(has(&sent(&mut one), &withdrawn), "the peer keeps what it may not have any more");
}

#[test]
fn a_changed_hold_time_resets_the_session_and_a_changed_limit_does_not() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    let mut config = open_peer("n2", &address(2), 65002);
    config.limit.max = 5;
    net.set_peer(nodes[0], config.clone());
    net.run_secs(1);
    assert_eq!(downs(&net, nodes[1]).len(), 0);
    config.hold_time = 30;
    net.set_peer(nodes[0], config);
    net.run_secs(1);
    let change = Notification::other_configuration_change();
    assert_eq!(downs(&net, nodes[1]), [&DownReason::NotificationReceived(change)]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    assert_eq!(net.speaker(nodes[1]).peer("n1").unwrap().hold_time, 30);
}

#[test]
fn another_port_is_for_the_next_dial_and_leaves_a_session_alone() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.set_peer(nodes[0], PeerConfig { port: 1790, ..open_peer("n2", &address(2), 65002) });
    net.run_secs(60);
    assert_eq!(net.state(nodes[0], "n2"), SessionState::Established);
    assert_eq!(downs(&net, nodes[0]), Vec::<&DownReason>::new());
    // Where there is no session, it is dialled at once.
    let a = net.add(&address(3), speaker(65003, 3));
    net.set_peer(a, open_peer("nobody", &address(99), 65009));
    net.run_secs(3600);
    let (now, changed) = (net.instant(), PeerConfig { port: 1790, ..open_peer("nobody", &address(99), 65009) });
    while net.speaker(a).poll_action().is_some() {}
    net.speaker(a).set_peer(now, changed);
    let dialled = std::iter::from_fn(|| net.speaker(a).poll_action());
    assert!(dialled.into_iter().any(|it| matches!(it, Action::Connect { remote, .. } if remote.port() == 1790)));
}

#[test]
fn a_removed_peer_is_told_and_its_routes_go() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    net.originate(nodes[1], "203.0.113.0/24");
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(1);
    assert!(net.route(nodes[0], "203.0.113.0/24").is_some());
    let now = net.instant();
    net.speaker(nodes[0]).remove_peer(now, "n2");
    net.run_secs(1);
    assert_eq!(net.route(nodes[0], "203.0.113.0/24"), None);
    assert!(net.speaker(nodes[0]).peers().is_empty());
    assert_eq!(downs(&net, nodes[1]).len(), 1);
}

#[test]
fn a_dial_that_nobody_answers_is_named_and_a_signed_one_points_at_the_password() {
    for (md5, expected) in [(false, Diagnosis::TcpTimeout), (true, Diagnosis::Md5Timeout)] {
        let mut own = Speaker::new(speaker(65001, 1), 7, Instant::default());
        let mut config = open_peer("n2", &address(2), 65002);
        config.transport.md5 = md5;
        own.set_peer(Instant::default(), config);
        assert_eq!(own.peer("n2").unwrap().diagnosis, None);
        // One dial, and the next.
        for _ in 0..3 {
            while own.poll_action().is_some() {}
            let next = own.poll_timeout().unwrap();
            own.handle_timeout(next);
        }
        assert_eq!(own.peer("n2").unwrap().diagnosis, Some(expected));
    }
}

#[test]
fn a_peer_that_falls_silent_once_it_is_up_is_damped() {
    let mut net = Net::new(1);
    let nodes = full_mesh(&mut net, &[65001, 65002]);
    let mut peer = open_peer("n2", &address(2), 65002);
    peer.graceful_restart.enabled = false;
    peer.hold_time = 3;
    net.set_peer(nodes[0], peer);
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.unplug(nodes[1]);
    while net.state(nodes[0], "n2") == SessionState::Established {
        net.run(Duration::from_millis(10));
    }
    // The time in which nothing was heard is none that the session lived.
    let (now, end) = (net.instant(), |number| (address(number).parse::<IpAddr>().unwrap(), 179).into());
    assert_eq!(net.speaker(nodes[0]).handle_accepted(now, end(1), end(2), None), None);
}
