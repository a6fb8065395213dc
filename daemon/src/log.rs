//! Logs: one line an event on standard error.

use std::{io, str::FromStr, sync::OnceLock};

use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

/// The filter in force.
static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

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
    let (targets, handle) = reload::Layer::new(parse(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).with_filter(targets);
    if tracing_subscriber::registry().with(lines).try_init().is_err() {
        tracing::debug!("logging was started before");
    } else {
        // The registry can be initialised only once, and so can this.
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Changes the filter of a running daemon. Nothing happens before [`start`].
///
/// # Errors
/// When the filter cannot be understood.
pub fn change(filter: &str) -> Result<(), FilterError> {
    let targets = parse(filter)?;
    if let Some(handle) = FILTER.get() {
        // It fails only where the subscriber is gone, and that lives as long as the process.
        let _ = handle.reload(targets);
    }
    Ok(())
}

fn parse(filter: &str) -> Result<Targets, FilterError> {
    Targets::from_str(filter).map_err(|source| FilterError { text: filter.to_owned(), source })
}
