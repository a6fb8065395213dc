//! The node's configuration file: the few things that are not resources.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// What a node's daemons must know before they can read resources. Both daemons read the same file; a key that neither
/// knows is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of this node, as in its Node resource.
    pub node_name: String,
    /// Namespace of the Secrets that hold BGP passwords. Default `kube-system`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Where the resources are.
    pub datastore: DatastoreConfig,
    /// Unix sockets of the daemons.
    #[serde(default)]
    pub sockets: Sockets,
    /// Folder for what must survive a daemon but not a reboot. Default `/run/tortie`.
    #[serde(default = "default_state_directory")]
    pub state_directory: PathBuf,
    /// Where metrics are served over HTTP; absent means nowhere.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Log filter: `info`, or `warn,bgpd=debug`. Default `info`, or for bgpd what BGPConfiguration says.
    #[serde(default)]
    pub log: Option<String>,
}

/// Log filter where none is configured.
pub const DEFAULT_FILTER: &str = "info";

impl NodeConfig {
    /// The log filter to start with.
    pub fn log(&self) -> &str {
        self.log.as_deref().unwrap_or(DEFAULT_FILTER)
    }
}

/// Where the resources are: exactly one back end.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatastoreConfig {
    /// A folder of manifests.
    pub directory: PathBuf,
}

/// Unix sockets of the daemons.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sockets {
    /// Of felix: the CNI plugin and `felix show` connect here.
    pub felix: PathBuf,
    /// Of bgpd: felix and `bgpd show` connect here.
    pub bgpd: PathBuf,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { felix: PathBuf::from(FELIX_SOCKET), bgpd: PathBuf::from(BGPD_SOCKET) }
    }
}

/// felix's socket unless configured.
pub const FELIX_SOCKET: &str = "/run/tortie/felix.sock";
/// bgpd's socket unless configured.
pub const BGPD_SOCKET: &str = "/run/tortie/bgpd.sock";

/// Where metrics are served over HTTP.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// felix's address and port.
    pub felix: Option<SocketAddr>,
    /// bgpd's address and port.
    pub bgpd: Option<SocketAddr>,
}

fn default_state_directory() -> PathBuf {
    PathBuf::from("/run/tortie")
}

fn default_namespace() -> String {
    "kube-system".to_owned()
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a configuration file may hold.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Position, key and what is allowed.
        source: Box<serde_saphyr::Error>,
    },
}

/// Reads any YAML configuration type.
///
/// # Errors
/// When the file cannot be read, is no YAML, or holds an unknown key or a wrong value.
pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_saphyr::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_minimal_file_has_the_documented_defaults() {
        let config = parse("nodeName: a\ndatastore: {directory: /etc/tortie}\n").unwrap();
        assert_eq!(config.sockets.felix, Path::new("/run/tortie/felix.sock"));
        assert_eq!(config.state_directory, Path::new("/run/tortie"));
        assert_eq!((config.log(), config.namespace.as_str()), ("info", "kube-system"));
        assert!(config.metrics.bgpd.is_none());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_with_those_allowed() {
        let error = parse("nodeName: a\ndatastore: {directory: /x}\nsockts: {}\n").unwrap_err();
        assert!(error.contains("sockts") && error.contains("sockets"), "{error}");
    }
}
