//! What networking.k8s.io/v1 NetworkPolicy means, sentence by sentence.

mod support;

use std::sync::Arc;

use calc::Desired;
use resources::Resource;
use support::*;

const WEB: &str = "10.65.0.2";
const WEB6: &str = "fd00::2";
/// A pod of the same namespace and node.
const CLIENT: &str = "10.65.0.3";
/// A pod of the same namespace on another node.
const BATCH: &str = "10.65.1.2";
/// Pods of the namespaces `ops` (team=a) and `dev` (team=b).
const OPS: &str = "10.65.2.2";
const DEV: &str = "10.65.3.2";
const DEV_CLIENT: &str = "10.65.3.3";
const OUTSIDE: &str = "192.0.2.7";
const OUTSIDE6: &str = "2001:db8::7";

fn cluster() -> State {
    State::default()
        .with([
            namespace("ops", &[("team", "a")]),
            namespace("dev", &[("team", "b")]),
            with_ports(
                pod_manifest("default", "web", &[("app", "web"), ("tier", "front")], &[WEB, WEB6]),
                "[{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]",
            ),
            pod("default", "client", &[("app", "client")], &[CLIENT]),
            with_ports(
                pod_manifest("default", "batch", &[("app", "batch")], &[BATCH]),
                "[{name: http, containerPort: 9090}]",
            ),
            pod("ops", "monitor", &[("app", "monitor")], &[OPS]),
            pod("dev", "dev", &[("app", "dev")], &[DEV]),
            pod("dev", "client", &[("app", "client")], &[DEV_CLIENT]),
        ])
        .with_endpoints([endpoint("default", "web", &[], &[WEB, WEB6]), endpoint("default", "client", &[], &[CLIENT])])
}

fn with(specs: &[&str]) -> Arc<Desired> {
    let policies: Vec<Resource> =
        specs.iter().enumerate().map(|(index, spec)| policy("default", &format!("p{index}"), spec)).collect();
    cluster().with(policies).desired()
}

/// The sources that may open TCP 80 to web.
fn sources(desired: &Desired) -> Vec<&'static str> {
    let all = [CLIENT, BATCH, OPS, DEV, DEV_CLIENT, OUTSIDE];
    all.into_iter().filter(|source| connects(desired, source, WEB, TCP, 80)).collect()
}

/// The destinations to which web may open TCP 80.
fn destinations(desired: &Desired) -> Vec<&'static str> {
    let all = [CLIENT, BATCH, OPS, DEV, DEV_CLIENT, OUTSIDE];
    all.into_iter().filter(|destination| connects(desired, WEB, destination, TCP, 80)).collect()
}

const EVERYBODY: [&str; 6] = [CLIENT, BATCH, OPS, DEV, DEV_CLIENT, OUTSIDE];

#[test]
fn without_a_policy_everything_is_allowed() {
    let desired = with(&[]);
    assert_eq!(sources(&desired), EVERYBODY);
    assert_eq!(destinations(&desired), EVERYBODY);
    assert!(connects(&desired, OUTSIDE6, WEB6, ICMP, 0));
}

#[test]
fn an_absent_null_or_empty_pod_selector_selects_every_pod_of_the_namespace() {
    for spec in ["{}", "podSelector: null", "podSelector: {}"] {
        let desired = with(&[spec]);
        assert_eq!(sources(&desired), [""; 0], "{spec}");
        assert!(!connects(&desired, OUTSIDE, CLIENT, TCP, 80), "{spec}");
    }
}

#[test]
fn match_labels_and_every_match_expression_must_hold() {
    let selects = |selector: &str| sources(&with(&[&format!("podSelector: {selector}")])).is_empty();
    assert!(selects("{matchLabels: {app: web, tier: front}}"));
    assert!(!selects("{matchLabels: {app: web, tier: back}}"));
    assert!(selects("{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: Exists}]}"));
    assert!(!selects("{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: DoesNotExist}]}"));
}

#[test]
fn in_needs_the_key_and_not_in_matches_pods_without_it() {
    let selects =
        |selector: &str| sources(&with(&[&format!("podSelector: {{matchExpressions: [{selector}]}}")])).is_empty();
    assert!(selects("{key: app, operator: In, values: [web, other]}"));
    assert!(!selects("{key: zone, operator: In, values: [x]}"));
    assert!(selects("{key: zone, operator: NotIn, values: [x]}"));
    assert!(!selects("{key: app, operator: NotIn, values: [web]}"));
    assert!(selects("{key: zone, operator: DoesNotExist}"));
    assert!(!selects("{key: zone, operator: Exists}"));
}

