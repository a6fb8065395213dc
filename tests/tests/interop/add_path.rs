//! ADD-PATH (RFC 7911) with each other speaker that knows it, both ways.
//!
//! Two BIRDs (1 and 2) announce the same prefixes to tortie (3) and to the other speaker (4); those two tell each other all
//! they have.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    seen::as_paths,
    speakers::{SOON, Status, addresses, list, nodes, number, text},
    test,
};

const TORTIE: u32 = 65003;
const OTHER: u32 = 65004;
const PREFIXES: [&str; 2] = ["203.0.113.0/24", "2001:db8:113::/48"];

pub(super) fn labs() -> Vec<Test> {
    let (bird, tortie) = (Kind::Bird.needs(), Kind::Tortie.needs());
    vec![
        test("all_paths_pass_between_tortie_and_bird", &[bird, tortie], |lab| all_paths(lab, Kind::Bird)),
        test("all_paths_pass_between_tortie_and_frr", &[bird, tortie, Kind::Frr.needs()], |lab| {
            all_paths(lab, Kind::Frr)
        }),
        test("all_paths_pass_between_tortie_and_gobgp", &[bird, tortie, Kind::GoBgp.needs()], |lab| {
            all_paths(lab, Kind::GoBgp)
        }),
    ]
}

fn texts(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// AS_PATHs of a prefix in one of tortie's tables, each with a Path Identifier of its own.
fn told(status: &Status, table: &str, prefix: &str) -> Result<BTreeSet<String>> {
    let reply = status.ask(&["show", table, "192.0.2.4"])?;
    let routes: Vec<_> = list(&reply, "routes").iter().filter(|route| text(route, "prefix") == prefix).collect();
    let ids: BTreeSet<u64> = routes.iter().map(|route| number(route, "/pathId")).collect();
    ensure!(ids.len() == routes.len() && !ids.contains(&0), "path ids in {table}: {reply}");
    Ok(routes.iter().map(|route| text(route, "asPath").to_owned()).collect())
}

/// Waits until the other speaker has these paths of tortie, and tortie these of the other one.
fn wait_both(other: &Router, status: &Status, prefix: &str, sources: &[u32]) -> Result<()> {
    let via = |first: u32| sources.iter().map(|source| format!("{first} {source}")).collect::<BTreeSet<_>>();
    wait_until(&format!("{prefix} from {sources:?} by way of tortie in {}", other.kind()), SOON, || {
        let mut there = as_paths(other, prefix)?;
        there.retain(|path| path.starts_with(&TORTIE.to_string()));
        Ok(there == via(TORTIE))
    })?;
    wait_until(&format!("{prefix} from {sources:?} by way of {} in tortie", other.kind()), SOON, || {
        let mut here = told(status, "received", prefix)?;
        // Some send back what came from us; it is refused for the loop.
        here.retain(|path| !path.contains(&TORTIE.to_string()));
        Ok(here == via(OTHER))
    })?;
    Ok(())
}

fn all_paths(lab: &Lab, kind: Kind) -> Result<()> {
    let [one, two, three, four] = nodes(lab, ["one", "two", "tortie", "other"])?;
    let config = |number: u8| {
        let mut config = Config::new(65000 + u32::from(number), [192, 0, 2, number].into());
        config.ipv6_next_hop = Some(addresses(number).1);
        config
    };
    let peer = |number: u8| Peer::new(addresses(number).0, 65000 + u32::from(number));
    let several = |number: u8| Peer { add_path: true, ..peer(number) };
    let source = |number: u8| {
        PREFIXES.iter().fold(config(number).peer(peer(3)).peer(peer(4)), |config, prefix| config.network(prefix))
    };
    let mut first = Router::start(Kind::Bird, &one, source(1))?;
    let _second = Router::start(Kind::Bird, &two, source(2))?;
    let tortie = Router::start(Kind::Tortie, &three, config(3).peer(peer(1)).peer(peer(2)).peer(several(4)))?;
    let other = Router::start(kind, &four, config(4).peer(peer(1)).peer(peer(2)).peer(several(3)))?;
    let status = Status::of_router(&tortie);
    status.wait_established("192.0.2.4")?;
    for prefix in PREFIXES {
        wait_both(&other, &status, prefix, &[65001, 65002])?;
        let sent = told(&status, "advertised", prefix)?;
        ensure!(sent.is_superset(&texts(&["65003 65001", "65003 65002"])), "advertised: {sent:?}");
    }
    // One path goes, the other one stays; and it comes back.
    first.withdraw(PREFIXES[0])?;
    wait_both(&other, &status, PREFIXES[0], &[65002])?;
    first.announce(PREFIXES[0])?;
    wait_both(&other, &status, PREFIXES[0], &[65001, 65002])?;
    let flaps = number(&status.peer("192.0.2.4")?, "/flaps");
    ensure!(flaps == 0, "the session was lost {flaps} times");
    Ok(())
}
