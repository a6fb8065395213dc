//! BFD sessions as messages of the API.

use std::time::{Duration, SystemTime};

use bfd::Hops;
use engine::BfdStatus;
use proto::bgp::{BfdSession, ListBfdReply};

use crate::liveness::{Overview, Session};

pub(super) fn list(overview: &Overview) -> ListBfdReply {
    let now = SystemTime::now();
    ListBfdReply {
        sessions: overview.sessions.iter().map(|it| session(it, now)).collect(),
        discarded: overview.discards.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    }
}

fn session(session: &Session, now: SystemTime) -> BfdSession {
    let (path, status) = (&session.path, &session.status);
    let microseconds = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    BfdSession {
        peer: session.peer.to_string(),
        remote: path.remote.to_string(),
        local: path.local.to_string(),
        multihop: matches!(path.hops, Hops::Multi { .. }),
        state: status.state.word().to_owned(),
        since: Some(now.checked_sub(session.age).unwrap_or(now).into()),
        diagnostic: status.diagnostic.to_string(),
        remote_state: status.remote_state.word().to_owned(),
        remote_diagnostic: status.remote_diagnostic.to_string(),
        local_discriminator: status.discriminator,
        remote_discriminator: status.remote_discriminator,
        remote_independent: status.remote_independent,
        transmit_interval_us: microseconds(status.transmit_interval),
        detection_time_us: microseconds(status.detection_time),
        sent: status.sent,
        received: status.received,
        downs: status.downs,
    }
}

/// One line for the peer: `Up`, `Down, Control Detection Time Expired`.
pub(super) fn of_peer(status: Option<&BfdStatus>) -> String {
    match status.map(|status| status.last) {
        None => String::new(),
        Some(None) => "Down, not heard yet".to_owned(),
        Some(Some(last)) if last.diagnostic == "No Diagnostic" => last.state.word().to_owned(),
        Some(Some(last)) => format!("{}, {}", last.state.word(), last.diagnostic),
    }
}
