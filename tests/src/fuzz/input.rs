//! Corpora, and octets that look like them.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, anyhow};

/// The inputs of a target's corpus, each with the comment before it.
///
/// # Errors
/// When the corpus cannot be read, or a line is neither a comment nor hexadecimal digits.
pub fn corpus(target: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.hex"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut inputs = Vec::new();
    let mut name = String::new();
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix('#') {
            Some(comment) => name = comment.trim().to_owned(),
            None => {
                let octets = octets(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
                inputs.push((name.clone(), octets));
            }
        }
    }
    Ok(inputs)
}

fn octets(line: &str) -> anyhow::Result<Vec<u8>> {
    let digits = line.trim().as_bytes();
    let pair = |pair: &[u8]| -> io::Result<u8> {
        let text = std::str::from_utf8(pair).map_err(io::Error::other)?;
        u8::from_str_radix(text, 16).map_err(io::Error::other)
    };
    if !digits.len().is_multiple_of(2) {
        return Err(anyhow!("an odd number of digits"));
    }
    Ok(digits.chunks(2).map(pair).collect::<io::Result<_>>()?)
}

/// The input with one to four changes: an octet overwritten, a stretch removed, repeated or inserted. The same seed gives
/// the same octets.
#[must_use]
pub fn mutated(input: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut octets = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(octets.len() + 1);
        let length = random.below(8).min(octets.len() - at);
        match random.below(4) {
            0 if at < octets.len() => octets[at] = INTERESTING[random.below(INTERESTING.len())],
            1 => drop(octets.drain(at..at + length)),
            2 => {
                let stretch = octets[at..at + length].to_vec();
                octets.splice(at..at, stretch);
            }
            _ if at < octets.len() => octets[at] ^= 1 << random.below(8),
            _ => octets.push(INTERESTING[random.below(INTERESTING.len())]),
        }
    }
    octets
}

/// Octets at which lengths and flags turn over.
const INTERESTING: [u8; 12] = [0, 1, 2, 3, 4, 16, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }
}
