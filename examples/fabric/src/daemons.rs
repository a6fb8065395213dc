//! tortie on a node: its configuration file and its two daemons.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{Node, Process, cni::Network, wait_until};

/// What differs between nodes and labs.
#[derive(Clone, Debug)]
pub struct DaemonsConfig {
    /// The shared folder of manifests.
    pub datastore: PathBuf,
    /// Log filter, where the node's file has one.
    pub log: Option<String>,
    /// Ports of the metrics endpoints of felix and bgpd on 127.0.0.1, if there are to be any.
    pub metrics: Option<(u16, u16)>,
}

impl DaemonsConfig {
    /// No metrics, log level `info` unless resources say otherwise.
    #[must_use]
    pub fn new(datastore: &Path) -> Self {
        Self { datastore: datastore.to_owned(), log: None, metrics: None }
    }
}

/// Finds a binary of ours: in the folder `TORTIE_BIN` names, else beside this executable.
///
/// # Errors
/// When it is in neither.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("finding this executable")?;
    let named = env::var_os("TORTIE_BIN").map(PathBuf::from);
    // Test executables are one folder deeper than binaries.
    let folders = match &named {
        Some(folder) => vec![folder.as_path()],
        None => own.ancestors().skip(1).take(2).collect(),
    };
    match folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!("no {name} in {folders:?}; build it and name the folder in TORTIE_BIN"),
    }
}

/// bgpd and felix of one node.
#[derive(Debug)]
pub struct Daemons {
    node: Node,
    config: PathBuf,
    /// The BGP speaker.
    pub bgpd: Process,
    /// The node agent.
    pub felix: Process,
}

impl Daemons {
    /// Writes the node's file and starts both daemons on it. The Node resource has the node's name.
    ///
    /// # Errors
    /// When a file cannot be written or a daemon not be executed.
    pub fn start(node: &Node, config: &DaemonsConfig) -> Result<Self> {
        let file = node.directory().join("node.yaml");
        // JSON is YAML.
        fs::write(&file, serde_json::to_vec_pretty(&node_file(node, config))?)
            .with_context(|| format!("writing {}", file.display()))?;
        let bgpd = node.spawn("bgpd", run_command("bgpd", &file)?)?;
        let felix = node.spawn("felix", run_command("felix", &file)?)?;
        Ok(Self { node: node.clone(), config: file, bgpd, felix })
    }

    /// The node they run on.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The node's configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where felix or bgpd listens.
    #[must_use]
    pub fn socket(&self, daemon: &str) -> PathBuf {
        socket(&self.node, daemon)
    }

    /// Waits until felix can serve an ADD and bgpd answers.
    ///
    /// # Errors
    /// When they do not before the deadline.
    pub fn wait_ready(&mut self, deadline: Duration) -> Result<Duration> {
        let name = self.node.name().to_owned();
        let bgpd = wait_until(&format!("bgpd of {name}"), deadline, || {
            ensure_running(&mut self.bgpd)?;
            ask(&self.node, "bgpd", &["show", "peers"]).map(|_| true)
        })?;
        let felix = wait_until(&format!("felix of {name}"), deadline, || {
            ensure_running(&mut self.felix)?;
            let status = ask(&self.node, "felix", &["status"])?;
            Ok(status.get("inSync").and_then(Value::as_bool) == Some(true))
        })?;
        Ok(bgpd.max(felix))
    }

    /// Asks bgpd: `show peers`, `explain PREFIX` …; the reply message as JSON.
    ///
    /// # Errors
    /// When it cannot be reached or says no.
    pub fn ask_bgpd(&self, words: &[&str]) -> Result<Value> {
        ask(&self.node, "bgpd", words)
    }

    /// Asks felix, as [`Daemons::ask_bgpd`].
    ///
    /// # Errors
    /// When it cannot be reached or says no.
    pub fn ask_felix(&self, words: &[&str]) -> Result<Value> {
        ask(&self.node, "felix", words)
    }

    /// State of bgpd's sessions by peer name.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn sessions(&self) -> Result<Vec<(String, String)>> {
        let reply = self.ask_bgpd(&["show", "peers"])?;
        let peers = reply.get("peers").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |peer: &Value, key: &str| peer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(peers.iter().map(|peer| (text(peer, "name"), text(peer, "state"))).collect())
    }

    /// The CNI network of this node: a conflist file, with felix's socket of this lab in it.
    ///
    /// # Errors
    /// When the file is no conflist or the plugin is not built.
    pub fn network(&self, conflist: &Path) -> Result<Network> {
        let plugin = binary("tortie")?;
        let folder = plugin.parent().map(Path::to_owned).unwrap_or_default();
        let socket = self.socket("felix").display().to_string();
        Ok(Network::read(conflist, &[folder])?.with("socket", socket))
    }
}

fn socket(node: &Node, daemon: &str) -> PathBuf {
    node.directory().join(format!("{daemon}.sock"))
}

fn node_file(node: &Node, config: &DaemonsConfig) -> Value {
    let mut file = json!({
        "nodeName": node.name(),
        "datastore": {"directory": config.datastore},
        "sockets": {"felix": socket(node, "felix"), "bgpd": socket(node, "bgpd")},
        "stateDirectory": node.directory().join("state"),
    });
    if let Some(log) = &config.log {
        file["log"] = json!(log);
    }
    if let Some((felix, bgpd)) = config.metrics {
        let address = |port: u16| format!("127.0.0.1:{port}");
        file["metrics"] = json!({"felix": address(felix), "bgpd": address(bgpd)});
    }
    file
}

fn run_command(daemon: &str, file: &Path) -> Result<Command> {
    let mut command = Command::new(binary(daemon)?);
    command.arg("run").arg("-c").arg(file);
    Ok(command)
}

fn ensure_running(process: &mut Process) -> Result<()> {
    if process.is_running()? {
        return Ok(());
    }
    let log = process.log();
    bail!("{} has ended: {}", process.name(), log.lines().last().unwrap_or("without a word"))
}

fn ask(node: &Node, daemon: &str, words: &[&str]) -> Result<Value> {
    let program = binary(daemon)?;
    let socket = socket(node, daemon);
    let mut arguments: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    arguments.extend(["-o".to_owned(), "json".to_owned(), "--socket".to_owned(), socket.display().to_string()]);
    let output = node.output(Command::new(&program).args(&arguments))?;
    // Status 1 is an answer: the answer no.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("{daemon} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{daemon} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
