//! BFD and sessions: when it is asked for, and what its failures end.

use std::time::Duration;

use engine::wire::Notification;
use engine::{
    Action, BfdConfig, BfdReport, BfdRequest, BfdState, Diagnosis, DownReason, Event, PeerConfig, SessionState,
    Shutdown,
};

use super::net::{Net, NodeId};
use super::{address, full_mesh, open_peer};

const CONFIG: BfdConfig = BfdConfig {
    min_interval: Duration::from_millis(100),
    min_receive: Duration::from_millis(100),
    multiplier: 3,
    multihop: None,
    strict: false,
};
const UP: BfdReport = BfdReport { state: BfdState::Up, diagnostic: "No Diagnostic", failed: false };
const FAILED: BfdReport =
    BfdReport { state: BfdState::Down, diagnostic: "Control Detection Time Expired", failed: true };

fn watched(number: u8, as_number: u32) -> PeerConfig {
    PeerConfig { bfd: Some(CONFIG), ..open_peer(&format!("n{number}"), &address(number), as_number) }
}

/// Two speakers, the first with BFD towards the second.
fn pair(net: &mut Net) -> [NodeId; 2] {
    let nodes = full_mesh(net, &[65001, 65002]);
    net.set_peer(nodes[0], watched(2, 65002));
    net.originate(nodes[1], "203.0.113.0/24");
    net.establish(&[(nodes[0], "n2"), (nodes[1], "n1")], 10);
    net.run_secs(5);
    [nodes[0], nodes[1]]
}

fn report(net: &mut Net, node: NodeId, report: BfdReport) {
    let now = net.instant();
    net.speaker(node).handle_bfd(now, "n2", report);
    net.settle();
}

fn requests(net: &Net, node: NodeId) -> Vec<&BfdRequest> {
    fn request(action: &Action) -> Option<&BfdRequest> {
        match action {
            Action::StartBfd(request) => Some(request),
            _ => None,
        }
    }
    net.nodes[node].bfd.iter().filter_map(request).collect()
}

fn stops(net: &Net, node: NodeId) -> usize {
    net.nodes[node].bfd.iter().filter(|it| matches!(it, Action::StopBfd { .. })).count()
}

fn last_down(net: &Net, node: NodeId) -> Option<DownReason> {
    let reason = |event: &Event| match event {
        Event::SessionDown { established: true, reason, .. } => Some(reason.clone()),
        _ => None,
    };
    net.nodes[node].events.iter().rev().find_map(reason)
}

#[test]
fn a_session_is_asked_for_once_bgp_is_established_with_the_addresses_in_use() {
    let mut net = Net::new(1);
    let [a, b] = pair(&mut net);
    let expected = BfdRequest {
        peer: "n2".into(),
        local: address(1).parse().unwrap(),
        remote: address(2).parse().unwrap(),
        interface: None,
        config: CONFIG,
        peer_restarted: false,
    };
    assert_eq!(requests(&net, a), [&expected]);
    assert_eq!(requests(&net, b), Vec::<&BfdRequest>::new(), "it is not configured there");
    let status = net.speaker(a).peer("n2").unwrap();
    assert_eq!((status.state, status.bfd.unwrap().last), (SessionState::Established, None), "BGP does not wait for it");
}

#[test]
fn a_failed_path_ends_the_session_at_once_and_both_sides_drop_the_routes() {
    let mut net = Net::new(1);
    let [a, b] = pair(&mut net);
    report(&mut net, a, UP);
    assert_eq!(net.state(a, "n2"), SessionState::Established);
    report(&mut net, a, FAILED);
    assert_ne!(net.state(a, "n2"), SessionState::Established);
    let status = net.speaker(a).peer("n2").unwrap();
    assert_eq!(status.last_error.unwrap().0, Diagnosis::BfdDown);
    assert_eq!((status.bfd.unwrap().downs, status.bfd.unwrap().last), (1, Some(FAILED)));
    assert!(!status.helping, "nothing is kept of a path that failed");
    // Both know hard resets, so that the other side keeps nothing either.
    let cease = Notification::hard_reset(&Notification::bfd_down());
    assert_eq!(last_down(&net, a), Some(DownReason::NotificationSent(cease.clone())));
    net.run_secs(1);
    assert_eq!(last_down(&net, b), Some(DownReason::NotificationReceived(cease)));
    assert!(!net.speaker(b).peer("n1").unwrap().helping);
}

#[test]
fn a_down_that_is_no_failure_ends_nothing() {
    let mut net = Net::new(1);
    let [a, _] = pair(&mut net);
    report(&mut net, a, UP);
    for state in [BfdState::Down, BfdState::Init, BfdState::AdminDown] {
        report(&mut net, a, BfdReport { state, diagnostic: "Administratively Down", failed: false });
        assert_eq!(net.state(a, "n2"), SessionState::Established, "{state:?}");
    }
}

#[test]
fn a_restarting_peer_that_bfd_misses_keeps_its_routes() {
    let mut net = Net::new(1);
    let [a, b] = pair(&mut net);
    report(&mut net, a, UP);
    net.kill(b);
    net.run_secs(1);
    let stale = |net: &mut Net| {
        let status = net.speaker(a).peer("n2").unwrap();
        (status.helping, status.families.iter().map(|it| it.stale).sum::<u32>())
    };
    assert_eq!(stale(&mut net), (true, 1));
    report(&mut net, a, FAILED);
    assert_eq!(stale(&mut net), (true, 1));
}

#[test]
fn an_unknown_peer_or_one_without_bfd_is_not_touched() {
    let mut net = Net::new(1);
    let [a, b] = pair(&mut net);
    let now = net.instant();
    net.speaker(b).handle_bfd(now, "n1", FAILED);
    net.speaker(a).handle_bfd(now, "nobody", FAILED);
    net.run_secs(1);
    assert_eq!((net.state(a, "n2"), net.state(b, "n1")), (SessionState::Established, SessionState::Established));
}

