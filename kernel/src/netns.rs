//! Network namespaces: identity, and running code inside one.
//!
//! A socket belongs to the namespace of the thread that opened it and stays there for life. So code that needs sockets
//! in another namespace runs on a thread of its own, enters, opens them and returns them; the thread ends with it, and no
//! thread of the caller ever changes its namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::Error;

/// The file that stands for the namespace of the calling thread; `/proc/self` would be the one of the first thread.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// Which network namespace it is: two equal identities are the same namespace, whatever paths led there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Device of the namespace file system.
    pub device: u64,
    /// Inode in it.
    pub inode: u64,
}

/// An open network namespace. The namespace lives at least as long as the value.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    path: PathBuf,
    identity: Identity,
}

impl NetNs {
    /// Opens the namespace at `path` (`/run/netns/…`, `/proc/PID/ns/net`), or `None` if nothing is there.
    ///
    /// # Errors
    /// [`Error::Namespace`] if the file cannot be opened or is not a network namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let path = path.as_ref();
        let failed = |operation| move |source| Error::Namespace { path: path.to_path_buf(), operation, source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        let filesystem = nix::sys::statfs::fstatfs(&file).map_err(|errno| failed("statfs")(errno.into()))?;
        if filesystem.filesystem_type() != nix::sys::statfs::FsType(libc::NSFS_MAGIC) {
            // What an unmounted /run/netns file looks like: an ordinary empty file.
            return Err(failed("open")(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let metadata = file.metadata().map_err(failed("stat"))?;
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        Ok(Some(NetNs { file, path: path.to_path_buf(), identity }))
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Namespace`] if procfs is not mounted.
    pub fn current() -> Result<Self, Error> {
        Self::open(CURRENT)?.ok_or_else(|| Error::Namespace {
            path: PathBuf::from(CURRENT),
            operation: "open",
            source: io::Error::from_raw_os_error(libc::ENOENT),
        })
    }

    /// A new, empty namespace without a name. It ends when the value and everything opened in it are gone.
    ///
    /// # Errors
    /// [`Error::Namespace`] without `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self, Error> {
        on_thread(Path::new("(new)"), || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespace {
                path: PathBuf::from("(new)"),
                operation: "unshare",
                source: errno.into(),
            })?;
            Self::current()
        })?
    }

    /// Which namespace it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside the namespace on a thread made for it, and returns what it returns.
    ///
    /// Sockets that `work` opens belong to the namespace and remain usable from every thread. `/proc/sys/net` inside
    /// `work` is the namespace's. The calling thread waits: from async code use `spawn_blocking`.
    ///
    /// # Errors
    /// [`Error::Namespace`] if the namespace cannot be entered, [`Error::Panicked`] if `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread(&self.path, || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespace {
                path: self.path.clone(),
                operation: "setns",
                source: errno.into(),
            })?;
            Ok(work())
        })?
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` on a thread that is joined before this returns.
fn on_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| Error::Namespace { path: path.to_path_buf(), operation: "start a thread", source })?;
        thread.join().map_err(|_| Error::Panicked { path: path.to_path_buf() })
    })
}
