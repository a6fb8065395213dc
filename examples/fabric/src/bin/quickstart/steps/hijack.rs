//! Step 8: the router announces what is not its own, and a pod lies about its address.

use anyhow::{Context, Result};
use fabric::{
    probe::{Stream, Target},
    wait_until,
};
use serde_json::Value;

use super::{MANY, SOON, TICK, none_lost, to_pod};
use crate::{
    rack::{NODES, PORT, Rack},
    report::Report,
};

pub(super) fn attempt(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(8, "Hijack: tor-1 announces node-b's address and part of its block; spy forges front's address");
    announced(rack, report)?;
    forged(rack, report)
}

/// Routes to a node and into a node's block are refused, and the refusal has a name.
fn announced(rack: &mut Rack, report: &mut Report) -> Result<()> {
    let stream = to_pod(rack, rack.pod("front")?.inside(), "web-1")?;
    let everybody: Vec<_> = NODES.iter().map(|(name, _)| *name).collect();
    steal(rack, report, "192.0.2.12/32", &everybody)?;
    let pod = format!("{}/32", rack.pod("web-1")?.ipv4()?);
    steal(rack, report, &pod, &everybody)?;
    none_lost(report, "front → web-1 meanwhile", stream.stop()?)
}

/// The router announces a prefix; these nodes must refuse it.
fn steal(rack: &mut Rack, report: &mut Report, stolen: &str, nodes: &[&str]) -> Result<()> {
    rack.router.as_mut().context("the router does not run")?.announce(stolen)?;
    for name in nodes {
        let daemons = rack.daemons(name)?;
        let mut verdict = String::new();
        report.wait(&format!("{name} has heard {stolen} from tor-1"), SOON, || {
            verdict = verdict_on(&daemons.ask_bgpd(&["explain", stolen])?).unwrap_or_default();
            Ok(!verdict.is_empty())
        })?;
        report.check(&format!("{name} says: {verdict}"), verdict.starts_with("rejected"))?;
        let routes = rack.node(name)?.kernel_routes("bgp")?;
        report.check(&format!("{name} has no such route in its kernel"), !routes.contains_key(stolen))?;
    }
    rack.router.as_mut().context("the router does not run")?.withdraw(stolen)
}

/// What bgpd says about the candidate from the router.
fn verdict_on(explanation: &Value) -> Option<String> {
    let candidates = explanation.get("candidates")?.as_array()?;
    let from_tor = candidates.iter().find(|c| c.get("peer").and_then(Value::as_str) == Some("tor-1"))?;
    let why = from_tor.get("why")?.as_str()?;
    Some(if why.is_empty() { "accepted" } else { why }.to_owned())
}

/// A datagram with another pod's source address goes no further than the sender's interface.
fn forged(rack: &mut Rack, report: &mut Report) -> Result<()> {
    let front = rack.pod("front")?.ipv4()?;
    let web = rack.pod("web-1")?.ipv4()?;
    let spy = rack.pod("spy")?.inside();
    spy.add_address("lo", &format!("{front}/32"))?;
    let before = rack.echo("web-1")?.datagrams();
    let stream = Stream::start(spy.namespace(), Target::Udp((web, PORT).into()), Some(front), TICK)?;
    wait_until("forged datagrams", SOON, || Ok(stream.so_far().sent >= MANY))?;
    let losses = stream.stop()?;
    let arrived = rack.echo("web-1")?.datagrams() - before;
    report.check(&format!("{} datagrams of spy in the name of front: {arrived} arrived at web-1", losses.sent), {
        arrived == 0 && losses.answered == 0
    })
}
