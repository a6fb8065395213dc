//! Filters of a peer: what they let in and out, what they change, and that a change needs no new session.

use engine::wire::{Community, LargeCommunity};
use engine::{
    AnyCommunity, FilterAction, FilterRule, Filters, Operation, PeerKind, PerFamily, Prefix, PrefixMatch, Refusal,
    RemoteAs, RouteQuery, RouteStatus, RouteTable, Why, Withheld,
};

use super::net::{Net, NodeId};
use super::{address, open_peer, speaker};

const TAG: Community = Community::new(65001, 7);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn rule(name: &str, within: &str, action: FilterAction) -> FilterRule {
    FilterRule {
        name: name.into(),
        prefix: Some(PrefixMatch { prefix: prefix(within), within: true, lengths: (0, 32), negated: false }),
        learned: false,
        internal: None,
        community: None,
        as_path_prefix: Vec::new(),
        metric: None,
        action,
    }
}

fn import(rules: Vec<FilterRule>) -> Filters {
    Filters { import: PerFamily::new(rules.into(), Default::default()), ..Filters::default() }
}

fn export(rules: Vec<FilterRule>) -> Filters {
    Filters { export: PerFamily::new(rules.into(), Default::default()), ..Filters::default() }
}

/// Node 1 (AS 65001) announces to node 2 (AS 65002), which tells node 3 (AS 65002).
fn line(net: &mut Net) -> [NodeId; 3] {
    let nodes = [(1, 65001), (2, 65002), (3, 65002)].map(|(n, a)| net.add(&address(n), speaker(a, n)));
    for (one, other) in [(0usize, 1usize), (1, 2)] {
        let numbers = [1u8, 2, 3];
        let as_numbers = [65001, 65002, 65002];
        for (from, to) in [(one, other), (other, one)] {
            let name = format!("n{}", numbers[to]);
            net.set_peer(nodes[from], open_peer(&name, &address(numbers[to]), as_numbers[to]));
        }
    }
    net.originate(nodes[0], "10.1.0.0/24");
    net.originate(nodes[0], "10.2.0.0/24");
    net.run_secs(5);
    nodes
}

/// Sets the filters of node 2 towards a peer.
fn filter(net: &mut Net, nodes: [NodeId; 3], peer: u8, filters: Filters) {
    let as_number = if peer == 1 { 65001 } else { 65002 };
    let mut config = open_peer(&format!("n{peer}"), &address(peer), as_number);
    config.filters = filters;
    net.set_peer(nodes[1], config);
    net.run_secs(5);
}

fn routes(net: &mut Net, node: NodeId, table: RouteTable) -> Vec<RouteStatus> {
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() })
}

fn prefixes(net: &mut Net, node: NodeId) -> Vec<String> {
    let best = routes(net, node, RouteTable::LocRib).into_iter().filter(|it| it.best);
    best.map(|it| it.prefix.to_string()).collect()
}

#[test]
fn a_filter_that_comes_changes_and_goes_acts_on_what_was_received_without_a_new_session() {
    let mut net = Net::new(1);
    let nodes = line(&mut net);
    let since = net.speaker(nodes[1]).peer("n1").unwrap().since;
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.1.0.0/24", "10.2.0.0/24"]);

    filter(&mut net, nodes, 1, import(vec![rule("first", "10.1.0.0/16", FilterAction::Reject)]));
    assert_eq!(prefixes(&mut net, nodes[1]), ["10.2.0.0/24"]);
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.2.0.0/24"]);
    assert!(!net.nodes[nodes[1]].fib.contains_key(&prefix("10.1.0.0/24")));
    let explanation = net.speaker(nodes[1]).explain(prefix("10.1.0.0/24")).unwrap();
    assert_eq!(explanation.candidates[0].why, Why::Refused(Refusal::Filter(0)));
    assert_eq!(explanation.candidates[0].rule.as_deref(), Some("first"));
    let status = net.speaker(nodes[1]).peer("n1").unwrap();
    assert_eq!((status.families[0].received, status.families[0].rejected), (2, 1));

    filter(&mut net, nodes, 1, import(vec![rule("other", "10.2.0.0/16", FilterAction::Reject)]));
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.1.0.0/24"]);
    filter(&mut net, nodes, 1, Filters::default());
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.1.0.0/24", "10.2.0.0/24"]);

    // What arrives later is judged alike.
    filter(&mut net, nodes, 1, import(vec![rule("late", "10.3.0.0/16", FilterAction::Reject)]));
    net.originate(nodes[0], "10.3.0.0/24");
    net.run_secs(5);
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.1.0.0/24", "10.2.0.0/24"]);
    let status = net.speaker(nodes[1]).peer("n1").unwrap();
    assert_eq!((status.since, status.flaps, status.refusals["Filter"]), (since, 0, 1));
}

