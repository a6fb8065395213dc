//! Everything that one pod interface needs in the kernel, as fast as the kernel goes.
//!
//! Layer 3 only, as Calico wires it: a veth pair without a bridge. The pod has host addresses (/32, /128) and a default
//! route through a gateway that no interface has: 169.254.1.1, for which the host end answers by proxy ARP, and for
//! IPv6 the link-local address of the host end, which is always the same, as its Ethernet address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteType;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::link::{self, AddressGeneration, Link, LinkChange, MacAddress, VethPair};
use crate::requests::Requests;
use crate::socket::Socket;
use crate::sysctl::{self, Ipv4Setting, Ipv6Setting};
use crate::{Address, Entry, Error, InterfaceName, Neighbour, NetNs, NextHop, Protocol, Removed, Route, route_message};

/// The IPv4 gateway of every pod.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The IPv6 gateway of every pod: the EUI-64 link-local address of ee:ee:ee:ee:ee:ee.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

/// What a pod interface shall be.
#[derive(Debug)]
pub struct PodLink<'a> {
    /// Name of the host end, as in `cali0123456789a`.
    pub host_name: &'a InterfaceName,
    /// Alias of the host end: the key of the endpoint, up to 255 bytes.
    pub alias: &'a str,
    /// The pod's namespace.
    pub namespace: &'a NetNs,
    /// Name of the interface in the pod, as in `eth0`.
    pub pod_name: &'a InterfaceName,
    /// Its Ethernet address; `None` for a random one.
    pub pod_mac: Option<MacAddress>,
    /// Largest packet of both ends, in bytes.
    pub mtu: u32,
    /// The pod's addresses, of one family or both.
    pub addresses: &'a [IpAddr],
    /// Routes on the host to the pod's addresses; `None` leaves them to the caller.
    pub host_routes: Option<HostRoutes>,
    /// Write permanent neighbour entries on both sides, so that the first packet needs no ARP or NDP.
    pub permanent_neighbours: bool,
    /// Let the pod forward packets between its own interfaces.
    pub allow_forwarding: bool,
}

/// How the host's routes to a pod are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRoutes {
    /// Who installed them.
    pub protocol: Protocol,
    /// Their priority.
    pub metric: u32,
}

/// A wired pod interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wired {
    /// Index of the host end.
    pub host_index: u32,
    /// Ethernet address of the host end.
    pub host_mac: MacAddress,
    /// Index of the pod's end, in the pod's namespace.
    pub pod_index: u32,
    /// Ethernet address of the pod's end.
    pub pod_mac: MacAddress,
}

/// Makes the interface and everything on it: [`make_pair`], then [`PodPair::finish`].
///
/// # Errors
/// Those of the two.
pub fn wire_pod(pod: &PodLink<'_>) -> Result<Wired, Error> {
    make_pair(pod)?.finish(pod)
}

/// A veth pair whose host end is up and which has nothing else yet: no carrier, no address, no route.
#[derive(Debug)]
pub struct PodPair {
    socket: Socket,
    host: Link,
}

/// Makes the pair: what costs the kernel most, and needs no address. The host side is that of the calling thread's
/// namespace. Blocks for about a millisecond: call it from a thread that may block.
///
/// Whatever an earlier call with the same alias left under the host name is deleted first.
///
/// # Errors
/// [`Error::InterfaceTaken`] if the host name belongs to another endpoint or to nobody of ours,
/// [`Error::PodInterfaceTaken`] if the pod already has an interface of that name; otherwise what the kernel refused.
pub fn make_pair(pod: &PodLink<'_>) -> Result<PodPair, Error> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let host = create(&mut socket, pod)?;
    let mut requests = Requests::default();
    // No other link-local address than the gateway's, and none at all without IPv6.
    let address_generation = sysctl::has_ipv6().then_some(AddressGeneration::None);
    let change = LinkChange { alias: Some(pod.alias), address_generation, ..LinkChange::default() };
    requests.push("set alias", pod.host_name, set(host.index, &change), 0);
    requests.push("set up", pod.host_name, set(host.index, &up()), 0);
    let pair = PodPair { socket, host };
    pair.or_delete(|pair| requests.send(&mut pair.socket)?.all()).map(|(pair, ())| pair)
}

impl PodPair {
    /// Index of the host end.
    #[must_use]
    pub fn host_index(&self) -> u32 {
        self.host.index
    }

