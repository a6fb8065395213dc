//! One session, rule by rule.

use std::time::Duration;

use bfd::{Change, Config, Diagnostic, Instant, Packet, Session, State};

const MINE: u32 = 11;
const THEIRS: u32 = 22;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn at(milliseconds: u64) -> Instant {
    Instant::new(ms(milliseconds))
}

const fn fast() -> Config {
    Config { min_interval: Duration::from_millis(100), min_receive: Duration::from_millis(100), multiplier: 3 }
}

fn from_peer(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        r#final: false,
        control_plane_independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: THEIRS,
        your_discriminator: MINE,
        desired_min_tx: ms(100),
        required_min_rx: ms(100),
        required_min_echo_rx: Duration::ZERO,
    }
}

fn session() -> Session {
    Session::new(fast(), MINE, 1, at(0))
}

/// A session that is Up at 0 ms, with everything sent and the Poll Sequence over.
fn up() -> Session {
    let mut session = session();
    session.handle_packet(at(0), &from_peer(State::Down));
    session.handle_packet(at(0), &from_peer(State::Init));
    session.handle_packet(at(0), &Packet { r#final: true, ..from_peer(State::Up) });
    assert_eq!(session.status().state, State::Up);
    while session.poll_transmit(at(0)).is_some() {}
    session
}

/// A session brought to a state.
fn in_state(state: State) -> Session {
    match state {
        State::Down => session(),
        State::Init => {
            let mut session = session();
            session.handle_packet(at(0), &from_peer(State::Down));
            session
        }
        State::Up => up(),
        State::AdminDown => {
            let mut session = up();
            session.hold_down(at(0));
            session
        }
    }
}

/// Points in time, in milliseconds, at which the session sends when it is woken as it asks to be.
fn sends(session: &mut Session, from: u64, until: u64) -> Vec<(u64, Packet)> {
    let mut sent = Vec::new();
    let mut now = at(from);
    while now <= at(until) {
        while let Some(packet) = session.poll_transmit(now) {
            sent.push((now.since_epoch().as_millis() as u64, packet));
        }
        session.handle_timeout(now);
        let Some(next) = session.poll_timeout() else { break };
        now = next.max(now + Duration::from_micros(1));
    }
    sent
}

#[test]
fn the_whole_state_machine_is_that_of_section_6_8_6() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        (Down, [(AdminDown, Down), (Down, Init), (Init, Up), (Up, Down)]),
        (Init, [(AdminDown, Down), (Down, Init), (Init, Up), (Up, Up)]),
        (Up, [(AdminDown, Down), (Down, Down), (Init, Up), (Up, Up)]),
        (AdminDown, [(AdminDown, AdminDown), (Down, AdminDown), (Init, AdminDown), (Up, AdminDown)]),
    ];
    for (state, row) in table {
        for (received, expected) in row {
            let mut session = in_state(state);
            let change = session.handle_packet(at(1), &from_peer(received));
            assert_eq!(session.status().state, expected, "{state:?} + {received:?}");
            assert_eq!(change.map(|it| (it.from, it.to)), (state != expected).then_some((state, expected)));
            if expected == Down && state != Down {
                assert_eq!(session.status().diagnostic, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN);
            }
        }
    }
}

#[test]
fn only_a_loss_that_nobody_ordered_is_a_failure() {
    let down = |received| up().handle_packet(at(1), &from_peer(received)).unwrap();
    assert!(down(State::Down).is_failure());
    assert!(!down(State::AdminDown).is_failure());
    assert!(!up().hold_down(at(1)).unwrap().is_failure());
    assert!(up().handle_timeout(at(300)).unwrap().is_failure());
    assert!(in_state(State::Init).handle_timeout(at(3000)).is_some_and(|it| !it.is_failure()));
}

#[test]
fn silence_for_exactly_the_detection_time_ends_it_with_diagnostic_1() {
    let mut session = up();
    assert_eq!(session.status().detection_time, ms(300));
    session.handle_packet(at(50), &from_peer(State::Up));
    assert_eq!(session.handle_timeout(at(349)), None);
    let change = session.handle_timeout(at(350)).unwrap();
    let expected = Change {
        from: State::Up,
        to: State::Down,
        diagnostic: Diagnostic::CONTROL_DETECTION_TIME_EXPIRED,
        remote_admin_down: false,
        peer_restarted: false,
    };
    assert_eq!(change, expected);
    let said = session.poll_transmit(at(350)).unwrap();
    assert_eq!((said.state, said.diagnostic.code()), (State::Down, 1), "it is said at once");
    assert_eq!(said.your_discriminator, 0, "whoever comes back may have another number");
}

