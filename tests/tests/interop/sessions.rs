//! One session with each other speaker: routes of both families both ways, attributes, withdrawals.
//!
//! BIRD (1, AS 65001), tortie (2, AS 65002) and the other speaker (3) on one switch; BIRD and the other one hear each
//! other through tortie only.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Node,
    router::{Config, Kind, Peer, Router},
    wait_for,
};
use serde_json::Value;
use tests::{
    Test,
    seen::{Seen, birdc, seen, vtysh},
    speakers::{SOON, Status, addresses, list, nodes, number, text},
    test,
};

const BIRD: u32 = 65001;
const TORTIE: u32 = 65002;
const OTHER: u32 = 65003;
const TAGGED: &str = "203.0.113.0/24";
const TAGGED_V6: &str = "2001:db8:1::/48";

pub(super) fn labs() -> Vec<Test> {
    let bird = Kind::Bird.needs();
    let tortie = Kind::Tortie.needs();
    let with = |kind: Kind| [bird, tortie, kind.needs()];
    vec![
        test("routes_pass_between_bird_and_external_bird", &with(Kind::Bird), |lab| exchange(lab, Kind::Bird, OTHER)),
        test("routes_pass_between_bird_and_external_frr", &with(Kind::Frr), |lab| exchange(lab, Kind::Frr, OTHER)),
        test("routes_pass_between_bird_and_external_gobgp", &with(Kind::GoBgp), |lab| {
            exchange(lab, Kind::GoBgp, OTHER)
        }),
        test("routes_pass_between_bird_and_external_exabgp", &with(Kind::ExaBgp), |lab| {
            exchange(lab, Kind::ExaBgp, OTHER)
        }),
        test("routes_pass_between_bird_and_external_openbgpd", &with(Kind::OpenBgpd), |lab| {
            exchange(lab, Kind::OpenBgpd, OTHER)
        }),
        test("routes_pass_between_bird_and_internal_bird", &with(Kind::Bird), |lab| exchange(lab, Kind::Bird, TORTIE)),
        test("routes_pass_between_bird_and_internal_frr", &with(Kind::Frr), |lab| exchange(lab, Kind::Frr, TORTIE)),
        test("routes_pass_between_bird_and_internal_gobgp", &with(Kind::GoBgp), |lab| {
            exchange(lab, Kind::GoBgp, TORTIE)
        }),
        test("routes_pass_between_bird_and_internal_exabgp", &with(Kind::ExaBgp), |lab| {
            exchange(lab, Kind::ExaBgp, TORTIE)
        }),
        test("a_refresh_that_the_peer_asks_for_is_answered", &with(Kind::Frr), refresh),
    ]
}

/// The routers of a lab, sessions up.
struct Three {
    bird: Router,
    tortie: Router,
    other: Router,
    status: Status,
}

fn start(nodes: &[Node; 3], kind: Kind, other_as: u32) -> Result<Three> {
    let config = |number: u8, local_as| Config::new(local_as, [192, 0, 2, number].into());
    let peer = |number: u8, remote_as| Peer::new(addresses(number).0, remote_as);
    let mut bird = config(1, BIRD).peer(peer(2, TORTIE)).network(TAGGED_V6);
    bird.extra.push(format!(
        "protocol static tagged {{ ipv4; route {TAGGED} unreachable {{ bgp_community.add((65001,77)); \
         bgp_large_community.add((65001,1,2)); }}; }}"
    ));
    let mut tortie = config(2, TORTIE).peer(peer(1, BIRD)).peer(peer(3, other_as));
    tortie = tortie.network("10.65.0.0/26").network("fd65::/64");
    tortie.ipv6_next_hop = Some(addresses(2).1);
    let mut other = config(3, other_as).peer(peer(2, TORTIE)).network("198.51.100.0/24").network("2001:db8:3::/48");
    other.ipv6_next_hop = Some(addresses(3).1);
    other.hold_time = 30;
    let [one, two, three] = nodes;
    let bird = Router::start(Kind::Bird, one, bird)?;
    let tortie = Router::start(Kind::Tortie, two, tortie)?;
    let other = Router::start(kind, three, other)?;
    let status = Status::of_router(&tortie);
    for number in [1, 3] {
        status.wait_established(&addresses(number).0.to_string())?;
    }
    other.wait_established(addresses(2).0, SOON)?;
    Ok(Three { bird, tortie, other, status })
}

fn exchange(lab: &Lab, kind: Kind, other_as: u32) -> Result<()> {
    let nodes = nodes(lab, ["bird", "tortie", "other"])?;
    let mut three = start(&nodes, kind, other_as)?;
    let internal = other_as == TORTIE;
    check_session(&three.status.peer(&addresses(3).0.to_string())?)?;

    // What BIRD announces reaches the other one. Inside the AS the next hop stays, across its border it is tortie.
    let via = if internal { addresses(1) } else { addresses(2) };
    three.other.wait_route(TAGGED, &[via.0], SOON)?;
    three.other.wait_route(TAGGED_V6, &[via.1], SOON)?;
    three.other.wait_route("10.65.0.0/26", &[addresses(2).0], SOON)?;
    three.other.wait_route("fd65::/64", &[addresses(2).1], SOON)?;
    if kind != Kind::OpenBgpd {
        check_attributes(&seen(&three.other, TAGGED)?, internal)?;
    }

    // And the other way round. OpenBGPD announces IPv6 prefixes with ::1 over an IPv4 session on Linux.
    let v6_back = kind != Kind::OpenBgpd;
    three.bird.wait_route("198.51.100.0/24", &[addresses(2).0], SOON)?;
    if v6_back {
        three.bird.wait_route("2001:db8:3::/48", &[addresses(2).1], SOON)?;
        three.status.wait_kernel("2001:db8:3::/48", &[addresses(3).1])?;
    } else {
        three.status.wait_why("2001:db8:3::/48", "192.0.2.3", "NextHopMartian")?;
    }
    let path = if internal { vec![TORTIE] } else { vec![TORTIE, OTHER] };
    ensure!(seen(&three.bird, "198.51.100.0/24")?.as_path == path, "{:?}", seen(&three.bird, "198.51.100.0/24")?);
    for (prefix, from) in [(TAGGED, 1), ("198.51.100.0/24", 3)] {
        three.status.wait_kernel(prefix, &[addresses(from).0])?;
    }
    three.status.wait_kernel(TAGGED_V6, &[addresses(1).1])?;
    withdrawals(&mut three, via, v6_back)
}

