//! A second judge: Kubernetes' own words, evaluated on resources, against what the rendered ruleset does.
//!
//! And what must hold for any history: the output depends on the state alone, and whenever the generation did not rise,
//! nothing that was allowed is denied.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;
#[path = "../../../kernel/nft/tests/support/apply.rs"]
mod transaction;

use std::collections::BTreeMap;
use std::net::IpAddr;

use calc::{CalcGraph, Config, Desired, Update};
use ipnetwork::IpNetwork;
use nft::{Hook, Packet, Ruleset};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use resources::{
    EgressRule, IngressRule, IpBlock, LabelSelector, LabelSelectorRequirement, NetworkPolicy, NetworkPolicyPeer,
    NetworkPolicyPort, ObjectMeta, Operator, Pod, PolicyType, PortOrName, Protocol, Resource,
};
use support::*;

const NAMESPACES: [&str; 3] = ["blue", "green", "red"];
const PORTS: [u16; 6] = [79, 80, 81, 443, 8080, 9090];
const OUTSIDE: [&str; 4] = ["192.0.2.7", "192.0.2.200", "2001:db8::7", "10.65.9.9"];
const NODE_ADDRESSES: [&str; 2] = ["172.16.0.1", "fd99::1"];

/// Pod `index`: its namespace and addresses are fixed, all else varies.
fn pod_addresses(index: usize) -> [String; 2] {
    [format!("10.65.{}.{}", index % 3, index + 2), format!("fd00:{}::{}", index % 3, index + 2)]
}

prop_compose! {
    fn some_labels()(app in select(vec!["", "web", "db"]), zone in select(vec!["", "a", "b"])) -> BTreeMap<String, String> {
        let pairs = [("app", app), ("zone", zone)];
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let operator = select(vec![Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist]);
    let requirement = (select(vec!["app", "zone"]), operator, subsequence(vec!["web", "db", "a", "b"], 1..3)).prop_map(
        |(key, operator, values)| LabelSelectorRequirement {
            key: key.to_owned(),
            operator,
            values: match operator {
                Operator::In | Operator::NotIn => values.into_iter().map(str::to_owned).collect(),
                _ => Vec::new(),
            },
        },
    );
    (prop_oneof![Just(BTreeMap::new()), some_labels()], proptest::collection::vec(requirement, 0..2))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

fn peer() -> impl Strategy<Value = NetworkPolicyPeer> {
    let cidrs =
        vec!["0.0.0.0/0", "10.65.0.0/16", "10.65.1.0/24", "10.65.0.2/32", "192.0.2.0/24", "::/0", "fd00:1::/64"];
    let holes = vec!["10.65.1.0/25", "192.0.2.128/25", "10.65.0.4/32", "10.65.2.0/24"];
    let block = (select(cidrs), subsequence(holes, 0..3)).prop_map(|(cidr, holes)| NetworkPolicyPeer {
        ip_block: Some(IpBlock {
            cidr: cidr.parse().unwrap(),
            except: holes.into_iter().map(|hole| hole.parse().unwrap()).collect(),
        }),
        ..NetworkPolicyPeer::default()
    });
    let pods = selector().prop_map(|pods| NetworkPolicyPeer { pod_selector: Some(pods), ..Default::default() });
    let names = subsequence(NAMESPACES.to_vec(), 1..3).prop_map(|names| LabelSelector {
        match_expressions: vec![LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: Operator::In,
            values: names.into_iter().map(str::to_owned).collect(),
        }],
        ..LabelSelector::default()
    });
    let both = (prop_oneof![selector(), names], proptest::option::of(selector())).prop_map(|(namespaces, pods)| {
        NetworkPolicyPeer { namespace_selector: Some(namespaces), pod_selector: pods, ip_block: None }
    });
    prop_oneof![pods, both, block]
}

fn port() -> impl Strategy<Value = NetworkPolicyPort> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let number = select(PORTS.to_vec()).prop_map(PortOrName::Number);
    let name = select(vec!["http", "dns"]).prop_map(|name| PortOrName::Name(name.to_owned()));
    let port = proptest::option::of(prop_oneof![2 => number, 1 => name]);
    (protocol, port, proptest::option::of(0u16..400)).prop_map(|(protocol, port, wide)| {
        let end_port = match (&port, wide) {
            (Some(PortOrName::Number(first)), Some(wide)) => Some(first + wide),
            _ => None,
        };
        NetworkPolicyPort { protocol, port, end_port }
    })
}

