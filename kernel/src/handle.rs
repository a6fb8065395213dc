//! The async handle: one request, one answer; and dumps.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_proto::sys::protocols::NETLINK_ROUTE;

use crate::link::{self, Link, LinkChange, VethPair};
use crate::socket::{DumpSink, Message, Refusal, Socket};
use crate::{
    Address, Created, Error, Family, InterfaceName, Neighbour, NetNs, Removed, Route, RouteFilter, route_message,
};

/// Links, addresses, neighbours and routes of one network namespace.
///
/// Cheap to clone; all clones share two sockets. Requests of all clones are in flight together; dumps go one at a time.
/// Dropping the last clone closes the sockets.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    dumps: Arc<Mutex<Socket>>,
    closed: Arc<AtomicBool>,
}

/// Says that the connection is closed before its pending requests end.
struct Closing(Arc<AtomicBool>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Netlink {
    /// A handle on the namespace of the calling thread. Must be called inside a tokio runtime, which then runs the
    /// connection.
    ///
    /// # Errors
    /// [`Error::System`] if a socket cannot be opened.
    pub fn open() -> Result<Self, Error> {
        Self::open_on(&tokio::runtime::Handle::current())
    }

    /// A handle on another namespace. Must be called inside a tokio runtime, which then runs the connection.
    ///
    /// # Errors
    /// [`Error::Namespace`] if it cannot be entered, [`Error::System`] if a socket cannot be opened.
    pub fn open_in(namespace: &NetNs) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::current();
        namespace.run(|| Self::open_on(&runtime))?
    }

    fn open_on(runtime: &tokio::runtime::Handle) -> Result<Self, Error> {
        let _runtime = runtime.enter();
        let opened = rtnetlink::new_connection_with_strict_check();
        let (mut connection, handle, _) = opened.map_err(Error::system("open a netlink socket"))?;
        let socket = connection.socket_mut();
        let acks = |socket: &netlink_sys::Socket| {
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)
        };
        acks(netlink_sys::AsyncSocket::socket_ref(socket)).map_err(Error::system("set up a netlink socket"))?;
        let dumps = Arc::new(Mutex::new(Socket::open(NETLINK_ROUTE)?));
        let closed = Arc::new(AtomicBool::new(false));
        let closing = Closing(Arc::clone(&closed));
        runtime.spawn(async move {
            let mut connection = connection;
            // Declared after the connection, dropped before it.
            let _closing = closing;
            (&mut connection).await;
        });
        Ok(Netlink { handle, dumps, closed })
    }

    /// All interfaces, in order of their index.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Decode`], [`Error::Interrupted`].
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let request = RouteNetlinkMessage::GetLink(link::by_index(0));
        self.dump("list links", request, |message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(Link::parse(&message)),
            _ => None,
        })
        .await
    }

    /// The interface of that name.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that there is none, [`Error::Decode`].
    pub async fn link_by_name(&self, name: &InterfaceName) -> Result<Option<Link>, Error> {
        self.link(link::by_name(name.as_str()), name).await
    }

    /// The interface with that index.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that there is none, [`Error::Decode`].
    pub async fn link_by_index(&self, index: u32) -> Result<Option<Link>, Error> {
        self.link(link::by_index(index), &index).await
    }

    /// The interfaces with that alias. The kernel has no index of aliases: this lists all interfaces.
    ///
    /// # Errors
    /// As [`Netlink::links`].
    pub async fn links_by_alias(&self, alias: &str) -> Result<Vec<Link>, Error> {
        let links = self.links().await?;
        Ok(links.into_iter().filter(|link| link.alias.as_deref() == Some(alias)).collect())
    }

    /// Makes a veth pair; both ends are down.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that one of the names is in use.
    pub async fn create_veth(&self, pair: &VethPair<'_>) -> Result<Created, Error> {
        let message = RouteNetlinkMessage::NewLink(pair.message());
        let result = self.request("create veth", pair.name, message, NLM_F_CREATE | NLM_F_EXCL).await;
        created(result)
    }

    /// Changes properties of an interface.
    ///
    /// # Errors
    /// [`Error::Refused`], also when there is no such interface.
    pub async fn change_link(&self, index: u32, change: &LinkChange<'_>) -> Result<(), Error> {
        let message = RouteNetlinkMessage::SetLink(change.message(index));
        self.request("change link", &index, message, 0).await.map(drop)
    }

    /// Deletes an interface; of a veth pair both ends go.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that there is none.
    pub async fn delete_link(&self, index: u32) -> Result<Removed, Error> {
        let message = RouteNetlinkMessage::DelLink(link::delete(index));
        removed(self.request("delete link", &index, message, 0).await, &[libc::ENODEV])
    }

    /// All IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Decode`], [`Error::Interrupted`].
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.dump("list addresses", request, |message| match message {
            RouteNetlinkMessage::NewAddress(message) => Address::parse(&message),
            _ => None,
        })
        .await
    }

    /// Adds an address, without duplicate address detection.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that the interface has it already.
    pub async fn add_address(&self, address: &Address) -> Result<Created, Error> {
        let message = RouteNetlinkMessage::NewAddress(address.message());
        created(self.request("add address", address, message, NLM_F_CREATE | NLM_F_EXCL).await)
    }

    /// Removes an address.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that the interface or the address is not there.
    pub async fn delete_address(&self, address: &Address) -> Result<Removed, Error> {
        let message = RouteNetlinkMessage::DelAddress(address.message());
        let result = self.request("delete address", address, message, 0).await;
        removed(result, &[libc::EADDRNOTAVAIL, libc::ENODEV])
    }

    /// All neighbour entries of IPv4 and IPv6, without the proxy entries.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Decode`], [`Error::Interrupted`].
    pub async fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.dump("list neighbours", request, |message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => Neighbour::parse(&message),
            _ => None,
        })
        .await
    }

    /// Writes a neighbour entry, over one for the same address.
    ///
    /// # Errors
    /// [`Error::Refused`], also when there is no such interface.
    pub async fn replace_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewNeighbour(neighbour.message());
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request("replace neighbour", neighbour, message, flags).await.map(drop)
    }

    /// Removes a neighbour entry. Of a resolved one the kernel may keep a failed entry for a while.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that the interface or the entry is not there.
    pub async fn delete_neighbour(&self, neighbour: &Neighbour) -> Result<Removed, Error> {
        let message = RouteNetlinkMessage::DelNeighbour(neighbour.message());
        let result = self.request("delete neighbour", neighbour, message, 0).await;
        removed(result, &[libc::ENOENT, libc::ENODEV, libc::ENXIO])
    }

    /// The routes that match a filter, which the kernel applies; in canonical form.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Decode`], [`Error::Interrupted`].
    pub async fn routes(&self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            if filter.family.is_some_and(|only| only != family) {
                continue;
            }
            let request = RouteNetlinkMessage::GetRoute(route_message::dump(family, &filter));
            let dumped = self
                .dump("list routes", request, move |message| match message {
                    RouteNetlinkMessage::NewRoute(message) => {
                        route_message::parse(&message).filter(|route| filter.admits(route))
                    }
                    _ => None,
                })
                .await;
            match dumped {
                Ok(mut dumped) if routes.is_empty() => routes.append(&mut dumped),
                Ok(dumped) => routes.extend(dumped),
                // A table comes into being with its first route.
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(routes)
    }

    /// Writes a route over the one with the same key ([`Route::key`]), **whoever installed that one**, in one step:
    /// there is no moment without a route.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn replace_route(&self, route: &Route) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewRoute(route_message::write(route));
        self.request("replace route", route, message, NLM_F_CREATE | NLM_F_REPLACE).await.map(drop)
    }

    /// Adds a route unless there is one with the same key.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that there is one.
    pub async fn create_route(&self, route: &Route) -> Result<Created, Error> {
        let message = RouteNetlinkMessage::NewRoute(route_message::write(route));
        created(self.request("create route", route, message, NLM_F_CREATE | NLM_F_EXCL).await)
    }

    /// Deletes the route with the key, protocol and kind of this one, with all its next hops whatever they are.
    ///
    /// # Errors
    /// [`Error::Refused`] for any reason but that there is none.
    pub async fn delete_route(&self, route: &Route) -> Result<Removed, Error> {
        let message = RouteNetlinkMessage::DelRoute(route_message::delete(route));
        removed(self.request("delete route", route, message, 0).await, &[libc::ESRCH, libc::ENOENT])
    }

    async fn link(
        &self,
        message: netlink_packet_route::link::LinkMessage,
        subject: &(dyn Display + Sync),
    ) -> Result<Option<Link>, Error> {
        match self.request("get link", subject, RouteNetlinkMessage::GetLink(message), 0).await {
            Ok(Some(RouteNetlinkMessage::NewLink(message))) => Ok(Some(Link::parse(&message))),
            // The connection skips what it cannot decode.
            Ok(_) => Err(Error::Decode { operation: "get link", source: DecodeError::from("no link in it") }),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and waits for its acknowledgement. Returns the last message of the answer, if any.
    async fn request(
        &self,
        operation: &'static str,
        subject: &(dyn Display + Sync),
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request).map_err(|_| Error::Closed { operation })?;
        let mut answer = None;
        while let Some(message) = answers.next().await {
            match message.payload {
                NetlinkPayload::Error(error) => {
                    let mut body = error.raw_code().to_ne_bytes().to_vec();
                    body.extend_from_slice(&error.header);
                    if let Some(refusal) = Refusal::parse(message.header.flags, &body) {
                        return Err(refusal.error(operation, subject));
                    }
                }
                NetlinkPayload::InnerMessage(inner) => answer = Some(inner),
                NetlinkPayload::Overrun(_) => return Err(Error::Overrun { operation }),
                _ => {}
            }
        }
        // The stream ends with the acknowledgement, which it does not show, and with the connection.
        if answer.is_none() && self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed { operation });
        }
        Ok(answer)
    }

    async fn dump<T: Send + 'static>(
        &self,
        operation: &'static str,
        request: RouteNetlinkMessage,
        select: impl FnMut(RouteNetlinkMessage) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        let socket = Arc::clone(&self.dumps);
        let work = move || {
            // A panic while the lock was held leaves at most answers to an abandoned request, told apart by number.
            let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
            dump(&mut socket, operation, &request, select)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed { operation })?
    }
}

