//! All sessions of one machine: which of them a datagram is for, and whether it may be (RFC 5881, RFC 5883).

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::config::Config;
use crate::instant::Instant;
use crate::packet::{Invalid, LENGTH, Packet, decode, encode};
use crate::random::Random;
use crate::session::{Change, Session, Status};

/// The TTL that every packet leaves with, and that a single-hop one must arrive with (RFC 5881 §5).
const TTL: u8 = 255;

/// A session, by its local discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u32);

/// How far away a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hops {
    /// On the same link: UDP port 3784, and whatever a router has forwarded is discarded (RFC 5881 §5).
    Single,
    /// Anywhere: UDP port 4784 (RFC 5883 §5).
    Multi {
        /// Packets with a lower TTL are discarded.
        min_ttl: u8,
    },
}

/// The two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer.
    pub remote: IpAddr,
    /// Our address.
    pub local: IpAddr,
    /// The interface, for link-local addresses.
    pub interface: Option<u32>,
    /// How far away.
    pub hops: Hops,
}

/// What the IP and UDP headers of a datagram said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// From which address.
    pub source: IpAddr,
    /// To which.
    pub destination: IpAddr,
    /// Through which interface.
    pub interface: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// It came to the multihop port.
    pub multihop: bool,
}

/// A packet to send, with TTL 255, from the session's own source port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Whose.
    pub session: SessionId,
    /// UDP payload.
    pub payload: [u8; LENGTH],
}

/// Why a datagram was discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Discard {
    /// No well-formed packet (RFC 5880 §6.8.6).
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Your Discriminator is none of ours.
    #[error("unknown discriminator")]
    UnknownDiscriminator,
    /// No discriminator, and no session with that address.
    #[error("no session with this peer")]
    NoSession,
    /// A router was in between that should not have been.
    #[error("TTL too low")]
    Ttl,
}

impl Discard {
    /// One word, for counters.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Invalid(Invalid::Short | Invalid::Length(_)) => "length",
            Self::Invalid(Invalid::Version(_)) => "version",
            Self::Invalid(Invalid::Multiplier) => "multiplier",
            Self::Invalid(Invalid::Multipoint) => "multipoint",
            Self::Invalid(Invalid::MyDiscriminator) => "my_discriminator",
            Self::Invalid(Invalid::YourDiscriminator(_)) => "your_discriminator",
            Self::Invalid(Invalid::Authenticated) => "authenticated",
            Self::UnknownDiscriminator => "unknown_discriminator",
            Self::NoSession => "no_session",
            Self::Ttl => "ttl",
        }
    }
}

#[derive(Debug)]
struct Entry {
    path: Path,
    session: Session,
    /// Held down until then, so that the peer hears of it, and gone afterwards.
    ends: Option<Instant>,
}

/// The sessions. `now` must not run backwards.
///
/// After any `handle_*` and command, call [`Sessions::poll_transmit`] and [`Sessions::poll_change`] until each returns
/// `None`, then arm one timer for [`Sessions::poll_timeout`].
#[derive(Debug)]
pub struct Sessions {
    random: Random,
    entries: BTreeMap<SessionId, Entry>,
    changes: VecDeque<(SessionId, Change)>,
    discards: BTreeMap<&'static str, u64>,
}

