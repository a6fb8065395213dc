//! Every state with every event, against RFC 4271 §8.2.2 (and RFC 4724 §5, RFC 6608, RFC 9687 §4.3).

use std::time::Duration;

use super::{Event, Negotiated, Output, Parameters, State, step};
use crate::config::{PeerConfig, PeerKind, RemoteAs};
use crate::instant::Instant;
use crate::output::DownReason;
use crate::prefix::Family;
use crate::random::Random;
use crate::status::SessionState;
use crate::wire::{Capabilities, Notification, OpenMessage, RefreshKind, RouteRefresh};

const NOW: Instant = Instant::new(Duration::from_secs(100));
const HOLD: u16 = 90;

fn open(as_number: u32, hold_time: u16) -> OpenMessage {
    let capabilities = Capabilities { families: vec![Family::Ipv4Unicast], ..Capabilities::default() };
    OpenMessage::new(as_number, hold_time, [10, 0, 0, 1].into(), capabilities)
}

fn terms(hold_time: u16) -> Negotiated {
    let config = PeerConfig::new("p", [192, 0, 2, 1].into(), RemoteAs::Exactly(65002), PeerKind::Static);
    Negotiated::new(&open(65001, hold_time), &open(65002, hold_time), &config)
}

fn after(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

fn states() -> [State; 7] {
    let session = || Box::new(terms(HOLD));
    [
        State::Idle,
        State::Connect { retry: after(5) },
        State::Active { retry: Some(after(5)) },
        State::OpenSent { hold: after(30) },
        State::Unverified { hold: after(90), confirmed: false, session: session() },
        State::OpenConfirm { hold: Some(after(90)), keepalive: Some(after(30)), session: session() },
        State::Established {
            hold: Some(after(90)),
            keepalive: Some(after(30)),
            send_hold: Some(after(480)),
            session: session(),
        },
    ]
}

fn cease() -> Notification {
    Notification::administrative_shutdown("")
}

fn fault() -> Notification {
    Notification::malformed_as_path()
}

const BODY: &[u8] = &[0, 0, 0, 0];

fn refresh() -> RouteRefresh {
    RouteRefresh::new(Family::Ipv4Unicast, RefreshKind::Request)
}

fn events() -> [Event<'static>; 24] {
    [
        Event::ManualStart,
        Event::ManualStop(cease()),
        Event::AutomaticStart,
        Event::ManualStartWithPassiveTcpEstablishment,
        Event::AutomaticStartWithPassiveTcpEstablishment,
        Event::AutomaticStop(cease()),
        Event::ConnectRetryTimerExpires,
        Event::HoldTimerExpires,
        Event::KeepaliveTimerExpires,
        Event::SendHoldTimerExpires,
        Event::TcpCrAcked,
        Event::TcpConnectionConfirmed,
        Event::TcpConnectionFails,
        Event::BgpOpen(Box::new(open(65002, HOLD))),
        Event::BgpHeaderErr(fault()),
        Event::BgpOpenMsgErr(fault()),
        Event::OpenCollisionDump,
        Event::NotifMsgVerErr(fault()),
        Event::NotifMsg(fault()),
        Event::KeepAliveMsg,
        Event::UpdateMsg(BODY),
        Event::UpdateMsgErr(fault()),
        Event::RouteRefreshMsg(refresh()),
        Event::BfdUp,
    ]
}

/// What a cell of the table expects.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    /// No output, same state.
    Ignored,
    /// To this state with these outputs.
    Goes(SessionState, Vec<Output<'static>>),
    /// To Idle without a word; counter + 1.
    Drops(DownReason),
    /// To Idle without a word; counter as it was.
    DropsUncounted(DownReason),
    /// To Idle with this NOTIFICATION; counter + 1.
    Notifies(Notification),
    /// To Idle with this NOTIFICATION; counter = 0.
    Stops,
}

impl Cell {
    fn expected(self, state: SessionState) -> (SessionState, Vec<Output<'static>>) {
        let idle = SessionState::Idle;
        match self {
            Self::Ignored => (state, Vec::new()),
            Self::Goes(to, outputs) => (to, outputs),
            Self::Drops(reason) => (idle, vec![Output::Drop, Output::CountRetry, Output::Down(reason)]),
            Self::DropsUncounted(reason) => (idle, vec![Output::Drop, Output::Down(reason)]),
            Self::Notifies(it) => {
                let down = Output::Down(DownReason::NotificationSent(it.clone()));
                (idle, vec![Output::SendNotification(it), Output::Drop, Output::CountRetry, down])
            }
            Self::Stops => {
                let down = Output::Down(DownReason::NotificationSent(cease()));
                (idle, vec![Output::SendNotification(cease()), Output::Drop, Output::ZeroRetries, down])
            }
        }
    }
}

fn idle(event: &Event<'_>) -> Cell {
    match event {
        Event::ManualStart | Event::AutomaticStart => {
            Cell::Goes(SessionState::Connect, vec![Output::ZeroRetries, Output::Dial])
        }
        Event::ManualStartWithPassiveTcpEstablishment | Event::AutomaticStartWithPassiveTcpEstablishment => {
            Cell::Goes(SessionState::Active, vec![Output::ZeroRetries])
        }
        _ => Cell::Ignored,
    }
}

fn is_start(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::ManualStart
            | Event::AutomaticStart
            | Event::ManualStartWithPassiveTcpEstablishment
            | Event::AutomaticStartWithPassiveTcpEstablishment
    )
}

