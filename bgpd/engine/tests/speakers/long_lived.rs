//! Long-lived graceful restart (RFC 9494).

use std::time::Duration;

use engine::wire::Community;
use engine::{
    AnyCommunity, Family, FilterAction, FilterRule, LongLivedRestart, Operation, OriginAttributes, PeerConfig,
    PerFamily, Prefix, RouteQuery, RouteStatus, RouteTable, SessionState, SpeakerConfig, Step, Why, Withheld,
};

use super::net::{Net, NodeId};
use super::{address, open_peer, speaker};

const PREFIX: &str = "203.0.113.0/24";
const RESTART: u64 = 120;
const STALE: u64 = 1000;

fn prefix() -> Prefix {
    PREFIX.parse().unwrap()
}

fn as_number(number: u8) -> u32 {
    65000 + u32::from(number)
}

fn long_lived() -> PerFamily<Option<LongLivedRestart>> {
    let one = LongLivedRestart { stale_time: Duration::from_secs(STALE), max_stale_time: Duration::MAX };
    PerFamily::new(Some(one), None)
}

fn capable(number: u8) -> PeerConfig {
    let mut peer = open_peer(&format!("n{number}"), &address(number), as_number(number));
    peer.long_lived_restart = long_lived();
    peer
}

fn restarted(number: u8) -> SpeakerConfig {
    let forwarding_preserved = PerFamily::new(true, true);
    SpeakerConfig { restarted: true, forwarding_preserved, ..speaker(as_number(number), number) }
}

/// A star: the middle one, 2, with 1, 3, 4, …; each pair as `peer` says of the two, the one and the other way.
fn star(seed: u64, others: u8, peer: impl Fn(u8, u8) -> PeerConfig) -> (Net, Vec<NodeId>) {
    let mut net = Net::new(seed);
    let nodes: Vec<NodeId> = (1..=others + 1).map(|n| net.add(&address(n), speaker(as_number(n), n))).collect();
    for other in (1..=others + 1).filter(|n| *n != 2) {
        net.set_peer(nodes[1], peer(2, other));
        net.set_peer(nodes[usize::from(other) - 1], peer(other, 2));
    }
    net.originate(nodes[0], PREFIX);
    net.run_secs(200);
    (net, nodes)
}

fn received(net: &mut Net, node: NodeId, peer: &str) -> Vec<RouteStatus> {
    let table = RouteTable::Received(peer.to_owned());
    net.speaker(node).routes(&RouteQuery { table, ..RouteQuery::default() })
}

fn is_long_lived(route: &RouteStatus) -> bool {
    route.attributes.communities.contains(&Community::LLGR_STALE)
}

/// The best path of the prefix.
fn best(net: &mut Net, node: NodeId) -> Option<RouteStatus> {
    let explanation = net.speaker(node).explain(prefix())?;
    explanation.candidates.into_iter().find(|it| it.best)
}

fn withheld(net: &mut Net, node: NodeId, peer: &str) -> Option<Withheld> {
    let explanation = net.speaker(node).explain(prefix()).expect("the prefix is known");
    explanation.withheld.iter().find(|it| *it.0 == *peer).map(|it| it.1)
}

/// 1 comes back, forwards as before if `forwarding`, and has nothing to say yet.
fn come_back(net: &mut Net, nodes: &[NodeId], forwarding: bool) {
    let mut config = if forwarding { restarted(1) } else { speaker(as_number(1), 1) };
    config.origin_sources = vec!["felix".to_owned()];
    net.restart(nodes[0], config);
    net.set_peer(nodes[0], capable(2));
    net.establish(&[(nodes[1], "n1"), (nodes[0], "n2")], 60);
}

