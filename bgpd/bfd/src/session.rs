//! One session: the state machine and timers of RFC 5880 §6, as a value.

use std::time::Duration;

use crate::config::Config;
use crate::instant::Instant;
use crate::packet::{Diagnostic, Packet, State};
use crate::random::Random;

/// The state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: State,
    /// Now.
    pub to: State,
    /// Why (bfd.LocalDiag).
    pub diagnostic: Diagnostic,
    /// The peer is held down by command: that it left Up says nothing about the path (RFC 5882 §3.2).
    pub remote_admin_down: bool,
    /// It was the former life of a peer that has restarted which went away (RFC 5882 §4.3.2.1).
    pub peer_restarted: bool,
}

impl Change {
    /// True if the path to the peer has failed: it was Up, and neither a command of either side (RFC 5882 §3.2) nor a
    /// restart of the peer ended that.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        let lost = self.from == State::Up && self.to == State::Down;
        lost && !self.remote_admin_down && !self.peer_restarted
    }
}

/// A session as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// bfd.SessionState.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// bfd.LocalDiag.
    pub diagnostic: Diagnostic,
    /// bfd.RemoteSessionState.
    pub remote_state: State,
    /// Diag of the last packet.
    pub remote_diagnostic: Diagnostic,
    /// bfd.LocalDiscr.
    pub discriminator: u32,
    /// bfd.RemoteDiscr, 0 when unknown.
    pub remote_discriminator: u32,
    /// The peer's BFD does not share the fate of its control plane (C).
    pub remote_independent: bool,
    /// Interval between our packets, before jitter; zero if the peer wants none.
    pub transmit_interval: Duration,
    /// Detection time; zero until the peer was heard.
    pub detection_time: Duration,
    /// Packets taken.
    pub received: u64,
    /// Packets handed out.
    pub sent: u64,
    /// Times that Up was left.
    pub downs: u64,
}

/// What the peer last said of itself.
#[derive(Debug, Clone, Copy)]
struct Remote {
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    demand: bool,
    independent: bool,
    min_rx: Duration,
    min_tx: Duration,
    multiplier: u8,
}

/// RFC 5880 §6.8.1.
const UNKNOWN: Remote = Remote {
    discriminator: 0,
    state: State::Down,
    diagnostic: Diagnostic::NONE,
    demand: false,
    independent: false,
    min_rx: Duration::from_micros(1),
    min_tx: Duration::ZERO,
    multiplier: 0,
};

/// A Poll Sequence (RFC 5880 §6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Idle,
    /// The P bit is set until an F comes.
    Active,
    /// The intervals changed again: the F that is awaited answers the former ones, and a second sequence follows.
    Again,
}

/// A session with one peer, in the active role (RFC 5880 §6.1).
///
/// After any `handle_*` and command, call [`Session::poll_transmit`] until it returns `None`, then arm one timer for
/// [`Session::poll_timeout`].
#[derive(Debug)]
pub struct Session {
    config: Config,
    random: Random,
    state: State,
    since: Instant,
    diagnostic: Diagnostic,
    discriminator: u32,
    remote: Remote,
    /// bfd.DesiredMinTxInterval.
    desired_min_tx: Duration,
    /// The one in use: an increase while Up waits for the end of the Poll Sequence (§6.8.3).
    tx_in_use: Duration,
    /// The RequiredMinRxInterval in use: a reduction while Up waits likewise.
    rx_in_use: Duration,
    poll: Poll,
    answer_due: bool,
    /// The contents changed: a packet goes out before its time (§6.8.7).
    news: bool,
    last_sent: Option<Instant>,
    next_send: Option<Instant>,
    /// The interval that `next_send` was drawn from.
    armed_for: Option<Duration>,
    heard: Option<Instant>,
    /// The peer's control plane has restarted, and nothing says yet whether its BFD has.
    doubtful: bool,
    received: u64,
    sent: u64,
    downs: u64,
}

