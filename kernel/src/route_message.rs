//! Routes to and from `rtnetlink` messages.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};

use crate::route::masked;
use crate::{Family, Kind, NextHop, Protocol, Route, RouteFilter, Scope};

impl Family {
    pub(crate) fn wire(self) -> AddressFamily {
        match self {
            Family::Ipv4 => AddressFamily::Inet,
            Family::Ipv6 => AddressFamily::Inet6,
        }
    }
}

impl From<u8> for Kind {
    fn from(number: u8) -> Self {
        match number {
            1 => Kind::Unicast,
            2 => Kind::Local,
            3 => Kind::Broadcast,
            4 => Kind::Anycast,
            5 => Kind::Multicast,
            6 => Kind::Blackhole,
            7 => Kind::Unreachable,
            8 => Kind::Prohibit,
            9 => Kind::Throw,
            other => Kind::Other(other),
        }
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> u8 {
        match kind {
            Kind::Unicast => 1,
            Kind::Local => 2,
            Kind::Broadcast => 3,
            Kind::Anycast => 4,
            Kind::Multicast => 5,
            Kind::Blackhole => 6,
            Kind::Unreachable => 7,
            Kind::Prohibit => 8,
            Kind::Throw => 9,
            Kind::Other(other) => other,
        }
    }
}

impl From<u8> for Scope {
    fn from(number: u8) -> Self {
        match number {
            0 => Scope::Universe,
            200 => Scope::Site,
            253 => Scope::Link,
            254 => Scope::Host,
            255 => Scope::Nowhere,
            other => Scope::Other(other),
        }
    }
}

impl From<Scope> for u8 {
    fn from(scope: Scope) -> u8 {
        match scope {
            Scope::Universe => 0,
            Scope::Site => 200,
            Scope::Link => 253,
            Scope::Host => 254,
            Scope::Nowhere => 255,
            Scope::Other(other) => other,
        }
    }
}

/// The message that writes a route.
pub(crate) fn write(route: &Route) -> RouteMessage {
    let mut message = keyed(route);
    message.header.scope = RouteScope::from(u8::from(route.scope));
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    match route.next_hops.as_slice() {
        _ if route.kind.is_discard() => {}
        [] => {}
        [only] => {
            if only.onlink {
                message.header.flags |= RouteFlags::Onlink;
            }
            message.attributes.extend(only.gateway.map(|gateway| gateway_attribute(route, gateway)));
            message.attributes.extend((only.interface != 0).then_some(RouteAttribute::Oif(only.interface)));
        }
        several => {
            let hops = several.iter().map(|next_hop| multipath_entry(route, next_hop)).collect();
            message.attributes.push(RouteAttribute::MultiPath(hops));
        }
    }
    message
}

/// The message that deletes exactly this route: table, destination, metric, protocol and kind have to agree. The next
/// hops are left out, so that all ways of a multipath route go at once.
pub(crate) fn delete(route: &Route) -> RouteMessage {
    let mut message = keyed(route);
    message.header.scope = RouteScope::NoWhere;
    message
}

/// The message that asks for a dump of one family.
pub(crate) fn dump(family: Family, filter: &RouteFilter) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.wire();
    message.header.protocol = RouteProtocol::from(filter.protocol.map_or(0, |protocol| protocol.0));
    if let Some(table) = filter.table {
        set_table(&mut message, table);
    }
    message
}

/// The message that asks for a dump of the routes over one interface.
pub(crate) fn dump_interface(family: Family, filter: &RouteFilter, interface: u32) -> RouteMessage {
    let mut message = dump(family, filter);
    message.attributes.push(RouteAttribute::Oif(interface));
    message
}

/// The message that asks how this host itself would treat a packet to an address.
pub(crate) fn lookup(address: IpAddr, interface: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = Family::of(address).wire();
    message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message.attributes.push(RouteAttribute::Oif(interface));
    message
}

fn keyed(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.attributes.reserve(6);
    let destination = masked(route.destination);
    message.header.address_family = route.family().wire();
    message.header.destination_prefix_length = destination.prefix();
    message.header.protocol = RouteProtocol::from(route.protocol.0);
    message.header.kind = RouteType::from(u8::from(route.kind));
    set_table(&mut message, route.table);
    message.attributes.push(RouteAttribute::Destination(destination.ip().into()));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    message
}

fn set_table(message: &mut RouteMessage, table: u32) {
    match u8::try_from(table) {
        Ok(small) => message.header.table = small,
        Err(_) => {
            message.header.table = RouteHeader::RT_TABLE_UNSPEC;
            message.attributes.push(RouteAttribute::Table(table));
        }
    }
}

fn gateway_attribute(route: &Route, gateway: IpAddr) -> RouteAttribute {
    if Family::of(gateway) == route.family() {
        RouteAttribute::Gateway(gateway.into())
    } else {
        RouteAttribute::Via(gateway.into())
    }
}

fn multipath_entry(route: &Route, next_hop: &NextHop) -> RouteNextHop {
    let mut entry = RouteNextHop::default();
    entry.hops = next_hop.weight.saturating_sub(1);
    entry.interface_index = next_hop.interface;
    if next_hop.onlink {
        entry.flags = RouteNextHopFlags::Onlink;
    }
    entry.attributes.extend(next_hop.gateway.map(|gateway| gateway_attribute(route, gateway)));
    entry
}

