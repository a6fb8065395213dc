//! Exit statuses of commands. Scripts may rely on them.

use std::process::ExitCode;

/// What a command ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes, or good.
    Good,
    /// Answered: no, or bad.
    Bad,
    /// The command line was wrong.
    Usage,
    /// The daemon could not be reached.
    Unreachable,
    /// There is no such object.
    NoSuchObject,
    /// The caller may not.
    NotPermitted,
    /// The deadline passed.
    Deadline,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Bad => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::NoSuchObject => 4,
            Exit::NotPermitted => 5,
            Exit::Deadline => 6,
        })
    }
}

/// The exit status that fits a failed call.
#[must_use]
pub fn of_status(status: &tonic::Status) -> Exit {
    match status.code() {
        tonic::Code::NotFound => Exit::NoSuchObject,
        tonic::Code::PermissionDenied => Exit::NotPermitted,
        tonic::Code::DeadlineExceeded => Exit::Deadline,
        tonic::Code::InvalidArgument => Exit::Usage,
        tonic::Code::Unavailable => Exit::Unreachable,
        _ => Exit::Bad,
    }
}