fn received() -> DownReason {
    DownReason::NotificationReceived(fault())
}

fn connect(event: &Event<'_>) -> Cell {
    match event {
        event if is_start(event) || *event == Event::BfdUp => Cell::Ignored,
        Event::ManualStop(_) => {
            Cell::Goes(SessionState::Idle, vec![Output::Drop, Output::ZeroRetries, Output::Down(DownReason::Closed)])
        }
        Event::ConnectRetryTimerExpires => Cell::Goes(SessionState::Connect, vec![Output::Drop, Output::Dial]),
        Event::TcpCrAcked | Event::TcpConnectionConfirmed => Cell::Goes(SessionState::OpenSent, vec![Output::SendOpen]),
        Event::TcpConnectionFails => Cell::DropsUncounted(DownReason::ConnectionLost),
        Event::NotifMsgVerErr(_) | Event::NotifMsg(_) => Cell::Drops(received()),
        _ => Cell::Drops(DownReason::Closed),
    }
}

fn active(event: &Event<'_>) -> Cell {
    match event {
        Event::ConnectRetryTimerExpires => Cell::Goes(SessionState::Connect, vec![Output::Dial]),
        Event::TcpConnectionFails => Cell::Drops(DownReason::ConnectionLost),
        other => connect(other),
    }
}

/// RFC 6608: subcode of the state, data = type of the message.
fn unexpected(subcode: u8, message: u8) -> Cell {
    Cell::Notifies(Notification::new(5, subcode, vec![message]))
}

fn open_sent(event: &Event<'_>) -> Cell {
    match event {
        event if is_start(event) => Cell::Ignored,
        Event::TcpCrAcked | Event::TcpConnectionConfirmed | Event::BfdUp => Cell::Ignored,
        Event::ManualStop(_) => Cell::Stops,
        Event::AutomaticStop(_) => Cell::Notifies(cease()),
        Event::HoldTimerExpires => Cell::Notifies(Notification::new(4, 0, Vec::new())),
        Event::TcpConnectionFails => {
            Cell::Goes(SessionState::Active, vec![Output::Drop, Output::Down(DownReason::ConnectionLost)])
        }
        Event::BgpOpen(_) => Cell::Goes(SessionState::OpenConfirm, vec![Output::SendKeepalive]),
        Event::BgpHeaderErr(_) | Event::BgpOpenMsgErr(_) => Cell::Notifies(fault()),
        Event::OpenCollisionDump => Cell::Notifies(Notification::new(6, 7, Vec::new())),
        Event::NotifMsgVerErr(_) => Cell::DropsUncounted(received()),
        // §6.4: never answered, whatever "any other event" says.
        Event::NotifMsg(_) => Cell::Drops(received()),
        Event::KeepAliveMsg => unexpected(1, 4),
        Event::UpdateMsg(_) | Event::UpdateMsgErr(_) => unexpected(1, 2),
        Event::RouteRefreshMsg(_) => unexpected(1, 5),
        _ => Cell::Notifies(Notification::new(5, 0, Vec::new())),
    }
}