#[test]
fn timers_change_and_bfd_comes_and_goes_without_touching_the_session() {
    let mut net = Net::new(1);
    let [a, _] = pair(&mut net);
    let slower = BfdConfig { multiplier: 5, ..CONFIG };
    net.set_peer(a, PeerConfig { bfd: Some(slower), ..watched(2, 65002) });
    net.run_secs(1);
    assert_eq!(requests(&net, a).last().unwrap().config, slower);
    net.set_peer(a, open_peer("n2", &address(2), 65002));
    net.run_secs(1);
    assert_eq!(stops(&net, a), 1);
    assert_eq!(net.speaker(a).peer("n2").unwrap().bfd, None);
    net.set_peer(a, watched(2, 65002));
    net.run_secs(1);
    assert_eq!(requests(&net, a).len(), 3);
    assert_eq!((net.state(a, "n2"), net.speaker(a).peer("n2").unwrap().flaps), (SessionState::Established, 0));
}

#[test]
fn it_is_ended_administratively_behind_the_session_with_the_peer_and_with_the_speaker() {
    for planned in [true, false] {
        let mut net = Net::new(1);
        let [a, _] = pair(&mut net);
        let now = net.instant();
        if planned {
            net.speaker(a).shutdown(now, Shutdown::Planned);
        } else {
            net.speaker(a).remove_peer(now, "n2");
        }
        let actions: Vec<Action> = std::iter::from_fn(|| net.speaker(a).poll_action()).collect();
        // A path that fails under a session is something else than a session that ends.
        let close = actions.iter().position(|it| matches!(it, Action::Close { .. }));
        let stop = actions.iter().position(|it| matches!(it, Action::StopBfd { peer } if &**peer == "n2"));
        assert!(close.is_some() && close < stop, "planned {planned}: {actions:?}");
    }
}

/// Two speakers that know strict mode, as far as `strict` says so; nobody's BFD is up.
fn strict_pair(net: &mut Net, strict: [bool; 2], hold_time: u16) -> [NodeId; 2] {
    let nodes = full_mesh(net, &[65001, 65002]);
    let peer = |number, as_number, strict| PeerConfig {
        bfd: Some(BfdConfig { strict, ..CONFIG }),
        hold_time,
        ..watched(number, as_number)
    };
    net.set_peer(nodes[0], peer(2, 65002, strict[0]));
    net.set_peer(nodes[1], peer(1, 65001, strict[1]));
    net.run_secs(4);
    [nodes[0], nodes[1]]
}

fn say(net: &mut Net, node: NodeId, peer: &str, report: BfdReport) {
    let now = net.instant();
    net.speaker(node).handle_bfd(now, peer, report);
    net.settle();
}

#[test]
fn in_strict_mode_nobody_is_established_before_bfd_is_up_on_both_sides() {
    let mut net = Net::new(1);
    let [a, b] = strict_pair(&mut net, [true, true], 90);
    let states = |net: &Net| (net.state(a, "n2"), net.state(b, "n1"));
    assert_eq!(states(&net), (SessionState::OpenSent, SessionState::OpenSent));
    assert!(!requests(&net, a).is_empty() && !requests(&net, b).is_empty(), "BFD was asked for");
    assert_eq!(net.speaker(a).peer("n2").unwrap().diagnosis, Some(Diagnosis::BfdDown));
    say(&mut net, a, "n2", UP);
    net.run_secs(1);
    assert_eq!(states(&net), (SessionState::OpenConfirm, SessionState::OpenSent), "b has said nothing yet");
    say(&mut net, b, "n1", UP);
    net.run_secs(1);
    assert_eq!(states(&net), (SessionState::Established, SessionState::Established));
    // BFD goes on while BGP comes back: nothing is waited for any more.
    net.cut(*net.live_wires().last().unwrap());
    net.establish(&[(a, "n2"), (b, "n1")], 10);
}

#[test]
fn a_peer_without_strict_mode_is_not_waited_for() {
    for strict in [[true, false], [false, true]] {
        let mut net = Net::new(1);
        let [a, b] = strict_pair(&mut net, strict, 90);
        net.establish(&[(a, "n2"), (b, "n1")], 10);
    }
}

#[test]
fn in_strict_mode_a_path_that_stays_dark_ends_the_attempt() {
    for (hold_time, end) in [(9, (4, 0)), (0, (6, 10))] {
        let mut net = Net::new(1);
        let [a, _] = strict_pair(&mut net, [true, true], hold_time);
        net.run_secs(40);
        let ended = net.nodes[a].events.iter().any(|event| match event {
            Event::SessionDown {
                established: false,
                reason: DownReason::NotificationSent(it) | DownReason::NotificationReceived(it),
                ..
            } => (it.code, it.subcode) == end,
            _ => false,
        });
        assert!(ended, "hold time {hold_time}: {:?}", net.nodes[a].events);
        assert_ne!(net.state(a, "n2"), SessionState::Established);
    }
}

#[test]
fn in_strict_mode_bfd_that_fails_before_established_ends_the_attempt() {
    let mut net = Net::new(1);
    let [a, b] = strict_pair(&mut net, [true, true], 90);
    say(&mut net, a, "n2", UP);
    net.run_secs(1);
    say(&mut net, a, "n2", FAILED);
    net.run_secs(1);
    assert!(net.state(a, "n2") < SessionState::OpenConfirm && net.state(b, "n1") < SessionState::OpenConfirm);
    assert_eq!(net.speaker(a).peer("n2").unwrap().last_error.unwrap().0, Diagnosis::BfdDown);
}
