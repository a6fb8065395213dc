//! The shapes of the table, as nft reads them; and what holds for pods whatever their policies.

mod support;

use calc::{CalcGraph, Config, DesiredRoute, OpenConnections, Update};
use nft::{ConnectionState, Direction, Packet};
use resources::AffinityState;
use support::*;

fn small() -> State {
    State::default()
        .with([
            namespace("ops", &[("team", "a")]),
            with_ports(
                pod_manifest("default", "web", &[("app", "web")], &["10.65.0.2", "fd00::2"]),
                "[{name: http, containerPort: 8080}]",
            ),
            pod("default", "client", &[("app", "client")], &["10.65.1.2"]),
            pod("ops", "monitor", &[], &["10.65.2.2", "fd00:2::2"]),
            pool("default", "10.65.0.0/16", |pool| pool.nat_outgoing = true),
            pool("inner", "10.66.0.0/16", |_| {}),
        ])
        .with_endpoints([
            endpoint("default", "web", &[], &["10.65.0.2", "fd00::2"]),
            endpoint("default", "free", &[("app", "free")], &["10.65.0.3"]),
        ])
}

#[test]
fn a_node_without_endpoints() {
    insta::assert_snapshot!(text(&State::default().desired()));
}

#[test]
fn ingress_and_egress_with_every_kind_of_match() {
    let spec = "
podSelector: {matchLabels: {app: web}}
policyTypes: [Ingress, Egress]
ingress:
- from: [{podSelector: {matchLabels: {app: client}}}, {namespaceSelector: {matchLabels: {team: a}}}]
  ports: [{port: 80}, {port: 443}, {port: 53, protocol: UDP}, {port: 8000, endPort: 8100}, {protocol: SCTP}]
- from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.64/26]}}, {ipBlock: {cidr: 2001:db8::/32}}]
- ports: [{port: http}]
egress:
- to: [{ipBlock: {cidr: 0.0.0.0/0}}]
  ports: [{port: 53, protocol: UDP}]
- to: [{podSelector: {matchLabels: {app: client}}}]
  ports: [{port: http}]
";
    insta::assert_snapshot!(text(&small().with([policy("default", "all", spec)]).desired()));
}

#[test]
fn open_connections_that_are_kept() {
    let mut graph = CalcGraph::new(Config { open_connections: OpenConnections::Keep, ..Config::new(NODE) });
    let state = small().with([policy("default", "none", "policyTypes: [Egress]")]);
    state.updates().into_iter().for_each(|update| graph.on_update(update));
    graph.on_update(Update::InSync);
    insta::assert_snapshot!(text(&graph.flush().unwrap()));
}

#[test]
fn endpoints_with_the_same_policies_share_a_chain_whose_name_is_the_same_everywhere() {
    let policies = [policy("default", "a", "ingress: [{}]"), policy("default", "b", "ingress: []")];
    let state = small().with(policies);
    let desired = state.desired();
    let groups = |desired: &calc::Desired| -> Vec<String> {
        desired.ruleset.chains.keys().map(ToString::to_string).filter(|name| name.starts_with("gi_")).collect()
    };
    assert_eq!(groups(&desired).len(), 1);
    let mut reordered = state.clone();
    reordered.resources.reverse();
    assert_eq!(groups(&reordered.desired()), groups(&desired));
    reordered.resources.retain(|resource| resource.metadata().name != "a");
    reordered.resources.push(policy("default", "a", "ingress: [{ports: [{port: 1}]}]"));
    let changed = groups(&reordered.desired());
    assert_eq!(changed.len(), 1);
    assert_ne!(changed, groups(&desired), "another chain takes its place, none changes under a packet");
}

#[test]
fn only_sets_that_a_local_endpoint_needs_are_there() {
    let elsewhere = policy("ops", "x", "ingress: [{from: [{namespaceSelector: {}}]}]");
    let unselected =
        policy("default", "y", "{podSelector: {matchLabels: {app: no}}, ingress: [{from: [{podSelector: {}}]}]}");
    let desired = small().with([elsewhere, unselected]).desired();
    assert_eq!(text(&desired), text(&small().desired()));
    assert_eq!(desired.policies.len(), 2, "they are shown all the same");
}

#[test]
fn an_unknown_interface_is_dropped_in_both_directions() {
    let desired = small().desired();
    let forward = |input, output| {
        let packet =
            Packet::new(address("10.65.0.3"), address("10.65.0.2"), TCP).with_interfaces(Some(input), Some(output));
        passes(&desired.ruleset, &packet)
    };
    assert!(forward("califree", "caliweb"));
    assert!(!forward("calistranger", "eth0"));
    assert!(!forward("eth0", "calistranger"));
    assert!(forward("eth0", "eth1"));
}

