//! `bgpd explain`.

use std::fmt::Write as _;

use daemon::{
    exit::Exit,
    output::{self, Format},
};
use proto::bgp::{ExplainReply, ExplainRequest, bgp_client::BgpClient};
use tonic::{Status, transport::Channel};

use super::{dash, printed};

pub(super) async fn explain(channel: Channel, prefix: String, format: Format) -> Result<Exit, Status> {
    let reply = BgpClient::new(channel).explain(ExplainRequest { prefix }).await?.into_inner();
    printed(output::print(format, &reply, text))?;
    Ok(if reply.prefix.is_empty() { Exit::NoSuchObject } else { Exit::Good })
}

fn text(reply: &ExplainReply) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  {}", reply.prefix, reply.summary);
    let mut place = 0;
    let rows: Vec<_> = reply
        .candidates
        .iter()
        .map(|c| {
            let refused = c.why.starts_with("rejected");
            place += u32::from(!refused);
            let number = if refused { "-".to_owned() } else { place.to_string() };
            let local_pref = if refused { "-".to_owned() } else { c.local_pref.to_string() };
            let why = if c.best { "best" } else { &c.why };
            vec![number, c.peer.clone(), dash(&c.next_hop), local_pref, dash(&c.as_path), why.to_owned()]
        })
        .collect();
    if !rows.is_empty() {
        let table = output::columns(&["#", "FROM", "NEXT HOP", "LOCAL-PREF", "AS-PATH", "WHY"], &rows);
        for line in table.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let advertised = if reply.advertised.is_empty() { "none".to_owned() } else { reply.advertised.join(", ") };
    let _ = writeln!(text, "advertised  {advertised}");
    if !reply.withheld.is_empty() {
        let withheld: Vec<_> = reply.withheld.iter().map(|w| format!("{}: {}", w.peer, w.reason)).collect();
        let _ = writeln!(text, "withheld    {}", withheld.join("   "));
    }
    let origin = if reply.origin.is_empty() { "none of ours" } else { &reply.origin };
    let _ = writeln!(text, "origin      {origin}");
    text
}
