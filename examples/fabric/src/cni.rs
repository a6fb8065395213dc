//! A container runtime's side of CNI: a network configuration list, and plugins that are executed (CNI specification 1.1.0).

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Node;

/// What a plugin says when it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CniError {
    /// Error code of the specification (1–99), or the plugin's own.
    pub code: u32,
    /// One sentence.
    pub msg: String,
    /// More, may be empty.
    #[serde(default)]
    pub details: String,
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CNI error {}: {}", self.code, self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
    }
}

impl std::error::Error for CniError {}

/// One attachment of a container to a network, in the words of the specification.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; empty when the namespace is gone.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub if_name: String,
    /// `CNI_ARGS`.
    pub args: BTreeMap<String, String>,
    /// `args.cni.labels`.
    pub labels: BTreeMap<String, String>,
    /// `runtimeConfig`: values of capabilities, used by the plugins that declare them.
    pub runtime: Map<String, Value>,
}

/// The result of an ADD.
#[derive(Clone, Debug)]
pub struct Added {
    /// As the last plugin gave it.
    pub result: Value,
    /// From the call to the answer.
    pub took: Duration,
}

impl Added {
    /// The addresses, without prefix length, in the plugin's order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.result.get("ips").and_then(Value::as_array);
        let texts = ips.into_iter().flatten().filter_map(|ip| ip.get("address").and_then(Value::as_str));
        texts.filter_map(|text| text.split('/').next()?.parse().ok()).collect()
    }

    /// Names of the interfaces that are not in the container's namespace.
    #[must_use]
    pub fn host_interfaces(&self) -> Vec<String> {
        let interfaces = self.result.get("interfaces").and_then(Value::as_array);
        let outside = |i: &&Value| i.get("sandbox").and_then(Value::as_str).unwrap_or_default().is_empty();
        let outside = interfaces.into_iter().flatten().filter(outside);
        outside.filter_map(|i| i.get("name").and_then(Value::as_str)).map(ToOwned::to_owned).collect()
    }
}

/// A network configuration list and the folders its plugins are in.
#[derive(Clone, Debug)]
pub struct Network {
    name: String,
    version: String,
    plugins: Vec<Map<String, Value>>,
    path: Vec<PathBuf>,
}

