//! The engine's events as log lines and as messages for watchers.

use std::time::{Duration, Instant, SystemTime};

use engine::{BfdReport, DownReason, Event};
use proto::bgp::Event as EventMessage;

/// Connections refused are logged once in this time, with their number: anybody can open them by the thousand.
const REFUSALS: Duration = Duration::from_secs(10);

/// The log, with what it leaves out.
#[derive(Default)]
pub(crate) struct Journal {
    /// When a refused connection was last logged.
    said: Option<Instant>,
    /// Those refused since.
    unsaid: u64,
}

impl Journal {
    /// Writes an event to the log.
    pub(crate) fn log(&mut self, event: &Event) {
        if !matches!(event, Event::ConnectionRefused { .. }) {
            return log(event);
        }
        if self.said.is_some_and(|at| at.elapsed() < REFUSALS) {
            self.unsaid += 1;
            return;
        }
        self.said = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => log(event),
            others => tracing::info!("{}, and {others} more since the last one told", text(event)),
        }
    }
}

/// Writes an event to the log.
fn log(event: &Event) {
    match event {
        Event::StateChanged { .. } | Event::RouteChanged { .. } => tracing::debug!("{}", text(event)),
        Event::UpdateError { raw, .. } => tracing::warn!(update = %hex(raw), "{}", text(event)),
        Event::SessionDown { established: true, .. }
        | Event::BfdChanged { report: BfdReport { failed: true, .. }, .. }
        | Event::PrefixLimitNear { .. }
        | Event::PrefixLimitExceeded { .. }
        | Event::TooLarge { .. } => tracing::warn!("{}", text(event)),
        _ => tracing::info!("{}", text(event)),
    }
}

/// The message for watchers, if the event is one of theirs.
pub(crate) fn message(event: &Event) -> Option<EventMessage> {
    let (kind, subject) = match event {
        Event::StateChanged { peer, .. }
        | Event::SessionDown { peer, .. }
        | Event::BfdChanged { peer, .. }
        | Event::EndOfRib { peer, .. } => ("session", peer.to_string()),
        Event::RouteChanged { prefix, .. } => ("route", prefix.to_string()),
        _ => return None,
    };
    let time = Some(SystemTime::now().into());
    Some(EventMessage { time, kind: kind.to_owned(), subject, text: text(event) })
}

fn text(event: &Event) -> String {
    match event {
        Event::StateChanged { peer, from, to } => format!("{peer}: {} to {}", from.word(), to.word()),
        Event::SessionDown { peer, reason, .. } => format!("{peer}: session ended: {}", why(reason)),
        Event::BfdChanged { peer, report: BfdReport { state, diagnostic, .. } } => {
            format!("{peer}: BFD {} ({diagnostic})", state.word())
        }
        Event::UpdateError { peer, outcome, errors, .. } => {
            format!("{peer}: UPDATE with errors, {outcome:?}: {errors:?}")
        }
        Event::ConnectionRefused { remote } => format!("{remote}: connection refused, no peer wants it"),
        Event::PrefixLimitNear { peer, family, held, max } => {
            format!("{peer}: {held} of at most {max} {family} prefixes")
        }
        Event::PrefixLimitExceeded { peer, family, max, action } => {
            format!("{peer}: more than {max} {family} prefixes, action {action:?}")
        }
        Event::EndOfRib { peer, family } => format!("{peer}: End-of-RIB of {family}"),
        Event::LongLivedRetained { peer, family, time } => {
            format!("{peer}: its {family} routes are kept as a last resort for {} s", time.as_secs())
        }
        Event::StaleRetained { peer, time } => format!("{peer}: its routes are kept for {} s", time.as_secs()),
        Event::StaleRemoved { peer, family, routes } => format!("{peer}: {routes} stale {family} routes removed"),
        Event::SelectionStarted { family } => format!("{family}: restart complete, selecting routes"),
        Event::TooLarge { peer, prefix } => format!("{peer}: {prefix} does not fit into a message and is not sent"),
        Event::RouteChanged { prefix, best: Some(best) } => format!("{prefix} via {best}"),
        Event::RouteChanged { prefix, best: None } => format!("{prefix} is gone"),
    }
}

fn why(reason: &DownReason) -> String {
    match reason {
        DownReason::ConnectionLost => "connection lost".to_owned(),
        DownReason::NotificationSent(notification) => format!("we sent {notification}"),
        DownReason::NotificationReceived(notification) => format!("received {notification}"),
        DownReason::Closed => "closed".to_owned(),
        DownReason::SendHoldTimerExpired => "nothing could be written for the send hold time".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
