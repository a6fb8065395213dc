//! Nodes with both daemons on one switch, the folder of manifests that they share, and what their kernels hold.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{Daemons, DaemonsConfig, Lab, Node, Pod, PodSpec, Switch, cni::Network, wait_until};
use serde_json::Value;

/// How long anything that must come may take.
pub const SOON: Duration = Duration::from_secs(20);

const CONFLIST: &str = r#"{
    "cniVersion": "1.1.0", "name": "k8s-pod-network",
    "plugins": [{"type": "tortie", "capabilities": {"ips": true}}]
}"#;

/// One switch and one folder of manifests.
pub struct Cluster<'lab> {
    lab: &'lab Lab,
    manifests: PathBuf,
    switch: Switch,
}

impl<'lab> Cluster<'lab> {
    /// A cluster without nodes. `manifests` is the first file in its folder: the pools.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(lab: &'lab Lab, manifests: &str) -> Result<Self> {
        let folder = lab.directory().join("manifests");
        fs::create_dir(&folder).context("making the folder of manifests")?;
        let cluster = Self { lab, manifests: folder, switch: lab.switch("switch")? };
        cluster.write("pools.yaml", manifests)?;
        Ok(cluster)
    }

    /// The lab it is in.
    #[must_use]
    pub const fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// Writes a manifest file, as an editor would.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.manifests.join(file), text).with_context(|| format!("writing {file}"))
    }

    /// Removes a manifest file.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, file: &str) -> Result<()> {
        fs::remove_file(self.manifests.join(file)).with_context(|| format!("removing {file}"))
    }

    /// Makes a host on the switch, `192.0.2.NUMBER/24` and `2001:db8::NUMBER/64`, that is no node of the cluster.
    ///
    /// # Errors
    /// When it exists.
    pub fn outsider(&self, name: &str, number: u8) -> Result<Node> {
        self.plug_in(self.lab.host(name)?, number)
    }

    fn plug_in(&self, node: Node, number: u8) -> Result<Node> {
        let (v4, v6) = addresses(number);
        self.switch.connect(&node.port("eth0", &[&format!("{v4}/24"), &format!("{v6}/64")]))?;
        Ok(node)
    }

    /// Makes a node, as [`Cluster::outsider`], starts its daemons and waits until they are ready.
    ///
    /// # Errors
    /// When they are not ready soon.
    pub fn worker(&self, name: &str, number: u8) -> Result<Worker> {
        let node = self.plug_in(self.lab.node(name)?, number)?;
        let (v4, v6) = addresses(number);
        let manifest = format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  annotations:\n    \
             projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n"
        );
        self.write(&format!("node-{name}.yaml"), &manifest)?;
        let mut daemons = Daemons::start(&node, &DaemonsConfig::new(&self.manifests))?;
        daemons.wait_ready(SOON)?;
        let plugin = fabric::binary("tortie")?;
        let folder = plugin.parent().map(Path::to_owned).unwrap_or_default();
        let socket = daemons.socket("felix").display().to_string();
        let network = Network::parse(CONFLIST, &[folder])?.with("socket", socket);
        Ok(Worker { daemons, network, node, addresses: [v4, v6] })
    }

    /// What address management keeps: objects of a kind (`ipamblock`, `ipamhandle`, `blockaffinity`) by name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn objects(&self, kind: &str) -> Result<BTreeMap<String, Value>> {
        let mut objects = BTreeMap::new();
        let folder = self.state(kind);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let text = fs::read(entry.path()).with_context(|| name.clone())?;
                objects.insert(name, serde_json::from_slice(&text)?);
            }
        }
        Ok(objects)
    }

    /// The folder of such objects.
    #[must_use]
    pub fn state(&self, kind: &str) -> PathBuf {
        self.manifests.join(".tortie/state").join(kind)
    }

    /// Handles that have an address in a block, one entry per address.
    ///
    /// # Errors
    /// When a block cannot be read, or an address has no handle.
    pub fn assigned(&self) -> Result<Vec<String>> {
        let mut handles = Vec::new();
        for (name, block) in self.objects("ipamblock")? {
            let spec = block.get("spec").ok_or_else(|| anyhow!("{name} has no spec"))?;
            for owner in spec.get("allocations").and_then(Value::as_array).into_iter().flatten() {
                let Some(index) = owner.as_u64() else { continue };
                let handle = spec.pointer(&format!("/attributes/{index}/handle_id")).and_then(Value::as_str);
                handles.push(handle.ok_or_else(|| anyhow!("{name}: an address without a handle"))?.to_owned());
            }
        }
        Ok(handles)
    }

    /// Checks that address management holds nothing for anybody.
    ///
    /// # Errors
    /// What it holds.
    pub fn ensure_no_address(&self) -> Result<()> {
        let assigned = self.assigned()?;
        ensure!(assigned.is_empty(), "addresses are still assigned to {assigned:?}");
        let handles = self.objects("ipamhandle")?;
        ensure!(handles.is_empty(), "handles are left: {:?}", handles.keys());
        Ok(())
    }
}