fn network_policy() -> impl Strategy<Value = NetworkPolicy> {
    let types = prop_oneof![
        Just(vec![]),
        Just(vec![PolicyType::Ingress]),
        Just(vec![PolicyType::Egress]),
        Just(vec![PolicyType::Ingress, PolicyType::Egress])
    ];
    let rule = || (proptest::collection::vec(peer(), 0..3), proptest::collection::vec(port(), 0..3));
    let rules = || proptest::collection::vec(rule(), 0..3);
    let name = (select(NAMESPACES.to_vec()), 0..4);
    (name, selector(), types, rules(), rules()).prop_map(|((namespace, number), pods, types, ingress, egress)| {
        let mut policy =
            NetworkPolicy { metadata: ObjectMeta::namespaced(namespace, format!("p{number}")), ..Default::default() };
        policy.spec.pod_selector = pods;
        policy.spec.policy_types = types;
        policy.spec.ingress = ingress.into_iter().map(|(from, ports)| IngressRule { from, ports }).collect();
        policy.spec.egress = egress.into_iter().map(|(to, ports)| EgressRule { to, ports }).collect();
        policy
    })
}

#[derive(Clone, Debug)]
struct PodFacts {
    labels: BTreeMap<String, String>,
    /// Whether it has an interface here, and whether a manifest.
    local: bool,
    manifest: bool,
    phase: &'static str,
    host_network: bool,
    http: u16,
    dns: Protocol,
}

fn pod_facts() -> impl Strategy<Value = PodFacts> {
    let phase = select(vec!["Running", "Running", "Running", "Succeeded", ""]);
    let ports = (select(PORTS.to_vec()), select(vec![Protocol::Tcp, Protocol::Udp]));
    (some_labels(), any::<bool>(), 0..8, phase, 0..8, ports).prop_map(
        |(labels, local, manifest, phase, host_network, (http, dns))| PodFacts {
            labels,
            local,
            manifest: manifest > 0,
            phase,
            host_network: !local && host_network == 0,
            http,
            dns,
        },
    )
}

#[derive(Clone, Debug)]
struct World {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pods: Vec<Option<PodFacts>>,
    policies: Vec<NetworkPolicy>,
}

fn world() -> impl Strategy<Value = World> {
    let namespaces =
        proptest::collection::btree_map(select(NAMESPACES.to_vec()).prop_map(str::to_owned), some_labels(), 0..3);
    let pods = proptest::collection::vec(proptest::option::weighted(0.85, pod_facts()), 6);
    (namespaces, pods, proptest::collection::vec(network_policy(), 0..6)).prop_map(|(namespaces, pods, policies)| {
        let by_key: BTreeMap<_, _> = policies
            .into_iter()
            .map(|policy| ((policy.metadata.namespace.clone(), policy.metadata.name.clone()), policy))
            .collect();
        World { namespaces, pods, policies: by_key.into_values().collect() }
    })
}

/// A world, and the same after one policy or one pod has become another, come or gone. Only one: of two objects that
/// change together, each may be seen before the other.
fn one_change() -> impl Strategy<Value = (World, World)> {
    (world(), pod_facts(), network_policy(), 0..6usize, 0..4).prop_map(|(from, facts, policy, index, kind)| {
        let mut to = from.clone();
        let known = to.policies.iter().any(|other| other.metadata.name == policy.metadata.name);
        match kind {
            0 => to.pods[index] = Some(facts),
            1 => to.pods[index] = None,
            2 if index < to.policies.len() => to.policies[index].spec = policy.spec,
            _ if known => to.policies.retain(|other| other.metadata.name != policy.metadata.name),
            _ => to.policies.push(policy),
        }
        (from, to)
    })
}

impl World {
    fn state(&self) -> State {
        let mut state = State::default();
        for (name, labels) in &self.namespaces {
            let pairs: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            state.resources.push(namespace(name, &pairs));
        }
        for (index, facts) in self.pods.iter().enumerate() {
            let Some(facts) = facts else { continue };
            let (ns, name) = (NAMESPACES[index % 3], format!("pod{index}"));
            let pairs: Vec<_> = facts.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let addresses = pod_addresses(index);
            let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
            if facts.manifest {
                let mut pod: Pod = pod_manifest(ns, &name, &pairs, &addresses);
                pod.status.phase = facts.phase.to_owned();
                pod.spec.host_network = facts.host_network;
                let (http, dns) = (facts.http, facts.dns);
                state.resources.push(with_ports(
                    pod,
                    &format!(
                        "[{{name: http, containerPort: {http}}}, {{name: dns, containerPort: 443, protocol: {dns}}}]"
                    ),
                ));
            }
            if facts.local {
                state.endpoints.push(endpoint(ns, &name, &pairs, &addresses));
            }
        }
        state.resources.extend(self.policies.iter().cloned().map(Resource::from));
        state
    }

    /// The pod that policy knows at an address, for peers and named ports.
    fn peer_at(&self, address: IpAddr) -> Option<(&'static str, &PodFacts)> {
        self.pods.iter().enumerate().find_map(|(index, facts)| {
            let facts = facts.as_ref()?;
            let here = pod_addresses(index).iter().any(|text| text.parse() == Ok(address));
            let finished = facts.manifest && facts.phase == "Succeeded";
            let known = (facts.manifest || facts.local) && !facts.host_network && !finished;
            (here && known).then_some((NAMESPACES[index % 3], facts))
        })
    }

