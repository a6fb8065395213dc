//! A kernel route as a value.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Routing table `local` (255): the node's own and broadcast addresses.
pub const TABLE_LOCAL: u32 = 255;
/// Routing table `main` (254).
pub const TABLE_MAIN: u32 = 254;
/// The metric the kernel gives an IPv6 route that was added with metric 0 (`IP6_RT_PRIO_USER`).
const IPV6_DEFAULT_METRIC: u32 = 1024;

/// An IP version, where routes of both are handled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }
}

/// Who installed a route (`rtm_protocol`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Installed by the kernel itself (connected and local routes).
    pub const KERNEL: Protocol = Protocol(2);
    /// What `ip route add` writes unless told otherwise.
    pub const BOOT: Protocol = Protocol(3);
    /// An administrator's static route.
    pub const STATIC: Protocol = Protocol(4);
    /// Pod, block and tunnel routes of felix.
    pub const FELIX: Protocol = Protocol(80);
    /// bgpd's host routes to its peers.
    pub const PEER: Protocol = Protocol(81);
    /// Routes learned by BGP.
    pub const BGP: Protocol = Protocol(186);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("redirect"),
            2 => f.write_str("kernel"),
            3 => f.write_str("boot"),
            4 => f.write_str("static"),
            9 => f.write_str("ra"),
            11 => f.write_str("zebra"),
            12 => f.write_str("bird"),
            16 => f.write_str("dhcp"),
            186 => f.write_str("bgp"),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a route does with a packet (`rtm_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Sends it to a next hop.
    Unicast,
    /// Delivers it here.
    Local,
    /// Delivers it here as a broadcast.
    Broadcast,
    /// Delivers it here, an anycast address.
    Anycast,
    /// Is for multicast.
    Multicast,
    /// Drops it silently.
    Blackhole,
    /// Answers "destination unreachable".
    Unreachable,
    /// Answers "administratively prohibited".
    Prohibit,
    /// Ends the lookup in this table.
    Throw,
    /// Another type, by number.
    Other(u8),
}

impl Kind {
    /// Whether routes of this kind have no next hop.
    pub fn is_discard(self) -> bool {
        matches!(self, Kind::Blackhole | Kind::Unreachable | Kind::Prohibit | Kind::Throw)
    }
}

/// How far away the destination is (`rtm_scope`); IPv4 only, the kernel ignores it for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Anywhere.
    Universe,
    /// Inside the site.
    Site,
    /// On an attached link.
    Link,
    /// On this host.
    Host,
    /// Does not exist.
    Nowhere,
    /// Another scope, by number.
    Other(u8),
}

/// One way out of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// The router, or `None` when the destination is on the link. An IPv6 gateway of an IPv4 route is sent as
    /// `RTA_VIA` (RFC 8950 forwarding).
    pub gateway: Option<IpAddr>,
    /// Interface index. 0 lets the kernel find it from the gateway; a dump always names it.
    pub interface: u32,
    /// Share of the flows, 1 to 255 (the kernel's hop count plus one). 0 is taken as 1.
    pub weight: u8,
    /// Take the gateway as reachable on the interface even if no connected prefix covers it.
    pub onlink: bool,
}

impl NextHop {
    /// Through a gateway on an interface.
    pub fn via(gateway: IpAddr, interface: u32) -> Self {
        NextHop { gateway: Some(gateway), interface, weight: 1, onlink: false }
    }

    /// Straight onto an interface.
    pub fn dev(interface: u32) -> Self {
        NextHop { gateway: None, interface, weight: 1, onlink: false }
    }
}

/// A route: what the kernel knows under (table, destination, metric).
///
/// Type of service, source-specific IPv6 routes and encapsulation are not represented; routes that use them are left
/// out of dumps and events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination; bits beyond the prefix length are ignored when written and zero when read.
    pub destination: IpNetwork,
    /// Table number; numbers above 255 are possible.
    pub table: u32,
    /// Priority, lower wins. The kernel turns 0 into 1024 for IPv6.
    pub metric: u32,
    /// Who installed it.
    pub protocol: Protocol,
    /// What it does.
    pub kind: Kind,
    /// How far away the destination is.
    pub scope: Scope,
    /// Source address that this host prefers for connections over the route.
    pub source: Option<IpAddr>,
    /// Ways out. More than one is a multipath route.
    pub next_hops: Vec<NextHop>,
}

/// What makes a route the same route: writing another with an equal key replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey {
    /// Table number.
    pub table: u32,
    /// Destination without host bits.
    pub destination: IpNetwork,
    /// Priority.
    pub metric: u32,
}

impl Route {
    /// A unicast route in table main. The scope is `Link` without any gateway and `Universe` otherwise.
    pub fn unicast(destination: IpNetwork, protocol: Protocol, metric: u32, next_hops: Vec<NextHop>) -> Self {
        let direct = next_hops.iter().all(|next_hop| next_hop.gateway.is_none());
        let scope = if direct && destination.is_ipv4() { Scope::Link } else { Scope::Universe };
        let kind = Kind::Unicast;
        Route { destination, table: TABLE_MAIN, metric, protocol, kind, scope, source: None, next_hops }
    }

    /// A blackhole route in table main.
    pub fn blackhole(destination: IpNetwork, protocol: Protocol, metric: u32) -> Self {
        let (kind, scope) = (Kind::Blackhole, Scope::Universe);
        Route { destination, table: TABLE_MAIN, metric, protocol, kind, scope, source: None, next_hops: Vec::new() }
    }

    /// The family of the destination.
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// Under what the kernel files it.
    pub fn key(&self) -> RouteKey {
        let route = self.clone_without_next_hops().canonical();
        RouteKey { table: route.table, destination: route.destination, metric: route.metric }
    }

    /// The route as a dump shows it after it was written: host bits cleared, IPv6 metric 0 as 1024 and scope
    /// `Universe`, weight 0 as 1, no next hops on a route that discards, next hops in order. Two routes do the same
    /// when their canonical forms are equal, except for a next hop written with interface 0.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.destination = masked(self.destination);
        if self.destination.is_ipv6() {
            self.scope = Scope::Universe;
            if self.metric == 0 {
                self.metric = IPV6_DEFAULT_METRIC;
            }
        }
        if self.kind.is_discard() {
            self.next_hops.clear();
        }
        for next_hop in &mut self.next_hops {
            next_hop.weight = next_hop.weight.max(1);
        }
        if let [only] = self.next_hops.as_mut_slice() {
            // The kernel stores no weight for a single next hop.
            only.weight = 1;
        }
        self.next_hops.sort_unstable();
        self
    }

    fn clone_without_next_hops(&self) -> Self {
        Route { next_hops: Vec::new(), ..*self }
    }
}

impl fmt::Display for Route {
    /// As `ip route` would say it, with interface numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != Kind::Unicast {
            write!(f, "{:?} ", self.kind)?;
        }
        write!(f, "{}", self.destination)?;
        for next_hop in &self.next_hops {
            if let Some(gateway) = next_hop.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " dev {}", next_hop.interface)?;
            if self.next_hops.len() > 1 {
                write!(f, " weight {}", next_hop.weight)?;
            }
            if next_hop.onlink {
                f.write_str(" onlink")?;
            }
        }
        write!(f, " proto {} metric {} table {}", self.protocol, self.metric, self.table)
    }
}

/// Which routes a dump is about. The default is all of both families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Only this family.
    pub family: Option<Family>,
    /// Only routes installed by this protocol.
    pub protocol: Option<Protocol>,
    /// Only this table.
    pub table: Option<u32>,
}

impl RouteFilter {
    pub(crate) fn admits(&self, route: &Route) -> bool {
        self.family.is_none_or(|family| family == route.family())
            && self.protocol.is_none_or(|protocol| protocol == route.protocol)
            && self.table.is_none_or(|table| table == route.table)
    }
}

/// The network without host bits, which `ipnetwork` keeps.
pub(crate) fn masked(network: IpNetwork) -> IpNetwork {
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(network)
}
