//! Graceful restart (RFC 4724, RFC 8538, RFC 9494): what we keep of a peer that restarts, and what waits when we have.

mod deferral;
mod helper;

pub(crate) use deferral::{Deferral, Progress};
pub(crate) use helper::{Expired, Retention, kept_families, retains};
