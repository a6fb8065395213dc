//! What is not admitted, and why.

use std::{fmt, path::PathBuf};

use resources::{Invalid, Key};

/// An object, a document or a file that is not admitted. Whatever was admitted in its place before stays in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Where it comes from.
    pub origin: Origin,
    /// Which document of the file, from 0.
    pub document: usize,
    /// The object, where it is known.
    pub key: Option<Key>,
    /// Where in the file, where that is known.
    pub position: Option<Position>,
    /// Why.
    pub reason: Reason,
    /// Whether an earlier version of it is in force.
    pub last_version_in_force: bool,
}

/// Where objects come from. Refusals are replaced per origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A file, relative to the folder.
    File(PathBuf),
    /// A back end that let an invalid object through.
    Object(Key),
}

/// Why something is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The file cannot be read.
    Unreadable {
        /// What the system said.
        error: String,
    },
    /// The file has no content. A file that is being written looks the same, so it does not count as a deletion.
    Empty,
    /// It is no YAML or JSON, or has not the form of its kind.
    Malformed {
        /// Path of the field, where it is known.
        field: Option<String>,
        /// What was found and what is allowed.
        message: String,
    },
    /// A field holds what it must not hold.
    Invalid(Invalid),
    /// An object of this name is admitted from another file.
    Duplicate {
        /// That file.
        first: PathBuf,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { error } => write!(f, "cannot be read: {error}"),
            Self::Empty => f.write_str("is empty; to remove its objects, remove the file"),
            Self::Malformed { field: Some(field), message } => write!(f, "{field}: {message}"),
            Self::Malformed { field: None, message } => f.write_str(message),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Duplicate { first } => write!(f, "is already defined in {}", first.display()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(key) => key.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        if let Some(position) = self.position {
            write!(f, ":{}:{}", position.line, position.column)?;
        }
        if let Origin::File(_) = self.origin {
            write!(f, ", document {}", self.document + 1)?;
            if let Some(key) = &self.key {
                write!(f, ", {key}")?;
            }
        }
        write!(f, ": {}", self.reason)?;
        if self.last_version_in_force { f.write_str(" (the version before stays in force)") } else { Ok(()) }
    }
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}
