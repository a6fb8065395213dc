//! GTSM: a peer that is farther away than it may be is not heard (RFC 5082).

use anyhow::{Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
};
use tests::{
    Test,
    cluster::Cluster,
    speakers::{addresses, number, text},
    test,
};

use super::cluster::{POOLS, status};

const NEAR: &str = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
    spec: {peerIP: 192.0.2.1, asNumber: 65001, ttlSecurity: 1}\n";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_peer_that_may_be_one_hop_away_is_heard_with_the_full_ttl_only", &needs, near)]
}

fn near(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let machine = cluster.outsider("tor", 1)?;
    let node = addresses(11).0;
    let config = |extra: &[&str]| {
        let mut peer = Peer::new(node, 64512);
        peer.extra = extra.iter().map(|line| (*line).to_owned()).collect();
        Config::new(65001, [192, 0, 2, 1].into()).network("203.0.113.0/24").peer(peer)
    };
    // BIRD sends what goes to a neighbour on the link with a TTL of 1, as if it came from 254 hops away.
    let far = Router::start(Kind::Bird, &machine, config(&[]))?;
    cluster.write("tor.yaml", NEAR)?;
    let worker = cluster.worker("a", 11)?;
    // What had arrived before the connection was accepted is read, an OPEN perhaps; nothing that comes later is.
    let tried = status(&worker).wait_peer("tor", "tried twice", |peer| number(peer, "/messagesSent/OPEN") >= 2)?;
    ensure!(text(&tried, "state") != "Established" && number(&tried, "/flaps") == 0, "{tried}");
    ensure!(worker.node().kernel_routes("bgp")?.is_empty(), "a route of a peer that is too far away");
    drop(far);

    let _near = Router::start(Kind::Bird, &machine, config(&["ttl security on;"]))?;
    status(&worker).wait_established("tor")?;
    status(&worker).wait_kernel("203.0.113.0/24", &[addresses(1).0])
}
