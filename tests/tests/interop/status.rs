//! What status says is so, and exit statuses mean what they say.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, list, nodes, number},
    test,
};

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Tortie.needs()];
    vec![
        test("what_is_said_to_be_advertised_is_what_the_peer_has", &needs, advertised),
        test("exit_statuses_tell_good_bad_unreachable_and_unknown_apart", &needs, exit_statuses),
    ]
}

fn pair(lab: &Lab, bird: Config) -> Result<(Router, Router, Status)> {
    let [one, two] = nodes(lab, ["tortie", "bird"])?;
    let mut tortie = Config::new(65001, [192, 0, 2, 1].into()).peer(Peer::new(addresses(2).0, 65002));
    for number in 0..50 {
        tortie = tortie.network(&format!("10.65.{number}.0/24"));
    }
    tortie.networks.insert("fd65::/64".to_owned());
    tortie.ipv6_next_hop = Some(addresses(1).1);
    let bird = Router::start(Kind::Bird, &two, bird)?;
    let tortie = Router::start(Kind::Tortie, &one, tortie)?;
    let status = Status::of_router(&tortie);
    Ok((tortie, bird, status))
}

fn bird_config() -> Config {
    Config::new(65002, [192, 0, 2, 2].into()).peer(Peer::new(addresses(1).0, 65001)).network("203.0.113.0/24")
}

fn advertised(lab: &Lab) -> Result<()> {
    let (_tortie, bird, status) = pair(lab, bird_config())?;
    status.wait_established("192.0.2.2")?;
    bird.wait_route("fd65::/64", &[addresses(1).1], SOON)?;
    wait_until("everything at BIRD", SOON, || Ok(bird.routes()?.len() == 51))?;
    let said: BTreeSet<_> = status.prefixes("advertised", "192.0.2.2")?.into_iter().collect();
    let held: BTreeSet<_> = bird.routes()?.into_keys().collect();
    ensure!(said == held, "only said: {:?}; only held: {:?}", &said - &held, &held - &said);
    let counted = list(&status.peer("192.0.2.2")?, "families").iter().map(|f| number(f, "/advertised")).sum::<u64>();
    ensure!(counted == 51, "the counter says {counted}");
    // Nothing is said to be advertised to a peer that is not there.
    drop(bird);
    status.wait_peer("192.0.2.2", "gone", |peer| tests::speakers::text(peer, "state") != "Established")?;
    let said = status.prefixes("advertised", "192.0.2.2")?;
    ensure!(said.is_empty(), "advertised to nobody: {said:?}");
    Ok(())
}

fn exit_statuses(lab: &Lab) -> Result<()> {
    let (mut tortie, mut bird, status) = pair(lab, bird_config())?;
    status.wait_established("192.0.2.2")?;
    status.wait_kernel("203.0.113.0/24", &[addresses(2).0])?;
    let check = |words: &[&str], wanted: i32| -> Result<()> {
        let (exit, printed) = status.run(words)?;
        ensure!(exit == wanted, "bgpd {}: {exit}, not {wanted}: {printed}", words.join(" "));
        ensure!(wanted < 3 || printed.lines().count() == 1, "an error is one line: {printed}");
        Ok(())
    };
    for words in [
        &["show", "peers"][..],
        &["show", "peer", "192.0.2.2"],
        &["show", "routes"],
        &["show", "routes", "203.0.113.0/24"],
        &["show", "advertised", "192.0.2.2"],
        &["show", "received", "192.0.2.2"],
        &["explain", "203.0.113.0/24"],
        &["explain", "203.0.113.7"],
    ] {
        check(words, 0)?;
    }
    for words in [
        &["show", "peer", "nobody"][..],
        &["show", "routes", "198.51.100.0/24"],
        &["show", "advertised", "nobody"],
        &["show", "received", "nobody"],
        &["explain", "198.51.100.0/24"],
        &["explain", "198.51.100.7"],
    ] {
        check(words, 4)?;
    }
    check(&["show", "routes", "no-prefix"], 2)?;
    bird.kill()?;
    status.wait_peer("192.0.2.2", "gone", |peer| tests::speakers::text(peer, "state") != "Established")?;
    check(&["show", "peers"], 1)?;
    check(&["show", "peer", "192.0.2.2"], 1)?;
    tortie.kill()?;
    check(&["show", "peers"], 3)?;
    check(&["explain", "203.0.113.0/24"], 3)
}
