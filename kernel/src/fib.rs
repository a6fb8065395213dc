//! What a next hop resolves to: longest match over a snapshot of the kernel's tables. No I/O.
//!
//! BGP next hops are resolved through the routes that others installed (connected, static, IGP), never through the
//! routes that BGP itself installed (RFC 4271 §9.1.2.1: no mutual recursion), which are told by protocol and metric.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::route::masked;
use crate::{Address, Event, Family, Kind, Link, NextHop, Protocol, Route, TABLE_LOCAL};

/// How an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reachability {
    /// Index of the interface that leads there.
    pub interface: u32,
    /// Metric of the route that was used, for the comparison of interior costs (RFC 4271 §9.1.2.2 e); 0 for a
    /// connected prefix.
    pub metric: u32,
    /// The router on the way, or `None` when the address is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The route that was used needs `onlink` for its gateway.
    pub onlink: bool,
}

/// What a change means for those who hold resolved next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing resolves differently.
    None,
    /// Resolve again.
    Changed,
    /// The kernel changed routes without telling: make a new snapshot.
    Resync,
}

/// A snapshot of links, addresses and routes that can be kept up to date with [`Event`]s.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    table: u32,
    except: Option<(Protocol, u32)>,
    /// Interfaces that are up and have a carrier.
    usable: BTreeSet<u32>,
    up: BTreeSet<u32>,
    addresses: BTreeSet<(u32, IpAddr)>,
    /// By destination, then by metric.
    routes: BTreeMap<IpNetwork, BTreeMap<u32, Route>>,
}

impl Fib {
    /// A snapshot that resolves in `table` and ignores routes with the protocol and metric of `except`.
    pub fn new(
        table: u32,
        except: Option<(Protocol, u32)>,
        links: impl IntoIterator<Item = Link>,
        addresses: impl IntoIterator<Item = Address>,
        routes: impl IntoIterator<Item = Route>,
    ) -> Self {
        let mut fib = Fib { table, except, ..Fib::default() };
        for link in links {
            fib.set_link(&link);
        }
        fib.addresses = addresses.into_iter().map(|address| (address.interface, address.ip())).collect();
        for route in routes.into_iter().filter(|route| route.table != TABLE_LOCAL) {
            fib.insert(route);
        }
        fib
    }

    /// Takes over a change.
    pub fn on_event(&mut self, event: &Event) -> Effect {
        match event {
            Event::Link(link) => self.set_link(link),
            Event::LinkGone(link) => self.set_link(&Link { up: false, ..link.clone() }),
            Event::Address(address) => effect(self.addresses.insert((address.interface, address.ip()))),
            Event::AddressGone(address) => {
                let gone = self.addresses.remove(&(address.interface, address.ip()));
                let preferred = |route: &Route| route.source == Some(address.ip());
                if self.routes().any(preferred) { Effect::Resync } else { effect(gone) }
            }
            Event::Route(route) | Event::RouteReplaced(route) => effect(self.insert(route.clone())),
            Event::RouteGone(route) => self.remove(route),
            Event::Resync(_) => Effect::Resync,
            Event::Neighbour(_) | Event::NeighbourGone(_) => Effect::None,
        }
    }

    /// How `address` is reached, or `None` if it is not: no route but a discarding one, no usable interface, or one
    /// of this host's own addresses. A link-local address is on the link of `interface`.
    pub fn resolve(&self, address: IpAddr, interface: Option<u32>) -> Option<Reachability> {
        if let IpAddr::V6(v6) = address
            && v6.is_unicast_link_local()
        {
            let interface = interface.filter(|interface| self.usable.contains(interface))?;
            let own = self.addresses.contains(&(interface, address));
            return (!own).then_some(Reachability { interface, metric: 0, gateway: None, onlink: false });
        }
        if self.addresses.iter().any(|(_, own)| *own == address) {
            return None;
        }
        let longest = match Family::of(address) {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        };
        (0..=longest).rev().find_map(|length| self.resolve_in(address, length, interface)).flatten()
    }

