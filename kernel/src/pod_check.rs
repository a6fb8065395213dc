//! Whether a pod interface is still what it shall be.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::handle::dump;
use crate::link::{Link, MacAddress};
use crate::pod::{self, Families, PodLink};
use crate::socket::Socket;
use crate::{Address, Entry, Error, Family, Neighbour, Route, RouteFilter, TABLE_MAIN, route_message};

/// Where a difference was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The host end.
    Host,
    /// The pod's end.
    Pod,
}

/// One thing that is not as [`pod::wire_pod`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The interface is not there.
    NoInterface(Side),
    /// The interface is down.
    Down(Side),
    /// The host end belongs to another endpoint, named by its alias.
    Alias(String),
    /// The host end and the pod's end are not ends of one pair.
    NotPaired,
    /// The interface has this MTU.
    Mtu(Side, u32),
    /// The interface has this Ethernet address, or none.
    Mac(Side, Option<MacAddress>),
    /// The address is missing.
    NoAddress(Side, IpAddr),
    /// The pod's end has an address that is not the pod's.
    ForeignAddress(IpAddr),
    /// The route is missing, or there is another under its key.
    NoRoute(Side, Route),
    /// The permanent neighbour entry is missing or different.
    NoNeighbour(Side, IpAddr),
    /// The sysctl has another value, or is missing.
    Sysctl(String, Option<i32>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Host => "host",
            Side::Pod => "pod",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NoInterface(side) => write!(f, "the {side} interface is missing"),
            Difference::Down(side) => write!(f, "the {side} interface is down"),
            Difference::Alias(alias) => write!(f, "the host interface belongs to endpoint {alias:?}"),
            Difference::NotPaired => f.write_str("the host interface does not lead to the pod interface"),
            Difference::Mtu(side, mtu) => write!(f, "the {side} interface has MTU {mtu}"),
            Difference::Mac(side, Some(mac)) => write!(f, "the {side} interface has address {mac}"),
            Difference::Mac(side, None) => write!(f, "the {side} interface has no Ethernet address"),
            Difference::NoAddress(side, address) => write!(f, "the {side} interface lacks address {address}"),
            Difference::ForeignAddress(address) => write!(f, "the pod interface has the foreign address {address}"),
            Difference::NoRoute(side, route) => write!(f, "the {side} lacks route {route}"),
            Difference::NoNeighbour(side, address) => write!(f, "the {side} lacks the neighbour entry of {address}"),
            Difference::Sysctl(path, Some(value)) => write!(f, "{path} is {value}"),
            Difference::Sysctl(path, None) => write!(f, "{path} is missing"),
        }
    }
}

/// Compares the interface with what it shall be and names what differs, in a fixed order; empty means all is well. The
/// host side is that of the calling thread's namespace. Blocks.
///
/// # Errors
/// If a side cannot be looked at: [`Error::Namespace`], [`Error::Refused`], [`Error::Sysctl`].
pub fn check_pod(pod: &PodLink<'_>) -> Result<Vec<Difference>, Error> {
    let families = Families::of(pod);
    let inside = pod.namespace.run(|| Observed::new(pod.pod_name))??;
    let outside = Observed::new(pod.host_name)?;
    let mut differences = Vec::new();
    if let (Some(host), Some(peer)) = (&outside.link, &inside.link)
        && (host.peer, peer.peer) != (Some(peer.index), Some(host.index))
    {
        differences.push(Difference::NotPaired);
    }
    if let Some(host) = outside.link(Side::Host, pod.mtu, Some(MacAddress::HOST_END), &mut differences) {
        if host.alias.as_deref() != Some(pod.alias) {
            differences.push(Difference::Alias(host.alias.clone().unwrap_or_default()));
        }
        if families.v6 {
            outside.address(Side::Host, pod::GATEWAY_V6.into(), &mut differences);
        }
        for (sysctl, value) in pod::desired_host_sysctls(pod.host_name, families) {
            let actual = sysctl.get()?;
            if actual != Some(value) {
                differences.push(Difference::Sysctl(sysctl.path().display().to_string(), actual));
            }
        }
        outside.routes(Side::Host, pod::desired_host_routes(pod, host.index), &mut differences);
    }
    if let Some(peer) = inside.link(Side::Pod, pod.mtu, pod.pod_mac, &mut differences) {
        for address in pod.addresses {
            inside.address(Side::Pod, *address, &mut differences);
        }
        differences.extend(inside.foreign_addresses(pod.addresses).map(Difference::ForeignAddress));
        inside.routes(Side::Pod, pod::desired_pod_routes(families, peer.index), &mut differences);
    }
    if pod.permanent_neighbours
        && let Some(pod_mac) = inside.link.as_ref().and_then(|link| link.mac)
    {
        for address in pod.addresses {
            outside.neighbour(Side::Host, *address, pod_mac, &mut differences);
        }
        for gateway in families.gateways() {
            inside.neighbour(Side::Pod, gateway, MacAddress::HOST_END, &mut differences);
        }
    }
    Ok(differences)
}

