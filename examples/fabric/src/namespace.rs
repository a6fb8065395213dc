//! Network namespaces with a name, and code that runs inside one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

/// A network namespace under `/run/netns`, as `ip netns` would make it. It goes when this is dropped and nothing in it
/// runs any more.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// Makes a namespace with `lo` up. Loopback answers at once; there is no route yet.
    ///
    /// # Errors
    /// When the name is taken, or the system refuses.
    pub fn new(name: &str) -> Result<Self> {
        let path = Path::new("/run/netns").join(name);
        File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        let namespace = Self { name: name.to_owned(), path };
        let path = namespace.path.clone();
        on_a_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare of the network")?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("binding {}", path.display()))?;
            // ICMP probes are datagram sockets, which need their group in this range.
            fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").context("ping_group_range")?;
            // Forwarded traffic chooses among next hops by ports as well, so that probes use all paths.
            fs::write("/proc/sys/net/ipv4/fib_multipath_hash_policy", "1").context("fib_multipath_hash_policy")
        })?;
        Ok(namespace)
    }

    /// Its name, as `ip -n` wants it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it, as CNI wants it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs code inside and returns what it returns. Sockets made there stay there, wherever they are used.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the code fails.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            let file = File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", self.name))?;
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both fail only when the namespace was never made.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow!("the thread in the namespace panicked"))?)
}
