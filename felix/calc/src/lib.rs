//! From resources and local endpoints to what this node should be.
//!
//! A [`CalcGraph`] takes updates one by one ([`CalcGraph::on_update`]) and computes once for all of them
//! ([`CalcGraph::flush`]) a [`Desired`]: the nftables table, routes, prefixes to announce, and what to tell people. It
//! depends only on what is, not on the order in which it was told. An endpoint that was told is in the next `Desired`
//! together with its policies, never without.

mod config;
mod desired;
mod generation;
mod graph;
mod update;

pub use config::{Config, OpenConnections};
pub use desired::{Condition, Desired, DesiredRoute, EndpointPolicies, PolicyView, Severity};
pub use generation::{generation_of, next_generation};
pub use graph::CalcGraph;
pub use update::{EndpointId, LocalEndpoint, Update};