#[test]
fn a_pod_sends_from_its_own_addresses_only() {
    let desired = small().desired();
    let from = |source: &str, destination: &str| {
        let packet = Packet::new(address(source), address(destination), UDP);
        passes(&desired.ruleset, &packet.with_interfaces(Some("califree"), Some("eth0")))
    };
    assert!(from("10.65.0.3", "192.0.2.1"));
    assert!(!from("10.65.0.2", "192.0.2.1"));
    assert!(!from("fd00::2", "2001:db8::1"));
}

#[test]
fn the_own_node_always_reaches_its_pods_and_egress_policy_holds_towards_it() {
    let spec = "{policyTypes: [Ingress, Egress], egress: [{to: [{ipBlock: {cidr: 172.16.0.1/32}}], ports: [{port: 53, protocol: UDP}]}]}";
    let desired = small().with([policy("default", "p", spec)]).desired();
    let probe = Packet::new(address("172.16.0.1"), address("10.65.0.2"), TCP).with_interfaces(None, Some("caliweb"));
    assert!(passes(&desired.ruleset, &probe));
    let to_node = |protocol, port| {
        let packet = Packet::new(address("10.65.0.2"), address("172.16.0.1"), protocol).with_ports(1024, port);
        packet.with_interfaces(Some("caliweb"), None)
    };
    assert!(passes(&desired.ruleset, &to_node(UDP, 53)));
    assert!(!passes(&desired.ruleset, &to_node(TCP, 22)));
    let mut reply = to_node(TCP, 40_000);
    (reply.conntrack.state, reply.conntrack.direction) = (ConnectionState::Established, Direction::Reply);
    assert!(passes(&desired.ruleset, &reply), "the answer to the node's probe");
    let stranger = Packet::new(address("192.0.2.1"), address("172.16.0.1"), TCP).with_interfaces(Some("eth0"), None);
    assert!(passes(&desired.ruleset, &stranger));
}

#[test]
fn neighbour_discovery_of_pods_is_never_denied() {
    let desired = small().with([policy("default", "p", "policyTypes: [Egress]")]).desired();
    for kind in [130, 131, 132, 133, 135, 136] {
        let mut packet = Packet::new(address("fe80::2"), address("fe80::1"), 58).with_interfaces(Some("caliweb"), None);
        packet.icmp_type = kind;
        packet.conntrack.state = ConnectionState::Untracked;
        assert!(passes(&desired.ruleset, &packet), "{kind}");
    }
    let mut echo = Packet::new(address("fd00::2"), address("fd99::1"), 58).with_interfaces(Some("caliweb"), None);
    echo.icmp_type = 128;
    assert!(!passes(&desired.ruleset, &echo));
}

#[test]
fn sources_in_a_nat_outgoing_pool_are_masqueraded_towards_what_is_in_no_pool() {
    let desired = small().desired();
    let masqueraded = |source: &str, destination: &str| {
        nft::verdict(&desired.ruleset, &packet(&desired, source, destination, TCP, 80)).masqueraded
    };
    assert!(masqueraded("10.65.0.2", "192.0.2.1"));
    assert!(!masqueraded("10.65.0.2", "10.65.1.2"));
    assert!(!masqueraded("10.65.0.2", "10.66.1.2"));
    assert!(!masqueraded("10.66.0.2", "192.0.2.1"));
    assert!(!masqueraded("fd00::2", "2001:db8::1"));
}

#[test]
fn pods_of_the_host_network_and_finished_pods_are_no_peers_and_pods_being_deleted_are() {
    let allows = |change: &dyn Fn(&mut resources::Pod)| {
        let mut peer = pod_manifest("default", "peer", &[("app", "peer")], &["10.65.9.9"]);
        change(&mut peer);
        let spec = "ingress: [{from: [{podSelector: {matchLabels: {app: peer}}}]}]";
        let desired = small().with([peer.into(), policy("default", "p", spec)]).desired();
        connects(&desired, "10.65.9.9", "10.65.0.2", TCP, 80)
    };
    assert!(allows(&|_| {}));
    assert!(!allows(&|pod| pod.spec.host_network = true));
    assert!(!allows(&|pod| pod.status.phase = "Succeeded".to_owned()));
    assert!(!allows(&|pod| pod.status.phase = "Failed".to_owned()));
    assert!(allows(&|pod| pod.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned())));
    assert!(allows(&|pod| pod.status.phase = String::new()));
}

#[test]
fn an_address_that_two_pods_had_stays_while_one_of_them_has_it() {
    let spec = "ingress: [{from: [{podSelector: {matchLabels: {app: peer}}}]}]";
    let one = pod("default", "one", &[("app", "peer")], &["10.65.9.9"]);
    let two = pod("default", "two", &[("app", "peer")], &["10.65.9.9"]);
    let mut graph = CalcGraph::new(Config::new(NODE));
    let state = small().with([one.clone(), two, policy("default", "p", spec)]);
    state.updates().into_iter().for_each(|update| graph.on_update(update));
    graph.on_update(Update::InSync);
    graph.flush();
    graph.on_update(Update::Deleted(one.key()));
    assert_eq!(graph.flush(), None);
    assert!(connects(graph.current().unwrap(), "10.65.9.9", "10.65.0.2", TCP, 80));
}

