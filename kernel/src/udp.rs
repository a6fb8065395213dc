//! UDP datagrams together with what their IP header said: addresses, interface, TTL. BFD decides by them (RFC 5881 §5).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

use crate::tcp::family;
use crate::{Error, Family};

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Octets written to the buffer; the rest of a longer datagram is lost.
    pub length: usize,
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// The address of ours that it was sent to.
    pub destination: IpAddr,
    /// Index of the interface it came through.
    pub interface: u32,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
}

/// Makes the kernel tell of each datagram what [`receive`] returns. To be called before binding.
///
/// # Errors
/// [`Error::System`].
pub fn tell_headers(socket: &impl AsFd) -> Result<(), Error> {
    let set = match family(socket)? {
        Family::Ipv4 => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
            .and_then(|()| setsockopt(socket, sockopt::Ipv4RecvTtl, &true)),
        Family::Ipv6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
            .and_then(|()| setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)),
    };
    set.map_err(|errno| Error::system("ask for packet headers")(errno.into()))
}

/// Takes a waiting datagram without blocking, from a socket prepared by [`tell_headers`]; `None` for one whose headers
/// the kernel did not tell.
///
/// # Errors
/// `WouldBlock` when none waits; what `recvmsg` says else.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
    let mut control = cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let descriptor = socket.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let (mut arrived_at, mut ttl) = (None, None);
    for header in message.cmsgs()? {
        match header {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // In network order, as it is in memory.
                let address = IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes());
                arrived_at = Some((address, u32::try_from(info.ipi_ifindex).unwrap_or_default()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                arrived_at = Some((IpAddr::from(info.ipi6_addr.s6_addr), info.ipi6_ifindex));
            }
            ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                ttl = u8::try_from(value).ok();
            }
            _ => {}
        }
    }
    let source = message.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|it| SocketAddr::from((it.ip(), it.port())));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::from((it.ip(), it.port()))))
    });
    let length = message.bytes;
    Ok(source.zip(arrived_at).zip(ttl).map(|((source, (destination, interface)), ttl)| Datagram {
        length,
        source,
        destination,
        interface,
        ttl,
    }))
}
