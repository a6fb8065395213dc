//! The quickstart as a stranger runs it: with each router, without root, and interrupted.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use fabric::{Need, binary, require, router::Kind, wait_until};

/// Names a run in the environment of its processes.
const MARK: &str = "QUICKSTART_RUN";
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

/// A run, whose processes are known by what is in their environment.
struct Run {
    command: Command,
    mark: String,
}

impl Run {
    fn new(program: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).env(MARK, &mark);
        Self { command, mark: format!("{MARK}={mark}") }
    }

    fn holds(mut self) -> Result<()> {
        let output = self.command.output().context("running the quickstart")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}\n{text}\n{errors}", output.status);
        ensure!(text.contains("everything held"), "{text}");
        self.left_nothing()
    }

    /// Waits for the end of all its processes, with which go its namespaces and mounts.
    fn left_nothing(&self) -> Result<()> {
        let mut left = Vec::new();
        wait_until("end of all processes", Duration::from_secs(10), || {
            left = self.processes()?;
            Ok(left.is_empty())
        })
        .with_context(|| format!("left behind: {left:?}"))?;
        ensure!(!Path::new("/run/fabric").exists(), "/run/fabric is left behind");
        Ok(())
    }

    fn processes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            // What ends meanwhile, and what is not ours to read, is not ours.
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes()) {
                found.push(fs::read_to_string(path.join("comm")).unwrap_or_default());
            }
        }
        Ok(found)
    }
}

fn with_router(name: &str, kind: Kind) -> Result<()> {
    let _turn = turn();
    let Some(program) = quickstart(kind.needs())? else { return Ok(()) };
    let mut run = Run::new(&program);
    run.command.args(["--tor", name]);
    run.holds()
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
    if !is_root() {
        return Run::new(&program).holds();
    }
    // The binaries may be where only root can go.
    let folder = tempfile::tempdir()?;
    for name in ["quickstart", "bgpd", "felix", "tortie"] {
        fs::copy(binary(name)?, folder.path().join(name))?;
    }
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut run = Run::new(Path::new("setpriv"));
    run.command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    run.command.arg(folder.path().join("quickstart")).env("TORTIE_BIN", folder.path()).current_dir("/");
    run.holds()
}

fn is_root() -> bool {
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
    let mut run = Run::new(&program);
    let mut child = run.command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    let reached = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("felix is in sync"));
    ensure!(reached, "it ended before the daemons ran");
    ensure!(run.processes()?.len() > 6, "these must be the daemons of three nodes, too: {:?}", run.processes()?);
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status()?;
    ensure!(sent.success(), "kill: {sent}");
    let ended = child.wait()?;
    ensure!(status.is_none() || ended.code() == status, "ended with {ended} (signal {:?})", ended.signal());
    run.left_nothing()
}
