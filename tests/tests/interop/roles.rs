//! Roles and ONLY_TO_CUSTOMER (RFC 9234) with BIRD and FRR.

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use serde_json::Value;
use tests::{
    Test,
    seen::{birdc, vtysh},
    speakers::{SOON, Status, addresses, nodes, text},
    test,
};

const FROM_PROVIDER: &str = "203.0.113.0/24";
const FROM_PEER: &str = "198.51.100.0/24";
const OURS: &str = "192.88.99.0/24";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![
        test("what_a_provider_sends_goes_to_no_peer", &needs, no_leak),
        test("roles_that_do_not_match_keep_the_session_down", &needs, mismatch),
    ]
}

fn config(number: u8) -> Config {
    Config::new(65000 + u32::from(number), [192, 0, 2, number].into())
}

fn peer(number: u8, extra: &str) -> Peer {
    let mut peer = Peer::new(addresses(number).0, 65000 + u32::from(number));
    peer.extra = vec![extra.to_owned()];
    peer
}

/// BIRD (1) is tortie's (2) provider, FRR (3) its peer.
fn no_leak(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["bird", "tortie", "frr"])?;
    let bird = config(1).peer(peer(2, "local role provider; require roles yes;")).network(FROM_PROVIDER);
    let bird = Router::start(Kind::Bird, &one, bird)?;
    let frr = config(3).peer(peer(2, "neighbor 192.0.2.2 local-role peer strict-mode")).network(FROM_PEER);
    let frr = Router::start(Kind::Frr, &three, frr)?;
    let tortie = config(2).peer(peer(1, "role: customer\n  strictRole: true")).peer(peer(3, "role: peer"));
    let tortie = Router::start(Kind::Tortie, &two, tortie.network(OURS))?;
    let status = Status::of_router(&tortie);
    for (number, prefix) in [(1, FROM_PROVIDER), (3, FROM_PEER)] {
        status.wait_established(&addresses(number).0.to_string())?;
        status.wait_kernel(prefix, &[addresses(number).0])?;
    }
    // Ours goes both ways, marked for the peer; what either of them sent to neither.
    bird.wait_route(OURS, &[addresses(2).0], SOON)?;
    frr.wait_route(OURS, &[addresses(2).0], SOON)?;
    let marked = vtysh(&frr, &format!("show bgp ipv4 unicast {OURS} json"))?;
    let path: Value = serde_json::from_str(&marked).context("FRR's answer")?;
    ensure!(path.pointer("/paths/0/otc").and_then(Value::as_u64) == Some(65002), "marked by us: {marked}");
    for (prefix, at, neighbour) in [(FROM_PROVIDER, &frr, "192.0.2.3"), (FROM_PEER, &bird, "192.0.2.1")] {
        ensure!(!at.routes()?.contains_key(prefix), "{prefix} has leaked to {}", at.kind());
        let (_, explained) = status.run(&["explain", prefix])?;
        ensure!(explained.contains(&format!("{neighbour}: OnlyToCustomer")), "explain names the rule: {explained}");
    }
    let unmarked = birdc(&bird, &format!("show route {OURS} all"))?;
    ensure!(!unmarked.contains("otc"), "a provider is sent no mark: {unmarked}");
    Ok(())
}

fn mismatch(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["bird", "tortie", "frr"])?;
    let bird = Router::start(Kind::Bird, &one, config(1).peer(peer(2, "local role provider;")))?;
    let frr = config(3).peer(peer(2, "neighbor 192.0.2.2 local-role customer"));
    let frr = Router::start(Kind::Frr, &three, frr)?;
    let tortie = config(2).peer(peer(1, "role: provider")).peer(peer(3, "role: peer"));
    let tortie = Router::start(Kind::Tortie, &two, tortie)?;
    let status = Status::of_router(&tortie);
    for name in ["192.0.2.1", "192.0.2.3"] {
        wait_until(&format!("{name}: Role Mismatch"), SOON, || {
            let peer = status.peer(name)?;
            ensure!(text(&peer, "state") != "Established", "{peer}");
            Ok(text(&peer, "lastError").contains("2/11"))
        })?;
    }
    drop((bird, frr));
    Ok(())
}
