//! The finite state machine of one connection (RFC 4271 §8.2.2), as a function.
//!
//! A state carries what exists only in it: timers that run there are deadlines in the state, the terms of the session
//! exist from OpenConfirm on, and only Established hands out the content of an UPDATE. Where the text leaves room:
//!
//! - A NOTIFICATION in OpenSent closes silently: §6.4 forbids an answer, whatever "any other event" says.
//! - The hold timer before an OPEN is 30 s, so that a mute connection does not hold a slot for minutes.
//! - Received ROUTE-REFRESH restarts the hold timer as UPDATE does.

use std::time::Duration;

use super::{Event, Negotiated, unverified};
use crate::instant::Instant;
use crate::output::DownReason;
use crate::random::Random;
use crate::status::SessionState;
use crate::wire::{MessageKind, Notification, OpenMessage, RouteRefresh};

/// Hold timer until the peer's OPEN.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// A state and what exists only in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Idle,
    Connect {
        retry: Instant,
    },
    Active {
        /// Not running for a passive peer.
        retry: Option<Instant>,
    },
    OpenSent {
        hold: Instant,
    },
    /// A part of OpenSent: the OPEN was good, and BFD is not up yet. The peer has no KEEPALIVE of ours, so that it cannot
    /// be Established before us.
    Unverified {
        hold: Instant,
        /// A KEEPALIVE was received.
        confirmed: bool,
        session: Box<Negotiated>,
    },
    OpenConfirm {
        hold: Option<Instant>,
        keepalive: Option<Instant>,
        session: Box<Negotiated>,
    },
    Established {
        hold: Option<Instant>,
        keepalive: Option<Instant>,
        send_hold: Option<Instant>,
        session: Box<Negotiated>,
    },
}

/// What to do on a transition, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// Open a TCP connection.
    Dial,
    /// Close it, or stop dialing.
    Drop,
    SendOpen,
    SendKeepalive,
    /// A BFD session must be up before this goes on.
    AwaitBfd,
    SendNotification(Notification),
    /// ConnectRetryCounter + 1.
    CountRetry,
    /// ConnectRetryCounter = 0.
    ZeroRetries,
    /// The session is there.
    Up,
    /// The connection ended.
    Down(DownReason),
    /// The body of an UPDATE.
    Update(&'a [u8]),
    Refresh(RouteRefresh),
}

/// What a step may know besides state and event.
pub(crate) struct Parameters<'p> {
    /// ConnectRetryTime, backed off, before jitter.
    pub(crate) connect_retry: Duration,
    /// We never dial.
    pub(crate) passive: bool,
    /// BFD has nothing against a session.
    pub(crate) verified: bool,
    /// Terms for a valid OPEN.
    pub(crate) negotiate: &'p dyn Fn(&OpenMessage) -> Negotiated,
    pub(crate) random: &'p mut Random,
}

impl State {
    pub(crate) const fn name(&self) -> SessionState {
        match self {
            Self::Idle => SessionState::Idle,
            Self::Connect { .. } => SessionState::Connect,
            Self::Active { .. } => SessionState::Active,
            Self::OpenSent { .. } | Self::Unverified { .. } => SessionState::OpenSent,
            Self::OpenConfirm { .. } => SessionState::OpenConfirm,
            Self::Established { .. } => SessionState::Established,
        }
    }

    /// Terms of the session, once the peer's OPEN is known to be good.
    pub(crate) fn session(&self) -> Option<&Negotiated> {
        match self {
            Self::Unverified { session, .. }
            | Self::OpenConfirm { session, .. }
            | Self::Established { session, .. } => Some(session),
            _ => None,
        }
    }

