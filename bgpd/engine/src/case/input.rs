//! What goes into a speaker, as lines.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::attribute::Form;
use super::message::{messages, text};
use super::values::{Words, changed, difference, hex, octets, quoted, unquoted};
use crate::bfd::{BfdReport, BfdState};
use crate::config::{Guards, OriginAttributes, PeerConfig, PeerKind, RemoteAs, SpeakerConfig};
use crate::instant::Instant;
use crate::output::{ConnId, ConnectError, InstallResult, Reachability, Shutdown};
use crate::prefix::Prefix;
use crate::speaker::Speaker;

/// The words of RFC 5880 §4.1 for why a BFD session changed its state.
const DIAGNOSTICS: [&str; 10] = [
    "No Diagnostic",
    "Control Detection Time Expired",
    "Echo Function Failed",
    "Neighbor Signaled Session Down",
    "Forwarding Plane Reset",
    "Path Down",
    "Concatenated Path Down",
    "Administratively Down",
    "Reverse Concatenated Path Down",
    "Reserved",
];

/// One call of a method of [`Speaker`] that changes it, with everything but the time. The first one is the speaker's making.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is a method of Speaker, where its arguments are explained")]
pub enum Input {
    Speaker {
        config: Box<SpeakerConfig>,
        seed: u64,
    },
    SetPeer(Box<PeerConfig>),
    SetPeerGently {
        config: Box<PeerConfig>,
        linger: Duration,
    },
    RetirePeer {
        peer: String,
        bound: Duration,
    },
    SetClusterId(Option<Ipv4Addr>),
    RemovePeer {
        peer: String,
    },
    ResetPeer {
        peer: String,
        reason: String,
    },
    RequestRefresh {
        peer: String,
    },
    Resend {
        peer: String,
    },
    SetGuards(Box<Guards>),
    SetReachability {
        next_hop: IpAddr,
        reachability: Option<Reachability>,
    },
    WatchRoutes {
        on: bool,
    },
    Drain {
        on: bool,
    },
    Shutdown(Shutdown),
    Originate {
        source: String,
        prefix: Prefix,
        attributes: OriginAttributes,
    },
    SetOriginAttributes {
        source: String,
        prefix: Prefix,
        attributes: OriginAttributes,
    },
    Withdraw {
        source: String,
        prefix: Prefix,
    },
    OriginConnected {
        source: String,
    },
    OriginInSync {
        source: String,
    },
    OriginLost {
        source: String,
    },
    /// With the answer.
    Accepted {
        conn: Option<ConnId>,
        local: SocketAddr,
        remote: SocketAddr,
        interface: Option<u32>,
    },
    Connected {
        conn: ConnId,
        local: SocketAddr,
    },
    ConnectFailed {
        conn: ConnId,
        error: ConnectError,
    },
    Received {
        conn: ConnId,
        bytes: Bytes,
    },
    Sent {
        conn: ConnId,
        count: usize,
    },
    Closed {
        conn: ConnId,
    },
    Timeout,
    Bfd {
        peer: String,
        report: BfdReport,
    },
    Installed {
        prefix: Prefix,
        result: InstallResult,
    },
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl std::str::FromStr for ConnId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix('c').and_then(|it| it.parse().ok()).map(Self).ok_or(())
    }
}

