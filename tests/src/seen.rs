//! A route as a router of another maker has received it, read through that router's own commands.

use std::{collections::BTreeSet, fs, net::IpAddr};

use anyhow::{Context, Result, bail};
use fabric::router::{Kind, Router};
use serde_json::Value;

/// Path attributes of the best path to a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// AS_PATH, leftmost first.
    pub as_path: Vec<u32>,
    /// COMMUNITIES as `65001:77`.
    pub communities: BTreeSet<String>,
    /// LARGE_COMMUNITY as `65001:1:2`.
    pub large_communities: BTreeSet<String>,
    /// MULTI_EXIT_DISC; routers that do not tell none from zero give none.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<IpAddr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<IpAddr>,
}

/// Reads a route.
///
/// # Errors
/// When the router has none, or does not answer.
pub fn seen(router: &Router, prefix: &str) -> Result<Seen> {
    let read = match router.kind() {
        Kind::Bird => bird(router, prefix),
        Kind::Frr => frr(router, prefix),
        Kind::GoBgp => gobgp(router, prefix),
        Kind::ExaBgp => exabgp(router, prefix),
        kind => bail!("no way to read attributes from {kind}"),
    };
    read.with_context(|| format!("{prefix} in {} of {}", router.kind(), router.node().name()))
}

/// AS_PATHs of all paths to a prefix that a router has, each as text.
///
/// # Errors
/// When the router does not answer.
pub fn as_paths(router: &Router, prefix: &str) -> Result<BTreeSet<String>> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    Ok(match router.kind() {
        Kind::Bird => {
            let answer = birdc(router, &format!("show route {prefix} all"))?;
            let paths = answer.lines().filter_map(|line| line.trim().strip_prefix("BGP.as_path:"));
            paths.map(|path| path.trim().to_owned()).collect()
        }
        Kind::Frr => {
            let answer = vtysh(router, &format!("show bgp {family} unicast {prefix} json"))?;
            let value: Value = serde_json::from_str(&answer).with_context(|| answer)?;
            let paths = value.get("paths").and_then(Value::as_array).into_iter().flatten();
            paths.filter_map(|path| Some(path.pointer("/aspath/string")?.as_str()?.to_owned())).collect()
        }
        Kind::GoBgp => {
            let answer = router.node().run("gobgp", &["-j", "global", "rib", "-a", family])?;
            let value: Value = serde_json::from_str(&answer).with_context(|| answer)?;
            let paths = value.get(prefix).and_then(Value::as_array).into_iter().flatten();
            paths.map(|path| gobgp_attributes(path.get("attrs")).as_path).map(|path| joined(&path)).collect()
        }
        kind => bail!("no way to read all paths from {kind}"),
    })
}

fn joined(path: &[u32]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Asks BIRD.
///
/// # Errors
/// When it does not answer.
pub fn birdc(router: &Router, request: &str) -> Result<String> {
    let socket = router.node().directory().join("bird/bird.ctl");
    router.node().run("birdc", &["-s".as_ref(), socket.as_os_str(), request.as_ref()])
}

/// Asks FRR.
///
/// # Errors
/// When it does not answer.
pub fn vtysh(router: &Router, request: &str) -> Result<String> {
    let folder = router.node().directory().join("frr");
    router.node().run("vtysh", &["--vty_socket".as_ref(), folder.as_os_str(), "-c".as_ref(), request.as_ref()])
}

fn bird(router: &Router, prefix: &str) -> Result<Seen> {
    let answer = birdc(router, &format!("show route {prefix} all"))?;
    let mut seen = Seen::default();
    let mut found = false;
    for line in answer.lines() {
        let Some((name, value)) = line.trim().split_once(':') else { continue };
        let words = || value.split_whitespace();
        match name {
            "BGP.as_path" => {
                if std::mem::replace(&mut found, true) {
                    // The next path; the best one comes first.
                    break;
                }
                seen.as_path = words().filter_map(|word| word.parse().ok()).collect();
            }
            "BGP.community" => seen.communities = bird_tuples(value),
            "BGP.large_community" => seen.large_communities = bird_tuples(value),
            "BGP.med" => seen.med = value.trim().parse().ok(),
            "BGP.local_pref" => seen.local_pref = value.trim().parse().ok(),
            "BGP.originator_id" => seen.originator_id = value.trim().parse().ok(),
            "BGP.cluster_list" => seen.cluster_list = words().filter_map(|word| word.parse().ok()).collect(),
            _ => {}
        }
    }
    if found { Ok(seen) } else { bail!("not there: {answer}") }
}

/// `(65001,77) (65001, 1, 2)`
fn bird_tuples(text: &str) -> BTreeSet<String> {
    let tuples = text.split(['(', ')']).map(|tuple| tuple.split(',').map(str::trim).collect::<Vec<_>>().join(":"));
    tuples.filter(|tuple| tuple.contains(':')).collect()
}

fn frr(router: &Router, prefix: &str) -> Result<Seen> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    let answer = vtysh(router, &format!("show bgp {family} unicast {prefix} json"))?;
    let value: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let path = value.pointer("/paths/0").with_context(|| format!("not there: {answer}"))?;
    let words = |pointer: &str| path.pointer(pointer).and_then(Value::as_str).unwrap_or_default().split_whitespace();
    let number = |key: &str| path.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let clusters = path.pointer("/clusterList/list").and_then(Value::as_array);
    Ok(Seen {
        as_path: words("/aspath/string").filter_map(|word| word.parse().ok()).collect(),
        communities: words("/community/string").map(ToOwned::to_owned).collect(),
        large_communities: words("/largeCommunity/string").map(ToOwned::to_owned).collect(),
        med: number("metric").filter(|&med| med != 0),
        local_pref: number("locPrf"),
        originator_id: words("/originatorId").next().and_then(|id| id.parse().ok()),
        cluster_list: clusters.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect(),
    })
}

