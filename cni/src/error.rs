//! What can go wrong, and the error object of the CNI specification that says so.

use std::{io, path::PathBuf};

use serde::Serialize;

use crate::version::{self, Version};

/// Code of the specification for "the runtime should try again later".
const TRY_AGAIN: u32 = 11;
/// Code of the specification for "ADD cannot be served now".
const NOT_AVAILABLE: u32 = 50;
/// First code that is the plugin's own: felix answered what the plugin cannot use.
const OWN: u32 = 100;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cniVersion {asked:?} is not supported, supported are {}", version::list())]
    Version { asked: String },
    #[error("{verb} needs cniVersion {needed} or later, the configuration says {version}")]
    VerbNeedsVersion { verb: &'static str, needed: &'static str, version: Version },
    #[error("{key}: {value} is not supported; {instead}")]
    Unsupported { key: &'static str, value: String, instead: &'static str },
    #[error("CNI_COMMAND is {value:?}, allowed are ADD, DEL, CHECK, STATUS, GC and VERSION")]
    Command { value: String },
    #[error("{name} is {value:?}, it must be {allowed}")]
    Variable { name: &'static str, value: String, allowed: &'static str },
    #[error("{name} is not set, {verb} needs it")]
    VariableMissing { name: &'static str, verb: &'static str },
    #[error("the network configuration could not be read from stdin: {0}")]
    Stdin(#[source] io::Error),
    #[error("the result could not be written to stdout: {0}")]
    Stdout(#[source] io::Error),
    #[error("the network configuration is not valid JSON: {0}")]
    Decode(#[source] serde_json::Error),
    #[error("network configuration, {key}: {value} is not allowed, it must be {allowed}")]
    Config { key: String, value: String, allowed: &'static str },
    #[error("network configuration: {key} is missing, it must be {allowed}")]
    ConfigMissing { key: &'static str, allowed: &'static str },
    #[error("GC is not supported: felix collects what its containers left behind by itself")]
    GarbageCollection,
    #[error("the I/O runtime could not be started: {0}")]
    Runtime(#[source] io::Error),
    #[error("felix does not answer on {}: {source}; is the felix of this node running?", socket.display())]
    Unreachable { socket: PathBuf, source: tonic::transport::Error },
    #[error("felix did not finish {verb} within {seconds} s")]
    Deadline { verb: &'static str, seconds: u64 },
    #[error("felix could not be asked for {verb}: {}: {}", status.code(), status.message())]
    Call { verb: &'static str, status: Box<tonic::Status> },
    #[error("felix answered {verb} with neither a result nor an error")]
    EmptyReply { verb: &'static str },
    #[error("{}", .0.message)]
    Refused(proto::cni::CniError),
}

impl Error {
    /// The code of the CNI specification, or one of our own from 100 on.
    pub(crate) fn code(&self, verb_is_status: bool) -> u32 {
        match self {
            Self::Version { .. } | Self::VerbNeedsVersion { .. } => 1,
            Self::Unsupported { .. } => 2,
            Self::Command { .. } | Self::Variable { .. } | Self::VariableMissing { .. } => 4,
            Self::Stdin(_) | Self::Stdout(_) | Self::Runtime(_) => 5,
            Self::Decode(_) => 6,
            Self::Config { .. } | Self::ConfigMissing { .. } => 7,
            Self::Unreachable { .. } | Self::Deadline { .. } if verb_is_status => NOT_AVAILABLE,
            Self::Call { .. } if verb_is_status => NOT_AVAILABLE,
            Self::Unreachable { .. } | Self::Deadline { .. } => TRY_AGAIN,
            Self::Call { status, .. } if is_passing(status.code()) => TRY_AGAIN,
            Self::Call { .. } | Self::EmptyReply { .. } | Self::GarbageCollection => OWN,
            Self::Refused(refusal) => refusal.code,
        }
    }

    /// The error object for stdout.
    pub(crate) fn object(&self, version: Version, verb_is_status: bool) -> ErrorObject {
        let details = match self {
            Self::Refused(refusal) => refusal.details.clone(),
            _ => String::new(),
        };
        ErrorObject { cni_version: version, code: self.code(verb_is_status), msg: format!("tortie: {self}"), details }
    }
}

/// Whether the same call may succeed later. `Unknown` is what a connection that breaks off is: felix died half way.
fn is_passing(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
    )
}

/// The error object of the CNI specification.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject {
    #[serde(rename = "cniVersion")]
    cni_version: Version,
    code: u32,
    msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: tonic::Code) -> Error {
        Error::Call { verb: "ADD", status: Box::new(tonic::Status::new(code, "no")) }
    }

    #[test]
    fn a_felix_that_may_be_back_soon_is_try_again_later() {
        assert_eq!(call(tonic::Code::Unavailable).code(false), 11);
        assert_eq!(call(tonic::Code::Unknown).code(false), 11);
        assert_eq!(Error::Deadline { verb: "DEL", seconds: 1 }.code(false), 11);
    }

    #[test]
    fn a_felix_that_cannot_be_asked_for_its_status_is_not_available() {
        assert_eq!(call(tonic::Code::Unavailable).code(true), 50);
        assert_eq!(Error::Deadline { verb: "STATUS", seconds: 1 }.code(true), 50);
    }

    #[test]
    fn a_felix_of_another_version_is_an_error_of_our_own() {
        assert_eq!(call(tonic::Code::Unimplemented).code(false), 100);
    }

    #[test]
    fn a_refusal_of_felix_is_passed_on_with_code_and_details() {
        let refusal = proto::cni::CniError { code: 11, message: "pool full".into(), details: "see".into() };
        let object = Error::Refused(refusal).object(Version::V1_1_0, false);
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"cniVersion":"1.1.0","code":11,"msg":"tortie: pool full","details":"see"}"#
        );
    }
}
