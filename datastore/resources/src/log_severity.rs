//! Log levels as Calico's resources name them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The least severe of the lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogSeverity {
    /// Everything.
    Debug,
    /// What happens in normal operation.
    Info,
    /// What may need somebody's attention.
    Warning,
    /// What does not work.
    Error,
    /// What ends the daemon.
    Fatal,
    /// Nothing.
    None,
}

/// Why a text is no log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log level: must be {ALLOWED}")]
pub struct LogSeverityError;

const ALLOWED: &str = "one of Debug, Info, Warning, Error, Fatal, None";
const NAMES: [(&str, LogSeverity); 6] = [
    ("Debug", LogSeverity::Debug),
    ("Info", LogSeverity::Info),
    ("Warning", LogSeverity::Warning),
    ("Error", LogSeverity::Error),
    ("Fatal", LogSeverity::Fatal),
    ("None", LogSeverity::None),
];

impl FromStr for LogSeverity {
    type Err = LogSeverityError;

    /// In capitals or not, as Calico takes it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, severity)| *severity).ok_or(LogSeverityError)
    }
}

impl fmt::Display for LogSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, severity)| severity == self).map_or("None", |(name, _)| name))
    }
}

impl Serialize for LogSeverity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogSeverity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &ALLOWED))
    }
}
