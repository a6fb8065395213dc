//! A pod: a namespace that a CNI plugin has wired.

use std::{collections::BTreeMap, net::IpAddr, path::Path, time::Duration};

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};

use crate::{
    Lab, Node,
    cni::{Added, Attachment, Network},
};

/// What a pod is to be.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels, handed over as `args.cni.labels`.
    pub labels: BTreeMap<String, String>,
    /// More of `CNI_ARGS`.
    pub args: BTreeMap<String, String>,
    /// Values of capabilities.
    pub runtime: Map<String, Value>,
}

impl PodSpec {
    /// A pod in the Kubernetes namespace `default`.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { namespace: "default".to_owned(), name: name.to_owned(), labels, ..Self::default() }
    }

    /// The attachment a runtime would make of it.
    #[must_use]
    pub fn attachment(&self, netns: &Path) -> Attachment {
        let mut args = self.args.clone();
        args.insert("IgnoreUnknown".to_owned(), "1".to_owned());
        args.insert("K8S_POD_NAMESPACE".to_owned(), self.namespace.clone());
        args.insert("K8S_POD_NAME".to_owned(), self.name.clone());
        args.insert("K8S_POD_INFRA_CONTAINER_ID".to_owned(), format!("{}-{}", self.namespace, self.name));
        Attachment {
            container_id: format!("{}-{}", self.namespace, self.name),
            netns: netns.display().to_string(),
            if_name: "eth0".to_owned(),
            args,
            labels: self.labels.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

/// A pod that runs, as far as its network is concerned.
#[derive(Debug)]
pub struct Pod {
    inside: Node,
    node: Node,
    network: Network,
    attachment: Attachment,
    added: Added,
}

impl Pod {
    /// Makes the namespace and executes ADD on the node.
    ///
    /// # Errors
    /// A [`crate::cni::CniError`] when the plugin refuses; the namespace is gone again then.
    pub fn add(lab: &Lab, node: &Node, network: &Network, spec: &PodSpec) -> Result<Self> {
        let inside = lab.passing_host(&format!("{}-{}", spec.namespace, spec.name))?;
        let attachment = spec.attachment(inside.namespace().path());
        let added = network.add(node, &attachment)?;
        Ok(Self { inside, node: node.clone(), network: network.clone(), attachment, added })
    }

    /// Its namespace, as a node.
    #[must_use]
    pub const fn inside(&self) -> &Node {
        &self.inside
    }

    /// The node it is on.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// What ADD gave.
    #[must_use]
    pub const fn added(&self) -> &Added {
        &self.added
    }

    /// How a runtime names it.
    #[must_use]
    pub const fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Its IPv4 address.
    ///
    /// # Errors
    /// When it has none.
    pub fn ipv4(&self) -> Result<IpAddr> {
        self.address(IpAddr::is_ipv4, "IPv4")
    }

    /// Its IPv6 address.
    ///
    /// # Errors
    /// When it has none.
    pub fn ipv6(&self) -> Result<IpAddr> {
        self.address(IpAddr::is_ipv6, "IPv6")
    }

    fn address(&self, wanted: impl Fn(&IpAddr) -> bool, family: &str) -> Result<IpAddr> {
        let found = self.added.addresses().into_iter().find(wanted);
        found.ok_or_else(|| anyhow!("pod {} has no {family} address", self.attachment.container_id))
    }

    /// Executes CHECK.
    ///
    /// # Errors
    /// A [`crate::cni::CniError`] that says what is not as it was.
    pub fn check(&self) -> Result<()> {
        self.network.check(&self.node, &self.attachment, &self.added.result)
    }

    /// Executes DEL, then takes the namespace away.
    ///
    /// # Errors
    /// A [`crate::cni::CniError`] when the plugin refuses.
    pub fn delete(self) -> Result<Duration> {
        self.network.del(&self.node, &self.attachment, Some(&self.added.result))
    }
}