#[test]
fn own_blocks_are_announced_and_lead_nowhere_but_for_pods() {
    let state = small().with([
        affinity(NODE, "10.65.0.0/26", AffinityState::Confirmed),
        affinity(NODE, "10.65.0.3/32", AffinityState::Confirmed),
        affinity(NODE, "10.66.0.0/26", AffinityState::Pending),
        affinity("node-b", "10.66.1.0/26", AffinityState::Confirmed),
    ]);
    let desired = state.desired();
    let origins: Vec<_> = desired.origins.iter().map(|(prefix, cause)| format!("{prefix} {cause}")).collect();
    assert_eq!(
        origins,
        ["10.65.0.0/26 block of this node, pool default", "10.65.0.3/32 block of this node, pool default"]
    );
    let route = |prefix: &str| desired.routes.get(&prefix.parse().unwrap()).cloned();
    assert_eq!(route("10.65.0.0/26"), Some(DesiredRoute::Blackhole));
    assert_eq!(route("10.65.0.3/32"), Some(DesiredRoute::Endpoint { interface: "califree".to_owned() }));
    assert_eq!(route("fd00::2/128"), Some(DesiredRoute::Endpoint { interface: "caliweb".to_owned() }));
    assert_eq!(route("10.66.0.0/26"), None);
    let mut without = state.clone();
    without.endpoints.clear();
    let single = "10.65.0.3/32".parse().unwrap();
    assert_eq!(without.desired().routes.get(&single), Some(&DesiredRoute::Blackhole));
}

#[test]
fn borrowed_addresses_are_announced_one_by_one_and_quiet_pools_not_at_all() {
    let mut state = small().with([
        pool("quiet", "10.70.0.0/16", |pool| pool.disable_bgp_export = true),
        block(Some("node-b"), "10.65.7.0/26"),
        block(Some("node-b"), "10.70.7.0/26"),
        affinity(NODE, "10.70.0.0/26", AffinityState::Confirmed),
    ]);
    state.endpoints.push(endpoint("default", "guest", &[], &["10.65.7.9", "10.70.7.9", "10.65.8.1"]));
    let desired = state.desired();
    let origins: Vec<_> = desired.origins.iter().map(|(prefix, cause)| format!("{prefix} {cause}")).collect();
    assert_eq!(origins, ["10.65.7.9/32 address of default/guest, borrowed from block 10.65.7.0/26 of node-b"]);
    assert!(desired.routes.contains_key(&"10.70.0.0/26".parse().unwrap()));
}

#[test]
fn conditions_name_the_object_the_field_and_the_missing() {
    let mut state = small().with([
        pool("tunnel", "10.80.0.0/16", |pool| pool.ipip_mode = resources::EncapsulationMode::Always),
        policy("default", "p", "ingress: [{ports: [{port: https}]}]"),
        affinity(NODE, "10.90.0.0/26", AffinityState::Confirmed),
    ]);
    state.endpoints.push(endpoint("default", "thief", &[], &["10.65.0.2"]));
    let details: Vec<_> = state.desired().conditions.iter().map(|condition| condition.detail.clone()).collect();
    assert_eq!(
        details,
        [
            "IPPool tunnel: spec.ipipMode is not supported: packets travel without encapsulation",
            "NetworkPolicy default/p: port \"https\": no TCP port of all pods in namespace default has this name",
            "block 10.90.0.0/26 of this node is in no IPPool",
            "address 10.65.0.2 is on interface calithief and on interface caliweb, which gets it",
        ]
    );
}

#[test]
fn policies_are_shown_in_words_with_the_endpoints_they_select() {
    let spec = "
podSelector: {matchLabels: {app: web}}
ingress:
- from: [{podSelector: {matchLabels: {app: client}}}, {ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/26]}}]
  ports: [{port: 80}, {port: http}, {port: 1, endPort: 9, protocol: UDP}]
- {}
";
    let desired = small().with([policy("default", "p", spec)]).desired();
    let view = &desired.policies[0];
    assert_eq!(view.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), ["default-web/eth0"]);
    assert_eq!(view.tier, "default");
    assert_eq!(view.egress, None);
    assert_eq!(
        view.ingress.as_deref().unwrap(),
        [
            "from pods app=client in namespace default or 192.0.2.0/24 except 192.0.2.0/26, TCP 80, TCP port \"http\", UDP 1-9",
            "from anywhere, any port and protocol",
        ]
    );
}
