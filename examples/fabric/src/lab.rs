//! A lab: the nodes of one test, how they are connected, and a folder for their files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result};

use crate::{Namespace, Node, Port};

/// The MTU of links unless said otherwise, in bytes.
const MTU: u32 = 1500;

/// The nodes of one test. Several labs may exist at once: their namespaces and files do not meet.
#[derive(Debug)]
pub struct Lab {
    name: String,
    directory: PathBuf,
    mtu: u32,
    nodes: Mutex<Vec<Node>>,
}

impl Lab {
    /// Makes an empty lab. Its namespaces are called `NAME-NODE`; with an empty name just `NODE`.
    ///
    /// # Errors
    /// When a lab of that name exists, or [`crate::enter`] was not called.
    pub fn new(name: &str) -> Result<Self> {
        let directory = Path::new("/run/fabric").join(if name.is_empty() { "lab" } else { name });
        fs::create_dir_all("/run/fabric").context("making /run/fabric")?;
        fs::create_dir(&directory).with_context(|| format!("making {}; does the lab exist?", directory.display()))?;
        Ok(Self { name: name.to_owned(), directory, mtu: MTU, nodes: Mutex::default() })
    }

    /// Sets the MTU of links made from now on, in bytes.
    #[must_use]
    pub fn with_mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// The folder for files of this lab; it goes with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a node: a network namespace that forwards both families, with nothing but `lo`. It lives as long as the lab.
    ///
    /// # Errors
    /// When it exists, or the system refuses.
    pub fn node(&self, name: &str) -> Result<Node> {
        let node = self.host(name)?;
        for (sysctl, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/default/forwarding", "1"),
        ] {
            node.set_sysctl(sysctl, value)?;
        }
        Ok(node)
    }

    /// Makes a host: as a node, but it does not forward.
    ///
    /// # Errors
    /// When it exists, or the system refuses.
    pub fn host(&self, name: &str) -> Result<Node> {
        let node = self.passing_host(name)?;
        if let Ok(mut nodes) = self.nodes.lock() {
            nodes.push(node.clone());
        }
        Ok(node)
    }

    /// A host that goes when it is dropped; the others stay until the lab goes.
    pub(crate) fn passing_host(&self, name: &str) -> Result<Node> {
        let full = if self.name.is_empty() { name.to_owned() } else { format!("{}-{name}", self.name) };
        Node::new(name, Namespace::new(&full)?, self.directory.join(name))
    }

    /// Connects two nodes with a point-to-point link. Addresses are usable at once (no duplicate detection).
    ///
    /// # Errors
    /// When a port exists, or an address is wrong.
    pub fn link(&self, one: &Port, other: &Port) -> Result<()> {
        let mtu = self.mtu;
        one.node().ip_batch(&format!(
            "link add {} mtu {mtu} type veth peer name {} mtu {mtu} netns {}\n",
            one.name(),
            other.name(),
            other.node().namespace().name()
        ))?;
        one.bring_up()?;
        other.bring_up()
    }

    /// Makes a switch: a bridge in a namespace of its own.
    ///
    /// # Errors
    /// When it exists, or the system refuses.
    pub fn switch(&self, name: &str) -> Result<Switch> {
        let node = self.host(name)?;
        node.ip_batch(&format!(
            "link add br0 mtu {} type bridge forward_delay 0 mcast_snooping 0\nlink set br0 up\n",
            self.mtu
        ))?;
        Ok(Switch { node, mtu: self.mtu, ports: Mutex::new(0) })
    }

    /// Prints the end of every log of the lab, for a test that failed.
    pub fn dump_logs(&self) {
        for path in log_files(&self.directory) {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            let skipped = lines.len().saturating_sub(60);
            eprintln!("--- {} ({skipped} lines above)", path.display());
            for line in lines.iter().skip(skipped) {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            self.dump_logs();
        }
        // What is left goes with the tmpfs.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn log_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(log_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A layer 2 switch.
#[derive(Debug)]
pub struct Switch {
    node: Node,
    mtu: u32,
    ports: Mutex<u32>,
}

impl Switch {
    /// Plugs a node in.
    ///
    /// # Errors
    /// When the port exists, or an address is wrong.
    pub fn connect(&self, port: &Port) -> Result<()> {
        let number = {
            let mut ports = self.ports.lock().map_err(|_| anyhow::anyhow!("a thread died while it plugged in"))?;
            *ports += 1;
            *ports
        };
        let mtu = self.mtu;
        self.node.ip_batch(&format!(
            "link add p{number} mtu {mtu} type veth peer name {} mtu {mtu} netns {}\n\
             link set p{number} master br0 up\n",
            port.name(),
            port.node().namespace().name(),
        ))?;
        port.bring_up()
    }

    /// The namespace of the bridge, for captures.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }
}