    /// The next timer to expire, with its event.
    pub(crate) fn deadline(&self) -> Option<(Instant, Event<'static>)> {
        let hold = |at: &Option<Instant>| at.map(|at| (at, Event::HoldTimerExpires));
        let keepalive = |at: &Option<Instant>| at.map(|at| (at, Event::KeepaliveTimerExpires));
        let first = |timers: [Option<(Instant, Event<'static>)>; 3]| timers.into_iter().flatten().min_by_key(|it| it.0);
        match self {
            Self::Idle | Self::Active { retry: None } => None,
            Self::Connect { retry } | Self::Active { retry: Some(retry) } => {
                Some((*retry, Event::ConnectRetryTimerExpires))
            }
            Self::OpenSent { hold } | Self::Unverified { hold, .. } => Some((*hold, Event::HoldTimerExpires)),
            Self::OpenConfirm { hold: at, keepalive: next, .. } => first([hold(at), keepalive(next), None]),
            Self::Established { hold: at, keepalive: next, send_hold, .. } => {
                first([hold(at), keepalive(next), send_hold.map(|at| (at, Event::SendHoldTimerExpires))])
            }
        }
    }

    /// An UPDATE was sent: the next KEEPALIVE can wait (RFC 4271 §8.2.2, Established).
    pub(crate) fn update_sent(&mut self, now: Instant, random: &mut Random) {
        if let Self::Established { keepalive, session, .. } = self {
            *keepalive = next_keepalive(now, session, random);
        }
    }

    /// The socket accepted bytes (RFC 9687 §4.3).
    pub(crate) fn written(&mut self, now: Instant) {
        if let Self::Established { send_hold, session, .. } = self {
            *send_hold = next_send_hold(now, session);
        }
    }
}

pub(super) fn next_hold(now: Instant, session: &Negotiated) -> Option<Instant> {
    (session.hold_time > 0).then(|| now + Duration::from_secs(session.hold_time.into()))
}

pub(super) fn next_keepalive(now: Instant, session: &Negotiated, random: &mut Random) -> Option<Instant> {
    (session.keepalive_time > 0).then(|| now + random.jitter(Duration::from_secs(session.keepalive_time.into())))
}

pub(super) fn next_send_hold(now: Instant, session: &Negotiated) -> Option<Instant> {
    (session.hold_time > 0).then(|| now + Duration::from_secs(session.send_hold_time.into()))
}

/// One transition.
pub(crate) fn step<'a>(
    state: State,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    match state {
        State::Idle => idle(&event, now, parameters),
        State::Connect { .. } | State::Active { .. } => connecting(state, event, now, parameters),
        State::OpenSent { .. } => open_sent(state, event, now, parameters),
        State::Unverified { hold, confirmed, session } => {
            unverified::step((hold, confirmed), session, event, now, parameters)
        }
        State::OpenConfirm { .. } => open_confirm(state, event, now, parameters),
        State::Established { hold, keepalive, send_hold, session } => {
            established((hold, keepalive, send_hold), session, event, now, parameters)
        }
    }
}

fn retry_at(now: Instant, parameters: &mut Parameters<'_>) -> Instant {
    now + parameters.random.jitter(parameters.connect_retry)
}

fn idle<'a>(event: &Event<'a>, now: Instant, parameters: &mut Parameters<'_>) -> (State, Vec<Output<'a>>) {
    match event {
        Event::ManualStart | Event::AutomaticStart => {
            let retry = retry_at(now, parameters);
            (State::Connect { retry }, vec![Output::ZeroRetries, Output::Dial])
        }
        Event::ManualStartWithPassiveTcpEstablishment | Event::AutomaticStartWithPassiveTcpEstablishment => {
            (State::Active { retry: None }, vec![Output::ZeroRetries])
        }
        _ => (State::Idle, Vec::new()),
    }
}

/// Ends without a word on the wire.
fn end<'a>(reason: DownReason) -> (State, Vec<Output<'a>>) {
    (State::Idle, vec![Output::Drop, Output::CountRetry, Output::Down(reason)])
}

/// Ends with a NOTIFICATION.
pub(super) fn end_with<'a>(notification: Notification) -> (State, Vec<Output<'a>>) {
    let reason = DownReason::NotificationSent(notification.clone());
    let outputs = vec![Output::SendNotification(notification), Output::Drop, Output::CountRetry, Output::Down(reason)];
    (State::Idle, outputs)
}

/// Ends by a command of the operator.
fn stop<'a>(notification: Notification) -> (State, Vec<Output<'a>>) {
    let reason = DownReason::NotificationSent(notification.clone());
    let outputs = vec![Output::SendNotification(notification), Output::Drop, Output::ZeroRetries, Output::Down(reason)];
    (State::Idle, outputs)
}

