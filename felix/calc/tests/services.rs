//! Which addresses of services a node announces.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use calc::{CalcGraph, Config, Update};
use resources::{Kind, Resource};
use serde_json::json;
use support::*;

const RANGES: &str = r#"{"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
    "serviceExternalIPs": [{"cidr": "198.51.100.0/24"}, {"cidr": "203.0.113.7/32"}],
    "serviceLoadBalancerIPs": [{"cidr": "192.0.2.0/24"}]"#;

fn resource(kind: Kind, name: &str, mut body: serde_json::Value) -> Resource {
    body["metadata"]["name"] = json!(name);
    if kind.is_namespaced() {
        body["metadata"]["namespace"] = json!("default");
    }
    Resource::deserialize(kind, body).unwrap()
}

fn configuration(more: &str) -> Resource {
    let spec: serde_json::Value = serde_json::from_str(&format!("{RANGES}{more}}}")).unwrap();
    resource(Kind::BgpConfiguration, "default", json!({ "spec": spec }))
}

fn service(policy: &str) -> Resource {
    let spec = json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.10"], "externalTrafficPolicy": policy,
        "externalIPs": ["198.51.100.9", "203.0.113.7", "198.18.0.1"]});
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.30"}, {"hostname": "elsewhere"}]}});
    resource(Kind::Service, "web", json!({"spec": spec, "status": status}))
}

fn slice(family: &str, endpoints: serde_json::Value) -> Resource {
    let metadata = json!({"labels": {"kubernetes.io/service-name": "web"}});
    resource(Kind::EndpointSlice, "web-1", json!({"metadata": metadata, "addressType": family, "endpoints": endpoints}))
}

fn here(ready: bool) -> Resource {
    slice("IPv4", json!([{"addresses": ["10.65.0.1"], "nodeName": NODE, "conditions": {"ready": ready}}]))
}

fn elsewhere() -> Resource {
    slice("IPv4", json!([{"addresses": ["10.65.9.1"], "nodeName": "other"}]))
}

fn origins(resources: impl IntoIterator<Item = Resource>) -> Vec<String> {
    State::default().with(resources).desired().origins.keys().map(ToString::to_string).collect()
}

const WHOLE: [&str; 3] = ["10.96.0.0/12", "192.0.2.0/24", "198.51.100.0/24"];

#[test]
fn without_ranges_nothing_of_services_is_announced() {
    assert_eq!(origins([service("Local"), here(true)]), Vec::<String>::new());
}

#[test]
fn ranges_are_announced_whole_and_a_single_address_only_with_its_service() {
    assert_eq!(origins([configuration("")]), WHOLE);
    let with_service = origins([configuration(""), service("Cluster")]);
    assert_eq!(with_service, ["10.96.0.0/12", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.7/32"]);
}

#[test]
fn a_local_service_is_announced_by_nodes_with_an_endpoint_that_is_ready() {
    let own = ["10.96.0.10/32", "192.0.2.30/32", "198.51.100.9/32", "203.0.113.7/32"];
    let mut all: Vec<_> = WHOLE.iter().chain(&own).map(ToString::to_string).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    all.sort();
    assert_eq!(sorted(origins([configuration(""), service("Local"), here(true)])), all);
    for endpoints in [here(false), elsewhere(), slice("IPv6", json!([{"addresses": ["fd00::1"], "nodeName": NODE}]))] {
        assert_eq!(origins([configuration(""), service("Local"), endpoints]), WHOLE);
    }
}

#[test]
fn without_aggregation_load_balancers_are_announced_while_anybody_serves_them() {
    let disabled = || configuration(r#", "serviceLoadBalancerAggregation": "Disabled""#);
    let served = origins([disabled(), service("Cluster"), elsewhere()]);
    assert_eq!(served, ["10.96.0.0/12", "192.0.2.30/32", "198.51.100.0/24", "203.0.113.7/32"]);
    assert_eq!(origins([disabled(), service("Cluster")]), ["10.96.0.0/12", "198.51.100.0/24", "203.0.113.7/32"]);
}

#[test]
fn an_excluded_node_announces_no_service() {
    let label = |value: &str| {
        let labels = json!({"node.kubernetes.io/exclude-from-external-load-balancers": value});
        resource(Kind::Node, NODE, json!({"metadata": {"labels": labels}}))
    };
    assert_eq!(origins([label("true"), configuration(""), service("Local"), here(true)]), Vec::<String>::new());
    assert_eq!(origins([label("false"), configuration("")]), WHOLE);
}

#[test]
fn a_slice_that_is_deleted_takes_the_announcement_along() {
    let mut graph = CalcGraph::new(Config::new(NODE));
    graph.on_update(Update::InSync);
    let state = State::default().with([configuration(""), service("Local"), here(true)]);
    change(&mut graph, &State::default(), &state);
    assert_eq!(graph.flush().unwrap().origins.len(), 7);
    let without = State::default().with([configuration(""), service("Local")]);
    change(&mut graph, &state, &without);
    assert_eq!(graph.flush().unwrap().origins.len(), 3);
    change(&mut graph, &without, &State::default());
    assert_eq!(graph.flush().unwrap().origins.len(), 0);
}
