use std::net::IpAddr;

use ipnetwork::IpNetwork;
use kernel::{
    Address, Created, Event, Monitor, Netlink, NextHop, Protocol, Removed, Route, RouteChange, RouteFilter,
    RouteWriter, TABLE_MAIN, Watch,
};

use crate::namespace::{ip, isolated, isolated_async, veth};

const METRIC: u32 = 1024;
const OURS: RouteFilter = RouteFilter { family: None, protocol: Some(Protocol::BGP), table: Some(TABLE_MAIN) };

fn network(text: &str) -> IpNetwork {
    text.parse().expect("network")
}

fn via(gateway: &str, interface: u32) -> NextHop {
    NextHop::via(gateway.parse().expect("address"), interface)
}

fn bgp(destination: &str, next_hops: Vec<NextHop>) -> Route {
    Route::unicast(network(destination), Protocol::BGP, METRIC, next_hops)
}

/// A handle, and an interface with 10.1.0.1/24 and fd00::1/64.
async fn router() -> (Netlink, u32) {
    let netlink = Netlink::open().expect("opens");
    let (one, _) = veth(&netlink, "one", "two").await;
    for address in ["10.1.0.1/24", "fd00::1/64"] {
        netlink.add_address(&Address::new(one, network(address))).await.expect("added");
    }
    (netlink, one)
}

async fn ours(netlink: &Netlink) -> Vec<Route> {
    netlink.routes(OURS).await.expect("list")
}

/// One prefix of each family goes through a sequence of forms, each written over the one before.
#[test]
fn every_form_replaces_every_other_in_place() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        for (destination, gateways, foreign) in [
            ("10.9.0.0/16", ["10.1.0.2", "10.1.0.3", "10.1.0.4"], "192.0.2.1"),
            ("fd09::/32", ["fd00::2", "fd00::3", "fd00::4"], "2001:db8::1"),
        ] {
            let hop = |n: usize| via(gateways[n], one);
            let blackhole = Route::blackhole(network(destination), Protocol::BGP, METRIC);
            let weighted = vec![NextHop { weight: 3, ..hop(0) }, NextHop { weight: 200, ..hop(1) }];
            let onlink = NextHop { onlink: true, ..via(foreign, one) };
            let forms = [
                bgp(destination, vec![hop(0)]),
                bgp(destination, vec![hop(0), hop(1)]),
                bgp(destination, weighted),
                blackhole.clone(),
                bgp(destination, vec![hop(0), hop(1), hop(2)]),
                bgp(destination, vec![onlink]),
                blackhole,
                bgp(destination, vec![NextHop::dev(one)]),
                bgp(destination, vec![hop(2), hop(1)]),
                bgp(destination, vec![NextHop::dev(one)]),
            ];
            for form in forms {
                netlink.replace_route(&form).await.expect("written");
                assert_eq!(ours(&netlink).await, vec![form.clone().canonical()], "after {form}");
            }
            let last = bgp(destination, vec![]);
            assert_eq!(netlink.delete_route(&last).await.expect("deleted"), Removed::Gone);
            assert_eq!(netlink.delete_route(&last).await.expect("no error"), Removed::Absent);
            assert_eq!(ours(&netlink).await, vec![]);
        }
    });
}

#[test]
fn a_multipath_route_changes_without_ever_being_gone() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        let watch = Watch { links: false, addresses: false, neighbours: false, routes: true, except: None };
        for (destination, gateways) in
            [("10.9.0.0/16", ["10.1.0.2", "10.1.0.3", "10.1.0.4"]), ("fd09::/32", ["fd00::2", "fd00::3", "fd00::4"])]
        {
            let [a, b, c] = gateways.map(|gateway| via(gateway, one));
            netlink.replace_route(&bgp(destination, vec![a, b])).await.expect("written");
            let mut monitor = Monitor::open(watch).expect("opens");
            netlink.replace_route(&bgp(destination, vec![b, c])).await.expect("written");
            netlink.delete_route(&bgp(destination, vec![])).await.expect("deleted");
            let mut replaced = false;
            loop {
                match monitor.next().await.expect("event") {
                    Event::RouteReplaced(route) => replaced |= route == bgp(destination, vec![b, c]),
                    Event::RouteGone(route) if replaced && route.destination == network(destination) => break,
                    Event::RouteGone(route) => panic!("{route} was gone for a moment"),
                    _ => {}
                }
            }
        }
    });
}

#[test]
fn ipv4_goes_through_an_ipv6_gateway() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        for hops in [vec![via("fd00::2", one)], vec![via("fd00::2", one), via("10.1.0.2", one), via("fe80::9", one)]] {
            let route = bgp("10.9.0.0/16", hops);
            netlink.replace_route(&route).await.expect("written");
            assert_eq!(ours(&netlink).await, vec![route.canonical()]);
        }
        assert!(ip("route show 10.9.0.0/16").contains("via inet6 fd00::2"));
    });
}

