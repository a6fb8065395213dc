//! Mesh and reflectors: who peers with whom, and that nothing is lost on the way from one to the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need, Pod, PodSpec,
    probe::{Stream, Target},
    wait_until,
};
use serde_json::Value;
use tests::{
    Test,
    cluster::{Cluster, Worker},
    speakers::{SOON, list, text},
    test,
};

use super::cluster::{POOLS, status, wait_routes};

/// Number of the first node on the switch.
const FIRST: u8 = 11;
/// As nodes rank in the election.
const RANKING: [&str; 5] = ["e", "c", "d", "b", "a"];
/// What many nodes turning at once may take on a busy machine.
const TURNED: Duration = Duration::from_secs(90);
const PING: Duration = Duration::from_millis(1);

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE];
    vec![
        test("from_mesh_to_reflectors_and_back_no_packet_between_pods_is_lost", &needs, there_and_back),
        test("reflectors_made_by_hand_in_any_order_lose_no_packet_between_pods", &needs, by_hand),
        test("reflectors_are_elected_serve_whoever_joins_and_may_die", &needs, elected),
    ]
}

/// Nodes with a pod each.
struct Nodes<'lab> {
    lab: &'lab Lab,
    cluster: Cluster<'lab>,
    workers: Vec<Worker>,
    pods: Vec<Pod>,
    /// A node that has died: it is still everybody's who reflects, and without a session.
    dead: Option<&'static str>,
}

fn automatic(above: u32) -> String {
    let terms = format!(
        r#"{{"above": {above}, "upTo": {above}, "count": 2, "settle": "3s", "linger": "5s", "failureDomainLabel": "rack"}}"#
    );
    format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata:\n  name: default\n  annotations:\n    \
         tortie.io/reflectors: '{terms}'\nspec: {{}}\n"
    )
}

fn manifest(worker: &Worker, more: &str) -> String {
    let [v4, v6] = worker.addresses();
    let name = worker.node().name();
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels: {{host: {name}}}\n  annotations:\n    \
         projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n{more}"
    )
}

impl<'lab> Nodes<'lab> {
    fn start(lab: &'lab Lab, configuration: &str, names: &[&str]) -> Result<Self> {
        let cluster = Cluster::new(lab, POOLS)?;
        cluster.write("bgp.yaml", configuration)?;
        let mut nodes = Self { lab, cluster, workers: Vec::new(), pods: Vec::new(), dead: None };
        names.iter().try_for_each(|name| nodes.join(name))?;
        Ok(nodes)
    }

    fn join(&mut self, name: &str) -> Result<()> {
        let number = FIRST + u8::try_from(self.workers.len())?;
        let worker = self.cluster.worker(name, number)?;
        self.pods.push(worker.pod(self.lab, &PodSpec::new(&format!("pod-{name}"), &[]))?);
        self.workers.push(worker);
        Ok(())
    }

    fn wait_routes(&self) -> Result<()> {
        wait_routes(&self.workers)
    }

    /// Pings between the pods of every two of these nodes: the answer takes the way back.
    fn ping(&self, names: &[&str]) -> Result<Vec<(String, Stream)>> {
        let mut streams = Vec::new();
        let pods: Vec<_> = self.workers.iter().zip(&self.pods).collect();
        let pods: Vec<_> = pods.into_iter().filter(|(worker, _)| names.contains(&worker.node().name())).collect();
        for (at, (from, pod)) in pods.iter().enumerate() {
            for (to, other) in pods.iter().skip(at + 1) {
                for (target, interval) in [(other.ipv4()?, PING), (other.ipv6()?, PING * 10)] {
                    let stream = Stream::start(pod.inside().namespace(), Target::Icmp(target), None, interval)?;
                    let name = format!("{} to {} ({target})", from.node().name(), to.node().name());
                    wait_until(&format!("{name}: answers"), SOON, || Ok(stream.so_far().answered >= 20))?;
                    streams.push((name, stream));
                }
            }
        }
        Ok(streams)
    }

    /// Waits until a node has exactly these peers, each of this kind and Established.
    fn wait_peers(&self, name: &str, wanted: &[(&str, &str)]) -> Result<()> {
        let worker = self.workers.iter().find(|worker| worker.node().name() == name).context("no such node")?;
        let mut last = Vec::new();
        let waited = wait_until(&format!("the peers of {name} are {wanted:?}"), TURNED, || {
            let reply = status(worker).ask(&["show", "peers"])?;
            let peer = |it: &Value| ["name", "kind", "state"].map(|key| text(it, key).to_owned());
            last = list(&reply, "peers").iter().map(peer).collect();
            last.retain(|[peer, kind, _]| !(self.dead == Some(peer) && kind == "client"));
            let expected = wanted.iter().map(|&(name, kind)| [name, kind, "Established"].map(ToOwned::to_owned));
            Ok(last == expected.collect::<Vec<_>>())
        });
        waited.map(drop).with_context(|| format!("they are {last:?}"))
    }

    /// Waits until these nodes have the sessions that these reflectors, or none, call for.
    fn wait_topology(&self, names: &[&str], reflectors: &[&str]) -> Result<()> {
        let mut names = names.to_vec();
        names.sort_unstable();
        for own in &names {
            let role = |other: &&str| match (reflectors.contains(own), reflectors.contains(other)) {
                _ if reflectors.is_empty() => Some("mesh"),
                (_, true) => Some("reflector"),
                (true, false) => Some("client"),
                (false, false) => None,
            };
            let others = names.iter().filter(|other| *other != own);
            let peers: Vec<_> = others.filter_map(|other| Some((*other, role(other)?))).collect();
            self.wait_peers(own, &peers)?;
        }
        Ok(())
    }
}