#[test]
fn stale_routes_become_a_last_resort_after_the_restart_time_and_go_after_the_long_lived_one() {
    // 3 knows LLGR, 4 does not.
    let (mut net, nodes) = star(1, 3, |here, there| {
        let mut peer = capable(there);
        if here == 4 {
            peer.long_lived_restart = PerFamily::default();
        }
        peer
    });
    net.kill(nodes[0]);
    net.run_secs(RESTART - 2);
    assert!(!is_long_lived(&best(&mut net, nodes[1]).unwrap()), "an ordinary stale route first (RFC 4724)");
    assert_eq!(received(&mut net, nodes[3], "n2").len(), 1);
    net.run_secs(4);
    assert!(is_long_lived(&best(&mut net, nodes[1]).unwrap()));
    assert!(net.nodes[nodes[1]].fib.contains_key(&prefix()), "and still forwards");
    assert!(received(&mut net, nodes[2], "n2").iter().all(is_long_lived), "who knows of it is told");
    assert_eq!(received(&mut net, nodes[3], "n2").len(), 0, "who does not has it withdrawn");
    assert_eq!(withheld(&mut net, nodes[1], "n4"), Some(Withheld::LongLivedStale));
    net.run_secs(STALE - 4);
    assert!(best(&mut net, nodes[2]).is_some());
    net.run_secs(4);
    assert_eq!(best(&mut net, nodes[1]), None);
    assert_eq!(best(&mut net, nodes[2]), None);
    assert!(!net.speaker(nodes[1]).peer("n1").unwrap().helping);
}

#[test]
fn any_other_path_is_better_than_a_long_lived_stale_one() {
    let (mut net, nodes) = star(2, 2, |_, there| capable(there));
    let now = net.instant();
    let mut worse = OriginAttributes::new("a test");
    worse.communities = vec![Community::GRACEFUL_SHUTDOWN];
    net.speaker(nodes[2]).originate(now, "test", prefix(), worse);
    net.run_secs(5);
    assert_eq!(&*best(&mut net, nodes[1]).unwrap().peer, "n1");
    net.kill(nodes[0]);
    net.run_secs(RESTART + 2);
    assert_eq!(&*best(&mut net, nodes[1]).unwrap().peer, "n3");
    let candidates = net.speaker(nodes[1]).explain(prefix()).unwrap().candidates;
    let stale = candidates.iter().find(|it| &*it.peer == "n1").expect("kept");
    assert!(matches!(stale.why, Why::Lost(loss) if loss.step == Step::LongLivedStale), "{:?}", stale.why);
    net.withdraw(nodes[2], PREFIX);
    net.run_secs(5);
    assert_eq!(&*best(&mut net, nodes[1]).unwrap().peer, "n1", "a last resort");
}

#[test]
fn a_route_with_no_llgr_goes_when_the_restart_time_is_over() {
    let (mut net, nodes) = star(3, 2, |_, there| capable(there));
    let now = net.instant();
    let mut attributes = OriginAttributes::new("a test");
    attributes.communities = vec![Community::NO_LLGR];
    net.speaker(nodes[0]).originate(now, "test", prefix(), attributes);
    net.run_secs(5);
    net.kill(nodes[0]);
    net.run_secs(RESTART - 2);
    assert!(best(&mut net, nodes[2]).is_some());
    net.run_secs(4);
    assert_eq!(best(&mut net, nodes[1]), None);
    assert_eq!(best(&mut net, nodes[2]), None);
}

#[test]
fn a_peer_that_is_back_makes_its_routes_ordinary_ones_and_end_of_rib_ends_the_rest() {
    let (mut net, nodes) = star(4, 2, |_, there| capable(there));
    net.originate(nodes[0], "198.51.100.0/24");
    net.run_secs(5);
    net.kill(nodes[0]);
    net.run_secs(RESTART + 100);
    come_back(&mut net, &nodes, true);
    net.run_secs(20);
    assert!(is_long_lived(&best(&mut net, nodes[1]).unwrap()), "nothing is known anew yet");
    net.originate(nodes[0], PREFIX);
    net.run_secs(5);
    assert!(!is_long_lived(&best(&mut net, nodes[1]).unwrap()));
    assert!(!is_long_lived(&best(&mut net, nodes[2]).unwrap()));
    assert_eq!(received(&mut net, nodes[1], "n1").len(), 2);
    let now = net.instant();
    net.speaker(nodes[0]).origin_in_sync(now, "felix");
    net.run_secs(5);
    assert_eq!(received(&mut net, nodes[1], "n1").len(), 1);
    assert!(!net.speaker(nodes[1]).peer("n1").unwrap().helping);
    net.run_secs(2 * STALE);
    assert_eq!(net.nodes[nodes[1]].fib.len(), 1, "no timer is left");
}

