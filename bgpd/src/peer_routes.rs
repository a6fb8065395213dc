//! Host routes to peers through a gateway (`reachableBy`), so that a session does not depend on what it learns itself.
//!
//! They are told from everything else by their protocol, stay over a restart of bgpd, and go with the peer.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use kernel::{Fib, NextHop, Protocol, Route, RouteChange};

/// Peer → gateway.
pub(crate) type PeerRoutes = BTreeMap<IpAddr, IpAddr>;

/// Better than any learned route to the same address.
const METRIC: u32 = 1;

/// What makes the kernel's routes to peers the wanted ones. A gateway that is on no link waits until it is, and somebody
/// else's route of the same metric is left alone.
pub(crate) fn difference(fib: &Fib, wanted: &PeerRoutes) -> Vec<RouteChange> {
    let mut changes = Vec::new();
    for (peer, gateway) in wanted {
        let Some(route) = route(fib, *peer, *gateway) else { continue };
        match fib.routes().find(|present| present.key() == route.key()) {
            Some(present) if present.protocol != Protocol::PEER || *present == route => {}
            _ => changes.push(RouteChange::Replace(route)),
        }
    }
    let unwanted =
        fib.routes().filter(|it| it.protocol == Protocol::PEER && !wanted.contains_key(&it.destination.ip()));
    changes.extend(unwanted.cloned().map(RouteChange::Delete));
    changes
}

fn route(fib: &Fib, peer: IpAddr, gateway: IpAddr) -> Option<Route> {
    let reached = fib.resolve(gateway, None).filter(|reached| reached.gateway.is_none())?;
    let next_hops = vec![NextHop::via(gateway, reached.interface)];
    Some(Route::unicast(IpNetwork::from(peer), Protocol::PEER, METRIC, next_hops).canonical())
}

#[cfg(test)]
mod tests {
    use kernel::{Link, TABLE_MAIN};

    use super::*;

    fn fib(routes: impl IntoIterator<Item = Route>) -> Fib {
        let link = Link {
            index: 2,
            name: "eth0".to_owned(),
            kind: None,
            alias: None,
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            loopback: false,
            peer: None,
            controller: None,
        };
        let connected =
            Route::unicast("192.0.2.0/24".parse().unwrap(), Protocol::KERNEL, 0, vec![NextHop::dev(2)]).canonical();
        Fib::new(TABLE_MAIN, None, [link], [], routes.into_iter().chain([connected]))
    }

    fn host(peer: &str, protocol: Protocol, gateway: &str) -> Route {
        let next_hops = vec![NextHop::via(gateway.parse().unwrap(), 2)];
        Route::unicast(peer.parse().unwrap(), protocol, METRIC, next_hops).canonical()
    }

    fn wanted(peer: &str, gateway: &str) -> PeerRoutes {
        [(peer.parse().unwrap(), gateway.parse().unwrap())].into()
    }

    #[test]
    fn a_route_is_made_changed_and_removed_with_its_peer() {
        let ours = host("203.0.113.9/32", Protocol::PEER, "192.0.2.1");
        assert_eq!(difference(&fib([]), &wanted("203.0.113.9", "192.0.2.1")), [RouteChange::Replace(ours.clone())]);
        assert_eq!(difference(&fib([ours.clone()]), &wanted("203.0.113.9", "192.0.2.1")), []);
        let other = host("203.0.113.9/32", Protocol::PEER, "192.0.2.2");
        let moved = difference(&fib([ours.clone()]), &wanted("203.0.113.9", "192.0.2.2"));
        assert_eq!(moved, [RouteChange::Replace(other)]);
        assert_eq!(difference(&fib([ours.clone()]), &PeerRoutes::new()), [RouteChange::Delete(ours)]);
    }

    #[test]
    fn a_gateway_on_no_link_waits_and_a_foreign_route_stays() {
        assert_eq!(difference(&fib([]), &wanted("203.0.113.9", "198.51.100.1")), []);
        let theirs = host("203.0.113.9/32", Protocol::STATIC, "192.0.2.7");
        assert_eq!(difference(&fib([theirs.clone()]), &wanted("203.0.113.9", "192.0.2.1")), []);
        assert_eq!(difference(&fib([theirs]), &PeerRoutes::new()), []);
    }
}
