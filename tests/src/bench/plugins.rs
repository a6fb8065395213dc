//! CNI plugins that are compared: how they are executed and what that costs.

use std::{
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{
    Lab, Namespace, Node, PodSpec,
    cni::{Attachment, Network},
};
use serde_json::json;

use super::usage;
use crate::cluster::{Cluster, Worker};

/// The label that policies of the bench select.
pub(super) const LABEL: (&str, &str) = ("app", "web");
const POOL_V4: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: v4}\n\
    spec: {cidr: 10.65.0.0/16, blockSize: 26, natOutgoing: true}\n";
const POOL_V6: &str = "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: v6}\n\
    spec: {cidr: 'fd00:10:65::/48', blockSize: 122}\n";
const NAMESPACE: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n";
/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

/// One tortie node, both daemons running, and a policy for its pods.
pub(super) fn tortie<'lab>(lab: &'lab Lab, dual_stack: bool) -> Result<(Cluster<'lab>, Worker)> {
    let pools = if dual_stack { [POOL_V4, POOL_V6].concat() } else { POOL_V4.to_owned() };
    let cluster = Cluster::new(lab, &(pools + NAMESPACE))?;
    cluster.write("policy.yaml", &policy("192.0.2.0/24", 443))?;
    let worker = cluster.worker("node", 1)?;
    worker.wait_policies(&["web"])?;
    Ok((cluster, worker))
}

/// A policy that lets a network reach one TCP port of every pod of the bench.
pub(super) fn policy(from: &str, port: u16) -> String {
    let (key, value) = LABEL;
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: default}}\nspec:\n  \
         podSelector: {{matchLabels: {{{key}: {value}}}}}\n  policyTypes: [Ingress]\n  ingress:\n  \
         - from: [{{ipBlock: {{cidr: {from}}}}}]\n    ports: [{{protocol: TCP, port: {port}}}]\n"
    )
}

/// A way to attach pods.
pub(super) struct Plugin {
    node: Node,
    network: Network,
    /// Process id of the daemon that does the work.
    daemon: Option<u32>,
}

impl Plugin {
    /// tortie's.
    pub(super) fn tortie(worker: &Worker) -> Self {
        let daemon = Some(worker.daemons.felix.id());
        Self { node: worker.node().clone(), network: worker.network.clone(), daemon }
    }

    /// The reference plugins `ptp` and `host-local`, on a node of their own.
    pub(super) fn reference(lab: &Lab, dual_stack: bool) -> Result<Self> {
        let node = lab.node("reference")?;
        let mut ranges = vec![json!([{"subnet": "10.66.0.0/16"}])];
        if dual_stack {
            ranges.push(json!([{"subnet": "fd00:10:66::/64"}]));
        }
        let ipam = json!({"type": "host-local", "ranges": ranges, "dataDir": node.directory().join("addresses")});
        let list = json!({"cniVersion": "1.0.0", "name": "reference", "plugins": [{"type": "ptp", "ipam": ipam}]});
        let network = Network::parse(&list.to_string(), &[PathBuf::from(REFERENCE)])?;
        Ok(Self { node, network, daemon: None })
    }

    /// Executes a verb for one pod after the other.
    pub(super) fn in_turn(&self, verb: &str, pods: &[Pod]) -> Result<Vec<Duration>> {
        self.node.inside(|| pods.iter().map(|pod| execute(&self.network, verb, &pod.attachment)).collect())
    }

    /// Executes a verb for all pods at once. The time until the last one is done.
    pub(super) fn at_once(&self, verb: &str, pods: &[Pod]) -> Result<Duration> {
        self.node.inside(|| {
            let start = Instant::now();
            thread::scope(|scope| {
                let start = |pod: &'_ Pod| {
                    let attachment = pod.attachment.clone();
                    scope.spawn(move || execute(&self.network, verb, &attachment))
                };
                let running: Vec<_> = pods.iter().map(start).collect();
                running.into_iter().try_for_each(|thread| {
                    thread.join().map_err(|_| anyhow!("an executing thread panicked"))?.map(drop)
                })
            })?;
            Ok(start.elapsed())
        })
    }

    /// Processor time so far, of everything that works for the plugin.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let daemon = self.daemon.map(usage::of).transpose()?.unwrap_or_default();
        Ok(usage::children()? + daemon.cpu)
    }
}

/// A pod to be attached: a fresh network namespace.
pub(super) struct Pod {
    /// Goes with the pod.
    _namespace: Namespace,
    attachment: Attachment,
}

impl Pod {
    /// Makes so many pods. Their names begin with `prefix`.
    pub(super) fn several(prefix: &str, count: usize) -> Result<Vec<Self>> {
        let pod = |number| {
            let name = format!("{prefix}-{number}");
            let namespace = Namespace::new(&name)?;
            let attachment = PodSpec::new(&name, &[LABEL]).attachment(namespace.path());
            Ok(Self { _namespace: namespace, attachment })
        };
        (0..count).map(pod).collect()
    }
}

/// From the start of the process to its end.
fn execute(network: &Network, verb: &str, attachment: &Attachment) -> Result<Duration> {
    let (mut command, config) = network.command(verb, attachment)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("executing {command:?}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(config.as_bytes()).context("writing the configuration")?;
    }
    let output = child.wait_with_output().context("waiting for the plugin")?;
    let took = start.elapsed();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    ensure!(output.status.success(), "{verb}: {} {}", text(&output.stdout), text(&output.stderr));
    Ok(took)
}
