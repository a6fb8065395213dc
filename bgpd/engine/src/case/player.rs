//! Plays a case: its inputs, and the surroundings of the speaker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::input::Input;
use super::message::{self, Defaults, messages};
use super::values::{Words, unquoted};
use super::{Outcome, expect};
use crate::config::{ExportPolicy, ImportPolicy, PeerConfig, RemoteAs};
use crate::instant::Instant;
use crate::output::{Action, ConnId, FibNextHop, FibUpdate, InstallResult, NextHopUpdate, Reachability};
use crate::prefix::Prefix;
use crate::speaker::Speaker;
use crate::status::SessionState;

/// Something that happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Message(Vec<u8>),
    Close,
    Connect,
}

/// A speaker, its surroundings, and what came out since the last input.
pub(super) struct Player {
    pub(super) speaker: Option<Speaker>,
    pub(super) now: Instant,
    peers: BTreeMap<String, PeerConfig>,
    /// The peer of every connection.
    pub(super) owners: BTreeMap<ConnId, String>,
    /// The newest connection of every peer.
    latest: BTreeMap<String, ConnId>,
    open: BTreeSet<ConnId>,
    pub(super) sent: VecDeque<(ConnId, Sent)>,
    pub(super) events: Vec<String>,
    pub(super) fib: BTreeMap<Prefix, Vec<FibNextHop>>,
    stalled: BTreeSet<String>,
    held: Vec<(ConnId, usize)>,
    unreachable: BTreeSet<IpAddr>,
}

/// Plays a case.
pub(super) fn play(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut player = Player::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(" # ").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match expect::expectation(&mut player, line) {
            Some(result) => {
                outcome.asserted += 1;
                if let Err(problem) = result {
                    outcome.problem(number, &format!("{line}\n  {problem}"));
                }
            }
            None => {
                expect::leftovers(&mut player, number, &mut outcome);
                player.events.clear();
                if let Err(problem) = player.input(line) {
                    outcome.problem(number, &format!("{line}\n  {problem}"));
                }
                player.settle();
            }
        }
    }
    expect::leftovers(&mut player, text.lines().count(), &mut outcome);
    outcome
}

impl Player {
    const fn new() -> Self {
        Self {
            speaker: None,
            now: Instant::new(Duration::from_secs(1000)),
            peers: BTreeMap::new(),
            owners: BTreeMap::new(),
            latest: BTreeMap::new(),
            open: BTreeSet::new(),
            sent: VecDeque::new(),
            events: Vec::new(),
            fib: BTreeMap::new(),
            stalled: BTreeSet::new(),
            held: Vec::new(),
            unreachable: BTreeSet::new(),
        }
    }

    fn apply(&mut self, input: &Input) -> Result<(), String> {
        if let Input::SetPeer(config) = input {
            self.peers.insert(config.name.clone(), (**config).clone());
        }
        input.apply(&mut self.speaker, self.now)
    }

    fn input(&mut self, line: &str) -> Result<(), String> {
        let mut words = Words::new(line);
        let verb = words.need("input")?;
        let mut peer = |player: &Self| {
            let name = unquoted(words.need("peer")?);
            if player.peers.contains_key(&name) { Ok(name) } else { Err(format!("{name}: no such peer")) }
        };
        match verb {
            "router" => self.router(words),
            "accept" => peer(self).and_then(|name| self.accept(&name, words.next())),
            "dialled" => {
                let conn = peer(self).and_then(|name| self.connection(&name))?;
                let local = self.local_end(conn)?;
                self.open.insert(conn);
                self.apply(&Input::Connected { conn, local })
            }
            "dial-fails" => {
                let conn = peer(self).and_then(|name| self.connection(&name))?;
                self.apply(&Input::parse(&format!("connect-failed {conn} {}", words.need("error")?))?)
            }
            "closed" => {
                let conn = self.place(&mut words)?;
                self.open.remove(&conn);
                self.apply(&Input::Closed { conn })
            }
            "session" => peer(self).and_then(|name| self.session(&name, words.rest())),
            "<" => self.receive(words),
            "at" => self.pass(span(words.rest())?),
            "now" => {
                self.now = self.now + span(words.rest())?;
                Ok(())
            }
            "stall" => {
                let name = peer(self)?;
                self.stalled.insert(name);
                Ok(())
            }
            "resume" => {
                let name = peer(self)?;
                self.stalled.remove(&name);
                self.release()
            }
            "unreachable" | "reachable" => self.reach(words.parse("address")?, verb == "reachable"),
            _ => self.apply(&Input::parse(line)?),
        }
    }