fn addresses(number: u8) -> (IpAddr, IpAddr) {
    let v6 = [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)];
    (IpAddr::from([192, 0, 2, number]), IpAddr::from(v6))
}

/// A node of the cluster.
pub struct Worker {
    /// bgpd and felix.
    pub daemons: Daemons,
    /// Its CNI network.
    pub network: Network,
    node: Node,
    addresses: [IpAddr; 2],
}

impl Worker {
    /// The machine.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Its addresses on the switch, IPv4 first.
    #[must_use]
    pub const fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// Adds a pod.
    ///
    /// # Errors
    /// See [`Pod::add`].
    pub fn pod(&self, lab: &Lab, spec: &PodSpec) -> Result<Pod> {
        Pod::add(lab, &self.node, &self.network, spec)
    }

    /// Waits until exactly these NetworkPolicies are known, and in the kernel.
    ///
    /// # Errors
    /// When they are not soon.
    pub fn wait_policies(&self, names: &[&str]) -> Result<Duration> {
        let mut wanted: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        wanted.sort();
        wait_until(&format!("policies {wanted:?} on {}", self.node.name()), SOON, || {
            let known = self.daemons.ask_felix(&["show", "policy"])?;
            let known = known.get("policies").and_then(Value::as_array).cloned().unwrap_or_default();
            let name = |policy: &Value| policy.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut known: Vec<_> = known.iter().map(name).collect();
            known.sort();
            Ok(known == wanted && self.applied()?)
        })
    }

    /// Whether the kernel holds what felix wants.
    ///
    /// # Errors
    /// When felix cannot be asked.
    pub fn applied(&self) -> Result<bool> {
        let status = self.daemons.ask_felix(&["status"])?;
        let revision = |key: &str| status.get(key).map(ToString::to_string);
        Ok(revision("desiredRevision") == revision("kernelRevision"))
    }

    /// Names of the interfaces of pods.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn pod_links(&self) -> Result<Vec<String>> {
        let links: Vec<Value> = serde_json::from_str(&self.node.run("ip", &["-j", "link", "show"])?)?;
        let names = links.iter().filter_map(|link| link.get("ifname").and_then(Value::as_str));
        Ok(names.filter(|name| name.starts_with("cali")).map(ToOwned::to_owned).collect())
    }

    /// Routes to pods, and over pods' interfaces.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn pod_routes(&self) -> Result<Vec<String>> {
        let routes = self.node.kernel_routes("80")?;
        Ok(routes.into_iter().filter(|(_, via)| via != &["blackhole"]).map(|(destination, _)| destination).collect())
    }

    /// Every ruleset in the kernel, in pieces whose order means nothing; what tells the generation is left out.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn ruleset(&self) -> Result<Vec<String>> {
        let text = self.node.run("nft", &["list", "ruleset"])?;
        let lines = text.lines().filter(|line| !line.contains("ct mark"));
        let pieces = lines.flat_map(|line| line.split(','));
        let trimmed = pieces.map(|piece| piece.trim().trim_start_matches("elements = {").trim_end_matches('}').trim());
        let mut pieces: Vec<_> = trimmed.filter(|piece| !piece.is_empty()).map(ToOwned::to_owned).collect();
        pieces.sort();
        Ok(pieces)
    }

    /// Checks that nothing of any pod is left: no interface, no route, no record, and the rulesets are these.
    ///
    /// # Errors
    /// What is left.
    pub fn ensure_empty(&self, ruleset: &[String]) -> Result<()> {
        let (links, routes) = (self.pod_links()?, self.pod_routes()?);
        ensure!(links.is_empty() && routes.is_empty(), "left on {}: {links:?} {routes:?}", self.node.name());
        let records = self.node.directory().join("state/endpoints");
        let left: Vec<_> = fs::read_dir(&records)?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(left.is_empty(), "records left on {}: {left:?}", self.node.name());
        ensure_same(ruleset, &self.ruleset()?)
    }
}

/// Compares two rulesets as [`Worker::ruleset`] gives them.
///
/// # Errors
/// What only one of them has.
pub fn ensure_same(before: &[String], now: &[String]) -> Result<()> {
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|piece| !other.contains(piece)).cloned().collect()
    };
    let (gone, new) = (only(before, now), only(now, before));
    ensure!(before == now, "the ruleset is another: gone {gone:#?}, new {new:#?}");
    Ok(())
}
