//! tortie itself dies or stops: peers that help keep its routes, its kernel keeps forwarding, no packet is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use fabric::{Capture, Lab, router::Kind, wait_until};
use tests::{
    Test,
    speakers::{SOON, addresses, list, text},
    test,
};

use super::lab::{Transit, transit};

/// NOTIFICATION messages at the start of a segment.
const NOTIFICATIONS: &str =
    "tcp port 179 and tcp[((tcp[12] & 0xf0) >> 2) + 18] = 3 and tcp[((tcp[12] & 0xf0) >> 2)] = 255";
/// Restart time plus what an idle machine needs.
const SWEPT: Duration = Duration::from_secs(130);

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![
        // The longest comes first: it runs beside the others.
        test("routes_that_nobody_announces_again_leave_the_kernel_after_a_restart", &needs, sweep),
        test("a_killed_bgpd_comes_back_without_losing_a_packet", &needs, killed),
        test("a_stopped_bgpd_sends_no_notification_and_loses_no_packet", &needs, stopped),
    ]
}

fn killed(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |_, _| {})?;
    let streams = transit.traffic()?;
    for _ in 0..2 {
        transit.tortie.kill()?;
        transit.ensure_helped()?;
        ensure_forwards(&transit)?;
        Transit::let_pass(&streams, 100)?;
        transit.tortie.restart()?;
        wait_settled(&transit)?;
        Transit::let_pass(&streams, 100)?;
    }
    Transit::ensure_lossless(streams)?;
    let removed = transit.removed();
    ensure!(removed.is_empty(), "removed on the way: {removed:?}");
    Ok(())
}

fn stopped(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |_, _| {})?;
    let streams = transit.traffic()?;
    let capture = Capture::start(transit.tortie.node(), "eth0")?;
    for process in transit.tortie.processes() {
        ensure!(process.terminate(SOON)?.success(), "a planned stop is no failure");
    }
    transit.ensure_helped()?;
    ensure_forwards(&transit)?;
    let notifications = capture.lines(NOTIFICATIONS)?;
    ensure!(notifications.is_empty(), "a planned stop says nothing: {notifications:?}");
    transit.tortie.restart()?;
    wait_settled(&transit)?;
    Transit::let_pass(&streams, 100)?;
    Transit::ensure_lossless(streams)?;
    let removed = transit.removed();
    ensure!(removed.is_empty(), "removed on the way: {removed:?}");
    Ok(())
}

fn sweep(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |kind, config| {
        if kind == Kind::Bird {
            config.networks.extend(["192.88.99.0/24".to_owned(), "2001:db8:99::/48".to_owned()]);
        }
    })?;
    transit.status.wait_kernel("192.88.99.0/24", &[addresses(2).0])?;
    transit.status.wait_kernel("2001:db8:99::/48", &[addresses(2).1])?;
    // Another speaker's routes: the same protocol, or the same metric.
    let foreign = "route add 198.51.100.0/24 via 192.0.2.2 proto bgp metric 20\n\
                   route add 198.51.101.0/24 via 192.0.2.2 proto static metric 1024\n";
    transit.tortie.node().ip_batch(foreign)?;
    transit.tortie.kill()?;
    for prefix in ["192.88.99.0/24", "2001:db8:99::/48"] {
        transit.remotes[0].router.withdraw(prefix)?;
    }
    transit.tortie.restart()?;
    wait_settled(&transit)?;
    wait_until("stale routes leave the kernel", SWEPT, || {
        let routes = transit.tortie.node().kernel_routes("bgp")?;
        Ok(!routes.contains_key("192.88.99.0/24") && !routes.contains_key("2001:db8:99::/48"))
    })?;
    let removed = transit.removed();
    ensure!(removed.len() == 2, "only what nobody announces goes: {removed:?}");
    let node = transit.tortie.node();
    let foreign = [node.kernel_routes("bgp")?, node.kernel_routes("static")?];
    ensure!(foreign[0].contains_key("198.51.100.0/24"), "another speaker's route went: {:?}", foreign[0]);
    ensure!(foreign[1].contains_key("198.51.101.0/24"), "a static route went: {:?}", foreign[1]);
    Ok(())
}

/// tortie's node has every route while no bgpd runs on it.
fn ensure_forwards(transit: &Transit) -> Result<()> {
    let kernel = transit.tortie.node().kernel_routes("bgp")?;
    for remote in &transit.remotes {
        ensure!(kernel.contains_key(&remote.prefix()) && kernel.contains_key(&remote.prefix_v6()), "{kernel:?}");
    }
    Ok(())
}

/// Everybody has everything again, and no peer counts as restarting.
fn wait_settled(transit: &Transit) -> Result<()> {
    transit.wait_converged()?;
    wait_until("tortie has restarted", SOON, || {
        let reply = transit.status.ask(&["show", "peers"])?;
        Ok(list(&reply, "peers").iter().all(|peer| text(peer, "gracefulRestart").is_empty()))
    })
    .map(drop)
}
