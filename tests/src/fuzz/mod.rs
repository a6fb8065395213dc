//! Fuzz targets: each takes any octets and panics if the code breaks one of its promises. Their corpora are
//! `tests/corpus/TARGET.hex`; `tests/tests/fuzz.rs` replays and mutates them on every run.

mod bfd;
mod input;
mod manifest;
mod session;
mod wire;

pub use input::{corpus, mutated};

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// Takes any octets.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "stream", run: wire::stream },
    Target { name: "open", run: wire::open },
    Target { name: "notification", run: wire::notification },
    Target { name: "route_refresh", run: wire::route_refresh },
    Target { name: "update", run: wire::update },
    Target { name: "session", run: session::session },
    Target { name: "bfd", run: bfd::packet },
    Target { name: "bfd_session", run: bfd::session },
    Target { name: "manifest", run: manifest::manifest },
];
