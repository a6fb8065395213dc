//! Waiting for BFD between the peer's OPEN and our KEEPALIVE (draft-ietf-idr-bgp-bfd-strict-mode).

use std::time::Duration;

use super::fsm::{Output, Parameters, State, end_with, next_hold, next_keepalive, next_send_hold, open_sent};
use super::{Event, Negotiated};
use crate::instant::Instant;
use crate::wire::Notification;

/// How long BFD is waited for where no hold time was negotiated.
const BFD_HOLD: Duration = Duration::from_secs(30);

fn until(now: Instant, session: &Negotiated) -> Instant {
    next_hold(now, session).unwrap_or(now + BFD_HOLD)
}

/// The OPEN was good, BFD is not up.
pub(super) fn begin<'a>(session: Box<Negotiated>, now: Instant) -> (State, Vec<Output<'a>>) {
    let hold = until(now, &session);
    (State::Unverified { hold, confirmed: false, session }, vec![Output::AwaitBfd])
}

/// One transition. What is not about waiting is as in OpenSent.
pub(super) fn step<'a>(
    (hold, confirmed): (Instant, bool),
    session: Box<Negotiated>,
    event: Event<'a>,
    now: Instant,
    parameters: &mut Parameters<'_>,
) -> (State, Vec<Output<'a>>) {
    match event {
        Event::BfdUp => {
            let (hold, keepalive) = (next_hold(now, &session), next_keepalive(now, &session, parameters.random));
            if !confirmed {
                return (State::OpenConfirm { hold, keepalive, session }, vec![Output::SendKeepalive]);
            }
            let send_hold = next_send_hold(now, &session);
            (State::Established { hold, keepalive, send_hold, session }, vec![Output::SendKeepalive, Output::Up])
        }
        Event::KeepAliveMsg => (State::Unverified { hold: until(now, &session), confirmed: true, session }, Vec::new()),
        Event::HoldTimerExpires if session.hold_time == 0 => end_with(Notification::bfd_down()),
        Event::BgpOpen(_) => end_with(Notification::unexpected_in_open_sent(crate::wire::MessageKind::Open)),
        Event::ManualStart
        | Event::AutomaticStart
        | Event::ManualStartWithPassiveTcpEstablishment
        | Event::AutomaticStartWithPassiveTcpEstablishment
        | Event::TcpCrAcked
        | Event::TcpConnectionConfirmed => (State::Unverified { hold, confirmed, session }, Vec::new()),
        other => open_sent(State::OpenSent { hold }, other, now, parameters),
    }
}
