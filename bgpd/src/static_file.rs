//! A router's file, read at the start and whenever it changes.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use daemon::config;
use tokio::sync::mpsc;

use crate::{input::Input, password::Password, static_config::StaticConfig};

/// How often it is looked at. Editors replace files or write them in pieces, mounts replace folders: the name is all
/// that stays.
const LOOK: Duration = Duration::from_millis(500);

/// What tells whether it changed: device, inode, size, time of the last change.
type Signature = (u64, u64, u64, i64, i64);

/// Reads and checks it.
///
/// # Errors
/// What is wrong with it, by field, value and what is allowed.
pub(crate) fn read(path: &Path) -> anyhow::Result<StaticConfig> {
    let mut config: StaticConfig = config::read(path)?;
    config.validate().with_context(|| path.display().to_string())?;
    for peer in &mut config.peers {
        if let Some(file) = &peer.password_file {
            let place = || format!("password of peer {}: {}", peer.name, file.display());
            let text = fs::read(file).with_context(place)?;
            let text = text.strip_suffix(b"\n").unwrap_or(&text);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            peer.password = Some(Password::new(text).with_context(|| format!("{}: not 1 to 80 bytes", place()))?);
        }
    }
    Ok(config)
}

/// Tells of every change until nobody listens. A file that is gone for a while has not changed.
pub(crate) async fn follow(path: PathBuf, inputs: mpsc::Sender<Input>) {
    let mut known = signature(&path).ok();
    let mut pending = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(found) = signature(&path) else { continue };
        // Taken in when it stays the same for one look: it may be half written.
        if Some(found) == known || pending.replace(found) != Some(found) {
            continue;
        }
        known = Some(found);
        let outcome = read(&path).map_err(|error| format!("{error:#}"));
        if inputs.send(Input::StaticFile(outcome.map(Box::new))).await.is_err() {
            return;
        }
    }
}

fn signature(path: &Path) -> io::Result<Signature> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