/// Connect and Active differ in what the retry timer and a failure do.
fn connecting<'a>(
    state: State,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    let dialing = matches!(state, State::Connect { .. });
    match event {
        Event::ManualStart
        | Event::AutomaticStart
        | Event::ManualStartWithPassiveTcpEstablishment
        | Event::AutomaticStartWithPassiveTcpEstablishment => (state, Vec::new()),
        Event::BfdUp => (state, Vec::new()),
        Event::ManualStop(_) => {
            (State::Idle, vec![Output::Drop, Output::ZeroRetries, Output::Down(DownReason::Closed)])
        }
        Event::ConnectRetryTimerExpires => {
            let outputs = if dialing { vec![Output::Drop, Output::Dial] } else { vec![Output::Dial] };
            (State::Connect { retry: retry_at(now, parameters) }, outputs)
        }
        Event::TcpCrAcked | Event::TcpConnectionConfirmed => {
            (State::OpenSent { hold: now + OPEN_WAIT }, vec![Output::SendOpen])
        }
        Event::TcpConnectionFails if dialing => {
            (State::Idle, vec![Output::Drop, Output::Down(DownReason::ConnectionLost)])
        }
        Event::TcpConnectionFails => end(DownReason::ConnectionLost),
        Event::NotifMsgVerErr(notification) | Event::NotifMsg(notification) => {
            end(DownReason::NotificationReceived(notification))
        }
        _ => end(DownReason::Closed),
    }
}

fn message_of(event: &Event<'_>) -> Option<MessageKind> {
    match event {
        Event::BgpOpen(_) | Event::BgpOpenMsgErr(_) => Some(MessageKind::Open),
        Event::KeepAliveMsg => Some(MessageKind::Keepalive),
        Event::UpdateMsg(_) | Event::UpdateMsgErr(_) => Some(MessageKind::Update),
        Event::RouteRefreshMsg(_) => Some(MessageKind::RouteRefresh),
        _ => None,
    }
}

/// "Any other event": the FSM error, with the subcode of the state where a message is to blame (RFC 6608).
fn unexpected<'a>(event: &Event<'_>, of_message: fn(MessageKind) -> Notification) -> (State, Vec<Output<'a>>) {
    end_with(message_of(event).map_or_else(|| Notification::new(5, 0, Vec::new()), of_message))
}

pub(super) fn open_sent<'a>(
    state: State,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    match event {
        Event::ManualStart
        | Event::AutomaticStart
        | Event::ManualStartWithPassiveTcpEstablishment
        | Event::AutomaticStartWithPassiveTcpEstablishment
        // A second connection has its own FSM.
        | Event::TcpCrAcked
        | Event::TcpConnectionConfirmed
        | Event::BfdUp => (state, Vec::new()),
        Event::ManualStop(cease) => stop(cease),
        Event::AutomaticStop(cease) => end_with(cease),
        Event::HoldTimerExpires => end_with(Notification::hold_timer_expired()),
        Event::TcpConnectionFails => {
            let retry = if parameters.passive { None } else { Some(retry_at(now, parameters)) };
            (State::Active { retry }, vec![Output::Drop, Output::Down(DownReason::ConnectionLost)])
        }
        Event::BgpOpen(open) => {
            let session = Box::new((parameters.negotiate)(&open));
            if session.bfd_strict && !parameters.verified {
                return unverified::begin(session, now);
            }
            let hold = next_hold(now, &session);
            let keepalive = next_keepalive(now, &session, parameters.random);
            (State::OpenConfirm { hold, keepalive, session }, vec![Output::SendKeepalive])
        }
        Event::BgpHeaderErr(notification) | Event::BgpOpenMsgErr(notification) => end_with(notification),
        Event::OpenCollisionDump => end_with(Notification::connection_collision_resolution()),
        Event::NotifMsgVerErr(notification) => {
            (State::Idle, vec![Output::Drop, Output::Down(DownReason::NotificationReceived(notification))])
        }
        Event::NotifMsg(notification) => end(DownReason::NotificationReceived(notification)),
        other => unexpected(&other, Notification::unexpected_in_open_sent),
    }
}

