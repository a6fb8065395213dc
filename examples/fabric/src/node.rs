//! A node: a network namespace, its ports, its programs.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Namespace, Process};

/// A namespace with a name and a folder for files. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    namespace: Arc<Namespace>,
    directory: PathBuf,
}

impl Node {
    pub(crate) fn new(name: &str, namespace: Namespace, directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let node = Self { name: name.to_owned(), namespace: Arc::new(namespace), directory };
        node.ip_batch("link set lo up\n")?;
        Ok(node)
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Its folder, for configuration, sockets and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Describes a port: its interface name and addresses (`192.0.2.1/24`, `2001:db8::1/64`).
    #[must_use]
    pub fn port(&self, name: &str, addresses: &[&str]) -> Port {
        Port { node: self.clone(), name: name.to_owned(), addresses: addresses.iter().map(|&a| a.to_owned()).collect() }
    }

    /// Runs a program to its end inside and returns what it printed; standard error is in the error when it fails.
    ///
    /// # Errors
    /// When it cannot be executed or fails.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<String> {
        let output = self.output(Command::new(program).args(arguments))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
            bail!(
                "{}: {program} {}: {}: {}{}",
                self.name,
                words.join(" "),
                output.status,
                text(&output.stderr).trim(),
                text(&output.stdout).trim()
            );
        }
        Ok(text(&output.stdout))
    }

    /// Runs a command to its end inside, whatever its status.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.namespace.inside(|| command.stdin(Stdio::null()).output().with_context(|| format!("running {program}")))
    }

    /// Starts a daemon inside. Its log is `NAME.log` in the node's folder.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn spawn(&self, name: &str, command: Command) -> Result<Process> {
        Process::start(&self.namespace, name, command, &self.directory.join(format!("{name}.log")))
    }

    /// Runs code inside; see [`Namespace::inside`].
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the code fails.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.inside(work)
    }

    /// Executes lines for `ip -batch`, all or until the first that fails.
    ///
    /// # Errors
    /// The first line that fails.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.namespace.inside(|| command.spawn().context("running ip (iproute2)"))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes()).context("writing to ip")?;
        }
        let output = child.wait_with_output().context("waiting for ip")?;
        if !output.status.success() {
            bail!("{}: ip: {}\n{lines}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Adds an address to an interface.
    ///
    /// # Errors
    /// When the address or the interface is wrong.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        self.ip_batch(&address_line(interface, address))
    }

    /// Writes a sysctl, named by its path under `/proc/sys`.
    ///
    /// # Errors
    /// When there is no such sysctl, or the value is refused.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.inside(|| fs::write(Path::new("/proc/sys").join(path), value).with_context(|| format!("sysctl {path}")))
    }

    /// Unicast routes of the main table with a given protocol (`bgp`, `186`, `80`), destination to gateways. A route
    /// without a gateway has its interface's name instead, a blackhole `blackhole`.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn kernel_routes(&self, protocol: &str) -> Result<BTreeMap<String, Vec<String>>> {
        let mut routes = BTreeMap::new();
        for (family, whole) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
            let text = self.run("ip", &[family, "-j", "route", "show", "table", "main", "proto", protocol])?;
            let entries: Vec<Value> = serde_json::from_str(&text).context("routes of ip -j")?;
            for entry in &entries {
                let destination = entry.get("dst").and_then(Value::as_str).unwrap_or_default();
                let destination = with_length(if destination == "default" { whole } else { destination });
                routes.entry(destination).or_insert_with(Vec::new).extend(gateways(entry));
            }
        }
        routes.values_mut().for_each(|gateways| gateways.sort());
        Ok(routes)
    }

    /// Whether an address answers one echo request within a second.
    ///
    /// # Errors
    /// When `ping` cannot be executed.
    pub fn ping(&self, target: IpAddr) -> Result<bool> {
        let mut command = Command::new("ping");
        command.args(["-n", "-q", "-c", "1", "-W", "1", &target.to_string()]);
        Ok(self.output(&mut command)?.status.success())
    }
}

/// A port of a node, described; [`crate::Lab::link`] and [`crate::Switch::connect`] make it.
#[derive(Clone, Debug)]
pub struct Port {
    node: Node,
    name: String,
    addresses: Vec<String>,
}

impl Port {
    /// Its interface name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn bring_up(&self) -> Result<()> {
        // Link-local addresses are usable at once, too.
        self.node.set_sysctl(&format!("net/ipv6/conf/{}/accept_dad", self.name), "0")?;
        let mut lines = format!("link set {} up\n", self.name);
        for address in &self.addresses {
            lines.push_str(&address_line(&self.name, address));
        }
        self.node.ip_batch(&lines)
    }
}

fn address_line(interface: &str, address: &str) -> String {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    format!("address add {address} dev {interface}{nodad}\n")
}

/// `ip` leaves the length of host routes out.
fn with_length(destination: &str) -> String {
    match destination {
        d if d.contains('/') => d.to_owned(),
        d if d.contains(':') => format!("{d}/128"),
        d => format!("{d}/32"),
    }
}

fn gateways(entry: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    if let Some(hops) = entry.get("nexthops").and_then(Value::as_array) {
        return hops.iter().filter_map(|hop| gateway(hop).or_else(|| text(hop, "dev"))).collect();
    }
    if text(entry, "type").as_deref() == Some("blackhole") {
        return vec!["blackhole".to_owned()];
    }
    gateway(entry).or_else(|| text(entry, "dev")).into_iter().collect()
}

fn gateway(hop: &Value) -> Option<String> {
    let via = hop.get("via").and_then(|via| via.get("host")).and_then(Value::as_str);
    hop.get("gateway").and_then(Value::as_str).or(via).map(ToOwned::to_owned)
}
