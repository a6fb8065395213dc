//! The shared folder of manifests, written the way an editor saves: never half.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::PodSpec;

/// A folder of manifests that all nodes of a lab read.
#[derive(Clone, Debug)]
pub struct Manifests {
    folder: PathBuf,
}

impl Manifests {
    /// Uses a folder; makes it when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes or replaces a file in one stroke.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, file: &str, text: &str) -> Result<()> {
        let temporary = self.folder.join(format!(".{file}.new"));
        fs::write(&temporary, text).with_context(|| format!("writing {}", temporary.display()))?;
        fs::rename(&temporary, self.folder.join(file)).with_context(|| format!("renaming {file}"))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &str) -> Result<()> {
        match fs::remove_file(self.folder.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(file.to_owned()),
            _ => Ok(()),
        }
    }

    /// Writes a Pod as the API has it: without addresses once it is placed on a node, with them once it runs there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_pod(&self, spec: &PodSpec, node: &str, addresses: &[IpAddr]) -> Result<()> {
        let ips: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let phase = if addresses.is_empty() { "Pending" } else { "Running" };
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": spec.name, "namespace": spec.namespace, "labels": spec.labels},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "podIPs": ips},
        });
        if let Some(first) = addresses.first() {
            pod["status"]["podIP"] = json!(first);
        }
        self.put(&pod_file(spec), &serde_json::to_string_pretty(&pod)?)
    }

    /// Removes a Pod.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_pod(&self, spec: &PodSpec) -> Result<()> {
        self.remove(&pod_file(spec))
    }
}

fn pod_file(spec: &PodSpec) -> String {
    // JSON is YAML.
    format!("pod-{}-{}.yaml", spec.namespace, spec.name)
}
