//! Graceful shutdown (RFC 8326): what the others see of a tortie that is drained, and of one that drains before it ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use nix::sys::signal::Signal;
use tests::{
    Test,
    seen::{birdc, seen},
    speakers::{SOON, Status, addresses, nodes},
    test,
};

const BIRD: u32 = 65001;
const TORTIE: u32 = 65002;
const PREFIX: &str = "203.0.113.0/24";
const GRACEFUL_SHUTDOWN: [&str; 2] = ["65535:0", "graceful-shutdown"];

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![test("a_drained_router_is_a_last_resort_and_then_leaves", &needs, drained)]
}

/// Whether a router has the prefix from a speaker that is about to go.
fn is_last_resort(router: &Router, internal: bool) -> Result<bool> {
    let seen = seen(router, PREFIX)?;
    let tagged = seen.communities.iter().any(|community| GRACEFUL_SHUTDOWN.contains(&community.as_str()));
    if internal && tagged {
        // FRR leaves a LOCAL_PREF of 0 out of its answer, or gives it.
        ensure!(seen.local_pref.unwrap_or(0) == 0, "LOCAL_PREF towards an internal peer: {seen:?}");
    }
    Ok(tagged)
}

/// BIRD (1) is an external peer of tortie (2), FRR (3) an internal one.
fn drained(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["bird", "tortie", "frr"])?;
    let config = |number: u8, local_as| Config::new(local_as, [192, 0, 2, number].into());
    let to_tortie = Peer::new(addresses(2).0, TORTIE);
    let bird = Router::start(Kind::Bird, &one, config(1, BIRD).peer(to_tortie.clone()))?;
    let frr = Router::start(Kind::Frr, &three, config(3, TORTIE).peer(to_tortie))?;
    let mut tortie = config(2, TORTIE).peer(Peer::new(addresses(1).0, BIRD)).peer(Peer::new(addresses(3).0, TORTIE));
    tortie.extra.push("drainTime: 6".to_owned());
    let mut tortie = Router::start(Kind::Tortie, &two, tortie.network(PREFIX))?;
    let status = Status::of_router(&tortie);
    let wait = |wanted: bool| {
        for (router, internal) in [(&bird, false), (&frr, true)] {
            router.wait_route(PREFIX, &[addresses(2).0], SOON)?;
            let what = format!("{}: last resort {wanted}", router.kind());
            wait_until(&what, SOON, || Ok(is_last_resort(router, internal)? == wanted))?;
        }
        anyhow::Ok(())
    };
    wait(false)?;
    for (command, wanted) in [(&["drain"][..], true), (&["drain", "--undo"], false)] {
        let (code, printed) = status.run(command)?;
        ensure!(code == 0, "{command:?}: {printed}");
        wait(wanted)?;
    }
    // The end drains first, says why, and is no restart: the route goes at once.
    tortie.processes().first().context("no process")?.signal(Signal::SIGTERM)?;
    wait(true)?;
    bird.wait_route(PREFIX, &[], Duration::from_secs(10))?;
    frr.wait_route(PREFIX, &[], Duration::from_secs(10))?;
    let said = birdc(&bird, "show protocols all peer0")?;
    ensure!(said.contains("Administrative shutdown") && said.contains("drained"), "BIRD was told: {said}");
    Ok(())
}
