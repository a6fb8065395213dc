//! A peer dies: with graceful restart its routes stay until it is back, without they go.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use fabric::{Lab, router::Kind, wait_until};
use tests::{
    Test,
    speakers::{SOON, addresses, list, number, text},
    test,
};

use super::lab::{Transit, transit};

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![
        test("routes_of_a_peer_without_graceful_restart_go_when_it_dies", &needs, without),
        test("routes_of_a_restarting_bird_stay_and_stale_ones_go_at_its_end_of_rib", &needs, bird_restarts),
        test("routes_of_a_restarting_frr_stay", &needs, frr_restarts),
    ]
}

fn without(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |kind, config| {
        if kind == Kind::Bird {
            config.graceful_restart = false;
            config.peers[0].extra.push("graceful restart off;".to_owned());
        }
    })?;
    let (gone, gone_v6) = (transit.remotes[0].prefix(), transit.remotes[0].prefix_v6());
    transit.remotes[1].router.wait_route(&gone, &[addresses(1).0], SOON)?;
    transit.remotes[0].router.kill()?;
    transit.status.wait_kernel(&gone, &[])?;
    transit.status.wait_kernel(&gone_v6, &[])?;
    transit.remotes[1].router.wait_route(&gone, &[], SOON)?;
    transit.status.wait_kernel(&transit.remotes[1].prefix(), &[addresses(3).0])
}

/// Stale routes that tortie holds of a peer.
fn stale(transit: &Transit, peer: &str) -> Result<u64> {
    let peer = transit.status.peer(peer)?;
    Ok(list(&peer, "families").iter().map(|family| number(family, "/stale")).sum())
}

fn bird_restarts(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |kind, config| {
        if kind == Kind::Bird {
            config.networks.insert("192.88.99.0/24".to_owned());
        }
    })?;
    transit.status.wait_kernel("192.88.99.0/24", &[addresses(2).0])?;
    // BIRD empties its own kernel when it comes back; only tortie's is on trial.
    let answers =
        "route add 198.18.0.0/24 via 192.0.2.1 metric 9999\nroute add 2001:db8:18::/64 via 2001:db8::1 metric 9999\n";
    transit.remotes[0].router.node().ip_batch(answers)?;
    let streams = transit.traffic()?;
    transit.remotes[0].router.kill()?;
    let peer = transit.status.wait_peer("192.0.2.2", "lost", |peer| text(peer, "state") != "Established")?;
    ensure!(text(&peer, "gracefulRestart") == "helper" && stale(&transit, "192.0.2.2")? == 3, "{peer}");
    Transit::let_pass(&streams, 100)?;
    ensure!(transit.tortie.node().kernel_routes("bgp")?.contains_key("192.88.99.0/24"), "a stale route left early");

    // It comes back without one of its prefixes, and in recovery (-R), which says that its forwarding went on.
    let bird = &mut transit.remotes[0].router;
    let told = bird.withdraw("192.88.99.0/24").err().context("a dead BIRD took a command")?;
    let folder = bird.node().directory().join("bird");
    let mut command = Command::new("bird");
    command.args(["-R", "-f", "-c"]).arg(folder.join("bird.conf")).arg("-s").arg(folder.join("bird.ctl"));
    let _bird = bird.node().spawn("bird-again", command).context(told)?;
    transit.status.wait_established("192.0.2.2")?;
    transit.status.wait_kernel("192.88.99.0/24", &[])?;
    wait_until("nothing is stale", SOON, || Ok(stale(&transit, "192.0.2.2")? == 0))?;
    Transit::let_pass(&streams, 100)?;
    Transit::ensure_lossless(streams)?;
    let removed = transit.removed();
    ensure!(removed.len() == 1 && removed[0].contains("192.88.99.0/24"), "removed on the way: {removed:?}");
    Ok(())
}

fn frr_restarts(lab: &Lab) -> Result<()> {
    let mut transit = transit(lab, |_, _| {})?;
    let frr = transit.remotes[1].router.processes().iter_mut().find(|process| process.name() == "frr-bgpd");
    frr.context("FRR's bgpd")?.kill()?;
    let peer = transit.status.wait_peer("192.0.2.3", "lost", |peer| text(peer, "state") != "Established")?;
    // It also announces what it has from tortie itself; that counts too.
    ensure!(text(&peer, "gracefulRestart") == "helper" && stale(&transit, "192.0.2.3")? >= 2, "{peer}");
    let frr = transit.remotes[1].router.processes().iter_mut().find(|process| process.name() == "frr-bgpd");
    frr.context("FRR's bgpd")?.restart()?;
    transit.status.wait_established("192.0.2.3")?;
    wait_until("nothing is stale", SOON, || Ok(stale(&transit, "192.0.2.3")? == 0))?;
    transit.wait_converged()?;
    let removed = transit.removed();
    ensure!(removed.is_empty(), "removed on the way: {removed:?}");
    Ok(())
}