impl Session {
    /// A session that begins to look for its peer. The discriminator is not zero and no other session's.
    #[must_use]
    pub fn new(config: Config, discriminator: u32, seed: u64, now: Instant) -> Self {
        let desired_min_tx = Config::SLOW.max(config.min_interval);
        Self {
            config,
            random: Random::new(seed),
            state: State::Down,
            since: now,
            diagnostic: Diagnostic::NONE,
            discriminator,
            remote: UNKNOWN,
            desired_min_tx,
            tx_in_use: desired_min_tx,
            rx_in_use: config.min_receive,
            poll: Poll::Idle,
            answer_due: false,
            news: true,
            last_sent: None,
            next_send: None,
            armed_for: None,
            heard: None,
            doubtful: false,
            received: 0,
            sent: 0,
            downs: 0,
        }
    }

    /// What there is to show.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            diagnostic: self.diagnostic,
            remote_state: self.remote.state,
            remote_diagnostic: self.remote.diagnostic,
            discriminator: self.discriminator,
            remote_discriminator: self.remote.discriminator,
            remote_independent: self.remote.independent,
            transmit_interval: self.transmit_interval().unwrap_or_default(),
            detection_time: self.detection_time(),
            received: self.received,
            sent: self.sent,
            downs: self.downs,
        }
    }

    /// A packet for this session came: the part of RFC 5880 §6.8.6 behind its selection.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet) -> Option<Change> {
        self.received += 1;
        // The number that was known is still in use: this BFD has lived on.
        self.doubtful &= packet.my_discriminator != self.remote.discriminator;
        self.remote = Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            demand: packet.demand,
            independent: packet.control_plane_independent,
            min_rx: packet.required_min_rx,
            min_tx: packet.desired_min_tx,
            multiplier: packet.multiplier,
        };
        if packet.r#final {
            self.poll_answered();
        }
        if self.state == State::AdminDown {
            self.reschedule(now);
            return None;
        }
        let change = match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                self.enter(now, State::Down, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN)
            }
            (State::Down, State::Down) => self.enter(now, State::Init, self.diagnostic),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(now, State::Up, Diagnostic::NONE)
            }
            _ => None,
        };
        self.doubtful = false;
        self.answer_due |= packet.poll;
        self.heard = Some(now);
        self.reschedule(now);
        change
    }

    /// The time of [`Session::poll_timeout`] has come. Before this, hand over what the sockets already hold: a late
    /// process must not blame the peer.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Change> {
        if self.detection_ends().is_none_or(|end| end > now) {
            return None;
        }
        self.heard = None;
        let change = match self.state {
            State::Init | State::Up => self.enter(now, State::Down, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED),
            State::AdminDown | State::Down => None,
        };
        self.doubtful = false;
        // Nobody is there to answer a poll, and whoever comes back may have another number (§6.8.1).
        self.remote.discriminator = 0;
        self.poll = Poll::Idle;
        self.reschedule(now);
        change
    }

    /// The next packet to send now, if one is due. Answers to polls come first, and do not count as periodic ones.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if std::mem::take(&mut self.answer_due) {
            self.sent += 1;
            return Some(Packet { poll: false, r#final: true, ..self.packet() });
        }
        let due = self.next_send.is_some_and(|at| at <= now);
        if !self.news && !due {
            return None;
        }
        self.news = false;
        self.last_sent = Some(now);
        self.schedule(now);
        self.sent += 1;
        Some(self.packet())
    }

    /// When to call [`Session::handle_timeout`] and [`Session::poll_transmit`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let send = if self.news || self.answer_due { Some(Instant::default()) } else { self.next_send };
        [send, self.detection_ends()].into_iter().flatten().min()
    }

    /// Changes the timers, by a Poll Sequence where the peer must know first (§6.8.3).
    pub fn set_config(&mut self, now: Instant, config: Config) {
        let former = std::mem::replace(&mut self.config, config);
        if former == config {
            return;
        }
        let desired = self.desired();
        let changed = desired != self.desired_min_tx || former.min_receive != config.min_receive;
        self.desired_min_tx = desired;
        if changed {
            self.begin_poll();
        }
        self.apply_intervals(self.state == State::Up);
        self.reschedule(now);
    }

    /// Holds the session down by command: the peer hears of it and knows that it means nothing (§6.8.16).
    pub fn hold_down(&mut self, now: Instant) -> Option<Change> {
        self.answer_due = false;
        let change = self.enter(now, State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN);
        self.poll = Poll::Idle;
        self.reschedule(now);
        change
    }

    /// The peer's control plane has restarted. A BFD that shares its fate has too: that its former life falls silent, or
    /// that it says Down with a new number, is no failure (RFC 5882 §4.3.2.1). One that goes on with the number that is known
    /// has lived on, whatever its C bit says, and its failures count.
    pub fn peer_restarted(&mut self) {
        self.doubtful = self.heard.is_some() && !self.remote.independent;
    }

    /// How long the peer takes to miss us (§6.8.4, seen from its side).
    #[must_use]
    pub fn remote_detection_time(&self) -> Duration {
        self.tx_in_use.max(self.remote.min_rx) * u32::from(self.config.multiplier)
    }

    fn enter(&mut self, now: Instant, state: State, diagnostic: Diagnostic) -> Option<Change> {
        let from = std::mem::replace(&mut self.state, state);
        self.diagnostic = diagnostic;
        if from == state {
            return None;
        }
        self.since = now;
        self.news = true;
        self.downs += u64::from(from == State::Up);
        let desired = self.desired();
        if desired != self.desired_min_tx {
            self.desired_min_tx = desired;
            self.begin_poll();
        }
        // Slower on the way down, faster on the way up: neither has to wait (§6.8.3).
        self.apply_intervals(false);
        let remote_admin_down = self.remote.state == State::AdminDown;
        Some(Change { from, to: state, diagnostic, remote_admin_down, peer_restarted: self.doubtful })
    }

    /// DesiredMinTxInterval as the state allows it.
    fn desired(&self) -> Duration {
        match self.state {
            State::Up => self.config.min_interval,
            _ => self.config.min_interval.max(Config::SLOW),
        }
    }

    fn begin_poll(&mut self) {
        self.poll = match self.poll {
            // Nobody would answer.
            _ if self.remote.discriminator == 0 => Poll::Idle,
            Poll::Idle => Poll::Active,
            Poll::Active | Poll::Again => Poll::Again,
        };
    }

    fn poll_answered(&mut self) {
        match self.poll {
            Poll::Idle => {}
            Poll::Active => {
                self.poll = Poll::Idle;
                self.apply_intervals(false);
            }
            Poll::Again => self.poll = Poll::Active,
        }
    }

    /// Takes the configured intervals into use; with `polling` only those that the peer need not agree to first.
    fn apply_intervals(&mut self, polling: bool) {
        let polling = polling && self.poll != Poll::Idle;
        if !polling || self.desired_min_tx < self.tx_in_use {
            self.tx_in_use = self.desired_min_tx;
        }
        if !polling || self.config.min_receive > self.rx_in_use {
            self.rx_in_use = self.config.min_receive;
        }
    }

    /// Interval between our packets before jitter; `None` if the peer wants none (§6.8.7).
    fn transmit_interval(&self) -> Option<Duration> {
        (!self.remote.min_rx.is_zero()).then(|| self.tx_in_use.max(self.remote.min_rx))
    }

    fn sends_periodically(&self) -> bool {
        let spared = self.remote.demand && self.state == State::Up && self.remote.state == State::Up;
        !self.remote.min_rx.is_zero() && (!spared || self.poll != Poll::Idle)
    }

    /// Arms the sending timer anew from the last packet.
    fn schedule(&mut self, now: Instant) {
        self.armed_for = self.transmit_interval().filter(|_| self.sends_periodically());
        let multiplier = self.config.multiplier;
        self.next_send = self.armed_for.map(|it| self.last_sent.unwrap_or(now) + self.random.jitter(it, multiplier));
    }

    /// Arms the sending timer anew if what it was armed for has changed. A shorter interval counts from the last packet,
    /// so the next one may be due at once (§6.8.3).
    fn reschedule(&mut self, now: Instant) {
        if self.armed_for != self.transmit_interval().filter(|_| self.sends_periodically()) {
            self.schedule(now);
        }
    }

    /// §6.8.4, without demand mode on our side.
    fn detection_time(&self) -> Duration {
        self.rx_in_use.max(self.remote.min_tx) * u32::from(self.remote.multiplier)
    }

    fn detection_ends(&self) -> Option<Instant> {
        self.heard.map(|heard| heard + self.detection_time())
    }

    fn packet(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.poll != Poll::Idle,
            r#final: false,
            control_plane_independent: false,
            demand: false,
            multiplier: self.config.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.config.min_receive,
            required_min_echo_rx: Duration::ZERO,
        }
    }
}