#[test]
fn an_import_filter_changes_attributes_and_what_was_received_stays_visible() {
    let mut net = Net::new(2);
    let nodes = line(&mut net);
    let large = LargeCommunity { global: 65001, local1: 1, local2: 2 };
    let operations = vec![
        Operation::AddCommunity(AnyCommunity::Standard(TAG)),
        Operation::AddCommunity(AnyCommunity::Large(large)),
        Operation::Prepend(vec![65101, 65102]),
        Operation::SetMetric(512),
    ];
    filter(&mut net, nodes, 1, import(vec![rule("tag", "10.1.0.0/16", FilterAction::Accept(operations))]));
    let [changed, plain] = &routes(&mut net, nodes[2], RouteTable::LocRib)[..] else { panic!("two routes") };
    assert_eq!(changed.attributes.as_path.to_string(), "65101 65102 65001");
    assert_eq!(
        (&changed.attributes.communities[..], &changed.attributes.large_communities[..]),
        (&[TAG][..], &[large][..])
    );
    assert_eq!((plain.attributes.as_path.to_string().as_str(), plain.local_pref), ("65001", 100));
    let here = &routes(&mut net, nodes[1], RouteTable::LocRib)[0];
    assert_eq!(here.local_pref, 2_147_483_647 - 512);
    let received = routes(&mut net, nodes[1], RouteTable::Received("n1".to_owned()));
    assert_eq!(received[0].attributes.as_path.to_string(), "65001");
    assert!(received[0].attributes.communities.is_empty());

    // Changed twice, it is made of what was received, not of what was made of it.
    let operations = vec![Operation::Prepend(vec![65103])];
    filter(&mut net, nodes, 1, import(vec![rule("again", "10.1.0.0/16", FilterAction::Accept(operations))]));
    let changed = &routes(&mut net, nodes[2], RouteTable::LocRib)[0];
    assert_eq!((changed.attributes.as_path.to_string().as_str(), changed.local_pref), ("65103 65001", 100));
    assert!(changed.attributes.communities.is_empty());
    filter(&mut net, nodes, 1, Filters::default());
    assert_eq!(routes(&mut net, nodes[2], RouteTable::LocRib)[0].attributes.as_path.to_string(), "65001");
}

#[test]
fn an_export_filter_withholds_changes_and_names_its_rule() {
    let mut net = Net::new(3);
    let nodes = line(&mut net);
    let tag = FilterAction::Accept(vec![
        Operation::AddCommunity(AnyCommunity::Standard(TAG)),
        Operation::Prepend(vec![65009]),
        Operation::SetMetric(100),
    ]);
    let rules = vec![rule("no one", "10.1.0.0/16", FilterAction::Reject), rule("tag two", "10.2.0.0/16", tag)];
    filter(&mut net, nodes, 3, export(rules));
    assert_eq!(prefixes(&mut net, nodes[1]), ["10.1.0.0/24", "10.2.0.0/24"], "not for node 2 itself");
    let [two] = &routes(&mut net, nodes[2], RouteTable::LocRib)[..] else { panic!("one route") };
    assert_eq!((two.attributes.as_path.to_string().as_str(), two.local_pref), ("65009 65001", 2_147_483_547));
    assert_eq!(two.attributes.communities, [TAG]);
    let explanation = net.speaker(nodes[1]).explain(prefix("10.1.0.0/24")).unwrap();
    assert!(explanation.withheld.contains(&("n3".into(), Withheld::Filter(0))));
    assert_eq!(explanation.rules["n3"].as_ref(), "no one");
    let withheld = routes(&mut net, nodes[1], RouteTable::Withheld("n3".to_owned()));
    assert_eq!(withheld[0].rule.as_deref(), Some("no one"));

    // Towards another AS our own number comes first.
    let own = vec![rule("own", "10.9.0.0/16", FilterAction::Accept(vec![Operation::Prepend(vec![65009])]))];
    filter(&mut net, nodes, 1, export(own));
    net.originate(nodes[1], "10.9.0.0/24");
    net.run_secs(5);
    let learned = routes(&mut net, nodes[0], RouteTable::Received("n2".to_owned()));
    let told = learned.iter().find(|it| it.prefix == prefix("10.9.0.0/24")).unwrap();
    assert_eq!(told.attributes.as_path.to_string(), "65002 65009");
}

#[test]
fn a_nodes_router_gets_what_was_learned_only_if_a_filter_says_so() {
    let mut net = Net::new(4);
    let nodes = line(&mut net);
    let mut router = open_peer("n3", &address(3), 65002);
    router.kind = PeerKind::External;
    router.export = engine::ExportPolicy::BuiltIn;
    router.remote_as = RemoteAs::Exactly(65002);
    net.set_peer(nodes[1], router.clone());
    net.run_secs(5);
    assert!(prefixes(&mut net, nodes[2]).is_empty());
    let explanation = net.speaker(nodes[1]).explain(prefix("10.1.0.0/24")).unwrap();
    assert!(explanation.withheld.contains(&("n3".into(), Withheld::NotOurs)));

    let mut learned = rule("pass on", "10.1.0.0/16", FilterAction::Accept(Vec::new()));
    learned.learned = true;
    router.filters = export(vec![learned]);
    net.set_peer(nodes[1], router);
    net.run_secs(5);
    assert_eq!(prefixes(&mut net, nodes[2]), ["10.1.0.0/24"]);
}
