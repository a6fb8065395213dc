//! A router's file changes while the router runs.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, nodes, text},
    test,
};

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_routers_file_is_followed_and_a_wrong_one_changes_nothing", &needs, followed)]
}

/// The file of a tortie router.
struct File(PathBuf);

impl File {
    fn text(&self) -> Result<String> {
        fs::read_to_string(&self.0).with_context(|| self.0.display().to_string())
    }

    fn write(&self, text: &str) -> Result<()> {
        fs::write(&self.0, text).with_context(|| self.0.display().to_string())
    }
}

fn followed(lab: &Lab) -> Result<()> {
    let [ours, theirs] = nodes(lab, ["ours", "theirs"])?;
    let [(our_v4, _), (their_v4, _)] = [addresses(1), addresses(2)];
    let config = Config::new(65001, [192, 0, 2, 1].into()).network("203.0.113.0/25").peer(Peer::new(their_v4, 65002));
    let mut tortie = Router::start(Kind::Tortie, &ours, config)?;
    let config = Config::new(65002, [192, 0, 2, 2].into()).network("198.51.100.0/25").peer(Peer::new(our_v4, 65001));
    let bird = Router::start(Kind::Bird, &theirs, config)?;
    let status = Status::of_router(&tortie);
    let name = their_v4.to_string();
    bird.wait_route("203.0.113.0/25", &[our_v4], SOON)?;
    let since = |status: &Status| -> Result<String> { Ok(text(&status.peer(&name)?, "since").to_owned()) };
    let established = since(&status)?;

    // Prefixes come and go on the same session.
    tortie.announce("203.0.113.128/25")?;
    bird.wait_route("203.0.113.128/25", &[our_v4], SOON)?;
    tortie.withdraw("203.0.113.0/25")?;
    bird.wait_route("203.0.113.0/25", &[], SOON)?;
    ensure!(since(&status)? == established, "the session was reset");

    // What is wrong is said, by field, value and what is allowed, and what was right stays.
    let file = File(ours.directory().join("tortie/bgpd.yaml"));
    let right = file.text()?;
    file.write(&right.replace("holdTime: ", "holdTime: 2 # "))?;
    let complaint = "peers[0].holdTime: 2s; allowed: 0, or 3 to 65535 seconds";
    wait_until("the complaint", SOON, || Ok(status.run(&["show", "peers"])?.1.contains(complaint)))?;
    ensure!(since(&status)? == established, "a wrong file reset the session");
    bird.wait_route("203.0.113.128/25", &[our_v4], SOON)?;

    // A peer goes with its session, and comes back.
    let alone = right.split_once("peers:").map(|(top, _)| top.to_owned()).context("a file with peers")?;
    file.write(&alone)?;
    wait_until("no peer", SOON, || Ok(status.peer_names()?.is_empty()))?;
    bird.wait_route("203.0.113.128/25", &[], SOON)?;
    file.write(&right)?;
    bird.wait_route("203.0.113.128/25", &[our_v4], SOON).map(drop)
}
