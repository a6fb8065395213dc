//! A router behind a gateway: a session and routes through a host route that belongs to the peer.

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    cluster::{Cluster, Worker},
    speakers::{SOON, addresses, wait_kernel},
    test,
};

use super::cluster::{POOLS, status};

/// On the router's loopback: no node has another way there.
const FAR: &str = "203.0.113.9";
const LEARNED: &str = "198.51.100.0/24";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_peer_behind_a_gateway_is_reached_as_long_as_it_is_a_peer", &needs, behind)]
}

/// Waits until the host routes to peers are these gateways.
fn wait_gateways(worker: &Worker, wanted: &[&str]) -> Result<()> {
    let mut last = None;
    let waited = wait_until(&format!("{FAR} via {wanted:?}"), SOON, || {
        let mut routes = worker.node().kernel_routes("81")?;
        last = routes.remove(&format!("{FAR}/32"));
        ensure!(routes.is_empty(), "routes to nobody: {routes:?}");
        Ok(last.clone().unwrap_or_default() == wanted)
    });
    waited.map(drop).with_context(|| format!("it has {last:?}"))
}

fn behind(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let mut a = cluster.worker("a", 11)?;
    let node = cluster.outsider("tor", 1)?;
    node.add_address("lo", &format!("{FAR}/32"))?;
    let extra = vec!["multihop 4;".to_owned(), format!("source address {FAR};")];
    let peer = Peer { extra, ..Peer::new(addresses(11).0, 64512) };
    let _bird =
        Router::start(Kind::Bird, &node, Config::new(65001, [192, 0, 2, 1].into()).peer(peer).network(LEARNED))?;

    let manifest = |more: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: far}}\n\
             spec: {{peerIP: {FAR}, asNumber: 65001{more}}}\n"
        )
    };
    cluster.write("far.yaml", &manifest(", reachableBy: 192.0.2.1"))?;
    wait_gateways(&a, &["192.0.2.1"])?;
    status(&a).wait_established("far")?;
    wait_kernel(a.node(), LEARNED, &[addresses(1).0])?;

    // The kernel takes it away with the link, and bgpd brings it back.
    a.node().run("ip", &["link", "set", "eth0", "down"])?;
    wait_gateways(&a, &[])?;
    a.node().run("ip", &["link", "set", "eth0", "up"])?;
    wait_gateways(&a, &["192.0.2.1"])?;
    status(&a).wait_established("far")?;

    // A bgpd that comes back knows it, whatever happened to the peer meanwhile.
    a.daemons.bgpd.kill()?;
    ensure!(a.node().kernel_routes("81")?.contains_key(&format!("{FAR}/32")), "the route went with bgpd");
    cluster.write("far.yaml", &manifest(", reachableBy: 192.0.2.2"))?;
    a.daemons.bgpd.restart()?;
    wait_gateways(&a, &["192.0.2.2"])?;
    cluster.write("far.yaml", &manifest(""))?;
    wait_gateways(&a, &[])?;
    cluster.write("far.yaml", &manifest(", reachableBy: 192.0.2.1"))?;
    status(&a).wait_established("far")?;
    cluster.remove("far.yaml")?;
    wait_gateways(&a, &[])
}
