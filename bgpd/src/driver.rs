//! The loop that owns the speaker: takes what happened, carries out what the speaker wants, sleeps until its next timer.

use std::{collections::HashMap, io, mem, net::IpAddr, time::Duration};

use bytes::Bytes;
use engine::{Action, ConnId, ConnectError, Guards, Instant, NextHopUpdate, PeerConfig, Reachability, Shutdown};
use proto::bgp::Event as EventMessage;
use resources::LogSeverity;
use tokio::{
    sync::{broadcast, mpsc},
    task::AbortHandle,
    time::{sleep, sleep_until},
};

use daemon::config::DEFAULT_FILTER;

use crate::{
    clock::Clock,
    connection::Connection,
    events,
    farewell::Farewells,
    fib::FibHandle,
    input::{Input, OriginInput},
    listener::Supervisor,
    liveness::Report,
    nexthops::NextHopsHandle,
    password::{Password, Passwords},
    peer_routes::PeerRoutes,
    recorded::{Recorded, Recording},
    sockets,
    source::Source,
    view::View,
};

/// Inputs taken before the speaker is asked what to do: they are decided as one batch.
const BATCH: usize = 256;
/// A timer later than this means that the process itself was held up.
const STALL: Duration = Duration::from_secs(1);
/// How long readers get after a stall to hand over what the sockets already held, before any peer is blamed.
const AFTER_STALL: Duration = Duration::from_millis(100);

/// The loop's state.
pub(crate) struct Driver {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) source: Source,
    pub(crate) listener: Supervisor,
    pub(crate) inputs: mpsc::Sender<Input>,
    /// `None` if learned routes are not installed.
    pub(crate) fib: Option<FibHandle>,
    pub(crate) next_hops: NextHopsHandle,
    pub(crate) farewells: Farewells,
    pub(crate) journal: events::Journal,
    pub(crate) events: broadcast::Sender<EventMessage>,
    pub(crate) speaker: Option<Recorded>,
    /// For the first speaker.
    pub(crate) recording: Option<Recording>,
    /// As the speaker was told.
    pub(crate) guards: Option<Guards>,
    pub(crate) peers: HashMap<String, PeerConfig>,
    pub(crate) passwords: Passwords,
    /// As the kernel's keeper was told.
    pub(crate) peer_routes: Option<PeerRoutes>,
    pub(crate) connections: HashMap<ConnId, Connection>,
    pub(crate) dialing: HashMap<ConnId, AbortHandle>,
    /// By command. Survives the speaker: a new one of the same process drains too.
    pub(crate) draining: bool,
    /// Resources changed since the configuration was worked out.
    pub(crate) outdated: bool,
    /// When the configuration changed last.
    pub(crate) configured: Instant,
    /// Because the node's resource says so.
    pub(crate) drained_node: bool,
    /// How long peers are told before the end, if this end is meant to last (RFC 8326).
    pub(crate) drain_time: Option<Duration>,
    /// The node's file does not say what is logged, so the resources may.
    pub(crate) logs_by_configuration: bool,
    /// What they say.
    pub(crate) log: Option<LogSeverity>,
}

