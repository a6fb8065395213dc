//! What a speaker does to AS_PATH between ASes: route servers, private numbers, another AS number than its own.

use engine::{
    LocalAsPrepend, NextHopMode, PeerConfig, Prefix, RemovePrivateAs, RouteQuery, RouteStatus, RouteTable, Why,
};

use super::net::{Net, NodeId};
use super::{address, open_peer, speaker};

const PREFIX: &str = "203.0.113.0/24";

fn prefix() -> Prefix {
    PREFIX.parse().unwrap()
}

/// Nodes in a line, the first of which announces; each knows its neighbours as `peer` says (own number, its number).
fn line(as_numbers: &[u32], peer: impl Fn(u8, u8, PeerConfig) -> PeerConfig) -> (Net, Vec<NodeId>) {
    let mut net = Net::new(1);
    let numbered = || (1u8..).zip(as_numbers);
    let nodes: Vec<NodeId> = numbered().map(|(n, as_number)| net.add(&address(n), speaker(*as_number, n))).collect();
    for (here, _) in numbered() {
        for (there, as_number) in numbered().filter(|(there, _)| there.abs_diff(here) == 1) {
            let config = open_peer(&format!("n{there}"), &address(there), *as_number);
            net.set_peer(nodes[usize::from(here) - 1], peer(here, there, config));
        }
    }
    net.originate(nodes[0], PREFIX);
    net.run_secs(20);
    (net, nodes)
}

fn received(net: &mut Net, node: NodeId, peer: &str) -> Option<RouteStatus> {
    let table = RouteTable::Received(peer.to_owned());
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() }).into_iter().next()
}

fn path(net: &mut Net, node: NodeId, peer: &str) -> Option<String> {
    received(net, node, peer).map(|it| it.attributes.as_path.to_string())
}

#[test]
fn a_route_server_passes_on_path_next_hop_and_med_as_they_came() {
    let (mut net, nodes) = line(&[65001, 65100, 65003], |here, _, mut config| {
        config.route_server_client = here == 2;
        config.enforce_first_as = here == 2;
        config
    });
    let route = received(&mut net, nodes[2], "n2").unwrap();
    assert_eq!(route.attributes.as_path.to_string(), "65001");
    assert_eq!(route.next_hop.unwrap().address().to_string(), address(1));
    assert_eq!(route.why, Why::Best);
    // What it announces itself has its AS in the path, as anybody's.
    net.originate(nodes[1], "198.51.100.0/24");
    net.run_secs(5);
    let own = net.speaker(nodes[2]).explain("198.51.100.0/24".parse().unwrap()).unwrap();
    assert_eq!(own.candidates[0].attributes.as_path.to_string(), "65100");
    assert_eq!(own.candidates[0].next_hop.unwrap().address().to_string(), address(2));
}

#[test]
fn a_client_of_a_route_server_that_insists_on_the_first_as_takes_nothing_from_it() {
    let (mut net, nodes) = line(&[65001, 65100, 65003], |here, _, mut config| {
        config.route_server_client = here == 2;
        config
    });
    assert_eq!(path(&mut net, nodes[2], "n2"), None, "treated as withdrawn (RFC 7606)");
}

#[test]
fn private_numbers_go_or_become_ours_but_for_that_of_the_receiver() {
    for (mode, expected) in [
        (None, "2 64600 64512"),
        (Some(RemovePrivateAs::Remove), "2 64600"),
        (Some(RemovePrivateAs::Replace), "2 64600 2"),
    ] {
        // 64512 announces, 64600 passes on, 2 cleans up towards 64600, elsewhere.
        let (mut net, nodes) = line(&[64512, 64600, 2, 64600], |here, there, mut config| {
            if (here, there) == (3, 4) {
                config.remove_private_as = mode;
            }
            config.allow_own_as = 1;
            config
        });
        assert_eq!(path(&mut net, nodes[3], "n3").as_deref(), Some(expected));
    }
}

#[test]
fn another_as_number_stands_alone_or_in_front_of_our_own() {
    for (inbound, outbound, third, second) in [
        (false, false, "65100 65001", "65001"),
        (false, true, "65100 65002 65001", "65001"),
        (true, false, "65100 65100 65001", "65100 65001"),
    ] {
        // 2 is 65100 to 1 and 3.
        let (mut net, nodes) = line(&[65001, 65002, 65003], |here, there, mut config| {
            if here == 2 {
                config.local_as = Some(65100);
                config.local_as_prepend = LocalAsPrepend { inbound, outbound };
            } else if there == 2 {
                config.remote_as = engine::RemoteAs::Exactly(65100);
            }
            config
        });
        assert_eq!(path(&mut net, nodes[2], "n2").as_deref(), Some(third), "{inbound} {outbound}");
        assert_eq!(path(&mut net, nodes[1], "n1").as_deref(), Some("65001"), "shown as it came");
        let best = net.speaker(nodes[1]).explain(prefix()).unwrap().candidates.remove(0);
        assert_eq!(best.attributes.as_path.to_string(), second, "and decided with");
    }
}

#[test]
fn the_options_change_live() {
    let (mut net, nodes) = line(&[64512, 2, 3], |_, _, config| config);
    let peer = |n: u8, as_number| open_peer(&format!("n{n}"), &address(n), as_number);
    let flaps = |net: &mut Net| net.speaker(nodes[1]).peer("n3").unwrap().flaps;
    assert_eq!(path(&mut net, nodes[2], "n2").as_deref(), Some("2 64512"));
    let mut config = peer(3, 3);
    config.remove_private_as = Some(RemovePrivateAs::Remove);
    net.set_peer(nodes[1], config.clone());
    net.run_secs(2);
    assert_eq!(path(&mut net, nodes[2], "n2").as_deref(), Some("2"));
    config.next_hop = NextHopMode::Keep;
    net.set_peer(nodes[1], config);
    net.run_secs(2);
    let route = received(&mut net, nodes[2], "n2").unwrap();
    assert_eq!(route.next_hop.unwrap().address().to_string(), address(1));
    assert_eq!(flaps(&mut net), 0);
}
