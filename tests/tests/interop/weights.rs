//! Link bandwidth (RFC 10005): shares of the traffic in the kernel.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result};
use fabric::{
    Lab, Node,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use serde_json::Value;
use tests::{
    Test,
    speakers::{SOON, addresses, list, nodes, number, text},
    test,
};

const WEIGHTED: &str = "203.0.113.0/24";
/// Only one of the two says how wide it is.
const HALF_KNOWN: &str = "198.51.100.0/24";
/// 1 GB/s and 250 MB/s as single-precision numbers.
const WIDE: &str = "0x4e6e6b28";
const NARROW: &str = "0x4d6e6b28";

pub(super) fn labs() -> Vec<Test> {
    vec![test("the_kernel_shares_traffic_by_link_bandwidth", &[Kind::Bird.needs(), Kind::Tortie.needs()], shares)]
}

/// A BIRD that announces each prefix with these octets per second.
fn bird(number: u8, routes: &[(&str, Option<&str>)]) -> Config {
    let as_number = 65000 + u32::from(number);
    let mut text = "protocol static announced { ipv4 { preference 250; };".to_owned();
    for (prefix, bandwidth) in routes {
        let community =
            |bits: &str| format!("bgp_ext_community.add((generic, {:#x}, {bits}));", 0x0004_0000 | as_number);
        let community = bandwidth.map(community).unwrap_or_default();
        text.push_str(&format!(" route {prefix} unreachable {{ {community} }};"));
    }
    let mut config = Config::new(as_number, [192, 0, 2, number].into()).peer(Peer::new(addresses(3).0, 65003));
    config.extra.push(text + " }");
    config
}

/// Gateways of a prefix in the kernel, with their weights.
fn weights(node: &Node, prefix: &str) -> Result<BTreeMap<IpAddr, u64>> {
    let printed = node.run("ip", &["-j", "route", "show", prefix])?;
    let routes: Value = serde_json::from_str(&printed).with_context(|| printed.clone())?;
    let hops = routes.get(0).map(|route| list(route, "nexthops").to_vec()).unwrap_or_default();
    Ok(hops.iter().filter_map(|hop| Some((text(hop, "gateway").parse().ok()?, number(hop, "/weight")))).collect())
}

fn shares(lab: &Lab) -> Result<()> {
    let [one, two, three] = nodes(lab, ["wide", "narrow", "tortie"])?;
    let _wide = Router::start(Kind::Bird, &one, bird(1, &[(WEIGHTED, Some(WIDE)), (HALF_KNOWN, Some(WIDE))]))?;
    let _narrow = Router::start(Kind::Bird, &two, bird(2, &[(WEIGHTED, Some(NARROW)), (HALF_KNOWN, None)]))?;
    let tortie = Config::new(65003, [192, 0, 2, 3].into());
    let tortie = tortie.peer(Peer::new(addresses(1).0, 65001)).peer(Peer::new(addresses(2).0, 65002));
    let tortie = Router::start(Kind::Tortie, &three, tortie)?;
    for (prefix, wanted) in [(WEIGHTED, [255, 64]), (HALF_KNOWN, [1, 1])] {
        let wanted = BTreeMap::from([(addresses(1).0, wanted[0]), (addresses(2).0, wanted[1])]);
        let mut last = BTreeMap::new();
        let waited = wait_until(&format!("{prefix} is shared as {wanted:?}"), SOON, || {
            last = weights(tortie.node(), prefix)?;
            Ok(last == wanted)
        });
        waited.with_context(|| format!("the kernel has {last:?}"))?;
    }
    Ok(())
}