/// Reads a route from a dump or an event, in canonical form. `None` for what [`Route`] does not represent.
pub(crate) fn parse(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let representable =
        header.tos == 0 && header.source_prefix_length == 0 && !header.flags.contains(RouteFlags::Cloned);
    if !representable {
        return None;
    }
    let (mut destination, mut source) = (unspecified, None);
    let (mut table, mut metric) = (u32::from(header.table), 0);
    let mut next_hops = Vec::new();
    let mut single = NextHop { gateway: None, interface: 0, weight: 1, onlink: false };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => single.interface = *index,
            RouteAttribute::Gateway(address) => single.gateway = ip(address),
            RouteAttribute::Via(via) => single.gateway = Some(via_ip(via)?),
            RouteAttribute::MultiPath(entries) => {
                for entry in entries {
                    next_hops.push(parse_next_hop(entry)?);
                }
            }
            RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    if next_hops.is_empty() && (single.interface != 0 || single.gateway.is_some()) {
        single.onlink = header.flags.contains(RouteFlags::Onlink);
        next_hops.push(single);
    }
    let destination = IpNetwork::new(destination, header.destination_prefix_length).ok()?;
    let route = Route {
        destination,
        table,
        metric,
        protocol: Protocol(header.protocol.into()),
        kind: Kind::from(u8::from(header.kind)),
        scope: Scope::from(u8::from(header.scope)),
        source,
        next_hops,
    };
    Some(route.canonical())
}

fn parse_next_hop(entry: &RouteNextHop) -> Option<NextHop> {
    let mut next_hop = NextHop {
        gateway: None,
        interface: entry.interface_index,
        weight: entry.hops.saturating_add(1),
        onlink: entry.flags.contains(RouteNextHopFlags::Onlink),
    };
    for attribute in &entry.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => next_hop.gateway = ip(address),
            RouteAttribute::Via(via) => next_hop.gateway = Some(via_ip(via)?),
            RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    Some(next_hop)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn via_ip(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(address) => Some(IpAddr::V4(*address)),
        RouteVia::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};
    use proptest::prelude::*;

    use super::*;
    use crate::TABLE_MAIN;

    fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
        any::<u128>().prop_map(move |bits| if v6 { IpAddr::from(bits.to_be_bytes()) } else { v4(bits as u32) })
    }

    fn v4(bits: u32) -> IpAddr {
        IpAddr::from(bits.to_be_bytes())
    }

    fn next_hop(v6: bool) -> impl Strategy<Value = NextHop> {
        // An IPv4 route may have gateways of both families.
        let gateway = prop_oneof![address(v6), address(true)];
        (prop::option::of(gateway), 1..9u32, any::<u8>(), any::<bool>())
            .prop_map(|(gateway, interface, weight, onlink)| NextHop { gateway, interface, weight, onlink })
    }

    fn route(v6: bool) -> impl Strategy<Value = Route> {
        let kind = (1..=9u8).prop_map(Kind::from);
        let hops = prop::collection::vec(next_hop(v6), 1..5);
        let table = prop_oneof![Just(TABLE_MAIN), any::<u32>().prop_filter("a table", |table| *table != 0)];
        let numbers = (table, any::<u32>(), any::<u8>(), any::<u8>());
        (address(v6), 0..=(if v6 { 128u8 } else { 32 }), kind, hops, numbers, prop::option::of(address(v6))).prop_map(
            |(ip, length, kind, next_hops, (table, metric, protocol, scope), source)| Route {
                destination: IpNetwork::new(ip, length).expect("length fits"),
                table,
                metric,
                protocol: Protocol(protocol),
                kind,
                scope: Scope::from(scope),
                source,
                next_hops,
            },
        )
    }

    proptest! {
        #[test]
        fn a_route_comes_back_from_its_bytes_in_canonical_form(
            route in any::<bool>().prop_flat_map(route),
        ) {
            let message = write(&route);
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            let read = RouteMessage::parse(bytes.as_slice()).expect("decodes");
            prop_assert_eq!(parse(&read), Some(route.canonical()));
        }

        #[test]
        fn the_canonical_form_is_its_own(route in any::<bool>().prop_flat_map(route)) {
            let once = route.canonical();
            prop_assert_eq!(once.clone().canonical(), once);
        }

        #[test]
        fn numbers_of_kinds_and_scopes_survive(number in any::<u8>()) {
            prop_assert_eq!(u8::from(Kind::from(number)), number);
            prop_assert_eq!(u8::from(Scope::from(number)), number);
        }
    }

    #[test]
    fn source_specific_cloned_and_foreign_routes_are_left_out() {
        let message = write(&Route::blackhole("fd00::/64".parse().expect("network"), Protocol::BGP, 1024));
        assert!(parse(&message).is_some());
        let mut source_specific = message.clone();
        source_specific.header.source_prefix_length = 64;
        let mut cloned = message.clone();
        cloned.header.flags |= RouteFlags::Cloned;
        let mut by_service = message.clone();
        by_service.header.tos = 8;
        let mut label = message;
        label.header.address_family = AddressFamily::Mpls;
        for other in [source_specific, cloned, by_service, label] {
            assert_eq!(parse(&other), None);
        }
    }
}
