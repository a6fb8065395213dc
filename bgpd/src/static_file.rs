//! A router's file and those it names, read at the start and whenever one of them changes.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use daemon::config;
use tokio::sync::mpsc;

use crate::{input::Input, password::Password, static_config::StaticConfig};

/// How often they are looked at. Editors replace files or write them in pieces, mounts replace folders: the name is all
/// that stays.
const LOOK: Duration = Duration::from_millis(500);

/// What tells whether a file changed: device, inode, size, time of the last change.
type Signature = (u64, u64, u64, i64, i64);

/// Reads and checks it.
///
/// # Errors
/// What is wrong with it, by field, value and what is allowed.
pub(crate) fn read(path: &Path) -> anyhow::Result<StaticConfig> {
    read_named(path).0
}

/// Also gives the files that it names, of one that is refused too: what is wrong with it may be in one of them.
fn read_named(path: &Path) -> (anyhow::Result<StaticConfig>, Option<Vec<PathBuf>>) {
    let mut config: StaticConfig = match config::read(path) {
        Ok(config) => config,
        Err(error) => return (Err(error.into()), None),
    };
    let named = config.named_files();
    let valid = config.validate().with_context(|| path.display().to_string());
    let outcome = valid.and_then(|()| read_passwords(&mut config));
    (outcome.map(|()| config), Some(named))
}

fn read_passwords(config: &mut StaticConfig) -> anyhow::Result<()> {
    for peer in &mut config.peers {
        if let Some(file) = &peer.password_file {
            let place = || format!("password of peer {}: {}", peer.name, file.display());
            let text = fs::read(file).with_context(place)?;
            let text = text.strip_suffix(b"\n").unwrap_or(&text);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            peer.password = Some(Password::new(text).with_context(|| format!("{}: not 1 to 80 bytes", place()))?);
        }
    }
    Ok(())
}

/// Tells of every change until nobody listens. `named` are the files that the file names now.
pub(crate) async fn follow(path: PathBuf, named: Vec<PathBuf>, inputs: mpsc::Sender<Input>) {
    let mut known = Look::default().again(&path, &named);
    let mut pending = known.clone();
    let mut named = named;
    loop {
        tokio::time::sleep(LOOK).await;
        let found = known.again(&path, &named);
        // Taken in when they stay the same for one look: they may be half written.
        let settled = std::mem::replace(&mut pending, found.clone()) == found;
        if found == known || !settled {
            continue;
        }
        let file = path.clone();
        // Apart: a long file must not delay a KEEPALIVE.
        let Ok((outcome, now_named)) = tokio::task::spawn_blocking(move || read_named(&file)).await else { continue };
        named = now_named.unwrap_or(named);
        known = found.again(&path, &named);
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        if inputs.send(Input::StaticFile(outcome.map(Box::new))).await.is_err() {
            return;
        }
    }
}

/// Files as they were when last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look(BTreeMap<PathBuf, Signature>);

impl Look {
    /// Looks again. A file that is gone for a while has not changed.
    fn again(&self, path: &PathBuf, named: &[PathBuf]) -> Self {
        let files = std::iter::once(path).chain(named);
        let seen = files.filter_map(|file| Some((file.clone(), signature(file).ok().or(self.0.get(file).copied())?)));
        Self(seen.collect())
    }
}

fn signature(path: &Path) -> io::Result<Signature> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
