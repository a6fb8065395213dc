//! Nodes of a cluster, with a BIRD router beside them: who peers with whom, and what moves when manifests change.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need, Node, Pod, PodSpec,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    cluster::{Cluster, Worker},
    speakers::{SOON, Status, addresses, list, text},
    test,
};

pub(super) const POOLS: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: v4}\n\
    spec: {cidr: 10.65.0.0/16, blockSize: 26, natOutgoing: true}\n---\n\
    apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: v6}\n\
    spec: {cidr: \"fd65::/48\", blockSize: 122}\n";
const TOR_PEER: &str = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
    spec: {peerIP: 192.0.2.1, asNumber: 65001}\n";
const NODES: [&str; 3] = ["a", "b", "c"];
/// Number of the first node on the switch; the router is 1.
const FIRST: u8 = 11;

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![
        test("pods_of_a_mesh_reach_each_other", &needs, mesh),
        test("a_bgp_peer_comes_changes_and_goes_without_touching_other_sessions", &needs, peer_lives),
        test("a_mesh_that_is_switched_off_takes_its_routes_along", &needs, mesh_off),
        test("a_broken_manifest_is_named_and_everything_goes_on", &needs, broken),
        test("a_node_that_reflects_connects_nodes_without_a_mesh", &needs, reflector),
    ]
}

/// A cluster of three with a pod on each.
pub(super) struct Three<'lab> {
    pub(super) cluster: Cluster<'lab>,
    pub(super) workers: Vec<Worker>,
    pub(super) pods: Vec<Pod>,
}

/// A node's bgpd.
pub(super) fn status(worker: &Worker) -> Status {
    Status::of_node(worker.node())
}

/// Starts it; the mesh is on.
pub(super) fn three(lab: &Lab) -> Result<Three<'_>> {
    let cluster = Cluster::new(lab, POOLS)?;
    let mut three = Three { cluster, workers: Vec::new(), pods: Vec::new() };
    for (number, name) in (FIRST..).zip(NODES) {
        three.workers.push(three.cluster.worker(name, number)?);
    }
    for (worker, name) in three.workers.iter().zip(["pod-a", "pod-b", "pod-c"]) {
        three.pods.push(worker.pod(lab, &PodSpec::new(name, &[]))?);
    }
    Ok(three)
}

/// Starts BIRD (1, AS 65001) and makes it a BGPPeer of all nodes.
pub(super) fn tor(cluster: &Cluster<'_>, adjust: impl FnOnce(Config) -> Config) -> Result<Router> {
    let node = cluster.outsider("tor", 1)?;
    let mut config = Config::new(65001, [192, 0, 2, 1].into()).network("203.0.113.0/24");
    for number in (FIRST..).take(NODES.len()) {
        config = config.peer(Peer::new(addresses(number).0, 64512));
    }
    let tor = Router::start(Kind::Bird, &node, adjust(config))?;
    cluster.write("tor.yaml", TOR_PEER)?;
    Ok(tor)
}

/// Blocks that a node's bgpd announces of its own, the other nodes' next hops for them.
pub(super) fn blocks(worker: &Worker) -> Result<Vec<(String, IpAddr)>> {
    let [v4, v6] = worker.addresses();
    let reply = status(worker).ask(&["show", "routes"])?;
    let own = list(&reply, "routes").iter().filter(|route| text(route, "peer") == "local");
    let own = own.map(|route| text(route, "prefix").to_owned());
    Ok(own.map(|prefix| if prefix.contains(':') { (prefix, v6) } else { (prefix, v4) }).collect())
}

/// Waits until every node's kernel leads to the blocks of every other.
pub(super) fn wait_routes(workers: &[Worker]) -> Result<()> {
    for owner in workers {
        let mut found = Vec::new();
        wait_until(&format!("a block per family on {}", owner.node().name()), SOON, || {
            found = blocks(owner)?;
            Ok(found.len() == 2)
        })?;
        for other in workers.iter().filter(|other| other.node().name() != owner.node().name()) {
            for (block, next_hop) in &found {
                status(other).wait_kernel(block, &[*next_hop])?;
            }
        }
    }
    Ok(())
}