    /// The pod whose interface an address is behind.
    fn local_at(&self, address: IpAddr) -> Option<(&'static str, &PodFacts)> {
        self.pods.iter().enumerate().find_map(|(index, facts)| {
            let facts = facts.as_ref().filter(|facts| facts.local)?;
            let here = pod_addresses(index).iter().any(|text| text.parse() == Ok(address));
            here.then_some((NAMESPACES[index % 3], facts))
        })
    }

    fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(name).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        labels
    }

    fn allows(&self, packet: &Packet) -> bool {
        let egress = self.local_at(packet.source).is_none_or(|(namespace, pod)| {
            let governing: Vec<_> = self.selecting(namespace, pod).filter(|p| p.spec.isolates_egress()).collect();
            governing.is_empty()
                || governing.iter().any(|policy| {
                    policy
                        .spec
                        .egress
                        .iter()
                        .any(|rule| self.matches(namespace, &rule.to, &rule.ports, packet, packet.destination))
                })
        });
        let to_pod = packet.output.is_some().then(|| self.local_at(packet.destination)).flatten();
        let ingress = to_pod.is_none_or(|(namespace, pod)| {
            let governing: Vec<_> = self.selecting(namespace, pod).filter(|p| p.spec.isolates_ingress()).collect();
            governing.is_empty()
                || governing.iter().any(|policy| {
                    policy
                        .spec
                        .ingress
                        .iter()
                        .any(|rule| self.matches(namespace, &rule.from, &rule.ports, packet, packet.source))
                })
        });
        egress && ingress
    }

    fn selecting(&self, namespace: &str, pod: &PodFacts) -> impl Iterator<Item = &NetworkPolicy> {
        self.policies.iter().filter(move |policy| {
            policy.metadata.namespace.as_deref() == Some(namespace) && policy.spec.pod_selector.matches(&pod.labels)
        })
    }

    fn matches(
        &self,
        namespace: &str,
        peers: &[NetworkPolicyPeer],
        ports: &[NetworkPolicyPort],
        packet: &Packet,
        other: IpAddr,
    ) -> bool {
        let peer_matches = |peer: &NetworkPolicyPeer| match &peer.ip_block {
            Some(block) => {
                let inside = |network: IpNetwork| network.contains(other);
                inside(block.cidr.network()) && !block.except.iter().any(|hole| inside(hole.network()))
            }
            None => self.peer_at(other).is_some_and(|(of, pod)| {
                let namespace_ok = match &peer.namespace_selector {
                    Some(selector) => selector.matches(&self.namespace_labels(of)),
                    None => of == namespace,
                };
                namespace_ok && peer.pod_selector.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
            }),
        };
        let port_matches = |port: &NetworkPolicyPort| {
            packet.protocol == port.protocol.number()
                && match &port.port {
                    None => true,
                    Some(PortOrName::Number(first)) => {
                        (*first..=port.end_port.unwrap_or(*first)).contains(&packet.destination_port)
                    }
                    Some(PortOrName::Name(name)) => self.named_port(name, port.protocol, packet),
                }
        };
        (peers.is_empty() || peers.iter().any(peer_matches)) && (ports.is_empty() || ports.iter().any(port_matches))
    }

    fn named_port(&self, name: &str, protocol: Protocol, packet: &Packet) -> bool {
        self.peer_at(packet.destination).filter(|(_, pod)| pod.manifest).is_some_and(|(_, pod)| {
            let declared = if name == "http" { (Protocol::Tcp, pod.http) } else { (pod.dns, 443) };
            declared == (protocol, packet.destination_port)
        })
    }
}

/// Every pair of addresses of one family with some protocols and ports; one of the two is behind an interface here.
fn packets(world: &World) -> Vec<Packet> {
    let mut addresses: Vec<IpAddr> = (0..world.pods.len()).flat_map(pod_addresses).map(|text| address(&text)).collect();
    addresses.extend(OUTSIDE.map(address));
    addresses.extend(NODE_ADDRESSES.map(address));
    let name = |of: IpAddr| {
        let index = (0..world.pods.len()).find(|index| pod_addresses(*index).iter().any(|text| text.parse() == Ok(of)));
        index.filter(|_| world.local_at(of).is_some()).map(|index| format!("calipod{index}"))
    };
    let mut packets = Vec::new();
    for source in &addresses {
        for destination in addresses.iter().filter(|other| *other != source && other.is_ipv4() == source.is_ipv4()) {
            let (from, to) = (name(*source), name(*destination));
            let is_node = |of: &IpAddr| NODE_ADDRESSES.iter().any(|node| address(node) == *of);
            if (from.is_none() && to.is_none()) || is_node(source) {
                continue;
            }
            let input = from.unwrap_or_else(|| "eth0".to_owned());
            let output = (!is_node(destination)).then(|| to.unwrap_or_else(|| "eth0".to_owned()));
            for (protocol, port) in [(6, 80), (6, 443), (6, 8080), (6, 9090), (17, 443), (17, 81), (132, 79), (1, 0)] {
                packets.push(
                    Packet::new(*source, *destination, protocol)
                        .with_ports(40_000, port)
                        .with_interfaces(Some(&input), output.as_deref()),
                );
            }
        }
    }
    packets
}