/// Octets with what they mean behind them, as far as they are whole messages.
pub(super) fn annotated(octets: &[u8]) -> String {
    let form = Form { wide: true, add_path: false };
    let texts: Vec<String> = messages(octets).into_iter().map(|it| text(it, form)).collect();
    format!("{} # {}", hex(octets), texts.join(" ; "))
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speaker { config, seed } => {
                let default = SpeakerConfig::new(config.local_as, config.router_id);
                let words = difference(&**config, &default);
                write!(f, "speaker {} {} seed={seed}{words}", config.local_as, config.router_id)
            }
            Self::SetPeer(config) => write!(f, "peer {}", peer_words(config)),
            Self::SetPeerGently { config, linger } => write!(f, "turn {} {}", linger.as_millis(), peer_words(config)),
            Self::RetirePeer { peer, bound } => write!(f, "retire {} {}", quoted(peer), bound.as_millis()),
            Self::SetClusterId(None) => f.write_str("cluster-id none"),
            Self::SetClusterId(Some(id)) => write!(f, "cluster-id {id}"),
            Self::RemovePeer { peer } => write!(f, "unpeer {}", quoted(peer)),
            Self::ResetPeer { peer, reason } => write!(f, "reset {} {}", quoted(peer), quoted(reason)),
            Self::RequestRefresh { peer } => write!(f, "refresh {}", quoted(peer)),
            Self::Resend { peer } => write!(f, "resend {}", quoted(peer)),
            Self::SetGuards(guards) => write!(f, "guards{}", difference(&**guards, &Guards::default())),
            Self::SetReachability { next_hop, reachability: None } => write!(f, "reach {next_hop} none"),
            Self::SetReachability { next_hop, reachability: Some(reachability) } => {
                write!(f, "reach {next_hop}{}", difference(reachability, &DIRECT))
            }
            Self::WatchRoutes { on } => write!(f, "watch-routes {on}"),
            Self::Drain { on } => write!(f, "drain {on}"),
            Self::Shutdown(Shutdown::Planned) => f.write_str("shutdown planned"),
            Self::Shutdown(Shutdown::Administrative { reason }) => write!(f, "shutdown for {}", quoted(reason)),
            Self::Originate { source, prefix, attributes } => {
                let words = difference(attributes, &OriginAttributes::new(""));
                write!(f, "originate {} {prefix}{words}", quoted(source))
            }
            Self::SetOriginAttributes { source, prefix, attributes } => {
                let words = difference(attributes, &OriginAttributes::new(""));
                write!(f, "attributes {} {prefix}{words}", quoted(source))
            }
            Self::Withdraw { source, prefix } => write!(f, "withdraw {} {prefix}", quoted(source)),
            Self::OriginConnected { source } => write!(f, "origin {} connected", quoted(source)),
            Self::OriginInSync { source } => write!(f, "origin {} in-sync", quoted(source)),
            Self::OriginLost { source } => write!(f, "origin {} lost", quoted(source)),
            Self::Accepted { conn, local, remote, interface } => {
                let conn = conn.map_or_else(|| "refused".to_owned(), |it| it.to_string());
                let interface = interface.map(|it| format!(" {it}")).unwrap_or_default();
                write!(f, "accepted {conn} {local} {remote}{interface}")
            }
            Self::Connected { conn, local } => write!(f, "connected {conn} {local}"),
            Self::ConnectFailed { conn, error } => write!(f, "connect-failed {conn} {error:?}"),
            Self::Received { conn, bytes } => write!(f, "< {conn} {}", annotated(bytes)),
            Self::Sent { conn, count } => write!(f, "sent {conn} {count}"),
            Self::Closed { conn } => write!(f, "closed {conn}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Bfd { peer, report } => {
                let failed = if report.failed { "failed" } else { "fine" };
                write!(f, "bfd {} {} {failed} {}", quoted(peer), report.state.word(), quoted(report.diagnostic))
            }
            Self::Installed { prefix, result } => write!(f, "installed {prefix} {result:?}"),
        }
    }
}

fn peer_words(config: &PeerConfig) -> String {
    let default = PeerConfig::new(&config.name, config.address, config.remote_as, config.kind);
    let as_number = match config.remote_as {
        RemoteAs::Exactly(number) => number.to_string(),
        RemoteAs::Internal => "internal".to_owned(),
        RemoteAs::External => "external".to_owned(),
    };
    let (name, kind) = (quoted(&config.name), config.kind.word());
    format!("{name} {} {kind} {as_number}{}", config.address, difference(config, &default))
}

const DIRECT: Reachability = Reachability { metric: 0, interface: 2, gateway: None, onlink: false };

/// A value by the name that serde gives it.
fn named<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|error| error.to_string())
}

fn speaker(words: &mut Words<'_>) -> Result<Input, String> {
    let local_as = words.parse("AS number")?;
    let router_id: Ipv4Addr = words.parse("BGP Identifier")?;
    let (seeds, words): (Vec<&str>, Vec<&str>) = words.partition(|it| it.starts_with("seed="));
    let seed = seeds.first().and_then(|it| it.strip_prefix("seed=")?.parse().ok()).unwrap_or(1);
    let config = changed(&SpeakerConfig::new(local_as, router_id), words.into_iter())?;
    Ok(Input::Speaker { config: Box::new(config), seed })
}

fn kind(word: &str) -> Result<PeerKind, String> {
    let kinds = [
        PeerKind::Mesh,
        PeerKind::Reflector,
        PeerKind::Client,
        PeerKind::External,
        PeerKind::Workload,
        PeerKind::Static,
    ];
    kinds.into_iter().find(|it| it.word() == word).ok_or_else(|| format!("{word}: no kind of peer"))
}

