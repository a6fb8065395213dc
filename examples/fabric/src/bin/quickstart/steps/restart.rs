//! Step 6: both daemons of a node are killed, and nobody notices.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fabric::{
    Node,
    probe::{Flow, Stream, Target, connect},
    wait_until,
};

use super::{SOON, TICK, none_lost, to_pod};
use crate::{
    rack::{NODES, PORT, Rack, address},
    report::{Report, time},
};

const NODE: (&str, u8) = ("node-b", 12);
/// How long a daemon stays dead, in datagrams of a stream.
const DEAD: u64 = 250;
const REFUSED: Duration = Duration::from_millis(300);

/// Traffic to and through the node whose daemons die.
struct Traffic {
    streams: Vec<(&'static str, Stream)>,
    flow: Flow,
}

impl Traffic {
    fn start(rack: &Rack) -> Result<Self> {
        let web = rack.pod("web-1")?;
        let target = web.ipv4()?;
        let front = rack.pod("front")?;
        let icmp = |from: &Node, to| Stream::start(from.namespace(), Target::Icmp(to), None, TICK);
        let streams = vec![
            ("front → web-1 udp", to_pod(rack, front.inside(), "web-1")?),
            (
                "front → web-1 ping IPv6",
                Stream::start(front.inside().namespace(), Target::Udp((web.ipv6()?, PORT).into()), None, TICK)?,
            ),
            ("client → web-1 ping", icmp(&rack.client, target)?),
            ("web-1 → front ping", icmp(web.inside(), front.ipv4()?)?),
        ];
        let flow = Flow::open(front.inside().namespace(), (target, PORT).into(), TICK)?;
        let traffic = Self { streams, flow };
        traffic.more(50)?;
        Ok(traffic)
    }

    /// Lets some more datagrams go, answered or not.
    fn more(&self, datagrams: u64) -> Result<()> {
        let (_, stream) = self.streams.first().context("no stream")?;
        let before = stream.so_far().sent;
        wait_until("datagrams", SOON, || Ok(stream.so_far().sent >= before + datagrams)).map(drop)
    }

    fn stop(self, report: &mut Report, daemon: &str) -> Result<()> {
        self.flow.wait_alive(SOON).with_context(|| format!("the connection did not survive {daemon}"))?;
        let (mut sent, mut lost) = (0, 0);
        for (name, stream) in self.streams {
            let losses = stream.stop()?;
            (sent, lost) = (sent + losses.sent, lost + losses.lost());
            none_lost(report, name, losses)?;
        }
        report.held(&format!("the connection front → web-1 lives, {} exchanges", self.flow.exchanged()));
        report.measure(&format!("packets lost over kill -9 and restart of {daemon}"), format!("{lost} of {sent}"));
        Ok(())
    }
}

pub(super) fn kill(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(6, "kill -9 of bgpd, then of felix, on web-1's node, under traffic");
    kill_bgpd(rack, report)?;
    kill_felix(rack, report)
}

fn kill_bgpd(rack: &mut Rack, report: &mut Report) -> Result<()> {
    let (node, number) = NODE;
    let before = rack.router()?.routes()?;
    let kernel = rack.node(node)?.kernel_routes("bgp")?;
    let traffic = Traffic::start(rack)?;
    rack.daemons_mut(node)?.bgpd.kill()?;
    let router = rack.router()?;
    report.wait("tor-1 has noticed that bgpd of node-b is dead", SOON, || {
        Ok(router.sessions()?.get(&address(number)).is_none_or(|state| state != "Established"))
    })?;
    traffic.more(DEAD)?;
    report.check("tor-1 keeps the routes of node-b", router.routes()? == before)?;
    report.check("node-b keeps its routes", rack.node(node)?.kernel_routes("bgp")? == kernel)?;

    let started = Instant::now();
    rack.daemons_mut(node)?.bgpd.restart()?;
    let router = rack.router()?;
    report.wait("bgpd runs again: session with tor-1 Established, says tor-1", SOON, || {
        Ok(router.sessions()?.get(&address(number)).is_some_and(|state| state == "Established"))
    })?;
    let daemons = rack.daemons(node)?;
    report.wait("all sessions of node-b Established, says bgpd", SOON, || {
        let sessions = daemons.sessions()?;
        Ok(sessions.len() == NODES.len() && sessions.iter().all(|(_, state)| state == "Established"))
    })?;
    report.measure("bgpd started again → all its sessions Established", time(started.elapsed()));
    let router = rack.router()?;
    report.wait("tor-1 and node-b have the routes they had", SOON, || {
        Ok(router.routes()? == before && rack.node(node)?.kernel_routes("bgp")? == kernel)
    })?;
    traffic.more(DEAD)?;
    traffic.stop(report, "bgpd")
}

fn kill_felix(rack: &mut Rack, report: &mut Report) -> Result<()> {
    let (node, _) = NODE;
    let pod_routes = rack.node(node)?.kernel_routes("80")?;
    let traffic = Traffic::start(rack)?;
    rack.daemons_mut(node)?.felix.kill()?;
    traffic.more(DEAD)?;
    spy_is_denied(rack, report, "while felix is dead")?;
    let started = Instant::now();
    rack.daemons_mut(node)?.felix.restart()?;
    rack.daemons_mut(node)?.wait_ready(SOON)?;
    report.held(&format!("felix is in sync again, {} after its start", time(started.elapsed())));
    report.measure("felix started again → in sync", time(started.elapsed()));
    traffic.more(DEAD)?;
    spy_is_denied(rack, report, "after its restart")?;
    rack.pod("web-1")?.check().context("CHECK of web-1")?;
    report.check("web-1 and its routes are as they were", rack.node(node)?.kernel_routes("80")? == pod_routes)?;
    traffic.stop(report, "felix")
}

fn spy_is_denied(rack: &Rack, report: &mut Report, when: &str) -> Result<()> {
    let web = (rack.pod("web-1")?.ipv4()?, PORT).into();
    let refused = connect(rack.pod("spy")?.inside().namespace(), web, REFUSED)?.is_err();
    report.check(&format!("spy → web-1 is denied {when}"), refused)
}
