//! How labs run: each is a function over a fresh [`Lab`], all labs of a file in namespaces of their own.

pub mod bench;
pub mod cluster;
pub mod fuzz;
pub mod seen;
pub mod speakers;

use std::env;

use fabric::{Lab, Need, require};
use libtest_mimic::{Arguments, Failed, Trial};

/// A lab and what it needs from the machine.
pub struct Test {
    name: &'static str,
    needs: Vec<Need>,
    run: fn(&Lab) -> anyhow::Result<()>,
}

/// Describes a lab. Its name is a sentence that could turn out false.
#[must_use]
pub fn test(name: &'static str, needs: &[&[Need]], run: fn(&Lab) -> anyhow::Result<()>) -> Test {
    Test { name, needs: [&[Need::BASE], needs].concat().concat(), run }
}

/// Runs labs as a test executable does, and ends the process. A lab that this machine cannot run is ignored and says why;
/// when `CI` is set, that is a failure.
pub fn main(labs: Vec<Test>) -> ! {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(error) = fabric::enter()
    {
        eprintln!("labs need namespaces: {error:#}");
        std::process::exit(101);
    }
    let ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let trials = labs.into_iter().map(|lab| trial(lab, ci)).collect();
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(lab: Test, ci: bool) -> Trial {
    let missing = require(&lab.needs).err();
    if let Some(missing) = &missing {
        eprintln!("{}: {missing}", lab.name);
    }
    let ignored = missing.is_some() && !ci;
    let run = move || match missing {
        Some(missing) => Err(Failed::from(missing)),
        None => run(lab.name, lab.run).map_err(|error| Failed::from(format!("{error:#}"))),
    };
    Trial::test(lab.name, run).with_ignored_flag(ignored)
}

/// A lab that fails is run once more, and says so: labs have deadlines, and a machine that others keep busy may miss one.
/// What is really broken fails twice.
fn run(name: &str, body: fn(&Lab) -> anyhow::Result<()>) -> anyhow::Result<()> {
    attempt(name, body).or_else(|first| {
        eprintln!("{name}: failed and is run once more: {first:#}");
        attempt(&format!("{name}2"), body)
    })
}

fn attempt(name: &str, body: fn(&Lab) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let lab = Lab::new(name)?;
    let outcome = body(&lab);
    if outcome.is_err() {
        lab.dump_logs();
    }
    outcome
}