/// What one side has on an interface.
struct Observed {
    link: Option<Link>,
    addresses: Vec<Address>,
    neighbours: Vec<Neighbour>,
    routes: Vec<Route>,
}

impl Observed {
    fn new(name: &crate::InterfaceName) -> Result<Self, Error> {
        let mut socket = Socket::open(NETLINK_ROUTE)?;
        let link = pod::find(&mut socket, name)?;
        let mut observed = Observed { link, addresses: Vec::new(), neighbours: Vec::new(), routes: Vec::new() };
        let Some(index) = observed.link.as_ref().map(|link| link.index) else { return Ok(observed) };

        let mut request = AddressMessage::default();
        request.header.index = index;
        let request = RouteNetlinkMessage::GetAddress(request);
        observed.addresses = dump(&mut socket, "list addresses", &request, |message| match message {
            RouteNetlinkMessage::NewAddress(message) => Address::parse(&message),
            _ => None,
        })?;
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        observed.neighbours = dump(&mut socket, "list neighbours", &request, |message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => Neighbour::parse(&message),
            _ => None,
        })?;
        observed.neighbours.retain(|neighbour| neighbour.interface == index);
        for family in [Family::Ipv4, Family::Ipv6] {
            let filter = RouteFilter { family: Some(family), table: Some(TABLE_MAIN), protocol: None };
            let message = route_message::dump_interface(family, &filter, index);
            let request = RouteNetlinkMessage::GetRoute(message);
            let routes = dump(&mut socket, "list routes", &request, |message| match message {
                RouteNetlinkMessage::NewRoute(message) => route_message::parse(&message),
                _ => None,
            });
            match routes {
                Ok(routes) => observed.routes.extend(routes),
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(observed)
    }

    /// Judges the interface itself; `None` if there is none.
    fn link(&self, side: Side, mtu: u32, mac: Option<MacAddress>, differences: &mut Vec<Difference>) -> Option<&Link> {
        let Some(link) = &self.link else {
            differences.push(Difference::NoInterface(side));
            return None;
        };
        if !link.up {
            differences.push(Difference::Down(side));
        }
        if link.mtu != mtu {
            differences.push(Difference::Mtu(side, link.mtu));
        }
        if mac.is_some() && link.mac != mac {
            differences.push(Difference::Mac(side, link.mac));
        }
        Some(link)
    }

    fn address(&self, side: Side, address: IpAddr, differences: &mut Vec<Difference>) {
        if !self.addresses.iter().any(|present| present.ip() == address && !present.tentative) {
            differences.push(Difference::NoAddress(side, address));
        }
    }

    fn foreign_addresses(&self, own: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
        let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        self.addresses.iter().map(Address::ip).filter(move |address| !own.contains(address) && !link_local(address))
    }

    fn routes(&self, side: Side, desired: impl IntoIterator<Item = Route>, differences: &mut Vec<Difference>) {
        for route in desired {
            let route = route.canonical();
            if !self.routes.contains(&route) {
                differences.push(Difference::NoRoute(side, route));
            }
        }
    }

    fn neighbour(&self, side: Side, address: IpAddr, mac: MacAddress, differences: &mut Vec<Difference>) {
        let present = |neighbour: &Neighbour| neighbour.address == address && neighbour.entry == Entry::Permanent(mac);
        if !self.neighbours.iter().any(present) {
            differences.push(Difference::NoNeighbour(side, address));
        }
    }
}
