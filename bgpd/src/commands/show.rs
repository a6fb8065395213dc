//! `bgpd show` and `bgpd watch`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use clap::Subcommand;
use daemon::{
    exit::Exit,
    output::{self, Format},
};
use proto::bgp::{
    ListPeersReply, ListPeersRequest, ListRoutesReply, ListRoutesRequest, Peer, PeerFamily, WatchRequest,
    bgp_client::BgpClient,
};
use tonic::{Status, transport::Channel};

use super::{dash, printed};

/// What to show.
#[derive(Subcommand, Debug)]
pub(crate) enum Show {
    /// All sessions, a line each: exit 1 when one that should be up is not.
    #[command(visible_alias = "summary")]
    Peers,
    /// One session: timers, capabilities, counters, last error, what to do.
    Peer {
        /// BGPPeer or node name.
        name: String,
    },
    /// The routes in use.
    Routes {
        /// Only this prefix.
        prefix: Option<String>,
        /// Also what the prefix covers.
        #[arg(long, requires = "prefix")]
        longer: bool,
        /// ipv4 or ipv6.
        #[arg(long, default_value = "")]
        family: String,
    },
    /// What is written to a peer.
    Advertised {
        /// BGPPeer or node name.
        peer: String,
    },
    /// What a peer sent, with what became of each route.
    Received {
        /// BGPPeer or node name.
        peer: String,
    },
    /// BFD sessions: exit 1 when one is not up.
    Bfd,
}

pub(super) async fn show(channel: Channel, what: Show, format: Format) -> Result<Exit, Status> {
    let mut client = BgpClient::new(channel);
    match what {
        Show::Peers => {
            let reply = client.list_peers(ListPeersRequest {}).await?.into_inner();
            printed(output::print(format, &reply, peers_text))?;
            let up = reply.peers.iter().all(|p| p.state == "Established");
            Ok(if up { Exit::Good } else { Exit::Bad })
        }
        Show::Peer { name } => {
            let reply = client.list_peers(ListPeersRequest {}).await?.into_inner();
            let Some(peer) = reply.peers.into_iter().find(|p| p.name == name || p.address == name) else {
                return Err(Status::not_found(format!("no peer {name}; `bgpd show peers` lists them")));
            };
            printed(output::print(format, &peer, peer_text))?;
            Ok(if peer.state == "Established" { Exit::Good } else { Exit::Bad })
        }
        Show::Bfd => super::bfd::show(client, format).await,
        Show::Routes { prefix, longer, family } => {
            let request =
                ListRoutesRequest { prefix: prefix.unwrap_or_default(), longer, family, ..Default::default() };
            routes(&mut client, request, format).await
        }
        Show::Advertised { peer } => {
            let request = ListRoutesRequest { table: "advertised".to_owned(), peer, ..Default::default() };
            routes(&mut client, request, format).await
        }
        Show::Received { peer } => {
            let request = ListRoutesRequest { table: "received".to_owned(), peer, ..Default::default() };
            routes(&mut client, request, format).await
        }
    }
}

async fn routes(client: &mut BgpClient<Channel>, request: ListRoutesRequest, format: Format) -> Result<Exit, Status> {
    let asked = request.prefix.clone();
    let reply = client.list_routes(request).await?.into_inner();
    printed(output::print(format, &reply, routes_text))?;
    if asked.is_empty() || !reply.routes.is_empty() {
        return Ok(Exit::Good);
    }
    eprintln!("bgpd: no route {asked}");
    Ok(Exit::NoSuchObject)
}

pub(super) async fn watch(channel: Channel, prefix: Option<String>, format: Format) -> Result<Exit, Status> {
    let request = WatchRequest { prefix: prefix.unwrap_or_default() };
    let mut events = BgpClient::new(channel).watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let line = if format == Format::Table { Format::Table } else { Format::Jsonl };
        printed(output::print(line, &event, |e| format!("{}  {}  {}\n", e.kind, e.subject, e.text)))?;
    }
    Ok(Exit::Good)
}

