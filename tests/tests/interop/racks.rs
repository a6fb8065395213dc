//! A network routed in every rack: nodes peer with their own top-of-rack router only, and hear of each other through the
//! routers (RFC 7938).

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need, Pod, PodSpec,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    cluster::{Cluster, Worker},
    speakers::{SOON, addresses},
    test,
};

use super::cluster::{POOLS, blocks, status};

/// Racks: the node and its number, the router, its number and its AS.
const RACKS: [(&str, u8, &str, u8, u32); 2] = [("a", 11, "tor-a", 1, 65001), ("b", 12, "tor-b", 2, 65002)];
const NO_MESH: &str = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
    spec: {nodeToNodeMeshEnabled: false}\n";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![
        test("nodes_of_one_as_in_two_racks_hear_each_other_once_their_own_as_is_allowed", &needs, one_as),
        test("nodes_of_an_as_per_rack_hear_each_other_through_the_routers", &needs, as_per_rack),
    ]
}

struct Racks<'lab> {
    cluster: Cluster<'lab>,
    workers: Vec<Worker>,
    pods: Vec<Pod>,
    _routers: Vec<Router>,
}

/// Starts both racks, without a mesh; `node_as` is that of each rack's node.
fn start(lab: &Lab, node_as: [u32; 2]) -> Result<Racks<'_>> {
    let cluster = Cluster::new(lab, POOLS)?;
    cluster.write("bgp.yaml", NO_MESH)?;
    let (mut workers, mut pods, mut routers) = (Vec::new(), Vec::new(), Vec::new());
    for ((node, number, router, router_number, router_as), own_as) in RACKS.into_iter().zip(node_as) {
        let machine = cluster.outsider(router, router_number)?;
        let mut config =
            Config::new(router_as, [192, 0, 2, router_number].into()).peer(Peer::new(addresses(number).0, own_as));
        for (_, _, _, other, other_as) in RACKS.into_iter().filter(|rack| rack.3 != router_number) {
            config = config.peer(Peer::new(addresses(other).0, other_as));
        }
        routers.push(Router::start(Kind::Bird, &machine, config)?);
        peer(&cluster, node, "")?;
        let worker = cluster.worker(node, number)?;
        pods.push(worker.pod(lab, &PodSpec::new(&format!("pod-{node}"), &[]))?);
        workers.push(worker);
    }
    Ok(Racks { cluster, workers, pods, _routers: routers })
}

/// Writes the BGPPeer of a rack.
fn peer(cluster: &Cluster<'_>, node: &str, more: &str) -> Result<()> {
    let (_, _, router, number, as_number) =
        RACKS.into_iter().find(|rack| rack.0 == node).with_context(|| format!("no rack of {node}"))?;
    let address = addresses(number).0;
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: {router}}}\n\
         spec: {{node: {node}, peerIP: {address}, asNumber: {as_number}{more}}}\n"
    );
    cluster.write(&format!("{router}.yaml"), &text)
}

impl Racks<'_> {
    /// Waits until each node's kernel leads to the block of the other, and the pods reach each other.
    fn wait_connected(&self) -> Result<()> {
        for (own, other) in [(0, 1), (1, 0)] {
            let (own, other) = (&self.workers[own], &self.workers[other]);
            let mut found = Vec::new();
            wait_until(&format!("blocks of {}", other.node().name()), SOON, || {
                found = blocks(other)?;
                Ok(found.len() == 2)
            })?;
            for (block, _) in found {
                wait_until(&format!("{block} on {}", own.node().name()), SOON, || {
                    Ok(own.node().kernel_routes("bgp")?.contains_key(&block))
                })?;
            }
        }
        for (from, to) in [(0, 1), (1, 0)] {
            for target in [self.pods[to].ipv4()?, self.pods[to].ipv6()?] {
                wait_until(&format!("pod {from} reaches {target}"), SOON, || self.pods[from].inside().ping(target))?;
            }
        }
        Ok(())
    }
}

fn one_as(lab: &Lab) -> Result<()> {
    let racks = start(lab, [64512; 2])?;
    let (a, b) = (&racks.workers[0], &racks.workers[1]);
    status(a).wait_established("tor-a")?;
    status(b).wait_established("tor-b")?;
    wait_until("a block of b", SOON, || Ok(blocks(b)?.len() == 2))?;
    for (block, _) in blocks(b)? {
        status(a).wait_why(&block, "tor-a", "LoopAsPath")?;
    }
    ensure!(a.node().kernel_routes("bgp")?.is_empty(), "a path with the node's own AS is not used");
    let since = status(a).peer("tor-a")?["since"].clone();
    for rack in RACKS {
        peer(&racks.cluster, rack.0, ", numAllowedLocalASNumbers: 1")?;
    }
    racks.wait_connected()?;
    let now = status(a).peer("tor-a")?["since"].clone();
    ensure!(now == since, "the session was reset: {since} {now}");
    Ok(())
}

fn as_per_rack(lab: &Lab) -> Result<()> {
    let node_as = [64601, 64602];
    let racks = start(lab, node_as)?;
    for ((name, number, ..), as_number) in RACKS.into_iter().zip(node_as) {
        let (v4, v6) = addresses(number);
        let manifest = format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  annotations:\n    \
             projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n    \
             projectcalico.org/ASNumber: \"{as_number}\"\n"
        );
        racks.cluster.write(&format!("node-{name}.yaml"), &manifest)?;
    }
    racks.wait_connected()
}
