//! The speaker: one value that owns everything.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Guards, OriginAttributes, PeerConfig, SpeakerConfig};
use crate::instant::Instant;
use crate::output::{
    Action, ConnId, ConnectError, Event, FibUpdate, InstallResult, NextHopUpdate, Reachability, Shutdown,
};
use crate::prefix::Prefix;
use crate::status::{Explanation, PeerStatus, RouteQuery, RouteStatus, SpeakerStatus};

/// A BGP speaker.
///
/// The methods fall into four kinds:
///
/// - *commands* (`set_peer`, `originate`, …) say what is wanted,
/// - *`handle_*`* say what happened,
/// - *`poll_*`* say what is to be done. After any command or `handle_*`, call [`Speaker::poll_action`],
///   [`Speaker::poll_fib`], [`Speaker::poll_next_hop`] and [`Speaker::poll_event`] until each returns `None`, then arm one
///   timer for [`Speaker::poll_timeout`]. Several inputs may come before the polls: they are then decided as one batch,
/// - *status* (`peers`, `routes`, `explain`, …) reads.
///
/// `now` must not run backwards.
#[derive(Debug)]
pub struct Speaker {
    config: SpeakerConfig,
}

#[expect(unused_variables, reason = "interface first")]
impl Speaker {
    /// A speaker without peers. The seed feeds timer jitter and nothing else.
    #[must_use]
    pub fn new(config: SpeakerConfig, seed: u64, now: Instant) -> Self {
        Self { config }
    }

    /// Adds a peer or changes one. Only what OPEN negotiates, its addresses or its transport reset its session (Cease
    /// 6/6); everything else changes live.
    pub fn set_peer(&mut self, now: Instant, config: PeerConfig) {}

    /// Removes a peer: Cease 6/3, its routes go.
    pub fn remove_peer(&mut self, now: Instant, name: &str) {}

    /// Resets a session (Cease 6/4) with a text for the peer's operator; lets a peer that was down for its prefix limit
    /// try again. False if there is no such peer.
    pub fn reset_peer(&mut self, now: Instant, name: &str, reason: &str) -> bool {
        false
    }

    /// Asks a peer for its routes again (RFC 2918). False if there is no such peer, or it cannot.
    pub fn request_refresh(&mut self, now: Instant, name: &str) -> bool {
        false
    }

    /// Sends a peer its whole table again. False if there is no such peer, or no session.
    pub fn resend(&mut self, now: Instant, name: &str) -> bool {
        false
    }

    /// Tells the import guards about the node and the cluster.
    pub fn set_guards(&mut self, now: Instant, guards: Guards) {}

    /// Announces a prefix for a source, or changes its attributes. A source that speaks is connected.
    pub fn originate(&mut self, now: Instant, source: &str, prefix: Prefix, attributes: OriginAttributes) {}

    /// Takes back a prefix of a source.
    pub fn withdraw(&mut self, now: Instant, source: &str, prefix: Prefix) {}

    /// A source connected (again): what it announces until [`Speaker::origin_in_sync`] replaces what is held from it.
    pub fn origin_connected(&mut self, now: Instant, source: &str) {}

    /// A source has said everything it had at its start: what it did not say again goes.
    pub fn origin_in_sync(&mut self, now: Instant, source: &str) {}

    /// A source is gone: its prefixes stay for the stale time.
    pub fn origin_lost(&mut self, now: Instant, source: &str) {}

    /// How a next hop is reached, or `None` if it is not.
    pub fn set_reachability(&mut self, now: Instant, next_hop: IpAddr, reachability: Option<Reachability>) {}

    /// Turns [`Event::RouteChanged`] on or off.
    pub fn watch_routes(&mut self, on: bool) {}

    /// Ends every session. Poll the last actions afterwards.
    pub fn shutdown(&mut self, now: Instant, how: Shutdown) {}

    /// A dialled connection is up. `local` is our end of it.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, local: SocketAddr) {}

    /// A dial failed.
    pub fn handle_connect_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {}

    /// A connection was accepted. `None`: close it at once, without a word.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        interface: Option<u32>,
    ) -> Option<ConnId> {
        None
    }

    /// Bytes were received.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {}

    /// The socket accepted `count` more bytes.
    pub fn handle_sent(&mut self, now: Instant, conn: ConnId, count: usize) {}

    /// The connection was closed or reset by the peer. Not called for connections that the speaker closed.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {}

    /// The time of [`Speaker::poll_timeout`] has come. Before this, hand over what the sockets already hold: a late
    /// process must not blame the peer.
    pub fn handle_timeout(&mut self, now: Instant) {}

    /// What became of a [`FibUpdate`].
    pub fn handle_installed(&mut self, prefix: Prefix, result: InstallResult) {}

    /// The next thing to do with sockets.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// The next change of the kernel's routes.
    pub fn poll_fib(&mut self) -> Option<FibUpdate> {
        None
    }

    /// The next change of the next hops to watch.
    pub fn poll_next_hop(&mut self) -> Option<NextHopUpdate> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When to call [`Speaker::handle_timeout`]. Ask after the other polls.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The speaker.
    #[must_use]
    pub fn status(&self) -> SpeakerStatus {
        SpeakerStatus {
            local_as: self.config.local_as,
            router_id: self.config.router_id,
            rib_prefixes: Default::default(),
            rib_paths: Default::default(),
            fib_routes: Default::default(),
            fib_drift: Default::default(),
            attribute_sets: 0,
            sources: Vec::new(),
            selection_deferred: Default::default(),
        }
    }

    /// All peers, sorted by name.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<PeerStatus> {
        None
    }

    /// Routes, sorted by prefix, best path first.
    #[must_use]
    pub fn routes(&self, query: &RouteQuery) -> Vec<RouteStatus> {
        Vec::new()
    }

    /// Why a prefix goes where it goes; `None` if it is unknown.
    #[must_use]
    pub fn explain(&self, prefix: Prefix) -> Option<Explanation> {
        None
    }

    /// The longest prefix with a candidate that holds an address.
    #[must_use]
    pub fn longest_match(&self, address: IpAddr) -> Option<Prefix> {
        None
    }

    /// What the kernel should hold, sorted by prefix; for a comparison after lost notifications.
    #[must_use]
    pub fn fib(&self) -> Vec<FibUpdate> {
        Vec::new()
    }
}
