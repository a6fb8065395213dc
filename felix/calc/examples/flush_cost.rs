//! What a flush costs: 100 local pods, 1000 in the cluster, 50 policies. Run with `--release`.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "it measures time and says the result")]
#![expect(clippy::expect_used, reason = "an example that stops is no harm")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use calc::{CalcGraph, Config, EndpointId, LocalEndpoint, Update};
use resources::{
    IngressRule, LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, ObjectMeta, Pod, PodIp,
    PortOrName, Resource,
};

const ROUNDS: usize = 200;

fn labels(index: usize) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), format!("app{}", index % 20)), ("pod".to_owned(), format!("pod{index}"))])
}

fn address(index: usize) -> String {
    format!("10.65.{}.{}", index / 250, index % 250 + 1)
}

fn pod(index: usize) -> Resource {
    let mut pod =
        Pod { metadata: ObjectMeta::namespaced(format!("ns{}", index % 10), format!("pod{index}")), ..Pod::default() };
    pod.metadata.labels = labels(index);
    pod.status.pod_ips = vec![PodIp { ip: address(index) }];
    pod.into()
}

fn policy(index: usize, port: u16) -> Resource {
    let selector = |app: usize| LabelSelector {
        match_labels: BTreeMap::from([("app".to_owned(), format!("app{}", app % 20))]),
        ..LabelSelector::default()
    };
    let metadata = ObjectMeta::namespaced(format!("ns{}", index % 10), format!("policy{index}"));
    let mut policy = NetworkPolicy { metadata, ..NetworkPolicy::default() };
    let peer = NetworkPolicyPeer {
        pod_selector: Some(selector(index / 10 + 1)),
        namespace_selector: index.is_multiple_of(2).then(LabelSelector::default),
        ip_block: None,
    };
    let port = NetworkPolicyPort { port: Some(PortOrName::Number(port)), ..NetworkPolicyPort::default() };
    policy.spec.ingress = vec![IngressRule { from: vec![peer], ports: vec![port] }];
    policy.into()
}

fn endpoint(index: usize) -> LocalEndpoint {
    LocalEndpoint {
        id: EndpointId { container_id: format!("container{index}"), if_name: "eth0".to_owned() },
        namespace: format!("ns{}", index % 10),
        pod: format!("pod{index}"),
        interface: format!("cali{index:011}"),
        addresses: address(index).parse().into_iter().collect(),
        labels: BTreeMap::new(),
        mac: [2, 0, 0, 0, 0, 1],
    }
}

fn measure(name: &str, graph: &mut CalcGraph, update: impl Fn(usize) -> Update) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let update = update(round);
            let start = Instant::now();
            graph.on_update(update);
            let changed = graph.flush().is_some();
            let took = start.elapsed();
            assert!(changed, "{name}");
            took
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times.get(ROUNDS * part / 100).copied().unwrap_or_default();
    println!("{name:<28} median {:>9.1?}  p99 {:>9.1?}", at(50), at(99));
}

fn main() {
    let mut graph = CalcGraph::new(Config::new("node-a"));
    (0..1000).for_each(|index| graph.on_update(Update::Resource(pod(index))));
    (0..50).for_each(|index| graph.on_update(Update::Resource(policy(index, 80))));
    (0..100).for_each(|index| graph.on_update(Update::Endpoint(endpoint(index))));
    graph.on_update(Update::InSync);
    let start = Instant::now();
    let desired = graph.flush().expect("the first flush says everything");
    println!(
        "first flush {:.1?}: {} sets, {} chains",
        start.elapsed(),
        desired.ruleset.sets.len(),
        desired.ruleset.chains.len()
    );

    let alternate = |round: usize| if round.is_multiple_of(2) { 81 } else { 80 };
    measure("policy changes a port", &mut graph, |round| Update::Resource(policy(7, alternate(round))));
    measure("policy comes or goes", &mut graph, |round| match round.is_multiple_of(2) {
        true => Update::Deleted(policy(7, 80).key()),
        false => Update::Resource(policy(7, 80)),
    });
    measure("remote pod comes or goes", &mut graph, |round| match round.is_multiple_of(2) {
        true => Update::Deleted(pod(521).key()),
        false => Update::Resource(pod(521)),
    });
    measure("endpoint comes or goes", &mut graph, |round| match round.is_multiple_of(2) {
        true => Update::Endpoint(endpoint(521)),
        false => Update::EndpointGone(endpoint(521).id),
    });
}