impl Three<'_> {
    fn wait_routes(&self) -> Result<()> {
        wait_routes(&self.workers)
    }

    fn wait_no_routes(&self, node: &Node) -> Result<()> {
        let mut left = BTreeMap::new();
        let waited = wait_until(&format!("no route by BGP on {}", node.name()), SOON, || {
            left = node.kernel_routes("bgp")?;
            Ok(left.is_empty())
        });
        waited.map(drop).with_context(|| format!("{left:?}"))
    }

    fn wait_pings(&self) -> Result<()> {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let (from, to) = (self.pods[from].inside(), &self.pods[to]);
            for target in [to.ipv4()?, to.ipv6()?] {
                wait_until(&format!("{} reaches {target}", from.name()), SOON, || from.ping(target))?;
            }
        }
        Ok(())
    }

    /// Since when each session of each node is what it is.
    fn since(&self) -> Result<BTreeMap<(String, String), (String, String)>> {
        let mut since = BTreeMap::new();
        for worker in &self.workers {
            for peer in list(&status(worker).ask(&["show", "peers"])?, "peers") {
                let key = (worker.node().name().to_owned(), text(peer, "name").to_owned());
                since.insert(key, (text(peer, "state").to_owned(), text(peer, "since").to_owned()));
            }
        }
        Ok(since)
    }

    fn ensure_untouched(&self, before: &BTreeMap<(String, String), (String, String)>) -> Result<()> {
        let now = self.since()?;
        for (session, was) in before {
            ensure!(now.get(session) == Some(was), "{session:?} was {was:?} and is {:?}", now.get(session));
        }
        Ok(())
    }
}

fn mesh(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    for worker in &three.workers {
        let mut others = NODES.to_vec();
        others.retain(|name| name != &worker.node().name());
        for other in &others {
            status(worker).wait_established(other)?;
        }
        ensure!(status(worker).peer_names()? == others, "one session per pair: {:?}", status(worker).peer_names()?);
        let sockets = worker.node().run("ss", &["-Htn", "state", "established", "( sport = :179 or dport = :179 )"])?;
        ensure!(sockets.lines().count() == others.len(), "one connection per pair: {sockets}");
    }
    three.wait_routes()?;
    three.wait_pings()
}

fn peer_lives(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    three.wait_routes()?;
    let mesh = three.since()?;
    ensure!(mesh.len() == 6 && mesh.values().all(|(state, _)| state == "Established"), "{mesh:?}");

    // It comes.
    let tor = tor(&three.cluster, |config| config)?;
    for worker in &three.workers {
        status(worker).wait_established("tor")?;
        status(worker).wait_kernel("203.0.113.0/24", &[addresses(1).0])?;
        for (block, next_hop) in blocks(worker)? {
            tor.wait_route(&block, &[next_hop], SOON)?;
        }
    }
    three.ensure_untouched(&mesh)?;

    // What OPEN does not negotiate changes without a reset.
    let all = three.since()?;
    let keep = TOR_PEER.replace("asNumber: 65001", "asNumber: 65001, nextHopMode: Keep, numAllowedLocalASNumbers: 1");
    three.cluster.write("tor.yaml", &keep)?;
    // A second peer makes the first change visible: both are read in order.
    let nobody = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: nobody}\n\
                  spec: {peerIP: 192.0.2.99, asNumber: 65099}\n";
    three.cluster.write("z-nobody.yaml", nobody)?;
    for worker in &three.workers {
        status(worker).wait_peer("nobody", "known", |_| true)?;
    }
    three.ensure_untouched(&all)?;
    three.cluster.remove("z-nobody.yaml")?;

    // Another AS number does: that session and no other.
    three.cluster.write("tor.yaml", &TOR_PEER.replace("65001", "65002"))?;
    for worker in &three.workers {
        status(worker).wait_peer("tor", "refused", |peer| {
            text(peer, "state") != "Established" && text(peer, "diagnosis").contains("BadPeerAs")
        })?;
        status(worker).wait_kernel("203.0.113.0/24", &[])?;
    }
    three.ensure_untouched(&mesh)?;
    three.cluster.write("tor.yaml", TOR_PEER)?;
    for worker in &three.workers {
        status(worker).wait_established("tor")?;
        status(worker).wait_kernel("203.0.113.0/24", &[addresses(1).0])?;
    }

    // It goes.
    three.cluster.remove("tor.yaml")?;
    for worker in &three.workers {
        status(worker).wait_kernel("203.0.113.0/24", &[])?;
        let names = status(worker).peer_names()?;
        ensure!(!names.contains(&"tor".to_owned()), "{names:?}");
    }
    wait_until("the router has no block", SOON, || Ok(tor.routes()?.is_empty()))?;
    three.ensure_untouched(&mesh)
}

