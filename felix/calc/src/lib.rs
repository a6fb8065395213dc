//! From resources and local endpoints to what this node should be.
//!
//! A [`CalcGraph`] takes updates one by one ([`CalcGraph::on_update`]) and computes once for all of them
//! ([`CalcGraph::flush`]) a [`Desired`]: the nftables table, routes, prefixes to announce, and what to tell people. It
//! depends only on what is, not on the order in which it was told. An endpoint that was told is in the next `Desired`
//! together with its policies, never without.

mod address_range;
mod addressing;
mod conditions;
mod config;
mod desired;
mod flush;
mod generation;
mod graph;
mod groups;
mod membership;
mod model;
mod names;
mod namespace;
mod network_policy;
mod permission;
mod render;
mod selection;
mod selector;
mod services;
mod update;
mod words;
mod workload;

pub use config::{Config, OpenConnections};
pub use desired::{Condition, Desired, DesiredRoute, EndpointPolicies, PolicyView, Severity};
pub use generation::{generation_of, next_generation};
pub use graph::CalcGraph;
pub use update::{EndpointId, LocalEndpoint, Update};
