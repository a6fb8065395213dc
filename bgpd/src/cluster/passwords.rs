//! Passwords of peers, from Secrets.

use resources::{BgpPassword, Key, Kind};

use super::Cluster;
use crate::password::Password;

impl Cluster {
    /// The password that a peer or the mesh names; `None` if it names none, or one that need not exist. A password that is
    /// not there, or is none, is an error, in a sentence: without it the session would not be authenticated.
    pub(super) fn password(&self, wanted: Option<&BgpPassword>) -> Result<Option<Password>, String> {
        let Some(wanted) = wanted else { return Ok(None) };
        let Some(reference) = &wanted.secret_key_ref else { return Err("secretKeyRef is not set".to_owned()) };
        let key = Key::namespaced(Kind::Secret, &self.namespace, &reference.name);
        let entry = self.secrets.get(&key).and_then(|secret| secret.data.get(&reference.key));
        match entry {
            Some(entry) => match Password::new(&entry.0) {
                Some(password) => Ok(Some(password)),
                None => Err(format!("{key}, entry {}: {} bytes, must be 1 to 80", reference.key, entry.0.len())),
            },
            None if reference.optional == Some(true) => Ok(None),
            None if self.secrets.contains_key(&key) => Err(format!("{key} has no entry {}", reference.key)),
            None => Err(format!("there is no {key}")),
        }
    }

    /// What keeps peers down for want of a password, one sentence each.
    pub(super) fn password_conditions(&self) -> Vec<String> {
        let mesh = self.default_configuration().and_then(|it| it.spec.node_mesh_password.as_ref());
        let mesh = self
            .password(mesh)
            .err()
            .map(|why| format!("BGPConfiguration default: spec.nodeMeshPassword: {why}; the mesh is kept down"));
        let peers = self.peers.iter().filter_map(|(name, peer)| {
            let why = self.password(peer.spec.password.as_ref()).err()?;
            Some(format!("BGPPeer {name}: spec.password: {why}; the peer is kept down"))
        });
        mesh.into_iter().chain(peers).collect()
    }
}