    /// Makes everything on the pair. When anything fails, the pair is deleted, and with it all else but sysctls of the
    /// pod that are not per interface. Blocks as [`make_pair`] does.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn finish(self, pod: &PodLink<'_>) -> Result<Wired, Error> {
        self.or_delete(|pair| configure(&mut pair.socket, pod, &pair.host)).map(|(_, wired)| wired)
    }

    fn or_delete<T>(mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<(Self, T), Error> {
        match work(&mut self) {
            Ok(done) => Ok((self, done)),
            Err(error) => {
                // The first error is the one to tell; a pair that stays behind is deleted by the next call.
                let _ = delete(&mut self.socket, self.host.index);
                Err(error)
            }
        }
    }
}

/// Deletes the pod interface with that host name, if its alias is this one, and with it the pod's end, addresses,
/// routes and neighbour entries. Needs no pod namespace.
///
/// # Errors
/// [`Error::InterfaceTaken`] if the name belongs to another endpoint; otherwise what the kernel refused.
pub fn unwire_pod(host_name: &InterfaceName, alias: &str) -> Result<Removed, Error> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    match find(&mut socket, host_name)? {
        None => Ok(Removed::Absent),
        Some(link) => {
            owned(&link, alias)?;
            delete(&mut socket, link.index)
        }
    }
}

/// Refuses interfaces of others. A pair without an alias but with the host end's Ethernet address is one of ours whose
/// making was cut short.
fn owned(link: &Link, alias: &str) -> Result<(), Error> {
    let owner = link.alias.as_deref().unwrap_or_default();
    let unfinished = owner.is_empty() && link.mac == Some(MacAddress::HOST_END);
    if owner == alias || unfinished {
        return Ok(());
    }
    Err(Error::InterfaceTaken { interface: link.name.as_str().into(), owner: owner.into() })
}

/// Makes the pair and returns the host end.
fn create(socket: &mut Socket, pod: &PodLink<'_>) -> Result<Link, Error> {
    let pair = VethPair {
        name: pod.host_name,
        mac: Some(MacAddress::HOST_END),
        mtu: pod.mtu,
        peer_namespace: Some(pod.namespace),
        peer_name: pod.pod_name,
        peer_mac: pod.pod_mac,
    };
    for last_attempt in [false, true] {
        let mut requests = Requests::default();
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        requests.push("create pod veth", pod.host_name, RouteNetlinkMessage::NewLink(pair.message()), flags);
        requests.push("get link", pod.host_name, get(pod.host_name), 0);
        let mut answers = requests.send(socket)?;
        let created = answers.take(0);
        let host = answers.take(1).and_then(|answer| link_of("get link", pod.host_name, answer));
        match created {
            Ok(_) => return host,
            Err(error) if error.errno() != Some(libc::EEXIST) => return Err(error),
            // Which of the two names it was that exists, the kernel does not say.
            Err(_) => {}
        }
        let taken = || Error::PodInterfaceTaken { interface: pod.pod_name.as_str().into() };
        let leftover = match host {
            Ok(link) => link,
            Err(error) if error.errno() == Some(libc::ENODEV) => return Err(taken()),
            Err(error) => return Err(error),
        };
        owned(&leftover, pod.alias)?;
        if last_attempt {
            return Err(taken());
        }
        delete(socket, leftover.index)?;
    }
    Err(Error::PodInterfaceTaken { interface: pod.pod_name.as_str().into() })
}

/// Everything after the pair is there.
fn configure(socket: &mut Socket, pod: &PodLink<'_>, host: &Link) -> Result<Wired, Error> {
    let families = Families::of(pod);
    host_sysctls(pod.host_name, families)?;
    if families.v6 {
        let network = IpNetwork::new(GATEWAY_V6.into(), 64).unwrap_or(IpNetwork::from(IpAddr::from(GATEWAY_V6)));
        let address = Address::new(host.index, network);
        let mut requests = Requests::default();
        requests.push("add address", address, RouteNetlinkMessage::NewAddress(address.message()), NLM_F_CREATE);
        requests.send(socket)?.all()?;
    }

    let peer = pod.namespace.run(|| configure_inside(pod, families))??;
    let pod_mac = peer.mac.unwrap_or(MacAddress([0; 6]));

    let mut requests = Requests::default();
    push_carrier(&mut requests, pod.host_name);
    for route in desired_host_routes(pod, host.index) {
        push_route(&mut requests, &route);
    }
    if pod.permanent_neighbours {
        for address in pod.addresses {
            push_neighbour(&mut requests, host.index, *address, pod_mac);
        }
    }
    requests.send(socket)?.all()?;
    if families.v6 {
        settle(socket, host.index, [IpAddr::V6(GATEWAY_V6)].into_iter())?;
    }
    let host_mac = host.mac.unwrap_or(MacAddress::HOST_END);
    Ok(Wired { host_index: host.index, host_mac, pod_index: peer.index, pod_mac })
}

