//! BFD as a client of it sees it (RFC 5882): which sessions the speaker wants, and what it is told of them. The protocol
//! itself is not here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// BFD with one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdConfig {
    /// Shortest interval at which we want to send.
    pub min_interval: Duration,
    /// Shortest interval at which we can receive.
    pub min_receive: Duration,
    /// Packets in a row that the other side must miss.
    pub multiplier: u8,
    /// The peer may be more than one hop away (RFC 5883): packets with a lower TTL than this are discarded.
    pub multihop: Option<u8>,
    /// BGP is not Established before BFD is up, if the peer wants it so too (draft-ietf-idr-bgp-bfd-strict-mode).
    pub strict: bool,
}

/// A session that the shell is to run. Asked for when the BGP session with the peer is Established, or waits for it: its
/// addresses are known then, and a peer that keeps our routes over a restart has our OPEN before it hears a new BFD (RFC 5882 §4.3.2.2). It
/// lives on when the BGP session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdRequest {
    /// Name of the peer.
    pub peer: Arc<str>,
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// Interface index of a link-local session.
    pub interface: Option<u32>,
    /// Timers and distance.
    pub config: BfdConfig,
    /// The peer's OPEN says that it has restarted: if its BFD has too, that is no failure (RFC 5882 §4.3.2.1).
    pub peer_restarted: bool,
}

/// State of a BFD session (RFC 5880 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BfdState {
    /// Held down by command.
    AdminDown,
    /// The peer is not heard.
    Down,
    /// It is heard and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

impl BfdState {
    /// The RFC's name of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

/// A BFD session changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BfdReport {
    /// The new state.
    pub state: BfdState,
    /// The RFC's words for why (RFC 5880 §4.1).
    pub diagnostic: &'static str,
    /// The path to the peer has failed. An administrative down of either side is none (RFC 5882 §3.2).
    pub failed: bool,
}

impl BfdReport {
    /// BFD has nothing against a BGP session. An administrative down has none (RFC 5882 §3.2).
    pub(crate) const fn lets_pass(&self) -> bool {
        matches!(self.state, BfdState::Up | BfdState::AdminDown)
    }
}

/// BFD with a peer as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BfdStatus {
    /// The last report; `None` before the first.
    pub last: Option<BfdReport>,
    /// BGP sessions that BFD ended.
    pub downs: u32,
}

/// What the speaker keeps of it per peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BfdWatch {
    /// The shell runs a session.
    pub(crate) running: bool,
    pub(crate) last: Option<BfdReport>,
    pub(crate) downs: u32,
}