/// `3d04h`, `2m11s`, `41s`: the two largest units.
fn since(peer: &Peer) -> String {
    let Some(since) = peer.since else { return "-".to_owned() };
    let seconds = SystemTime::now().duration_since(since.into()).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

fn total(peer: &Peer, count: impl Fn(&PeerFamily) -> u32) -> String {
    if peer.state == "Established" { peer.families.iter().map(count).sum::<u32>().to_string() } else { "-".to_owned() }
}

fn note(peer: &Peer) -> String {
    let rejected: u32 = peer.families.iter().map(|f| f.rejected).sum();
    if peer.state != "Established" {
        return if peer.diagnosis.is_empty() { peer.last_error.clone() } else { peer.diagnosis.clone() };
    }
    let mut notes = Vec::new();
    if !peer.bfd.is_empty() && peer.bfd != "Up" {
        notes.push(format!("BFD {}", peer.bfd));
    }
    if rejected > 0 {
        notes.push(format!("{rejected} rejected"));
    }
    if !peer.graceful_restart.is_empty() {
        notes.push(peer.graceful_restart.clone());
    }
    notes.join(", ")
}

fn peers_text(reply: &ListPeersReply) -> String {
    let mut text = String::new();
    if let Some(speaker) = &reply.speaker {
        let drift =
            if speaker.fib_drift == 0 { "in sync".to_owned() } else { format!("{} missing", speaker.fib_drift) };
        let _ = writeln!(
            text,
            "{}  AS {}  router-id {}  RIB {} prefixes / {} paths  FIB {} {drift}",
            speaker.node,
            speaker.as_number,
            speaker.router_id,
            speaker.rib_prefixes,
            speaker.rib_paths,
            speaker.fib_routes
        );
        if speaker.draining {
            text.push_str("draining: peers are told to find another way\n");
        }
        for condition in &speaker.conditions {
            let _ = writeln!(text, "warning: {condition}");
        }
    }
    let heads = ["PEER", "ADDRESS", "AS", "KIND", "STATE", "SINCE", "RCVD", "ACPT", "INST", "ADVT", "FLAPS", "NOTE"];
    let rows: Vec<_> = reply
        .peers
        .iter()
        .map(|p| {
            vec![
                p.name.clone(),
                p.address.clone(),
                p.as_number.to_string(),
                p.kind.clone(),
                p.state.clone(),
                since(p),
                total(p, |f| f.received),
                total(p, |f| f.accepted),
                total(p, |f| f.installed),
                total(p, |f| f.advertised),
                p.flaps.to_string(),
                note(p),
            ]
        })
        .collect();
    text.push_str(&output::columns(&heads, &rows));
    text
}

fn peer_text(peer: &Peer) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {} AS {}  {}  state {} since {}",
        peer.name,
        peer.address,
        peer.as_number,
        peer.kind,
        peer.state,
        since(peer)
    );
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<12}{value}");
        }
    };
    line("description", peer.description.clone());
    line("local", format!("{} AS {}", dash(&peer.local_address), peer.local_as));
    line("router id", dash(&peer.router_id));
    line("timers", format!("hold {} s, keepalive {} s", peer.hold_time, peer.keepalive_time));
    line("sent", peer.capabilities_sent.join(", "));
    line("received", peer.capabilities_received.join(", "));
    for f in &peer.families {
        line(
            &f.family,
            format!(
                "received {}, accepted {}, rejected {}, installed {}, advertised {}, stale {}",
                f.received, f.accepted, f.rejected, f.installed, f.advertised, f.stale
            ),
        );
    }
    line("bfd", peer.bfd.clone());
    line("restart", peer.graceful_restart.clone());
    line("last down", peer.last_error.clone());
    line("diagnosis", peer.diagnosis.clone());
    line("next", peer.next.clone());
    text
}

fn routes_text(reply: &ListRoutesReply) -> String {
    let rows: Vec<_> = reply
        .routes
        .iter()
        .map(|r| {
            let mark = match (r.best, r.multipath) {
                (true, _) => "*>",
                (false, true) => "*=",
                (false, false) => "*",
            };
            let mut notes: Vec<String> = Vec::new();
            if r.path_id > 0 {
                notes.push(format!("path id {}", r.path_id));
            }
            if r.stale {
                notes.push("stale".to_owned());
            }
            if !r.best && !r.why.is_empty() {
                notes.push(r.why.clone());
            }
            vec![
                mark.to_owned(),
                r.prefix.clone(),
                dash(&r.next_hop),
                r.peer.clone(),
                r.local_pref.to_string(),
                r.med.map_or_else(|| "-".to_owned(), |m| m.to_string()),
                dash(&r.as_path),
                r.origin.clone(),
                if r.installed { "yes" } else { "no" }.to_owned(),
                notes.join(", "),
            ]
        })
        .collect();
    let heads = ["", "PREFIX", "NEXT HOP", "FROM", "LOCAL-PREF", "MED", "AS-PATH", "ORIGIN", "KERNEL", "NOTE"];
    output::columns(&heads, &rows)
}
