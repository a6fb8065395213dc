//! `bgpd show bfd`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use daemon::{
    exit::Exit,
    output::{self, Format},
};
use proto::bgp::{BfdSession, ListBfdReply, ListBfdRequest, bgp_client::BgpClient};
use tonic::{Status, transport::Channel};

use super::{dash, printed};

pub(super) async fn show(mut client: BgpClient<Channel>, format: Format) -> Result<Exit, Status> {
    let reply = client.list_bfd(ListBfdRequest {}).await?.into_inner();
    printed(output::print(format, &reply, text))?;
    let up = reply.sessions.iter().all(|session| session.state == "Up");
    Ok(if up { Exit::Good } else { Exit::Bad })
}

fn text(reply: &ListBfdReply) -> String {
    let heads = [
        "PEER",
        "ADDRESS",
        "HOPS",
        "STATE",
        "SINCE",
        "SEND ms",
        "DETECT ms",
        "SENT",
        "RCVD",
        "DOWNS",
        "REMOTE",
        "NOTE",
    ];
    let rows: Vec<_> = reply.sessions.iter().map(row).collect();
    let mut text = output::columns(&heads, &rows);
    if !reply.discarded.is_empty() {
        let mut reasons: Vec<_> = reply.discarded.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        let _ = writeln!(text, "discarded: {}", reasons.join(", "));
    }
    text
}

fn row(session: &BfdSession) -> Vec<String> {
    let since = session.since.and_then(|since| SystemTime::now().duration_since(since.into()).ok());
    let milliseconds = |microseconds: u64| format!("{}", microseconds / 1000);
    let note = if session.state == "Up" || session.diagnostic == "No Diagnostic" { "" } else { &session.diagnostic };
    vec![
        session.peer.clone(),
        session.remote.clone(),
        if session.multihop { "multi" } else { "single" }.to_owned(),
        session.state.clone(),
        format!("{}s", since.unwrap_or(Duration::ZERO).as_secs()),
        milliseconds(session.transmit_interval_us),
        milliseconds(session.detection_time_us),
        session.sent.to_string(),
        session.received.to_string(),
        session.downs.to_string(),
        session.remote_state.clone(),
        dash(note),
    ]
}
