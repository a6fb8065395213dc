//! The only crate that talks to Linux: network namespaces, netlink (links, addresses, neighbours, routes, conntrack,
//! nf_tables), sysctls and TCP options.
//!
//! - [`NetNs`]: a network namespace, and running code inside it.
//! - [`Netlink`]: the async handle for single requests and for dumps; one per namespace.
//! - [`RouteWriter`]: blocking writer for many routes at once.
//! - [`Monitor`]: changes of links, addresses, neighbours and routes as they happen.
//! - [`Fib`]: what a next hop resolves to, over a snapshot of the kernel's tables. No I/O.
//! - [`pod`]: everything that one pod interface needs, in about a millisecond.
//! - [`sysctl`], [`conntrack`], [`tcp`], [`udp`], [`priority`]: the rest.
//!
//! Every function works in the namespace of the thread that opens the handle, unless it is given a [`NetNs`].

mod address;
pub mod conntrack;
mod error;
mod fib;
mod handle;
mod link;
mod monitor;
mod neighbour;
mod netns;
pub mod nf_tables;
pub mod pod;
mod pod_check;
pub mod priority;
mod requests;
mod route;
mod route_message;
mod route_writer;
mod socket;
pub mod sysctl;
pub mod tcp;
pub mod udp;

pub use address::Address;
pub use error::{Created, Error, Removed};
pub use fib::{Effect, Fib, Reachability};
pub use handle::Netlink;
pub use link::{AddressGeneration, InterfaceName, Link, LinkChange, MacAddress, VethPair};
pub use monitor::{Event, Lost, Monitor, Watch};
pub use neighbour::{Entry, Neighbour};
pub use netns::{Identity, NetNs};
pub use pod_check::{Difference, Side, check_pod};
pub use route::{Family, Kind, NextHop, Protocol, Route, RouteFilter, RouteKey, Scope, TABLE_LOCAL, TABLE_MAIN};
pub use route_writer::{Failure, RouteChange, RouteWriter};