/// The pod's side; runs inside its namespace.
fn configure_inside(pod: &PodLink<'_>, families: Families) -> Result<Link, Error> {
    pod_sysctls(pod, families)?;
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let mut requests = Requests::default();
    let loopback = RouteNetlinkMessage::SetLink(up().message(LOOPBACK));
    requests.push("set up", "lo", loopback, 0);
    requests.push("get link", pod.pod_name, get(pod.pod_name), 0);
    let mut answers = requests.send(&mut socket)?;
    answers.take(0)?;
    let link = answers.take(1).and_then(|answer| link_of("get link", pod.pod_name, answer))?;

    let mut requests = Requests::default();
    requests.push("set up", pod.pod_name, set(link.index, &up()), 0);
    push_carrier(&mut requests, pod.pod_name);
    for address in desired_addresses(pod, link.index) {
        requests.push("add address", address, RouteNetlinkMessage::NewAddress(address.message()), NLM_F_CREATE);
    }
    for route in desired_pod_routes(families, link.index) {
        push_route(&mut requests, &route);
    }
    if pod.permanent_neighbours {
        for gateway in families.gateways() {
            push_neighbour(&mut requests, link.index, gateway, MacAddress::HOST_END);
        }
    }
    requests.send(&mut socket)?.all()?;
    settle(&mut socket, link.index, pod.addresses.iter().copied())?;
    Ok(link)
}

/// Waits until the kernel takes packets to IPv6 addresses as its own. Even without duplicate address detection that
/// begins only when a work queue has run: until then answers to what was sent from the address are lost. Mostly there
/// is nothing to wait for. After the deadline the address is left to come up in the kernel's own time.
fn settle(socket: &mut Socket, interface: u32, addresses: impl Iterator<Item = IpAddr>) -> Result<(), Error> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    for address in addresses.filter(IpAddr::is_ipv6) {
        loop {
            let mut requests = Requests::default();
            let lookup = RouteNetlinkMessage::GetRoute(route_message::lookup(address, interface));
            requests.push("look up", address, lookup, 0);
            // A refusal says that there is no route at all yet.
            let local = match requests.send(socket)?.take(0) {
                Ok(Some(RouteNetlinkMessage::NewRoute(route))) => route.header.kind == RouteType::Local,
                _ => false,
            };
            if local || Instant::now() >= deadline {
                break;
            }
            thread::sleep(SETTLE_PAUSE);
        }
    }
    Ok(())
}

/// How long a pod waits for its IPv6 addresses at most.
const SETTLE_DEADLINE: Duration = Duration::from_millis(500);
const SETTLE_PAUSE: Duration = Duration::from_micros(100);
/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// Which families a pod has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    pub(crate) fn of(pod: &PodLink<'_>) -> Self {
        Families { v4: pod.addresses.iter().any(IpAddr::is_ipv4), v6: pod.addresses.iter().any(IpAddr::is_ipv6) }
    }

    pub(crate) fn gateways(self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.then_some(IpAddr::V4(GATEWAY_V4));
        v4.into_iter().chain(self.v6.then_some(IpAddr::V6(GATEWAY_V6)))
    }
}

pub(crate) fn desired_addresses(pod: &PodLink<'_>, index: u32) -> impl Iterator<Item = Address> {
    pod.addresses.iter().map(move |address| Address::new(index, IpNetwork::from(*address)))
}

/// The pod's routes, in the order in which the kernel accepts them.
pub(crate) fn desired_pod_routes(families: Families, index: u32) -> Vec<Route> {
    let mut routes = Vec::new();
    let boot = |destination, metric, next_hop| Route::unicast(destination, Protocol::BOOT, metric, vec![next_hop]);
    if families.v4 {
        let gateway = IpAddr::V4(GATEWAY_V4);
        let everything = IpNetwork::V4(ipnetwork::Ipv4Network::from(Ipv4Addr::UNSPECIFIED));
        routes.push(boot(IpNetwork::from(gateway), 0, NextHop::dev(index)));
        routes.push(boot(prefix_zero(everything), 0, NextHop::via(gateway, index)));
    }
    if families.v6 {
        let everything = IpNetwork::V6(ipnetwork::Ipv6Network::from(Ipv6Addr::UNSPECIFIED));
        routes.push(boot(prefix_zero(everything), 1024, NextHop::via(IpAddr::V6(GATEWAY_V6), index)));
    }
    routes
}

fn prefix_zero(network: IpNetwork) -> IpNetwork {
    IpNetwork::new(network.ip(), 0).unwrap_or(network)
}

