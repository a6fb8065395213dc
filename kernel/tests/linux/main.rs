//! Every function against the running kernel, each test in network namespaces of its own.
//!
//! As root the tests run as they are; as another user each runs itself again in `unshare -rn`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod conntrack;
mod fib;
mod handle;
mod monitor;
mod namespace;
mod netns;
mod pod;
mod routes;
mod sysctl;
mod tcp;
mod udp;
