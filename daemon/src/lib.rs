//! What both daemons are made of around their own work: the node's configuration file, logs, a gRPC server on a unix
//! socket with health and reflection, the metrics endpoint, and how commands print and exit.

pub mod config;
pub mod exit;
pub mod log;
pub mod metrics;
pub mod output;
pub mod rpc;
pub mod shutdown;