pub(crate) fn desired_host_routes(pod: &PodLink<'_>, index: u32) -> impl Iterator<Item = Route> {
    let marks = pod.host_routes;
    pod.addresses.iter().filter_map(move |address| {
        let HostRoutes { protocol, metric } = marks?;
        Some(Route::unicast(IpNetwork::from(*address), protocol, metric, vec![NextHop::dev(index)]))
    })
}

/// The sysctls of the host end, with what they shall be.
pub(crate) fn desired_host_sysctls(
    name: &InterfaceName,
    families: Families,
) -> impl Iterator<Item = (sysctl::Sysctl, i32)> {
    let v4 = families.v4.then(|| {
        [
            (sysctl::ipv4(name, Ipv4Setting::ProxyArp), 1),
            (sysctl::proxy_delay(name), 0),
            (sysctl::ipv4(name, Ipv4Setting::RouteLocalnet), 0),
            (sysctl::ipv4(name, Ipv4Setting::Forwarding), 1),
        ]
    });
    let v6 = families.v6.then(|| {
        [
            (sysctl::ipv6(name, Ipv6Setting::DisableIpv6), 0),
            (sysctl::ipv6(name, Ipv6Setting::AcceptDad), 0),
            (sysctl::ipv6(name, Ipv6Setting::AcceptRouterAdvertisements), 0),
            (sysctl::ipv6(name, Ipv6Setting::Forwarding), 1),
        ]
    });
    v4.into_iter().flatten().chain(v6.into_iter().flatten())
}

fn host_sysctls(name: &InterfaceName, families: Families) -> Result<(), Error> {
    desired_host_sysctls(name, families).try_for_each(|(sysctl, value)| sysctl.set(value))
}

fn pod_sysctls(pod: &PodLink<'_>, families: Families) -> Result<(), Error> {
    if families.v4 && !pod.allow_forwarding {
        // A new namespace copies it from the host, where it is on.
        sysctl::ip_forward().set(0)?;
    }
    if families.v6 {
        let loopback = InterfaceName::new("lo")?;
        // Runtimes switch IPv6 off in namespaces that they make.
        sysctl::ipv6(&loopback, Ipv6Setting::DisableIpv6).set(0)?;
        sysctl::ipv6(pod.pod_name, Ipv6Setting::DisableIpv6).set(0)?;
        sysctl::ipv6(pod.pod_name, Ipv6Setting::AcceptDad).set(0)?;
        sysctl::ipv6(pod.pod_name, Ipv6Setting::AcceptRouterAdvertisements).set(0)?;
    }
    Ok(())
}

fn up() -> LinkChange<'static> {
    LinkChange { up: Some(true), ..LinkChange::default() }
}

fn set(index: u32, change: &LinkChange<'_>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(change.message(index))
}

fn get(name: &InterfaceName) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(link::by_name(name.as_str()))
}

/// Until the kernel's link watch has run, in its own time and up to a second later, an interface whose other end came
/// up drops what it sends, and IPv6 on it is not ready. To be asked for the interface makes the kernel do it now (since
/// Linux 6.8).
fn push_carrier(requests: &mut Requests, name: &InterfaceName) {
    requests.push("get link", name, get(name), 0);
}

fn push_route(requests: &mut Requests, route: &Route) {
    let message = RouteNetlinkMessage::NewRoute(route_message::write(route));
    requests.push("replace route", route, message, NLM_F_CREATE | NLM_F_REPLACE);
}

fn push_neighbour(requests: &mut Requests, interface: u32, address: IpAddr, mac: MacAddress) {
    let neighbour = Neighbour { interface, address, entry: Entry::Permanent(mac) };
    let message = RouteNetlinkMessage::NewNeighbour(neighbour.message());
    requests.push("replace neighbour", neighbour, message, NLM_F_CREATE | NLM_F_REPLACE);
}

fn link_of(operation: &'static str, name: &InterfaceName, answer: Option<RouteNetlinkMessage>) -> Result<Link, Error> {
    match answer {
        Some(RouteNetlinkMessage::NewLink(message)) => Ok(Link::parse(&message)),
        _ => Err(Requests::unanswered(operation, name)),
    }
}

/// The interface of that name, over a blocking socket.
pub(crate) fn find(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Link>, Error> {
    let mut requests = Requests::default();
    requests.push("get link", name, get(name), 0);
    let answer = requests.send(socket)?.take(0);
    match answer.and_then(|answer| link_of("get link", name, answer)) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn delete(socket: &mut Socket, index: u32) -> Result<Removed, Error> {
    let mut requests = Requests::default();
    requests.push("delete link", index, RouteNetlinkMessage::DelLink(link::delete(index)), 0);
    match requests.send(socket)?.take(0) {
        Ok(_) => Ok(Removed::Gone),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(Removed::Absent),
        Err(error) => Err(error),
    }
}
