//! The only randomness: jitter and discriminators from a seed.

use std::time::Duration;

/// SplitMix64. Good enough to spread timers and to tell sessions apart; nothing secret comes from it.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// The interval less a random share of it: up to a quarter, and with a multiplier of 1 at least a tenth, so that a
    /// packet is under way before the detection time ends (RFC 5880 §6.8.7).
    pub(crate) fn jitter(&mut self, interval: Duration, multiplier: u8) -> Duration {
        let least = if multiplier == 1 { 0.10 } else { 0.0 };
        let share = f64::from((self.next() >> 32) as u32) / f64::from(u32::MAX);
        interval.mul_f64(1.0 - least - share * (0.25 - least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_cut_by_up_to_a_quarter_and_with_multiplier_one_by_a_tenth_at_least() {
        let span = Duration::from_secs(1);
        let mut random = Random::new(7);
        for (multiplier, most) in [(3, 1000), (1, 900)] {
            let drawn: Vec<u128> = (0..2000).map(|_| random.jitter(span, multiplier).as_millis()).collect();
            assert!(drawn.iter().all(|it| (750..=most).contains(it)), "multiplier {multiplier}");
            assert!(drawn.iter().any(|it| *it < 760) && drawn.iter().any(|it| *it > most - 10));
        }
    }
}
