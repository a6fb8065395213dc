//! The answering end.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};

use super::widen;
use crate::Namespace;

/// How often an idle thread looks whether it is still wanted.
const IDLE: Duration = Duration::from_millis(200);

/// Sends every datagram and every byte of a TCP connection back to where it came from.
#[derive(Debug)]
pub struct Echo {
    stopped: Arc<AtomicBool>,
    listener: TcpListener,
    received: Arc<AtomicU64>,
}

impl Echo {
    /// Listens on an address, UDP and TCP.
    ///
    /// # Errors
    /// When the address is taken or not there.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let (udp, listener) = namespace.inside(|| {
            let udp = UdpSocket::bind(address).with_context(|| format!("udp {address}"))?;
            widen(&udp);
            let listener = TcpListener::bind(address).with_context(|| format!("tcp {address}"))?;
            Ok((udp, listener))
        })?;
        udp.set_read_timeout(Some(IDLE)).context("udp timeout")?;
        let stopped = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        {
            let (stopped, received) = (Arc::clone(&stopped), Arc::clone(&received));
            thread::spawn(move || echo_datagrams(&udp, &stopped, &received));
        }
        let accepting = listener.try_clone().context("duplicating the listener")?;
        {
            let stopped = Arc::clone(&stopped);
            thread::spawn(move || accept(&accepting, &stopped));
        }
        Ok(Self { stopped, listener, received })
    }

    /// Datagrams received so far, whether or not the answer got back.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread in accept.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
    }
}

fn echo_datagrams(socket: &UdpSocket, stopped: &AtomicBool, received: &AtomicU64) {
    let mut buffer = [0; 2048];
    while !stopped.load(Ordering::Relaxed) {
        // An error is a time-out or an ICMP answer to what was sent before.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        received.fetch_add(1, Ordering::Relaxed);
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

fn accept(listener: &TcpListener, stopped: &Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept() {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let stopped = Arc::clone(stopped);
        thread::spawn(move || echo_bytes(stream, &stopped));
    }
}

fn echo_bytes(mut stream: TcpStream, stopped: &AtomicBool) {
    if stream.set_nodelay(true).is_err() || stream.set_read_timeout(Some(IDLE)).is_err() {
        return;
    }
    let mut buffer = [0; 4096];
    while !stopped.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if stream.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