    /// The answer of the routes of one prefix length; `Some(None)` if they match and discard. A route whose
    /// interfaces are all unusable does not match.
    fn resolve_in(&self, address: IpAddr, length: u8, interface: Option<u32>) -> Option<Option<Reachability>> {
        let destination = masked(IpNetwork::new(address, length).ok()?);
        for route in self.routes.get(&destination)?.values() {
            match route.kind {
                Kind::Unicast => {}
                Kind::Throw => return None,
                _ => return Some(None),
            }
            let fits = |next_hop: &&NextHop| {
                self.usable.contains(&next_hop.interface)
                    && interface.is_none_or(|interface| interface == next_hop.interface)
            };
            if let Some(next_hop) = route.next_hops.iter().find(fits) {
                return Some(Some(Reachability {
                    interface: next_hop.interface,
                    metric: cost(route),
                    gateway: next_hop.gateway,
                    onlink: next_hop.onlink,
                }));
            }
        }
        None
    }

    /// The routes of the table that it resolves in, and of those without a table of their own.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().flat_map(BTreeMap::values)
    }

    fn set_link(&mut self, link: &Link) -> Effect {
        let usable = link.up && link.carrier;
        let changed = if usable { self.usable.insert(link.index) } else { self.usable.remove(&link.index) };
        let went_down = if link.up {
            self.up.insert(link.index);
            false
        } else {
            self.up.remove(&link.index)
        };
        // IPv4 routes of an interface that goes down are flushed without a notification.
        let uses = |route: &Route| route.next_hops.iter().any(|next_hop| next_hop.interface == link.index);
        if went_down && self.routes().any(uses) { Effect::Resync } else { effect(changed) }
    }

    fn concerns(&self, route: &Route) -> bool {
        route.table == self.table
            && self.except != Some((route.protocol, route.metric))
            && !matches!(route.kind, Kind::Local | Kind::Broadcast | Kind::Anycast | Kind::Multicast)
    }

    fn insert(&mut self, route: Route) -> bool {
        if !self.concerns(&route) {
            // It may have replaced one that did.
            let ours = route.table == self.table && self.except == Some((route.protocol, route.metric));
            return ours && self.forget(&route);
        }
        let metrics = self.routes.entry(masked(route.destination)).or_default();
        let before = metrics.insert(route.metric, route.clone());
        before != Some(route)
    }

    fn forget(&mut self, route: &Route) -> bool {
        let destination = masked(route.destination);
        let Some(metrics) = self.routes.get_mut(&destination) else { return false };
        let gone = metrics.remove(&route.metric).is_some();
        if metrics.is_empty() {
            self.routes.remove(&destination);
        }
        gone
    }

    fn remove(&mut self, route: &Route) -> Effect {
        if !self.concerns(route) {
            return Effect::None;
        }
        let known = self.routes.get_mut(&masked(route.destination)).and_then(|metrics| metrics.get_mut(&route.metric));
        let Some(known) = known else { return Effect::None };
        if known.next_hops == route.next_hops {
            return effect(self.forget(route));
        }
        if route.destination.is_ipv4() {
            // Several routes under one key (`ip route append`): which one is left is not known here.
            return Effect::Resync;
        }
        let before = known.next_hops.len();
        // Single next hops are told without their weight.
        let left = |next_hop: &NextHop| {
            let same = |gone: &NextHop| (gone.gateway, gone.interface) == (next_hop.gateway, next_hop.interface);
            !route.next_hops.iter().any(same)
        };
        known.next_hops.retain(left);
        if known.next_hops.is_empty() {
            return effect(self.forget(route));
        }
        effect(known.next_hops.len() != before)
    }
}

/// The interior cost of a route. The kernel gives IPv6 connected routes metric 256, which is no cost.
fn cost(route: &Route) -> u32 {
    if route.protocol == Protocol::KERNEL && route.next_hops.iter().all(|next_hop| next_hop.gateway.is_none()) {
        0
    } else {
        route.metric
    }
}

fn effect(changed: bool) -> Effect {
    if changed { Effect::Changed } else { Effect::None }
}
