//! What can go wrong between us and the kernel.

use std::io;
use std::path::PathBuf;

use netlink_packet_core::DecodeError;

/// A failed conversation with the kernel.
///
/// "Already there" and "not there" are answers ([`Created`], [`Removed`], `Option`), not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error("{operation} {subject}: {source}{}", explanation(.detail))]
    Refused {
        /// What was asked for, as in "replace route".
        operation: &'static str,
        /// What it was asked about: a prefix, an interface, an address.
        subject: Box<str>,
        /// The error number of the answer.
        source: io::Error,
        /// The text of the kernel's extended acknowledgement (`NLMSGERR_ATTR_MSG`), where it gave one.
        detail: Option<Box<str>>,
    },
    /// A system call other than a netlink request failed.
    #[error("{operation}: {source}")]
    System {
        /// What was attempted.
        operation: &'static str,
        /// The error of the system call.
        source: io::Error,
    },
    /// A network namespace could not be opened, made or entered.
    #[error("network namespace {}: {operation}: {source}", .path.display())]
    Namespace {
        /// Where the namespace was looked for.
        path: PathBuf,
        /// What was attempted.
        operation: &'static str,
        /// The error of the system call.
        source: io::Error,
    },
    /// A sysctl could not be read or written.
    #[error("sysctl {}: {source}", .path.display())]
    Sysctl {
        /// The file under `/proc/sys`.
        path: PathBuf,
        /// The error of the file operation; `InvalidData` when the value is no number.
        source: io::Error,
    },
    /// A name cannot be the name of a network interface.
    #[error("interface name {name:?}: 1 to 15 bytes, without slashes, colons and blanks, and not . or .. are allowed")]
    InterfaceName {
        /// The name as given.
        name: Box<str>,
    },
    /// The kernel sent a message that does not decode.
    #[error("{operation}: undecodable answer: {source}")]
    Decode {
        /// The request that was answered.
        operation: &'static str,
        /// What the decoder objected to.
        source: DecodeError,
    },
    /// A dump was interrupted by changes (`NLM_F_DUMP_INTR`) every time it was tried.
    #[error("{operation}: the table changed during each of {attempts} dumps")]
    Interrupted {
        /// The dump.
        operation: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// The answers of a batch did not fit the receive buffer, so some of them are unknown.
    #[error("{operation}: answers were lost to a full receive buffer")]
    Overrun {
        /// The batch.
        operation: &'static str,
    },
    /// The task that owns the netlink connection has ended.
    #[error("{operation}: the netlink connection is closed")]
    Closed {
        /// The request that could not be sent.
        operation: &'static str,
    },
    /// The host already has an interface of that name which belongs to another endpoint.
    #[error("interface {interface} belongs to endpoint {owner:?}")]
    InterfaceTaken {
        /// The interface name.
        interface: Box<str>,
        /// The alias found on it; empty when it has none.
        owner: Box<str>,
    },
    /// The pod already has an interface of that name which is not the other end of its host interface.
    #[error("the pod already has an interface {interface} that is not ours")]
    PodInterfaceTaken {
        /// The interface name inside the pod.
        interface: Box<str>,
    },
    /// A thread that ran inside a namespace panicked.
    #[error("a thread in network namespace {} panicked", .path.display())]
    Panicked {
        /// The namespace the thread had entered.
        path: PathBuf,
    },
}

fn explanation(detail: &Option<Box<str>>) -> String {
    detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default()
}

impl Error {
    /// The error number with which the kernel refused, where it did.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Refused { source, .. } | Error::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    pub(crate) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { operation, source }
    }
}

/// The answer to "create this".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    New,
    /// It was there before; nothing was changed.
    Exists,
}

/// The answer to "remove this".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was there and is gone now.
    Gone,
    /// It was not there.
    Absent,
}