#[test]
fn detection_time_is_the_peers_multiplier_by_the_slower_of_its_sending_and_our_receiving() {
    for (multiplier, their_tx, our_rx, expected) in [(3, 100, 100, 300), (5, 20, 100, 500), (2, 400, 100, 800)] {
        let mut session = Session::new(Config { min_receive: ms(our_rx), ..fast() }, MINE, 1, at(0));
        session.handle_packet(at(0), &Packet { multiplier, desired_min_tx: ms(their_tx), ..from_peer(State::Down) });
        assert_eq!(session.status().detection_time, ms(expected));
    }
}

#[test]
fn until_it_is_up_a_packet_leaves_no_more_than_every_three_quarters_of_a_second() {
    let mut session = session();
    let sent = sends(&mut session, 0, 20_000);
    assert!((20..=27).contains(&sent.len()), "{} packets in 20 s", sent.len());
    assert!(sent.iter().all(|(_, it)| it.desired_min_tx == ms(1000) && it.state == State::Down));
    assert!(sent.windows(2).all(|pair| (749..=1001).contains(&(pair[1].0 - pair[0].0))), "{sent:?}");
}

#[test]
fn once_up_it_sends_at_the_slower_of_both_wishes_with_jitter() {
    for (their_rx, from, to) in [(100, 74, 101), (250, 187, 251), (10, 74, 101)] {
        let mut session = up();
        let mut gaps = Vec::new();
        let mut last = None;
        for now in 0..4000 {
            if now % 50 == 0 {
                session.handle_packet(at(now), &Packet { required_min_rx: ms(their_rx), ..from_peer(State::Up) });
            }
            while session.poll_transmit(at(now)).is_some() {
                gaps.extend(last.map(|last| now - last));
                last = Some(now);
            }
        }
        // The first gap has the change of interval in it.
        assert!(gaps.iter().skip(1).all(|gap| (from..=to + 1).contains(gap)), "{their_rx} ms: {gaps:?}");
        assert!(gaps.iter().max() > gaps.iter().skip(1).min(), "no jitter: {gaps:?}");
    }
}

