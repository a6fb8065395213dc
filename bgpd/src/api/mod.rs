//! The gRPC services.

mod bfd;
mod convert;
mod origin;
mod status;

pub(crate) use origin::OriginService;
pub(crate) use status::StatusService;
