//! A peer that is not there delays nobody else after a restart.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Kind, Router},
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, nodes},
    test,
};

use super::lab::{remote_config, tortie_config};

/// How long peers that are not there are waited for, and what a loaded machine needs on top.
const ABSENT_WAIT: Duration = Duration::from_millis(5000 + 1000);
/// Nobody is there.
const DEAD: u8 = 9;

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Tortie.needs()];
    vec![test("a_dead_peer_does_not_hold_up_the_routes_of_the_living", &needs, dead_peer)]
}

fn dead_peer(lab: &Lab) -> Result<()> {
    let nodes = nodes(lab, ["tortie", "a", "b", "c", "d"])?;
    let mut birds = Vec::new();
    for (number, node) in (2..).zip(&nodes[1..]) {
        birds.push((number, Router::start(Kind::Bird, node, remote_config(number))?));
    }
    let mut tortie = Router::start(Kind::Tortie, &nodes[0], tortie_config([2, 3, 4, 5, DEAD]))?;
    let status = Status::of_router(&tortie);
    for (number, _) in &birds {
        status.wait_kernel(&format!("203.0.{number}.0/24"), &[addresses(*number).0])?;
    }
    tortie.kill()?;
    for (number, bird) in &mut birds {
        bird.announce(&format!("198.51.{number}.0/24"))?;
    }
    tortie.restart()?;
    for (number, _) in &birds {
        status.wait_established(&addresses(*number).0.to_string())?;
    }
    let start = Instant::now();
    for (number, _) in &birds {
        status.wait_kernel(&format!("198.51.{number}.0/24"), &[addresses(*number).0])?;
    }
    ensure!(start.elapsed() < ABSENT_WAIT, "it took {:?} from the last session on", start.elapsed());
    // And they hear of each other's.
    for (number, bird) in &birds {
        let other = if *number == 2 { 3 } else { 2 };
        bird.wait_route(&format!("198.51.{other}.0/24"), &[addresses(1).0], SOON)?;
    }
    let (exit, _) = status.run(&["show", "peers"])?;
    ensure!(exit == 1, "one peer is down, and the exit status is {exit}");
    Ok(())
}