fn peer(words: &mut Words<'_>) -> Result<Box<PeerConfig>, String> {
    let name = unquoted(words.need("name")?);
    let address: IpAddr = words.parse("address")?;
    let kind = kind(words.need("kind")?)?;
    let remote_as = match words.need("AS number")? {
        "internal" => RemoteAs::Internal,
        "external" => RemoteAs::External,
        number => RemoteAs::Exactly(number.parse().map_err(|_| format!("{number}: no AS number"))?),
    };
    Ok(Box::new(changed(&PeerConfig::new(name, address, remote_as, kind), words)?))
}

fn origin(words: &mut Words<'_>) -> Result<Input, String> {
    let source = unquoted(words.need("source")?);
    match words.need("what became of it")? {
        "connected" => Ok(Input::OriginConnected { source }),
        "in-sync" => Ok(Input::OriginInSync { source }),
        "lost" => Ok(Input::OriginLost { source }),
        other => Err(format!("{other}: expected connected, in-sync or lost")),
    }
}

fn reachability(words: &mut Words<'_>) -> Result<Input, String> {
    let next_hop = words.parse("next hop")?;
    let reachability = if words.rest() == "none" { None } else { Some(changed(&DIRECT, words)?) };
    Ok(Input::SetReachability { next_hop, reachability })
}

fn bfd(words: &mut Words<'_>) -> Result<Input, String> {
    let peer = unquoted(words.need("peer")?);
    let state: BfdState = named(words.need("state")?)?;
    let failed = words.need("failed or fine")? == "failed";
    let diagnostic = words.next().map(unquoted).unwrap_or_default();
    let diagnostic = DIAGNOSTICS.into_iter().find(|it| *it == diagnostic).unwrap_or("No Diagnostic");
    Ok(Input::Bfd { peer, report: BfdReport { state, diagnostic, failed } })
}

fn accepted(words: &mut Words<'_>) -> Result<Input, String> {
    let conn = words.need("connection")?;
    let conn =
        if conn == "refused" { None } else { Some(conn.parse().map_err(|()| format!("{conn}: no connection"))?) };
    let (local, remote) = (words.parse("local end")?, words.parse("remote end")?);
    let interface = words.next().map(|it| it.parse().map_err(|_| format!("{it}: no interface"))).transpose()?;
    Ok(Input::Accepted { conn, local, remote, interface })
}