/// draft-ietf-idr-bgp-bfd-strict-mode: a part of OpenSent.
fn unverified(event: &Event<'_>) -> Cell {
    match event {
        Event::BfdUp => Cell::Goes(SessionState::OpenConfirm, vec![Output::SendKeepalive]),
        Event::KeepAliveMsg => Cell::Ignored,
        Event::BgpOpen(_) => unexpected(1, 1),
        other => open_sent(other),
    }
}

fn open_confirm(event: &Event<'_>) -> Cell {
    match event {
        Event::KeepaliveTimerExpires => Cell::Goes(SessionState::OpenConfirm, vec![Output::SendKeepalive]),
        Event::TcpConnectionFails => Cell::Drops(DownReason::ConnectionLost),
        Event::KeepAliveMsg => Cell::Goes(SessionState::Established, vec![Output::Up]),
        Event::BgpOpen(_) => unexpected(2, 1),
        Event::UpdateMsg(_) | Event::UpdateMsgErr(_) => unexpected(2, 2),
        Event::RouteRefreshMsg(_) => unexpected(2, 5),
        other => open_sent(other),
    }
}

fn established(event: &Event<'_>) -> Cell {
    match event {
        Event::KeepaliveTimerExpires => Cell::Goes(SessionState::Established, vec![Output::SendKeepalive]),
        Event::SendHoldTimerExpires => Cell::Goes(
            SessionState::Idle,
            vec![
                Output::SendNotification(Notification::new(8, 0, Vec::new())),
                Output::Drop,
                Output::CountRetry,
                Output::Down(DownReason::SendHoldTimerExpired),
            ],
        ),
        Event::TcpConnectionFails => Cell::Drops(DownReason::ConnectionLost),
        Event::NotifMsgVerErr(_) | Event::NotifMsg(_) => Cell::Drops(received()),
        Event::KeepAliveMsg => Cell::Ignored,
        Event::UpdateMsg(_) => Cell::Goes(SessionState::Established, vec![Output::Update(BODY)]),
        Event::RouteRefreshMsg(_) => Cell::Goes(SessionState::Established, vec![Output::Refresh(refresh())]),
        Event::UpdateMsgErr(_) => Cell::Notifies(fault()),
        Event::BgpOpen(_) | Event::BgpOpenMsgErr(_) => unexpected(3, 1),
        other => open_sent(other),
    }
}

fn run(state: State, event: Event<'static>, passive: bool) -> (State, Vec<Output<'static>>) {
    let negotiate = |theirs: &OpenMessage| terms(theirs.hold_time);
    let mut parameters = Parameters {
        connect_retry: Duration::from_secs(5),
        passive,
        verified: false,
        negotiate: &negotiate,
        random: &mut Random::new(1),
    };
    step(state, event, NOW, &mut parameters)
}

