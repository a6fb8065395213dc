//! What the speaker asks of the shell, and the small answers the shell gives.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bfd::{BfdReport, BfdRequest};
use crate::config::{LimitAction, Transport};
use crate::prefix::{Family, Prefix};
use crate::status::SessionState;
use crate::wire::{AttributeError, Notification, Outcome};

/// A connection, dialled or accepted. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Something for the sockets. To be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial; answer with `handle_connected` or `handle_connect_failed`.
    Connect {
        /// Name of the connection from now on.
        conn: ConnId,
        /// Name of the peer.
        peer: Arc<str>,
        /// Address to bind, if one is configured.
        local: Option<IpAddr>,
        /// Address to dial.
        remote: SocketAddr,
        /// Interface of a link-local session.
        interface: Option<u32>,
        /// Socket options.
        transport: Transport,
    },
    /// Write; report every accepted part by `handle_sent`.
    Send {
        /// Where.
        conn: ConnId,
        /// What; whole messages.
        bytes: Bytes,
    },
    /// Write what is queued, then close; or stop dialing. No `handle_closed` is expected.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Run a BFD session with a peer, or go on with the one there is on these terms; report by `handle_bfd`.
    StartBfd(BfdRequest),
    /// End it administratively.
    StopBfd {
        /// Name of the peer.
        peer: Arc<str>,
    },
}

/// A next hop of a kernel route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FibNextHop {
    /// The on-link router.
    pub gateway: IpAddr,
    /// Interface, as far as known; always set for a link-local gateway.
    pub interface: Option<u32>,
    /// The gateway is on-link whatever the interface's addresses say.
    pub onlink: bool,
    /// Share of the traffic, 1 to 255.
    pub weight: u16,
}

/// A change of the kernel's routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FibUpdate {
    /// The route of a prefix, whole: replaces what was there in one step.
    Replace {
        /// Destination.
        prefix: Prefix,
        /// At least one, sorted.
        next_hops: Arc<[FibNextHop]>,
    },
    /// No learned route for this prefix any more.
    Remove {
        /// Destination.
        prefix: Prefix,
    },
    /// Routes of this family that the former process left and that were neither replaced nor removed since are to be
    /// deleted now. Said once per family, also after a start that was no restart.
    Sweep {
        /// Which.
        family: Family,
    },
}

/// How a kernel write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstallResult {
    /// The kernel holds the route as last asked for.
    Installed,
    /// The kernel holds no route of ours for it.
    Removed,
    /// The kernel refused; the shell tries again.
    Failed,
}

/// Which next hops the shell watches. Link-local ones are never asked about: their interface says it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopUpdate {
    /// Resolve this one and report by `set_reachability`, now and at every change.
    Track(IpAddr),
    /// No longer of interest.
    Untrack(IpAddr),
}

/// How a next hop is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reachability {
    /// Metric of the resolving route; 0 for a connected one.
    pub metric: u32,
    /// Outgoing interface index.
    pub interface: u32,
    /// The on-link router towards it; `None` if the next hop itself is on-link.
    pub gateway: Option<IpAddr>,
    /// The kernel must be told that the gateway is on-link.
    pub onlink: bool,
}

/// Why a dial failed, as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConnectError {
    /// No route to the peer.
    NoRoute,
    /// ARP or neighbour discovery got no answer.
    NoNeighbour,
    /// The peer answered with RST.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Reset while connecting.
    Reset,
    /// The local address is not there, or another local failure.
    Local,
}

/// How the speaker ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// Comes back soon: connections close without a Cease, peers keep our routes (RFC 4724 §4).
    Planned,
    /// Does not come back: Cease 6/2, hard where the peer knows hard resets (RFC 8538), with a text for the peer's
    /// operator (RFC 9003).
    Administrative {
        /// May be empty.
        reason: String,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// The connection was closed or reset.
    ConnectionLost,
    /// We closed with this NOTIFICATION.
    NotificationSent(Notification),
    /// The peer closed with this NOTIFICATION.
    NotificationReceived(Notification),
    /// Closed without a word: a planned shutdown, or replaced by a newer connection.
    Closed,
    /// Nothing could be written for too long (RFC 9687).
    SendHoldTimerExpired,
}

/// Something worth a log line, a metric or a watcher's attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The FSM moved.
    StateChanged {
        /// Peer name.
        peer: Arc<str>,
        /// Before.
        from: SessionState,
        /// Now.
        to: SessionState,
    },
    /// A session that was Established, or tried to be, ended.
    SessionDown {
        /// Peer name.
        peer: Arc<str>,
        /// It was Established.
        established: bool,
        /// Why.
        reason: DownReason,
    },
    /// An UPDATE had errors that did not cost the session (RFC 7606).
    UpdateError {
        /// Peer name.
        peer: Arc<str>,
        /// The strongest outcome.
        outcome: Outcome,
        /// What was wrong.
        errors: Vec<AttributeError>,
        /// The message's body.
        raw: Bytes,
    },
    /// The BFD session with a peer changed its state.
    BfdChanged {
        /// Peer name.
        peer: Arc<str>,
        /// To what, and why.
        report: BfdReport,
    },
    /// A connection from an address that no peer has, or that its peer does not want now.
    ConnectionRefused {
        /// From where.
        remote: SocketAddr,
    },
    /// A peer is near its prefix limit.
    PrefixLimitNear {
        /// Peer name.
        peer: Arc<str>,
        /// Family.
        family: Family,
        /// Prefixes held.
        held: u32,
        /// Most allowed.
        max: u32,
    },
    /// A peer went beyond its prefix limit.
    PrefixLimitExceeded {
        /// Peer name.
        peer: Arc<str>,
        /// Family.
        family: Family,
        /// Most allowed.
        max: u32,
        /// What is done about it.
        action: LimitAction,
    },
    /// A peer's initial table, or its refresh, is complete.
    EndOfRib {
        /// Peer name.
        peer: Arc<str>,
        /// Family.
        family: Family,
    },
    /// A lost session's routes are kept for a while (RFC 4724 §4.2).
    StaleRetained {
        /// Peer name.
        peer: Arc<str>,
        /// At most for.
        time: Duration,
    },
    /// The routes of a peer that did not come back in time are kept on, as a last resort (RFC 9494 §4.2).
    LongLivedRetained {
        /// Peer name.
        peer: Arc<str>,
        /// Family.
        family: Family,
        /// At most for.
        time: Duration,
    },
    /// Kept routes went because the peer did not announce them again.
    StaleRemoved {
        /// Peer name.
        peer: Arc<str>,
        /// Family.
        family: Family,
        /// How many.
        routes: u32,
    },
    /// Selection after a restart began for a family.
    SelectionStarted {
        /// Which.
        family: Family,
    },
    /// A route does not fit into a message of a peer and is not sent to it.
    TooLarge {
        /// Peer name.
        peer: Arc<str>,
        /// Destination.
        prefix: Prefix,
    },
    /// The best path of a prefix changed. Only while `watch_routes` is on.
    RouteChanged {
        /// Destination.
        prefix: Prefix,
        /// Peer it is learned from, `local` for our own, `None` when it is gone.
        best: Option<Arc<str>>,
    },
}
