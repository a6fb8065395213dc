//! The plugin, executed while somebody kills it, or felix, or bgpd.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fabric::cni::Attachment;
use serde_json::Value;
use tests::cluster::Worker;

use crate::dice::Dice;

/// Longer than the plugin waits for felix, and felix for the kernel.
const HANGS: Duration = Duration::from_secs(70);
const PAUSE: Duration = Duration::from_millis(1);

/// Who is killed with `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Plugin,
    Felix,
    Bgpd,
}

impl Victim {
    pub(crate) const ALL: [Self; 3] = [Self::Plugin, Self::Felix, Self::Bgpd];
}

/// A killing at a moment after the beginning of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) victim: Victim,
    pub(crate) after: Duration,
}

impl Crash {
    /// Perhaps one.
    pub(crate) fn perhaps(dice: &mut Dice, percent: usize) -> Option<Self> {
        let victim = *dice.pick(&Victim::ALL)?;
        dice.percent(percent).then(|| Self { victim, after: dice.moment() })
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The plugin was killed.
    Killed,
    /// It said so.
    Refused(String),
}

/// Whether bgpd is over its last restart. One that is killed within it takes its routes along, as RFC 4724 §4.2 wants it:
/// what is stale from an earlier restart is deleted.
pub(crate) fn is_settled(worker: &Worker) -> bool {
    let Ok(reply) = worker.daemons.ask_bgpd(&["show", "peers"]) else { return false };
    let peers = reply.get("peers").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |peer: &Value, key: &str| peer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_back = |peer: &Value| text(peer, "state") == "Established" && text(peer, "gracefulRestart").is_empty();
    !peers.is_empty() && peers.iter().all(is_back)
}

/// Executes a verb.
pub(crate) fn invoke(
    worker: &mut Worker,
    verb: &str,
    attachment: &Attachment,
    crash: Option<Crash>,
) -> Result<Result<Value, Failure>> {
    let (mut command, config) = worker.network.command(verb, attachment)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = worker.node().inside(|| command.spawn().context("executing the plugin"))?;
    let mut input = child.stdin.take().ok_or_else(|| anyhow!("no standard input"))?;
    input.write_all(config.as_bytes()).context("writing the configuration")?;
    drop(input);
    let start = Instant::now();
    let mut crash = crash;
    let status = loop {
        if let Some(due) = crash.take_if(|crash| start.elapsed() >= crash.after) {
            match due.victim {
                Victim::Plugin => child.kill().context("killing the plugin")?,
                Victim::Felix => worker.daemons.felix.restart()?,
                Victim::Bgpd if is_settled(worker) => worker.daemons.bgpd.restart()?,
                Victim::Bgpd => {}
            }
        }
        if let Some(status) = child.try_wait().context("waiting for the plugin")? {
            break status;
        }
        if start.elapsed() > HANGS {
            bail!("{verb} of {} hangs", attachment.container_id);
        }
        thread::sleep(PAUSE);
    };
    let mut text = String::new();
    let mut output = child.stdout.take().ok_or_else(|| anyhow!("no standard output"))?;
    output.read_to_string(&mut text).context("reading the result")?;
    if status.code().is_none() {
        return Ok(Err(Failure::Killed));
    }
    if !status.success() {
        // Whoever died, nothing worse than "try again later" may come of it.
        ensure!(text.contains("\"code\":11,"), "{verb} of {}: {text}", attachment.container_id);
        return Ok(Err(Failure::Refused(text.trim().to_owned())));
    }
    Ok(Ok(if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? }))
}
