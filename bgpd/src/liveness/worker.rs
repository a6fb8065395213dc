//! The thread's loop: takes datagrams and commands, carries out what the sessions want, sleeps until their next timer.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bfd::{Change, Config, Hops, Path, SessionId, Sessions, State};
use engine::{BfdConfig, BfdReport, BfdRequest, BfdState};
use kernel::priority::{self, Priority};
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    Command, Overview, Report, Session,
    sockets::{Ports, Receivers, Sender},
};

/// A session's surroundings.
struct Link {
    /// `None` once it is being stopped.
    peer: Option<Arc<str>>,
    path: Path,
    sender: Sender,
}

/// The thread's state.
pub(super) struct Worker {
    started: Instant,
    sessions: Sessions,
    links: BTreeMap<SessionId, Link>,
    receivers: Receivers,
    ports: Ports,
    reports: mpsc::UnboundedSender<Report>,
    raised: bool,
}

impl Worker {
    pub(super) fn new(seed: u64, reports: mpsc::UnboundedSender<Report>) -> Self {
        Self {
            started: Instant::now(),
            sessions: Sessions::new(seed),
            links: BTreeMap::new(),
            receivers: Receivers::default(),
            ports: Ports::new(seed),
            reports,
            raised: false,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let deadline = self.sessions.poll_timeout().map(|at| self.started + at.since_epoch());
            let command = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
                () = self.receivers.readable() => None,
                () = sleep_until(deadline.unwrap_or(self.started).into()), if deadline.is_some() => None,
            };
            if let Some(command) = command {
                self.obey(command);
            }
            self.work();
        }
    }

    fn now(&self) -> bfd::Instant {
        bfd::Instant::new(self.started.elapsed())
    }

    fn work(&mut self) {
        let now = self.now();
        // Before any timer: a thread that had to wait must not blame the peer for it.
        let sessions = &mut self.sessions;
        self.receivers.take(|arrival, payload| {
            if let Err(discard) = sessions.handle_datagram(now, arrival, payload) {
                tracing::debug!(source = %arrival.source, "BFD packet discarded: {discard}");
            }
        });
        self.sessions.handle_timeout(now);
        while let Some((id, change)) = self.sessions.poll_change() {
            self.report(id, change);
        }
        while let Some(outgoing) = self.sessions.poll_transmit(now) {
            if let Some(link) = self.links.get_mut(&outgoing.session) {
                link.sender.send(&outgoing.payload, &mut self.ports);
            }
        }
        self.links.retain(|id, _| self.sessions.contains(*id));
        if self.links.is_empty() {
            self.receivers.close();
        }
        self.receivers.open();
    }

    fn report(&self, id: SessionId, change: Change) {
        let Some(peer) = self.links.get(&id).and_then(|link| link.peer.clone()) else { return };
        let report =
            BfdReport { state: state(change.to), diagnostic: change.diagnostic.word(), failed: change.is_failure() };
        // Nobody listens while the process ends.
        let _ = self.reports.send((peer, report));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(request) => self.start(request),
            Command::Stop(peer) => self.stop(&peer),
            Command::Show(answer) => drop(answer.send(self.overview())),
        }
    }

    fn start(&mut self, request: BfdRequest) {
        self.raise();
        let now = self.now();
        let (path, config) = (path(&request), config(&request.config));
        if let Some((id, link)) = self.of_peer(&request.peer) {
            if link.path == path {
                self.sessions.set_config(now, id, config);
                if request.peer_restarted {
                    self.sessions.peer_restarted(id);
                }
                return;
            }
            self.stop(&request.peer);
        }
        let id = self.sessions.start(now, path, config);
        self.links.insert(id, Link { peer: Some(request.peer), path, sender: Sender::new(&path) });
        self.receivers.want(&path);
    }

    fn of_peer(&self, peer: &str) -> Option<(SessionId, &Link)> {
        self.links.iter().find(|(_, link)| link.peer.as_deref() == Some(peer)).map(|(id, link)| (*id, link))
    }

    fn stop(&mut self, peer: &str) {
        let now = self.now();
        let Some((id, _)) = self.of_peer(peer) else { return };
        self.sessions.stop(now, id);
        if let Some(link) = self.links.get_mut(&id) {
            link.peer = None;
        }
    }

    fn overview(&self) -> Overview {
        let now = self.now().since_epoch();
        let of = |(id, link): (&SessionId, &Link)| {
            let (peer, status) = (link.peer.clone()?, self.sessions.status(*id)?);
            let age = now.saturating_sub(status.since.since_epoch());
            Some(Session { peer, path: link.path, status, age })
        };
        let mut sessions: Vec<_> = self.links.iter().filter_map(of).collect();
        sessions.sort_by(|a, b| a.peer.cmp(&b.peer));
        Overview { sessions, discards: self.sessions.discards().iter().map(|(word, count)| (*word, *count)).collect() }
    }

    /// Once, with the first session.
    fn raise(&mut self) {
        if std::mem::replace(&mut self.raised, true) {
            return;
        }
        match priority::raise() {
            Ok(Priority::RealTime) => tracing::info!("BFD runs at real-time priority"),
            Ok(Priority::Nice) => tracing::info!("BFD runs at niceness -20: real-time priority is not allowed"),
            Err(error) => tracing::warn!(%error, "BFD runs at ordinary priority; CAP_SYS_NICE would allow more"),
        }
    }
}

fn path(request: &BfdRequest) -> Path {
    let hops = request.config.multihop.map_or(Hops::Single, |min_ttl| Hops::Multi { min_ttl });
    Path { remote: request.remote, local: request.local, interface: request.interface, hops }
}

fn config(config: &BfdConfig) -> Config {
    let BfdConfig { min_interval, min_receive, multiplier, .. } = *config;
    Config { min_interval, min_receive, multiplier }
}

fn state(state: State) -> BfdState {
    match state {
        State::AdminDown => BfdState::AdminDown,
        State::Down => BfdState::Down,
        State::Init => BfdState::Init,
        State::Up => BfdState::Up,
    }
}
