//! Everybody who may talk to everybody: pods of two namespaces on two nodes, the nodes, and a host outside.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use fabric::{
    Lab, Node, Pod, PodSpec,
    probe::{Echo, Stream, Target},
    wait_until,
};
use tests::cluster::{Cluster, SOON, Worker};

use crate::{ALLOWED_WITHIN, DENIED_FOR, POOLS, connects};

/// Ports that everybody answers on.
const PORTS: [u16; 3] = [80, 81, 90];
const WORKERS: usize = 48;
const PODS: [(&str, &str, &str, &str); 5] = [
    // name, namespace, labels, named ports
    (
        "web",
        "default",
        "app: web, tier: back",
        "{name: http, containerPort: 80}, {name: dns, containerPort: 80, protocol: UDP}",
    ),
    ("front", "default", "app: front", "{name: http, containerPort: 90}"),
    ("api", "prod", "app: web", "{name: http, containerPort: 80}"),
    ("web-b", "default", "app: web", "{name: http, containerPort: 81}"),
    ("front-b", "prod", "app: front", ""),
];

/// Somebody.
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    /// Empty for who is no pod.
    pub(crate) namespace: &'static str,
    pub(crate) app: &'static str,
    /// The node it is, or runs on.
    machine: usize,
    inside: Node,
    addresses: [IpAddr; 2],
    _echoes: Vec<Echo>,
}

impl Endpoint {
    pub(crate) fn is_pod(&self) -> bool {
        !self.namespace.is_empty()
    }

    pub(crate) fn is(&self, namespace: &str, app: &str) -> bool {
        self.namespace == namespace && self.app == app
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Tcp(u16),
    Udp(u16),
    Icmp,
}

/// One question.
#[derive(Clone, Copy)]
pub(crate) struct Flow<'a> {
    pub(crate) from: &'a Endpoint,
    pub(crate) to: &'a Endpoint,
    pub(crate) what: What,
    pub(crate) v6: bool,
}

impl fmt::Display for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {:?} IPv{}", self.from.name, self.to.name, self.what, if self.v6 { 6 } else { 4 })
    }
}

impl Flow<'_> {
    /// Processes of a pod's own node always reach it.
    fn is_own_node(&self) -> bool {
        !self.from.is_pod() && self.from.machine == self.to.machine
    }

    /// Whether an answer comes.
    fn passes(&self, expected: bool) -> Result<bool> {
        let address = self.to.addresses[usize::from(self.v6)];
        let target = match self.what {
            What::Tcp(port) => return connects(&self.from.inside, SocketAddr::new(address, port), expected),
            What::Udp(port) => Target::Udp(SocketAddr::new(address, port)),
            What::Icmp => Target::Icmp(address),
        };
        let patience = if expected { ALLOWED_WITHIN } else { DENIED_FOR };
        let stream = Stream::start(self.from.inside.namespace(), target, None, Duration::from_secs(1))?;
        Ok(wait_until("an answer", patience, || Ok(stream.so_far().answered > 0)).is_ok())
    }
}

/// All of them.
pub(crate) struct World<'lab> {
    pub(crate) cluster: Cluster<'lab>,
    pub(crate) workers: [Worker; 2],
    endpoints: Vec<Endpoint>,
    _pods: Vec<Pod>,
}

