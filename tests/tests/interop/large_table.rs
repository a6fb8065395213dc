//! A router with many routes: the kernel holds what the speaker chose, all of it and nothing else.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, list, nodes, text},
    test,
};

const ROUTES: usize = 25_000;

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Tortie.needs()];
    vec![test("the_kernel_has_what_the_speaker_chose_of_25_000_routes", &needs, table)]
}

fn prefix(number: usize) -> String {
    format!("{}.{}.{}.0/24", 20 + number / 65_536, number / 256 % 256, number % 256)
}

fn table(lab: &Lab) -> Result<()> {
    let [one, two] = nodes(lab, ["tortie", "bird"])?;
    let mut bird = Config::new(65002, [192, 0, 2, 2].into()).peer(Peer::new(addresses(1).0, 65001));
    bird.networks = (0..ROUTES).map(prefix).collect();
    let bird = Router::start(Kind::Bird, &two, bird)?;
    let config = Config::new(65001, [192, 0, 2, 1].into()).peer(Peer::new(addresses(2).0, 65002));
    let tortie = Router::start(Kind::Tortie, &one, config)?;
    let status = Status::of_router(&tortie);
    let mut found = BTreeMap::new();
    wait_until("every route in the kernel", SOON, || {
        found = one.kernel_routes("bgp")?;
        Ok(found.len() == ROUTES)
    })?;
    let chosen = status.ask(&["show", "routes"])?;
    let chosen: BTreeMap<_, _> = list(&chosen, "routes")
        .iter()
        .map(|route| (text(route, "prefix").to_owned(), vec![text(route, "nextHop").to_owned()]))
        .collect();
    ensure!(chosen == found, "{} routes chosen, {} in the kernel, or another way", chosen.len(), found.len());

    // With the session all of it goes.
    drop(bird);
    wait_until("no route in the kernel", SOON, || Ok(one.kernel_routes("bgp")?.is_empty())).map(drop)
}
