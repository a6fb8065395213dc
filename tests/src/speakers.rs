//! Labs of BGP speakers: routers on one switch, and bgpd's status asked as a person would.

use std::{net::IpAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use fabric::{Lab, Node, binary, router::Router, wait_for, wait_until};
use serde_json::Value;

/// How long anything that must come may take.
pub const SOON: Duration = Duration::from_secs(30);

/// Reads an address.
///
/// # Errors
/// When it is none.
pub fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

/// IPv4 and IPv6 address of the machine with a number on the switch.
#[must_use]
pub fn addresses(number: u8) -> (IpAddr, IpAddr) {
    (IpAddr::from([192, 0, 2, number]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)]))
}

/// Makes nodes on one switch, numbered from 1 in order: `192.0.2.N/24` and `2001:db8::N/64`.
///
/// # Errors
/// When one exists.
pub fn nodes<const N: usize>(lab: &Lab, names: [&str; N]) -> Result<[Node; N]> {
    let switch = lab.switch("switch")?;
    let mut nodes = Vec::new();
    for (number, name) in (1..).zip(names) {
        let node = lab.node(name)?;
        let (v4, v6) = addresses(number);
        switch.connect(&node.port("eth0", &[&format!("{v4}/24"), &format!("{v6}/64")]))?;
        nodes.push(node);
    }
    nodes.try_into().map_err(|_| anyhow::anyhow!("a node is missing"))
}

/// A text field of a JSON object; empty when it is not there.
#[must_use]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number of a JSON object, whether it is written as one or, as 64-bit ones are, as text; 0 when it is not there.
#[must_use]
pub fn number(value: &Value, path: &str) -> u64 {
    match value.pointer(path) {
        Some(Value::String(digits)) => digits.parse().unwrap_or_default(),
        found => found.and_then(Value::as_u64).unwrap_or_default(),
    }
}

/// The entries of a list in a JSON object.
#[must_use]
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Asks one bgpd.
#[derive(Clone, Debug)]
pub struct Status {
    node: Node,
    socket: PathBuf,
}

impl Status {
    /// A bgpd that runs on a static file.
    #[must_use]
    pub fn of_router(router: &Router) -> Self {
        Self { node: router.node().clone(), socket: router.node().directory().join("tortie/bgpd.sock") }
    }

    /// A cluster node's bgpd.
    #[must_use]
    pub fn of_node(node: &Node) -> Self {
        Self { node: node.clone(), socket: node.directory().join("bgpd.sock") }
    }

    /// Runs a command and returns its exit status and what it printed.
    ///
    /// # Errors
    /// When it cannot be executed, or a signal ended it.
    pub fn run(&self, words: &[&str]) -> Result<(i32, String)> {
        let mut command = Command::new(binary("bgpd")?);
        let output = self.node.output(command.args(words).arg("--socket").arg(&self.socket))?;
        let status = output.status.code().context("a signal ended bgpd's command")?;
        let printed = if status > 1 { output.stderr } else { output.stdout };
        Ok((status, String::from_utf8_lossy(&printed).into_owned()))
    }

    /// The answer to a command as JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        match self.run(&[words, &["-o", "json"]].concat())? {
            (0 | 1, printed) => serde_json::from_str(&printed).with_context(|| printed),
            (status, printed) => bail!("bgpd {}: status {status}: {}", words.join(" "), printed.trim()),
        }
    }

    /// One peer.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn peer(&self, name: &str) -> Result<Value> {
        self.ask(&["show", "peer", name])
    }

    /// Names of all peers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn peer_names(&self) -> Result<Vec<String>> {
        let reply = self.ask(&["show", "peers"])?;
        Ok(list(&reply, "peers").iter().map(|peer| text(peer, "name").to_owned()).collect())
    }

    /// Waits until a peer is as wanted, and returns it.
    ///
    /// # Errors
    /// When it is not in time; the message has the peer.
    pub fn wait_peer(&self, name: &str, wanted: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait_for(&format!("{}: peer {name} {wanted}", self.node.name()), SOON, || {
            last = self.peer(name)?;
            Ok(is_so(&last).then(|| last.clone()))
        });
        found.map(|(peer, _)| peer).with_context(|| last.to_string())
    }

    /// Waits for an Established session.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_established(&self, name: &str) -> Result<Value> {
        self.wait_peer(name, "Established", |peer| text(peer, "state") == "Established")
    }

    /// Prefixes of one of a peer's tables: `advertised` or `received`.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn prefixes(&self, table: &str, peer: &str) -> Result<Vec<String>> {
        let reply = self.ask(&["show", table, peer])?;
        Ok(list(&reply, "routes").iter().map(|route| text(route, "prefix").to_owned()).collect())
    }

    /// What `explain` says of a peer's path to a prefix; `None` when the peer has none.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn why(&self, prefix: &str, peer: &str) -> Result<Option<String>> {
        let (status, printed) = self.run(&["explain", prefix, "-o", "json"])?;
        if status == 4 {
            return Ok(None);
        }
        let reply: Value = serde_json::from_str(&printed).with_context(|| printed)?;
        let path = list(&reply, "candidates").iter().find(|path| text(path, "peer") == peer);
        Ok(path.map(|path| text(path, "why").to_owned()))
    }

    /// Waits until `explain` gives a reason for a peer's path.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_why(&self, prefix: &str, peer: &str, reason: &str) -> Result<()> {
        let mut last = None;
        let waited = wait_until(&format!("{}: {prefix} of {peer}: {reason}", self.node.name()), SOON, || {
            last = self.why(prefix, peer)?;
            Ok(last.as_ref().is_some_and(|why| why.contains(reason)))
        });
        waited.map(drop).with_context(|| format!("it says {last:?}"))
    }

    /// Waits until the kernel has exactly these gateways for a prefix by BGP; none means no route.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn wait_kernel(&self, prefix: &str, gateways: &[IpAddr]) -> Result<()> {
        wait_kernel(&self.node, prefix, gateways)
    }
}

/// Waits until a node's kernel has exactly these gateways for a prefix by BGP; none means no route.
///
/// # Errors
/// When it has not in time; the message has what is there.
pub fn wait_kernel(node: &Node, prefix: &str, gateways: &[IpAddr]) -> Result<()> {
    let mut wanted: Vec<_> = gateways.iter().map(ToString::to_string).collect();
    wanted.sort();
    let mut last = None;
    let waited = wait_until(&format!("{prefix} via {wanted:?} in the kernel of {}", node.name()), SOON, || {
        let mut routes = node.kernel_routes("bgp")?;
        last = routes.remove(prefix);
        Ok(last.clone().unwrap_or_default() == wanted)
    });
    waited.map(drop).with_context(|| format!("it has {last:?}"))
}
