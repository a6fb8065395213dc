//! What felix remembers of each attachment over its own death: one small file each, in a folder that a reboot empties.
//!
//! A record is written before the first thing of an attachment exists and removed after the last is gone, so whatever
//! instruction felix dies at, the next one knows whom to finish or undo.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::cni::names;

/// One attachment: a container's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// CNI_CONTAINERID.
    pub(crate) container_id: String,
    /// CNI_IFNAME.
    pub(crate) if_name: String,
    /// Name of the network configuration, the first part of the addresses' handle.
    pub(crate) network: String,
    /// Path of the container's network namespace.
    pub(crate) netns: String,
    /// Kubernetes namespace; `default` when the runtime named none.
    pub(crate) namespace: String,
    /// Pod name; the container id when the runtime named none.
    pub(crate) pod: String,
    /// The host's end.
    pub(crate) interface: String,
    /// Labels from the network configuration, used when no Pod manifest exists.
    pub(crate) labels: BTreeMap<String, String>,
    /// Addresses handed out; empty until they are.
    pub(crate) addresses: Vec<IpAddr>,
    /// MTU of the link in bytes.
    pub(crate) mtu: u32,
    /// MAC address of the container's end.
    pub(crate) mac: [u8; 6],
    /// The ADD was answered with success.
    pub(crate) complete: bool,
}

impl Record {
    /// The handle that the attachment's addresses are held by.
    pub(crate) fn handle_id(&self) -> String {
        names::handle_id(&self.network, &self.container_id, &self.if_name)
    }
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Extension of a record.
const RECORD: &str = "json";
/// Extension of a record that is being written.
const TEMPORARY: &str = "new";

/// The folder of records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    folder: PathBuf,
}

impl Records {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(state_directory: &Path) -> Result<Self, Error> {
        let folder = state_directory.join("endpoints");
        fs::create_dir_all(&folder).map_err(|source| Error { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    /// All records, and what was only half written is removed. A file that is no record (torn by a crash of the machine, or not ours) is left out and logged.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub(crate) fn load(&self) -> Result<Vec<Record>, Error> {
        let failed = |source| Error { path: self.folder.clone(), source };
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == TEMPORARY) {
                fs::remove_file(&path).map_err(|source| Error { path, source })?;
                continue;
            }
            if path.extension().is_none_or(|extension| extension != RECORD) {
                continue;
            }
            match fs::read(&path).map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(record)) => records.push(record),
                Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "not an endpoint record"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "endpoint record cannot be read"),
            }
        }
        records.sort_by(|a: &Record, b| (&a.container_id, &a.if_name).cmp(&(&b.container_id, &b.if_name)));
        Ok(records)
    }

    /// Writes a record, replacing an older one of the same attachment in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.container_id, &record.if_name);
        let temporary = path.with_extension(TEMPORARY);
        let write = || -> io::Result<()> {
            fs::write(&temporary, serde_json::to_vec(record)?)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| Error { path: path.clone(), source })
    }

    /// Removes a record; one that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(&self, container_id: &str, if_name: &str) -> Result<(), Error> {
        let path = self.path(container_id, if_name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error { path, source }),
            _ => Ok(()),
        }
    }

    // Container ids and interface names come from the runtime: nothing of them may lead out of the folder.
    fn path(&self, container_id: &str, if_name: &str) -> PathBuf {
        let safe = |text: &str| -> String {
            text.chars()
                .flat_map(|c| match c {
                    'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => vec![c],
                    other => format!("_{:x}_", u32::from(other)).chars().collect(),
                })
                .collect()
        };
        self.folder.join(format!("{}_{}.{RECORD}", safe(container_id), safe(if_name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(container_id: &str) -> Record {
        Record {
            container_id: container_id.to_owned(),
            if_name: "eth0".to_owned(),
            network: "k8s-pod-network".to_owned(),
            netns: "/run/netns/a".to_owned(),
            namespace: "default".to_owned(),
            pod: "web".to_owned(),
            interface: "cali0123456789a".to_owned(),
            labels: BTreeMap::new(),
            addresses: vec!["10.65.0.7".parse().unwrap()],
            mtu: 1500,
            mac: [2, 0, 0, 0, 0, 1],
            complete: true,
        }
    }

    #[test]
    fn what_was_put_is_loaded_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        records.put(&record("c1")).unwrap();
        records.put(&record("c2")).unwrap();
        assert_eq!(records.load().unwrap(), vec![record("c1"), record("c2")]);
        records.remove("c1", "eth0").unwrap();
        records.remove("c1", "eth0").unwrap();
        assert_eq!(records.load().unwrap(), vec![record("c2")]);
    }

    #[test]
    fn a_container_id_cannot_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        records.put(&record("../../escape")).unwrap();
        assert_eq!(records.load().unwrap().len(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the folder of records");
    }

    #[test]
    fn a_torn_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        records.put(&record("c1")).unwrap();
        fs::write(folder.path().join("endpoints/x.json"), "{\"containerId\":").unwrap();
        assert_eq!(records.load().unwrap(), vec![record("c1")]);
    }

    #[test]
    fn what_a_crash_left_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        records.put(&record("c1")).unwrap();
        fs::rename(records.path("c1", "eth0"), records.path("c1", "eth0").with_extension(TEMPORARY)).unwrap();
        assert_eq!(records.load().unwrap(), vec![]);
        assert_eq!(fs::read_dir(&records.folder).unwrap().count(), 0);
    }
}
