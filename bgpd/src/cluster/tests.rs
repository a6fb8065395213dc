use std::{net::IpAddr, time::Duration};

use engine::{AnyCommunity, Family, FilterAction, LimitAction, Operation, PeerKind};
use resources::{Kind, Resource};

use super::*;
use crate::password::Password;

#[path = "reflector_tests.rs"]
mod reflectors;

fn resource(kind: Kind, manifest: &str) -> Resource {
    Resource::deserialize(kind, &mut serde_json::Deserializer::from_str(manifest)).unwrap()
}

fn node(name: &str, address: &str, labels: &str, annotations: &str) -> Resource {
    let manifest = format!(
        r#"{{"metadata": {{"name": "{name}", "labels": {{{labels}}},
            "annotations": {{"projectcalico.org/IPv4Address": "{address}/24"{annotations}}}}}}}"#
    );
    resource(Kind::Node, &manifest)
}

fn peer(name: &str, spec: &str) -> Resource {
    resource(Kind::BgpPeer, &format!(r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{spec}}}}}"#))
}

/// Nodes a, b, c at 192.0.2.11–13; `a` is in rack one.
fn cluster(own: &str) -> Cluster {
    let mut cluster = Cluster::new(own, "kube-system");
    cluster.apply(node("a", "192.0.2.11", r#""rack": "one""#, ""));
    cluster.apply(node("b", "192.0.2.12", "", ""));
    cluster.apply(node("c", "192.0.2.13", "", ""));
    cluster
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.topology().unwrap().peers.into_keys().collect()
}

const NO_MESH: &str = r#"{"metadata": {"name": "default"}, "spec": {"nodeToNodeMeshEnabled": false}}"#;

#[test]
fn without_any_configuration_every_node_peers_with_every_other() {
    let topology = cluster("a").topology().unwrap();
    assert_eq!(topology.identity.local_as, 64512);
    assert_eq!(topology.identity.router_id, Ipv4Addr::new(192, 0, 2, 11));
    assert_eq!(topology.peers.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(topology.peers.values().all(|p| p.kind == PeerKind::Mesh && p.calico_local_pref));
}

#[test]
fn the_mesh_can_be_switched_off() {
    let mut cluster = cluster("a");
    cluster.apply(resource(Kind::BgpConfiguration, NO_MESH));
    assert!(names(&cluster).is_empty());
}

#[test]
fn a_node_without_address_has_no_topology_and_says_so() {
    let mut cluster = Cluster::new("x", "kube-system");
    assert!(cluster.topology().is_none());
    cluster.apply(resource(Kind::Node, r#"{"metadata": {"name": "x"}}"#));
    assert!(cluster.topology().is_none());
    assert!(cluster.missing().contains("projectcalico.org/IPv4Address"));
}

#[test]
fn a_global_peer_is_everybodys_and_a_node_peer_is_one_nodes() {
    let tor = peer("tor", r#""peerIP": "192.0.2.1", "asNumber": 65001"#);
    let only_b = peer("only-b", r#""node": "b", "peerIP": "192.0.2.2", "asNumber": 65001"#);
    for (own, expected) in [("a", vec!["b", "c", "tor"]), ("b", vec!["a", "c", "only-b", "tor"])] {
        let mut cluster = cluster(own);
        cluster.apply(tor.clone());
        cluster.apply(only_b.clone());
        assert_eq!(names(&cluster), expected);
    }
}

#[test]
fn an_address_named_twice_has_one_session() {
    let mut cluster = cluster("b");
    cluster.apply(peer("global", r#""peerIP": "192.0.2.1", "asNumber": 65001"#));
    cluster.apply(peer("again", r#""node": "b", "peerIP": "192.0.2.1", "asNumber": 65002"#));
    assert_eq!(names(&cluster), ["a", "c", "global"]);
}

#[test]
fn a_peer_selector_makes_the_reverse_peering_unless_it_is_manual() {
    let spec = r#""node": "b", "peerSelector": "rack == 'one'""#;
    for (spec, expected) in [(spec.to_owned(), vec!["b"]), (format!(r#"{spec}, "reversePeering": "Manual""#), vec![])] {
        let mut cluster = cluster("a");
        cluster.apply(resource(Kind::BgpConfiguration, NO_MESH));
        cluster.apply(peer("p", &spec));
        assert_eq!(names(&cluster), expected);
    }
}

#[test]
fn a_reflector_leaves_the_mesh_and_has_clients() {
    let cluster_id = r#", "projectcalico.org/RouteReflectorClusterID": "1.0.0.1""#;
    for (own, kind) in [("a", PeerKind::Client), ("b", PeerKind::Reflector)] {
        let mut cluster = cluster(own);
        cluster.apply(node("a", "192.0.2.11", r#""rack": "one""#, cluster_id));
        cluster.apply(peer("rr", r#""nodeSelector": "!has(rack)", "peerSelector": "has(rack)""#));
        let topology = cluster.topology().unwrap();
        let other = if own == "a" { "b" } else { "a" };
        assert_eq!(topology.peers[other].kind, kind);
        assert_eq!(topology.peers[other].route_reflector_client, kind == PeerKind::Client);
    }
}

fn secret(namespace: &str, data: &str) -> Resource {
    let manifest = format!(r#"{{"metadata": {{"name": "s", "namespace": "{namespace}"}}, {data}}}"#);
    resource(Kind::Secret, &manifest)
}

#[test]
fn a_peer_whose_password_is_not_there_is_kept_down_and_the_secret_named() {
    let mut cluster = cluster("a");
    cluster.apply(peer("secure", r#""peerIP": "192.0.2.1", "password": {"secretKeyRef": {"name": "s", "key": "k"}}"#));
    let long = format!(r#""stringData": {{"k": "{}"}}"#, "x".repeat(81));
    for (secret, reason) in [
        (None, "there is no Secret kube-system/s"),
        (Some(secret("default", r#""stringData": {"k": "one"}"#)), "there is no Secret kube-system/s"),
        (Some(secret("kube-system", r#""stringData": {"other": "one"}"#)), "Secret kube-system/s has no entry k"),
        (Some(secret("kube-system", r#""data": {"k": ""}"#)), "0 bytes, must be 1 to 80"),
        (Some(secret("kube-system", &long)), "81 bytes, must be 1 to 80"),
    ] {
        secret.into_iter().for_each(|it| cluster.apply(it));
        let topology = cluster.topology().unwrap();
        assert!(!topology.peers.contains_key("secure") && topology.passwords.is_empty());
        let named = |it: &String| it.starts_with("BGPPeer secure: spec.password: ") && it.contains(reason);
        assert!(topology.conditions.iter().any(named), "{reason}: {:?}", topology.conditions);
    }
    let optional =
        r#""peerIP": "192.0.2.1", "password": {"secretKeyRef": {"name": "t", "key": "k", "optional": true}}"#;
    cluster.apply(peer("secure", optional));
    let topology = cluster.topology().unwrap();
    assert!(!topology.peers["secure"].transport.md5 && topology.conditions.is_empty());
}

#[test]
fn a_changed_password_changes_no_peer_and_is_in_no_debug_output() {
    let mut cluster = cluster("a");
    cluster.apply(peer("secure", r#""peerIP": "192.0.2.1", "password": {"secretKeyRef": {"name": "s", "key": "k"}}"#));
    // "hunter2" in base64; stringData wins over data.
    cluster.apply(secret("kube-system", r#""data": {"k": "aHVudGVyMg=="}"#));
    let first = cluster.topology().unwrap();
    assert!(first.peers["secure"].transport.md5 && first.conditions.is_empty());
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(first.passwords.get(&address), Password::new(b"hunter2").as_ref());
    cluster.apply(secret("kube-system", r#""data": {"k": "aHVudGVyMg=="}, "stringData": {"k": "hunter3"}"#));
    let second = cluster.topology().unwrap();
    assert_eq!(first.peers, second.peers);
    assert_eq!(second.passwords.get(&address), Password::new(b"hunter3").as_ref());
    let debug = format!("{cluster:?} {second:?}");
    assert!(!debug.contains("hunter") && !debug.contains("104, 117, 110"), "{debug}");
}

#[test]
fn the_mesh_has_its_own_password_and_is_down_without_it() {
    let mut cluster = cluster("a");
    let spec = r#""nodeMeshPassword": {"secretKeyRef": {"name": "s", "key": "mesh"}}"#;
    cluster.apply(resource(
        Kind::BgpConfiguration,
        &format!(r#"{{"metadata": {{"name": "default"}}, "spec": {{{spec}}}}}"#),
    ));
    cluster.apply(peer("tor", r#""peerIP": "192.0.2.1", "asNumber": 65001"#));
    let topology = cluster.topology().unwrap();
    assert_eq!(topology.peers.keys().collect::<Vec<_>>(), ["tor"]);
    assert!(topology.conditions[0].contains("spec.nodeMeshPassword: there is no Secret kube-system/s"));
    cluster.apply(secret("kube-system", r#""stringData": {"mesh": "hunter2"}"#));
    let topology = cluster.topology().unwrap();
    let signed: Vec<_> = topology.passwords.keys().map(ToString::to_string).collect();
    assert_eq!(signed, ["192.0.2.12", "192.0.2.13"]);
    assert!(!topology.peers["tor"].transport.md5 && topology.peers["b"].transport.md5);
}

fn filter(rules: &str) -> Resource {
    resource(Kind::BgpFilter, &format!(r#"{{"metadata": {{"name": "lab"}}, "spec": {{{rules}}}}}"#))
}

#[test]
fn a_peers_filters_are_its_rules_in_order_by_direction_and_family() {
    let mut cluster = cluster("a");
    cluster.apply(filter(
        r#""importV4": [
            {"action": "Reject", "cidr": "10.0.0.0/8", "matchOperator": "NotIn", "prefixLength": {"max": 24},
                "source": "RemotePeers", "peerType": "eBGP", "communities": {"values": ["1:2:3"]},
                "asPathPrefix": [65001], "priority": 512},
            {"action": "Accept", "operations": [{"addCommunity": {"value": "1:2"}}, {"prependASPath": {"prefix": [7, 8]}},
                {"setPriority": {"value": 9}}]}],
        "exportV6": [{"action": "Reject", "cidr": "fd00::/8", "matchOperator": "Equal"}]"#,
    ));
    let mut second = filter(r#""importV4": [{"action": "Reject"}]"#);
    second.metadata_mut().name = "second".to_owned();
    cluster.apply(second);
    cluster.apply(peer("tor", r#""peerIP": "192.0.2.1", "asNumber": 65001, "filters": ["lab", "second"]"#));
    let topology = cluster.topology().unwrap();
    let filters = &topology.peers["tor"].filters;
    let names: Vec<_> = filters.import[Family::Ipv4Unicast].iter().map(|rule| rule.name.to_string()).collect();
    assert_eq!(names, ["BGPFilter lab importV4[0]", "BGPFilter lab importV4[1]", "BGPFilter second importV4[0]"]);
    let [first, second, _] = &filters.import[Family::Ipv4Unicast][..] else { panic!("three rules") };
    let prefix = first.prefix.unwrap();
    assert_eq!((prefix.prefix.to_string().as_str(), prefix.within, prefix.negated), ("10.0.0.0/8", true, true));
    assert_eq!(prefix.lengths, (0, 24));
    assert!(first.learned && first.internal == Some(false) && first.metric == Some(512));
    assert_eq!(first.as_path_prefix, [65001]);
    assert!(matches!(first.community, Some(AnyCommunity::Large(_))));
    assert_eq!(first.action, FilterAction::Reject);
    let tag = AnyCommunity::Standard(engine::wire::Community::new(1, 2));
    let operations = vec![Operation::AddCommunity(tag), Operation::Prepend(vec![7, 8]), Operation::SetMetric(9)];
    assert_eq!(second.action, FilterAction::Accept(operations));
    assert!(filters.import[Family::Ipv6Unicast].is_empty() && filters.export[Family::Ipv4Unicast].is_empty());
    let prefix = filters.export[Family::Ipv6Unicast][0].prefix.unwrap();
    assert!(!prefix.within && !prefix.negated);
    assert_eq!(topology.peers["b"].filters, Default::default(), "mesh peers have none");
}

#[test]
fn without_one_of_its_filters_a_peer_is_kept_down_and_the_filter_named() {
    let mut cluster = cluster("a");
    cluster.apply(peer("tor", r#""peerIP": "192.0.2.1", "asNumber": 65001, "filters": ["lab"]"#));
    let down = |cluster: &Cluster, word: &str| {
        let topology = cluster.topology().unwrap();
        let named = topology.conditions.iter().any(|c| c.contains("BGPPeer tor: spec.filters") && c.contains(word));
        assert_eq!(!topology.peers.contains_key("tor"), named, "{:?}", topology.conditions);
        named
    };
    assert!(down(&cluster, "there is no BGPFilter lab"));
    cluster.apply(filter(r#""importV4": [{"action": "Reject", "interface": "eth0"}]"#));
    assert!(down(&cluster, "spec.importV4[0].interface"));
    cluster.apply(filter(r#""importV4": [{"action": "Reject"}]"#));
    assert!(!down(&cluster, ""));
    cluster.delete(&Key::cluster(Kind::BgpFilter, "lab"));
    assert!(down(&cluster, "there is no BGPFilter lab"));
}

#[test]
fn own_blocks_and_what_is_lent_of_them_reach_the_guards() {
    let mut cluster = cluster("a");
    cluster.apply(resource(
        Kind::BlockAffinity,
        r#"{"metadata": {"name": "a-10-65-0-0-30"}, "spec": {"cidr": "10.65.0.0/30", "node": "a", "state": "confirmed"}}"#,
    ));
    cluster.apply(resource(
        Kind::IpamBlock,
        r#"{"metadata": {"name": "10-65-0-0-30"}, "spec": {"cidr": "10.65.0.0/30", "affinity": "host:a",
            "allocations": [0, 1, null, null], "unallocated": [2, 3],
            "attributes": [{"handle_id": "x", "secondary": {"node": "a"}}, {"handle_id": "y", "secondary": {"node": "b"}}]}}"#,
    ));
    let guards = cluster.topology().unwrap().guards;
    assert_eq!(guards.own_blocks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.65.0.0/30"]);
    let lent: Vec<_> = guards.lent.iter().map(|(prefix, node)| format!("{prefix} {node}")).collect();
    assert_eq!(lent, ["10.65.0.1/32 b"]);
    assert!(guards.own_addresses.contains(&"192.0.2.11".parse::<IpAddr>().unwrap()));
    assert!(guards.node_addresses.contains(&"192.0.2.13".parse::<IpAddr>().unwrap()));
}

#[test]
fn the_options_of_a_bgp_peer_reach_its_sessions_and_no_others() {
    let annotated = |name: &str, spec: &str, options: &str| {
        let metadata = format!(r#""metadata": {{"name": "{name}", "annotations": {{"tortie.io/peer": {options:?}}}}}"#);
        resource(Kind::BgpPeer, &format!(r#"{{{metadata}, "spec": {{{spec}}}}}"#))
    };
    let mut cluster = cluster("a");
    let tor = r#"{"bfd": {}, "holdTime": 9, "families": ["ipv4"], "shutdown": {"message": "rack 7"},
        "maxPrefixes": {"limit": 7, "action": "restart", "restartAfter": 60}}"#;
    cluster.apply(annotated("tor", r#""peerIP": "192.0.2.1", "asNumber": 65001"#, tor));
    let far = r#"{"bfd": {"minInterval": "100ms", "minReceive": "50ms", "multiplier": 5, "multihop": true}}"#;
    cluster.apply(annotated("b-only", r#""peerIP": "192.0.2.12", "asNumber": 64512"#, far));
    let peers = cluster.topology().unwrap().peers;
    let bfd = |name: &str| peers[name].bfd;
    let tor = bfd("tor").unwrap();
    assert_eq!((tor.min_interval.as_millis(), tor.min_receive.as_millis(), tor.multiplier), (300, 300, 3));
    assert_eq!(tor.multihop, None);
    let b = bfd("b").unwrap();
    assert_eq!((b.min_interval.as_millis(), b.min_receive.as_millis(), b.multiplier), (100, 50, 5));
    assert_eq!((b.multihop, bfd("c")), (Some(1), None));
    let (tor, c) = (&peers["tor"], &peers["c"]);
    assert_eq!(
        (tor.hold_time, &tor.families[..], tor.shutdown.as_deref()),
        (9, &[Family::Ipv4Unicast][..], Some("rack 7"))
    );
    assert_eq!((tor.limit.max, tor.limit.action), (7, LimitAction::Restart(Duration::from_secs(60))));
    assert_eq!((c.hold_time, c.families.len(), c.shutdown.as_deref(), c.limit.max), (90, 2, None, 4096));

    let mesh =
        r#"{"metadata": {"name": "default", "annotations": {"tortie.io/peer": "{\"bfd\": {\"multiplier\": 7}}"}}}"#;
    cluster.apply(resource(Kind::BgpConfiguration, mesh));
    let peers = cluster.topology().unwrap().peers;
    let multiplier = |name: &str| peers[name].bfd.unwrap().multiplier;
    assert_eq!((multiplier("c"), multiplier("b"), multiplier("tor")), (7, 5, 3), "the more deliberate word counts");
}

fn configuration(name: &str, spec: &str) -> Resource {
    resource(Kind::BgpConfiguration, &format!(r#"{{"metadata": {{"name": "{name}"}}, "spec": {{{spec}}}}}"#))
}

#[test]
fn a_nodes_own_advertisements_take_the_place_of_the_clusters() {
    let spec = |value: &str| {
        format!(
            r#""communities": [{{"name": "red", "value": "{value}"}}],
               "prefixAdvertisements": [{{"cidr": "10.65.0.0/16", "communities": ["red", "65000:1:2"]}}]"#
        )
    };
    let mut cluster = cluster("a");
    cluster.apply(configuration("default", &format!(r#"{}, "ipv6NormalRoutePriority": 512"#, spec("65000:1"))));
    cluster.apply(configuration("node.b", &spec("65000:9")));
    let communities = |cluster: &Cluster| {
        let attributes = cluster.topology().unwrap().advertising.attributes("10.65.3.0/26".parse().unwrap(), "");
        (attributes.communities[0].to_string(), attributes.large_communities[0].to_string())
    };
    assert_eq!(communities(&cluster), ("65000:1".to_owned(), "65000:1:2".to_owned()));
    cluster.apply(configuration("node.a", &spec("65000:5")));
    assert_eq!(communities(&cluster), ("65000:5".to_owned(), "65000:1:2".to_owned()));
    assert_eq!(cluster.topology().unwrap().advertising.metric, PerFamily::new(1024, 512));
}

#[test]
fn a_node_listens_on_its_own_addresses_and_port_when_told_so() {
    let mut cluster = cluster("a");
    let listen = |cluster: &Cluster| cluster.topology().unwrap().listen;
    assert_eq!(listen(&cluster), Listen { port: 179, addresses: Vec::new() });
    let before = cluster.topology().unwrap().identity;
    cluster.apply(configuration("default", r#""bindMode": "NodeIP", "logSeverityScreen": "Warning""#));
    cluster.apply(configuration("node.a", r#""listenPort": 1790, "logSeverityScreen": "debug""#));
    let topology = cluster.topology().unwrap();
    assert_eq!(topology.listen, Listen { port: 1790, addresses: vec!["192.0.2.11".parse().unwrap()] });
    assert_eq!(topology.log, Some(LogSeverity::Debug));
    assert_eq!(topology.identity, before, "the speaker goes on");
    assert!(topology.conditions.is_empty(), "{:?}", topology.conditions);
}

#[test]
fn a_peer_behind_a_gateway_has_a_route_of_its_own_on_the_nodes_that_peer() {
    let far = peer("far", r#""node": "a", "peerIP": "203.0.113.9", "asNumber": 65001, "reachableBy": "192.0.2.1""#);
    for (own, routes) in [("a", 1), ("b", 0)] {
        let mut cluster = cluster(own);
        cluster.apply(far.clone());
        let topology = cluster.topology().unwrap();
        assert_eq!(topology.peer_routes.len(), routes);
        assert!(topology.peer_routes.iter().all(
            |(peer, via)| (peer.to_string(), via.to_string()) == ("203.0.113.9".to_owned(), "192.0.2.1".to_owned())
        ));
        assert!(topology.conditions.is_empty(), "{:?}", topology.conditions);
    }
}
