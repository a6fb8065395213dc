//! Policies change under open connections.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Pod, PodSpec,
    probe::{Echo, Flow, Stream, Target},
    wait_until,
};
use tests::cluster::{Cluster, SOON, ensure_same};

use crate::{POOLS, connects, manifest, one_node, policy};

const TICK: Duration = Duration::from_millis(2);
/// A connection on which a byte goes out every few milliseconds is cut when none came back for so long.
const SILENCE: Duration = Duration::from_millis(400);

/// A TCP connection and a stream of datagrams to port 7 per family.
struct Traffic {
    connections: Vec<Flow>,
    streams: Vec<Stream>,
}

impl Traffic {
    fn start(from: &Pod, to: [IpAddr; 2]) -> Result<Self> {
        let inside = from.inside().namespace();
        let (mut connections, mut streams) = (Vec::new(), Vec::new());
        for address in to {
            let target = SocketAddr::new(address, 7);
            connections.push(Flow::open(inside, target, TICK)?);
            streams.push(Stream::start(inside, Target::Udp(target), None, TICK)?);
        }
        let traffic = Self { connections, streams };
        traffic.ensure_alive()?;
        Ok(traffic)
    }

    fn ensure_alive(&self) -> Result<()> {
        for connection in &self.connections {
            connection.wait_alive(SOON).context("a connection that is allowed")?;
        }
        for stream in &self.streams {
            let before = stream.so_far().answered;
            wait_until("answers to datagrams", SOON, || Ok(stream.so_far().answered > before))?;
        }
        Ok(())
    }

    fn wait_cut(&self) -> Result<()> {
        for connection in &self.connections {
            connection.wait_cut(SILENCE, SOON).context("a connection that is no longer allowed")?;
        }
        for stream in &self.streams {
            let before = stream.so_far();
            wait_until("a hundred more datagrams", SOON, || Ok(stream.so_far().sent > before.sent + 100))?;
            let now = stream.so_far();
            ensure!(
                now.answered <= before.answered + 1,
                "{}: {} answers after the cut",
                stream.target(),
                now.answered - before.answered
            );
        }
        Ok(())
    }

    /// Ends it; not one datagram may have been lost.
    fn ensure_lossless(self) -> Result<()> {
        self.ensure_alive()?;
        for stream in self.streams {
            let (target, losses) = (stream.target(), stream.stop()?);
            ensure!(losses.lost() == 0, "{target}: {losses}");
        }
        Ok(())
    }
}

pub(crate) fn cut(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let workers = [cluster.worker("a", 1)?, cluster.worker("b", 2)?];
    let mut pods = Vec::new();
    let mut manifests = String::new();
    for (name, machine) in [("server", 0), ("near", 0), ("far", 1), ("near-foe", 0), ("far-foe", 1)] {
        let pod = workers[machine].pod(lab, &PodSpec::new(name, &[]))?;
        let [v4, v6] = [pod.ipv4()?, pod.ipv6()?];
        let role = if name.ends_with("foe") { "foe" } else { name };
        manifests += manifest(name, &format!("{{role: {role}}}")).trim_end_matches("---\n");
        manifests += &format!("status: {{podIPs: [{{ip: {v4}}}, {{ip: '{v6}'}}]}}\n---\n");
        pods.push(pod);
    }
    cluster.write("pods.yaml", &manifests)?;
    let [server, near, far, near_foe, far_foe] = pods.as_slice() else { anyhow::bail!("five pods") };
    let to = [server.ipv4()?, server.ipv6()?];
    let _echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    for address in to {
        wait_until("a way between the nodes", SOON, || far.inside().ping(address))?;
    }
    let before = [workers[0].ruleset()?, workers[1].ruleset()?];
    let friends = [Traffic::start(near, to)?, Traffic::start(far, to)?];
    let foes = [Traffic::start(near_foe, to)?, Traffic::start(far_foe, to)?];

    let friends_only = "{podSelector: {matchLabels: {role: server}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: role, operator: In, values: [near, far]}]}}]}]}";
    cluster.write("policy.yaml", &policy("friends-only", friends_only))?;
    foes.iter().try_for_each(Traffic::wait_cut)?;
    friends.iter().try_for_each(Traffic::ensure_alive)?;
    ensure!(!connects(far_foe.inside(), SocketAddr::new(to[0], 7), false)?, "a new connection of a foe");

    // The sender's side: what it may send is judged on its own node.
    let nowhere = policy("nowhere", "{podSelector: {matchLabels: {role: far}}, policyTypes: [Egress]}");
    let elsewhere = policy(
        "elsewhere",
        "{podSelector: {matchLabels: {role: foe}}, policyTypes: [Egress], egress: [{ports: [{port: 81}]}]}",
    );
    cluster.write("policy.yaml", &(policy("friends-only", friends_only) + &nowhere + &elsewhere))?;
    let [near_traffic, far_traffic] = friends;
    far_traffic.wait_cut()?;
    near_traffic.ensure_lossless()?;

    cluster.remove("policy.yaml")?;
    for (worker, before) in workers.iter().zip(&before) {
        worker.wait_policies(&[])?;
        ensure_same(before, &worker.ruleset()?).context("a deleted policy leaves nothing behind")?;
    }
    ensure!(connects(far_foe.inside(), SocketAddr::new(to[0], 7), true)?, "a new connection without any policy");
    Ok(())
}

