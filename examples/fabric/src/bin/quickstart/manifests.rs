//! The folder of manifests that all nodes share: the files of examples/quickstart/manifests.

use anyhow::Result;
use fabric::Manifests;

macro_rules! bundled {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../quickstart/manifests/", $name)))
    };
}

const AT_THE_START: [(&str, &str); 4] =
    [bundled!("bgp.yaml"), bundled!("ip-pools.yaml"), bundled!("namespaces.yaml"), bundled!("nodes.yaml")];
const POLICY: (&str, &str) = bundled!("network-policy.yaml");

/// The network configuration of container runtimes.
pub(crate) const CONFLIST: &str = include_str!("../../../../quickstart/10-tortie.conflist");

/// Fills the folder, without the policy.
pub(crate) fn write(folder: &Manifests) -> Result<()> {
    AT_THE_START.iter().try_for_each(|(name, text)| folder.put(name, text))
}

/// Applies the policy.
pub(crate) fn write_policy(folder: &Manifests) -> Result<()> {
    folder.put(POLICY.0, POLICY.1)
}