fn ensure_nothing_lost(streams: Vec<(String, Stream)>) -> Result<()> {
    for (name, stream) in streams {
        let losses = stream.stop()?;
        ensure!(losses.lost() == 0, "{name}: {losses}");
    }
    Ok(())
}

fn there_and_back(lab: &Lab) -> Result<()> {
    let nodes = Nodes::start(lab, &automatic(5), &RANKING)?;
    nodes.wait_topology(&RANKING, &[])?;
    nodes.wait_routes()?;
    let streams = nodes.ping(&RANKING)?;
    nodes.cluster.write("bgp.yaml", &automatic(4))?;
    nodes.wait_topology(&RANKING, &["e", "c"])?;
    nodes.wait_routes()?;
    // One of the reflectors by another: failure domains have come up, and `e` and `c` share one.
    for (worker, rack) in nodes.workers.iter().zip(["one", "one", "two", "two", "two"]) {
        let labelled = manifest(worker, "").replace("host:", &format!("rack: {rack}, host:"));
        nodes.cluster.write(&format!("node-{}.yaml", worker.node().name()), &labelled)?;
    }
    nodes.wait_topology(&RANKING, &["e", "d"])?;
    nodes.wait_routes()?;
    nodes.cluster.remove("bgp.yaml")?;
    nodes.wait_topology(&RANKING, &[])?;
    nodes.wait_routes()?;
    ensure_nothing_lost(streams)
}

fn by_hand(lab: &Lab) -> Result<()> {
    let names = ["a", "b", "c", "d"];
    let nodes = Nodes::start(lab, &automatic(100), &names)?;
    nodes.wait_routes()?;
    let streams = nodes.ping(&names)?;
    let reflector = manifest(&nodes.workers[0], "    projectcalico.org/RouteReflectorClusterID: 224.0.0.1\n");
    let peers = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: to-reflectors}\n\
                 spec: {nodeSelector: \"host != 'a'\", peerSelector: \"host == 'a'\"}\n";
    // The peers come last but for the end of the mesh.
    for worker in &nodes.workers {
        nodes.cluster.write(&format!("node-{}.yaml", worker.node().name()), &manifest(worker, ""))?;
    }
    nodes.cluster.write("node-a.yaml", &reflector)?;
    let retiring = || {
        nodes.workers.iter().try_fold(0, |sum, worker| {
            let reply = status(worker).ask(&["show", "peers"])?;
            Ok::<_, anyhow::Error>(
                sum + list(&reply, "peers").iter().filter(|peer| text(peer, "kind") == "mesh").count(),
            )
        })
    };
    ensure!(retiring()? > 0, "the mesh has ended before there was anything else");
    nodes.cluster.write("peers.yaml", peers)?;
    nodes.cluster.write("bgp.yaml", &automatic(100).replace("spec: {}", "spec: {nodeToNodeMeshEnabled: false}"))?;
    nodes.wait_peers("a", &[("b", "client"), ("c", "client"), ("d", "client")])?;
    for name in ["b", "c", "d"] {
        nodes.wait_peers(name, &[("a", "reflector")])?;
    }
    nodes.wait_routes()?;
    // Back, the wrong way round as well.
    nodes.cluster.write("bgp.yaml", &automatic(100))?;
    nodes.cluster.write("node-a.yaml", &manifest(&nodes.workers[0], ""))?;
    nodes.cluster.remove("peers.yaml")?;
    nodes.wait_topology(&names, &[])?;
    nodes.wait_routes()?;
    ensure_nothing_lost(streams)
}

fn elected(lab: &Lab) -> Result<()> {
    let mut nodes = Nodes::start(lab, &automatic(3), &["e", "c", "d"])?;
    nodes.wait_topology(&["e", "c", "d"], &[])?;
    nodes.wait_routes()?;
    let streams = nodes.ping(&["c", "d"])?;
    // One more than the threshold.
    nodes.join("b")?;
    nodes.wait_topology(&["e", "c", "d", "b"], &["e", "c"])?;
    nodes.wait_routes()?;
    // Another one gets everything, and nobody's session is touched.
    let sessions = |worker: &Worker| {
        let reply = status(worker).ask(&["show", "peers"])?;
        let since = |it: &Value| (text(it, "name").to_owned(), text(it, "since").to_owned());
        Ok::<Vec<_>, anyhow::Error>(list(&reply, "peers").iter().map(since).filter(|it| it.0 != "a").collect())
    };
    let before: Vec<_> = nodes.workers.iter().map(sessions).collect::<Result<_>>()?;
    nodes.join("a")?;
    nodes.wait_routes()?;
    nodes.wait_topology(&RANKING, &["e", "c"])?;
    let after: Vec<_> = nodes.workers[..4].iter().map(sessions).collect::<Result<_>>()?;
    ensure!(before == after, "sessions have moved: {before:?}, now {after:?}");

    // A reflector dies with its node.
    let more = nodes.ping(&["c", "d", "b", "a"])?;
    nodes.dead = Some("e");
    let dying = &mut nodes.workers[0];
    dying.node().ip_batch("link set eth0 down\n")?;
    dying.daemons.bgpd.kill()?;
    dying.daemons.felix.kill()?;
    let unready = manifest(&nodes.workers[0], "status:\n  conditions: [{type: Ready, status: Unknown}]\n");
    nodes.cluster.write("node-e.yaml", &unready)?;
    nodes.wait_topology(&["c", "d", "b", "a"], &["c", "d"])?;
    ensure_nothing_lost(streams)?;
    ensure_nothing_lost(more)
}