    fn router(&mut self, mut words: Words<'_>) -> Result<(), String> {
        let (name, address) = (words.need("name")?, words.need("address")?);
        let line = format!("peer {name} {address} static {}", words.rest());
        let Input::SetPeer(mut config) = Input::parse(&line)? else { return Ok(()) };
        let said = |key: &str| line.contains(&format!(" {key}="));
        config.passive |= !said("passive");
        if !said("import") {
            config.import = ImportPolicy::Accept;
        }
        if !said("export") {
            config.export = ExportPolicy::Accept;
        }
        self.apply(&Input::SetPeer(config))
    }

    fn config(&self, name: &str) -> Result<&PeerConfig, String> {
        self.peers.get(name).ok_or_else(|| format!("{name}: no such peer"))
    }

    pub(super) fn connection(&self, name: &str) -> Result<ConnId, String> {
        self.latest.get(name).copied().ok_or_else(|| format!("{name} has no connection"))
    }

    /// The connection that a line is about: `c3`, the newest of a peer by name, or that of the only peer.
    pub(super) fn place(&self, words: &mut Words<'_>) -> Result<ConnId, String> {
        let mut ahead = *words;
        let word = ahead.next().unwrap_or_default();
        if let Some(name) = self.peers.get_key_value(&unquoted(word)).map(|it| it.0.clone()) {
            *words = ahead;
            return self.connection(&name);
        }
        if let Some(conn) = word.parse().ok().filter(|conn| self.owners.contains_key(conn)) {
            *words = ahead;
            return Ok(conn);
        }
        let mut names = self.peers.keys();
        match (names.next(), names.next()) {
            (Some(name), None) => self.connection(name),
            _ => Err("which peer? there is not exactly one".to_owned()),
        }
    }

    fn owner(&self, conn: ConnId) -> &str {
        self.owners.get(&conn).map_or("", String::as_str)
    }