#[test]
fn every_state_answers_every_event_as_the_rfc_says() {
    let columns: [fn(&Event<'_>) -> Cell; 7] =
        [idle, connect, active, open_sent, unverified, open_confirm, established];
    let mut cells = 0;
    for (state, column) in states().into_iter().zip(columns) {
        for event in events() {
            let name = state.name();
            let expected = column(&event).expected(name);
            let (next, outputs) = run(state.clone(), event.clone(), false);
            assert_eq!((next.name(), outputs), expected, "{name:?} with {event:?}");
            cells += 1;
        }
    }
    assert_eq!(cells, 7 * 24);
}

#[test]
fn only_established_hands_out_an_update() {
    for state in states() {
        let established = state.name() == SessionState::Established;
        let (_, outputs) = run(state, Event::UpdateMsg(BODY), false);
        assert_eq!(outputs.contains(&Output::Update(BODY)), established);
    }
}

#[test]
fn terms_exist_once_the_open_was_good() {
    for state in states() {
        let good = state.name() >= SessionState::OpenConfirm || matches!(state, State::Unverified { .. });
        assert_eq!(state.session().is_some(), good);
    }
}

#[test]
fn an_open_is_waited_for_thirty_seconds_and_then_the_negotiated_time_counts() {
    let [_, connect, _, open_sent, ..] = states();
    let (state, _) = run(connect, Event::TcpCrAcked, false);
    assert_eq!(state.deadline(), Some((after(30), Event::HoldTimerExpires)));
    let (state, _) = run(open_sent, Event::BgpOpen(Box::new(open(65002, 9))), false);
    let State::OpenConfirm { hold, keepalive, .. } = state else { panic!("{state:?}") };
    assert_eq!(hold, Some(after(9)));
    assert!(keepalive >= Some(NOW + Duration::from_millis(2250)) && keepalive <= Some(after(3)));
}

#[test]
fn with_hold_time_zero_no_timer_runs() {
    let [.., open_sent, _, _, _] = states();
    let (state, _) = run(open_sent, Event::BgpOpen(Box::new(open(65002, 0))), false);
    assert_eq!(state.deadline(), None);
    let (state, _) = run(state, Event::KeepAliveMsg, false);
    assert_eq!((state.name(), state.deadline()), (SessionState::Established, None));
}

#[test]
fn what_the_peer_sends_restarts_the_hold_timer_and_what_we_write_the_send_hold_timer() {
    for event in [Event::KeepAliveMsg, Event::UpdateMsg(BODY), Event::RouteRefreshMsg(refresh())] {
        let [.., mut established] = states();
        if let State::Established { hold, .. } = &mut established {
            *hold = Some(after(1));
        }
        let (state, _) = run(established, event, false);
        let State::Established { hold, .. } = state else { panic!("{state:?}") };
        assert_eq!(hold, Some(after(90)));
    }
    let [.., mut established] = states();
    established.written(after(10));
    let State::Established { send_hold, .. } = established else { panic!("{established:?}") };
    assert_eq!(send_hold, Some(after(490)));
}

#[test]
fn an_update_puts_off_the_next_keepalive() {
    let [.., mut established] = states();
    established.update_sent(after(20), &mut Random::new(1));
    let State::Established { keepalive, .. } = established else { panic!("{established:?}") };
    assert!(keepalive >= Some(NOW + Duration::from_millis(42_500)) && keepalive <= Some(after(50)));
}

#[test]
fn the_send_hold_time_is_eight_minutes_or_twice_the_hold_time() {
    let [.., open_confirm, _] = states();
    let State::OpenConfirm { hold, keepalive, .. } = open_confirm else { panic!() };
    let session = Box::new(terms(600));
    let (state, _) = run(State::OpenConfirm { hold, keepalive, session }, Event::KeepAliveMsg, false);
    let State::Established { send_hold, .. } = state else { panic!("{state:?}") };
    assert_eq!(send_hold, Some(after(1200)));
}

#[test]
fn a_passive_peer_never_dials_by_itself() {
    let (state, outputs) = run(State::Idle, Event::ManualStartWithPassiveTcpEstablishment, true);
    assert_eq!((state.deadline(), outputs), (None, vec![Output::ZeroRetries]));
    let (state, _) = run(State::OpenSent { hold: after(30) }, Event::TcpConnectionFails, true);
    assert_eq!(state, State::Active { retry: None });
}
