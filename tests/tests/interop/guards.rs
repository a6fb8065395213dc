//! What no peer may announce: it is refused, the reason is named, and the kernel stays as it was.

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, nodes},
    test,
};

use super::cluster::{blocks, status, three, tor};

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![
        test("a_router_cannot_take_what_is_the_nodes_own", &needs, hijack),
        test("a_mesh_peer_may_announce_pools_only", &needs, mesh_peer),
        test("what_no_router_may_announce_is_refused", &[Kind::GoBgp.needs(), Kind::Tortie.needs()], martians),
    ]
}

fn hijack(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let mut tor = tor(&three.cluster, |config| config)?;
    let (a, b) = (&three.workers[0], &three.workers[1]);
    status(a).wait_kernel("203.0.113.0/24", &[addresses(1).0])?;
    let own = blocks(a)?;
    let block = own.iter().find(|(block, _)| !block.contains(':')).context("no IPv4 block")?.0.clone();
    let block_v6 = own.iter().find(|(block, _)| block.contains(':')).context("no IPv6 block")?.0.clone();
    let (network, network_v6) = (block.trim_end_matches("/26"), block_v6.trim_end_matches("/122"));
    let others = blocks(b)?;
    for (block, next_hop) in &others {
        status(a).wait_kernel(block, &[*next_hop])?;
    }
    let pod = three.pods[0].ipv4()?;
    let before = a.node().kernel_routes("bgp")?;
    let pods_before = a.pod_routes()?;
    for (prefix, reason) in [
        (format!("{network}/27"), "OwnBlock"),
        (format!("{pod}/32"), "OwnBlock"),
        (block.clone(), "OwnBlock"),
        (format!("{network_v6}/124"), "OwnBlock"),
        ("192.0.2.11/32".to_owned(), "NodeAddress"),
        ("192.0.2.12/32".to_owned(), "NodeAddress"),
        ("2001:db8::b/128".to_owned(), "NodeAddress"),
    ] {
        tor.announce(&prefix)?;
        status(a).wait_why(&prefix, "tor", reason).with_context(|| prefix.clone())?;
    }
    // Node b knows whose block it is: parts of it are refused, the whole loses against its owner's word.
    status(b).wait_why(&format!("{network}/27"), "tor", "InsideBlock")?;
    status(b).wait_why(&format!("{pod}/32"), "tor", "InsideBlock")?;
    status(b).wait_why(&format!("{network_v6}/124"), "tor", "InsideBlock")?;
    status(b).wait_why(&block, "tor", "LocalPref")?;
    let after = a.node().kernel_routes("bgp")?;
    ensure!(before == after, "the kernel has changed: {before:?} {after:?}");
    ensure!(pods_before == a.pod_routes()?, "pod routes have changed");
    ensure!(three.pods[1].inside().ping(pod)?, "the pod cannot be reached any more");
    // A refused prefix does not cost the session, and an external peer may announce a default route.
    tor.announce("0.0.0.0/0")?;
    status(a).wait_kernel("0.0.0.0/0", &[addresses(1).0])
}

fn mesh_peer(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let a = &three.workers[0];
    for name in ["b", "c"] {
        status(a).wait_established(name)?;
    }
    // A node that runs something else: BIRD with the cluster's AS number.
    let node = three.cluster.outsider("rogue", 20)?;
    let manifest = "apiVersion: v1\nkind: Node\nmetadata:\n  name: rogue\n  annotations:\n    \
                    projectcalico.org/IPv4Address: 192.0.2.20/24\n";
    three.cluster.write("node-rogue.yaml", manifest)?;
    let mut config = Config::new(64512, [192, 0, 2, 20].into());
    for prefix in ["0.0.0.0/0", "198.51.100.0/24", "10.65.200.0/26", "192.0.2.12/32"] {
        config = config.network(prefix);
    }
    config = config.peer(Peer::new(addresses(11).0, 64512));
    let rogue = Router::start(Kind::Bird, &node, config)?;
    status(a).wait_established("rogue")?;
    rogue.wait_established(addresses(11).0, SOON)?;
    // What it may announce: a block of a pool.
    status(a).wait_kernel("10.65.200.0/26", &[addresses(20).0])?;
    for (prefix, reason) in
        [("0.0.0.0/0", "DefaultRoute"), ("198.51.100.0/24", "OutsidePools"), ("192.0.2.12/32", "NodeAddress")]
    {
        status(a).wait_why(prefix, "rogue", reason)?;
    }
    let kernel = a.node().kernel_routes("bgp")?;
    for prefix in ["0.0.0.0/0", "198.51.100.0/24", "192.0.2.12/32"] {
        ensure!(!kernel.contains_key(prefix), "{prefix} is in the kernel: {kernel:?}");
    }
    Ok(())
}

/// BIRD and FRR would not announce these; GoBGP does what it is told.
fn martians(lab: &Lab) -> Result<()> {
    let [one, two] = nodes(lab, ["tortie", "gobgp"])?;
    let config = Config::new(65001, [192, 0, 2, 1].into()).peer(Peer::new(addresses(2).0, 65002));
    let tortie = Router::start(Kind::Tortie, &one, config)?;
    let mut config = Config::new(65002, [192, 0, 2, 2].into()).peer(Peer::new(addresses(1).0, 65001));
    config.ipv6_next_hop = Some(addresses(2).1);
    let mut gobgp = Router::start(Kind::GoBgp, &two, config)?;
    let status = Status::of_router(&tortie);
    status.wait_established("192.0.2.2")?;
    for prefix in ["127.0.0.0/8", "127.0.0.1/32", "224.0.0.0/4", "0.0.0.0/8", "::1/128", "fe80::/10", "ff00::/8"] {
        gobgp.announce(prefix)?;
        status.wait_why(prefix, "192.0.2.2", "Martian").with_context(|| prefix.to_owned())?;
    }
    gobgp.announce("203.0.113.0/24")?;
    status.wait_kernel("203.0.113.0/24", &[addresses(2).0])?;
    let kernel = one.kernel_routes("bgp")?;
    ensure!(kernel.len() == 1, "in the kernel: {kernel:?}");
    Ok(())
}