#[test]
fn deletion_spares_routes_of_others() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        for (destination, gateway) in [("10.9.0.0/16", "10.1.0.2"), ("fd09::/32", "fd00::2")] {
            let of_another = Route { protocol: Protocol::STATIC, ..bgp(destination, vec![via(gateway, one)]) };
            netlink.replace_route(&of_another).await.expect("written");
            assert_eq!(netlink.delete_route(&bgp(destination, vec![])).await.expect("no error"), Removed::Absent);
            let other_metric = Route { metric: 20, ..of_another.clone() };
            assert_eq!(netlink.delete_route(&other_metric).await.expect("no error"), Removed::Absent);
            assert_eq!(
                netlink.create_route(&bgp(destination, vec![via(gateway, one)])).await.expect("no error"),
                Created::Exists
            );
            assert_eq!(netlink.delete_route(&of_another).await.expect("deleted"), Removed::Gone);
        }
    });
}

#[test]
fn dumps_are_filtered_by_protocol_and_table() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        let main = bgp("10.9.0.0/16", vec![via("10.1.0.2", one)]);
        let custom = Route { table: 5000, ..bgp("fd09::/32", vec![via("fd00::2", one)]) };
        let felix = Route::blackhole(network("10.8.0.0/24"), Protocol::FELIX, 0);
        for route in [&main, &custom, &felix] {
            netlink.replace_route(route).await.expect("written");
        }
        let list = async |filter| netlink.routes(filter).await.expect("list");
        let filter = RouteFilter { protocol: Some(Protocol::BGP), ..Default::default() };
        assert_eq!(list(filter).await, vec![main.clone(), custom.clone()]);
        assert_eq!(list(OURS).await, vec![main]);
        assert_eq!(list(RouteFilter { table: Some(5000), ..Default::default() }).await, vec![custom]);
        assert_eq!(list(RouteFilter { table: Some(5001), ..Default::default() }).await, vec![]);
        assert!(list(RouteFilter::default()).await.contains(&felix));
    });
}

#[test]
fn a_preferred_source_comes_back() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        for (destination, gateway, source) in
            [("10.9.0.0/16", "10.1.0.2", "10.1.0.1"), ("fd09::/32", "fd00::2", "fd00::1")]
        {
            let source: IpAddr = source.parse().expect("address");
            let route = Route { source: Some(source), ..bgp(destination, vec![via(gateway, one)]) };
            netlink.replace_route(&route).await.expect("written");
            assert!(ours(&netlink).await.contains(&route));
        }
    });
}

#[test]
fn a_refusal_says_why_in_the_kernels_words() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        let error = netlink.replace_route(&bgp("10.9.0.0/16", vec![via("192.0.2.1", one)])).await.expect_err("refused");
        let text = error.to_string();
        assert!(text.starts_with("replace route 10.9.0.0/16 via 192.0.2.1"), "{text}");
        assert!(text.ends_with("(Nexthop has invalid gateway)"), "{text}");
        assert_eq!(error.errno(), Some(libc_enetunreach()));
    });
}

fn libc_enetunreach() -> i32 {
    nix::errno::Errno::ENETUNREACH as i32
}

/// 10.N.N.0/24 and 2001:db8:N:N::/64 in turn.
fn many(count: u32, next_hop: [NextHop; 2]) -> Vec<RouteChange> {
    let route = |n: u32| {
        let (high, low) = ((n / 2) >> 8, (n / 2) & 0xff);
        let destination = if n.is_multiple_of(2) {
            format!("20.{high}.{low}.0/24")
        } else {
            format!("2001:db8:{high:x}:{low:x}::/64")
        };
        RouteChange::Replace(bgp(&destination, vec![next_hop[(n % 2) as usize]]))
    };
    (0..count).map(route).collect()
}

#[test]
fn the_writer_writes_and_deletes_many_routes() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        let changes = many(5000, [via("10.1.0.2", one), via("fd00::2", one)]);
        let mut writer = RouteWriter::open().expect("opens");
        for _ in 0..2 {
            assert!(writer.write(&changes).expect("written").is_empty());
            assert_eq!(ours(&netlink).await.len(), changes.len());
        }
        let deletions: Vec<_> = changes.iter().map(|change| RouteChange::Delete(change.route().clone())).collect();
        assert!(writer.write(&deletions).expect("written").is_empty());
        assert!(writer.write(&deletions).expect("absent routes are no failure").is_empty());
        assert_eq!(ours(&netlink).await, vec![]);
    });
}

#[test]
fn the_writer_tells_which_routes_were_refused_and_writes_the_others() {
    isolated_async(async || {
        let (netlink, one) = router().await;
        let mut changes = many(3000, [via("10.1.0.2", one), via("fd00::2", one)]);
        let bad = [0, 255, 256, 257, 1000, 2999];
        for index in bad {
            changes[index] = RouteChange::Replace(bgp("30.0.0.0/8", vec![via("192.0.2.1", one)]));
        }
        let failures = RouteWriter::open().expect("opens").write(&changes).expect("written");
        assert_eq!(failures.iter().map(|failure| failure.index).collect::<Vec<_>>(), bad);
        assert!(failures.iter().all(|failure| failure.error.to_string().contains("invalid gateway")));
        assert_eq!(ours(&netlink).await.len(), changes.len() - bad.len());
    });
}

#[test]
fn the_writer_survives_a_list_of_nothing_but_refusals() {
    isolated(|| {
        let changes = many(4000, [via("192.0.2.1", 1), via("2001:db9::1", 1)]);
        let failures = RouteWriter::open().expect("opens").write(&changes).expect("written");
        assert_eq!(failures.len(), changes.len());
    });
}
