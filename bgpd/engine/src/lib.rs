//! A BGP speaker as a value: bytes and commands in, bytes, kernel routes and events out.
//!
//! [`Speaker`] is the whole of it. It has no socket, no clock and no randomness: the shell around it owns the connections,
//! passes time as an argument and a seed at the start. Two speakers on a fake wire with a clock that jumps behave as two
//! daemons do.
//!
//! ```text
//!  bytes ─▶ wire ─▶ session (FSM of one connection) ─▶ peer (two connections, damping, restart)
//!                                                        │ UPDATE
//!           kernel ◀─ fib ◀─ rib: Adj-RIB-In ─▶ decision ─▶ Loc-RIB ─▶ group: Adj-RIB-Out ─▶ wire ─▶ bytes
//!                              ▲ policy: import                          ▲ policy: export
//! ```
//!
//! [`wire`] knows octets and nothing of state, `session` is RFC 4271 §8.2.2 for one connection, `peer` is what outlives a
//! connection, `rib` decides, `group` sends.

pub mod bfd;
pub mod case;
mod collision;
pub mod config;
pub mod filter;
mod group;
pub mod instant;
mod outbox;
pub mod output;
mod peer;
mod policy;
pub mod prefix;
mod random;
pub mod reason;
mod restart;
mod rib;
mod session;
pub mod speaker;
pub mod status;
pub mod wire;

pub use bfd::{BfdConfig, BfdReport, BfdRequest, BfdState, BfdStatus};
pub use config::{
    AddPath, ExportPolicy, GracefulRestartConfig, Guards, ImportPolicy, LimitAction, LocalAsPrepend, LongLivedRestart,
    Multipath, NextHopMode, OriginAttributes, PeerConfig, PeerKind, PrefixLimit, RemoteAs, RemovePrivateAs,
    SpeakerConfig, Transport,
};
pub use filter::{AnyCommunity, FilterAction, FilterRule, Filters, Operation, PrefixMatch};
pub use instant::Instant;
pub use output::{
    Action, ConnId, ConnectError, DownReason, Event, FibNextHop, FibUpdate, InstallResult, NextHopUpdate, Reachability,
    Shutdown,
};
pub use prefix::{Family, Ipv4Prefix, Ipv6Prefix, NetPrefix, PerFamily, Prefix};
pub use reason::{Diagnosis, Loss, Refusal, Step, Why, Withheld};
pub use speaker::Speaker;
pub use status::{
    Explanation, OriginSourceStatus, PeerFamilyStatus, PeerStatus, RouteQuery, RouteStatus, RouteTable, SessionState,
    SpeakerStatus,
};
