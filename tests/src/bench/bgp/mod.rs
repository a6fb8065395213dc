//! How long a speaker takes between its peers: a table from one to another, and a reflector between many clients.

mod kernel;
mod load;
mod many;
mod mesh;
mod reflector;
mod scale;
mod session;
mod speaker;
mod tally;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use fabric::{Lab, Node, Process, require};
use load::Table;
use session::Session;
use speaker::{Setup, Software};

use super::{
    Options,
    report::{Report, Row, Unit, median},
    usage::{self, Usage},
};

/// AS number of the speaker.
const LOCAL_AS: u32 = 65000;
/// For one table. FRR needs half a minute for a million prefixes.
const DEADLINE: Duration = Duration::from_secs(300);

/// A peer of the speaker.
#[derive(Clone, Copy, Debug)]
struct Peer {
    as_number: u32,
    /// The speaker's address.
    local: Ipv4Addr,
    /// The peer's address.
    remote: Ipv4Addr,
}

impl Peer {
    fn name(&self) -> String {
        format!("peer-{}", self.remote)
    }

    const fn is_internal(&self) -> bool {
        self.as_number == LOCAL_AS
    }
}

const SOURCE: Peer = Peer { as_number: 65001, local: Ipv4Addr::new(10, 0, 1, 2), remote: Ipv4Addr::new(10, 0, 1, 1) };
const SINK: Peer = Peer { as_number: 65002, local: Ipv4Addr::new(10, 0, 2, 2), remote: Ipv4Addr::new(10, 0, 2, 1) };

/// What one run of one speaker gave.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// First octet sent to last prefix received.
    announced: Duration,
    withdrawn: Duration,
    /// After the table was announced; nothing for a thread of ours.
    usage: Usage,
}

/// What is compared, and how the numbers of a run are read.
type Measure = (&'static str, Unit, fn(&Run) -> f64);

const MEASURES: [Measure; 4] = [
    ("announced", Unit::Seconds, |run| run.announced.as_secs_f64()),
    ("withdrawn", Unit::Seconds, |run| run.withdrawn.as_secs_f64()),
    ("processor time", Unit::Seconds, |run| run.usage.cpu.as_secs_f64()),
    ("resident", Unit::Octets, |run| run.usage.resident as f64),
];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A table from one peer to another.
    Table,
    /// The same prefixes from ten peers, differing paths.
    Many,
    /// The blocks of many clients through a reflector.
    Reflector,
    /// A node of a full mesh.
    Mesh,
    /// A table into the kernel.
    Kernel,
    /// Ours alone at 1×, 4× and 16×.
    Scale,
}

/// Compares the speakers that are installed.
pub(super) fn measure(workload: Workload, options: &Options, report: &mut Report) -> Result<()> {
    match workload {
        Workload::Table => tables(options, report),
        Workload::Many => many::measure(options, report),
        Workload::Reflector => reflector::measure(options, report),
        Workload::Mesh => mesh::measure(options, report),
        Workload::Kernel => kernel::measure(options, report),
        Workload::Scale => scale::measure(options, report),
    }
}

fn tables(options: &Options, report: &mut Report) -> Result<()> {
    let mut sizes = vec![if options.quick { 10_000 } else { 100_000 }];
    if options.full {
        sizes.push(1_000_000);
    }
    let there = installed(report);
    for size in sizes {
        let table = Table::like_the_internet(size, SOURCE.as_number, SOURCE.remote)?;
        let mut runs: BTreeMap<Software, Vec<Run>> = BTreeMap::new();
        for round in 0..options.rounds {
            for software in there.iter().filter(|software| takes_part(**software, size, round)) {
                let outcome = run(*software, &table).with_context(|| software.name())?;
                runs.entry(*software).or_default().push(outcome);
            }
        }
        rows(size, &runs, report);
        let best = runs.get(&Software::Tortie).into_iter().flatten().map(|run| run.announced).min().unwrap_or_default();
        report.note(format!(
            "{size} prefixes: {} sets of path attributes, {} octets; medians of {} rounds (GoBGP 1), our best {best:.1?}",
            table.attribute_sets,
            table.announcements.len(),
            options.rounds,
        ));
    }
    Ok(())
}

fn installed(report: &mut Report) -> Vec<Software> {
    let (there, missing): (Vec<_>, Vec<_>) =
        Software::ALL.into_iter().partition(|software| require(software.needs()).is_ok());
    for software in missing {
        report.note(format!("{} is not installed", software.name()));
    }
    there
}