    fn local_end(&self, conn: ConnId) -> Result<SocketAddr, String> {
        let config = self.config(self.owner(conn))?;
        let own = match config.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)),
            IpAddr::V6(it) if it.is_unicast_link_local() => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe)),
        };
        Ok(SocketAddr::new(config.local_address.unwrap_or(own), 179))
    }

    fn accept(&mut self, name: &str, expected: Option<&str>) -> Result<(), String> {
        let config = self.config(name)?;
        let (remote, interface) = (SocketAddr::new(config.address, 40000), config.interface);
        self.owners.insert(ConnId(u64::MAX), name.to_owned());
        let local = self.local_end(ConnId(u64::MAX))?;
        self.owners.remove(&ConnId(u64::MAX));
        let now = self.now;
        let speaker = self.speaker.as_mut().ok_or("there is no speaker yet")?;
        match (speaker.handle_accepted(now, local, remote, interface), expected) {
            (Some(conn), None) => {
                self.owners.insert(conn, name.to_owned());
                self.latest.insert(name.to_owned(), conn);
                self.open.insert(conn);
                Ok(())
            }
            (None, Some("refused")) => Ok(()),
            (answer, _) => Err(format!("the connection got the answer {answer:?}")),
        }
    }

    fn defaults(&self, name: &str) -> Result<Defaults, String> {
        let config = self.config(name)?;
        let as_number = match config.remote_as {
            RemoteAs::Exactly(number) => number,
            RemoteAs::Internal | RemoteAs::External => 65000,
        };
        let identifier = match config.address {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) => Ipv4Addr::new(10, 6, 6, address.octets().last().copied().unwrap_or_default()),
        };
        Ok(Defaults { as_number, identifier })
    }

    fn session(&mut self, name: &str, open: &str) -> Result<(), String> {
        self.accept(name, None)?;
        let conn = self.connection(name)?;
        self.settle();
        let open = message::encode(&format!("OPEN {open}"), self.defaults(name)?)?;
        let keepalive = message::encode("KEEPALIVE", self.defaults(name)?)?;
        for bytes in [open, keepalive] {
            self.apply(&Input::Received { conn, bytes: bytes.into() })?;
            self.settle();
        }
        self.sent.retain(|(to, _)| *to != conn);
        let state = self.speaker.as_ref().and_then(|it| it.peer(name)).map(|it| it.state);
        if state == Some(SessionState::Established) { Ok(()) } else { Err(format!("the session is {state:?}")) }
    }

    fn receive(&mut self, mut words: Words<'_>) -> Result<(), String> {
        let conn = self.place(&mut words)?;
        let mut ahead = words;
        let octet_wise = ahead.next() == Some("octet-wise");
        if octet_wise {
            words = ahead;
        }
        let defaults = self.defaults(self.owner(conn))?;
        let parts = words.rest().split(" ; ").map(|part| message::encode(part, defaults));
        let octets = parts.collect::<Result<Vec<_>, _>>()?.concat();
        let pieces = if octet_wise { octets.chunks(1) } else { octets.chunks(octets.len().max(1)) };
        for piece in pieces {
            self.apply(&Input::Received { conn, bytes: Bytes::copy_from_slice(piece) })?;
            self.settle();
        }
        Ok(())
    }

    fn reach(&mut self, address: IpAddr, reachable: bool) -> Result<(), String> {
        if reachable {
            self.unreachable.remove(&address);
        } else {
            self.unreachable.insert(address);
        }
        let reachability = reachable.then_some(DIRECT);
        self.apply(&Input::SetReachability { next_hop: address, reachability })
    }

    fn release(&mut self) -> Result<(), String> {
        for (conn, count) in std::mem::take(&mut self.held) {
            if self.stalled.contains(self.owner(conn)) {
                self.held.push((conn, count));
            } else {
                self.apply(&Input::Sent { conn, count })?;
            }
        }
        Ok(())
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        let end = self.now + span;
        self.settle();
        while let Some(at) = self.speaker.as_ref().and_then(Speaker::poll_timeout).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.apply(&Input::Timeout)?;
            self.settle();
        }
        self.now = end;
        Ok(())
    }

    /// Plays the surroundings until the speaker asks for nothing more.
    fn settle(&mut self) {
        loop {
            let Some(speaker) = &mut self.speaker else { return };
            let mut quiet = true;
            while let Some(update) = speaker.poll_next_hop() {
                quiet = false;
                if let NextHopUpdate::Track(address) = update {
                    let answer = (!self.unreachable.contains(&address)).then_some(DIRECT);
                    speaker.set_reachability(self.now, address, answer);
                }
            }
            while let Some(update) = speaker.poll_fib() {
                quiet = false;
                match update {
                    FibUpdate::Replace { prefix, next_hops } => {
                        self.fib.insert(prefix, next_hops.to_vec());
                        speaker.handle_installed(prefix, InstallResult::Installed);
                    }
                    FibUpdate::Remove { prefix } => {
                        self.fib.remove(&prefix);
                        speaker.handle_installed(prefix, InstallResult::Removed);
                    }
                    FibUpdate::Sweep { .. } => {}
                }
            }
            while let Some(event) = speaker.poll_event() {
                self.events.push(format!("{event:?}"));
            }
            let actions: Vec<Action> = std::iter::from_fn(|| speaker.poll_action()).collect();
            if quiet && actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { conn, peer, .. } => {
                self.owners.insert(conn, peer.to_string());
                self.latest.insert(peer.to_string(), conn);
                self.sent.push_back((conn, Sent::Connect));
            }
            Action::Send { conn, bytes } => {
                let whole = messages(&bytes).into_iter().map(|it| (conn, Sent::Message(it.to_vec())));
                self.sent.extend(whole);
                if self.stalled.contains(self.owner(conn)) {
                    self.held.push((conn, bytes.len()));
                } else if let Some(speaker) = &mut self.speaker {
                    speaker.handle_sent(self.now, conn, bytes.len());
                }
            }
            Action::Close { conn } => {
                if self.open.remove(&conn) {
                    self.sent.push_back((conn, Sent::Close));
                }
            }
            other @ (Action::StartBfd(_) | Action::StopBfd { .. }) => self.events.push(format!("{other:?}")),
        }
    }
}

const DIRECT: Reachability = Reachability { metric: 0, interface: 2, gateway: None, onlink: false };

/// `+5s`, `+0.5s`
fn span(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_prefix('+').and_then(|it| it.strip_suffix('s')).and_then(|it| it.parse::<f64>().ok());
    seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).ok_or_else(|| format!("{text}: expected +SECONDSs"))
}