impl Input {
    /// Reads a line that [`fmt::Display`] wrote; the comment behind ` # ` is left out.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line = line.split(" # ").next().unwrap_or_default();
        let mut words = Words::new(line);
        let verb = words.need("input")?;
        let on = |words: &mut Words<'_>| words.parse("true or false");
        let name = |words: &mut Words<'_>| words.need("name").map(unquoted);
        Ok(match verb {
            "speaker" => speaker(&mut words)?,
            "peer" => Self::SetPeer(peer(&mut words)?),
            "turn" => {
                let linger = Duration::from_millis(words.parse("milliseconds")?);
                Self::SetPeerGently { linger, config: peer(&mut words)? }
            }
            "retire" => {
                let (peer, bound) = (name(&mut words)?, words.parse("milliseconds")?);
                Self::RetirePeer { peer, bound: Duration::from_millis(bound) }
            }
            "cluster-id" if words.rest() == "none" => Self::SetClusterId(None),
            "cluster-id" => Self::SetClusterId(Some(words.parse("cluster id")?)),
            "unpeer" => Self::RemovePeer { peer: name(&mut words)? },
            "reset" => {
                Self::ResetPeer { peer: name(&mut words)?, reason: words.next().map(unquoted).unwrap_or_default() }
            }
            "refresh" => Self::RequestRefresh { peer: name(&mut words)? },
            "resend" => Self::Resend { peer: name(&mut words)? },
            "guards" => Self::SetGuards(Box::new(changed(&Guards::default(), words)?)),
            "reach" => reachability(&mut words)?,
            "watch-routes" => Self::WatchRoutes { on: on(&mut words)? },
            "drain" => Self::Drain { on: on(&mut words)? },
            "shutdown" if words.rest() == "planned" => Self::Shutdown(Shutdown::Planned),
            "shutdown" => {
                let reason = words.nth(1).map(unquoted).unwrap_or_default();
                Self::Shutdown(Shutdown::Administrative { reason })
            }
            "originate" => {
                let (source, prefix) = (name(&mut words)?, words.parse("prefix")?);
                Self::Originate { source, prefix, attributes: changed(&OriginAttributes::new(""), words)? }
            }
            "attributes" => {
                let (source, prefix) = (name(&mut words)?, words.parse("prefix")?);
                Self::SetOriginAttributes { source, prefix, attributes: changed(&OriginAttributes::new(""), words)? }
            }
            "withdraw" => Self::Withdraw { source: name(&mut words)?, prefix: words.parse("prefix")? },
            "origin" => origin(&mut words)?,
            "accepted" => accepted(&mut words)?,
            "connected" => Self::Connected { conn: words.parse("connection")?, local: words.parse("local end")? },
            "connect-failed" => {
                Self::ConnectFailed { conn: words.parse("connection")?, error: named(words.need("error")?)? }
            }
            "<" => Self::Received { conn: words.parse("connection")?, bytes: octets(words.rest())?.into() },
            "sent" => Self::Sent { conn: words.parse("connection")?, count: words.parse("number of octets")? },
            "closed" => Self::Closed { conn: words.parse("connection")? },
            "timeout" => Self::Timeout,
            "bfd" => bfd(&mut words)?,
            "installed" => Self::Installed { prefix: words.parse("prefix")?, result: named(words.need("result")?)? },
            other => return Err(format!("{other}: no such input")),
        })
    }

    /// Makes the call. An accepted connection that the speaker answered otherwise than here is an error.
    pub(super) fn apply(&self, speaker: &mut Option<Speaker>, now: Instant) -> Result<(), String> {
        if let Self::Speaker { config, seed } = self {
            *speaker = Some(Speaker::new((**config).clone(), *seed, now));
            return Ok(());
        }
        let Some(speaker) = speaker else { return Err("there is no speaker yet".to_owned()) };
        match self {
            Self::Speaker { .. } => {}
            Self::SetPeer(config) => speaker.set_peer(now, (**config).clone()),
            Self::SetPeerGently { config, linger } => speaker.set_peer_gently(now, (**config).clone(), *linger),
            Self::RetirePeer { peer, bound } => speaker.retire_peer(now, peer, *bound),
            Self::SetClusterId(id) => speaker.set_cluster_id(now, *id),
            Self::RemovePeer { peer } => speaker.remove_peer(now, peer),
            Self::ResetPeer { peer, reason } => drop(speaker.reset_peer(now, peer, reason)),
            Self::RequestRefresh { peer } => drop(speaker.request_refresh(now, peer)),
            Self::Resend { peer } => drop(speaker.resend(now, peer)),
            Self::SetGuards(guards) => speaker.set_guards(now, (**guards).clone()),
            Self::SetReachability { next_hop, reachability } => {
                speaker.set_reachability(now, *next_hop, *reachability);
            }
            Self::WatchRoutes { on } => speaker.watch_routes(*on),
            Self::Drain { on } => speaker.drain(now, *on),
            Self::Shutdown(how) => speaker.shutdown(now, how.clone()),
            Self::Originate { source, prefix, attributes } => {
                speaker.originate(now, source, *prefix, attributes.clone());
            }
            Self::SetOriginAttributes { source, prefix, attributes } => {
                speaker.set_origin_attributes(now, source, *prefix, attributes.clone());
            }
            Self::Withdraw { source, prefix } => speaker.withdraw(now, source, *prefix),
            Self::OriginConnected { source } => speaker.origin_connected(now, source),
            Self::OriginInSync { source } => speaker.origin_in_sync(now, source),
            Self::OriginLost { source } => speaker.origin_lost(now, source),
            Self::Accepted { conn, local, remote, interface } => {
                let answer = speaker.handle_accepted(now, *local, *remote, *interface);
                if answer != *conn {
                    return Err(format!("the connection from {remote} got the answer {answer:?}"));
                }
            }
            Self::Connected { conn, local } => speaker.handle_connected(now, *conn, *local),
            Self::ConnectFailed { conn, error } => speaker.handle_connect_failed(now, *conn, *error),
            Self::Received { conn, bytes } => speaker.handle_received(now, *conn, bytes),
            Self::Sent { conn, count } => speaker.handle_sent(now, *conn, *count),
            Self::Closed { conn } => speaker.handle_closed(now, *conn),
            Self::Timeout => speaker.handle_timeout(now),
            Self::Bfd { peer, report } => speaker.handle_bfd(now, peer, *report),
            Self::Installed { prefix, result } => speaker.handle_installed(*prefix, *result),
        }
        Ok(())
    }
}
