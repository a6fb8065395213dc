//! The command line.

use clap::{Parser, ValueEnum};
use fabric::router::Kind;

/// Shows tortie at work in namespaces of this machine: pods on three nodes and a top-of-rack router that learns them.
#[derive(Clone, Debug, Parser)]
#[command(name = "quickstart", version, after_help = "Everything that is started vanishes at the end, also on Ctrl-C.")]
pub(crate) struct Options {
    /// Software of the top-of-rack router.
    #[arg(long, value_enum, default_value_t = Tor::Bird)]
    pub(crate) tor: Tor,
    /// Leave everything running at the end, with a shell on any node.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Leave everything running at the end, with a live picture.
    #[arg(long, conflicts_with = "keep")]
    pub(crate) watch: bool,
    /// Wait for Enter before each step.
    #[arg(long)]
    pub(crate) step: bool,
    /// Log filter of the daemons.
    #[arg(long, default_value = "info")]
    pub(crate) log: String,
}

/// What the top-of-rack router may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tor {
    /// BIRD 2.
    Bird,
    /// FRR.
    Frr,
    /// tortie's own bgpd.
    Tortie,
}

impl Tor {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Bird => Kind::Bird,
            Self::Frr => Kind::Frr,
            Self::Tortie => Kind::Tortie,
        }
    }
}
