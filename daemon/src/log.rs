//! Logs: one line an event on standard error.

use std::{io, str::FromStr};

use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// A log filter that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "log filter {text:?}: {source}; allowed: a level (error, warn, info, debug, trace), or target=level, separated by commas"
)]
pub struct FilterError {
    text: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging with a filter such as `info` or `warn,bgpd=debug`. A second call in one process changes nothing.
///
/// # Errors
/// When the filter cannot be understood.
pub fn start(filter: &str) -> Result<(), FilterError> {
    let targets = Targets::from_str(filter).map_err(|source| FilterError { text: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).with_filter(targets);
    if tracing_subscriber::registry().with(lines).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
