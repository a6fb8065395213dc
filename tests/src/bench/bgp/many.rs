//! The same prefixes from ten peers, with differing paths: how long until one more peer knows the best of them.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use fabric::Lab;

use super::{
    DEADLINE, Peer, SINK, connect, installed,
    load::Table,
    session::Session,
    speaker::{Setup, Software},
};
use crate::bench::{
    Options,
    report::{Report, Row, Unit, median},
    usage::{self, Usage},
};

const SOURCES: u8 = 10;
const SPEAKER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// Nobody pauses that long in the middle of it.
const QUIET: Duration = Duration::from_millis(500);

/// What one run of one speaker gave.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// First octet sent to the last one received.
    settled: Duration,
    usage: Usage,
}

type Measure = (&'static str, Unit, fn(&Run) -> f64, Option<f64>);

const MEASURES: [Measure; 3] = [
    ("settled", Unit::Seconds, |run| run.settled.as_secs_f64(), Some(1.3)),
    ("processor time", Unit::Seconds, |run| run.usage.cpu.as_secs_f64(), None),
    ("resident", Unit::Octets, |run| run.usage.resident as f64, Some(120.0 * 1_048_576.0)),
];

/// Compares the speakers that are installed; GoBGP would take minutes.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let size = if options.quick { 10_000 } else { 100_000 };
    let tables = (0..SOURCES).map(|number| {
        let peer = source(number);
        let table = Table::like_the_internet(size, peer.as_number, peer.remote)?;
        let end = Table::scout(1 + number, peer.as_number, peer.remote)?;
        Ok([table.announcements, end.announcements].concat())
    });
    let tables = tables.collect::<Result<Vec<_>>>()?;
    let mut runs: BTreeMap<Software, Vec<Run>> = BTreeMap::new();
    let there = installed(report);
    for _ in 0..options.rounds {
        for software in there.iter().filter(|it| !matches!(**it, Software::GoBgp | Software::Copy)) {
            let outcome = run(*software, &tables).with_context(|| software.name())?;
            runs.entry(*software).or_default().push(outcome);
        }
    }
    for (name, unit, value, aim) in MEASURES {
        let middle = |runs: &Vec<Run>| median(&runs.iter().map(value).collect::<Vec<_>>());
        let Some(ours) = runs.get(&Software::Tortie).map(middle) else { continue };
        for (software, theirs) in runs.iter().filter(|(software, _)| **software != Software::Tortie) {
            report.push(Row {
                measure: format!("{SOURCES} × {}k prefixes {name}", size / 1000),
                unit,
                ours,
                peer: Some((software.name().to_owned(), middle(theirs))),
                aim: aim.filter(|_| !options.quick),
            });
        }
    }
    Ok(())
}

fn source(number: u8) -> Peer {
    Peer { as_number: 65101 + u32::from(number), local: SPEAKER, remote: Ipv4Addr::new(10, 0, 1, 10 + number) }
}

fn run(software: Software, tables: &[Vec<u8>]) -> Result<Run> {
    let lab = Lab::new("bench-many")?;
    let (outside, speaker, sink) = (lab.host("sources")?, lab.host("speaker")?, lab.host("sink")?);
    let sources: Vec<_> = (0..SOURCES).map(source).collect();
    let addresses: Vec<_> = sources.iter().map(|peer| format!("{}/24", peer.remote)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    lab.link(&outside.port("eth0", &addresses), &speaker.port("sources", &[&format!("{SPEAKER}/24")]))?;
    connect(&lab, &sink, &speaker, "sink", SINK)?;
    let peers: Vec<_> = sources.iter().copied().chain([SINK]).collect();
    let Some(running) = software.start(&speaker, &Setup::of(&peers))? else { bail!("no process") };
    let dialled = sources.iter().map(|peer| Session::dial(&outside, peer.as_number, peer.remote, peer.local));
    let sessions = dialled.collect::<Result<Vec<_>>>()?;
    sessions.iter().try_for_each(Session::drain)?;
    let mut sink = Session::dial(&sink, SINK.as_number, SINK.remote, SINK.local)?;
    let before = usage::of(running.id())?.cpu;
    let settled = thread::scope(|scope| {
        let all = |tally: &super::tally::Tally| tally.hosts >= SOURCES.into();
        let receiving = scope.spawn(move || sink.receive_until_quiet(DEADLINE, QUIET, all));
        let start = Instant::now();
        let sending: Vec<_> =
            sessions.iter().zip(tables).map(|(session, table)| scope.spawn(|| session.send(table))).collect();
        for thread in sending {
            thread.join().map_err(|_| anyhow!("a sending thread panicked"))??;
        }
        let end = receiving.join().map_err(|_| anyhow!("the receiving thread panicked"))??;
        anyhow::Ok(end - start)
    })?;
    let usage = usage::of(running.id())?;
    Ok(Run { settled, usage: Usage { cpu: usage.cpu - before, ..usage } })
}
