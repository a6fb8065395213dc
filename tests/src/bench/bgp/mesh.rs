//! A node of a full mesh: 250 nodes, 4 000 blocks, all of them in the kernel. What it costs to hold them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use engine::{
    Ipv4Prefix,
    wire::{Nlri, PathAttributes},
};
use fabric::Lab;

use super::{
    DEADLINE, LOCAL_AS, Peer, SINK, connect, installed,
    load::announce,
    session::Session,
    speaker::{Setup, Software},
};
use crate::bench::{
    Options,
    report::{Report, Row, Unit, median},
    usage,
};

const BLOCKS: u32 = 16;
const NODE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// Compares the speakers that write routes themselves.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let nodes = if options.quick { 25 } else { 250 };
    let mut runs: BTreeMap<Software, Vec<f64>> = BTreeMap::new();
    let there = installed(report);
    for _ in 0..options.rounds {
        for software in there.iter().filter(|it| matches!(**it, Software::Tortie | Software::Bird)) {
            let outcome = run(*software, nodes).with_context(|| software.name())?;
            runs.entry(*software).or_default().push(outcome);
        }
    }
    let Some(ours) = runs.get(&Software::Tortie).map(|runs| median(runs)) else { return Ok(()) };
    report.push(Row {
        measure: format!("mesh of {nodes} nodes, {} blocks, resident", (nodes - 1) * BLOCKS),
        unit: Unit::Octets,
        ours,
        peer: runs.get(&Software::Bird).map(|runs| (Software::Bird.name().to_owned(), median(runs))),
        aim: (!options.quick).then_some(15.0 * 1_048_576.0),
    });
    Ok(())
}

/// Octets resident when a router outside the mesh has heard of every block.
fn run(software: Software, nodes: u32) -> Result<f64> {
    let lab = Lab::new("bench-mesh")?;
    let (node, others, router) = (lab.host("node")?, lab.host("others")?, lab.host("router")?);
    let mesh: Vec<_> =
        (1..nodes).map(|number| Peer { as_number: LOCAL_AS, local: NODE, remote: address(number) }).collect();
    let addresses: Vec<_> = mesh.iter().map(|peer| format!("{}/16", peer.remote)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    lab.link(&others.port("eth0", &addresses), &node.port("mesh", &[&format!("{NODE}/16")]))?;
    connect(&lab, &router, &node, "router", SINK)?;
    let peers: Vec<_> = mesh.iter().copied().chain([SINK]).collect();
    let setup = Setup { reflects: false, installs: true, ..Setup::of(&peers) };
    let Some(running) = software.start(&node, &setup)? else { bail!("no process") };
    let mut router = Session::dial(&router, SINK.as_number, SINK.remote, SINK.local)?;
    let mut sessions = Vec::new();
    for (number, peer) in (1..nodes).zip(&mesh) {
        let session = Session::dial(&others, peer.as_number, peer.remote, peer.local)?;
        session.send(&blocks(number)?)?;
        sessions.push(session);
    }
    let all = u64::from((nodes - 1) * BLOCKS);
    router.receive_until(DEADLINE, |tally| tally.announced >= all)?;
    Ok(usage::of(running.id())?.resident as f64)
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(NODE.to_bits() + number)
}

fn blocks(number: u32) -> Result<Bytes> {
    let attributes = PathAttributes { local_pref: Some(100), ..PathAttributes::default() };
    let block = |at: u32| {
        let network = Ipv4Addr::new(11, 0, 0, 0).to_bits() + (number * BLOCKS + at) * 64;
        Ipv4Prefix::new(network.into(), 26).map(|prefix| Nlri { prefix, path_id: None })
    };
    let mut out = BytesMut::new();
    announce(&attributes, address(number), (0..BLOCKS).filter_map(block).collect(), &mut out)?;
    Ok(out.freeze())
}
