//! UDP sockets as RFC 5881 and RFC 5883 want them: one per family and port to receive, one per session to send.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    ops::RangeInclusive,
    task::Poll,
    time::{Duration, Instant},
};

use bfd::{Arrival, Hops, Path};
use kernel::udp::{self, Datagram};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

const SINGLE_HOP: u16 = 3784;
const MULTIHOP: u16 = 4784;
/// RFC 5881 §4.
const SOURCE_PORTS: RangeInclusive<u16> = 49152..=65535;
const RETRY: Duration = Duration::from_secs(1);
/// Longer than any packet, with any authentication.
const BUFFER: usize = 512;
/// Datagrams taken in one go, at most: sending must not wait for a flood to end.
const AT_ONCE: usize = 512;

fn port(hops: Hops) -> u16 {
    match hops {
        Hops::Single => SINGLE_HOP,
        Hops::Multi { .. } => MULTIHOP,
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn other(error: kernel::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// A socket that receives.
struct Receiver {
    port: u16,
    ipv6: bool,
    socket: Option<tokio::net::UdpSocket>,
    tried: Option<Instant>,
}

/// The sockets that receive, as many as there are kinds of sessions.
#[derive(Default)]
pub(super) struct Receivers {
    receivers: Vec<Receiver>,
    /// There may be more than was taken.
    more: bool,
}

impl Receivers {
    /// Receives what sessions on such a path are sent.
    pub(super) fn want(&mut self, path: &Path) {
        let (port, ipv6) = (port(path.hops), path.local.is_ipv6());
        if !self.receivers.iter().any(|it| (it.port, it.ipv6) == (port, ipv6)) {
            self.receivers.push(Receiver { port, ipv6, socket: None, tried: None });
        }
        self.open();
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        self.receivers.clear();
    }

    /// Opens what is missing, once a second.
    pub(super) fn open(&mut self) {
        for receiver in &mut self.receivers {
            let early = receiver.tried.is_some_and(|tried| tried.elapsed() < RETRY);
            if receiver.socket.is_some() || early {
                continue;
            }
            let first = receiver.tried.replace(Instant::now()).is_none();
            match receive_on(receiver.port, receiver.ipv6) {
                Ok(socket) => receiver.socket = Some(socket),
                Err(error) if first => {
                    tracing::error!(port = receiver.port, %error, "cannot receive BFD, no session comes up; trying on");
                }
                Err(_) => {}
            }
        }
    }

    /// Waits until something is there to take.
    pub(super) async fn readable(&self) {
        if self.more {
            return;
        }
        poll_fn(|context| {
            for socket in self.receivers.iter().filter_map(|it| it.socket.as_ref()) {
                if socket.poll_recv_ready(context).is_ready() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Takes what waits, without blocking.
    pub(super) fn take(&mut self, mut each: impl FnMut(&Arrival, &[u8])) {
        let mut buffer = [0; BUFFER];
        self.more = false;
        for receiver in &self.receivers {
            let Some(socket) = &receiver.socket else { continue };
            let mut taken = 0;
            while let Some(datagram) = next(socket, &mut buffer) {
                taken += 1;
                if let Some(datagram) = datagram {
                    each(&arrival(&datagram, receiver.port), buffer.get(..datagram.length).unwrap_or_default());
                }
                if taken == AT_ONCE {
                    self.more = true;
                    break;
                }
            }
        }
    }
}

/// `None` when nothing waits.
fn next(socket: &tokio::net::UdpSocket, buffer: &mut [u8]) -> Option<Option<Datagram>> {
    let blocks = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let taken = match udp::receive(socket, buffer) {
        // The runtime notes that nothing is left, and looks at the socket again.
        Err(error) if blocks(&error) => socket.try_io(Interest::READABLE, || udp::receive(socket, buffer)),
        taken => taken,
    };
    match taken {
        Ok(datagram) => Some(datagram),
        Err(error) if blocks(&error) => None,
        Err(error) => {
            tracing::debug!(%error, "receiving BFD");
            None
        }
    }
}

const fn arrival(datagram: &Datagram, port: u16) -> Arrival {
    Arrival {
        source: datagram.source.ip(),
        destination: datagram.destination,
        interface: datagram.interface,
        ttl: datagram.ttl,
        multihop: port == MULTIHOP,
    }
}

fn receive_on(port: u16, ipv6: bool) -> io::Result<tokio::net::UdpSocket> {
    let any = if ipv6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { IpAddr::from(Ipv4Addr::UNSPECIFIED) };
    let address = SocketAddr::new(any, port);
    let socket = socket(address)?;
    udp::tell_headers(&socket).map_err(other)?;
    socket.bind(&address.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

/// The socket that sends the packets of one session, from a port that no other session has (RFC 5881 §4).
pub(super) struct Sender {
    local: IpAddr,
    remote: SocketAddr,
    socket: Option<UdpSocket>,
    said: bool,
}

impl Sender {
    /// Along a path.
    pub(super) fn new(path: &Path) -> Self {
        let scoped = |address: IpAddr, port| match (address, path.interface) {
            (IpAddr::V6(address), Some(interface)) => SocketAddrV6::new(address, port, 0, interface).into(),
            _ => SocketAddr::new(address, port),
        };
        Self { local: path.local, remote: scoped(path.remote, port(path.hops)), socket: None, said: false }
    }

    /// Sends a packet. A failure is as good as a packet lost on the way; the first in a row is logged.
    pub(super) fn send(&mut self, payload: &[u8], ports: &mut Ports) {
        let socket = self.socket.take().map_or_else(|| ports.bind(self.local, self.remote), Ok);
        let sent = socket.and_then(|socket| {
            let sent = socket.send_to(payload, self.remote);
            self.socket = Some(socket);
            sent
        });
        match sent {
            Ok(_) => self.said = false,
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    tracing::warn!(remote = %self.remote, %error, "cannot send BFD");
                }
            }
        }
    }
}

/// Hands out source ports.
pub(super) struct Ports {
    next: u16,
}

impl Ports {
    /// Begins somewhere in the range.
    pub(super) fn new(seed: u64) -> Self {
        let span = u64::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
        Self { next: SOURCE_PORTS.start() + u16::try_from(seed % span).unwrap_or_default() }
    }

    fn bind(&mut self, local: IpAddr, remote: SocketAddr) -> io::Result<UdpSocket> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in SOURCE_PORTS {
            let port = self.next;
            self.next = if port == *SOURCE_PORTS.end() { *SOURCE_PORTS.start() } else { port + 1 };
            let address = match (local, remote) {
                (IpAddr::V6(local), SocketAddr::V6(remote)) => {
                    SocketAddrV6::new(local, port, 0, remote.scope_id()).into()
                }
                _ => SocketAddr::new(local, port),
            };
            match bound(address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                bound => return bound,
            }
        }
        Err(last)
    }
}

fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address)?;
    kernel::tcp::set_ttl(&socket, u8::MAX).map_err(other)?;
    kernel::tcp::set_tos(&socket, kernel::tcp::TOS_CS6).map_err(other)?;
    // Nothing is ever read from it.
    socket.set_recv_buffer_size(0)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
