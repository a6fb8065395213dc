//! A peer: what outlives its connections, and the connections themselves.
//!
//! A peer has one connection to dial, at most one that it dialled and that is not Established yet, and at most one that is
//! Established. The last has its own place, because a peer that lost its side dials anew while we still hold the old one
//! (RFC 4724 §5).

mod connection;
mod damping;
pub(crate) mod diagnosis;
mod drive;
mod open;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use connection::Connection;
pub(crate) use damping::Damping;
pub(crate) use drive::{Drive, Effect, Slot};

use crate::bfd::BfdWatch;
use crate::config::PeerConfig;
use crate::instant::Instant;
use crate::outbox::MessageCounts;
use crate::output::ConnId;
use crate::prefix::PerFamily;
use crate::reason::{Diagnosis, Refusal};
use crate::restart::Retention;
use crate::rib::PeerId;
use crate::session::Negotiated;
use crate::status::SessionState;

/// Pause of the dialer after a failed dial, at most.
const CONNECT_RETRY_CAP: Duration = Duration::from_secs(30);

/// Whether the speaker wants a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    /// Down for a reason, until a command or this time.
    Stopped(Diagnosis, Option<Instant>),
}

impl Standing {
    /// What the configuration says.
    pub(crate) const fn configured(config: &PeerConfig) -> Self {
        match config.shutdown {
            Some(_) => Self::Stopped(Diagnosis::AdminDown, None),
            None => Self::Running,
        }
    }
}

/// The time until the next start of the dialer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    /// Connections of the peer are refused meanwhile.
    pub(crate) damped: bool,
}

/// State of a prefix limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LimitState {
    pub(crate) warned: bool,
    pub(crate) exceeded: bool,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) name: Arc<str>,
    pub(crate) config: PeerConfig,
    pub(crate) standing: Standing,
    pub(crate) dialer: Connection,
    pub(crate) inbound: Option<Connection>,
    pub(crate) established: Option<Connection>,
    pub(crate) pause: Option<Pause>,
    pub(crate) damping: Damping,
    /// Dials that failed since the last OPEN of the peer.
    pub(crate) dial_failures: u32,
    /// ConnectRetryCounter (RFC 4271 §8.1.1).
    pub(crate) connect_retry_counter: u32,
    /// The next OPEN has no optional parameters (RFC 5492 §3).
    pub(crate) plain_open: bool,
    pub(crate) established_at: Option<Instant>,
    pub(crate) reported: SessionState,
    pub(crate) since: Instant,
    pub(crate) flaps: u32,
    /// The last error of a connection that was up.
    pub(crate) last_error: Option<(Diagnosis, Instant)>,
    /// The latest reason why there is no session, failed dials included.
    pub(crate) diagnosis: Option<Diagnosis>,
    pub(crate) retention: Retention,
    /// End-of-RIB was received on this session.
    pub(crate) end_of_rib_received: PerFamily<bool>,
    /// End-of-RIB was sent on this session.
    pub(crate) end_of_rib_sent: PerFamily<bool>,
    /// End-of-RIB was sent once since the start of the process.
    pub(crate) told_end_of_rib: bool,
    /// There was a session since the start of the process.
    pub(crate) ever_established: bool,
    /// Bound of a refresh that the peer has begun (RFC 7313).
    pub(crate) refresh_until: PerFamily<Option<Instant>>,
    pub(crate) limits: PerFamily<LimitState>,
    pub(crate) received: MessageCounts,
    /// Attribute discarded, treated as withdrawal.
    pub(crate) update_errors: (u64, u64),
    pub(crate) refusals: [u64; Refusal::WORDS.len()],
    pub(crate) bfd: BfdWatch,
    /// Where the timer index has it.
    pub(crate) timer: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(id: PeerId, config: PeerConfig, now: Instant) -> Self {
        Self {
            id,
            name: config.name.as_str().into(),
            standing: Standing::configured(&config),
            config,
            dialer: Connection::default(),
            inbound: None,
            established: None,
            pause: None,
            damping: Damping::default(),
            dial_failures: 0,
            connect_retry_counter: 0,
            plain_open: false,
            established_at: None,
            reported: SessionState::Idle,
            since: now,
            flaps: 0,
            last_error: None,
            diagnosis: None,
            retention: Retention::default(),
            end_of_rib_received: PerFamily::default(),
            end_of_rib_sent: PerFamily::default(),
            told_end_of_rib: false,
            ever_established: false,
            refresh_until: PerFamily::default(),
            limits: PerFamily::default(),
            received: MessageCounts::default(),
            update_errors: (0, 0),
            refusals: [0; Refusal::WORDS.len()],
            bfd: BfdWatch::default(),
            timer: None,
        }
    }

    /// Notes why a connection that was up failed.
    pub(crate) fn note_error(&mut self, diagnosis: Diagnosis, now: Instant) {
        self.diagnosis = Some(diagnosis.clone());
        self.last_error = Some((diagnosis, now));
    }

    /// The connection in a place.
    pub(crate) fn at(&self, slot: Slot) -> Option<&Connection> {
        match slot {
            Slot::Dialer => Some(&self.dialer),
            Slot::Inbound => self.inbound.as_ref(),
            Slot::Established => self.established.as_ref(),
        }
    }

    pub(crate) fn at_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        match slot {
            Slot::Dialer => Some(&mut self.dialer),
            Slot::Inbound => self.inbound.as_mut(),
            Slot::Established => self.established.as_mut(),
        }
    }

    /// The place of a connection.
    pub(crate) fn slot_of(&self, conn: ConnId) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.at(*slot).is_some_and(|it| it.id == Some(conn)))
    }

    /// The more advanced state of its connections.
    pub(crate) fn state(&self) -> SessionState {
        let states = Slot::ALL.into_iter().filter_map(|slot| self.at(slot)).map(|it| it.state.name());
        states.max().unwrap_or_default()
    }

    /// Terms of the Established session.
    pub(crate) fn session(&self) -> Option<&Negotiated> {
        self.established.as_ref().and_then(|it| it.state.session())
    }

    /// AS number we use towards it.
    pub(crate) fn local_as(&self, speaker_as: u32) -> u32 {
        self.config.local_as.unwrap_or(speaker_as)
    }

    /// ConnectRetryTime with back-off, before jitter.
    pub(crate) fn connect_retry(&self) -> Duration {
        let cap = CONNECT_RETRY_CAP.max(self.config.connect_retry);
        self.config.connect_retry.saturating_mul(1 << self.dial_failures.saturating_sub(1).min(8)).min(cap)
    }

    /// The earliest of all its timers.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let connections = Slot::ALL.into_iter().filter_map(|slot| self.at(slot)).flat_map(|it| {
            let waiting = it.waiting.as_ref().map(|it| it.1);
            [it.state.deadline().map(|it| it.0), waiting]
        });
        let stopped = match self.standing {
            Standing::Stopped(_, until) => until,
            Standing::Running => None,
        };
        let own = [self.pause.map(|it| it.until), stopped, self.retention.deadline()];
        let refresh = [self.refresh_until.v4, self.refresh_until.v6];
        connections.chain(own).chain(refresh).flatten().min()
    }

    /// BGP Identifier of the peer on the present session.
    pub(crate) fn identifier(&self) -> Option<Ipv4Addr> {
        let session = Slot::ALL.into_iter().rev().filter_map(|slot| self.at(slot)).find_map(|it| it.state.session());
        session.map(|it| it.peer_identifier)
    }

    /// Our end of the Established session.
    pub(crate) fn local_address(&self) -> Option<IpAddr> {
        self.established.as_ref().and_then(|it| it.local)
    }
}
