//! What tortie does to AS_PATH and next hop between ASes, as others read it: a route server (RFC 7947), private numbers,
//! another AS number than its own (RFC 7705), its own AS in a path.

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    seen::seen,
    speakers::{SOON, Status, addresses, nodes},
    test,
};

const PREFIX: &str = "203.0.113.0/24";

pub(super) fn labs() -> Vec<Test> {
    let (bird, frr, gobgp, tortie) = (Kind::Bird.needs(), Kind::Frr.needs(), Kind::GoBgp.needs(), Kind::Tortie.needs());
    vec![
        test("clients_of_a_route_server_have_path_next_hop_and_med_as_sent", &[bird, frr, gobgp, tortie], route_server),
        test("frr_and_gobgp_read_paths_with_another_and_without_private_as", &[bird, frr, gobgp, tortie], rewritten),
        test("tortie_is_a_client_of_frrs_route_server", &[bird, frr, tortie], client),
        test("a_path_with_our_own_as_is_taken_as_often_as_allowed", &[bird, tortie], own_as),
    ]
}

fn config(number: u8, as_number: u32) -> Config {
    Config::new(as_number, [192, 0, 2, number].into())
}

fn peer(number: u8, as_number: u32, extra: &str) -> Peer {
    let mut peer = Peer::new(addresses(number).0, as_number);
    peer.extra.extend((!extra.is_empty()).then(|| extra.to_owned()));
    peer
}

/// A BIRD (1) that announces, `with` these attributes.
fn source(to: Peer, with: &str) -> Config {
    let mut config = config(1, 65001).peer(to);
    let route = format!("route {PREFIX} unreachable {{ {with} }};");
    config.extra.push(format!("protocol static announced {{ ipv4 {{ preference 250; }}; {route} }}"));
    config
}

const MED: &str = "bgp_med = 77;";

/// BIRD (1) by tortie (2), a route server, to FRR (3) and GoBGP (4).
fn route_server(lab: &Lab) -> Result<()> {
    let [one, two, three, four] = nodes(lab, ["bird", "tortie", "frr", "gobgp"])?;
    let _bird = Router::start(Kind::Bird, &one, source(peer(2, 65100, ""), MED))?;
    let frr = Router::start(Kind::Frr, &three, config(3, 65003).peer(peer(2, 65100, "no bgp enforce-first-as")))?;
    let gobgp = Router::start(Kind::GoBgp, &four, config(4, 65004).peer(peer(2, 65100, "")))?;
    let client = |number: u8| peer(number, 65000 + u32::from(number), "routeServerClient: true\n  role: routeServer");
    let tortie = config(2, 65100).peer(client(1)).peer(client(3)).peer(client(4));
    let _tortie = Router::start(Kind::Tortie, &two, tortie)?;
    for router in [&frr, &gobgp] {
        router.wait_route(PREFIX, &[addresses(1).0], SOON)?;
        let seen = seen(router, PREFIX)?;
        ensure!(seen.as_path == [65001] && seen.med == Some(77), "{}: {seen:?}", router.kind());
    }
    Ok(())
}

/// BIRD (1, private) by tortie (2) to FRR (3), to which tortie is another AS, and GoBGP (4), without private numbers.
fn rewritten(lab: &Lab) -> Result<()> {
    let [one, two, three, four] = nodes(lab, ["bird", "tortie", "frr", "gobgp"])?;
    let _bird = Router::start(Kind::Bird, &one, source(peer(2, 1000, ""), MED))?;
    let frr = Router::start(Kind::Frr, &three, config(3, 65003).peer(peer(2, 2000, "")))?;
    let gobgp = Router::start(Kind::GoBgp, &four, config(4, 65004).peer(peer(2, 1000, "")))?;
    let tortie = |frr: &str, gobgp: &str| {
        config(2, 1000).peer(peer(1, 65001, "")).peer(peer(3, 65003, frr)).peer(peer(4, 65004, gobgp))
    };
    let alone = "asPath: {local: {number: 2000}}";
    let mut router = Router::start(Kind::Tortie, &two, tortie(alone, "asPath: {removePrivate: remove}"))?;
    let wait = |frr_sees: &[u32], gobgp_sees: &[u32]| {
        for (router, wanted) in [(&frr, frr_sees), (&gobgp, gobgp_sees)] {
            router.wait_route(PREFIX, &[addresses(2).0], SOON)?;
            let what = format!("{} sees {wanted:?}", router.kind());
            wait_until(&what, SOON, || Ok(seen(router, PREFIX).is_ok_and(|seen| seen.as_path == wanted)))?;
        }
        anyhow::Ok(())
    };
    wait(&[2000, 65001], &[1000])?;
    let both = "asPath: {local: {number: 2000, prependOutbound: true}}";
    router.kill()?;
    drop(router);
    let _router = Router::start(Kind::Tortie, &two, tortie(both, "asPath: {removePrivate: replace}"))?;
    wait(&[2000, 1000, 65001], &[1000, 1000])
}

/// BIRD (1) by FRR's route server (2) to tortie (3).
fn client(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["bird", "frr", "tortie"])?;
    let _bird = Router::start(Kind::Bird, &one, source(peer(2, 65100, ""), MED))?;
    let mut server = config(2, 65100).peer(peer(1, 65001, "")).peer(peer(3, 65003, ""));
    let clients = "address-family ipv4 unicast\n  neighbor 192.0.2.1 route-server-client\n  \
                   neighbor 192.0.2.3 route-server-client\n exit-address-family";
    if let Some(peer) = server.peers.last_mut() {
        peer.extra.push(clients.to_owned());
    }
    let _server = Router::start(Kind::Frr, &two, server)?;
    let tortie = config(3, 65003).peer(peer(2, 65100, "asPath: {enforceFirst: false}"));
    let tortie = Router::start(Kind::Tortie, &three, tortie)?;
    // Packets go to BIRD and not to the server.
    Status::of_router(&tortie).wait_kernel(PREFIX, &[addresses(1).0])
}

/// BIRD (1) tells tortie (2) of a path that its AS is in.
fn own_as(lab: &Lab) -> Result<()> {
    let [one, two] = nodes(lab, ["bird", "tortie"])?;
    let bird = source(peer(2, 65002, ""), "bgp_path = +empty+; bgp_path.prepend(65002);");
    let _bird = Router::start(Kind::Bird, &one, bird)?;
    let tortie = |options| config(2, 65002).peer(peer(1, 65001, options));
    let mut router = Router::start(Kind::Tortie, &two, tortie(""))?;
    let status = Status::of_router(&router);
    wait_until("explain names the loop", SOON, || {
        let (_, explained) = status.run(&["explain", PREFIX])?;
        Ok(explained.contains("LoopAsPath (own AS 65002, allowed 0)"))
    })?;
    status.wait_kernel(PREFIX, &[])?;
    router.kill()?;
    drop(router);
    let router = Router::start(Kind::Tortie, &two, tortie("asPath: {allowOwn: 1}"))?;
    Status::of_router(&router).wait_kernel(PREFIX, &[addresses(1).0])
}
