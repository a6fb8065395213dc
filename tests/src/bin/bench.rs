//! `bench`: how tortie compares with others on this machine.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tests::bench::{self, Options, Part, Workload};

/// Measures tortie beside others and prints the ratios. Asserts nothing.
#[derive(Parser)]
struct CommandLine {
    /// What to measure; everything unless said.
    parts: Vec<Name>,
    /// How often each measurement is repeated.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Small tables, few pods: does it work at all?
    #[arg(long)]
    quick: bool,
    /// A million prefixes as well.
    #[arg(long)]
    full: bool,
    /// Pods get IPv6 addresses as well.
    #[arg(long)]
    dual_stack: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Cni,
    Policy,
    Bgp,
    Many,
    Reflector,
    Mesh,
    Kernel,
    Scale,
}

fn main() -> Result<()> {
    let line = CommandLine::parse();
    fabric::enter()?;
    let part = |name: &Name| match name {
        Name::Cni => Part::Cni,
        Name::Policy => Part::Policy,
        Name::Bgp => Part::Bgp(Workload::Table),
        Name::Many => Part::Bgp(Workload::Many),
        Name::Reflector => Part::Bgp(Workload::Reflector),
        Name::Mesh => Part::Bgp(Workload::Mesh),
        Name::Kernel => Part::Bgp(Workload::Kernel),
        Name::Scale => Part::Bgp(Workload::Scale),
    };
    let all = Name::value_variants();
    let parts: Vec<_> = if line.parts.is_empty() { all } else { &line.parts }.iter().map(part).collect();
    let options =
        Options { rounds: line.rounds.max(1), quick: line.quick, full: line.full, dual_stack: line.dual_stack };
    bench::run(&parts, &options)
}
