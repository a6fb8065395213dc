use super::*;

const REFLECTED: &str = r#"{"metadata": {"name": "default", "annotations": {
    "tortie.io/reflectors": "{\"above\": 3, \"count\": 2, \"settle\": \"10s\", \"linger\": \"20s\"}"}}}"#;

/// A cluster of `a` to `e`, reviewed with automatic reflectors (`e` and `c` rank first).
fn reflected(own: &str) -> Cluster {
    let mut cluster = cluster(own);
    cluster.apply(node("d", "192.0.2.14", "", ""));
    cluster.apply(node("e", "192.0.2.15", "", ""));
    cluster.apply(resource(Kind::BgpConfiguration, REFLECTED));
    cluster.review(at(0));
    cluster
}

fn at(seconds: u64) -> engine::Instant {
    engine::Instant::new(Duration::from_secs(seconds))
}

fn roles(cluster: &Cluster) -> Vec<(String, &'static str)> {
    cluster.topology().unwrap().peers.into_iter().map(|(name, peer)| (name, peer.kind.word())).collect()
}

fn pairs(list: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    list.iter().map(|&(name, kind)| (name.to_owned(), kind)).collect()
}

#[test]
fn above_the_threshold_nodes_peer_with_elected_reflectors_alone_and_below_it_with_all() {
    let client = reflected("a");
    assert_eq!(roles(&client), pairs(&[("c", "reflector"), ("e", "reflector")]));
    assert_eq!(client.topology().unwrap().linger.as_secs(), 20);
    let mut reflector = reflected("c");
    let clients = [("a", "client"), ("b", "client"), ("d", "client"), ("e", "reflector")];
    assert_eq!(roles(&reflector), pairs(&clients));
    assert_eq!(reflector.topology().unwrap().cluster_id, None, "each reflector is a cluster of its own");
    for name in ["d", "e"] {
        reflector.delete(&Key::cluster(Kind::Node, name));
    }
    reflector.apply(resource(Kind::BgpConfiguration, &REFLECTED.replace("\\\"above\\\": 3", "\\\"above\\\": 5")));
    reflector.review(at(1));
    assert_eq!(roles(&reflector), pairs(&[("a", "mesh"), ("b", "mesh")]));
}

#[test]
fn a_reflector_that_is_not_ready_is_replaced_once_that_has_lasted() {
    let mut cluster = reflected("a");
    let unready = |ready: &str| {
        let status = format!(r#"{{"conditions": [{{"type": "Ready", "status": "{ready}"}}]}}"#);
        let annotations = r#"{"projectcalico.org/IPv4Address": "192.0.2.15/24"}"#;
        let manifest = format!(r#"{{"metadata": {{"name": "e", "annotations": {annotations}}}, "status": {status}}}"#);
        resource(Kind::Node, &manifest)
    };
    cluster.apply(unready("Unknown"));
    cluster.review(at(5));
    assert_eq!(roles(&cluster), pairs(&[("c", "reflector"), ("e", "reflector")]));
    assert_eq!(cluster.deadline(), Some(at(15)));
    cluster.review(at(15));
    assert_eq!(roles(&cluster), pairs(&[("c", "reflector"), ("d", "reflector")]));
    assert_eq!(cluster.deadline(), None);
}

#[test]
fn nodes_that_reflect_by_hand_or_are_of_another_as_are_left_out_of_the_election() {
    let mut cluster = reflected("a");
    cluster.apply(node("e", "192.0.2.15", "", r#", "projectcalico.org/RouteReflectorClusterID": "1.0.0.1""#));
    cluster.apply(node("c", "192.0.2.13", "", r#", "projectcalico.org/ASNumber": "64999""#));
    cluster.apply(node("f", "192.0.2.16", "", ""));
    cluster.review(at(1));
    let roles = roles(&cluster);
    assert!(roles.contains(&("c".to_owned(), "mesh")), "reflection works inside one AS: {roles:?}");
    assert!(!roles.iter().any(|(name, _)| name == "e"), "as in Calico it has left the mesh: {roles:?}");
    assert_eq!(roles.iter().filter(|(_, kind)| *kind == "reflector").count(), 2, "{roles:?}");
}

#[test]
fn what_the_mesh_is_told_holds_for_sessions_with_reflectors() {
    let mut cluster = reflected("a");
    let annotation = r#""tortie.io/peer": "{\"holdTime\": 9}", "tortie.io/reflectors""#;
    cluster.apply(resource(Kind::BgpConfiguration, &REFLECTED.replace(r#""tortie.io/reflectors""#, annotation)));
    cluster.review(at(1));
    let peers = cluster.topology().unwrap().peers;
    assert!(peers.len() == 2 && peers.values().all(|peer| peer.hold_time == 9));
}

#[test]
fn a_node_that_is_there_still_may_wait_for_others_unless_the_mesh_is_off_for_good() {
    let mut cluster = cluster("a");
    assert!(cluster.may_retire("b", [].into_iter()));
    cluster.apply(resource(Kind::BgpConfiguration, NO_MESH));
    assert!(!cluster.may_retire("b", [].into_iter()));
    assert!(cluster.may_retire("b", [PeerKind::Reflector].into_iter()));
    cluster.apply(configuration("default", r#""nodeMeshPassword": {"secretKeyRef": {"name": "s", "key": "k"}}"#));
    assert!(!cluster.may_retire("b", [PeerKind::Reflector].into_iter()), "without its password it ends at once");
    cluster.apply(configuration("default", ""));
    assert!(cluster.may_retire("b", [PeerKind::Reflector].into_iter()));
    cluster.delete(&Key::cluster(Kind::Node, "b"));
    assert!(!cluster.may_retire("b", [PeerKind::Reflector].into_iter()));
}
