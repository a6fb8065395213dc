//! What is not as it should be.

use std::collections::{BTreeMap, BTreeSet};

use resources::{DenyAction, EndpointToHostAction, FelixConfigurationSpec, Key, NatOutgoingExclusions, Resource};

use crate::membership::{Content, Memberships, SetKey};
use crate::{Condition, Severity};

/// Fields that have no effect, by object.
#[derive(Debug, Default)]
pub(crate) struct Conditions(BTreeMap<Key, Vec<Condition>>);

impl Conditions {
    /// Takes an object as it is now; `None`: it is gone.
    pub(crate) fn set(&mut self, node: &str, key: &Key, resource: Option<&Resource>) {
        let found = resource.map(|resource| unsupported(node, key, resource)).unwrap_or_default();
        if found.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.clone(), found);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Condition> {
        self.0.values().flatten()
    }
}

fn unsupported(node: &str, key: &Key, resource: &Resource) -> Vec<Condition> {
    let generic = resource.unsupported();
    let generic = generic.iter().map(|field| condition(format!("{key}: {field}"), "remove the field"));
    let own = match resource {
        Resource::FelixConfiguration(object) if of_this_node(node, &key.name) => felix_fields(&object.spec),
        _ => Vec::new(),
    };
    let own = own.into_iter().map(|(field, effect)| {
        condition(format!("{key}: spec.{field} is not supported: {effect}"), "remove the field")
    });
    generic.chain(own).collect()
}

fn of_this_node(node: &str, name: &str) -> bool {
    name == "default" || name.strip_prefix("node.") == Some(node)
}

/// Fields of FelixConfiguration that ask for something else than what is done.
fn felix_fields(spec: &FelixConfigurationSpec) -> Vec<(&'static str, &'static str)> {
    let asked = [
        (
            spec.default_endpoint_to_host_action() != EndpointToHostAction::Accept,
            "defaultEndpointToHostAction",
            "what egress policies allow from a pod to its own node is accepted",
        ),
        (
            spec.nftables_filter_deny_action() != DenyAction::Drop,
            "nftablesFilterDenyAction",
            "what is denied is dropped",
        ),
        (spec.interface_prefix() != "cali", "interfacePrefix", "interfaces of pods begin with cali"),
        (
            spec.nat_outgoing_address.is_some(),
            "natOutgoingAddress",
            "masqueraded packets have the address of their outgoing interface",
        ),
        (
            spec.nat_outgoing_exclusions() != NatOutgoingExclusions::IPPoolsOnly,
            "natOutgoingExclusions",
            "packets to other nodes are masqueraded",
        ),
        (spec.nat_port_range.is_some(), "natPortRange", "the kernel chooses source ports"),
        (!spec.ipv6_support(), "ipv6Support", "IPv6 is handled"),
        (spec.ipv4_normal_route_priority() != 1024, "ipv4NormalRoutePriority", "the metric is 1024"),
        (spec.ipv6_normal_route_priority() != 1024, "ipv6NormalRoutePriority", "the metric is 1024"),
    ];
    asked.into_iter().filter(|(differs, ..)| *differs).map(|(_, field, effect)| (field, effect)).collect()
}

/// Named ports that no pod has.
pub(crate) fn missing_ports(needed: &BTreeMap<Key, BTreeSet<SetKey>>, memberships: &Memberships) -> Vec<Condition> {
    let keys = needed.iter().flat_map(|(policy, keys)| keys.iter().map(move |key| (policy, key)));
    keys.filter(|(_, key)| memberships.members(key).is_none_or(BTreeMap::is_empty))
        .filter_map(|(policy, key)| match &key.content {
            Content::Addresses => None,
            Content::Port { protocol, name } => {
                let detail = format!("{policy}: port {name:?}: no {protocol} port of {} has this name", key.selector);
                Some(condition(detail, "name a container port so, or give the port as a number"))
            }
        })
        .collect()
}

fn condition(detail: String, next: &str) -> Condition {
    Condition { severity: Severity::Warning, detail, next: next.to_owned() }
}