/// Attribute type codes.
const AS_PATH: u64 = 2;
const MED: u64 = 4;
const LOCAL_PREF: u64 = 5;
const COMMUNITIES: u64 = 8;
const ORIGINATOR_ID: u64 = 9;
const CLUSTER_LIST: u64 = 10;
const LARGE_COMMUNITY: u64 = 32;

fn gobgp(router: &Router, prefix: &str) -> Result<Seen> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    let answer = router.node().run("gobgp", &["-j", "global", "rib", "-a", family])?;
    let value: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let attributes = value.get(prefix).and_then(|paths| paths.pointer("/0/attrs"));
    Ok(gobgp_attributes(Some(attributes.with_context(|| format!("not there: {answer}"))?)))
}

fn gobgp_attributes(attributes: Option<&Value>) -> Seen {
    let mut seen = Seen::default();
    for attribute in attributes.and_then(Value::as_array).into_iter().flatten() {
        let value = attribute.get("value");
        let entries = || value.and_then(Value::as_array).into_iter().flatten();
        let metric = attribute.get("metric").or(value).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        match attribute.get("type").and_then(Value::as_u64).unwrap_or_default() {
            AS_PATH => {
                let segments = attribute.get("as_paths").and_then(Value::as_array).into_iter().flatten();
                let asns = segments.filter_map(|segment| segment.get("asns")?.as_array()).flatten();
                seen.as_path = asns.filter_map(as_u32).collect();
            }
            MED => seen.med = metric,
            LOCAL_PREF => seen.local_pref = metric,
            COMMUNITIES => {
                let attribute = attribute.get("communities").and_then(Value::as_array);
                let numbers = attribute.into_iter().flatten().filter_map(as_u32);
                seen.communities = numbers.map(|c| format!("{}:{}", c >> 16, c & 0xffff)).collect();
            }
            ORIGINATOR_ID => seen.originator_id = value.and_then(Value::as_str).and_then(|id| id.parse().ok()),
            CLUSTER_LIST => seen.cluster_list = entries().filter_map(|id| id.as_str()?.parse().ok()).collect(),
            LARGE_COMMUNITY => {
                let parts = |c: &Value| {
                    let part = |key: &str| c.get(key).and_then(as_u32);
                    Some(format!("{}:{}:{}", part("ASN")?, part("LocalData1")?, part("LocalData2")?))
                };
                seen.large_communities = entries().filter_map(parts).collect();
            }
            _ => {}
        }
    }
    seen
}

fn exabgp(router: &Router, prefix: &str) -> Result<Seen> {
    let events = fs::read_to_string(router.node().directory().join("exabgp/events")).context("ExaBGP's events")?;
    let updates = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let updates = updates.filter_map(|event| event.pointer("/neighbor/message/update").cloned());
    let announces = |update: &Value| {
        let families = update.get("announce").and_then(Value::as_object).into_iter().flatten();
        let hops = families.filter_map(|(_, hops)| hops.as_object()).flatten();
        let nlri = hops.filter_map(|(_, nlri)| nlri.as_array()).flatten();
        nlri.into_iter().any(|entry| entry.get("nlri").and_then(Value::as_str) == Some(prefix))
    };
    let update = updates.filter(announces).reduce(|_, later| later).context("never announced")?;
    let attributes = update.get("attribute").cloned().unwrap_or_default();
    let entries = |key: &str| attributes.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |key: &str| attributes.get(key).and_then(as_u32);
    let joined = |entry: &Value| {
        let parts = entry.as_array().into_iter().flatten();
        parts.map(ToString::to_string).collect::<Vec<_>>().join(":")
    };
    Ok(Seen {
        as_path: entries("as-path").iter().filter_map(as_u32).collect(),
        communities: entries("community").iter().map(joined).collect(),
        large_communities: entries("large-community").iter().map(joined).collect(),
        med: number("med"),
        local_pref: number("local-preference"),
        originator_id: attributes.get("originator-id").and_then(|id| id.as_str()?.parse().ok()),
        cluster_list: entries("cluster-list").iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
    })
}

fn as_u32(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}
