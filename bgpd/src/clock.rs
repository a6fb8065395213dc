//! The engine's time: spans since this process started.

use std::time::{Duration, SystemTime};

use engine::Instant;
use proto::Timestamp;

/// Ties the engine's time to the machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    monotonic: std::time::Instant,
    wall: SystemTime,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self { monotonic: std::time::Instant::now(), wall: SystemTime::now() }
    }

    /// Now, for the engine.
    pub(crate) fn now(&self) -> Instant {
        Instant::new(self.monotonic.elapsed())
    }

    /// A point of the engine's time as the runtime's timers want it.
    pub(crate) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.monotonic + at.since_epoch())
    }

    /// A point of the engine's time as people want it.
    pub(crate) fn timestamp(&self, at: Instant) -> Timestamp {
        (self.wall + at.since_epoch()).into()
    }

    /// When this process started.
    pub(crate) fn started(&self) -> Timestamp {
        self.timestamp(Instant::new(Duration::ZERO))
    }
}
