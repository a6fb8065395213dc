//! Steps 1 and 2: namespaces, then sessions.

use std::time::Instant;

use anyhow::{Context, Result};

use super::SOON;
use crate::{
    picture,
    rack::{CLIENT, NODES, Rack, address},
    report::{Report, time},
};

/// The rack is wired: every node reaches the router, and nothing knows a route to a pod.
pub(super) fn wiring(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report
        .step(1, &format!("A rack in namespaces: a router ({}), a client behind it, three nodes", rack.tor_software()));
    report.show(&picture::draw(rack));
    for (name, _) in NODES {
        let node = rack.node(name)?;
        report.check(&format!("{name} reaches tor-1 over IPv4 and IPv6"), {
            node.ping("192.0.2.1".parse()?)? && node.ping("2001:db8:2::1".parse()?)?
        })?;
        let learned = node.kernel_routes("bgp")?;
        report.check(&format!("{name} has no route but its own links"), learned.is_empty())?;
    }
    Ok(())
}

/// The daemons start; the sessions that the manifests ask for come up.
pub(super) fn sessions(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(2, "bgpd and felix start on every node and find their peers in the manifests");
    rack.start_router()?;
    let started = Instant::now();
    rack.start_daemons()?;
    for (name, number) in NODES {
        let router = rack.router()?;
        report.wait(&format!("session with {name} Established, says tor-1"), SOON, || {
            Ok(router.sessions()?.get(&address(number)).is_some_and(|state| state == "Established"))
        })?;
    }
    report.measure("daemons started → all sessions of tor-1 Established", time(started.elapsed()));
    for (name, _) in NODES {
        let daemons = rack.daemons_mut(name)?;
        let mut last = Vec::new();
        report
            .wait(&format!("{name}: tor-1 and both other nodes Established, says bgpd"), SOON, || {
                last = daemons.sessions()?;
                Ok(last.len() == NODES.len() && last.iter().all(|(_, state)| state == "Established"))
            })
            .with_context(|| format!("sessions: {last:?}"))?;
        daemons.wait_ready(SOON)?;
        report.held(&format!("{name}: felix is in sync"));
    }
    report.measure("daemons started → everything up", time(started.elapsed()));
    let (router, prefix) = (rack.router()?, "203.0.113.0/24");
    for (name, _) in NODES {
        let node = rack.node(name)?;
        report.wait(&format!("{name} has the route to the client's network {prefix} in its kernel"), SOON, || {
            Ok(node.kernel_routes("bgp")?.get(prefix).is_some_and(|via| via == &["192.0.2.1"]))
        })?;
        report.check(&format!("{name} reaches the client"), node.ping(CLIENT.into())?)?;
    }
    report.check("tor-1 has no route to a pod yet", !router.routes()?.keys().any(|p| p.starts_with("10.65.")))
}
