//! What BGPConfiguration says of the node itself: how its prefixes are announced, where it listens, what it logs.

use engine::PerFamily;
use resources::{BgpConfiguration, BgpConfigurationSpec, BindMode, LogSeverity, node::NodeBgp};

use super::{BGP_PORT, Cluster, filters};
use crate::{advertising::Advertising, sockets::Listen};

impl Cluster {
    /// How prefixes of this node are announced. The `prefixAdvertisements` of `node.NAME` take the place of all of the
    /// cluster's, as in Calico.
    pub(super) fn advertising(&self) -> Advertising {
        let metric = |ipv4| {
            let configured = self.default_configuration().map(|it| it.spec.normal_route_priority(ipv4));
            configured.unwrap_or(crate::advertising::NORMAL_METRIC)
        };
        let own = |spec: &BgpConfigurationSpec| (!spec.prefix_advertisements.is_empty()).then(|| communities(spec));
        let communities = self.of_this_node(own).unwrap_or_default();
        Advertising { metric: PerFamily::new(metric(true), metric(false)), communities }
    }

    /// Where this node listens.
    pub(super) fn listen(&self, own: &NodeBgp) -> Listen {
        let bound = self.default_configuration().is_some_and(|it| it.spec.bind_mode == Some(BindMode::NodeIP));
        let (ipv4, ipv6) = (own.ipv4.map(|it| it.ip().into()), own.ipv6.map(|it| it.ip().into()));
        let addresses = if bound { ipv4.into_iter().chain(ipv6).collect() } else { Vec::new() };
        Listen { port: self.listen_port(&self.node_name), addresses }
    }

    /// What this node logs.
    pub(super) fn log_severity(&self) -> Option<LogSeverity> {
        self.of_this_node(|spec| spec.log_severity_screen)
    }

    /// The port of a node.
    pub(super) fn listen_port(&self, node: &str) -> u16 {
        self.of_node(node, |spec| spec.listen_port).unwrap_or(BGP_PORT)
    }

    fn of_this_node<T>(&self, field: impl Fn(&BgpConfigurationSpec) -> Option<T>) -> Option<T> {
        self.of_node(&self.node_name, field)
    }

    /// A field that `node.NAME` overrides.
    fn of_node<T>(&self, node: &str, field: impl Fn(&BgpConfigurationSpec) -> Option<T>) -> Option<T> {
        let own = self.configurations.get(&format!("node.{node}"));
        let each: [Option<&BgpConfiguration>; 2] = [own, self.default_configuration()];
        each.into_iter().flatten().find_map(|configuration| field(&configuration.spec))
    }
}

fn communities(spec: &BgpConfigurationSpec) -> Vec<(engine::Prefix, Vec<engine::AnyCommunity>)> {
    let each = spec.prefix_advertisements.iter();
    each.map(|advertisement| {
        let values = spec.resolve(advertisement).into_iter().map(filters::community).collect();
        (advertisement.cidr.network().into(), values)
    })
    .collect()
}
