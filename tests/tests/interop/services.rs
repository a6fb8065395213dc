//! Addresses of services, announced to a router: ranges by every node, single addresses by the nodes that serve them.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
};
use tests::{
    Test,
    cluster::Cluster,
    speakers::{SOON, addresses, text, wait_kernel},
    test,
};

use super::cluster::{POOLS, status};

const RANGES: &str = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
    spec: {serviceClusterIPs: [{cidr: 10.96.0.0/12}], serviceLoadBalancerIPs: [{cidr: 198.51.100.0/24}]}\n";
const PEER: &str = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
    spec: {peerIP: 192.0.2.1, asNumber: 65001}\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
    spec: {type: LoadBalancer, clusterIP: 10.96.0.10, externalTrafficPolicy: Local}\n\
    status: {loadBalancer: {ingress: [{ip: 198.51.100.30}]}}\n";
const ADDRESS: &str = "198.51.100.30/32";
const RANGE: &str = "198.51.100.0/24";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_service_address_leads_to_the_nodes_that_serve_it_and_its_range_to_all", &needs, local)]
}

/// A slice of the service with an endpoint per node that is ready.
fn slice(nodes: &[&str]) -> String {
    let endpoints: Vec<_> = nodes.iter().map(|node| format!("{{addresses: [10.65.0.1], nodeName: {node}}}")).collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: default, \
         labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn local(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let (a, b) = (cluster.worker("a", 11)?, cluster.worker("b", 12)?);
    let node = cluster.outsider("tor", 1)?;
    let [at_a, at_b]: [IpAddr; 2] = [11, 12].map(|number| addresses(number).0);
    let peers = [at_a, at_b].map(|address| Peer { add_path: false, ..Peer::new(address, 64512) });
    let config = Config { peers: peers.to_vec(), ..Config::new(65001, [192, 0, 2, 1].into()) };
    let tor = Router::start(Kind::Bird, &node, config)?;
    cluster.write("tor.yaml", PEER)?;
    status(&a).wait_established("tor")?;
    status(&b).wait_established("tor")?;
    let since = |name| Ok::<_, anyhow::Error>(text(&status(&a).peer(name)?, "since").to_owned());
    let before = [since("tor")?, since("b")?];

    cluster.write("service.yaml", SERVICE)?;
    cluster.write("slice.yaml", &slice(&["b"]))?;
    tor.wait_route(ADDRESS, &[], SOON)?;
    cluster.write("bgp.yaml", RANGES)?;
    tor.wait_route(RANGE, &[at_a, at_b], SOON)?;
    tor.wait_route("10.96.0.0/12", &[at_a, at_b], SOON)?;
    tor.wait_route(ADDRESS, &[at_b], SOON)?;
    tor.wait_route("10.96.0.10/32", &[at_b], SOON)?;
    cluster.write("slice.yaml", &slice(&["a", "b"]))?;
    tor.wait_route(ADDRESS, &[at_a, at_b], SOON)?;
    cluster.write("slice.yaml", &slice(&["a"]))?;
    tor.wait_route(ADDRESS, &[at_a], SOON)?;
    // The last endpoint goes with its slice.
    cluster.remove("slice.yaml")?;
    tor.wait_route(ADDRESS, &[], SOON)?;
    // What one node announces of services is in no other node's kernel: kube-proxy answers there.
    wait_kernel(b.node(), RANGE, &[])?;
    wait_kernel(b.node(), ADDRESS, &[])?;
    cluster.remove("bgp.yaml")?;
    tor.wait_route(RANGE, &[], SOON)?;
    ensure!([since("tor")?, since("b")?] == before, "a session was touched");
    Ok(())
}