fn graph() -> CalcGraph {
    let mut graph = CalcGraph::new(Config::new(NODE));
    graph.on_update(Update::InSync);
    graph
}

const HOOKS: [Hook; 3] = [Hook::Prerouting, Hook::Input, Hook::Forward];

/// What happens at one hook.
fn only(ruleset: &Ruleset, hook: Hook) -> Ruleset {
    let mut only = ruleset.clone();
    only.chains.retain(|_, chain| chain.base.is_none_or(|base| base.hook == hook));
    only
}

fn assert_same(left: &Desired, right: &Desired) -> Result<(), TestCaseError> {
    prop_assert_eq!(text(left), text(right));
    prop_assert_eq!(&left.endpoints, &right.endpoints);
    prop_assert_eq!(&left.policies, &right.policies);
    prop_assert_eq!(&left.conditions, &right.conditions);
    prop_assert_eq!(&left.routes, &right.routes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ruleset_says_what_the_policies_say(world in world()) {
        let desired = world.state().desired();
        for packet in packets(&world) {
            let expected = world.allows(&packet);
            prop_assert_eq!(passes(&desired.ruleset, &packet), expected, "{:?}\n{}", packet, text(&desired));
        }
    }

    #[test]
    fn the_output_depends_on_the_state_alone_and_an_unchanged_generation_takes_nothing_away(
        worlds in proptest::collection::vec(world(), 2..4),
    ) {
        let mut graph = graph();
        let mut state = State::default();
        let mut before: Option<(std::sync::Arc<Desired>, &World)> = None;
        for world in &worlds {
            let next = world.state();
            change(&mut graph, &state, &next);
            graph.flush();
            let desired = graph.current().unwrap().clone();
            assert_same(&desired, &next.desired())?;
            if let Some((old, old_world)) = &before && old.generation == desired.generation {
                for packet in packets(old_world).into_iter().chain(packets(world)) {
                    let known = |ruleset: &Desired| [&packet.input, &packet.output].into_iter().flatten().all(|name| {
                        name == "eth0" || ruleset.endpoints.values().any(|endpoint| endpoint.interface == *name)
                    });
                    if known(old) && known(&desired) && passes(&old.ruleset, &packet) {
                        prop_assert!(passes(&desired.ruleset, &packet), "{packet:?}\n{}\n{}", text(old), text(&desired));
                    }
                }
            }
            before = Some((desired, world));
            state = next;
        }
    }

    #[test]
    fn what_is_denied_before_and_after_is_denied_to_packets_under_way((from, to) in one_change()) {
        let mut graph = graph();
        change(&mut graph, &State::default(), &from.state());
        graph.flush();
        let old = graph.current().unwrap().clone();
        change(&mut graph, &from.state(), &to.state());
        graph.flush();
        let new = graph.current().unwrap().clone();
        let packets: Vec<_> = (packets(&from).into_iter().chain(packets(&to)))
            .filter(|packet| !passes(&old.ruleset, packet) && !passes(&new.ruleset, packet))
            .collect();
        let mut before = old.ruleset.clone();
        for changes in nft::stages(&old.ruleset, &new.ruleset) {
            let after = transaction::apply(&before, &changes);
            for packet in &packets {
                prop_assert!(!passes(&after, packet), "{packet:?}\n{}", nft::text(&after));
            }
            let under_way = transaction::in_between(&before, &after);
            // A packet goes from hook to hook: the transaction happens while it is at one of them.
            for at in HOOKS {
                let earlier = HOOKS.iter().filter(|hook| **hook < at).map(|hook| only(&before, *hook));
                let later = HOOKS.iter().filter(|hook| **hook > at).map(|hook| only(&after, *hook));
                let way: Vec<_> = earlier.chain([only(&under_way, at)]).chain(later).collect();
                for packet in &packets {
                    let passes = way.iter().all(|ruleset| passes(ruleset, packet));
                    prop_assert!(!passes, "{packet:?} at {at:?}\n{}", nft::text(&under_way));
                }
            }
            before = after;
        }
        prop_assert_eq!(&before, &new.ruleset);
    }
}
