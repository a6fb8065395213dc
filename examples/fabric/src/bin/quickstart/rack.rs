//! The rack: a top-of-rack router with a client behind it, three nodes, and the pods on them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use fabric::{
    Daemons, DaemonsConfig, Lab, Manifests, Node, Pod, PodSpec, binary,
    cni::Network,
    probe::Echo,
    router::{Config, Peer, Router},
};

use crate::{manifests, options::Options};

/// AS number of the cluster.
pub(crate) const CLUSTER_AS: u32 = 64512;
/// AS number of the router.
pub(crate) const TOR_AS: u32 = 65001;
/// The client's address behind the router.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// Where every pod answers, UDP and TCP.
pub(crate) const PORT: u16 = 8080;
/// Nodes, and the last part of their addresses.
pub(crate) const NODES: [(&str, u8); 3] = [("node-a", 11), ("node-b", 12), ("node-c", 13)];
/// Pods: name, node, label `app`.
pub(crate) const PODS: [(&str, &str, &str); 4] =
    [("front", "node-a", "front"), ("web-1", "node-b", "web"), ("web-2", "node-c", "web"), ("spy", "node-c", "spy")];

/// Everything that runs.
pub(crate) struct Rack {
    // Dropped in this order: what runs before where it runs.
    echoes: BTreeMap<String, Echo>,
    pods: BTreeMap<String, Pod>,
    /// tortie's daemons by node.
    pub(crate) daemons: BTreeMap<String, Daemons>,
    /// The top-of-rack router's software, once started.
    pub(crate) router: Option<Router>,
    /// The router's namespace.
    pub(crate) tor: Node,
    /// The client's namespace.
    pub(crate) client: Node,
    nodes: BTreeMap<String, Node>,
    manifests: Manifests,
    options: Options,
    lab: Lab,
}

impl Rack {
    /// Makes the namespaces and connects them.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let lab = Lab::new("")?;
        let switch = lab.switch("rack")?;
        let (tor, client) = (lab.node("tor-1")?, lab.host("client")?);
        switch.connect(&tor.port("eth0", &["192.0.2.1/24", "2001:db8:2::1/64"]))?;
        lab.link(
            &tor.port("eth1", &["203.0.113.1/24", "2001:db8:cb::1/64"]),
            &client.port("eth0", &[&format!("{CLIENT}/24"), "2001:db8:cb::9/64"]),
        )?;
        client.ip_batch("route add default via 203.0.113.1\nroute add ::/0 via 2001:db8:cb::1\n")?;
        let mut nodes = BTreeMap::new();
        for (name, number) in NODES {
            let node = lab.node(name)?;
            switch
                .connect(&node.port("eth0", &[&format!("192.0.2.{number}/24"), &format!("2001:db8:2::{number}/64")]))?;
            nodes.insert(name.to_owned(), node);
        }
        let manifests = Manifests::new(&lab.directory().join("manifests"))?;
        manifests::write(&manifests)?;
        Ok(Self {
            echoes: BTreeMap::new(),
            pods: BTreeMap::new(),
            daemons: BTreeMap::new(),
            router: None,
            tor,
            client,
            nodes,
            manifests,
            options: options.clone(),
            lab,
        })
    }

    /// The lab.
    pub(crate) const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The folder of manifests.
    pub(crate) const fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Name of the router's software.
    pub(crate) fn tor_software(&self) -> String {
        self.options.tor.kind().to_string()
    }

    /// A node's namespace.
    pub(crate) fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("no node {name}"))
    }

    /// Starts the router's software.
    pub(crate) fn start_router(&mut self) -> Result<()> {
        let mut config = Config::new(TOR_AS, Ipv4Addr::new(192, 0, 2, 1));
        for (_, number) in NODES {
            config = config.peer(Peer::new(address(number), CLUSTER_AS));
        }
        config = config.network("203.0.113.0/24").network("2001:db8:cb::/64");
        self.router = Some(Router::start(self.options.tor.kind(), &self.tor, config)?);
        Ok(())
    }

    /// Starts bgpd and felix on every node.
    pub(crate) fn start_daemons(&mut self) -> Result<()> {
        let mut config = DaemonsConfig::new(self.manifests.folder());
        config.log = Some(self.options.log.clone());
        config.metrics = Some((9091, 9092));
        for (name, node) in &self.nodes {
            self.daemons.insert(name.clone(), Daemons::start(node, &config)?);
        }
        Ok(())
    }

    /// The router.
    pub(crate) fn router(&self) -> Result<&Router> {
        self.router.as_ref().context("the router does not run")
    }

    /// tortie on a node.
    pub(crate) fn daemons(&self, node: &str) -> Result<&Daemons> {
        self.daemons.get(node).with_context(|| format!("no daemons on {node}"))
    }

    /// tortie on a node, to kill it.
    pub(crate) fn daemons_mut(&mut self, node: &str) -> Result<&mut Daemons> {
        self.daemons.get_mut(node).with_context(|| format!("no daemons on {node}"))
    }

    /// Makes a pod as a kubelet does: it is in the API, the CNI plugin is executed, its addresses are in the API. It then
    /// answers on its port. Says how long the plugin took.
    pub(crate) fn add_pod(&mut self, name: &str, node: &str, app: &str) -> Result<Duration> {
        let folder = binary("tortie")?.parent().map(ToOwned::to_owned).unwrap_or_default();
        let socket = self.daemons(node)?.socket("felix").display().to_string();
        let network = Network::parse(manifests::CONFLIST, &[folder])?.with("socket", socket);
        let spec = PodSpec::new(name, &[("app", app)]);
        self.manifests.put_pod(&spec, node, &[])?;
        let pod = Pod::add(&self.lab, self.node(node)?, &network, &spec)?;
        self.manifests.put_pod(&spec, node, &pod.added().addresses())?;
        let took = pod.added().took;
        let echo = Echo::start(pod.inside().namespace(), ([0_u16; 8], PORT).into())?;
        self.echoes.insert(name.to_owned(), echo);
        self.pods.insert(name.to_owned(), pod);
        Ok(took)
    }

    /// A pod.
    pub(crate) fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods.get(name).with_context(|| format!("no pod {name}"))
    }

    /// All pods by name.
    pub(crate) const fn pods(&self) -> &BTreeMap<String, Pod> {
        &self.pods
    }

    /// What answers in a pod.
    pub(crate) fn echo(&self, pod: &str) -> Result<&Echo> {
        self.echoes.get(pod).with_context(|| format!("no pod {pod}"))
    }

    /// Executes DEL and takes the pod away.
    pub(crate) fn delete_pod(&mut self, name: &str) -> Result<Duration> {
        self.echoes.remove(name);
        let took = self.pods.remove(name).ok_or_else(|| anyhow!("no pod {name}"))?.delete()?;
        self.manifests.remove_pod(&PodSpec::new(name, &[]))?;
        Ok(took)
    }
}

/// A node's address.
pub(crate) const fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}
