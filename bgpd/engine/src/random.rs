//! The only randomness of the engine: jitter from a seed.

use std::time::Duration;

/// SplitMix64. Good enough to spread timers; nothing secret comes from it.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// The span times a factor drawn uniformly from [0.75, 1.0] (RFC 4271 §10).
    pub(crate) fn jitter(&mut self, span: Duration) -> Duration {
        let share = (self.next() >> 32) as u32;
        let spread = span / 4;
        span - spread + spread.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_three_quarters_and_the_whole_and_depends_on_the_seed() {
        let span = Duration::from_secs(100);
        let mut random = Random::new(7);
        let drawn: Vec<_> = (0..1000).map(|_| random.jitter(span)).collect();
        assert!(drawn.iter().all(|it| *it >= span * 3 / 4 && *it <= span));
        assert!(
            drawn.iter().any(|it| *it < Duration::from_secs(80))
                && drawn.iter().any(|it| *it > Duration::from_secs(95))
        );
        let mut other = Random::new(8);
        assert_ne!(drawn.first().copied(), Some(other.jitter(span)));
    }
}
