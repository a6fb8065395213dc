//! A reflector and its clients: all of them announce their pods' blocks at once, then one of them changes again and again.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::{Bytes, BytesMut};
use engine::{
    Ipv4Prefix,
    wire::{Nlri, PathAttributes},
};
use fabric::{Lab, Process};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    LOCAL_AS, Peer, installed,
    load::announce,
    session::Session,
    speaker::{Setup, Software},
    tally::fingerprint,
};
use crate::bench::{
    Options,
    report::{Report, Row, Unit, median, percentile, seconds},
    usage,
};

/// Blocks of pods per client.
const BLOCKS: u32 = 10;
/// Changes of one client, and the time between two of them: 500 a second.
const CHANGES: usize = 500;
const EVERY: Duration = Duration::from_millis(2);
const CHURN_CLIENTS: u32 = 200;
/// FRR waits nine seconds before it sends.
const DEADLINE: Duration = Duration::from_secs(30);
const REFLECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Seconds that a run of one speaker took.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// First octet sent to the last prefix at the last client.
    pub(super) converged: f64,
    cpu: f64,
    /// Each change from its sending to its arrival at the last client.
    changes: Vec<f64>,
}

type Measure = (&'static str, fn(&Run) -> f64);

const CONVERGENCE: [Measure; 2] = [("all have all", |run| run.converged), ("processor time", |run| run.cpu)];
const CHURN: [Measure; 2] = [
    ("a change at the last client, p50", |run| percentile(&run.changes, 0.5)),
    ("a change at the last client, p99", |run| percentile(&run.changes, 0.99)),
];

/// Compares the speakers that are there.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let speakers = installed(report);
    let sizes: &[u32] = if options.quick { &[20] } else { &[CHURN_CLIENTS, 500] };
    for clients in sizes {
        let churns = *clients <= CHURN_CLIENTS;
        let mut runs: BTreeMap<Software, Vec<Run>> = BTreeMap::new();
        for round in 0..options.rounds {
            for software in speakers.iter().filter(|software| takes_part(**software, *clients, round)) {
                match run(*software, *clients, churns).with_context(|| software.name()) {
                    Ok(run) => runs.entry(*software).or_default().push(run),
                    // Others may fail without taking the comparison along.
                    Err(error) if *software != Software::Tortie => report.note(format!("{clients} clients: {error:#}")),
                    Err(error) => return Err(error),
                }
            }
        }
        let measures = CONVERGENCE.iter().chain(CHURN.iter().filter(|_| churns));
        for (name, value) in measures {
            rows(*clients, name, *value, &runs, report);
        }
    }
    Ok(())
}

/// GoBGP takes so long that once is enough; with 500 clients it does not end in time.
fn takes_part(software: Software, clients: u32, round: usize) -> bool {
    match software {
        Software::Copy => false,
        Software::GoBgp => clients <= CHURN_CLIENTS && round == 0,
        _ => true,
    }
}

fn rows(clients: u32, name: &str, value: fn(&Run) -> f64, runs: &BTreeMap<Software, Vec<Run>>, report: &mut Report) {
    let middle = |runs: &Vec<Run>| median(&runs.iter().map(value).collect::<Vec<_>>());
    let Some(ours) = runs.get(&Software::Tortie).map(middle) else { return };
    for (software, theirs) in runs.iter().filter(|(software, _)| **software != Software::Tortie) {
        report.push(Row {
            measure: format!("{clients} clients, {name}"),
            unit: Unit::Seconds,
            ours,
            peer: Some((software.name().to_owned(), middle(theirs))).filter(|(_, theirs)| *theirs > 0.0),
            aim: aim(clients, name),
        });
    }
}

/// What the project wants to reach on a machine like ours, in seconds.
fn aim(clients: u32, measure: &str) -> Option<f64> {
    match (clients, measure) {
        (200, "all have all" | "processor time") => Some(0.08),
        (500, "all have all" | "processor time") => Some(0.4),
        (200, "a change at the last client, p50") => Some(0.002),
        (200, "a change at the last client, p99") => Some(0.004),
        _ => None,
    }
}

