//! Whether cost grows with the work and no faster: ours alone at 1×, 4× and 16× of prefixes and of clients.

use anyhow::Result;

use super::{SOURCE, load::Table, reflector, speaker::Software};
use crate::bench::{
    Options,
    report::{Report, Row, Unit, median},
};

const TIMES: [usize; 3] = [1, 4, 16];

/// Shows each multiple beside the multiple of the smallest.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (prefixes, clients) = if options.quick { (2_000, 4) } else { (50_000, 30) };
    let tables = TIMES.map(|times| Table::like_the_internet(prefixes * times, SOURCE.as_number, SOURCE.remote));
    let mut sent = Vec::new();
    for table in tables {
        let table = table?;
        let run = |_| super::run(Software::Tortie, &table).map(|run| run.announced.as_secs_f64());
        sent.push(median(&(0..options.rounds).map(run).collect::<Result<Vec<_>>>()?));
    }
    rows("prefixes announced", prefixes, 1, &sent, report);
    let mut reflected = Vec::new();
    for times in TIMES {
        let clients = (clients * times) as u32;
        let run = |_| reflector::run(Software::Tortie, clients, false).map(|run| run.converged);
        reflected.push(median(&(0..options.rounds).map(run).collect::<Result<Vec<_>>>()?));
    }
    // Each client hears of the blocks of every other: four times as many are sixteen times the work.
    rows("clients, all have all", clients, 2, &reflected, report);
    Ok(())
}

fn rows(what: &str, smallest: usize, power: u32, seconds: &[f64], report: &mut Report) {
    let first = seconds.first().copied().unwrap_or_default();
    for (times, seconds) in TIMES.iter().zip(seconds) {
        let work = times.pow(power);
        report.push(Row {
            measure: format!("{} {what}", smallest * times),
            unit: Unit::Seconds,
            ours: *seconds,
            peer: Some((format!("{work} × the first"), first * work as f64)),
            aim: None,
        });
    }
}