#[test]
fn without_policy_types_ingress_always_and_egress_only_with_an_egress_rule() {
    for types in ["", "policyTypes: []"] {
        assert_eq!(
            destinations(&with(&[&format!("{{podSelector: {{matchLabels: {{app: web}}}}, {types}}}")])),
            EVERYBODY
        );
        let rule = "egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]";
        let desired = with(&[&format!("{{podSelector: {{matchLabels: {{app: web}}}}, {rule}, {types}}}")]);
        assert_eq!(sources(&desired), [""; 0]);
        assert_eq!(destinations(&desired), [OUTSIDE]);
    }
}

#[test]
fn rules_of_a_direction_that_is_not_listed_do_nothing() {
    let desired = with(&["{policyTypes: [Egress], ingress: [{from: [{ipBlock: {cidr: 1.2.3.4/32}}]}]}"]);
    assert_eq!(sources(&desired), [BATCH, OPS, DEV, DEV_CLIENT, OUTSIDE], "client's egress is isolated as well");
    assert_eq!(destinations(&desired), [""; 0]);
    let desired = with(&["{policyTypes: [Ingress], ingress: [{}], egress: [{to: [{ipBlock: {cidr: 1.2.3.4/32}}]}]}"]);
    assert_eq!(destinations(&desired), EVERYBODY);
}

#[test]
fn allowed_is_the_union_of_all_policies() {
    let from = |cidr: &str| {
        format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}")
    };
    let desired = with(&[&from("10.65.2.0/24"), &from("192.0.2.0/24"), "podSelector: {matchLabels: {app: web}}"]);
    assert_eq!(sources(&desired), [OPS, OUTSIDE]);
}

#[test]
fn a_policy_has_no_effect_in_another_namespace() {
    let desired = cluster().with([policy("dev", "all", "{policyTypes: [Ingress, Egress]}")]).desired();
    assert_eq!(sources(&desired), EVERYBODY);
    assert_eq!(destinations(&desired), EVERYBODY);
}

#[test]
fn no_ingress_rules_let_nothing_in_and_an_empty_rule_lets_in_everything() {
    for spec in ["ingress: []", "ingress: null", "{}"] {
        assert_eq!(sources(&with(&[spec])), [""; 0], "{spec}");
    }
    let desired = with(&["ingress: [{}]"]);
    assert_eq!(sources(&desired), EVERYBODY);
    assert!(connects(&desired, OUTSIDE, WEB, ICMP, 0));
    assert!(connects(&desired, OUTSIDE6, WEB6, SCTP, 7));
}

#[test]
fn peers_and_ports_must_both_match() {
    let desired = with(&["ingress: [{from: [{podSelector: {matchLabels: {app: batch}}}], ports: [{port: 80}]}]"]);
    assert_eq!(sources(&desired), [BATCH]);
    assert!(!connects(&desired, BATCH, WEB, TCP, 81));
    assert!(!connects(&desired, OUTSIDE, WEB, TCP, 80));
}

#[test]
fn an_absent_or_empty_from_is_any_source_also_non_pods() {
    for from in ["", "from: [],", "from: null,"] {
        let desired = with(&[&format!("ingress: [{{{from} ports: [{{port: 80}}]}}]")]);
        assert_eq!(sources(&desired), EVERYBODY, "{from}");
    }
}

#[test]
fn absent_or_empty_ports_are_any_port_and_any_protocol() {
    for ports in ["", ", ports: []", ", ports: null"] {
        let desired = with(&[&format!("ingress: [{{from: [{{podSelector: {{}}}}]{ports}}}]")]);
        for protocol in [TCP, UDP, SCTP, ICMP, 47] {
            assert!(connects(&desired, BATCH, WEB, protocol, 9), "{ports} {protocol}");
            assert!(!connects(&desired, OUTSIDE, WEB, protocol, 9), "{ports} {protocol}");
        }
    }
}

#[test]
fn a_pod_selector_alone_is_pods_of_the_policys_namespace() {
    assert_eq!(sources(&with(&["ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]"])), [CLIENT]);
}