pub(super) fn run(software: Software, clients: u32, churns: bool) -> Result<Run> {
    let lab = Lab::new("bench-rr")?;
    let (reflector, outside) = (lab.host("reflector")?, lab.host("clients")?);
    let peers: Vec<_> =
        (0..clients).map(|number| Peer { as_number: LOCAL_AS, local: REFLECTOR, remote: address(number) }).collect();
    let addresses: Vec<_> = peers.iter().map(|peer| format!("{}/16", peer.remote)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    lab.link(&outside.port("eth0", &addresses), &reflector.port("eth0", &[&format!("{REFLECTOR}/16")]))?;
    let running = software.start(&reflector, &Setup::of(&peers))?.ok_or_else(|| anyhow!("no process"))?;
    let dialled = peers.iter().map(|peer| Session::dial(&outside, peer.as_number, peer.remote, peer.local));
    let outcome = dialled.collect::<Result<Vec<_>>>().and_then(|sessions| exchange(sessions, &running, churns));
    if outcome.is_err() {
        lab.dump_logs();
    }
    outcome
}

fn address(client: u32) -> Ipv4Addr {
    let [_, _, third, fourth] = client.to_be_bytes();
    Ipv4Addr::new(10, 0, 1 + third, fourth)
}

/// Block `number` of a client.
fn block(client: u32, number: u32) -> Result<Ipv4Prefix> {
    let network = u32::from(Ipv4Addr::new(11, 0, 0, 0)) + (client * BLOCKS + number) * 64;
    Ipv4Prefix::new(network.into(), 26).ok_or_else(|| anyhow!("no block"))
}

fn exchange(mut sessions: Vec<Session>, running: &Process, churns: bool) -> Result<Run> {
    let clients = sessions.len() as u32;
    let mut announcements = Vec::new();
    let (mut own, mut all) = (Vec::new(), 0_u64);
    for client in 0..clients {
        let blocks: Vec<_> = (0..BLOCKS).map(|number| block(client, number)).collect::<Result<_>>()?;
        let sum = blocks.iter().fold(0_u64, |sum, block| sum.wrapping_add(fingerprint(*block)));
        own.push(sum);
        all = all.wrapping_add(sum);
        announcements.push(announcement(client, &blocks)?);
    }
    let before = usage::of(running.id())?.cpu;
    let start = Instant::now();
    for (session, announcement) in sessions.iter().zip(&announcements) {
        session.send(announcement)?;
    }
    // FRR sends a client its own routes as well, BIRD some routes twice: whoever sends more than all has sent all.
    let has_all = |index: usize, session: &Session| {
        let tally = session.tally();
        tally.held == all.wrapping_sub(own.get(index).copied().unwrap_or_default())
            || tally.announced >= u64::from(clients * BLOCKS)
    };
    let end = receive_until(&mut sessions, has_all)?;
    let mut run = Run { converged: (end - start).as_secs_f64(), ..Run::default() };
    run.cpu = (usage::of(running.id())?.cpu - before).as_secs_f64();
    if churns {
        run.changes = churn(sessions)?;
    }
    Ok(run)
}

/// The first client announces one more block again and again: what is new each time, nobody may leave out.
fn churn(mut sessions: Vec<Session>) -> Result<Vec<f64>> {
    let (first, clients) = (sessions.remove(0), sessions.len() as u32 + 1);
    let changes = (0..CHANGES as u32).map(|number| announcement(0, &[block(clients, number)?]));
    let changes = changes.collect::<Result<Vec<_>>>()?;
    let seen = |session: &Session| session.tally().announced;
    let before: Vec<_> = sessions.iter().map(seen).collect();
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> Result<Vec<Instant>> {
            let start = Instant::now();
            let mut sent = Vec::with_capacity(CHANGES);
            for (number, change) in changes.iter().enumerate() {
                thread::sleep((EVERY * number as u32).saturating_sub(start.elapsed()));
                sent.push(Instant::now());
                first.send(change)?;
            }
            Ok(sent)
        });
        let mut arrived = Vec::with_capacity(CHANGES);
        while arrived.len() < CHANGES {
            let next = arrived.len() as u64 + 1;
            let has_next = |index: usize, session: &Session| {
                seen(session) - before.get(index).copied().unwrap_or_default() >= next
            };
            arrived.push(receive_until(&mut sessions, has_next)?);
        }
        let sent = sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        Ok(seconds(&arrived.iter().zip(&sent).map(|(end, start)| *end - *start).collect::<Vec<_>>()))
    })
}

/// Receives on all sessions until each has what it waits for, and says when that was.
fn receive_until(sessions: &mut [Session], has: impl Fn(usize, &Session) -> bool) -> Result<Instant> {
    let deadline = Instant::now() + DEADLINE;
    while let Some(missing) = sessions.iter().enumerate().position(|(index, session)| !has(index, session)) {
        ensure!(Instant::now() < deadline, "client {missing} has {:?}", sessions.get(missing).map(Session::tally));
        let mut ready: Vec<_> =
            sessions.iter().map(|session| PollFd::new(session.socket(), PollFlags::POLLIN)).collect();
        poll(&mut ready, PollTimeout::from(1000_u16)).context("poll")?;
        let ready: Vec<_> = ready.iter().map(|fd| fd.any().unwrap_or_default()).collect();
        for (session, _) in sessions.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            session.take_in()?;
        }
    }
    Ok(Instant::now())
}

fn announcement(client: u32, blocks: &[Ipv4Prefix]) -> Result<Bytes> {
    let attributes = PathAttributes { local_pref: Some(100), ..PathAttributes::default() };
    let nlri = blocks.iter().map(|prefix| Nlri { prefix: *prefix, path_id: None }).collect();
    let mut out = BytesMut::new();
    announce(&attributes, address(client), nlri, &mut out)?;
    Ok(out.freeze())
}
