//! What a stream of UPDATEs announces, counted at the least possible cost.

use anyhow::{Result, anyhow};
use engine::{Ipv4Prefix, NetPrefix, prefix::octets_of};

/// What came so far. Prefixes are IPv4 in the classic fields of UPDATE, without path identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Prefixes announced, each as often as it was.
    pub(super) announced: u64,
    /// Prefixes withdrawn, each as often as it was.
    pub(super) withdrawn: u64,
    /// Host prefixes among those announced.
    pub(super) hosts: u64,
    /// Sum of the fingerprints of what was announced less what was withdrawn: equal to the table's exactly when the
    /// table and nothing else is there.
    pub(super) held: u64,
}

impl Tally {
    /// Counts the body of an UPDATE.
    pub(super) fn count(&mut self, body: &[u8]) -> Result<()> {
        let torn = || anyhow!("an UPDATE whose lengths do not fit");
        let (withdrawn, rest) = field(body).ok_or_else(torn)?;
        let (_, announced) = field(rest).ok_or_else(torn)?;
        let (count, _, sum) = prefixes(withdrawn).ok_or_else(torn)?;
        self.withdrawn += count;
        self.held = self.held.wrapping_sub(sum);
        let (count, hosts, sum) = prefixes(announced).ok_or_else(torn)?;
        self.announced += count;
        self.hosts += hosts;
        self.held = self.held.wrapping_add(sum);
        Ok(())
    }
}

/// A field behind its length of two octets, and what follows it.
fn field(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// Number of prefixes, of host prefixes among them, and the sum of their fingerprints.
fn prefixes(mut octets: &[u8]) -> Option<(u64, u64, u64)> {
    let (mut count, mut hosts, mut sum) = (0, 0, 0_u64);
    while let Some((length, rest)) = octets.split_first() {
        let (network, rest) = rest.split_at_checked(octets_of(*length))?;
        let bits = network.iter().fold(0, |bits, octet| bits << 8 | u64::from(*octet));
        sum = sum.wrapping_add(mix(bits << 8 | u64::from(*length)));
        count += 1;
        hosts += u64::from(*length == 32);
        octets = rest;
    }
    Some((count, hosts, sum))
}

/// A number that stands for a prefix in sums.
pub(super) fn fingerprint(prefix: Ipv4Prefix) -> u64 {
    let length = prefix.length();
    let significant =
        |octets: &[u8]| octets.iter().take(octets_of(length)).fold(0, |bits, o| bits << 8 | u64::from(*o));
    mix(prefix.with_octets(significant) << 8 | u64::from(length))
}

const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 23)).wrapping_mul(0x2127_599b_f432_5c37);
    value ^ (value >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_announced_and_withdrawn_leaves_nothing() {
        // 10.1.0.0/16, 192.0.2.0/24 and 198.51.100.64/26 with ORIGIN alone.
        let nlri = [16, 10, 1, 24, 192, 0, 2, 26, 198, 51, 100, 64];
        let announce = [&[0, 0, 0, 4, 0x40, 1, 1, 0], &nlri[..]].concat();
        let withdraw = [&[0, 12], &nlri[..], &[0, 0]].concat();
        let mut tally = Tally::default();
        tally.count(&announce).unwrap();
        let expected = ["10.1.0.0/16", "192.0.2.0/24", "198.51.100.64/26"]
            .iter()
            .fold(0_u64, |sum, prefix| sum.wrapping_add(fingerprint(prefix.parse().unwrap())));
        assert_eq!(tally, Tally { announced: 3, withdrawn: 0, hosts: 0, held: expected });
        tally.count(&withdraw).unwrap();
        assert_eq!(tally, Tally { announced: 3, withdrawn: 3, hosts: 0, held: 0 });
    }

    #[test]
    fn lengths_beyond_the_message_are_an_error() {
        assert!(Tally::default().count(&[0, 9, 16]).is_err());
        assert!(Tally::default().count(&[0, 0, 0, 0, 24, 1]).is_err());
    }
}