pub(crate) fn relabelled(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["server", "client", "other"])?;
    let [server, client, other] = pods.as_slice() else { anyhow::bail!("three pods") };
    let to = [server.ipv4()?, server.ipv6()?];
    let _echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let allow =
        "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
    cluster.write("policy.yaml", &policy("allow", allow))?;
    worker.wait_policies(&["allow"])?;
    let client_traffic = Traffic::start(client, to)?;
    let target = SocketAddr::new(to[0], 7);
    ensure!(!connects(other.inside(), target, false)?, "the other is not allowed yet");

    cluster.write("other.yaml", &manifest("other", "{app: client}"))?;
    wait_until("the new label to count", SOON, || connects(other.inside(), target, true))?;
    let other_traffic = Traffic::start(other, to)?;
    cluster.write("other.yaml", &manifest("other", "{app: other}"))?;
    other_traffic.wait_cut()?;
    ensure!(!connects(other.inside(), target, false)?, "the label is gone");
    // The subject's label: without it nobody selects the server, with it only the client may.
    cluster.write("server.yaml", &manifest("server", "{app: nothing}"))?;
    wait_until("the server to be free", SOON, || connects(other.inside(), target, true))?;
    cluster.remove("server.yaml")?;
    wait_until("the server to be closed again", SOON, || Ok(!connects(other.inside(), target, false)?))?;
    client_traffic.ensure_lossless()
}

pub(crate) fn felix_dead(lab: &Lab) -> Result<()> {
    let (cluster, mut worker, pods) = one_node(lab, &["server", "client", "other"])?;
    let [server, client, other] = pods.as_slice() else { anyhow::bail!("three pods") };
    let to = [server.ipv4()?, server.ipv6()?];
    let _echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let both = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}, {podSelector: {matchLabels: {app: other}}}]}]}";
    cluster.write("policy.yaml", &policy("both", both))?;
    worker.wait_policies(&["both"])?;
    let (kept, lost) = (Traffic::start(client, to)?, Traffic::start(other, to)?);
    let before = worker.ruleset()?;
    worker.daemons.felix.kill()?;
    ensure_same(&before, &worker.ruleset()?).context("the kernel keeps what it has")?;
    lost.ensure_alive()?;
    let one =
        "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
    cluster.write("policy.yaml", &policy("one", one))?;
    worker.daemons.felix.restart()?;
    worker.daemons.wait_ready(SOON)?;
    lost.wait_cut()?;
    // Again and again, with nothing changed.
    let before = worker.ruleset()?;
    for _ in 0..5 {
        worker.daemons.felix.restart()?;
        worker.daemons.wait_ready(SOON)?;
        ensure_same(&before, &worker.ruleset()?).context("a restart changes nothing")?;
        ensure!(!connects(other.inside(), SocketAddr::new(to[0], 7), false)?, "the other is not allowed");
    }
    kept.ensure_lossless()
}
