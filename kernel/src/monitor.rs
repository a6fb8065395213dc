//! Changes of the kernel's tables as they happen.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use socket2::{SockFilter, SockRef};

use crate::handle::decode;
use crate::socket::{Messages, enlarge_receive_buffer};
use crate::{Address, Error, Link, Neighbour, NetNs, Protocol, Route, route_message};

/// Room for about 40 000 notifications before any is lost.
const SOCKET_BUFFER: usize = 32 << 20;
const RECEIVE_BUFFER: usize = 64 * 1024;

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_NEIGH: u32 = 3;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;

/// A change in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface is new or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(Link),
    /// An address is new or changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A neighbour entry is new or changed.
    Neighbour(Neighbour),
    /// A neighbour entry is gone.
    NeighbourGone(Neighbour),
    /// A route is new.
    Route(Route),
    /// A route took the place of the one with the same key.
    RouteReplaced(Route),
    /// A route is gone. Of an IPv6 multipath route this may be one next hop; of an IPv4 route the kernel tells
    /// nothing when it goes with its interface or its preferred source address.
    RouteGone(Route),
    /// Events were lost: what was known may be wrong, list again.
    Resync(Lost),
}

/// Why events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// They came faster than they were read (`ENOBUFS`).
    Overrun,
    /// One did not decode.
    Undecodable,
}

/// What a monitor listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Interfaces.
    pub links: bool,
    /// Addresses of both families.
    pub addresses: bool,
    /// Neighbour entries.
    pub neighbours: bool,
    /// Routes of both families.
    pub routes: bool,
    /// Routes with this protocol and metric are filtered out in the kernel, so that a writer of a full table is not
    /// overrun by the news of its own work.
    pub except: Option<(Protocol, u32)>,
}

/// A stream of [`Event`]s of one namespace.
///
/// Events are read from the socket when asked for: the kernel's buffer is the only queue.
pub struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// Where in `buffer` the next message starts.
    at: usize,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("socket", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Listens in the namespace of the calling thread. Must be called inside a tokio runtime. From its return on no
    /// change is missed without a [`Event::Resync`]: list afterwards.
    ///
    /// # Errors
    /// [`Error::System`] if the socket cannot be opened.
    pub fn open(watch: Watch) -> Result<Self, Error> {
        let groups = [
            (watch.links, RTNLGRP_LINK),
            (watch.neighbours, RTNLGRP_NEIGH),
            (watch.addresses, RTNLGRP_IPV4_IFADDR),
            (watch.addresses, RTNLGRP_IPV6_IFADDR),
            (watch.routes, RTNLGRP_IPV4_ROUTE),
            (watch.routes, RTNLGRP_IPV6_ROUTE),
        ];
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            // The filter has to be there before the first event.
            if let Some((protocol, metric)) = watch.except {
                SockRef::from(socket.socket_ref()).attach_filter(&without_routes(protocol, metric))?;
            }
            socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
            for (_, group) in groups.into_iter().filter(|(wanted, _)| *wanted) {
                socket.socket_mut().add_membership(group)?;
            }
            Ok(socket)
        };
        let socket = open().map_err(Error::system("open a netlink monitor"))?;
        enlarge_receive_buffer(socket.socket_ref(), SOCKET_BUFFER)?;
        Ok(Monitor { socket, buffer: Vec::with_capacity(RECEIVE_BUFFER), at: 0 })
    }

    /// Listens in another namespace. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Namespace`] if it cannot be entered, [`Error::System`] if the socket cannot be opened.
    pub fn open_in(namespace: &NetNs, watch: Watch) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        namespace.run(|| {
            let _runtime = runtime.enter();
            Self::open(watch)
        })?
    }

    /// The next event. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// [`Error::System`] if the socket fails for good; a loss of events is an event.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.buffered() {
                return Ok(event);
            }
            self.buffer.clear();
            self.at = 0;
            match self.socket.recv(&mut self.buffer).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Event::Resync(Lost::Overrun));
                }
                Err(source) => return Err(Error::System { operation: "read netlink events", source }),
            }
        }
    }

    fn buffered(&mut self) -> Option<Event> {
        loop {
            let mut messages = Messages(self.buffer.get(self.at..)?);
            let message = messages.next()?;
            self.at = self.buffer.len() - messages.0.len();
            match decode(&message) {
                Ok(decoded) => {
                    if let Some(event) = event(decoded, message.flags & NLM_F_REPLACE != 0) {
                        return Some(event);
                    }
                }
                Err(error) => {
                    tracing::warn!(kind = message.kind, %error, "undecodable netlink event");
                    return Some(Event::Resync(Lost::Undecodable));
                }
            }
        }
    }
}

fn event(message: RouteNetlinkMessage, replaced: bool) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Link::of_interface(&message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) => Link::of_interface(&message).map(Event::LinkGone),
        RouteNetlinkMessage::NewAddress(message) => Address::parse(&message).map(Event::Address),
        RouteNetlinkMessage::DelAddress(message) => Address::parse(&message).map(Event::AddressGone),
        RouteNetlinkMessage::NewNeighbour(message) => Neighbour::parse(&message).map(Event::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => Neighbour::parse(&message).map(Event::NeighbourGone),
        RouteNetlinkMessage::NewRoute(message) => {
            route_message::parse(&message).map(if replaced { Event::RouteReplaced } else { Event::Route })
        }
        RouteNetlinkMessage::DelRoute(message) => route_message::parse(&message).map(Event::RouteGone),
        _ => None,
    }
}

/// A classic BPF program that drops notifications of routes with a protocol and metric, and keeps all others.
///
/// The extension `SKF_AD_NLATTR` finds the attribute whose number is in X from offset A on; loads read big-endian, and
/// netlink is host-endian, hence the swapped constants.
fn without_routes(protocol: Protocol, metric: u32) -> [SockFilter; 13] {
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const LOAD_AT_X: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
    const SET_A: u16 = (libc::BPF_LD | libc::BPF_IMM) as u16;
    const SET_X: u16 = (libc::BPF_LDX | libc::BPF_IMM) as u16;
    const COPY_A_TO_X: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const FIND_ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
    const RTA_PRIORITY: u32 = 6;
    /// Offset of the type in the netlink header, of the protocol in `struct rtmsg` behind it, and of the attributes.
    const TYPE: u32 = 4;
    const PROTOCOL: u32 = 16 + 5;
    const ATTRIBUTES: u32 = 16 + 12;
    const NEW_ROUTE: u32 = 24u16.to_be() as u32;
    const DEL_ROUTE: u32 = 25u16.to_be() as u32;
    [
        SockFilter::new(LOAD_HALF, 0, 0, TYPE),
        SockFilter::new(IF_EQUAL, 1, 0, NEW_ROUTE),
        SockFilter::new(IF_EQUAL, 0, 9, DEL_ROUTE),
        SockFilter::new(LOAD_BYTE, 0, 0, PROTOCOL),
        SockFilter::new(IF_EQUAL, 0, 7, u32::from(protocol.0)),
        SockFilter::new(SET_A, 0, 0, ATTRIBUTES),
        SockFilter::new(SET_X, 0, 0, RTA_PRIORITY),
        SockFilter::new(LOAD_WORD, 0, 0, FIND_ATTRIBUTE),
        // Without the attribute A is 0, and the word at 4 (type and flags) is no metric of a route message.
        SockFilter::new(COPY_A_TO_X, 0, 0, 0),
        SockFilter::new(LOAD_AT_X, 0, 0, 4),
        SockFilter::new(IF_EQUAL, 0, 1, metric.to_be()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
