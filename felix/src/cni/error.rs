//! Why an attachment cannot be served, with the code that the CNI specification has for it.

use std::time::Duration;

use ipam::Refusal;
use proto::cni::CniError;

use crate::{addresses, dataplane::Unapplied, record};

const INVALID_ENVIRONMENT: u32 = 4;
const IO_FAILURE: u32 = 5;
const INVALID_CONFIGURATION: u32 = 7;
const TRY_AGAIN_LATER: u32 = 11;
/// The first code that the specification leaves to plugins: the network is there, but an ADD of it cannot be served.
const NO_ADDRESS: u32 = 100;
const WIRING: u32 = 101;
const NOT_AS_ADDED: u32 = 102;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(super) enum CniFailure {
    #[error("felix has not read the whole datastore yet; see felix status")]
    NotInSync,
    #[error("felix is stopping")]
    Stopping,
    #[error("an ADD or DEL before has kept {interface} for more than {} s", .within.as_secs())]
    Busy { interface: String, within: Duration },
    #[error("felix goes on with it, but not within {} s; the node may be overloaded", .within.as_secs())]
    Late { within: Duration },
    #[error("the policy is not in the kernel yet{}; see felix status", reasons(.unapplied))]
    NotApplied { unapplied: Vec<Unapplied> },
    #[error("no address: {0}; see felix show ipam")]
    Refused(Box<Refusal>),
    #[error("address management: {0}")]
    Addresses(#[from] addresses::Error),
    #[error("CNI_NETNS {path:?} is not there: it must be the path of a network namespace")]
    NoNamespace { path: String },
    #[error("{field} {value:?}: must be {allowed}")]
    Invalid { field: &'static str, value: String, allowed: &'static str },
    #[error("endpoint record: {0}")]
    Record(#[from] record::Error),
    #[error("{0}")]
    Kernel(#[from] kernel::Error),
    #[error("the task that did it ended early")]
    Task(#[from] tokio::task::JoinError),
    #[error("the container is not attached: no ADD of it succeeded, or a DEL came since")]
    NotAttached,
    #[error("the network is not as it was added: {0}")]
    Differs(String),
}

fn reasons(unapplied: &[Unapplied]) -> String {
    unapplied.iter().map(|failure| format!(": {}: {}", failure.part, failure.detail)).collect()
}

impl CniFailure {
    fn code(&self) -> u32 {
        match self {
            Self::NotInSync
            | Self::Stopping
            | Self::Busy { .. }
            | Self::Late { .. }
            | Self::NotApplied { .. }
            | Self::Addresses(_) => TRY_AGAIN_LATER,
            Self::Refused(refusal) if refusal.is_passing() => TRY_AGAIN_LATER,
            Self::Refused(_) => NO_ADDRESS,
            Self::NoNamespace { .. } => INVALID_ENVIRONMENT,
            Self::Invalid { .. } => INVALID_CONFIGURATION,
            Self::Record(_) => IO_FAILURE,
            Self::Kernel(_) | Self::Task(_) => WIRING,
            Self::NotAttached | Self::Differs(_) => NOT_AS_ADDED,
        }
    }
}

impl From<CniFailure> for CniError {
    fn from(failure: CniFailure) -> Self {
        Self { code: failure.code(), message: failure.to_string(), details: String::new() }
    }
}
