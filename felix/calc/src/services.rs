//! Which addresses of services this node announces, by Calico's rules.
//!
//! The ranges that BGPConfiguration names are announced whole by every node. A single address is announced where only some
//! nodes serve it (`externalTrafficPolicy: Local`), or where no range stands for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use resources::service::SERVICE_NAME;
use resources::{BgpConfigurationSpec, CidrBlock, EndpointSlice, Service, Switch};

/// Label of a node that is to announce no service: `true`.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Namespace and name.
type Name = (String, String);

/// What is kept of services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    ranges: Ranges,
    /// This node announces none.
    excluded: bool,
    services: BTreeMap<Name, Service>,
    slices: BTreeMap<Name, Slice>,
}

/// The ranges that may be announced.
#[derive(Debug, Default)]
struct Ranges {
    cluster: Vec<IpNetwork>,
    external: Vec<IpNetwork>,
    load_balancer: Vec<IpNetwork>,
    /// Addresses of load balancers are announced one by one.
    single_load_balancers: bool,
}

#[derive(Debug)]
struct Slice {
    service: Name,
    ipv6: bool,
    /// Nodes with an endpoint that takes connections; empty for one whose node is not known.
    nodes: BTreeSet<String>,
}

impl Services {
    /// The BGPConfiguration `default`.
    pub(crate) fn configure(&mut self, spec: Option<&BgpConfigurationSpec>) {
        let networks = |blocks: &[CidrBlock]| blocks.iter().map(|block| block.cidr.network()).collect();
        self.ranges = spec.map_or_else(Ranges::default, |spec| Ranges {
            cluster: networks(&spec.service_cluster_ips),
            external: networks(&spec.service_external_ips),
            load_balancer: networks(&spec.service_load_balancer_ips),
            single_load_balancers: spec.service_load_balancer_aggregation == Some(Switch::Disabled),
        });
    }

    /// The labels of this node.
    pub(crate) fn set_labels(&mut self, labels: Option<&BTreeMap<String, String>>) {
        self.excluded = labels.and_then(|labels| labels.get(EXCLUDED)).is_some_and(|value| value == "true");
    }

    pub(crate) fn set_service(&mut self, name: Name, service: Option<&Service>) {
        match service {
            Some(service) => drop(self.services.insert(name, service.clone())),
            None => drop(self.services.remove(&name)),
        }
    }

    pub(crate) fn set_slice(&mut self, name: Name, slice: Option<&EndpointSlice>) {
        let slice = slice.filter(|slice| slice.address_type != "FQDN").and_then(|slice| {
            let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
            Some(Slice {
                service: (name.0.clone(), slice.metadata.labels.get(SERVICE_NAME)?.clone()),
                ipv6: slice.address_type == "IPv6",
                nodes: ready.map(|endpoint| endpoint.node_name.clone()).collect(),
            })
        });
        match slice {
            Some(slice) => drop(self.slices.insert(name, slice)),
            None => drop(self.slices.remove(&name)),
        }
    }

    /// What this node announces, and why.
    pub(crate) fn origins(&self, node: &str) -> BTreeMap<IpNetwork, String> {
        let mut origins = BTreeMap::new();
        if self.excluded {
            return origins;
        }
        let ranges = &self.ranges;
        let whole =
            |ranges: &[IpNetwork]| ranges.iter().copied().filter(|range| !is_single(*range)).collect::<Vec<_>>();
        for range in &ranges.cluster {
            origins.insert(*range, "range of cluster addresses of services".to_owned());
        }
        for range in whole(&ranges.external) {
            origins.insert(range, "range of external addresses of services".to_owned());
        }
        for range in whole(&ranges.load_balancer).into_iter().filter(|_| !ranges.single_load_balancers) {
            origins.insert(range, "range of load balancer addresses of services".to_owned());
        }
        for (name, service) in &self.services {
            for address in self.single_addresses(node, name, service) {
                let cause = format!("address of service {}/{}", name.0, name.1);
                origins.entry(IpNetwork::from(address)).or_insert(cause);
            }
        }
        origins
    }

    fn single_addresses(&self, node: &str, name: &Name, service: &Service) -> Vec<IpAddr> {
        let cluster = service.cluster_addresses();
        if cluster.is_empty() {
            return Vec::new();
        }
        let each = cluster.into_iter().map(|address| (address, &self.ranges.cluster, false));
        let external = service.external_addresses().into_iter().map(|it| (it, &self.ranges.external, true));
        let balanced = service.load_balancer_addresses().into_iter().map(|it| (it, &self.ranges.load_balancer, true));
        let single_balanced = service.load_balancer_addresses();
        let wanted = each.chain(external).chain(balanced).filter(|(address, ranges, from_outside)| {
            let Some(range) = ranges.iter().filter(|range| range.contains(*address)).max_by_key(|range| range.prefix())
            else {
                return false;
            };
            let ready = |on: Option<&str>| self.is_ready(name, *address, on);
            if service.is_local() {
                return ready(Some(node));
            }
            let alone = is_single(*range) && *from_outside;
            let disaggregated = self.ranges.single_load_balancers && single_balanced.contains(address);
            alone || (disaggregated && ready(None))
        });
        wanted.map(|(address, ..)| address).collect()
    }

    /// Whether an endpoint of the address's family takes connections, on a node or on any.
    fn is_ready(&self, service: &Name, address: IpAddr, node: Option<&str>) -> bool {
        let slices = self.slices.values().filter(|it| it.service == *service && it.ipv6 == address.is_ipv6());
        slices.into_iter().any(|slice| node.map_or(!slice.nodes.is_empty(), |node| slice.nodes.contains(node)))
    }
}

fn is_single(range: IpNetwork) -> bool {
    range.prefix() == if range.is_ipv4() { 32 } else { 128 }
}
