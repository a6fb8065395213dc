//! Packets as `tcpdump` prints them.
//!
//! The packets are taken by a packet socket of ours and only read by `tcpdump`: it would insist on another user to
//! capture as, which a user namespace does not have.

use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

use crate::Node;

/// Longest packet kept, in octets: a jumbo frame.
const SNAP_LENGTH: u32 = 9216;
/// How often an idle thread looks whether it is still wanted.
const IDLE_MILLISECONDS: i64 = 100;
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    node: Node,
    file: PathBuf,
    packets: Arc<Mutex<Vec<u8>>>,
    stopped: Arc<AtomicBool>,
}

impl Capture {
    /// Starts to capture on an interface (`any` for all). From its return on no packet is missed.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn start(node: &Node, interface: &str) -> Result<Self> {
        let (socket, index) = node.inside(|| {
            let index = match interface {
                "any" => None,
                name => Some(if_nametoindex(name).with_context(|| format!("interface {name}"))?),
            };
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).context("packet socket")?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(IDLE_MILLISECONDS))?;
            Ok((socket, index))
        })?;
        let packets = Arc::new(Mutex::new(file_header()));
        let stopped = Arc::new(AtomicBool::new(false));
        {
            let (packets, stopped) = (Arc::clone(&packets), Arc::clone(&stopped));
            thread::spawn(move || capture(&socket, index, &packets, &stopped));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { node: node.clone(), file: node.directory().join(format!("{number}.pcap")), packets, stopped })
    }

    /// The packets so far that match a filter in the words of `tcpdump`, one a line, with the link-level header.
    ///
    /// # Errors
    /// When `tcpdump` cannot be executed or does not understand the filter.
    pub fn lines(&self, filter: &str) -> Result<Vec<String>> {
        let packets = self.packets.lock().map_err(|_| anyhow!("the capturing thread panicked"))?.clone();
        fs::write(&self.file, packets).with_context(|| format!("writing {}", self.file.display()))?;
        // As root `tcpdump` would drop its privileges, which the user namespace forbids; so it gets a user that has none.
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=65534", "--map-group=65534", "tcpdump", "-n", "-e", "-tt", "-r"]);
        let output = self.node.output(command.arg(&self.file).arg(filter))?;
        ensure!(output.status.success(), "tcpdump: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = fs::remove_file(&self.file);
    }
}

fn capture(socket: &OwnedFd, index: Option<u32>, packets: &Mutex<Vec<u8>>, stopped: &AtomicBool) {
    let mut buffer = vec![0; SNAP_LENGTH as usize];
    while !stopped.load(Ordering::Relaxed) {
        let (length, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => continue,
            Err(_) => return,
        };
        let here = from.and_then(|from| u32::try_from(from.ifindex()).ok());
        if index.is_some() && index != here {
            continue;
        }
        let Ok(mut packets) = packets.lock() else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = u32::try_from(length).unwrap_or(SNAP_LENGTH);
        let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
        for word in [seconds, since.subsec_micros(), length, length] {
            packets.extend(word.to_le_bytes());
        }
        packets.extend(buffer.get(..length as usize).unwrap_or_default());
    }
}

/// Magic number, version 2.4, time zone, accuracy, snap length, link type Ethernet.
fn file_header() -> Vec<u8> {
    let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    bytes.extend([2_u16.to_le_bytes(), 4_u16.to_le_bytes()].concat());
    for word in [0, 0, SNAP_LENGTH, 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}
