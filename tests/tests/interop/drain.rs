//! Graceful shutdown (RFC 8326): what the others see of a tortie that is drained, and of one that drains before it ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need, PodSpec,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use nix::sys::signal::Signal;
use tests::{
    Test,
    cluster::Cluster,
    seen::{birdc, seen},
    speakers::{SOON, Status, addresses, nodes, text},
    test,
};

use super::cluster::{POOLS, blocks, status};

const BIRD: u32 = 65001;
const TORTIE: u32 = 65002;
const PREFIX: &str = "203.0.113.0/24";
const GRACEFUL_SHUTDOWN: [&str; 2] = ["65535:0", "graceful-shutdown"];

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![
        test("a_drained_router_is_a_last_resort_and_then_leaves", &needs, drained),
        test(
            "a_cordoned_node_that_asks_for_it_is_a_last_resort_until_it_is_back",
            &[Need::TORTIE, Kind::Frr.needs()],
            cordoned,
        ),
    ]
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

fn cordoned(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let a = cluster.worker("a", 11)?;
    a.pod(lab, &PodSpec::new("pod-a", &[]))?;
    let node = cluster.outsider("tor", 1)?;
    let config = Config::new(BIRD, [192, 0, 2, 1].into()).peer(Peer::new(addresses(11).0, 64512));
    let frr = Router::start(Kind::Frr, &node, config)?;
    cluster.write(
        "tor.yaml",
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
         spec: {peerIP: 192.0.2.1, asNumber: 65001}\n",
    )?;
    let since = text(&status(&a).wait_established("tor")?, "since").to_owned();
    wait_until("two blocks", SOON, || Ok(blocks(&a)?.len() == 2))?;
    let [v4, v6] = a.addresses();
    for (annotation, unschedulable, drained) in [
        ("cordoned", false, false),
        ("cordoned", true, true),
        ("cordoned", false, false),
        ("true", false, true),
        ("false", true, false),
    ] {
        let manifest = format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  annotations:\n    projectcalico.org/IPv4Address: {v4}/24\n    \
             projectcalico.org/IPv6Address: {v6}/64\n    tortie.io/drain: \"{annotation}\"\nspec: {{unschedulable: {unschedulable}}}\n"
        );
        cluster.write("node-a.yaml", &manifest)?;
        for (block, _) in blocks(&a)? {
            wait_until(&format!("{block} is a last resort: {drained}"), SOON, || {
                let seen = seen(&frr, &block)?;
                let tagged = seen.communities.iter().any(|it| GRACEFUL_SHUTDOWN.contains(&it.as_str()));
                Ok(tagged == drained)
            })?;
        }
    }
    ensure!(text(&status(&a).peer("tor")?, "since") == since, "the session was touched");
    Ok(())
}
