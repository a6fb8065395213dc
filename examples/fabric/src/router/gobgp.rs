//! GoBGP. It has no routes in the kernel.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{At, Driver, ESTABLISHED, Peer, Routes, is_ipv6, lines, write};

pub(super) struct GoBgp;

impl Driver for GoBgp {
    fn write(&self, at: &At<'_>) -> Result<()> {
        write(&at.directory.join("gobgpd.toml"), &configuration(at))
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        // Prefixes of its own are no part of its configuration.
        let mut script = String::from("gobgpd -f \"$1\" --pprof-disable & daemon=$!\n");
        for prefix in &at.config.networks {
            let _ = writeln!(script, "until {}; do sleep 0.1; done", add_command(at, prefix, "add").join(" "));
        }
        script.push_str("wait $daemon\n");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("gobgpd").arg(at.directory.join("gobgpd.toml"));
        Ok(vec![("gobgpd", command)])
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        parse_sessions(&at.node.run("gobgp", &["-j", "neighbor"])?)
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        let mut routes = Routes::new();
        for family in ["ipv4", "ipv6"] {
            routes.extend(parse_routes(&at.node.run("gobgp", &["-j", "global", "rib", "-a", family])?)?);
        }
        Ok(routes)
    }

    fn reload(&self, at: &At<'_>, announced: &[String], withdrawn: &[String]) -> Result<()> {
        for (prefixes, verb) in [(announced, "add"), (withdrawn, "del")] {
            for prefix in prefixes {
                let words = add_command(at, prefix, verb);
                at.node.run("gobgp", words.get(1..).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

fn add_command(at: &At<'_>, prefix: &str, verb: &str) -> Vec<String> {
    let family = if is_ipv6(prefix) { "ipv6" } else { "ipv4" };
    let mut words: Vec<_> =
        ["gobgp", "global", "rib", verb, prefix, "-a", family].iter().map(|&word| word.to_owned()).collect();
    if let (true, Some(next_hop)) = (is_ipv6(prefix), at.config.ipv6_next_hop) {
        words.splice(5..5, ["nexthop".to_owned(), next_hop.to_string()]);
    }
    words
}

fn configuration(at: &At<'_>) -> String {
    let config = at.config;
    let mut text = format!("[global.config]\nas = {}\nrouter-id = \"{}\"\n", config.local_as, config.router_id);
    text.push_str(&lines("", &config.extra));
    for peer in &config.peers {
        text.push_str(&peer_block(at, peer));
    }
    text
}

fn peer_block(at: &At<'_>, peer: &Peer) -> String {
    let config = at.config;
    let password = peer.password.as_ref().map(|it| format!("auth-password = \"{it}\"\n")).unwrap_or_default();
    let mut text = format!(
        "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n{password}\
         [neighbors.timers.config]\nconnect-retry = 1\nhold-time = {}\nkeepalive-interval = {}\n\
         idle-hold-time-after-reset = 1\n",
        peer.address,
        peer.remote_as,
        config.hold_time,
        config.hold_time / 3
    );
    if peer.passive {
        text.push_str("[neighbors.transport.config]\npassive-mode = true\n");
    }
    if peer.reflector_client {
        let _ = write!(
            text,
            "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
             route-reflector-cluster-id = \"{}\"\n",
            config.router_id
        );
    }
    // Without it GoBGP does not keep the routes of a peer that restarts.
    text.push_str("[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 30\n");
    if !config.graceful_restart {
        text.push_str("helper-only = true\n");
    }
    for family in ["ipv4-unicast", "ipv6-unicast"] {
        let _ = write!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
             [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
        );
        if peer.add_path {
            text.push_str("[neighbors.afi-safis.add-paths.config]\nreceive = true\nsend-max = 8\n");
        }
    }
    text + &lines("", &peer.extra)
}

/// Enumerations come as names or, from older versions, as numbers.
fn parse_sessions(text: &str) -> Result<BTreeMap<IpAddr, String>> {
    let peers: Vec<Value> = serde_json::from_str(text).with_context(|| format!("gobgp: {text}"))?;
    let mut sessions = BTreeMap::new();
    for state in peers.iter().filter_map(|peer| peer.get("state")) {
        let Some(address) = state.get("neighbor_address").and_then(Value::as_str).and_then(|a| a.parse().ok()) else {
            continue;
        };
        let word = match state.get("session_state") {
            Some(Value::String(word)) if word == "ESTABLISHED" => ESTABLISHED.to_owned(),
            Some(Value::Number(number)) if number.as_u64() == Some(6) => ESTABLISHED.to_owned(),
            other => other.map_or_else(|| "unknown".to_owned(), ToString::to_string),
        };
        sessions.insert(address, word);
    }
    Ok(sessions)
}

/// Paths of a peer have its address as `source-id`.
fn parse_routes(text: &str) -> Result<Routes> {
    let value: Value = serde_json::from_str(text).with_context(|| format!("gobgp: {text}"))?;
    let mut routes = Routes::new();
    for (prefix, paths) in value.as_object().into_iter().flatten() {
        for path in paths.as_array().into_iter().flatten() {
            let source = path.get("source-id").and_then(Value::as_str).unwrap_or_default();
            if source.is_empty() || source == "<nil>" || source == "invalid IP" {
                continue;
            }
            let attributes = path.get("attrs").and_then(Value::as_array).into_iter().flatten();
            let next_hops = attributes.filter_map(|a| a.get("nexthop")?.as_str()?.parse::<IpAddr>().ok());
            routes.entry(prefix.clone()).or_default().extend(next_hops);
        }
    }
    Ok(routes)
}
