//! Step 4: pods, router and client reach each other, and no packet is encapsulated.

use anyhow::{Context, Result, ensure};
use fabric::{
    Capture,
    probe::{Echo, Stream, Target, connect},
};

use super::{SOON, TICK, many_answers, to_pod};
use crate::{
    rack::{CLIENT, PORT, Rack},
    report::{Report, time},
};

/// What would carry a packet inside a packet: IPIP, VXLAN, IPv6 in IPv4, GRE.
const ENCAPSULATED: &str = "ip proto 4 or ip proto 41 or ip proto 47 or udp port 4789 or ip6 proto 4 or ip6 proto 41";

pub(super) fn across(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(4, "front on node-a and web-1 on node-b talk, and the world outside with web-1");
    let front = rack.pod("front")?;
    let (front4, web4, web6) = (front.ipv4()?, rack.pod("web-1")?.ipv4()?, rack.pod("web-1")?.ipv6()?);
    let capture = Capture::start(rack.node("node-b")?, "eth0")?;
    let inside = front.inside();
    let icmp = |from: &fabric::Node, target| Stream::start(from.namespace(), Target::Icmp(target), None, TICK);
    let streams = vec![
        (format!("front → web-1  udp {web4}:{PORT}"), to_pod(rack, inside, "web-1")?),
        (format!("front → web-1  ping {web6}"), icmp(inside, web6)?),
        (format!("client {CLIENT} → web-1  ping {web4}"), icmp(&rack.client, web4)?),
        (format!("tor-1 → web-1  ping {web4}"), icmp(&rack.tor, web4)?),
    ];
    many_answers(report, streams)?;
    let took = connect(inside.namespace(), (web4, PORT).into(), SOON)?.context("front → web-1 over TCP")?;
    report.held(&format!("front → web-1  tcp {web4}:{PORT} connected in {}", time(took)));

    let encapsulated = capture.lines(ENCAPSULATED)?;
    let plain = capture.lines(&format!("host {front4} and host {web4}"))?;
    let proof = plain.first().context("node-b saw no packet between the pods")?;
    report.check(
        &format!("{} packets between the two on the wire of node-b, none encapsulated; one of them:", plain.len()),
        encapsulated.is_empty(),
    )?;
    report.show(proof);
    drop(capture);
    outgoing(rack, report)
}

/// Packets to the outside leave with the node's address, as the pool says.
fn outgoing(rack: &Rack, report: &mut Report) -> Result<()> {
    const OUTSIDE: u16 = 9000;
    let _echo = Echo::start(rack.client.namespace(), (CLIENT, OUTSIDE).into())?;
    let capture = Capture::start(&rack.client, "eth0")?;
    let target = Target::Udp((CLIENT, OUTSIDE).into());
    let stream = Stream::start(rack.pod("front")?.inside().namespace(), target, None, TICK)?;
    many_answers(report, vec![(format!("front → client {CLIENT}"), stream)])?;
    let masqueraded = capture.lines(&format!("udp and src host 192.0.2.11 and dst port {OUTSIDE}"))?;
    let naked = capture.lines(&format!("udp and src net 10.65.0.0/16 and dst port {OUTSIDE}"))?;
    ensure!(!masqueraded.is_empty(), "the client saw no packet from node-a");
    report.check("the client sees node-a's address, never a pod's", naked.is_empty())
}