#[test]
fn a_peer_that_is_back_without_having_forwarded_loses_its_long_lived_routes_at_once() {
    let (mut net, nodes) = star(5, 2, |_, there| capable(there));
    net.kill(nodes[0]);
    net.run_secs(RESTART + 100);
    assert!(best(&mut net, nodes[1]).is_some());
    come_back(&mut net, &nodes, false);
    net.run_secs(1);
    assert_eq!(best(&mut net, nodes[1]), None);
}

#[test]
fn a_peer_that_is_back_without_the_capability_loses_its_long_lived_routes_at_once() {
    let (mut net, nodes) = star(6, 2, |_, there| capable(there));
    net.kill(nodes[0]);
    net.run_secs(RESTART + 100);
    let mut config = restarted(1);
    config.origin_sources = vec!["felix".to_owned()];
    net.restart(nodes[0], config);
    net.set_peer(nodes[0], open_peer("n2", &address(2), as_number(2)));
    net.establish(&[(nodes[1], "n1")], 60);
    net.run_secs(1);
    assert_eq!(best(&mut net, nodes[1]), None);
}

#[test]
fn another_loss_neither_ends_nor_prolongs_the_long_lived_time() {
    let (mut net, nodes) = star(7, 2, |_, there| capable(there));
    net.kill(nodes[0]);
    // The long-lived time begins after RESTART and ends after RESTART + STALE.
    net.run_secs(RESTART + 500);
    come_back(&mut net, &nodes, true);
    net.kill(nodes[0]);
    net.run_secs(RESTART + 10);
    assert!(is_long_lived(&best(&mut net, nodes[1]).unwrap()), "not deleted by the second loss");
    let spent = net.now - Duration::from_secs(1000 + 200);
    net.run(Duration::from_secs(RESTART + STALE - 5) - spent);
    assert!(best(&mut net, nodes[1]).is_some());
    net.run_secs(10);
    assert_eq!(best(&mut net, nodes[1]), None);
}

#[test]
fn a_peer_lost_again_after_the_long_lived_time_before_it_has_told_all_has_nothing_kept() {
    let (mut net, nodes) = star(8, 2, |_, there| capable(there));
    net.kill(nodes[0]);
    net.run_secs(RESTART + STALE - 50);
    come_back(&mut net, &nodes, true);
    net.originate(nodes[0], "198.51.100.0/24");
    net.run_secs(100);
    assert!(best(&mut net, nodes[1]).is_some(), "it is still telling");
    net.kill(nodes[0]);
    net.run_secs(1);
    assert_eq!(received(&mut net, nodes[1], "n1").len(), 0);
}

#[test]
fn internal_peers_that_do_not_know_it_can_have_it_so_that_it_loses_everywhere() {
    let mut net = Net::new(9);
    let nodes: Vec<NodeId> = [(1, 65001), (2, 65002), (3, 65002), (4, 65004)]
        .map(|(n, as_number)| net.add(&address(n), speaker(as_number, n)))
        .into();
    net.set_peer(nodes[0], capable(2));
    net.set_peer(nodes[1], capable(1));
    for (here, there) in [(1usize, 3u8), (2, 2)] {
        let mut peer = open_peer(&format!("n{there}"), &address(there), 65002);
        peer.long_lived_to_all_internal = here == 1;
        peer.next_hop = engine::NextHopMode::SelfAddress;
        net.set_peer(nodes[here], peer);
    }
    net.set_peer(nodes[2], open_peer("n4", &address(4), 65004));
    net.set_peer(nodes[3], open_peer("n3", &address(3), 65002));
    net.originate(nodes[0], PREFIX);
    net.run_secs(100);
    assert!(best(&mut net, nodes[3]).is_some());
    net.kill(nodes[0]);
    net.run_secs(RESTART + 2);
    let told = received(&mut net, nodes[2], "n2");
    assert_eq!(told.len(), 1);
    assert!(is_long_lived(&told[0]) && told[0].attributes.communities.contains(&Community::NO_EXPORT));
    assert_eq!(told[0].attributes.local_pref, Some(0));
    assert_eq!(best(&mut net, nodes[3]), None, "it stays inside the AS");
}

