//! How tortie compares with others on this machine: one run, everything in turns, medians, ratios.
//!
//! Nothing is asserted: a machine's noise is not a failure. What could not be measured is said, and ends the run.

mod bgp;
mod cni;
mod plugins;
mod policy;
mod report;
mod usage;

use std::{fs, thread::available_parallelism};

use anyhow::{Context, Result};
pub use bgp::Workload;
use fabric::{Need, require};
use report::Report;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Attaching and detaching pods, against the reference plugins.
    Cni,
    /// A NetworkPolicy from the datastore into the kernel.
    Policy,
    /// A BGP speaker at work, against other speakers.
    Bgp(Workload),
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often each measurement is repeated; the candidates take turns.
    pub rounds: usize,
    /// Small tables and few pods: whether it works at all.
    pub quick: bool,
    /// A million prefixes as well.
    pub full: bool,
    /// Pods get IPv6 addresses as well.
    pub dual_stack: bool,
}

/// Measures the parts and prints a table for each. [`fabric::enter`] must have been called.
///
/// # Errors
/// When the machine lacks something, or a candidate does not do what is measured.
pub fn run(parts: &[Part], options: &Options) -> Result<()> {
    require(&[Need::BASE, Need::TORTIE].concat())?;
    for part in parts {
        let mut report = Report::default();
        match part {
            Part::Cni => cni::measure(options, &mut report)?,
            Part::Policy => policy::measure(options, &mut report)?,
            Part::Bgp(workload) => bgp::measure(*workload, options, &mut report)?,
        }
        report.note(load()?);
        println!("{report}");
    }
    Ok(())
}

/// How busy the machine is: with less idle than one processor the numbers say more about the rest than about us.
fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc")?;
    let last_minute = text.split_whitespace().next().unwrap_or_default();
    let processors = available_parallelism().context("counting processors")?;
    Ok(format!("load of the last minute {last_minute}, on {processors} processors"))
}
