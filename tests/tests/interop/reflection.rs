//! tortie as a route reflector (RFC 4456).

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use fabric::{
    Lab,
    router::{Config, Kind, Peer, Router},
};
use tests::{
    Test,
    seen::seen,
    speakers::{SOON, Status, addresses, nodes},
    test,
};

const AS: u32 = 65010;
const CLUSTER_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

pub(super) fn labs() -> Vec<Test> {
    let with = |kind: Kind| [Kind::Bird.needs(), Kind::Tortie.needs(), kind.needs()];
    let needs = [Kind::Bird.needs(), Kind::Frr.needs(), Kind::Tortie.needs()];
    vec![
        test("clients_hear_each_other_through_a_reflector", &needs, clients),
        test("non_clients_hear_clients_only", &needs, non_clients),
        test("bird_reflects_to_tortie", &needs, |lab| reflected(lab, Kind::Bird)),
        test("frr_reflects_to_tortie", &needs, |lab| reflected(lab, Kind::Frr)),
        test("gobgp_reflects_to_tortie", &with(Kind::GoBgp), |lab| reflected(lab, Kind::GoBgp)),
        test("openbgpd_reflects_to_tortie", &with(Kind::OpenBgpd), |lab| reflected(lab, Kind::OpenBgpd)),
    ]
}

/// A router `number` of the AS that announces one prefix of each family and peers with the reflector (1).
fn router(lab_node: &fabric::Node, kind: Kind, number: u8) -> Result<Router> {
    let config = Config::new(AS, [192, 0, 2, number].into()).peer(Peer::new(addresses(1).0, AS));
    let config = config.network(&format!("203.0.{number}.0/24")).network(&format!("2001:db8:{number}::/48"));
    Router::start(kind, lab_node, config)
}

fn reflector(node: &fabric::Node, clients: &[(u8, bool)]) -> Result<Router> {
    let mut config = Config::new(AS, [192, 0, 2, 1].into());
    config.extra = vec![format!("clusterId: {CLUSTER_ID}"), "installRoutes: false".to_owned()];
    for &(number, reflector_client) in clients {
        config = config.peer(Peer { reflector_client, ..Peer::new(addresses(number).0, AS) });
    }
    Router::start(Kind::Tortie, node, config)
}

fn clients(lab: &Lab) -> Result<()> {
    let [reflecting, one, two, three] = nodes(lab, ["reflector", "one", "two", "three"])?;
    let tortie = reflector(&reflecting, &[(2, true), (3, true), (4, true)])?;
    let mut routers = [router(&one, Kind::Bird, 2)?, router(&two, Kind::Bird, 3)?, router(&three, Kind::Frr, 4)?];
    for router in &routers {
        router.wait_established(addresses(1).0, SOON)?;
    }
    for (listener, router) in (2..).zip(&routers) {
        for speaker in (2..=4).filter(|&speaker| speaker != listener) {
            // The next hop is the client that announced it: the reflector is not in the path.
            let (v4, v6) = addresses(speaker);
            let prefix = format!("203.0.{speaker}.0/24");
            router.wait_route(&prefix, &[v4], SOON)?;
            router.wait_route(&format!("2001:db8:{speaker}::/48"), &[v6], SOON)?;
            let seen = seen(router, &prefix)?;
            ensure!(seen.originator_id == Some(v4), "ORIGINATOR_ID is the client's identifier: {seen:?}");
            ensure!(seen.cluster_list == [IpAddr::V4(CLUSTER_ID)], "CLUSTER_LIST is the reflector's id: {seen:?}");
            ensure!(seen.as_path.is_empty() && seen.local_pref == Some(100), "everything else stays: {seen:?}");
        }
    }
    let kernel = reflecting.kernel_routes("bgp")?;
    ensure!(kernel.is_empty(), "a pure reflector keeps its kernel clean: {kernel:?}");
    routers[0].withdraw("203.0.2.0/24")?;
    routers[1].wait_route("203.0.2.0/24", &[], SOON)?;
    routers[2].wait_route("203.0.2.0/24", &[], SOON)?;
    // Nothing comes back to the client that announced it.
    let back = Status::of_router(&tortie).prefixes("advertised", "192.0.2.3")?;
    ensure!(!back.contains(&"203.0.3.0/24".to_owned()), "advertised to its own source: {back:?}");
    Ok(())
}

fn non_clients(lab: &Lab) -> Result<()> {
    let [reflecting, one, two, three] = nodes(lab, ["reflector", "one", "two", "three"])?;
    let tortie = reflector(&reflecting, &[(2, true), (3, false), (4, false)])?;
    let (client, bird, frr) =
        (router(&one, Kind::Bird, 2)?, router(&two, Kind::Bird, 3)?, router(&three, Kind::Frr, 4)?);
    let client_prefix = "203.0.2.0/24";
    bird.wait_route(client_prefix, &[addresses(2).0], SOON)?;
    frr.wait_route(client_prefix, &[addresses(2).0], SOON)?;
    client.wait_route("203.0.3.0/24", &[addresses(3).0], SOON)?;
    client.wait_route("203.0.4.0/24", &[addresses(4).0], SOON)?;
    let status = Status::of_router(&tortie);
    let to_frr = status.prefixes("advertised", "192.0.2.4")?;
    ensure!(to_frr == [client_prefix, "2001:db8:2::/48"], "to a non-client go the client's routes only: {to_frr:?}");
    let (_, explained) = status.run(&["explain", "203.0.3.0/24"])?;
    ensure!(explained.contains("NonClient"), "explain names the rule: {explained}");
    ensure!(!frr.routes()?.contains_key("203.0.3.0/24"), "FRR has a non-client's route");
    Ok(())
}

/// tortie (3) hears BIRD (2) through a reflector of another maker (1), and BIRD hears tortie.
fn reflected(lab: &Lab, kind: Kind) -> Result<()> {
    let [one, two, three] = nodes(lab, ["reflector", "bird", "tortie"])?;
    let clients = [2, 3].map(|number| Peer { reflector_client: true, ..Peer::new(addresses(number).0, AS) });
    let config = clients.into_iter().fold(Config::new(AS, [192, 0, 2, 1].into()), Config::peer);
    let _reflector = Router::start(kind, &one, config)?;
    let mut bird = router(&two, Kind::Bird, 2)?;
    let tortie = router(&three, Kind::Tortie, 3)?;
    let status = Status::of_router(&tortie);
    status.wait_established("192.0.2.1")?;
    // The next hop is BIRD: nobody put itself into the path.
    status.wait_kernel("203.0.2.0/24", &[addresses(2).0])?;
    bird.wait_route("203.0.3.0/24", &[addresses(3).0], SOON)?;
    let there = seen(&bird, "203.0.3.0/24")?;
    ensure!(there.originator_id == Some(addresses(3).0), "ORIGINATOR_ID is tortie: {there:?}");
    bird.withdraw("203.0.2.0/24")?;
    status.wait_kernel("203.0.2.0/24", &[])
}
