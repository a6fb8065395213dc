//! Pure: no kernel is asked.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use kernel::{
    Address, Effect, Event, Fib, Kind, Link, Lost, NextHop, Protocol, Reachability, Route, TABLE_LOCAL, TABLE_MAIN,
};
use proptest::prelude::*;

const EXCEPT: Option<(Protocol, u32)> = Some((Protocol::BGP, 1024));

fn link(index: u32, up: bool, carrier: bool) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        kind: None,
        alias: None,
        mac: None,
        mtu: 1500,
        up,
        carrier,
        loopback: false,
        peer: None,
        controller: None,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn route(destination: &str, protocol: Protocol, metric: u32, next_hops: &[NextHop]) -> Route {
    Route::unicast(destination.parse().expect("network"), protocol, metric, next_hops.to_vec())
}

fn fib(routes: impl IntoIterator<Item = Route>) -> Fib {
    let links = [link(1, true, true), link(2, true, true), link(3, true, false), link(4, false, false)];
    let addresses = [Address::new(1, "10.1.0.1/24".parse().expect("network"))];
    Fib::new(TABLE_MAIN, EXCEPT, links, addresses, routes)
}

fn reached(interface: u32, metric: u32, gateway: Option<&str>) -> Option<Reachability> {
    Some(Reachability { interface, metric, gateway: gateway.map(ip), onlink: false })
}

#[test]
fn the_longest_match_wins_then_the_lowest_metric() {
    let fib = fib([
        route("0.0.0.0/0", Protocol::STATIC, 0, &[NextHop::via(ip("10.1.0.254"), 1)]),
        route("10.9.0.0/16", Protocol::STATIC, 50, &[NextHop::via(ip("10.1.0.2"), 1)]),
        route("10.9.0.0/16", Protocol::STATIC, 20, &[NextHop::via(ip("10.2.0.2"), 2)]),
        route("10.1.0.0/24", Protocol::KERNEL, 0, &[NextHop::dev(1)]),
    ]);
    assert_eq!(fib.resolve(ip("10.9.1.1"), None), reached(2, 20, Some("10.2.0.2")));
    assert_eq!(fib.resolve(ip("10.9.1.1"), Some(1)), reached(1, 50, Some("10.1.0.2")));
    assert_eq!(fib.resolve(ip("10.1.0.7"), None), reached(1, 0, None));
    assert_eq!(fib.resolve(ip("198.51.100.1"), None), reached(1, 0, Some("10.1.0.254")));
    assert_eq!(fib.resolve(ip("2001:db8::1"), None), None);
}

#[test]
fn routes_that_bgp_installed_are_ignored_but_not_those_of_another_metric() {
    let hop = [NextHop::via(ip("10.1.0.2"), 1)];
    let fib = fib([route("10.8.0.0/16", Protocol::BGP, 1024, &hop), route("10.9.0.0/16", Protocol::BGP, 20, &hop)]);
    assert_eq!(fib.resolve(ip("10.8.0.1"), None), None);
    assert_eq!(fib.resolve(ip("10.9.0.1"), None), reached(1, 20, Some("10.1.0.2")));
}

#[test]
fn a_discarding_route_hides_shorter_ones_and_an_unusable_interface_does_not() {
    let default = route("0.0.0.0/0", Protocol::STATIC, 0, &[NextHop::via(ip("10.1.0.254"), 1)]);
    let blackhole = Route::blackhole("10.9.0.0/16".parse().expect("network"), Protocol::STATIC, 0);
    let no_carrier = route("10.8.0.0/16", Protocol::STATIC, 0, &[NextHop::dev(3)]);
    let half = route("10.7.0.0/16", Protocol::STATIC, 0, &[NextHop::dev(4), NextHop::dev(2)]);
    let fib = fib([default, blackhole, no_carrier, half]);
    assert_eq!(fib.resolve(ip("10.9.0.1"), None), None);
    assert_eq!(fib.resolve(ip("10.8.0.1"), None), reached(1, 0, Some("10.1.0.254")));
    assert_eq!(fib.resolve(ip("10.7.0.1"), None), reached(2, 0, None));
}

#[test]
fn own_addresses_and_other_tables_are_no_way_out() {
    let local = Route { table: TABLE_LOCAL, kind: Kind::Local, ..route("10.1.0.1/32", Protocol::KERNEL, 0, &[]) };
    let custom = Route { table: 5000, ..route("10.9.0.0/16", Protocol::STATIC, 0, &[NextHop::dev(1)]) };
    let fib = fib([route("10.1.0.0/24", Protocol::KERNEL, 0, &[NextHop::dev(1)]), local, custom]);
    assert_eq!(fib.resolve(ip("10.1.0.1"), None), None);
    assert_eq!(fib.resolve(ip("10.9.0.1"), None), None);
}

#[test]
fn a_link_local_next_hop_needs_its_interface() {
    let fib = fib([]);
    assert_eq!(fib.resolve(ip("fe80::1"), Some(2)), reached(2, 0, None));
    assert_eq!(fib.resolve(ip("fe80::1"), Some(3)), None);
    assert_eq!(fib.resolve(ip("fe80::1"), None), None);
}

