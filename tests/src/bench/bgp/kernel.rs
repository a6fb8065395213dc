//! A table into the kernel, and out of it again.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fabric::{Lab, Node};

use super::{
    DEADLINE, SOURCE, connect, installed,
    load::Table,
    session::Session,
    speaker::{Setup, Software},
};
use crate::bench::{
    Options,
    report::{Report, Row, Unit, median},
    usage::{self, Usage},
};

/// The kernel walks its table each time it is asked for its size.
const LOOK: Duration = Duration::from_millis(20);
/// After it, nothing is left to do.
const IDLE: Duration = Duration::from_secs(2);

/// What one run of one speaker gave.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// First octet sent to the last route in the kernel.
    installed: Duration,
    /// First octet sent to the last route out of it.
    removed: Duration,
    usage: Usage,
    /// Processor time while nothing happens, afterwards.
    idle: Duration,
}

type Measure = (&'static str, Unit, fn(&Run) -> f64, Option<f64>);

const MEASURES: [Measure; 5] = [
    ("into the kernel", Unit::Seconds, |run| run.installed.as_secs_f64(), Some(100.0 / 150.0)),
    ("out of the kernel", Unit::Seconds, |run| run.removed.as_secs_f64(), None),
    ("into the kernel, processor time", Unit::Seconds, |run| run.usage.cpu.as_secs_f64(), None),
    ("in the kernel, resident", Unit::Octets, |run| run.usage.resident as f64, None),
    ("processor time of 2 s thereafter", Unit::Seconds, |run| run.idle.as_secs_f64(), Some(0.0)),
];

/// Compares the speakers that write routes themselves.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let size = if options.quick { 10_000 } else { 100_000 };
    let table = Table::like_the_internet(size, SOURCE.as_number, SOURCE.remote)?;
    let mut runs: BTreeMap<Software, Vec<Run>> = BTreeMap::new();
    let there = installed(report);
    for _ in 0..options.rounds {
        for software in there.iter().filter(|it| matches!(**it, Software::Tortie | Software::Bird)) {
            let outcome = run(*software, &table).with_context(|| software.name())?;
            runs.entry(*software).or_default().push(outcome);
        }
    }
    for (name, unit, value, aim) in MEASURES {
        let middle = |runs: &Vec<Run>| median(&runs.iter().map(value).collect::<Vec<_>>());
        let Some(ours) = runs.get(&Software::Tortie).map(middle) else { continue };
        let theirs = runs.get(&Software::Bird).map(middle).filter(|theirs| *theirs > 0.0);
        report.push(Row {
            measure: format!("{}k routes {name}", size / 1000),
            unit,
            ours,
            peer: theirs.map(|theirs| (Software::Bird.name().to_owned(), theirs)),
            aim: aim.filter(|_| !options.quick),
        });
    }
    Ok(())
}

fn run(software: Software, table: &Table) -> Result<Run> {
    let lab = Lab::new("bench-kernel")?;
    let (source, speaker) = (lab.host("source")?, lab.host("speaker")?);
    connect(&lab, &source, &speaker, "source", SOURCE)?;
    let setup = Setup { installs: true, ..Setup::of(&[SOURCE]) };
    let Some(running) = software.start(&speaker, &setup)? else { bail!("no process") };
    let session = Session::dial(&source, SOURCE.as_number, SOURCE.remote, SOURCE.local)?;
    session.drain()?;
    let scout = Table::scout(1, SOURCE.as_number, SOURCE.remote)?;
    let own = speaker.inside(prefixes)?;
    pass(&session, &speaker, &scout.announcements, own + 1).context("one route")?;
    let before = usage::of(running.id())?.cpu;
    let all = own + 1 + table.prefixes;
    let installed = pass(&session, &speaker, &table.announcements, all).context("announcing")?;
    let usage = usage::of(running.id())?;
    thread::sleep(IDLE);
    let idle = usage::of(running.id())?.cpu - usage.cpu;
    let removed = pass(&session, &speaker, &table.withdrawals, own + 1).context("withdrawing")?;
    Ok(Run { installed, removed, usage: Usage { cpu: usage.cpu - before, ..usage }, idle })
}

/// Sends messages and waits until the kernel has so many prefixes.
fn pass(session: &Session, node: &Node, messages: &[u8], expected: u64) -> Result<Duration> {
    thread::scope(|scope| {
        let start = Instant::now();
        let sending = scope.spawn(|| session.send(messages));
        loop {
            let found = node.inside(prefixes)?;
            if found == expected {
                sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
                return Ok(start.elapsed());
            }
            ensure!(start.elapsed() < DEADLINE, "{found} prefixes instead of {expected}");
            thread::sleep(LOOK);
        }
    })
}

/// IPv4 prefixes in the table main of the namespace. The table local may be the same one.
fn prefixes() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/fib_triestat").context("reading fib_triestat")?;
    let main = text.split_once("Main:").map(|(_, main)| main).unwrap_or_default();
    let prefixes = main.lines().find_map(|line| line.trim().strip_prefix("Prefixes:")?.trim().parse().ok());
    prefixes.context("no prefixes in fib_triestat")
}