fn mesh_off(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    three.wait_routes()?;
    // A node goes: its sessions go, the other two keep theirs.
    let between: BTreeMap<_, _> =
        three.since()?.into_iter().filter(|((node, peer), _)| node != "c" && peer != "c").collect();
    three.cluster.remove("node-c.yaml")?;
    for worker in &three.workers[..2] {
        let gone = blocks(&three.workers[2])?;
        for (block, _) in gone {
            status(worker).wait_kernel(&block, &[])?;
        }
        let names = status(worker).peer_names()?;
        ensure!(names.len() == 1, "node c is gone, peers {names:?}");
    }
    three.ensure_untouched(&between)?;

    let off = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
               spec: {nodeToNodeMeshEnabled: false}\n";
    three.cluster.write("bgp.yaml", off)?;
    for worker in &three.workers[..2] {
        three.wait_no_routes(worker.node())?;
        let names = status(worker).peer_names()?;
        ensure!(names.is_empty(), "peers without a mesh: {names:?}");
    }
    three.cluster.remove("bgp.yaml")?;
    for (owner, other) in [(0, 1), (1, 0)] {
        for (block, next_hop) in blocks(&three.workers[owner])? {
            status(&three.workers[other]).wait_kernel(&block, &[next_hop])?;
        }
    }
    Ok(())
}

fn broken(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let tor = tor(&three.cluster, |config| config)?;
    three.wait_routes()?;
    for worker in &three.workers {
        status(worker).wait_established("tor")?;
    }
    let before = three.since()?;
    for (broken, named) in [
        (TOR_PEER.replace("192.0.2.1,", "192.0.2.300,"), "spec.peerIP"),
        (TOR_PEER.replace("spec: {", "spec: {asNumber: ["), "tor.yaml"),
    ] {
        three.cluster.write("tor.yaml", &broken)?;
        for worker in &three.workers {
            let mut last = Vec::new();
            let waited = wait_until(&format!("{} names {named}", worker.node().name()), SOON, || {
                let reply = status(worker).ask(&["show", "peers"])?;
                let conditions = reply.pointer("/speaker/conditions").and_then(serde_json::Value::as_array).cloned();
                last = conditions.unwrap_or_default().iter().map(ToString::to_string).collect();
                Ok(last.iter().any(|c: &String| c.contains(named) && c.contains("tor.yaml")))
            });
            waited.with_context(|| format!("conditions: {last:?}"))?;
        }
        three.ensure_untouched(&before)?;
    }
    // Something else still gets through, and a repaired file ends the complaint.
    three.cluster.write("tor.yaml", TOR_PEER)?;
    for worker in &three.workers {
        wait_until("no complaint", SOON, || {
            let reply = status(worker).ask(&["show", "peers"])?;
            Ok(list(reply.get("speaker").context("no speaker")?, "conditions").is_empty())
        })?;
    }
    three.ensure_untouched(&before)?;
    ensure!(!tor.routes()?.is_empty(), "the router lost the blocks");
    three.wait_pings()
}

fn reflector(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    three.wait_routes()?;
    // Node a reflects, b and c are its clients, the mesh is off.
    let [v4, v6] = three.workers[0].addresses();
    let node = format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels: {{reflects: \"yes\"}}\n  annotations:\n    \
         projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n    \
         projectcalico.org/RouteReflectorClusterID: 224.0.0.1\n"
    );
    three.cluster.write("node-a.yaml", &node)?;
    let bgp = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
               spec: {nodeToNodeMeshEnabled: false}\n---\n\
               apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: to-reflectors}\n\
               spec: {nodeSelector: \"!has(reflects)\", peerSelector: \"has(reflects)\"}\n";
    three.cluster.write("bgp.yaml", bgp)?;
    for (worker, names, kind) in
        [(0, vec!["b", "c"], "client"), (1, vec!["a"], "reflector"), (2, vec!["a"], "reflector")]
    {
        let status = status(&three.workers[worker]);
        for name in &names {
            status.wait_peer(name, kind, |peer| text(peer, "state") == "Established" && text(peer, "kind") == kind)?;
        }
        // The sessions of the mesh stay until those with the reflector have everything.
        wait_until(&format!("peers {names:?}"), SOON, || Ok(status.peer_names()? == names))?;
    }
    three.wait_routes()?;
    // Between the clients the reflector is not in the path, and its mark is on the routes.
    for (block, next_hop) in blocks(&three.workers[2])? {
        let status = status(&three.workers[1]);
        status.wait_kernel(&block, &[next_hop])?;
        let reply = status.ask(&["show", "routes", &block])?;
        let route = list(&reply, "routes").first().context("no route")?;
        ensure!(text(route, "originatorId") == "192.0.2.13", "{route}");
        ensure!(list(route, "clusterList") == [serde_json::json!("224.0.0.1")], "{route}");
    }
    three.wait_pings()
}
