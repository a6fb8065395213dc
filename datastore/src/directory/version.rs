//! Versions made from contents.

use resources::Resource;
use serde_json::Value;

/// Sets `metadata.resourceVersion` to COUNTER-HASH: how often the datastore wrote the object, and a hash of everything
/// else in it. So what a person changes changes the version too.
pub(super) fn stamp(resource: &mut Resource, counter: u64) -> Result<(), serde_json::Error> {
    resource.metadata_mut().resource_version = None;
    let content = serde_json::to_vec(&resource.to_json()?)?;
    resource.metadata_mut().resource_version = Some(format!("{counter}-{:016x}", hash(&content)));
    Ok(())
}

/// The counter of a version. One from elsewhere counts as it is, if it is a number.
pub(super) fn counter(resource: &Resource) -> u64 {
    let version = resource.metadata().resource_version.as_deref().unwrap_or_default();
    version.split('-').next().and_then(|counter| counter.parse().ok()).unwrap_or_default()
}

/// The manifest as a state file or a copy has it.
pub(super) fn manifest(resource: &Resource) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(&resource.to_json()?)?;
    text.push(b'\n');
    Ok(text)
}

/// Several manifests in one text.
pub(super) fn manifests<'r>(resources: impl Iterator<Item = &'r Resource>) -> Result<Vec<u8>, serde_json::Error> {
    let values: Vec<Value> = resources.map(Resource::to_json).collect::<Result<_, _>>()?;
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, &value)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// FNV-1a, 64 bits: the same in every process and version, which the standard library's hash does not promise.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