/// Both families on one session, and the smaller hold time of the two.
fn check_session(peer: &Value) -> Result<()> {
    let families: Vec<_> = list(peer, "families").iter().map(|family| text(family, "family")).collect();
    ensure!(families == ["ipv4", "ipv6"], "families {families:?}");
    let timers = (number(peer, "/holdTime"), number(peer, "/keepaliveTime"));
    ensure!(timers == (9, 3), "hold and keepalive {timers:?}");
    Ok(())
}

fn check_attributes(seen: &Seen, internal: bool) -> Result<()> {
    let communities = BTreeSet::from(["65001:77".to_owned()]);
    let large = BTreeSet::from(["65001:1:2".to_owned()]);
    ensure!(seen.communities == communities && seen.large_communities == large, "communities: {seen:?}");
    ensure!(seen.originator_id.is_none() && seen.cluster_list.is_empty(), "not reflected: {seen:?}");
    if internal {
        ensure!(seen.as_path == [BIRD], "AS_PATH: {seen:?}");
        ensure!(seen.local_pref == Some(100), "LOCAL_PREF goes to internal peers: {seen:?}");
    } else {
        ensure!(seen.as_path == [TORTIE, BIRD], "AS_PATH: {seen:?}");
    }
    Ok(())
}

fn withdrawals(three: &mut Three, via: (IpAddr, IpAddr), v6_back: bool) -> Result<()> {
    for (prefix, other_hop, bird_hop) in
        [("192.88.99.0/24", via.0, addresses(2).0), ("2001:db8:99::/48", via.1, addresses(2).1)]
    {
        three.bird.announce(prefix)?;
        three.other.wait_route(prefix, &[other_hop], SOON)?;
        three.bird.withdraw(prefix)?;
        three.other.wait_route(prefix, &[], SOON)?;
        three.status.wait_kernel(prefix, &[])?;
        if bird_hop.is_ipv6() && !v6_back {
            continue;
        }
        three.other.announce(prefix)?;
        three.bird.wait_route(prefix, &[bird_hop], SOON)?;
        three.other.withdraw(prefix)?;
        three.bird.wait_route(prefix, &[], SOON)?;
        three.status.wait_kernel(prefix, &[])?;
    }
    // Nothing of this cost a session.
    for peer in list(&three.status.ask(&["show", "peers"])?, "peers") {
        ensure!(number(peer, "/flaps") == 0 && text(peer, "state") == "Established", "{peer}");
    }
    ensure!(three.tortie.processes().iter_mut().all(|process| process.is_running().unwrap_or(false)), "bgpd has ended");
    Ok(())
}

/// Import updates received by BIRD in the IPv4 channel of its peer.
fn updates_received(bird: &Router) -> Result<u32> {
    let answer = birdc(bird, "show protocols all peer0")?;
    let line = answer.lines().find(|line| line.contains("Import updates:")).context("no counters")?;
    line.split_whitespace().nth(2).and_then(|count| count.parse().ok()).with_context(|| line.to_owned())
}

fn refresh(lab: &Lab) -> Result<()> {
    let nodes = nodes(lab, ["bird", "tortie", "other"])?;
    let three = start(&nodes, Kind::Frr, OTHER)?;
    three.bird.wait_route("10.65.0.0/26", &[addresses(2).0], SOON)?;
    three.bird.wait_route("198.51.100.0/24", &[addresses(2).0], SOON)?;
    three.other.wait_route("10.65.0.0/26", &[addresses(2).0], SOON)?;
    three.other.wait_route(TAGGED, &[addresses(2).0], SOON)?;
    let before = updates_received(&three.bird)?;
    birdc(&three.bird, "reload in peer0")?;
    wait_for("the table once more at BIRD", SOON, || Ok((updates_received(&three.bird)? >= before + 2).then_some(())))?;
    // FRR asks when its policy changes, and shows that what came is judged anew.
    let family = "address-family ipv4 unicast";
    let neighbor = addresses(2).0;
    let frr = |commands: &[&str]| commands.iter().try_for_each(|command| vtysh(&three.other, command).map(drop));
    let sent = || Ok::<_, anyhow::Error>(number(&three.status.peer("192.0.2.3")?, "/messagesSent/UPDATE"));
    let before = sent()?;
    frr(&[&format!("clear bgp ipv4 unicast {neighbor} soft in")])?;
    wait_for("updates to FRR", SOON, || Ok((sent()? > before).then_some(())))?;
    let received = number(&three.status.peer("192.0.2.3")?, "/messagesReceived/ROUTE-REFRESH");
    ensure!(received > 0, "FRR asked for {family}, the counter says {received}");
    three.other.wait_route(TAGGED, &[addresses(2).0], SOON)?;
    three.bird.wait_route("10.65.0.0/26", &[addresses(2).0], SOON)?;
    Ok(())
}