#[test]
fn a_namespace_selector_alone_is_all_pods_of_those_namespaces() {
    assert_eq!(
        sources(&with(&["ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]"])),
        [DEV, DEV_CLIENT]
    );
}

#[test]
fn both_selectors_in_one_entry_are_and_in_two_are_or() {
    let both = "namespaceSelector: {matchLabels: {team: b}}";
    let pods = "podSelector: {matchLabels: {app: client}}";
    assert_eq!(sources(&with(&[&format!("ingress: [{{from: [{{{both}, {pods}}}]}}]")])), [DEV_CLIENT]);
    assert_eq!(sources(&with(&[&format!("ingress: [{{from: [{{{both}}}, {{{pods}}}]}}]")])), [CLIENT, DEV, DEV_CLIENT]);
}

#[test]
fn an_empty_selector_selects_all_and_an_absent_one_is_not_empty() {
    let all_pods = [CLIENT, BATCH, OPS, DEV, DEV_CLIENT];
    assert_eq!(sources(&with(&["ingress: [{from: [{namespaceSelector: {}}]}]"])), all_pods);
    assert_eq!(sources(&with(&["ingress: [{from: [{podSelector: {}}]}]"])), [CLIENT, BATCH]);
}

#[test]
fn every_namespace_has_the_label_of_its_name_without_a_manifest_too() {
    let by_name = |name: &str| {
        let label = format!("{{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}");
        sources(&with(&[&format!("ingress: [{{from: [{{namespaceSelector: {label}}}]}}]")]))
    };
    assert_eq!(by_name("default"), [CLIENT, BATCH]);
    assert_eq!(by_name("ops"), [OPS]);
    let exists = "{matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [default, ops]}]}";
    let desired = with(&[&format!("ingress: [{{from: [{{namespaceSelector: {exists}}}]}}]")]);
    assert_eq!(sources(&desired), [CLIENT, BATCH, OPS]);
}

#[test]
fn an_ip_block_matches_pods_too() {
    assert_eq!(sources(&with(&["ingress: [{from: [{ipBlock: {cidr: 10.65.3.0/24}}]}]"])), [DEV, DEV_CLIENT]);
}

#[test]
fn except_only_cuts_its_own_entry() {
    let block = "{ipBlock: {cidr: 10.65.0.0/16, except: [10.65.2.0/23]}}";
    assert_eq!(sources(&with(&[&format!("ingress: [{{from: [{block}]}}]")])), [CLIENT, BATCH]);
    let other = "{ipBlock: {cidr: 10.65.2.0/24}}";
    assert_eq!(sources(&with(&[&format!("ingress: [{{from: [{block}, {other}]}}]")])), [CLIENT, BATCH, OPS]);
    let pods = "{namespaceSelector: {matchLabels: {team: b}}}";
    assert_eq!(sources(&with(&[&format!("ingress: [{{from: [{block}, {pods}]}}]")])), [CLIENT, BATCH, DEV, DEV_CLIENT]);
}

#[test]
fn a_cidr_with_host_bits_is_its_network_and_the_other_family_never_matches() {
    assert_eq!(sources(&with(&["ingress: [{from: [{ipBlock: {cidr: 10.65.2.99/24}}]}]"])), [OPS]);
    let four = with(&["ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"]);
    assert_eq!(sources(&four), EVERYBODY);
    assert!(!connects(&four, OUTSIDE6, WEB6, TCP, 80));
    let six = with(&["ingress: [{from: [{ipBlock: {cidr: '::/0', except: ['2001:db8:1::/48']}}]}]"]);
    assert_eq!(sources(&six), [""; 0]);
    assert!(connects(&six, OUTSIDE6, WEB6, TCP, 80));
    assert!(!connects(&six, "2001:db8:1::1", WEB6, TCP, 80));
}

#[test]
fn the_protocol_defaults_to_tcp_and_protocols_never_stand_for_one_another() {
    let desired = with(&["ingress: [{ports: [{port: 80}]}]"]);
    assert!(connects(&desired, OUTSIDE, WEB, TCP, 80));
    assert!(!connects(&desired, OUTSIDE, WEB, UDP, 80));
    assert!(!connects(&desired, OUTSIDE, WEB, SCTP, 80));
    let desired = with(&["ingress: [{ports: [{port: 80, protocol: SCTP}]}]"]);
    assert!(connects(&desired, OUTSIDE, WEB, SCTP, 80));
    assert!(!connects(&desired, OUTSIDE, WEB, TCP, 80));
}