impl<'lab> World<'lab> {
    pub(crate) fn new(lab: &'lab Lab) -> Result<Self> {
        let cluster = Cluster::new(lab, POOLS)?;
        let workers = [cluster.worker("a", 1)?, cluster.worker("b", 2)?];
        let outside = cluster.outsider("outside", 9)?;
        let mut manifests = String::new();
        for (name, env) in [("default", "dev"), ("prod", "prod")] {
            manifests +=
                &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{env: {env}}}}}\n---\n");
        }
        let (mut endpoints, mut pods) = (Vec::new(), Vec::new());
        for (name, namespace, labels, ports) in PODS {
            let machine = usize::from(name.ends_with("-b"));
            let spec = PodSpec { namespace: namespace.to_owned(), ..PodSpec::new(name, &[]) };
            let pod = workers[machine].pod(lab, &spec)?;
            let addresses = [pod.ipv4()?, pod.ipv6()?];
            let [v4, v6] = addresses;
            manifests += &format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
                 spec: {{nodeName: {}, containers: [{{name: c, ports: [{ports}]}}]}}\n\
                 status: {{phase: Running, podIPs: [{{ip: {v4}}}, {{ip: '{v6}'}}]}}\n---\n",
                workers[machine].node().name()
            );
            let app = if labels.contains("web") { "web" } else { "front" };
            let [gateway4, gateway6] = workers[machine].addresses();
            outside.ip_batch(&format!("route add {v4} via {gateway4}\nroute add {v6} via {gateway6}\n"))?;
            endpoints.push(endpoint(name, namespace, app, machine, pod.inside(), addresses)?);
            pods.push(pod);
        }
        let out = ["192.0.2.9".parse()?, "2001:db8::9".parse()?];
        endpoints.push(endpoint("outside", "", "", 9, &outside, out)?);
        for (machine, name) in ["node a", "node b"].into_iter().enumerate() {
            let worker = &workers[machine];
            endpoints.push(endpoint(name, "", "", machine, worker.node(), worker.addresses())?);
        }
        cluster.write("world.yaml", &manifests)?;
        let world = Self { cluster, workers, endpoints, _pods: pods };
        world.wait_reachable()?;
        Ok(world)
    }

    /// Waits for BGP.
    fn wait_reachable(&self) -> Result<()> {
        for (from, to) in [("web", "web-b"), ("web-b", "web")] {
            let (from, to) = (self.named(from)?, self.named(to)?);
            for address in to.addresses {
                wait_until(&format!("{} reaches {address}", from.name), SOON, || from.inside.ping(address))?;
            }
        }
        Ok(())
    }

    pub(crate) fn named(&self, name: &str) -> Result<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name).ok_or_else(|| anyhow!("no {name}"))
    }

    /// Every question there is: each pod to everybody, and everybody to each pod.
    fn flows(&self) -> Vec<Flow<'_>> {
        let whats = [What::Tcp(80), What::Tcp(81), What::Tcp(90), What::Udp(80), What::Icmp];
        let mut flows = Vec::new();
        for from in &self.endpoints {
            for to in &self.endpoints {
                if from.name != to.name && (from.is_pod() || to.is_pod()) {
                    let both = [false, true].into_iter();
                    flows.extend(both.flat_map(|v6| whats.map(|what| Flow { from, to, what, v6 })));
                }
            }
        }
        flows
    }

    /// Asks every question and compares the answers with what is expected.
    pub(crate) fn judge(&self, expected: &(dyn Fn(&Flow<'_>) -> bool + Sync)) -> Result<usize> {
        let flows = self.flows();
        let next = AtomicUsize::new(0);
        let wrong = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            while let Some(flow) = flows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let expected = flow.is_own_node() || expected(flow);
                if flow.passes(expected)? != expected {
                    let text = format!("{flow} should be {}", if expected { "allowed" } else { "denied" });
                    wrong.lock().map_err(|_| anyhow!("another thread panicked"))?.push(text);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        let wrong = wrong.into_inner().map_err(|_| anyhow!("a thread panicked"))?;
        ensure!(wrong.is_empty(), "{} of {} are wrong: {wrong:#?}", wrong.len(), flows.len());
        Ok(flows.len())
    }
}

fn endpoint(
    name: &'static str,
    namespace: &'static str,
    app: &'static str,
    machine: usize,
    inside: &Node,
    addresses: [IpAddr; 2],
) -> Result<Endpoint> {
    let listen = |port| Echo::start(inside.namespace(), SocketAddr::new([0_u16; 8].into(), port));
    let echoes = PORTS.into_iter().map(listen).collect::<Result<_>>()?;
    Ok(Endpoint { name, namespace, app, machine, inside: inside.clone(), addresses, _echoes: echoes })
}
