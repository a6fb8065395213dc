//! How labs run: each is a function over a fresh [`Lab`], all labs of a file in namespaces of their own.

pub mod bench;
pub mod cluster;
pub mod fuzz;
pub mod matrix;
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
    attempts: u32,
}

/// Describes a lab. Its name is a sentence that could turn out false.
#[must_use]
pub fn test(name: &'static str, needs: &[&[Need]], run: fn(&Lab) -> anyhow::Result<()>) -> Test {
    Test { name, needs: [&[Need::BASE], needs].concat().concat(), run, attempts: 2 }
}

impl Test {
    /// What it looks for is rare, and not to be seen twice: its first failure counts.
    #[must_use]
    pub fn once(self) -> Self {
        Self { attempts: 1, ..self }
    }
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
    let name = lab.name;
    let run = move || match missing {
        Some(missing) => Err(Failed::from(missing)),
        None => run(&lab).map_err(|error| Failed::from(format!("{error:#}"))),
    };
    Trial::test(name, run).with_ignored_flag(ignored)
}

/// A lab that fails is run once more, and says so: labs have deadlines, and a machine that others keep busy may miss one.
/// What is really broken fails twice.
fn run(lab: &Test) -> anyhow::Result<()> {
    attempt(lab.name, lab.run).or_else(|first| {
        if lab.attempts < 2 {
            return Err(first);
        }
        eprintln!("{}: failed and is run once more: {first:#}", lab.name);
        attempt(&format!("{}2", lab.name), lab.run)
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
