use serde_json::{Value, json};

use super::*;

fn pool(name: &str, cidr: &str, extra: Value) -> IpPool {
    let mut spec = json!({"cidr": cidr});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn view(pools: Vec<IpPool>) -> View {
    View {
        node: "node-a".into(),
        node_labels: labels(&[("rack", "1")]),
        pools,
        reservations: Vec::new(),
        configuration: Default::default(),
    }
}

fn choose(pools: Vec<IpPool>, asked_for: &[&str], namespace: &[(&str, &str)]) -> Result<Vec<String>, Refusal> {
    let asked_for: Vec<String> = asked_for.iter().map(|asked| (*asked).to_owned()).collect();
    let demand = Demand {
        family: Family::Ipv4,
        purpose: AllowedUse::Workload,
        asked_for: &asked_for,
        namespace_labels: &labels(namespace),
    };
    select(&view(pools), &demand).map(|chosen| chosen.into_iter().map(|pool| pool.name).collect())
}

#[test]
fn pools_of_the_family_are_tried_by_name() {
    let pools = vec![
        pool("b", "10.2.0.0/16", json!({})),
        pool("six", "fd00::/64", json!({})),
        pool("a", "10.1.0.0/16", json!({})),
    ];
    assert_eq!(choose(pools, &[], &[]).unwrap(), ["a", "b"]);
}

#[test]
fn each_rule_passes_a_pool_over_by_name() {
    let pools = vec![
        pool("disabled", "10.1.0.0/16", json!({"disabled": true})),
        pool("manual", "10.2.0.0/16", json!({"assignmentMode": "Manual"})),
        pool("tunnels", "10.3.0.0/16", json!({"allowedUses": ["Tunnel"]})),
        pool("elsewhere", "10.4.0.0/16", json!({"nodeSelector": "rack == '2'"})),
        pool("tenants", "10.5.0.0/16", json!({"namespaceSelector": "tenant == 'x'"})),
    ];
    let refusal = choose(pools, &[], &[("tenant", "y")]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no IPv4 IPPool may be used on node-a: disabled is disabled, manual is assigned from only when asked for by name, \
         tunnels does not allow use Workload, elsewhere does not select this node, tenants does not select the namespace"
    );
}

#[test]
fn a_pool_whose_selectors_match_is_used() {
    let both = json!({"nodeSelector": "rack == '1'", "namespaceSelector": "tenant == 'x'"});
    assert_eq!(choose(vec![pool("p", "10.1.0.0/16", both)], &[], &[("tenant", "x")]).unwrap(), ["p"]);
}

#[test]
fn a_pool_that_is_asked_for_by_name_or_prefix_needs_no_selector_to_match() {
    let pools = vec![
        pool("manual", "10.2.0.0/16", json!({"assignmentMode": "Manual"})),
        pool("elsewhere", "10.4.0.0/16", json!({"nodeSelector": "rack == '2'"})),
    ];
    assert_eq!(choose(pools, &["elsewhere", "10.2.0.0/16", "elsewhere"], &[]).unwrap(), ["elsewhere", "manual"]);
}

#[test]
fn a_pool_that_is_asked_for_and_closed_is_a_refusal() {
    let pools = || {
        vec![
            pool("disabled", "10.1.0.0/16", json!({"disabled": true})),
            pool("tunnels", "10.3.0.0/16", json!({"allowedUses": ["Tunnel"]})),
            pool("six", "fd00::/64", json!({})),
        ]
    };
    for (asked, sentence) in [
        ("disabled", "IPPool disabled is disabled"),
        ("tunnels", "IPPool tunnels does not allow use Workload"),
        ("six", "IPPool six is of the other address family"),
        ("absent", "there is no IPPool absent"),
    ] {
        assert_eq!(choose(pools(), &[asked], &[]).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn reservations_exhaust_a_block_alone_or_together() {
    let reservation = |cidrs: &[&str]| {
        let json = json!({"metadata": {"name": "r"}, "spec": {"reservedCIDRs": cidrs}});
        let mut view = view(Vec::new());
        view.reservations = vec![serde_json::from_value(json).unwrap()];
        Reservations::of(&view)
    };
    let block = "10.65.0.0/30".parse().unwrap();
    assert!(reservation(&["10.65.0.0/16"]).exhaust(&block));
    assert!(reservation(&["10.65.0.0/31", "10.65.0.2/31"]).exhaust(&block));
    assert!(!reservation(&["10.65.0.0/31", "10.65.0.2/32"]).exhaust(&block));
    assert_eq!(reservation(&["10.65.0.0/31", "10.65.0.2/32"]).within(&block), 3);
}

#[test]
fn a_node_may_have_twenty_blocks_unless_the_configuration_says_otherwise() {
    let mut view = view(Vec::new());
    assert_eq!(view.block_limit(), 20);
    view.configuration.max_blocks_per_host = 3;
    assert_eq!(view.block_limit(), 3);
}
