//! The quickstart as a stranger runs it: with each router, without root, and interrupted.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use fabric::{Need, binary, require, router::Kind, wait_until};

/// Each run is a whole rack; two at once would only wait for each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The binary, or `None` when this machine cannot run it, which CI does not accept.
fn quickstart(needs: &[Need]) -> Result<Option<PathBuf>> {
    let all = [Need::BASE, Need::TORTIE, &[Need::Binary("quickstart")], needs].concat();
    match require(&all) {
        Ok(()) => binary("quickstart").map(Some),
        Err(missing) if env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false") => bail!("{missing}"),
        Err(missing) => {
            eprintln!("not run: {missing}");
            Ok(None)
        }
    }
}

fn turn() -> MutexGuard<'static, ()> {
    // A run that failed is over, too.
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn holds(command: &mut Command) -> Result<()> {
    let before = processes()?;
    let output = command.stdin(Stdio::null()).output().context("running the quickstart")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    ensure!(text.contains("everything held"), "{text}");
    gone(&before)
}

/// Our daemons and routers that run on this machine, by process id.
fn processes() -> Result<BTreeSet<String>> {
    const OURS: [&str; 7] = ["quickstart", "bgpd", "felix", "tortie", "bird", "zebra", "unshare"];
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        // A zombie has no command line.
        let lives = fs::read(path.join("cmdline")).is_ok_and(|line| !line.is_empty());
        if lives && OURS.contains(&name.trim()) && is_in_a_namespace_of_its_own(&path) {
            found.insert(format!("{} {}", path.display(), name.trim()));
        }
    }
    Ok(found)
}

fn is_in_a_namespace_of_its_own(process: &Path) -> bool {
    fs::read_link(process.join("ns/mnt")).is_ok_and(|ns| Some(ns) != fs::read_link("/proc/self/ns/mnt").ok())
}

fn gone(before: &BTreeSet<String>) -> Result<()> {
    let mut left = BTreeSet::new();
    wait_until("end of all processes", Duration::from_secs(10), || {
        left = processes()?.difference(before).cloned().collect();
        Ok(left.is_empty())
    })
    .with_context(|| format!("left behind: {left:?}"))?;
    ensure!(!Path::new("/run/fabric").exists(), "/run/fabric is left behind");
    Ok(())
}

fn with_router(name: &str, kind: Kind) -> Result<()> {
    let _turn = turn();
    let Some(program) = quickstart(kind.needs())? else { return Ok(()) };
    holds(Command::new(program).args(["--tor", name]))
}

#[test]
fn every_step_holds_with_bird() -> Result<()> {
    with_router("bird", Kind::Bird)
}

#[test]
fn every_step_holds_with_frr() -> Result<()> {
    with_router("frr", Kind::Frr)
}

#[test]
fn every_step_holds_with_tortie_as_the_router() -> Result<()> {
    with_router("tortie", Kind::Tortie)
}

#[test]
fn every_step_holds_without_root() -> Result<()> {
    let _turn = turn();
    let Some(program) = quickstart(Kind::Bird.needs())? else { return Ok(()) };
    if !nix_is_root() {
        return holds(&mut Command::new(program));
    }
    // The binaries may be where only root can go.
    let folder = tempfile::tempdir()?;
    for name in ["quickstart", "bgpd", "felix", "tortie"] {
        fs::copy(binary(name)?, folder.path().join(name))?;
    }
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    command.arg(folder.path().join("quickstart")).env("TORTIE_BIN", folder.path()).current_dir("/");
    holds(&mut command)
}

fn nix_is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

#[test]
fn an_interrupt_leaves_nothing_behind() -> Result<()> {
    interrupted("INT", Some(130))
}

#[test]
fn a_kill_leaves_nothing_behind() -> Result<()> {
    interrupted("KILL", None)
}

/// Sends a signal once the daemons run.
fn interrupted(signal: &str, status: Option<i32>) -> Result<()> {
    let _turn = turn();
    let Some(program) = quickstart(Kind::Bird.needs())? else { return Ok(()) };
    let before = processes()?;
    let mut child = Command::new(program).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    let reached = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("felix is in sync"));
    ensure!(reached, "it ended before the daemons ran");
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status()?;
    ensure!(sent.success(), "kill: {sent}");
    let ended = child.wait()?;
    ensure!(status.is_none() || ended.code() == status, "ended with {ended} (signal {:?})", ended.signal());
    gone(&before)
}