impl Driver {
    /// Runs until `stop` resolves, then ends every session as a planned restart: without a Cease, so that peers keep our
    /// routes (RFC 4724 §4). With a drain time it drains for that long first, and then leaves for good.
    pub(crate) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Input>,
        mut bfd: mpsc::UnboundedReceiver<Report>,
        stop: impl Future<Output = ()>,
    ) {
        self.reconfigure();
        self.pump();
        self.serve(&mut queue, &mut bfd, stop).await;
        let mut how = Shutdown::Planned;
        if let Some(time) = self.drain_time {
            tracing::info!("draining for {} s before the end", time.as_secs());
            self.drain(true, self.drained_node);
            self.pump();
            self.serve(&mut queue, &mut bfd, sleep(time)).await;
            how = Shutdown::Administrative { reason: "drained".to_owned() };
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.shutdown(self.clock.now(), how);
        }
        self.pump();
    }

    async fn serve(
        &mut self,
        queue: &mut mpsc::Receiver<Input>,
        bfd: &mut mpsc::UnboundedReceiver<Report>,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            let speaker = self.speaker.as_ref().and_then(|it| it.poll_timeout());
            let deadline = speaker.into_iter().chain(self.source.deadline()).min().map(|at| self.clock.deadline(at));
            tokio::select! {
                () = &mut stop => break,
                Some((peer, report)) = bfd.recv() => {
                    if let Some(speaker) = &mut self.speaker {
                        speaker.handle_bfd(self.clock.now(), &peer, report);
                    }
                }
                Some(input) = queue.recv() => self.batch(input, queue),
                () = sleep_until(deadline.unwrap_or_else(far)), if deadline.is_some() => self.timeout(deadline, queue).await,
            }
            // Once for all resources of the batch: of many nodes, many change at once.
            if mem::take(&mut self.outdated) {
                self.reconfigure();
            }
            self.pump();
        }
    }

    /// By command, or because the node's resource says so: either is enough.
    fn drain(&mut self, by_command: bool, by_node: bool) {
        let (before, on) = (self.drains(), by_command || by_node);
        (self.draining, self.drained_node) = (by_command, by_node);
        if before == on {
            return;
        }
        tracing::info!("{}", if on { "draining" } else { "draining no longer" });
        if let Some(speaker) = &mut self.speaker {
            speaker.drain(self.clock.now(), on);
        }
    }

    const fn drains(&self) -> bool {
        self.draining || self.drained_node
    }

    fn batch(&mut self, first: Input, queue: &mut mpsc::Receiver<Input>) {
        self.handle(first);
        for _ in 1..BATCH {
            match queue.try_recv() {
                Ok(input) => self.handle(input),
                Err(_) => return,
            }
        }
    }

    async fn timeout(&mut self, deadline: Option<tokio::time::Instant>, queue: &mut mpsc::Receiver<Input>) {
        if deadline.is_some_and(|d| d.elapsed() > STALL) {
            sleep(AFTER_STALL).await;
            while let Ok(input) = queue.try_recv() {
                self.handle(input);
            }
        }
        let now = self.clock.now();
        if self.source.deadline().is_some_and(|at| at <= now) {
            self.reconfigure();
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.handle_timeout(now);
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Datastore(update) => {
                self.outdated |= self.source.on_update(update);
            }
            Input::StaticFile(read) => {
                if let Some(own) = self.source.on_file(read) {
                    self.apply_origin(&own);
                    self.reconfigure();
                }
            }
            Input::Drain { on, done } => {
                self.drain(on, self.drained_node);
                // Whoever asked may have gone away meanwhile.
                let _ = done.send(());
            }
            Input::Ask(question) => question(View {
                name: &self.name,
                speaker: self.speaker.as_deref(),
                waiting_for: self.source.waiting_for(),
                configured: self.configured,
                clock: self.clock,
                conditions: &self.source.conditions(),
            }),
            Input::Origin(input) => {
                self.source.on_origin(&input);
                self.apply_origin(&input);
            }
            input => self.handle_network(input),
        }
    }

    fn handle_network(&mut self, input: Input) {
        let now = self.clock.now();
        let Some(speaker) = &mut self.speaker else { return };
        match input {
            Input::Accepted { stream, local, remote } => {
                let peer = self.peers.values().find(|peer| peer.address == remote.ip());
                // Before anything is decided: a peer with GTSM must see our refusal too.
                let password = self.passwords.get(&remote.ip());
                let restrict = |peer: &PeerConfig| sockets::restrict(&stream, peer.transport, remote, password);
                if let Some(Err(error)) = peer.map(restrict) {
                    tracing::warn!(%remote, %error, "cannot set the TTL rules or the password of a connection");
                    return;
                }
                if let Some(conn) = speaker.handle_accepted(now, local, remote, None) {
                    let connection = Connection::start(conn, stream, remote.ip(), self.inputs.clone());
                    self.connections.insert(conn, connection);
                }
            }
            Input::Dialled { conn, result } => {
                if self.dialing.remove(&conn).is_none() {
                    return;
                }
                match result.and_then(|stream| Ok((stream.local_addr()?, stream.peer_addr()?, stream))) {
                    Ok((local, remote, stream)) => {
                        let connection = Connection::start(conn, stream, remote.ip(), self.inputs.clone());
                        self.connections.insert(conn, connection);
                        speaker.handle_connected(now, conn, local);
                    }
                    Err(error) => speaker.handle_connect_failed(now, conn, connect_error(&error)),
                }
            }
            Input::Received { conn, bytes, room } if self.connections.contains_key(&conn) => {
                speaker.handle_received(now, conn, &bytes);
                drop(room);
            }
            Input::Sent { conn, bytes } if self.connections.contains_key(&conn) => {
                speaker.handle_sent(now, conn, bytes)
            }
            Input::Closed { conn, error } if self.connections.remove(&conn).is_some() => {
                tracing::debug!(conn = conn.number(), ?error, "connection closed");
                speaker.handle_closed(now, conn);
            }
            Input::Installed(results) => {
                for (prefix, result) in results {
                    speaker.handle_installed(prefix, result);
                }
            }
            Input::Reachable(changes) => {
                for (next_hop, reachability) in changes {
                    set_reachability(speaker, now, next_hop, reachability);
                }
            }
            _ => {}
        }
    }

    /// Carries out what the speaker wants.
    fn pump(&mut self) {
        let Some(speaker) = &mut self.speaker else { return };
        while let Some(update) = speaker.poll_next_hop() {
            match update {
                NextHopUpdate::Track(address) => self.next_hops.track(address),
                NextHopUpdate::Untrack(address) => self.next_hops.untrack(address),
            }
        }
        let mut routes = Vec::new();
        while let Some(update) = speaker.poll_fib() {
            routes.push(update);
        }
        while let Some(event) = speaker.poll_event() {
            self.journal.log(&event);
            if let Some(message) = events::message(&event) {
                // Nobody may be watching.
                let _ = self.events.send(message);
            }
        }
        if let Some(fib) = self.fib.as_ref().filter(|_| !routes.is_empty()) {
            fib.apply(routes);
        }
        while let Some(action) = self.speaker.as_mut().and_then(Recorded::poll_action) {
            self.carry_out(action);
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.save();
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect { conn, local, remote, transport, .. } => {
                let password = self.passwords.get(&remote.ip()).cloned();
                let dial = sockets::dial(conn, (local, remote), transport, password, self.inputs.clone());
                let task = tokio::spawn(dial);
                self.dialing.insert(conn, task.abort_handle());
            }
            Action::Send { conn, bytes } => self.send(conn, bytes),
            Action::Close { conn } => {
                if let Some(task) = self.dialing.remove(&conn) {
                    task.abort();
                }
                if let Some(connection) = self.connections.remove(&conn) {
                    self.farewells.closing(connection.close());
                }
            }
            Action::StartBfd(request) => self.farewells.start_bfd(request),
            Action::StopBfd { peer } => self.farewells.stop_bfd(peer),
        }
    }

    fn send(&self, conn: ConnId, bytes: Bytes) {
        if let Some(connection) = self.connections.get(&conn) {
            connection.send(bytes);
        }
    }

    /// A changed password is that of the peer's connections at once.
    fn take_passwords(&mut self, passwords: Passwords) {
        let changed = |peer: &IpAddr, password: &Password| self.passwords.get(peer).is_some_and(|it| it != password);
        for (peer, password) in passwords.iter().filter(|(peer, password)| changed(peer, password)) {
            tracing::info!(%peer, "the password has changed");
            self.connections.values().for_each(|connection| connection.sign(*peer, password));
        }
        self.listener.sign(&passwords);
        self.passwords = passwords;
    }

    /// Makes speaker, peers and guards what the configuration says now.
    fn reconfigure(&mut self) {
        let now = self.clock.now();
        self.configured = now;
        let Some(wanted) = self.source.wanted(now) else { return };
        self.take_passwords(wanted.passwords);
        self.listener.listen(wanted.listen);
        self.take_log(wanted.log);
        if self.peer_routes.as_ref() != Some(&wanted.peer_routes) {
            self.next_hops.reach(wanted.peer_routes.clone());
            self.peer_routes = Some(wanted.peer_routes);
        }
        if self.source.identity_changed() {
            if let Some(old) = &mut self.speaker {
                old.shutdown(now, Shutdown::Administrative { reason: "configuration changed".to_owned() });
                self.pump();
            }
            self.connections.clear();
            self.peers.clear();
            self.guards = None;
            let recording = self.speaker.take().and_then(Recorded::into_recording).or_else(|| self.recording.take());
            let mut speaker = Recorded::new(wanted.speaker, self.source.seed(), now, recording);
            speaker.drain(now, self.drains());
            self.speaker = Some(speaker);
        }
        self.drain(self.draining, wanted.drain);
        let Some(speaker) = &mut self.speaker else { return };
        speaker.set_cluster_id(now, wanted.cluster_id);
        if self.guards.as_ref() != Some(&wanted.guards) {
            speaker.set_guards(now, wanted.guards.clone());
            self.guards = Some(wanted.guards);
        }
        let gone: Vec<String> = self.peers.keys().filter(|name| !wanted.peers.contains_key(*name)).cloned().collect();
        for name in gone {
            if self.source.may_retire(&name, &wanted.peers) {
                speaker.retire_peer(now, &name, wanted.linger);
            } else {
                speaker.remove_peer(now, &name);
            }
            self.peers.remove(&name);
        }
        for (name, peer) in wanted.peers {
            if self.peers.get(&name) != Some(&peer) {
                speaker.set_peer_gently(now, peer.clone(), wanted.linger);
                self.peers.insert(name, peer);
            }
        }
        let readvertised = self.source.readvertised();
        for (source, prefix, attributes) in readvertised {
            speaker.set_origin_attributes(now, &source, prefix, attributes);
        }
        for input in self.source.originated() {
            self.apply_origin(&input);
        }
    }

    /// The node's own file comes before the cluster's word.
    fn take_log(&mut self, severity: Option<LogSeverity>) {
        if !self.logs_by_configuration || self.log == severity {
            return;
        }
        self.log = severity;
        if let Err(error) = daemon::log::change(severity.map_or(DEFAULT_FILTER, filter_of)) {
            tracing::warn!(%error, "cannot change what is logged");
        }
    }

    fn apply_origin(&mut self, input: &OriginInput) {
        let (Some(speaker), now) = (&mut self.speaker, self.clock.now()) else { return };
        match input {
            OriginInput::Connected { source } => speaker.origin_connected(now, source),
            OriginInput::Update { source, announce, withdraw, in_sync } => {
                for prefix in withdraw {
                    speaker.withdraw(now, source, *prefix);
                }
                for (prefix, cause) in announce {
                    speaker.originate(now, source, *prefix, self.source.attributes(*prefix, cause));
                }
                if *in_sync {
                    speaker.origin_in_sync(now, source);
                }
            }
            OriginInput::Lost { source } => speaker.origin_lost(now, source),
        }
    }
}

/// The log filter of a level. What ends the daemon is written by whoever ends it.
const fn filter_of(severity: LogSeverity) -> &'static str {
    match severity {
        LogSeverity::Debug => "debug",
        LogSeverity::Info => "info",
        LogSeverity::Warning => "warn",
        LogSeverity::Error => "error",
        LogSeverity::Fatal | LogSeverity::None => "off",
    }
}

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}

fn set_reachability(speaker: &mut Recorded, now: Instant, next_hop: IpAddr, reachability: Option<Reachability>) {
    tracing::debug!(%next_hop, ?reachability, "next hop");
    speaker.set_reachability(now, next_hop, reachability);
}

fn connect_error(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        io::ErrorKind::NetworkUnreachable => ConnectError::NoRoute,
        io::ErrorKind::HostUnreachable => ConnectError::NoNeighbour,
        io::ErrorKind::ConnectionReset => ConnectError::Reset,
        _ => ConnectError::Local,
    }
}
