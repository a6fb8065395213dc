//! Nodes that share a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it stands")]

mod assignment;
mod interleaving;
mod recovery;
mod store;