#[test]
fn coming_up_is_announced_by_a_poll_sequence_that_ends_with_the_final_bit() {
    let mut session = in_state(State::Init);
    while session.poll_transmit(at(0)).is_some() {}
    session.handle_packet(at(1), &from_peer(State::Init));
    let polls = session.poll_transmit(at(1)).unwrap();
    assert!(polls.poll && polls.state == State::Up && polls.desired_min_tx == ms(100));
    assert_eq!(session.poll_transmit(at(1)), None, "no packets beyond the periodic ones");
    session.handle_packet(at(2), &from_peer(State::Up));
    assert!(sends(&mut session, 2, 250).iter().all(|(_, it)| it.poll), "until it is answered");
    session.handle_packet(at(260), &Packet { r#final: true, ..from_peer(State::Up) });
    assert!(sends(&mut session, 260, 500).iter().all(|(_, it)| !it.poll));
}

#[test]
fn a_poll_is_answered_at_once_by_a_final_without_poll_in_any_state_but_admin_down() {
    for state in [State::Down, State::Init, State::Up] {
        let mut session = in_state(state);
        while session.poll_transmit(at(0)).is_some() {}
        let received = if state == State::Up { State::Up } else { State::Down };
        session.handle_packet(at(1), &Packet { poll: true, required_min_rx: Duration::ZERO, ..from_peer(received) });
        let answer = session.poll_transmit(at(1)).unwrap();
        assert!(answer.r#final && !answer.poll, "{state:?}");
    }
    let mut session = in_state(State::AdminDown);
    while session.poll_transmit(at(0)).is_some() {}
    session.handle_packet(at(1), &Packet { poll: true, ..from_peer(State::Up) });
    assert_eq!(session.poll_transmit(at(1)), None);
}

#[test]
fn a_slower_sender_keeps_its_pace_until_the_peer_knows() {
    let mut session = up();
    session.set_config(at(10), Config { min_interval: ms(1000), ..fast() });
    assert_eq!(session.status().transmit_interval, ms(100));
    session.handle_packet(at(20), &Packet { r#final: true, ..from_peer(State::Up) });
    assert_eq!(session.status().transmit_interval, ms(1000));
}

#[test]
fn a_faster_receiver_waits_for_the_peer_before_it_counts_on_it() {
    let mut session = Session::new(Config { min_receive: ms(500), ..fast() }, MINE, 1, at(0));
    for state in [State::Down, State::Init] {
        session.handle_packet(at(0), &from_peer(state));
    }
    session.handle_packet(at(0), &Packet { r#final: true, ..from_peer(State::Up) });
    assert_eq!(session.status().detection_time, ms(1500));
    session.set_config(at(1), fast());
    assert_eq!(session.status().detection_time, ms(1500));
    session.handle_packet(at(2), &Packet { r#final: true, ..from_peer(State::Up) });
    assert_eq!(session.status().detection_time, ms(300));
}

#[test]
fn a_change_during_a_poll_sequence_waits_for_a_second_answer() {
    let mut session = up();
    let answer = Packet { r#final: true, ..from_peer(State::Up) };
    session.set_config(at(10), Config { min_interval: ms(500), ..fast() });
    session.set_config(at(11), Config { min_interval: ms(900), ..fast() });
    session.handle_packet(at(20), &answer);
    assert_eq!(session.status().transmit_interval, ms(100), "the answer may be to the first change");
    session.handle_packet(at(120), &answer);
    assert_eq!(session.status().transmit_interval, ms(900));
}

#[test]
fn a_peer_that_becomes_able_to_receive_faster_gets_the_next_packet_at_once() {
    let mut session = up();
    session.handle_packet(at(1), &Packet { required_min_rx: ms(5000), ..from_peer(State::Up) });
    while session.poll_transmit(at(1)).is_some() {}
    assert!(session.poll_transmit(at(250)).is_none());
    session.handle_packet(at(250), &from_peer(State::Up));
    assert!(session.poll_transmit(at(250)).is_some());
}

#[test]
fn a_peer_that_wants_no_packets_gets_none_but_changes_of_state() {
    let mut session = up();
    let wish = Packet { required_min_rx: Duration::ZERO, ..from_peer(State::Up) };
    session.handle_packet(at(1), &wish);
    assert_eq!(sends(&mut session, 1, 200), []);
    session.handle_packet(at(201), &Packet { state: State::Down, ..wish });
    assert_eq!(sends(&mut session, 201, 400).iter().map(|it| it.1.state).collect::<Vec<_>>(), [State::Down]);
}

#[test]
fn a_peer_in_demand_mode_is_spared_periodic_packets_and_still_watched() {
    let mut session = up();
    session.handle_packet(at(1), &Packet { demand: true, ..from_peer(State::Up) });
    assert_eq!(sends(&mut session, 1, 290), []);
    assert_eq!(session.status().state, State::Up);
    let answered = session.handle_packet(at(290), &Packet { demand: true, poll: true, ..from_peer(State::Up) });
    assert!(answered.is_none() && session.poll_transmit(at(290)).unwrap().r#final);
    assert!(session.handle_timeout(at(590)).is_some(), "we did not ask for demand mode: its silence counts");
}

#[test]
fn a_session_held_down_says_so_and_takes_nothing() {
    let mut session = up();
    session.hold_down(at(10));
    let said = session.poll_transmit(at(10)).unwrap();
    assert_eq!((said.state, said.diagnostic.code()), (State::AdminDown, 7));
    assert_eq!(session.handle_packet(at(20), &from_peer(State::Up)), None);
    assert_eq!(session.handle_timeout(at(5000)), None);
    assert_eq!(session.status().state, State::AdminDown);
}

#[test]
fn a_bfd_that_restarted_with_its_control_plane_is_no_failure_and_comes_up_with_its_new_number() {
    let reborn = |state, your_discriminator| Packet { my_discriminator: 33, your_discriminator, ..from_peer(state) };
    let mut session = up();
    session.peer_restarted();
    let change = session.handle_packet(at(10), &reborn(State::Down, 0)).unwrap();
    assert!(change.to == State::Down && change.peer_restarted && !change.is_failure());
    session.handle_packet(at(20), &reborn(State::Down, 0));
    session.handle_packet(at(30), &reborn(State::Init, MINE));
    assert_eq!((session.status().state, session.status().remote_discriminator), (State::Up, 33));
    assert!(session.handle_packet(at(40), &reborn(State::Down, MINE)).unwrap().is_failure(), "only that once");
}

#[test]
fn a_bfd_whose_control_plane_restarted_may_fall_silent_once() {
    let mut session = up();
    session.peer_restarted();
    assert!(!session.handle_timeout(at(300)).unwrap().is_failure());
}

#[test]
fn a_bfd_that_lived_on_or_is_independent_can_still_fail() {
    let mut session = up();
    session.peer_restarted();
    session.handle_packet(at(10), &from_peer(State::Up));
    assert!(session.handle_timeout(at(310)).unwrap().is_failure());

    let mut session = up();
    session.handle_packet(at(10), &Packet { control_plane_independent: true, ..from_peer(State::Up) });
    session.peer_restarted();
    assert!(session.handle_timeout(at(310)).unwrap().is_failure());

    let mut session = up();
    let change = session.handle_packet(at(10), &Packet { my_discriminator: 33, ..from_peer(State::Down) });
    assert!(change.unwrap().is_failure(), "a new number alone excuses nothing");
}

#[test]
fn neither_demand_nor_echo_nor_independence_is_ever_offered() {
    let mut session = up();
    for (_, packet) in sends(&mut session, 0, 250) {
        assert!(!packet.demand && !packet.control_plane_independent && packet.required_min_echo_rx.is_zero());
    }
}
