//! What is wanted of one session.

use std::time::Duration;

/// Timers of a session. Intervals are whole microseconds up to about 71 minutes; what is longer counts as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Shortest interval at which we want to send (bfd.DesiredMinTxInterval while Up).
    pub min_interval: Duration,
    /// Shortest interval at which we can receive (bfd.RequiredMinRxInterval). Not zero.
    pub min_receive: Duration,
    /// How many packets in a row the peer must miss (bfd.DetectMult). Not zero.
    pub multiplier: u8,
}

impl Config {
    /// Sending interval until the session is Up, at least (RFC 5880 §6.8.3).
    pub(crate) const SLOW: Duration = Duration::from_secs(1);
}

impl Default for Config {
    /// 300 ms both ways, three packets.
    fn default() -> Self {
        let interval = Duration::from_millis(300);
        Self { min_interval: interval, min_receive: interval, multiplier: 3 }
    }
}
