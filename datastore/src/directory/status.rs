//! Status of objects, beside them: people's files are theirs.

use std::{fs, io, path::PathBuf};

use resources::Key;
use serde_json::{Value, json};

use super::{files::Files, layout, write::replace};
use crate::Error;

impl Files {
    /// Writes the status of an object to its file, or removes the file if there is no such object. False then.
    pub(super) fn report(&mut self, key: &Key, status: &Value) -> Result<bool, Error> {
        let path = self.layout.absolute(&layout::status_file(key));
        let failed = |path: PathBuf| move |source| Error::File { path, source };
        self.take_in();
        if self.in_force.lock().get(key).is_none() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
                _ => Ok(false),
            };
        }
        let object = json!({
            "apiVersion": key.kind.api_version(), "kind": key.kind.name(),
            "metadata": {"name": key.name, "namespace": key.namespace}, "status": status,
        });
        let text = serde_json::to_vec_pretty(&object).map_err(|source| Error::Encode { key: key.clone(), source })?;
        self.presence().map_err(failed(self.layout.own()))?;
        let _guard = self.lock().map_err(failed(self.layout.lock()))?;
        replace(&path, &text).map(|_| true).map_err(failed(path))
    }
}
