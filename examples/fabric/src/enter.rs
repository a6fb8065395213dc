//! Into namespaces of our own, and out of them without a trace.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal},
        wait::{WaitStatus, wait},
    },
    unistd::geteuid,
};

const MARK: &str = "FABRIC_INSIDE";
static OUTER_PID: OnceLock<u32> = OnceLock::new();

/// Moves the process into namespaces of its own: PID, mount, network, and user unless it is root. It does so by running
/// itself again inside them; the call returns in the inner process only, while the outer one waits for it and ends with
/// its status. Must be called before a thread exists.
///
/// Inside, `/run` and `/var/tmp` are empty tmpfs, `/proc` shows the inner processes and `lo` is up. When the outer process is
/// interrupted, terminated or killed, or the inner one ends, everything that was made inside is gone.
///
/// # Errors
/// When the namespaces cannot be had: the message says what is missing.
pub fn enter() -> Result<()> {
    if env::var_os(MARK).is_some() && std::process::id() == 1 {
        return settle();
    }
    let status = supervise()?;
    std::process::exit(status)
}

/// Process id of the inner process as seen from outside, for `nsenter`; `None` outside of [`enter`].
#[must_use]
pub fn outer_pid() -> Option<u32> {
    OUTER_PID.get().copied()
}

fn supervise() -> Result<i32> {
    prctl::set_child_subreaper(true).context("becoming the reaper of the inner processes")?;
    let mut child = start()?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("blocking signals")?;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the inner process")? {
            reap();
            return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        let signal = signals.wait().context("waiting for a signal")?;
        if signal != Signal::SIGCHLD {
            child.kill().context("ending the inner process")?;
            child.wait().context("waiting for the inner process")?;
            reap();
            eprintln!("\n{signal}: everything that was started is gone");
            return Ok(128 + signal as i32);
        }
    }
}

/// `setpriv` ties the life of `unshare` to ours, `unshare --kill-child` ties the inner process to its own. Both are tied
/// by the kernel, so it holds for SIGKILL as well.
fn start() -> Result<Child> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--kill-child"]);
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--").arg(env::current_exe().context("finding this executable")?).args(env::args_os().skip(1));
    // A user's search path often lacks the folders that `ip` and `nft` are in.
    let path = env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    command.env(MARK, "1").env("PATH", path).spawn().context("running setpriv and unshare (Debian package util-linux)")
}

/// Waits for every process that was left to us: when none is left, the namespaces are gone.
fn reap() {
    while matches!(wait(), Ok(status) if status != WaitStatus::StillAlive) {}
}

fn settle() -> Result<()> {
    let outer = fs::read_link("/proc/self").context("reading /proc/self")?;
    let outer = outer.to_str().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    OUTER_PID.get_or_init(|| outer);
    // A container may forbid a second /proc; the one that is there shows our processes under other numbers, no more.
    if let Err(error) = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>) {
        eprintln!("/proc stays as it is: {error}");
    }
    // FRR writes crash logs under /var/tmp.
    for (folder, mode) in [("/run", "mode=0755"), ("/var/tmp", "mode=1777")] {
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(mode))
            .with_context(|| format!("mounting a tmpfs over {folder}"))?;
    }
    fs::create_dir_all("/run/netns").context("making /run/netns")?;
    fs::create_dir_all("/run/lock").context("making /run/lock")?;
    fs::set_permissions("/run/lock", Permissions::from_mode(0o1777)).context("opening /run/lock")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("running ip (iproute2)")?;
    if !status.success() {
        bail!("ip link set lo up: {status}");
    }
    if !Path::new("/proc/thread-self/ns/net").exists() {
        bail!("/proc does not show this process; a container must allow its own /proc");
    }
    Ok(())
}