#[test]
fn without_configuration_or_without_graceful_restart_the_capability_is_not_sent() {
    for (configured, graceful) in [(true, true), (true, false), (false, true)] {
        let (mut net, nodes) = star(10, 1, |here, there| {
            let mut peer = capable(there);
            if here == 1 {
                peer.graceful_restart.enabled = graceful;
                if !configured {
                    peer.long_lived_restart = PerFamily::default();
                }
            }
            peer
        });
        let sent = net.speaker(nodes[0]).peer("n2").unwrap().capabilities_sent.unwrap();
        let families = sent.long_lived_graceful_restart.map(|all| all.iter().map(|it| it.family).collect::<Vec<_>>());
        assert_eq!(families, (configured && graceful).then(|| vec![Family::Ipv4Unicast]));
        assert_eq!(net.state(nodes[0], "n2"), SessionState::Established);
        net.kill(nodes[0]);
        net.run_secs(RESTART + 10);
        assert_eq!(best(&mut net, nodes[1]).is_some(), configured && graceful);
    }
}

#[test]
fn the_time_that_a_peer_asks_for_has_a_configured_bound() {
    let (mut net, nodes) = star(11, 1, |here, there| {
        let mut peer = capable(there);
        if here == 2 {
            let most = Duration::from_secs(50);
            peer.long_lived_restart.v4 = Some(LongLivedRestart { stale_time: Duration::ZERO, max_stale_time: most });
        }
        peer
    });
    net.kill(nodes[0]);
    net.run_secs(RESTART + 48);
    assert!(best(&mut net, nodes[1]).is_some());
    net.run_secs(4);
    assert_eq!(best(&mut net, nodes[1]), None);
}

#[test]
fn a_restart_time_of_zero_leaves_the_long_lived_time_alone() {
    let (mut net, nodes) = star(12, 1, |here, there| {
        let mut peer = capable(there);
        if here == 1 {
            peer.graceful_restart.restart_time = Duration::ZERO;
        }
        peer
    });
    net.kill(nodes[0]);
    net.run_secs(1);
    assert!(is_long_lived(&best(&mut net, nodes[1]).unwrap()));
    net.run_secs(STALE - 5);
    assert!(best(&mut net, nodes[1]).is_some());
    net.run_secs(10);
    assert_eq!(best(&mut net, nodes[1]), None);
}

#[test]
fn a_changed_import_filter_leaves_the_mark_on_long_lived_routes() {
    let (mut net, nodes) = star(13, 1, |_, there| capable(there));
    net.kill(nodes[0]);
    net.run_secs(RESTART + 10);
    let mut peer = capable(1);
    let added = AnyCommunity::Standard(Community::new(65002, 7));
    let rule = FilterRule {
        name: "f".into(),
        prefix: None,
        learned: false,
        internal: None,
        community: None,
        as_path_prefix: Vec::new(),
        metric: None,
        action: FilterAction::Accept(vec![Operation::AddCommunity(added)]),
    };
    peer.filters.import = PerFamily::new(vec![rule].into(), Default::default());
    net.set_peer(nodes[1], peer);
    net.run_secs(1);
    let best = best(&mut net, nodes[1]).unwrap();
    assert!(is_long_lived(&best));
    assert!(best.attributes.communities.contains(&Community::new(65002, 7)));
}