/// GoBGP takes so long that once is enough, and a million prefixes too many.
fn takes_part(software: Software, size: usize, round: usize) -> bool {
    software != Software::GoBgp || (size <= 100_000 && round == 0)
}

fn rows(size: usize, runs: &BTreeMap<Software, Vec<Run>>, report: &mut Report) {
    for (name, unit, value) in MEASURES {
        let middle =
            |software: &Software| runs.get(software).map(|runs| median(&runs.iter().map(value).collect::<Vec<_>>()));
        let Some(ours) = middle(&Software::Tortie) else { continue };
        let others = Software::ALL.iter().filter(|software| **software != Software::Tortie);
        for software in others {
            // A thread of ours has no usage of its own.
            let Some(theirs) = middle(software).filter(|theirs| *theirs > 0.0) else { continue };
            report.push(Row {
                measure: format!("{}k prefixes {name}", size / 1000),
                unit,
                ours,
                peer: Some((software.name().to_owned(), theirs)),
                aim: aim(size, name),
            });
        }
    }
}

/// What the project wants to reach on a machine like ours, in seconds or octets.
fn aim(size: usize, measure: &str) -> Option<f64> {
    let mega = f64::from(1 << 20);
    match (size, measure) {
        (100_000, "announced") => Some(0.08),
        (100_000, "resident") => Some(20.0 * mega),
        (1_000_000, "announced") => Some(0.8),
        (1_000_000, "withdrawn") => Some(0.4),
        (1_000_000, "resident") => Some(130.0 * mega),
        _ => None,
    }
}

/// One run in namespaces of its own.
fn run(software: Software, table: &Table) -> Result<Run> {
    let lab = Lab::new("bench-bgp")?;
    let (source, speaker, sink) = (lab.host("source")?, lab.host("speaker")?, lab.host("sink")?);
    connect(&lab, &source, &speaker, "source", SOURCE)?;
    connect(&lab, &sink, &speaker, "sink", SINK)?;
    let running = software.start(&speaker, &Setup::of(&[SOURCE, SINK]))?;
    let outcome = exchange(&source, &sink, running.as_ref(), table);
    if outcome.is_err() {
        lab.dump_logs();
    }
    outcome
}

fn connect(lab: &Lab, node: &Node, speaker: &Node, port: &str, peer: Peer) -> Result<()> {
    let address = |address: Ipv4Addr| format!("{address}/24");
    lab.link(&node.port("eth0", &[&address(peer.remote)]), &speaker.port(port, &[&address(peer.local)]))
}

fn exchange(source: &Node, sink: &Node, running: Option<&Process>, table: &Table) -> Result<Run> {
    let source = Session::dial(source, SOURCE.as_number, SOURCE.remote, SOURCE.local)?;
    let mut sink = Session::dial(sink, SINK.as_number, SINK.remote, SINK.local)?;
    source.drain()?;
    let scout = Table::scout(1, SOURCE.as_number, SOURCE.remote)?;
    announce(&source, &mut sink, &scout).context("one prefix")?;
    withdraw(&source, &mut sink, &scout).context("one prefix")?;
    let announced = announce(&source, &mut sink, table).context("announcing")?;
    let usage = running.map(|process| usage::of(process.id())).transpose()?.unwrap_or_default();
    let withdrawn = withdraw(&source, &mut sink, table).context("withdrawing")?;
    Ok(Run { announced, withdrawn, usage })
}

fn announce(source: &Session, sink: &mut Session, table: &Table) -> Result<Duration> {
    let (before, expected) = (*sink.tally(), table.fingerprint);
    let last = before.announced + table.prefixes;
    pass(source, sink, &table.announcements, move |tally| tally.announced >= last && tally.held == expected)
}

fn withdraw(source: &Session, sink: &mut Session, table: &Table) -> Result<Duration> {
    pass(source, sink, &table.withdrawals, |tally| tally.held == 0)
}

/// Sends and receives at once. The time from the first octet sent to the last prefix received.
fn pass(
    source: &Session,
    sink: &mut Session,
    messages: &[u8],
    done: impl Fn(&tally::Tally) -> bool + Send,
) -> Result<Duration> {
    thread::scope(|scope| {
        let receiving = scope.spawn(|| sink.receive_until(DEADLINE, done));
        let start = Instant::now();
        source.send(messages)?;
        let end = receiving.join().map_err(|_| anyhow!("the receiving thread panicked"))??;
        Ok(end.duration_since(start))
    })
}
