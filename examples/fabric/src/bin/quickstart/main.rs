//! `make quickstart`: a top-of-rack router and three nodes, each a network namespace of this machine, and everything that
//! tortie does between them, step by step. Ends with 0 only if every step held.

mod keep;
mod manifests;
mod options;
mod picture;
mod rack;
mod report;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fabric::{Need, require};

use crate::{options::Options, rack::Rack, report::Report};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every step held.
fn run(options: &Options) -> Result<bool> {
    require(&[Need::BASE, Need::TORTIE, options.tor.kind().needs()].concat())?;
    fabric::enter()?;
    let mut report = Report::new(options);
    let mut rack = Rack::new(options)?;
    let held = match steps::all(&mut rack, &mut report) {
        Ok(()) => true,
        Err(error) => {
            report.failed(&error);
            if !options.keep {
                rack.lab().dump_logs();
            }
            false
        }
    };
    report.summary(held);
    if options.keep || options.watch {
        keep::keep(&mut rack, options)?;
    }
    Ok(held)
}
