//! What is shown, in order. Each step checks what it says.

mod bring_up;
mod hijack;
mod pods;
mod policy;
mod restart;
mod traffic;

use std::time::Duration;

use anyhow::{Context, Result};
use fabric::{
    Node,
    probe::{Losses, Stream, Target},
};

use crate::{
    rack::{PORT, Rack},
    report::Report,
};

/// Nothing here takes that long.
const SOON: Duration = Duration::from_secs(20);
/// One datagram per tick in every stream.
const TICK: Duration = Duration::from_millis(2);
/// As many answers are looked at, where nothing happens meanwhile.
const MANY: u64 = 200;

/// Runs all steps up to the first that does not hold.
pub(crate) fn all(rack: &mut Rack, report: &mut Report) -> Result<()> {
    bring_up::wiring(rack, report)?;
    bring_up::sessions(rack, report)?;
    pods::add(rack, report)?;
    traffic::across(rack, report)?;
    policy::apply(rack, report)?;
    restart::kill(rack, report)?;
    pods::delete(rack, report)?;
    hijack::attempt(rack, report)
}

/// A stream from a namespace to a pod's UDP port.
fn to_pod(rack: &Rack, from: &Node, pod: &str) -> Result<Stream> {
    let address = rack.pod(pod)?.ipv4()?;
    Stream::start(from.namespace(), Target::Udp((address, PORT).into()), None, TICK)
}

/// Lets streams run until each has many answers, and stops them.
fn many_answers(report: &mut Report, streams: Vec<(String, Stream)>) -> Result<()> {
    for (name, stream) in streams {
        let ran = fabric::wait_until(&name, SOON, || Ok(stream.so_far().answered >= MANY));
        let losses = stream.stop()?;
        ran.with_context(|| format!("{name}: {losses}"))?;
        none_lost(report, &name, losses)?;
    }
    Ok(())
}

fn none_lost(report: &mut Report, name: &str, losses: Losses) -> Result<()> {
    report.check(&format!("{name}: {losses}"), losses.lost() == 0)
}
