//! TCP sockets as BGP wants them: one listener per family, CS6, no delay, a deep backlog.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use engine::{ConnId, Transport};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::{input::Input, password::Password};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// On this TCP port,
    pub(crate) port: u16,
    /// of these addresses, which need not be there yet; of all if there are none here.
    pub(crate) addresses: Vec<IpAddr>,
}

/// As many peers as may dial in the same instant; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Class selector 6, network control (RFC 4271 Appendix E).
const TOS: u32 = 0xC0;
const EAFNOSUPPORT: i32 = 97;
const DIAL_DEADLINE: Duration = Duration::from_secs(15);
/// Wait after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on a port of all addresses or some, IPv4 and IPv6 apart.
///
/// # Errors
/// When a socket cannot be bound, for example because another BGP speaker runs here. A kernel without IPv6 is no error.
pub(crate) fn listen(listen: &Listen) -> io::Result<Vec<TcpListener>> {
    let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let addresses: &[IpAddr] = if listen.addresses.is_empty() { &all } else { &listen.addresses };
    let mut listeners = Vec::new();
    for address in addresses {
        match listener(SocketAddr::new(*address, listen.port)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && error.raw_os_error() == Some(EAFNOSUPPORT) => {
                tracing::info!("no IPv6 in this kernel");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // At boot the node may get its address later.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    prepare(SockRef::from(&socket), address.ip())?;
    // A peer with GTSM drops the answer to its SYN otherwise.
    kernel::tcp::set_ttl(&socket, u8::MAX).map_err(|error| io::Error::other(error.to_string()))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn prepare(socket: SockRef<'_>, address: IpAddr) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    match address {
        IpAddr::V4(_) => socket.set_tos_v4(TOS),
        IpAddr::V6(_) => socket.set_tclass_v6(TOS),
    }
}

/// The TTL rules of a peer, GTSM among them (RFC 5082), and its password: on our side before the first segment leaves.
pub(crate) fn restrict(
    socket: &impl AsFd,
    transport: Transport,
    remote: SocketAddr,
    password: Option<&Password>,
) -> io::Result<()> {
    if let Some(password) = password {
        password.sign(socket, remote.ip())?;
    }
    let set = || {
        if let Some(ttl) = transport.ttl {
            kernel::tcp::set_ttl(socket, ttl)?;
        }
        if let Some(hops) = transport.ttl_security {
            kernel::tcp::set_ttl(socket, u8::MAX)?;
            kernel::tcp::set_min_ttl(socket, u8::MAX - hops.saturating_sub(1))?;
        }
        Ok(())
    };
    set().map_err(|error: kernel::Error| io::Error::other(error.to_string()))
}

/// Hands every connection that a peer opens to the loop, until the loop is gone.
pub(crate) async fn accept(listener: &TcpListener, inputs: mpsc::Sender<Input>) {
    while !inputs.is_closed() {
        let accepted = match listener.accept().await {
            Ok((stream, remote)) => stream.local_addr().map(|local| (stream, local, remote)),
            Err(error) => Err(error),
        };
        match accepted {
            Ok((stream, local, remote)) => {
                let prepared = prepare(SockRef::from(&stream), local.ip());
                if prepared.is_ok() && inputs.send(Input::Accepted { stream, local, remote }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept BGP connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Dials a peer; the loop hears how it went.
pub(crate) async fn dial(
    conn: ConnId,
    (local, remote): (Option<IpAddr>, SocketAddr),
    transport: Transport,
    password: Option<Password>,
    inputs: mpsc::Sender<Input>,
) {
    let result = match timeout(DIAL_DEADLINE, connect(local, remote, transport, password.as_ref())).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let _ = inputs.send(Input::Dialled { conn, result }).await;
}

async fn connect(
    local: Option<IpAddr>,
    remote: SocketAddr,
    transport: Transport,
    password: Option<&Password>,
) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    prepare(SockRef::from(&socket), remote.ip())?;
    restrict(&socket, transport, remote, password)?;
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}
