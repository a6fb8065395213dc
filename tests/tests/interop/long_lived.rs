//! Long-lived graceful restart (RFC 9494): tortie keeps a BIRD that is away, BIRD and FRR keep a tortie that is.

use std::{net::IpAddr, time::Instant};

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    seen::seen,
    speakers::{SOON, Status, addresses, list, nodes, text},
    test,
};

const PREFIX: &str = "203.0.113.0/24";
const LLGR_STALE: [&str; 2] = ["65535:6", "llgr-stale"];

pub(super) fn labs() -> Vec<Test> {
    let (bird, frr, gobgp, tortie) = (Kind::Bird.needs(), Kind::Frr.needs(), Kind::GoBgp.needs(), Kind::Tortie.needs());
    vec![
        test("a_bird_away_for_long_leaves_a_last_resort", &[bird, frr, gobgp, tortie], away),
        test("bird_keeps_a_tortie_that_is_away_for_long_until_it_is_back", &[bird, tortie], |lab| {
            kept(lab, Kind::Bird, "long lived graceful restart on;")
        }),
        test("frr_keeps_a_tortie_that_is_away_for_long_until_it_is_back", &[frr, tortie], |lab| {
            kept(lab, Kind::Frr, "bgp long-lived-graceful-restart stale-time 60")
        }),
    ]
}

fn config(number: u8) -> Config {
    Config::new(65000 + u32::from(number), [192, 0, 2, number].into())
}

fn peer(number: u8, extra: &str) -> Peer {
    let mut peer = Peer::new(addresses(number).0, 65000 + u32::from(number));
    peer.extra.extend((!extra.is_empty()).then(|| extra.to_owned()));
    peer
}

fn is_last_resort(router: &Router) -> Result<bool> {
    let seen = seen(router, PREFIX)?;
    Ok(seen.communities.iter().any(|community| LLGR_STALE.contains(&community.as_str())))
}

/// BIRD (1) announces to tortie (2), which tells FRR (3), which knows LLGR, and GoBGP (4), which does not.
fn away(lab: &Lab) -> Result<()> {
    let [one, two, three, four] = nodes(lab, ["bird", "tortie", "frr", "gobgp"])?;
    let long_lived = "longLivedRestart: {ipv4: {staleTime: 60}}";
    let mut bird =
        config(1).peer(peer(2, "graceful restart time 3; long lived graceful restart on; long lived stale time 12;"));
    bird.graceful_restart = true;
    let mut bird = Router::start(Kind::Bird, &one, bird.network(PREFIX))?;
    let frr = config(3).peer(peer(2, "bgp long-lived-graceful-restart stale-time 60"));
    let frr = Router::start(Kind::Frr, &three, frr)?;
    let gobgp = Router::start(Kind::GoBgp, &four, config(4).peer(peer(2, "")))?;
    let tortie = config(2).peer(peer(1, long_lived)).peer(peer(3, long_lived)).peer(peer(4, long_lived));
    let tortie = Router::start(Kind::Tortie, &two, tortie)?;
    let status = Status::of_router(&tortie);
    let us = [addresses(2).0];
    status.wait_kernel(PREFIX, &[addresses(1).0])?;
    frr.wait_route(PREFIX, &us, SOON)?;
    gobgp.wait_route(PREFIX, &us, SOON)?;
    ensure!(!is_last_resort(&frr)?, "nothing is stale yet");
    bird.kill()?;
    let begun = Instant::now();
    wait_until("FRR has a last resort", SOON, || is_last_resort(&frr))?;
    ensure!(begun.elapsed().as_secs() >= 2, "the restart time comes first");
    gobgp.wait_route(PREFIX, &[], SOON)?;
    let (_, explained) = status.run(&["explain", PREFIX])?;
    ensure!(explained.contains("192.0.2.4: LongLivedStale"), "explain names the rule: {explained}");
    let reply = status.ask(&["show", "routes"])?;
    let route = list(&reply, "routes").iter().find(|route| text(route, "prefix") == PREFIX).cloned();
    ensure!(route.is_some_and(|it| it.to_string().contains("llgr-stale")), "in our own table: {reply}");
    status.wait_kernel(PREFIX, &[addresses(1).0])?;
    // It goes when BIRD's time is over.
    frr.wait_route(PREFIX, &[], SOON)?;
    ensure!(begun.elapsed().as_secs() >= 12, "too early");
    status.wait_kernel(PREFIX, &[])
}

/// The other one (1) keeps the route of tortie (2).
fn kept(lab: &Lab, kind: Kind, extra: &str) -> Result<()> {
    let [one, two] = nodes(lab, ["other", "tortie"])?;
    let mut other = config(1).peer(peer(2, extra));
    other.graceful_restart = true;
    let other = Router::start(kind, &one, other)?;
    let options =
        "gracefulRestart: {restartTime: 3}\n  longLivedRestart: {ipv4: {staleTime: 60}, ipv6: {staleTime: 60}}";
    let mut tortie = Router::start(Kind::Tortie, &two, config(2).peer(peer(1, options)).network(PREFIX))?;
    let us: [IpAddr; 1] = [addresses(2).0];
    other.wait_route(PREFIX, &us, SOON)?;
    tortie.kill()?;
    wait_until(&format!("{kind} has a last resort"), SOON, || is_last_resort(&other))?;
    tortie.restart()?;
    wait_until(&format!("{kind} has an ordinary route again"), SOON, || Ok(!is_last_resort(&other)?))?;
    other.wait_route(PREFIX, &us, SOON)?;
    Status::of_router(&tortie).wait_established("192.0.2.1").map(drop)
}