fn open_confirm<'a>(
    state: State,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    let State::OpenConfirm { hold, keepalive, session } = state else { return (state, Vec::new()) };
    match event {
        Event::ManualStart
        | Event::AutomaticStart
        | Event::ManualStartWithPassiveTcpEstablishment
        | Event::AutomaticStartWithPassiveTcpEstablishment
        | Event::TcpCrAcked
        | Event::TcpConnectionConfirmed
        | Event::BfdUp => (State::OpenConfirm { hold, keepalive, session }, Vec::new()),
        Event::ManualStop(cease) => stop(cease),
        Event::AutomaticStop(cease) => end_with(cease),
        Event::HoldTimerExpires => end_with(Notification::hold_timer_expired()),
        Event::KeepaliveTimerExpires => {
            let keepalive = next_keepalive(now, &session, parameters.random);
            (State::OpenConfirm { hold, keepalive, session }, vec![Output::SendKeepalive])
        }
        Event::TcpConnectionFails => end(DownReason::ConnectionLost),
        Event::NotifMsg(notification) => end(DownReason::NotificationReceived(notification)),
        Event::NotifMsgVerErr(notification) => {
            (State::Idle, vec![Output::Drop, Output::Down(DownReason::NotificationReceived(notification))])
        }
        Event::BgpHeaderErr(notification) | Event::BgpOpenMsgErr(notification) => end_with(notification),
        Event::OpenCollisionDump => end_with(Notification::connection_collision_resolution()),
        Event::KeepAliveMsg => {
            let (hold, send_hold) = (next_hold(now, &session), next_send_hold(now, &session));
            (State::Established { hold, keepalive, send_hold, session }, vec![Output::Up])
        }
        other => unexpected(&other, Notification::unexpected_in_open_confirm),
    }
}

type Timers = (Option<Instant>, Option<Instant>, Option<Instant>);

fn established<'a>(
    (hold, keepalive, send_hold): Timers,
    session: Box<Negotiated>,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    let (hold, keepalive, outputs) = match event {
        Event::ManualStart
        | Event::AutomaticStart
        | Event::ManualStartWithPassiveTcpEstablishment
        | Event::AutomaticStartWithPassiveTcpEstablishment
        | Event::TcpCrAcked
        | Event::TcpConnectionConfirmed
        | Event::BfdUp => (hold, keepalive, Vec::new()),
        Event::KeepaliveTimerExpires => {
            (hold, next_keepalive(now, &session, parameters.random), vec![Output::SendKeepalive])
        }
        Event::KeepAliveMsg => (next_hold(now, &session), keepalive, Vec::new()),
        Event::UpdateMsg(body) => (next_hold(now, &session), keepalive, vec![Output::Update(body)]),
        Event::RouteRefreshMsg(refresh) => (next_hold(now, &session), keepalive, vec![Output::Refresh(refresh)]),
        Event::ManualStop(cease) => return stop(cease),
        Event::AutomaticStop(cease) => return end_with(cease),
        Event::HoldTimerExpires => return end_with(Notification::hold_timer_expired()),
        Event::SendHoldTimerExpires => {
            let notification = Notification::send_hold_timer_expired();
            let down = Output::Down(DownReason::SendHoldTimerExpired);
            let outputs = vec![Output::SendNotification(notification), Output::Drop, Output::CountRetry, down];
            return (State::Idle, outputs);
        }
        Event::TcpConnectionFails => return end(DownReason::ConnectionLost),
        Event::NotifMsg(notification) | Event::NotifMsgVerErr(notification) => {
            return end(DownReason::NotificationReceived(notification));
        }
        Event::BgpHeaderErr(notification) | Event::UpdateMsgErr(notification) => return end_with(notification),
        Event::OpenCollisionDump => return end_with(Notification::connection_collision_resolution()),
        other @ (Event::BgpOpen(_) | Event::BgpOpenMsgErr(_) | Event::ConnectRetryTimerExpires) => {
            return unexpected(&other, Notification::unexpected_in_established);
        }
    };
    (State::Established { hold, keepalive, send_hold, session }, outputs)
}
