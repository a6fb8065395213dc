//! What a running bgpd records is played again and comes out the same.

use std::fs;

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, binary,
    router::{Config, Kind, Peer, Router},
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, nodes},
    test,
};

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Tortie.needs(), Kind::Bird.needs(), Kind::Frr.needs()];
    vec![test("a_recording_of_sessions_with_bird_and_frr_plays_again_to_the_octet", &needs, recorded)]
}

/// tortie (1) between BIRD (2) and FRR (3).
fn recorded(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["tortie", "bird", "frr"])?;
    let config = |number: u8| Config::new(65000 + u32::from(number), [192, 0, 2, number].into());
    let peer = |number: u8| Peer::new(addresses(number).0, 65000 + u32::from(number));
    let several = |number: u8| Peer { add_path: true, ..peer(number) };
    let mut ours = config(1).network("10.65.0.0/26").network("fd65::/64").peer(several(2)).peer(peer(3));
    ours.recorded = true;
    ours.ipv6_next_hop = Some(addresses(1).1);
    let tortie = Router::start(Kind::Tortie, &one, ours)?;
    let mut bird = Router::start(Kind::Bird, &two, config(2).network("203.0.113.0/24").peer(several(1)))?;
    let frr = Router::start(Kind::Frr, &three, config(3).network("198.51.100.0/24").peer(peer(1)))?;
    let via = [addresses(1).0];
    frr.wait_route("203.0.113.0/24", &via, SOON)?;
    bird.wait_route("198.51.100.0/24", &via, SOON)?;
    bird.withdraw("203.0.113.0/24")?;
    frr.wait_route("203.0.113.0/24", &[], SOON)?;
    Status::of_router(&tortie).wait_kernel("198.51.100.0/24", &[addresses(3).0])?;

    // A running bgpd goes on writing: what is there so far is played.
    let so_far = one.directory().join("so-far");
    let text = fs::read_to_string(tortie.recording()).context("the recording")?;
    fs::write(&so_far, &text)?;
    let replay = |file: &std::path::Path| -> Result<(bool, String)> {
        let output = std::process::Command::new(binary("bgpd")?).arg("replay").arg(file).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (same, said) = replay(&so_far)?;
    ensure!(same && said.contains("as expected"), "{said}");

    // It is a comparison: with one octet of a route sent to FRR changed, it says which message.
    let sent = text.lines().find(|line| line.starts_with("> c") && line.contains("nlri=203.0.113.0/24"));
    let sent = sent.with_context(|| format!("no UPDATE in {text}"))?;
    fs::write(&so_far, text.replacen(sent, &sent.replacen("18cb0071", "18cb0072", 1), 1))?;
    let (same, said) = replay(&so_far)?;
    ensure!(!same && said.contains("nlri=203.0.114.0/24") && said.contains("nlri=203.0.113.0/24"), "{said}");
    Ok(())
}
