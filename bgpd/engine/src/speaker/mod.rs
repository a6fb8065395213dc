//! The speaker: one value that owns everything.
//!
//! Inputs change peers and mark prefixes; [`Speaker`] settles when it is next polled: it decides what is marked, tells the
//! kernel's side and the update groups, and only then hands out actions.

mod bfd;
mod commands;
mod explain;
mod input;
mod lifecycle;
mod membership;
mod origins;
mod retention;
mod settle;
mod status;
mod tables;
mod timers;
mod transition;
mod update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;

use crate::config::SpeakerConfig;
use crate::instant::Instant;
use crate::outbox::Outbox;
use crate::output::{Action, ConnId, Event, FibUpdate, NextHopUpdate};
use crate::peer::{Drive, Peer};
use crate::random::Random;
use crate::restart::Deferral;
use crate::rib::PeerId;
use origins::Origins;
use tables::Tables;
use transition::Transition;

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
    /// The latest time seen.
    now: Instant,
    random: Random,
    peers: Slab<Peer>,
    names: BTreeMap<Arc<str>, PeerId>,
    conns: HashMap<ConnId, PeerId, FixedState>,
    next_conn: u64,
    outbox: Outbox,
    tables: Tables,
    origins: Origins,
    deferral: Deferral,
    /// When each peer wants to be woken; may be early, never late.
    timers: BTreeSet<(Instant, PeerId)>,
    events: VecDeque<Event>,
    fib: VecDeque<FibUpdate>,
    watch_routes: bool,
    /// See [`Speaker::drain`].
    draining: bool,
    /// What the shell asked to happen without haste.
    transition: Transition,
    /// Something happened since the last settling.
    unsettled: bool,
    /// Paths through next hops whose resolution changed must be decided again.
    next_hops_changed: bool,
}

impl Speaker {
    /// A speaker without peers. The seed feeds timer jitter and nothing else.
    #[must_use]
    pub fn new(config: SpeakerConfig, seed: u64, now: Instant) -> Self {
        Self {
            deferral: Deferral::new(&config, now),
            origins: Origins::new(&config.origin_sources),
            config,
            now,
            random: Random::new(seed),
            peers: Slab::new(),
            names: BTreeMap::new(),
            conns: HashMap::with_hasher(FixedState::default()),
            next_conn: 0,
            outbox: Outbox::new(),
            tables: Tables::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            fib: VecDeque::new(),
            watch_routes: false,
            draining: false,
            transition: Transition::default(),
            unsettled: true,
            next_hops_changed: false,
        }
    }

    /// The next thing to do with sockets.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.settle();
        self.outbox.poll()
    }

    /// The next change of the kernel's routes.
    pub fn poll_fib(&mut self) -> Option<FibUpdate> {
        self.settle();
        self.next_fib()
    }

    /// The next change of the next hops to watch.
    pub fn poll_next_hop(&mut self) -> Option<NextHopUpdate> {
        self.settle();
        self.tables.shared.next_hops.poll()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.settle();
        self.events.pop_front()
    }

    /// When to call [`Speaker::handle_timeout`]. Ask after the other polls.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.timers.first().map(|it| it.0);
        [peers, self.deferral.deadline(), self.origins.deadline(), self.transition.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes note of the time and that there is something to settle.
    fn at(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.unsettled = true;
    }

    /// A peer together with what its connections need.
    fn split(&mut self, id: PeerId) -> Option<(&mut Peer, Drive<'_>)> {
        let peer = self.peers.get_mut(id.index())?;
        let drive = Drive {
            now: self.now,
            random: &mut self.random,
            outbox: &mut self.outbox,
            speaker: &self.config,
            conns: &mut self.conns,
            next_conn: &mut self.next_conn,
        };
        Some((peer, drive))
    }

    fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id.index())
    }

    fn find(&self, name: &str) -> Option<&Peer> {
        self.names.get(name).and_then(|id| self.get(*id))
    }
}
