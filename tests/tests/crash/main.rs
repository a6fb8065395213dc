//! Parts of tortie die at random moments, and nobody notices.

mod actor;
mod dice;
mod plugin;

use std::{
    env,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{
    Lab, Need, Pod, PodSpec,
    probe::{Echo, Flow, Stream, Target},
    wait_until,
};
use tests::{
    cluster::{Cluster, SOON, Worker},
    test,
};

use crate::{
    actor::{Actor, Owners},
    dice::Dice,
};

/// Together, on both nodes.
const OPERATIONS: usize = 200;
const TICK: Duration = Duration::from_millis(2);
/// Blocks are small, so that nodes claim new ones all the time.
const POOLS: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v4}
spec: {cidr: 10.65.0.0/24, blockSize: 30, natOutgoing: true}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v6}
spec: {cidr: 'fd65::/118', blockSize: 126}
";
const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends, namespace: default}
spec: {podSelector: {matchLabels: {role: server}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}], ports: [{port: 7}, {port: 7, protocol: UDP}]}]}
";

fn main() {
    let needs = [Need::TORTIE];
    tests::main(vec![test("two_hundred_operations_and_kills_lose_leak_and_double_nothing", &needs, random).once()])
}

/// Two nodes with a server, a friend and a foe each.
struct Rack<'lab> {
    cluster: Cluster<'lab>,
    workers: [Worker; 2],
    /// Per node: server, friend, foe.
    pods: [Vec<Pod>; 2],
}

impl<'lab> Rack<'lab> {
    fn new(lab: &'lab Lab) -> Result<(Self, [Vec<String>; 2])> {
        let cluster = Cluster::new(lab, POOLS)?;
        let workers = [cluster.worker("a", 1)?, cluster.worker("b", 2)?];
        let empty = [workers[0].ruleset()?, workers[1].ruleset()?];
        let mut pods = [Vec::new(), Vec::new()];
        let mut manifests = String::new();
        for (worker, pods) in workers.iter().zip(&mut pods) {
            for role in ["server", "friend", "foe"] {
                let name = format!("{role}-of-{}", worker.node().name());
                let pod = worker.pod(lab, &PodSpec::new(&name, &[]))?;
                let [v4, v6] = [pod.ipv4()?, pod.ipv6()?];
                manifests += &format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{role: {role}}}}}\n\
                     spec: {{nodeName: {}}}\nstatus: {{podIPs: [{{ip: {v4}}}, {{ip: '{v6}'}}]}}\n---\n",
                    worker.node().name()
                );
                pods.push(pod);
            }
        }
        cluster.write("pods.yaml", &manifests)?;
        cluster.write("policy.yaml", POLICY)?;
        for worker in &workers {
            worker.wait_policies(&["friends"])?;
        }
        Ok((Self { cluster, workers, pods }, empty))
    }
}

/// What lives through everything, and what must not get through.
struct Traffic {
    streams: Vec<Stream>,
    connections: Vec<Flow>,
    denied: Vec<Stream>,
    open: Vec<Echo>,
    closed: Vec<Echo>,
}

impl Traffic {
    fn start(pods: &[Vec<Pod>; 2]) -> Result<Self> {
        let mut traffic = Self {
            streams: Vec::new(),
            connections: Vec::new(),
            denied: Vec::new(),
            open: Vec::new(),
            closed: Vec::new(),
        };
        for pods in pods {
            let inside = pods[0].inside().namespace();
            traffic.open.push(Echo::start(inside, "[::]:7".parse()?)?);
            traffic.closed.push(Echo::start(inside, "[::]:8".parse()?)?);
        }
        for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let [server, friend, foe] = [&pods[to][0], &pods[from][1], &pods[from][2]];
            let [friend, foe] = [friend.inside(), foe.inside()];
            for address in [server.ipv4()?, server.ipv6()?] {
                wait_until(&format!("a way to {address}"), SOON, || {
                    let open = fabric::probe::connect(friend.namespace(), SocketAddr::new(address, 7), SOON)?;
                    Ok(open.is_ok())
                })?;
                let target = |port| Target::Udp(SocketAddr::new(address, port));
                traffic.streams.push(Stream::start(friend.namespace(), target(7), None, TICK)?);
                traffic.connections.push(Flow::open(friend.namespace(), SocketAddr::new(address, 7), TICK)?);
                traffic.denied.push(Stream::start(friend.namespace(), target(8), None, TICK)?);
                traffic.denied.push(Stream::start(foe.namespace(), target(8), None, TICK)?);
                traffic.denied.push(Stream::start(foe.namespace(), target(7), None, TICK)?);
            }
        }
        Ok(traffic)
    }

    fn judge(self) -> Result<()> {
        for connection in &self.connections {
            connection.wait_alive(SOON).context("a connection that should have lived")?;
        }
        for echo in &self.closed {
            ensure!(echo.datagrams() == 0, "{} datagrams were let through to port 8", echo.datagrams());
        }
        for stream in self.denied {
            let (target, losses) = (stream.target(), stream.stop()?);
            ensure!(losses.answered == 0, "{target} answered: {losses}");
        }
        let mut sent = 0;
        for stream in self.streams {
            let (target, losses) = (stream.target(), stream.stop()?);
            ensure!(losses.lost() == 0, "{target}: {losses}");
            sent += losses.sent;
        }
        eprintln!("{sent} datagrams answered, none lost");
        Ok(())
    }
}

fn random(lab: &Lab) -> Result<()> {
    let seed = match env::var("CRASH_SEED") {
        Ok(text) => text.parse().context("CRASH_SEED must be a number")?,
        Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    eprintln!("seed {seed}: repeat with CRASH_SEED={seed}");
    run(lab, seed).with_context(|| format!("CRASH_SEED={seed}"))
}

fn run(lab: &Lab, seed: u64) -> Result<()> {
    let (mut rack, empty) = Rack::new(lab)?;
    let traffic = Traffic::start(&rack.pods)?;
    let owners = Owners::default();
    let servers: Vec<IpAddr> = rack.pods.iter().map(|pods| pods[0].ipv4()).collect::<Result<_>>()?;
    let cluster = &rack.cluster;
    thread::scope(|scope| {
        let mut actors = Vec::new();
        for ((worker, server), number) in rack.workers.iter_mut().zip(servers).zip(0..) {
            let actor = Actor::new((lab, cluster), worker, &owners, server, Dice(seed.wrapping_add(number)));
            actors.push(scope.spawn(move || actor.run(OPERATIONS / 2)));
        }
        actors.into_iter().try_for_each(|actor| actor.join().map_err(|_| anyhow!("an actor panicked"))?)
    })?;
    traffic.judge()?;
    rack.cluster.remove("policy.yaml")?;
    for pod in rack.pods.into_iter().flatten() {
        pod.delete()?;
    }
    rack.cluster.remove("pods.yaml")?;
    for (worker, empty) in rack.workers.iter_mut().zip(&empty) {
        worker.daemons.wait_ready(SOON)?;
        wait_until("the node to be empty", SOON, || worker.ensure_empty(empty).map(|()| true))?;
    }
    rack.cluster.ensure_no_address()
}