#[test]
fn events_say_whether_anything_resolves_differently() {
    let mut fib = fib([]);
    let learned = route("10.9.0.0/16", Protocol::STATIC, 0, &[NextHop::dev(1)]);
    assert_eq!(fib.on_event(&Event::Route(learned.clone())), Effect::Changed);
    assert_eq!(fib.on_event(&Event::RouteReplaced(learned.clone())), Effect::None);
    assert_eq!(fib.on_event(&Event::Route(Route { table: 7, ..learned.clone() })), Effect::None);
    let ours = Route { protocol: Protocol::BGP, metric: 1024, ..learned.clone() };
    assert_eq!(fib.on_event(&Event::Route(ours)), Effect::None);
    assert_eq!(fib.on_event(&Event::Link(link(3, true, true))), Effect::Changed);
    assert_eq!(fib.on_event(&Event::Link(link(3, true, true))), Effect::None);
    assert_eq!(fib.on_event(&Event::Link(link(1, false, false))), Effect::Resync);
    assert_eq!(fib.on_event(&Event::RouteGone(learned.clone())), Effect::Changed);
    assert_eq!(fib.on_event(&Event::RouteGone(learned)), Effect::None);
    assert_eq!(fib.on_event(&Event::Resync(Lost::Overrun)), Effect::Resync);
}

#[test]
fn an_ipv6_multipath_route_goes_hop_by_hop() {
    let (one, two) = (NextHop::via(ip("fd00::1"), 1), NextHop::via(ip("fd00::2"), 2));
    let mut fib = fib([route("fd09::/32", Protocol::STATIC, 1024, &[one, two])]);
    let gone = |hop| Event::RouteGone(route("fd09::/32", Protocol::STATIC, 1024, &[hop]));
    assert_eq!(fib.on_event(&gone(one)), Effect::Changed);
    assert_eq!(fib.resolve(ip("fd09::1"), None), reached(2, 1024, Some("fd00::2")));
    assert_eq!(fib.on_event(&gone(two)), Effect::Changed);
    assert_eq!(fib.resolve(ip("fd09::1"), None), None);
}

fn any_route() -> impl Strategy<Value = Route> {
    let destination = (any::<[u8; 2]>(), 0u8..=20)
        .prop_map(|([a, b], length)| IpNetwork::new(IpAddr::from([a & 3, b & 3, 0, 0]), length).expect("network"));
    let kind = prop_oneof![4 => Just(Kind::Unicast), 1 => Just(Kind::Blackhole), 1 => Just(Kind::Throw)];
    let protocol = prop_oneof![Just(Protocol::STATIC), Just(Protocol::BGP)];
    let metric = prop_oneof![Just(10u32), Just(1024u32)];
    (destination, kind, protocol, metric, 1u32..=4).prop_map(|(destination, kind, protocol, metric, interface)| {
        let route = Route::unicast(destination, protocol, metric, vec![NextHop::dev(interface)]);
        Route { kind, ..route }.canonical()
    })
}

/// Longest match by looking at every route.
fn naive(routes: &[Route], address: IpAddr) -> Option<u32> {
    let usable = |route: &&Route| {
        let discards = route.kind == Kind::Blackhole;
        let leads = route.kind == Kind::Unicast && route.next_hops.iter().any(|hop| hop.interface <= 2);
        EXCEPT != Some((route.protocol, route.metric)) && (discards || leads || route.kind == Kind::Throw)
    };
    let mut matching: Vec<_> =
        routes.iter().filter(usable).filter(|route| route.destination.contains(address)).collect();
    matching.sort_by_key(|route| (u8::MAX - route.destination.prefix(), route.metric));
    // A throw route ends the search in its prefix length only.
    let mut thrown = None;
    for route in matching {
        match route.kind {
            Kind::Throw => thrown = Some(route.destination.prefix()),
            _ if thrown == Some(route.destination.prefix()) => {}
            Kind::Blackhole => return None,
            _ => return route.next_hops.first().map(|hop| hop.interface),
        }
    }
    None
}

proptest! {
    #[test]
    fn resolution_agrees_with_a_search_through_all_routes(
        routes in prop::collection::vec(any_route(), 0..40),
        address in any::<[u8; 2]>(),
    ) {
        let mut unique: Vec<Route> = Vec::new();
        for route in routes {
            if !unique.iter().any(|other| other.key() == route.key()) {
                unique.push(route);
            }
        }
        let address = IpAddr::from([address[0] & 3, address[1] & 3, 0, 1]);
        let resolved = fib(unique.clone()).resolve(address, None).map(|reached| reached.interface);
        prop_assert_eq!(resolved, naive(&unique, address));
    }

    #[test]
    fn events_lead_to_the_same_table_as_a_snapshot(routes in prop::collection::vec(any_route(), 0..40)) {
        let mut followed = fib([]);
        let mut table: Vec<Route> = Vec::new();
        for route in routes {
            let place = table.iter().position(|other| other.key() == route.key());
            match place {
                Some(place) if table[place] == route => {
                    table.remove(place);
                    followed.on_event(&Event::RouteGone(route));
                }
                Some(place) => {
                    table[place] = route.clone();
                    followed.on_event(&Event::RouteReplaced(route));
                }
                None => {
                    table.push(route.clone());
                    followed.on_event(&Event::Route(route));
                }
            }
        }
        let snapshot = fib(table);
        for a in 0..4 {
            for b in 0..4 {
                let address = IpAddr::from([a, b, 0, 1]);
                prop_assert_eq!(followed.resolve(address, None), snapshot.resolve(address, None));
            }
        }
    }
}