/// Dumps over a blocking socket, and keeps what `select` makes of each message.
pub(crate) fn dump<T>(
    socket: &mut Socket,
    operation: &'static str,
    request: &RouteNetlinkMessage,
    select: impl FnMut(RouteNetlinkMessage) -> Option<T>,
) -> Result<Vec<T>, Error> {
    struct Sink<T, S> {
        values: Vec<T>,
        select: S,
    }

    impl<T, S: FnMut(RouteNetlinkMessage) -> Option<T>> DumpSink for &mut Sink<T, S> {
        fn restart(&mut self) {
            self.values.clear();
        }

        fn take(&mut self, message: &Message<'_>) -> Result<(), DecodeError> {
            let decoded = decode(message)?;
            self.values.extend((self.select)(decoded));
            Ok(())
        }
    }

    let mut payload = vec![0; request.buffer_len()];
    request.serialize(&mut payload);
    let mut sink = Sink { values: Vec::new(), select };
    socket.dump(operation, request.message_type(), &payload, &mut sink)?;
    Ok(sink.values)
}

/// Decodes a message of the routing family.
pub(crate) fn decode(message: &Message<'_>) -> Result<RouteNetlinkMessage, DecodeError> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.kind;
    header.flags = message.flags;
    RouteNetlinkMessage::deserialize(&header, message.body)
}

fn created<T>(result: Result<T, Error>) -> Result<Created, Error> {
    match result {
        Ok(_) => Ok(Created::New),
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(Created::Exists),
        Err(error) => Err(error),
    }
}

fn removed<T>(result: Result<T, Error>, absent: &[i32]) -> Result<Removed, Error> {
    match result {
        Ok(_) => Ok(Removed::Gone),
        Err(error) if error.errno().is_some_and(|errno| absent.contains(&errno)) => Ok(Removed::Absent),
        Err(error) => Err(error),
    }
}
