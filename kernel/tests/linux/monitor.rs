use std::time::Duration;

use kernel::{
    Address, Effect, Event, Fib, Lost, Monitor, NetNs, Netlink, NextHop, Protocol, Route, RouteChange, RouteFilter,
    RouteWriter, TABLE_MAIN, Watch,
};

use crate::namespace::{ip, isolated_async, veth};

const ALL: Watch = Watch { links: true, addresses: true, neighbours: true, routes: true, except: None };

async fn next(monitor: &mut Monitor) -> Event {
    tokio::time::timeout(Duration::from_secs(5), monitor.next()).await.expect("an event in time").expect("event")
}

/// Reads until an event satisfies the predicate.
async fn until(monitor: &mut Monitor, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = next(monitor).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn changes_of_every_kind_are_told() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let mut monitor = Monitor::open_in(&NetNs::current().expect("current"), ALL).expect("opens");
        let (one, _) = veth(&netlink, "one", "two").await;
        until(&mut monitor, |event| matches!(event, Event::Link(link) if link.index == one && link.carrier)).await;

        let address = Address::new(one, "10.1.0.1/24".parse().expect("network"));
        netlink.add_address(&address).await.expect("added");
        until(&mut monitor, |event| *event == Event::Address(address)).await;

        ip("neigh replace 10.1.0.9 lladdr 02:00:00:00:00:09 dev one");
        until(&mut monitor, |event| matches!(event, Event::Neighbour(entry) if entry.interface == one)).await;
        ip("neigh del 10.1.0.9 dev one");
        until(&mut monitor, |event| matches!(event, Event::NeighbourGone(entry) if entry.interface == one)).await;

        let hop = NextHop::via("10.1.0.2".parse().expect("address"), one);
        let route = Route::unicast("10.9.0.0/16".parse().expect("network"), Protocol::BGP, 1024, vec![hop]);
        netlink.replace_route(&route).await.expect("written");
        until(&mut monitor, |event| *event == Event::Route(route.clone())).await;
        let route = Route { next_hops: vec![NextHop { onlink: true, ..hop }], ..route };
        netlink.replace_route(&route).await.expect("written");
        until(&mut monitor, |event| *event == Event::RouteReplaced(route.clone())).await;
        netlink.delete_route(&route).await.expect("deleted");
        until(&mut monitor, |event| *event == Event::RouteGone(route.clone())).await;

        netlink.delete_address(&address).await.expect("removed");
        until(&mut monitor, |event| *event == Event::AddressGone(address)).await;
        netlink.delete_link(one).await.expect("deleted");
        until(&mut monitor, |event| matches!(event, Event::LinkGone(link) if link.index == one)).await;
    });
}

#[test]
fn routes_of_the_excepted_protocol_and_metric_are_not_told() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let watch = Watch { except: Some((Protocol::BGP, 1024)), ..ALL };
        let mut monitor = Monitor::open(watch).expect("opens");
        let told = |text: &str, protocol, metric| Route::blackhole(text.parse().expect("network"), protocol, metric);
        let silent = [told("10.1.0.0/24", Protocol::BGP, 1024), told("fd01::/64", Protocol::BGP, 1024)];
        let loud = [
            told("10.2.0.0/24", Protocol::BGP, 20),
            told("10.3.0.0/24", Protocol::STATIC, 1024),
            told("10.4.0.0/24", Protocol::BGP, 0),
            told("fd05::/64", Protocol::BGP, 20),
        ];
        for route in silent.iter().chain(&loud) {
            netlink.replace_route(route).await.expect("written");
        }
        for route in silent.iter().chain(&loud) {
            netlink.delete_route(route).await.expect("deleted");
        }
        for route in &loud {
            assert_eq!(next(&mut monitor).await, Event::Route(route.clone()));
        }
        for route in &loud {
            assert_eq!(next(&mut monitor).await, Event::RouteGone(route.clone()));
        }
    });
}

#[test]
fn lost_events_are_a_resync() {
    isolated_async(async || {
        let mut monitor = Monitor::open(ALL).expect("opens");
        let blackhole = |n: u32| {
            let network = format!("20.{}.{}.{}/32", n >> 16, (n >> 8) & 0xff, n & 0xff).parse().expect("network");
            RouteChange::Replace(Route::blackhole(network, Protocol::BGP, 1024))
        };
        let changes: Vec<_> = (0..120_000).map(blackhole).collect();
        RouteWriter::open().expect("opens").write(&changes).expect("written");
        until(&mut monitor, |event| *event == Event::Resync(Lost::Overrun)).await;
        // What was queued before the loss and what comes after is told all the same.
        until(&mut monitor, |event| matches!(event, Event::Route(_))).await;
    });
}

#[test]
fn a_snapshot_kept_up_to_date_equals_a_new_one() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let snapshot = async || {
            let links = netlink.links().await.expect("links");
            let addresses = netlink.addresses().await.expect("addresses");
            let routes = netlink.routes(RouteFilter::default()).await.expect("routes");
            Fib::new(TABLE_MAIN, None, links, addresses, routes)
        };
        veth(&netlink, "one", "two").await;
        let mut monitor = Monitor::open(ALL).expect("opens");
        let mut fib = snapshot().await;
        let gateway = "192.0.2.7".parse().expect("address");
        assert!(fib.resolve(gateway, None).is_none());
        let steps = [
            ("addr add 192.0.2.1/24 dev one", true, false),
            ("route add 192.0.2.0/28 dev two metric 7", true, false),
            ("route add blackhole 192.0.2.7/32", false, false),
            ("route del blackhole 192.0.2.7/32", true, false),
            ("link set two down", false, true),
            ("link set two up", true, false),
            ("addr del 192.0.2.1/24 dev one", false, true),
        ];
        for (marker, (command, reachable, resync)) in (90..).zip(steps) {
            ip(command);
            // The marker tells that all events of the command were read.
            ip(&format!("route add blackhole 203.0.113.0/24 metric {marker}"));
            let mut resynced = false;
            until(&mut monitor, |event| {
                resynced |= fib.on_event(event) == Effect::Resync;
                matches!(event, Event::Route(route) if route.metric == marker)
            })
            .await;
            assert!(resynced || !resync, "{command}: silent changes were not noticed");
            // Carriers come and go in the kernel's own time, and are told.
            loop {
                let fresh = snapshot().await;
                if resynced {
                    fib = fresh.clone();
                }
                let (followed, fresh) = (fib.resolve(gateway, None), fresh.resolve(gateway, None));
                if followed == fresh && fresh.is_some() == reachable {
                    break;
                }
                resynced |= fib.on_event(&next(&mut monitor).await) == Effect::Resync;
            }
        }
    });
}
