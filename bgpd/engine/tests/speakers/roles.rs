//! Roles and ONLY_TO_CUSTOMER (RFC 9234).

use engine::wire::Role;
use engine::{Prefix, Refusal, RouteQuery, RouteStatus, RouteTable, SessionState, SpeakerConfig, Why, Withheld};

use super::net::{Net, NodeId};
use super::{address, open_peer, speaker};

const PREFIX: &str = "203.0.113.0/24";
const PREFIX_AFI6: &str = "2001:db8:113::/48";

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Node `here` is `role` towards node `there`.
fn set(net: &mut Net, nodes: &[NodeId], here: u8, there: u8, role: Option<Role>) {
    let mut peer = open_peer(&format!("n{there}"), &address(there), 65000 + u32::from(there));
    peer.role = role;
    net.set_peer(nodes[usize::from(here) - 1], peer);
}

fn both_families(as_number: u32, number: u8) -> SpeakerConfig {
    let mut config = speaker(as_number, number);
    config.next_hops.v6 = Some(format!("2001:db8::{number}").parse().unwrap());
    config
}

/// A line of ASes: each pair of neighbours with the role of the left one towards the right one. The first announces.
fn line(net: &mut Net, roles: &[Option<Role>]) -> Vec<NodeId> {
    let count = roles.len() as u8 + 1;
    let nodes: Vec<NodeId> =
        (1..=count).map(|n| net.add(&address(n), both_families(65000 + u32::from(n), n))).collect();
    for (left, role) in (1..).zip(roles) {
        set(net, &nodes, left, left + 1, *role);
        set(net, &nodes, left + 1, left, role.map(Role::counterpart));
    }
    net.originate(nodes[0], PREFIX);
    net.originate(nodes[0], PREFIX_AFI6);
    net.run_secs(20);
    nodes
}

fn received(net: &mut Net, node: NodeId, peer: &str) -> Vec<RouteStatus> {
    let table = RouteTable::Received(peer.to_owned());
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() })
}

fn withheld(net: &mut Net, node: NodeId, peer: &str) -> Option<Withheld> {
    let explanation = net.speaker(node).explain(prefix(PREFIX)).expect("the prefix is known");
    explanation.withheld.iter().find(|it| *it.0 == *peer).map(|it| it.1)
}

const ALL: [Role; 5] = [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];

#[test]
fn what_comes_from_a_provider_peer_or_route_server_goes_to_customers_only() {
    for (seed, first) in (0..).zip(ALL) {
        for second in ALL {
            let mut net = Net::new(seed);
            let nodes = line(&mut net, &[Some(first), Some(second)]);
            // `first` is what the origin is to the middle one, `second` what the middle one is to the last.
            let from_above = matches!(first, Role::Provider | Role::RouteServer | Role::Peer);
            let to_customer = matches!(second, Role::Provider | Role::RouteServer);
            let expected = (from_above && !to_customer).then_some(Withheld::OnlyToCustomer);
            assert_eq!(withheld(&mut net, nodes[1], "n3"), expected, "{first} {second}");
            assert_eq!(received(&mut net, nodes[2], "n2").len(), if expected.is_some() { 0 } else { 2 });
        }
    }
}

#[test]
fn the_attribute_says_who_set_it_first_and_goes_with_the_route() {
    let mut net = Net::new(1);
    // 1 is the peer of 2, 2 the provider of 3, 3 the provider of 4.
    let nodes = line(&mut net, &[Some(Role::Peer), Some(Role::Provider), Some(Role::Provider)]);
    for (node, peer) in [(1, "n1"), (2, "n2"), (3, "n3")] {
        let otcs: Vec<_> = received(&mut net, nodes[node], peer).iter().map(|it| it.attributes.otc).collect();
        assert_eq!(otcs, [Some(65001); 2], "at n{}", node + 1);
    }
}

#[test]
fn a_sender_without_a_role_is_marked_by_its_receiver() {
    let mut net = Net::new(2);
    let nodes = line(&mut net, &[None, Some(Role::Provider)]);
    // Only the middle one knows that the first is its provider.
    set(&mut net, &nodes, 2, 1, Some(Role::Customer));
    net.run_secs(90);
    assert_eq!(received(&mut net, nodes[1], "n1")[0].attributes.otc, None, "shown as it came");
    assert_eq!(received(&mut net, nodes[2], "n2")[0].attributes.otc, Some(65001));
    set(&mut net, &nodes, 2, 3, Some(Role::Peer));
    set(&mut net, &nodes, 3, 2, Some(Role::Peer));
    net.run_secs(90);
    assert_eq!(withheld(&mut net, nodes[1], "n3"), Some(Withheld::OnlyToCustomer));
}