#[test]
fn a_port_entry_without_a_port_is_all_of_its_protocol_only() {
    let desired = with(&["ingress: [{ports: [{}]}]"]);
    for port in [0, 1, 80, 65535] {
        assert!(connects(&desired, OUTSIDE, WEB, TCP, port));
        assert!(!connects(&desired, OUTSIDE, WEB, UDP, port));
    }
    assert!(!connects(&desired, OUTSIDE, WEB, ICMP, 0));
}

#[test]
fn end_port_is_inclusive() {
    let desired = with(&["ingress: [{ports: [{port: 80, endPort: 90}, {port: 88, endPort: 99}, {port: 443}]}]"]);
    let open: Vec<u16> = (70..120).filter(|port| connects(&desired, OUTSIDE, WEB, TCP, *port)).collect();
    assert_eq!(open, (80..=99).collect::<Vec<_>>());
    assert!(connects(&desired, OUTSIDE, WEB, TCP, 443));
    assert!(!connects(&desired, OUTSIDE, WEB, UDP, 85));
}

#[test]
fn a_named_port_is_looked_up_on_the_destination_by_name_and_protocol() {
    let ingress = with(&["ingress: [{ports: [{port: http}]}]"]);
    assert!(connects(&ingress, OUTSIDE, WEB, TCP, 8080));
    assert!(connects(&ingress, OUTSIDE6, WEB6, TCP, 8080));
    assert!(!connects(&ingress, OUTSIDE, WEB, UDP, 8080));
    assert!(!connects(&ingress, OUTSIDE, WEB, TCP, 9090), "the number it has on another pod");
    assert!(!connects(&ingress, OUTSIDE, CLIENT, TCP, 8080), "a pod without the port");
    let egress = with(&["{policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}"]);
    assert!(connects(&egress, CLIENT, BATCH, TCP, 9090));
    assert!(!connects(&egress, CLIENT, BATCH, TCP, 8080));
    let udp = with(&["ingress: [{ports: [{port: dns, protocol: UDP}]}]"]);
    assert!(connects(&udp, OUTSIDE, WEB, UDP, 53));
}

#[test]
fn a_named_port_with_an_ip_block_needs_a_pod_at_that_address_that_has_it() {
    let desired =
        with(&["{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.65.0.0/16}}], ports: [{port: http}]}]}"]);
    assert!(connects(&desired, WEB, BATCH, TCP, 9090));
    assert!(!connects(&desired, WEB, OPS, TCP, 9090));
    let elsewhere =
        with(&["{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.66.0.0/16}}], ports: [{port: http}]}]}"]);
    assert!(!connects(&elsewhere, WEB, BATCH, TCP, 9090));
    let anywhere = with(&["{policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"]);
    assert!(connects(&anywhere, WEB, BATCH, TCP, 9090));
    assert!(!connects(&anywhere, WEB, OUTSIDE, TCP, 9090));
}

#[test]
fn rules_with_ports_never_match_icmp_and_rules_without_do() {
    let with_ports = with(&["ingress: [{ports: [{port: 1, endPort: 65535}, {protocol: UDP}]}]"]);
    let without = with(&["ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]"]);
    for protocol in [ICMP, 47, 132] {
        assert!(!connects(&with_ports, OUTSIDE, WEB, protocol, 0), "{protocol}");
        assert!(connects(&without, OUTSIDE, WEB, protocol, 0), "{protocol}");
    }
}

#[test]
fn egress_judges_the_pod_and_ingress_the_other_end() {
    let egress = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}";
    let desired = with(&[egress]);
    assert_eq!(destinations(&desired), [CLIENT, BATCH]);
    let ingress = "{podSelector: {matchLabels: {app: client}}, ingress: [{ports: [{port: 80}]}]}";
    let desired = with(&[egress, ingress]);
    assert!(connects(&desired, WEB, CLIENT, TCP, 80));
    assert!(!connects(&desired, WEB, CLIENT, TCP, 81), "the other end's ingress counts too");
    assert!(connects(&desired, WEB, BATCH, TCP, 81));
}
