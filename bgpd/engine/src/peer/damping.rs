//! Damping of oscillating peers (DampPeerOscillations, RFC 4271 §8.1.1).

use std::time::Duration;

const BASE: Duration = Duration::from_secs(1);
/// Below the restart time of graceful restart, so that a damped peer still comes back in time.
const CAP: Duration = Duration::from_secs(60);
const MAX_LEVEL: u32 = 6;

/// How often a session failed without having lived long. Reaching Established does not change it: a peer that sends one
/// bad UPDATE after each OPEN must be damped too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Damping {
    level: u32,
}

impl Damping {
    /// A session failed, or an attempt at one. `lived` is how long it was Established.
    pub(crate) fn failed(&mut self, lived: Option<Duration>, hold_time: Duration) {
        let settled = lived.is_some_and(|it| it >= hold_time);
        self.level = if settled { 0 } else { (self.level + 1).min(MAX_LEVEL) };
    }

    /// The peer asked us to keep away (RFC 4486 §4).
    pub(crate) fn asked_to_wait(&mut self) {
        self.level = (self.level + 1).min(MAX_LEVEL);
    }

    /// The operator intervened.
    pub(crate) fn clear(&mut self) {
        self.level = 0;
    }

    /// Connections of the peer are refused, too, during the pause.
    pub(crate) const fn is_damped(self) -> bool {
        self.level > 0
    }

    /// IdleHoldTime, before jitter.
    pub(crate) fn idle_hold(self) -> Duration {
        BASE.saturating_mul(1 << self.level).min(CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(90);

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_a_short_life_does_not_reset_it() {
        let mut damping = Damping::default();
        let mut pauses = Vec::new();
        for lived in [None, Some(1), Some(89), None, Some(2), None, None, Some(3)] {
            damping.failed(lived.map(Duration::from_secs), HOLD);
            pauses.push(damping.idle_hold().as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_session_that_lived_one_hold_time_starts_afresh() {
        let mut damping = Damping::default();
        damping.failed(None, HOLD);
        damping.failed(Some(HOLD), HOLD);
        assert!(!damping.is_damped());
        assert_eq!(damping.idle_hold(), BASE);
    }
}
