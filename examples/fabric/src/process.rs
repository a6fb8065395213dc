//! A daemon in a namespace.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{Namespace, wait_until};

/// A program that runs in a namespace until it is ended, restarted or dropped. What it prints goes to a log file, which
/// restarts append to.
#[derive(Debug)]
pub struct Process {
    name: String,
    namespace: Arc<Namespace>,
    command: Command,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program. Its standard input is empty.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn start(namespace: &Arc<Namespace>, name: &str, mut command: Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let child = spawn(namespace, &mut command, log)?;
        Ok(Self { name: name.to_owned(), namespace: Arc::clone(namespace), command, log: log.to_owned(), child })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().with_context(|| format!("asking for {}", self.name))?.is_none())
    }

    /// Sends a signal to it and its children.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group()?, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Ends it the hard way (`kill -9`), its children too, and waits for the end.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn kill(&mut self) -> Result<()> {
        // No such process: it has ended already.
        let _ = killpg(self.group()?, Signal::SIGKILL);
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it does not end before the deadline.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        wait_until(&format!("end of {}", self.name), deadline, || Ok(self.child.try_wait()?.is_some()))?;
        Ok(self.child.wait()?)
    }

    /// Ends it the hard way, if it runs, and starts it again.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(&self.namespace, &mut self.command, &self.log)?;
        Ok(())
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn group(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("process id")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(namespace: &Namespace, command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| format!("opening {}", log.display()))?;
    let errors = file.try_clone().context("duplicating the log file")?;
    command.stdout(file).stderr(errors);
    let program = command.get_program().to_owned();
    let spawned = namespace.inside(|| Ok(command.spawn()))?;
    match spawned {
        Ok(child) => Ok(child),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("{} is not installed", program.display()),
        Err(error) => Err(error).with_context(|| format!("running {}", program.display())),
    }
}