impl Sessions {
    /// None yet. The seed feeds discriminators and jitter.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            entries: BTreeMap::new(),
            changes: VecDeque::new(),
            discards: BTreeMap::new(),
        }
    }

    /// Starts a session.
    pub fn start(&mut self, now: Instant, path: Path, config: Config) -> SessionId {
        let id = loop {
            let id = SessionId((self.random.next() >> 32) as u32);
            if id.0 != 0 && !self.entries.contains_key(&id) {
                break id;
            }
        };
        let session = Session::new(config, id.0, self.random.next(), now);
        self.entries.insert(id, Entry { path, session, ends: None });
        id
    }

    /// Changes a session's timers, without losing it.
    pub fn set_config(&mut self, now: Instant, id: SessionId, config: Config) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.session.set_config(now, config);
        }
    }

    /// The control plane of a session's peer has restarted; see [`Session::peer_restarted`].
    pub fn peer_restarted(&mut self, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.session.peer_restarted();
        }
    }

    /// Ends a session. The peer is told for as long as it may take to miss us (RFC 5880 §6.8.16); [`Sessions::contains`]
    /// is true until then.
    pub fn stop(&mut self, now: Instant, id: SessionId) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.ends.is_none()) {
            entry.ends = Some(now + entry.session.remote_detection_time().max(Config::SLOW));
            self.changes.extend(entry.session.hold_down(now).map(|it| (id, it)));
        }
    }

    /// True if the session is there, or on its way out.
    #[must_use]
    pub fn contains(&self, id: SessionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// A session's status.
    #[must_use]
    pub fn status(&self, id: SessionId) -> Option<Status> {
        self.entries.get(&id).map(|entry| entry.session.status())
    }

    /// Datagrams discarded, by [`Discard::word`].
    #[must_use]
    pub const fn discards(&self) -> &BTreeMap<&'static str, u64> {
        &self.discards
    }

    /// A datagram came.
    ///
    /// # Errors
    /// Why it was discarded; it has been counted.
    pub fn handle_datagram(&mut self, now: Instant, arrival: &Arrival, payload: &[u8]) -> Result<(), Discard> {
        let accepted = self.accept(arrival, payload);
        let (id, packet) = accepted.inspect_err(|discard| {
            *self.discards.entry(discard.word()).or_default() += 1;
        })?;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.changes.extend(entry.session.handle_packet(now, &packet).map(|it| (id, it)));
        }
        Ok(())
    }

    fn accept(&self, arrival: &Arrival, payload: &[u8]) -> Result<(SessionId, Packet), Discard> {
        let packet = decode(payload)?;
        let fits = |entry: &Entry| arrival.multihop == matches!(entry.path.hops, Hops::Multi { .. });
        let (id, entry) = if packet.your_discriminator == 0 {
            let from_peer = |entry: &Entry| {
                let path = &entry.path;
                let interface = path.interface.is_none_or(|it| it == arrival.interface);
                path.remote == arrival.source && path.local == arrival.destination && interface && entry.ends.is_none()
            };
            let found = self.entries.iter().find(|(_, entry)| fits(entry) && from_peer(entry));
            found.map(|(id, entry)| (*id, entry)).ok_or(Discard::NoSession)?
        } else {
            // The number alone decides, wherever the packet comes from by now (RFC 5880 §6.3); but not the port, which says
            // what is known of the TTL.
            let id = SessionId(packet.your_discriminator);
            let entry = self.entries.get(&id).filter(|entry| fits(entry));
            (id, entry.ok_or(Discard::UnknownDiscriminator)?)
        };
        let least = match entry.path.hops {
            Hops::Single => TTL,
            Hops::Multi { min_ttl } => min_ttl,
        };
        if arrival.ttl < least { Err(Discard::Ttl) } else { Ok((id, packet)) }
    }

    /// The time of [`Sessions::poll_timeout`] has come. Before this, hand over what the sockets already hold: a late
    /// process must not blame a peer.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (id, entry) in &mut self.entries {
            self.changes.extend(entry.session.handle_timeout(now).map(|it| (*id, it)));
        }
        self.entries.retain(|_, entry| entry.ends.is_none_or(|ends| ends > now));
    }

    /// The next packet to send now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        self.entries.iter_mut().find_map(|(id, entry)| {
            entry.session.poll_transmit(now).map(|packet| Outgoing { session: *id, payload: encode(&packet) })
        })
    }

    /// The next change of a session's state.
    pub fn poll_change(&mut self) -> Option<(SessionId, Change)> {
        self.changes.pop_front()
    }

    /// When to call [`Sessions::handle_timeout`] and [`Sessions::poll_transmit`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries.values().filter_map(|it| [it.session.poll_timeout(), it.ends].into_iter().flatten().min()).min()
    }
}