impl Network {
    /// Reads a conflist file. Plugins are searched for in `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is no configuration list.
    pub fn read(file: &Path, path: &[PathBuf]) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text, path).with_context(|| file.display().to_string())
    }

    /// As [`Network::read`], from text.
    ///
    /// # Errors
    /// When it is no configuration list.
    pub fn parse(text: &str, path: &[PathBuf]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct List {
            cni_version: String,
            name: String,
            plugins: Vec<Map<String, Value>>,
        }
        let list: List = serde_json::from_str(text).context("no network configuration list")?;
        Ok(Self { name: list.name, version: list.cni_version, plugins: list.plugins, path: path.to_vec() })
    }

    /// Sets a key of the first plugin, such as the path of its daemon's socket.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Some(plugin) = self.plugins.first_mut() {
            plugin.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Uses another version of the specification.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Attaches a container.
    ///
    /// # Errors
    /// A [`CniError`] when a plugin refuses; another when it cannot be executed or gives nonsense.
    pub fn add(&self, node: &Node, attachment: &Attachment) -> Result<Added> {
        let start = Instant::now();
        let mut result = Value::Null;
        for plugin in &self.plugins {
            result = self.execute(node, "ADD", plugin, attachment, Some(&result))?;
        }
        Ok(Added { result, took: start.elapsed() })
    }

    /// Detaches a container, last plugin first. `previous` is what ADD gave, if it is known.
    ///
    /// # Errors
    /// See [`Network::add`].
    pub fn del(&self, node: &Node, attachment: &Attachment, previous: Option<&Value>) -> Result<Duration> {
        let start = Instant::now();
        for plugin in self.plugins.iter().rev() {
            self.execute(node, "DEL", plugin, attachment, previous)?;
        }
        Ok(start.elapsed())
    }

    /// Asks whether a container is still attached as ADD left it.
    ///
    /// # Errors
    /// See [`Network::add`].
    pub fn check(&self, node: &Node, attachment: &Attachment, previous: &Value) -> Result<()> {
        self.plugins
            .iter()
            .try_for_each(|plugin| self.execute(node, "CHECK", plugin, attachment, Some(previous)).map(drop))
    }

    /// Asks whether an ADD could be served now.
    ///
    /// # Errors
    /// See [`Network::add`].
    pub fn status(&self, node: &Node) -> Result<()> {
        let nobody = Attachment::default();
        self.plugins.iter().try_for_each(|plugin| self.execute(node, "STATUS", plugin, &nobody, None).map(drop))
    }

    /// The command that executes one plugin, and its standard input: for callers that want to kill it half way.
    ///
    /// # Errors
    /// When the plugin is not found.
    pub fn command(&self, verb: &str, attachment: &Attachment) -> Result<(Command, String)> {
        let plugin = self.plugins.first().ok_or_else(|| anyhow!("{} has no plugin", self.name))?;
        Ok((self.invocation(verb, plugin, attachment)?, self.config(plugin, attachment, None).to_string()))
    }

    fn execute(
        &self,
        node: &Node,
        verb: &str,
        plugin: &Map<String, Value>,
        attachment: &Attachment,
        previous: Option<&Value>,
    ) -> Result<Value> {
        let config = self.config(plugin, attachment, previous).to_string();
        let mut command = self.invocation(verb, plugin, attachment)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut child = node.inside(|| command.spawn().with_context(|| format!("executing {}", program.display())))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(config.as_bytes()).context("writing the configuration")?;
        }
        let output = child.wait_with_output().context("waiting for the plugin")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            if text.trim().is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(&text).with_context(|| format!("{verb} result: {text}"));
        }
        match serde_json::from_str::<CniError>(&text) {
            Ok(error) => Err(error.into()),
            Err(_) => bail!("{verb}: {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn invocation(&self, verb: &str, plugin: &Map<String, Value>, attachment: &Attachment) -> Result<Command> {
        let kind = plugin.get("type").and_then(Value::as_str).ok_or_else(|| anyhow!("a plugin without type"))?;
        let found = self.path.iter().map(|folder| folder.join(kind)).find(|file| file.exists());
        let program = found.ok_or_else(|| anyhow!("no plugin {kind} in {:?}", self.path))?;
        let args: Vec<_> = attachment.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut command = Command::new(program);
        command.env("CNI_COMMAND", verb).env("CNI_PATH", std::env::join_paths(&self.path)?);
        if verb != "STATUS" {
            command.env("CNI_CONTAINERID", &attachment.container_id).env("CNI_IFNAME", &attachment.if_name);
            command.env("CNI_NETNS", &attachment.netns).env("CNI_ARGS", args.join(";"));
        }
        Ok(command)
    }

    fn config(&self, plugin: &Map<String, Value>, attachment: &Attachment, previous: Option<&Value>) -> Value {
        let mut config = plugin.clone();
        config.insert("cniVersion".into(), json!(self.version));
        config.insert("name".into(), json!(self.name));
        if let Some(previous) = previous.filter(|value| !value.is_null()) {
            config.insert("prevResult".into(), previous.clone());
        }
        let declared = plugin.get("capabilities").and_then(Value::as_object).cloned().unwrap_or_default();
        let wanted = |key: &String| declared.get(key) == Some(&Value::Bool(true));
        let runtime: Map<_, _> = attachment.runtime.clone().into_iter().filter(|(key, _)| wanted(key)).collect();
        if !runtime.is_empty() {
            config.insert("runtimeConfig".into(), Value::Object(runtime));
        }
        if !attachment.labels.is_empty() {
            let labels: Vec<_> = attachment.labels.iter().map(|(k, v)| json!({"key": k, "value": v})).collect();
            config.insert("args".into(), json!({"cni": {"labels": labels}}));
        }
        Value::Object(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_capabilities_reach_a_plugin() {
        let list =
            r#"{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "x", "capabilities": {"ips": true}}]}"#;
        let network = Network::parse(list, &[]).unwrap();
        let mut attachment = Attachment::default();
        attachment.runtime.insert("ips".into(), json!(["10.0.0.1"]));
        attachment.runtime.insert("portMappings".into(), json!([]));
        let config = network.config(&network.plugins[0], &attachment, None);
        assert_eq!(config["runtimeConfig"], json!({"ips": ["10.0.0.1"]}));
        assert_eq!((&config["cniVersion"], &config["name"]), (&json!("1.1.0"), &json!("net")));
    }

    #[test]
    fn a_result_tells_addresses_and_host_interfaces() {
        let result = json!({
            "interfaces": [{"name": "cali1"}, {"name": "eth0", "sandbox": "/run/netns/p"}],
            "ips": [{"address": "10.65.0.7/32"}, {"address": "fd00::7/128"}],
        });
        let added = Added { result, took: Duration::ZERO };
        assert_eq!(added.host_interfaces(), ["cali1"]);
        assert_eq!(added.addresses(), ["10.65.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    }
}
