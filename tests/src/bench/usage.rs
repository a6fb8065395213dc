//! What processes used, as `/proc` tells it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Ticks per second of the times in `/proc/PID/stat`: the same on every architecture that tortie runs on.
const TICKS: u64 = 100;

/// What a process used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on processors, user and system.
    pub(super) cpu: Duration,
    /// Octets resident.
    pub(super) resident: u64,
}

/// Usage of a running process.
pub(super) fn of(pid: u32) -> Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let resident = kibibytes.context("no VmRSS in /proc")? << 10;
    Ok(Usage { cpu: ticks(&format!("/proc/{pid}/stat"), 13)?, resident })
}

/// Processor time of the children of this process that have ended and were waited for, and of theirs.
pub(super) fn children() -> Result<Duration> {
    ticks("/proc/self/stat", 15)
}

/// The sum of a field (from 0) and the one after it: user and system time.
fn ticks(path: &str, field: usize) -> Result<Duration> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    // The second field is the program's name in parentheses, which may hold anything.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let numbers = fields.split_whitespace().skip(field - 2).take(2).filter_map(|number| number.parse::<u64>().ok());
    Ok(Duration::from_millis(numbers.sum::<u64>() * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn a_process_has_memory_and_children_cost_time() {
        let usage = of(id()).unwrap();
        assert!(usage.resident > 100_000, "{usage:?}");
        let before = children().unwrap();
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", work]).status().unwrap().success());
        assert!(children().unwrap() > before);
    }
}
