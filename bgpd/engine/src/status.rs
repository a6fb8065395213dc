//! The speaker as people see it: plain values, made on demand. Field for field what the gRPC API says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::bfd::BfdStatus;
use crate::config::PeerKind;
use crate::instant::Instant;
use crate::prefix::{Family, PerFamily, Prefix};
use crate::reason::{Diagnosis, Why, Withheld};
use crate::wire::{Capabilities, NextHop, PathAttributes};

/// A state of the FSM (RFC 4271 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SessionState {
    /// Refuses connections.
    #[default]
    Idle,
    /// Dialing.
    Connect,
    /// Waiting to be dialled.
    Active,
    /// Waiting for OPEN.
    OpenSent,
    /// Waiting for KEEPALIVE.
    OpenConfirm,
    /// Exchanging routes.
    Established,
}

impl SessionState {
    /// All states, in order.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Connect, Self::Active, Self::OpenSent, Self::OpenConfirm, Self::Established];

    /// The RFC's name of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

/// The speaker as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerStatus {
    /// AS number.
    pub local_as: u32,
    /// BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Prefixes with a best path.
    pub rib_prefixes: PerFamily<u32>,
    /// Paths in all Adj-RIB-In and of our own.
    pub rib_paths: PerFamily<u32>,
    /// Prefixes the kernel confirmed.
    pub fib_routes: PerFamily<u32>,
    /// Prefixes that the kernel should hold but has not confirmed.
    pub fib_drift: PerFamily<u32>,
    /// Distinct sets of path attributes in memory.
    pub attribute_sets: u32,
    /// Origin sources, sorted by name.
    pub sources: Vec<OriginSourceStatus>,
    /// Selection of the family waits for peers, after a restart.
    pub selection_deferred: PerFamily<bool>,
    /// What is sent says that we are about to go (RFC 8326).
    pub draining: bool,
}

/// An origin source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginSourceStatus {
    /// Its name.
    pub name: String,
    /// It said so since it last connected.
    pub in_sync: bool,
    /// It is there now.
    pub connected: bool,
    /// Prefixes held from it.
    pub prefixes: u32,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// BGPPeer or node name.
    pub name: Arc<str>,
    /// A text for people.
    pub description: String,
    /// Address of the session.
    pub address: IpAddr,
    /// Its AS number, 0 when any is accepted and none was seen.
    pub remote_as: u32,
    /// What it is to us.
    pub kind: PeerKind,
    /// State of the more advanced of its connections.
    pub state: SessionState,
    /// Since when.
    pub since: Instant,
    /// Families in use; configured ones while the session is down.
    pub families: Vec<PeerFamilyStatus>,
    /// Times an Established session was lost.
    pub flaps: u32,
    /// The last error and when it happened. Kept while the session is Established.
    pub last_error: Option<(Diagnosis, Instant)>,
    /// Why it is not Established; `None` when it is, or nothing failed yet.
    pub diagnosis: Option<Diagnosis>,
    /// When the next attempt starts, while it pauses.
    pub retry_at: Option<Instant>,
    /// Negotiated hold time in seconds, 0 for none or no session.
    pub hold_time: u16,
    /// Keepalive interval in seconds.
    pub keepalive_time: u16,
    /// Its BGP Identifier, once known.
    pub router_id: Option<Ipv4Addr>,
    /// Our address on the session.
    pub local_address: Option<IpAddr>,
    /// The AS number we use towards it.
    pub local_as: u32,
    /// Capabilities we sent.
    pub capabilities_sent: Option<Capabilities>,
    /// Capabilities it sent.
    pub capabilities_received: Option<Capabilities>,
    /// Messages in by type: OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH.
    pub messages_received: BTreeMap<&'static str, u64>,
    /// Messages out by type.
    pub messages_sent: BTreeMap<&'static str, u64>,
    /// Errors in UPDATEs that did not cost the session: attribute discarded, treated as withdrawal.
    pub update_errors: (u64, u64),
    /// Refused prefixes since the start, by reason word; words never met are missing.
    pub refusals: BTreeMap<&'static str, u64>,
    /// BFD with it, if it is configured.
    pub bfd: Option<BfdStatus>,
    /// It restarts and we keep its routes.
    pub helping: bool,
    /// We restart and have not sent it End-of-RIB of every family.
    pub restarting: bool,
}

/// Counts of one family of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerFamilyStatus {
    /// Which.
    pub family: Family,
    /// Paths in Adj-RIB-In.
    pub received: u32,
    /// Of them, usable by policy and guards.
    pub accepted: u32,
    /// Of them, refused.
    pub rejected: u32,
    /// Prefixes in the kernel by a path of this peer.
    pub installed: u32,
    /// Prefixes written to the socket and not withdrawn.
    pub advertised: u32,
    /// Kept from a session that was lost.
    pub stale: u32,
}

/// Which table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RouteTable {
    /// Every candidate of every peer, best first.
    #[default]
    LocRib,
    /// What a peer sent.
    Received(String),
    /// Of it, what may be used.
    Accepted(String),
    /// Of it, what may not.
    Rejected(String),
    /// What a peer was told.
    Advertised(String),
    /// What a peer was not told.
    Withheld(String),
}

/// Which routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteQuery {
    /// Table and peer.
    pub table: RouteTable,
    /// Only this prefix.
    pub prefix: Option<Prefix>,
    /// Also what the prefix covers.
    pub longer: bool,
    /// Only this family.
    pub family: Option<Family>,
}

/// One path to one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    /// Destination.
    pub prefix: Prefix,
    /// Peer it was learned from; `local` for our own.
    pub peer: Arc<str>,
    /// Next hop; `None` for our own routes.
    pub next_hop: Option<NextHop>,
    /// LOCAL_PREF in force.
    pub local_pref: u32,
    /// All attributes: as received for the `received` table, as sent for `advertised`, in force elsewhere.
    pub attributes: Arc<PathAttributes>,
    /// Chosen by the decision process.
    pub best: bool,
    /// Part of the ECMP set.
    pub multipath: bool,
    /// In the kernel.
    pub installed: bool,
    /// Kept from a session that was lost.
    pub stale: bool,
    /// Path Identifier (RFC 7911): as sent in the `advertised` table, as received elsewhere; 0 without ADD-PATH.
    pub path_id: u32,
    /// What became of it.
    pub why: Why,
    /// In the `withheld` table: why it is not sent.
    pub withheld: Option<Withheld>,
    /// The filter rule that says no, where one does.
    pub rule: Option<Arc<str>>,
}

/// Everything known about one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The prefix.
    pub prefix: Prefix,
    /// Every candidate, best first, refused ones last.
    pub candidates: Vec<RouteStatus>,
    /// The kernel was told to install it.
    pub wanted: bool,
    /// The kernel confirmed it.
    pub installed: bool,
    /// Names of the peers it was written to, sorted.
    pub advertised: Vec<Arc<str>>,
    /// Peers that do not get it, with the rule, sorted by name.
    pub withheld: Vec<(Arc<str>, Withheld)>,
    /// The filter rules that keep it from a peer, by the peer's name.
    pub rules: BTreeMap<Arc<str>, Arc<str>>,
    /// Causes of our own origination, by source.
    pub origins: Vec<(String, String)>,
}