#[test]
fn a_leak_of_a_customer_or_of_a_peer_is_refused_and_named() {
    for (role, leaks) in [(Role::Customer, true), (Role::Peer, true), (Role::Provider, false)] {
        let mut net = Net::new(3);
        // The middle one has the route, marked, from its provider, and no role towards the last: it leaks.
        let nodes = line(&mut net, &[Some(Role::Provider), None]);
        set(&mut net, &nodes, 3, 2, Some(role.counterpart()));
        net.run_secs(90);
        let routes = received(&mut net, nodes[2], "n2");
        assert_eq!(routes.len(), 2);
        let refused = routes.iter().all(|it| it.why == Why::Refused(Refusal::RouteLeak));
        assert_eq!(refused, leaks, "from a {role}: {routes:?}");
        let counted = net.speaker(nodes[2]).peer("n2").unwrap().refusals.get("RouteLeak").copied();
        assert_eq!(counted, leaks.then_some(2));
    }
}

#[test]
fn inside_the_as_the_attribute_travels_and_roles_do_not_count() {
    let mut net = Net::new(4);
    let nodes: Vec<NodeId> = [(1, 65001), (2, 65002), (3, 65002), (4, 65004)]
        .map(|(n, as_number)| net.add(&address(n), speaker(as_number, n)))
        .into();
    set(&mut net, &nodes, 1, 2, Some(Role::Provider));
    set(&mut net, &nodes, 2, 1, Some(Role::Customer));
    for (here, there) in [(2u8, 3u8), (3, 2)] {
        let mut peer = open_peer(&format!("n{there}"), &address(there), 65002);
        peer.role = Some(Role::Provider);
        peer.next_hop = engine::NextHopMode::SelfAddress;
        net.set_peer(nodes[usize::from(here) - 1], peer);
    }
    set(&mut net, &nodes, 3, 4, Some(Role::Peer));
    let mut peer = open_peer("n3", &address(3), 65002);
    peer.role = Some(Role::Peer);
    net.set_peer(nodes[3], peer);
    net.originate(nodes[0], PREFIX);
    net.run_secs(20);
    assert_eq!(received(&mut net, nodes[2], "n2")[0].attributes.otc, Some(65001));
    assert_eq!(withheld(&mut net, nodes[2], "n4"), Some(Withheld::OnlyToCustomer));
    assert_eq!(net.speaker(nodes[1]).peer("n3").unwrap().capabilities_sent.unwrap().roles, [0u8; 0]);
}

#[test]
fn roles_that_do_not_match_end_in_a_notification_2_11() {
    for (one, other) in ALL.into_iter().flat_map(|one| ALL.map(|other| (one, other))) {
        let mut net = Net::new(5);
        let nodes: Vec<NodeId> = (1..=2).map(|n| net.add(&address(n), speaker(65000 + u32::from(n), n))).collect();
        set(&mut net, &nodes, 1, 2, Some(one));
        set(&mut net, &nodes, 2, 1, Some(other));
        net.run_secs(10);
        let established = net.state(nodes[0], "n2") == SessionState::Established;
        assert_eq!(established, one.counterpart() == other, "{one} and {other}");
        if !established {
            let sent: Vec<_> = nodes.iter().flat_map(|node| &net.nodes[*node].sent).flat_map(|it| it.1).collect();
            assert!(sent.iter().any(|bytes| bytes.get(18..21) == Some(&[3, 2, 11])), "{one} and {other}");
        }
    }
}

#[test]
fn strict_mode_refuses_a_peer_that_tells_no_role() {
    for strict in [true, false] {
        let mut net = Net::new(6);
        let nodes: Vec<NodeId> = (1..=2).map(|n| net.add(&address(n), speaker(65000 + u32::from(n), n))).collect();
        let mut peer = open_peer("n2", &address(2), 65002);
        (peer.role, peer.strict_role) = (Some(Role::Provider), strict);
        net.set_peer(nodes[0], peer);
        set(&mut net, &nodes, 2, 1, None);
        net.run_secs(10);
        assert_eq!(net.state(nodes[0], "n2") == SessionState::Established, !strict);
    }
}
