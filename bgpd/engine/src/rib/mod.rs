//! The tables of RFC 4271 §3.2, kept by prefix: an [`Entry`] holds what every peer said about one destination (its part of
//! each Adj-RIB-In) and what was chosen (Loc-RIB). Adj-RIB-Out is kept per update group, see `group`.
//!
//! Changes only mark an entry as dirty. All dirty entries are decided together when the speaker settles, so that a burst of
//! messages costs one decision per prefix and the last state wins.

mod attributes;
mod decision;
mod next_hops;
mod paths;
mod selection;
mod source;
mod table;

pub(crate) use attributes::{Attributes, Interner};
pub(crate) use decision::{Candidate, Options, decide};
pub(crate) use next_hops::{KernelRoute, NextHopId, NextHops, Resolution};
pub(crate) use paths::Paths;
pub(crate) use selection::{Order, Selector};
pub(crate) use source::{PeerId, Source, Sources};
pub(crate) use table::{Best, Entry, Path, PrefixId, Staleness, Table};

#[cfg(test)]
mod decision_tests;
