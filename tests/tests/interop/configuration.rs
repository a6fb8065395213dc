//! What BGPConfiguration says of the nodes themselves, changed while they run: how their prefixes are announced, where
//! they listen, and that no session is touched.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need, PodSpec,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    cluster::{Cluster, Worker},
    seen::seen,
    speakers::{SOON, addresses, text},
    test,
};

use super::cluster::{POOLS, blocks, status};

pub(super) fn labs() -> Vec<Test> {
    vec![
        test(
            "prefix_advertisements_reach_frr_and_change_without_a_reset",
            &[Need::TORTIE, Kind::Frr.needs()],
            communities,
        ),
        test(
            "nodes_and_routers_are_reached_on_the_addresses_and_ports_they_listen_on",
            &[Need::TORTIE, Kind::Bird.needs()],
            places,
        ),
        test("what_is_logged_changes_while_bgpd_runs", &[Need::TORTIE], logs),
    ]
}

fn configuration(name: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// A node's IPv4 and IPv6 block.
fn both_blocks(worker: &Worker) -> Result<[String; 2]> {
    let mut found = Vec::new();
    wait_until(&format!("a block per family on {}", worker.node().name()), SOON, || {
        found = blocks(worker)?.into_iter().map(|(block, _)| block).collect();
        Ok(found.len() == 2)
    })?;
    found.sort_by_key(|block| block.contains(':'));
    found.try_into().ok().context("two blocks")
}

fn since(worker: &Worker, peer: &str) -> Result<String> {
    Ok(text(&status(worker).peer(peer)?, "since").to_owned())
}

fn communities(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let (a, b) = (cluster.worker("a", 11)?, cluster.worker("b", 12)?);
    a.pod(lab, &PodSpec::new("pod-a", &[]))?;
    b.pod(lab, &PodSpec::new("pod-b", &[]))?;
    let node = cluster.outsider("tor", 1)?;
    let peers = [11, 12].map(|number| Peer::new(addresses(number).0, 64512));
    let config = Config { peers: peers.to_vec(), ..Config::new(65001, [192, 0, 2, 1].into()) };
    let frr = Router::start(Kind::Frr, &node, config)?;
    cluster.write(
        "tor.yaml",
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
         spec: {peerIP: 192.0.2.1, asNumber: 65001}\n",
    )?;
    let mut before = Vec::new();
    for worker in [&a, &b] {
        status(worker).wait_established("tor")?;
        before.push(since(worker, "tor")?);
    }
    let wait = |prefix: &str, standard: &[&str], large: &[&str]| {
        let set = |values: &[&str]| values.iter().map(|&it| it.to_owned()).collect::<BTreeSet<_>>();
        let (standard, large) = (set(standard), set(large));
        let mut last = None;
        let waited = wait_until(&format!("{prefix} with {standard:?} and {large:?}"), SOON, || {
            let route = seen(&frr, prefix).ok();
            let same = route.as_ref().is_some_and(|it| it.communities == standard && it.large_communities == large);
            last = route;
            Ok(same)
        });
        waited.map(drop).with_context(|| format!("FRR has {last:?}"))
    };

    // A value, a name and a large value; the range of the pool, and one that holds no block.
    let spec = "communities: [{name: rack, value: \"65000:7\"}, {name: site, value: \"65000:1:2\"}], prefixAdvertisements: \
                [{cidr: 10.65.0.0/16, communities: [rack, site, \"64512:300\"]}, \
                 {cidr: \"fd65::/48\", communities: [\"64512:600\"]}, {cidr: 10.66.0.0/16, communities: [\"64512:9\"]}]";
    cluster.write("bgp.yaml", &configuration("default", spec))?;
    for worker in [&a, &b] {
        let [v4, v6] = both_blocks(worker)?;
        wait(&v4, &["64512:300", "65000:7"], &["65000:1:2"])?;
        wait(&v6, &["64512:600"], &[])?;
    }
    // One node has its own, in the place of all of the cluster's.
    let own = "prefixAdvertisements: [{cidr: 10.65.0.0/16, communities: [\"64512:12\"]}]";
    cluster.write("bgp-b.yaml", &configuration("node.b", own))?;
    let [[a4, _], [b4, b6]] = [both_blocks(&a)?, both_blocks(&b)?];
    wait(&b4, &["64512:12"], &[])?;
    wait(&b6, &[], &[])?;
    wait(&a4, &["64512:300", "65000:7"], &["65000:1:2"])?;
    cluster.remove("bgp-b.yaml")?;
    cluster.remove("bgp.yaml")?;
    wait(&a4, &[], &[])?;
    wait(&b4, &[], &[])?;
    ensure!([since(&a, "tor")?, since(&b, "tor")?] == before[..], "a session was touched");
    Ok(())
}

/// Local addresses and ports of the listening sockets that BGP may be on.
fn listening(worker: &Worker) -> Result<BTreeSet<String>> {
    let sockets = worker.node().run("ss", &["-Hltn", "( sport = :179 or sport = :1790 )"])?;
    Ok(sockets.lines().filter_map(|line| Some(line.split_whitespace().nth(3)?.to_owned())).collect())
}

fn places(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let (a, b) = (cluster.worker("a", 11)?, cluster.worker("b", 12)?);
    status(&a).wait_established("b")?;
    let before = since(&a, "b")?;
    let wait_listening = |worker: &Worker, addresses: [IpAddr; 2], port: u16| {
        let wanted = BTreeSet::from(addresses.map(|address| SocketAddr::new(address, port).to_string()));
        let mut last = BTreeSet::new();
        let waited = wait_until(&format!("{} listens on {wanted:?}", worker.node().name()), SOON, || {
            last = listening(worker)?;
            Ok(last == wanted)
        });
        waited.map(drop).with_context(|| format!("it listens on {last:?}"))
    };
    wait_listening(&a, [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], 179)?;
    cluster.write("bgp.yaml", &configuration("default", "bindMode: NodeIP"))?;
    wait_listening(&a, a.addresses(), 179)?;
    cluster.write("bgp-b.yaml", &configuration("node.b", "listenPort: 1790"))?;
    wait_listening(&b, b.addresses(), 1790)?;
    ensure!(since(&a, "b")? == before, "the session was touched");

    // A new session is dialled where the other node listens now.
    let off = "nodeToNodeMeshEnabled: false, bindMode: NodeIP";
    cluster.write("bgp.yaml", &configuration("default", off))?;
    wait_until("no mesh", SOON, || Ok(status(&a).peer_names()?.is_empty() && status(&b).peer_names()?.is_empty()))?;
    let only_a_dials = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: b}\n\
                        spec: {node: a, peerSelector: \"number == 'two'\", reversePeering: Manual}\n---\n\
                        apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: a}\n\
                        spec: {node: b, peerIP: 192.0.2.11, asNumber: 64512}\n";
    let [v4, v6] = b.addresses();
    let labelled = format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: b\n  labels: {{number: two}}\n  annotations:\n    \
         projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n"
    );
    cluster.write("node-b.yaml", &labelled)?;
    cluster.write("peers.yaml", only_a_dials)?;
    status(&a).wait_established("b")?;

    // A router on a port of its own, that hears one of the node's addresses only: the node's own, or what the kernel takes.
    a.node().add_address("eth0", "192.0.2.111/24")?;
    a.node().run("ip", &["route", "replace", "192.0.2.1/32", "dev", "eth0", "src", "192.0.2.111"])?;
    let node = cluster.outsider("tor", 1)?;
    let mut config = Config::new(65001, [192, 0, 2, 1].into());
    for number in [11, 111] {
        let extra = vec!["local port 1179;".to_owned()];
        config = config.peer(Peer { passive: true, extra, ..Peer::new(addresses(number).0, 64512) });
    }
    let bird = Router::start(Kind::Bird, &node, config)?;
    for (source, local) in [("UseNodeIP", 11), ("None", 111), ("UseNodeIP", 11)] {
        let peer = format!(
            "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: tor}}\n\
             spec: {{node: a, peerIP: \"192.0.2.1:1179\", asNumber: 65001, sourceAddress: {source}}}\n"
        );
        cluster.write("tor.yaml", &peer)?;
        let local: IpAddr = addresses(local).0;
        status(&a).wait_peer("tor", &format!("from {local}"), |peer| {
            text(peer, "state") == "Established" && text(peer, "localAddress") == local.to_string()
        })?;
        bird.wait_established(local, SOON)?;
    }
    ensure!(text(&status(&a).peer("b")?, "state") == "Established", "the other session was touched");
    Ok(())
}

fn logs(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let a = cluster.worker("a", 11)?;
    let write = |severity: &str, port: u16| {
        let spec = format!("logSeverityScreen: {severity}, listenPort: {port}");
        cluster.write("bgp.yaml", &configuration("default", &spec))
    };
    let wait_listening = |port: u16| {
        let there = || Ok(!a.node().run("ss", &["-Hltn", &format!("( sport = :{port} )")])?.is_empty());
        wait_until(&format!("bgpd listens on {port}"), SOON, there).map(drop)
    };
    let said = |port: u16| a.daemons.bgpd.log().contains(&format!("port={port}"));
    ensure!(said(179), "bgpd does not say where it listens: {}", a.daemons.bgpd.log());
    write("Warning", 1790)?;
    wait_listening(1790)?;
    write("Info", 1791)?;
    wait_until("bgpd says where it listens", SOON, || Ok(said(1791)))?;
    ensure!(!said(1790), "{}", a.daemons.bgpd.log());
    Ok(())
}
