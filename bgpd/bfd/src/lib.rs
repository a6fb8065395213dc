//! Bidirectional Forwarding Detection as values: packets and points in time in, packets and changes of state out
//! (RFC 5880, RFC 5881, RFC 5883).
//!
//! [`Sessions`] is the whole of it: it finds the session of what arrives, judges TTL and form, and keeps every
//! [`Session`]'s timers. It has no socket, no clock and no randomness: the shell passes datagrams, time and a seed.
//!
//! What is not there, and what a peer sees of it: demand mode is never asked for (the D bit is never set), a peer that
//! asks for it gets it (§6.6); the Echo function is not offered (Required Min Echo RX Interval 0, §6.8.9); packets with
//! authentication are discarded and counted by that name (§6.8.6), since no session uses it. The C bit is clear: these
//! sessions share the fate of the routing daemon (RFC 5882 §4.3).

mod config;
mod instant;
mod packet;
mod random;
mod session;
mod sessions;

pub use config::Config;
pub use instant::Instant;
pub use packet::{Diagnostic, Invalid, LENGTH, Packet, State, decode, encode};
pub use session::{Change, Session, Status};
pub use sessions::{Arrival, Discard, Hops, Outgoing, Path, SessionId, Sessions};
