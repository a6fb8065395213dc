//! Socket options that BGP sessions need: TCP MD5 (RFC 2385), GTSM (RFC 5082), TTL, class selector, binding.
//!
//! All take any socket (listener or connection) by `AsFd`. Options of one IP version are chosen by the socket's own
//! family: an IPv6 socket gets the IPv6 form.
#![allow(unsafe_code, reason = "TCP_MD5SIG and IP_MINTTL are in no safe wrapper")]

use std::ffi::{c_int, c_void};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnetwork::IpNetwork;
use socket2::SockRef;

use crate::{Error, Family, InterfaceName};

/// Longest key of RFC 2385 that Linux takes, in bytes.
pub const MD5_KEY_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;
/// Class selector 6, internetwork control (RFC 4271 leaves it open; every router sends BGP with it).
pub const TOS_CS6: u32 = 0xc0;

const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
const TCP_MD5SIG_FLAG_IFINDEX: u8 = 2;

/// For whom a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Md5Peer {
    /// All peers in this network; a single address is a /32 or /128. Of the socket's own IP version.
    pub network: IpNetwork,
    /// Only peers on this interface (an index), as link-local peers need it: the interface must be a VRF device for
    /// the kernel to look at it, see tcp(7).
    pub interface: Option<u32>,
}

impl From<IpAddr> for Md5Peer {
    fn from(address: IpAddr) -> Self {
        Md5Peer { network: IpNetwork::from(address), interface: None }
    }
}

/// `struct tcp_md5sig` of linux/tcp.h; its first field is a `struct sockaddr_storage`.
#[repr(C, align(8))]
struct TcpMd5Sig {
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; MD5_KEY_MAX],
}

/// Sets the key for a peer, or replaces it. On a listener it has to be there before the peer's SYN, on a connecting
/// socket before `connect`. On a connection it takes effect at once (key change).
///
/// # Errors
/// [`Error::System`]: `EINVAL` for an empty or too long key, `ENOMEM` when `net.core.optmem_max` allows the socket no
/// more keys, `ENOPROTOOPT` or `EPERM` without kernel support.
pub fn set_md5_key(socket: &impl AsFd, peer: Md5Peer, key: &[u8]) -> Result<(), Error> {
    const OPERATION: &str = "set a TCP MD5 key";
    if key.is_empty() {
        // The kernel would delete.
        return Err(Error::system(OPERATION)(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    set_md5(socket, peer, key).map_err(Error::system(OPERATION))
}

/// Removes the key of a peer. That there is none is no error.
///
/// # Errors
/// [`Error::System`].
pub fn delete_md5_key(socket: &impl AsFd, peer: Md5Peer) -> Result<(), Error> {
    match set_md5(socket, peer, &[]) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(Error::system("delete a TCP MD5 key")(error)),
        _ => Ok(()),
    }
}

fn set_md5(socket: &impl AsFd, peer: Md5Peer, key: &[u8]) -> io::Result<()> {
    let single = peer.network.prefix() == if peer.network.is_ipv4() { 32 } else { 128 };
    let mut option = TcpMd5Sig {
        address: socket_address(peer.network.network()),
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).unwrap_or(u16::MAX),
        interface: 0,
        key: [0; MD5_KEY_MAX],
    };
    let Some(room) = option.key.get_mut(..key.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    room.copy_from_slice(key);
    if !single {
        option.flags |= TCP_MD5SIG_FLAG_PREFIX;
        option.prefix_length = peer.network.prefix();
    }
    if let Some(interface) = peer.interface {
        option.flags |= TCP_MD5SIG_FLAG_IFINDEX;
        option.interface = c_int::try_from(interface).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    }
    // The plain option takes no flags and works on kernels before 4.13 too.
    let name = if option.flags == 0 { libc::TCP_MD5SIG } else { libc::TCP_MD5SIG_EXT };
    set_option(socket, libc::IPPROTO_TCP, name, &option)
}

/// The bytes of a `struct sockaddr_in` or `sockaddr_in6` without port, flow label and scope.
fn socket_address(address: IpAddr) -> [u8; 128] {
    let mut bytes = [0; 128];
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    match address {
        IpAddr::V4(address) => bytes[4..8].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes[8..24].copy_from_slice(&address.octets()),
    }
    bytes
}

/// Sets the TTL (IPv4) or hop limit (IPv6) of what is sent, 1 to 255.
///
/// # Errors
/// [`Error::System`].
pub fn set_ttl(socket: &impl AsFd, ttl: u8) -> Result<(), Error> {
    let reference = SockRef::from(socket);
    match family(socket)? {
        Family::Ipv4 => reference.set_ttl_v4(ttl.into()),
        Family::Ipv6 => reference.set_unicast_hops_v6(ttl.into()),
    }
    .map_err(Error::system("set the TTL"))
}

/// Drops segments that arrive with a smaller TTL or hop limit; 0 drops none. GTSM (RFC 5082) over n hops is
/// 256 − n, with [`set_ttl`] 255 on both sides.
///
/// # Errors
/// [`Error::System`].
pub fn set_min_ttl(socket: &impl AsFd, ttl: u8) -> Result<(), Error> {
    let (level, name) = match family(socket)? {
        Family::Ipv4 => (libc::IPPROTO_IP, libc::IP_MINTTL),
        Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
    };
    set_option(socket, level, name, &c_int::from(ttl)).map_err(Error::system("set the minimum TTL"))
}

/// Sets the type of service (IPv4) or traffic class (IPv6); see [`TOS_CS6`].
///
/// # Errors
/// [`Error::System`].
pub fn set_tos(socket: &impl AsFd, tos: u32) -> Result<(), Error> {
    let reference = SockRef::from(socket);
    match family(socket)? {
        Family::Ipv4 => reference.set_tos_v4(tos),
        Family::Ipv6 => reference.set_tclass_v6(tos),
    }
    .map_err(Error::system("set the traffic class"))
}

/// Allows binding to an address that no interface has yet.
///
/// # Errors
/// [`Error::System`].
pub fn set_freebind(socket: &impl AsFd) -> Result<(), Error> {
    let reference = SockRef::from(socket);
    match family(socket)? {
        Family::Ipv4 => reference.set_freebind_v4(true),
        Family::Ipv6 => reference.set_freebind_v6(true),
    }
    .map_err(Error::system("set IP_FREEBIND"))
}

/// Ties the socket to an interface; `None` unties it.
///
/// # Errors
/// [`Error::System`]: `ENODEV` if there is no such interface.
pub fn bind_device(socket: &impl AsFd, interface: Option<&InterfaceName>) -> Result<(), Error> {
    SockRef::from(socket)
        .bind_device(interface.map(|interface| interface.as_str().as_bytes()))
        .map_err(Error::system("bind to a device"))
}

pub(crate) fn family(socket: &impl AsFd) -> Result<Family, Error> {
    let domain = SockRef::from(socket).domain().map_err(Error::system("get the socket family"))?;
    Ok(if domain == socket2::Domain::IPV6 { Family::Ipv6 } else { Family::Ipv4 })
}

fn set_option<T>(socket: &impl AsFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let descriptor = socket.as_fd().as_raw_fd();
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed. `value` is a live reference, and the kernel
    // reads at most `length` bytes of it, which is its size, and keeps no pointer to it.
    let result =
        unsafe { libc::setsockopt(descriptor, level, name, std::ptr::from_ref(value).cast::<c_void>(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
