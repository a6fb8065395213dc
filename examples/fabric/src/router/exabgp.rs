//! ExaBGP. It has no table: what it heard is read from its events, and what it says is a file of commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    net::IpAddr,
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{At, Driver, ESTABLISHED, Peer, Routes, is_ipv6, lines, write};

pub(super) struct ExaBgp;

impl Driver for ExaBgp {
    fn write(&self, at: &At<'_>) -> Result<()> {
        write(&at.directory.join("exabgp.conf"), &configuration(at)?)?;
        // Events come on its standard input, commands go out on its standard output.
        let script = format!(
            "cd '{}'\nexec 3<&0\ncat <&3 >>events &\nexec tail -q -n +1 -s 0.05 -f networks commands\n",
            at.directory.display()
        );
        write(&at.directory.join("api.sh"), &script)?;
        for file in ["events", "commands"] {
            File::options().create(true).append(true).open(at.directory.join(file))?;
        }
        let networks: String =
            at.config.networks.iter().map(|prefix| format!("announce {}\n", route(at, prefix))).collect();
        write(&at.directory.join("networks"), &networks)
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        // A new run starts with what is to be announced now and has heard nothing.
        let script = "cd \"$1\" && : >commands && : >events && exec exabgp exabgp.conf";
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("exabgp").arg(at.directory);
        for (key, value) in [
            ("exabgp_daemon_user", "root"),
            ("exabgp_daemon_drop", "false"),
            ("exabgp_daemon_daemonize", "false"),
            ("exabgp_log_level", "INFO"),
            ("exabgp_log_destination", "stdout"),
            ("exabgp_api_ack", "false"),
            ("exabgp_api_cli", "false"),
            ("exabgp_tcp_bind", ""),
        ] {
            command.env(key, value);
        }
        Ok(vec![("exabgp", command)])
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        let mut sessions: BTreeMap<_, _> =
            at.config.peers.iter().map(|peer| (peer.address, "down".to_owned())).collect();
        for event in events(at)? {
            if let (Some(peer), Some(state)) = (peer_of(&event), text(&event, &["neighbor", "state"])) {
                let state = if state == "up" { ESTABLISHED } else { state };
                sessions.insert(peer, state.to_owned());
            }
        }
        Ok(sessions)
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        Ok(replay(&events(at)?))
    }

    fn reload(&self, at: &At<'_>, announced: &[String], withdrawn: &[String]) -> Result<()> {
        let mut commands = String::new();
        for (prefixes, verb) in [(announced, "announce"), (withdrawn, "withdraw")] {
            for prefix in prefixes {
                let _ = writeln!(commands, "{verb} {}", route(at, prefix));
            }
        }
        let mut file = File::options().append(true).open(at.directory.join("commands"))?;
        file.write_all(commands.as_bytes()).context("writing a command for ExaBGP")
    }
}

fn route(at: &At<'_>, prefix: &str) -> String {
    let next_hop = at.config.ipv6_next_hop.filter(|_| is_ipv6(prefix));
    format!("route {prefix} next-hop {}", next_hop.map_or_else(|| "self".to_owned(), |address| address.to_string()))
}

fn configuration(at: &At<'_>) -> Result<String> {
    let mut text =
        format!("process api {{\n  run /bin/sh {};\n  encoder json;\n}}\n", at.directory.join("api.sh").display());
    text.push_str(&lines("", &at.config.extra));
    for peer in &at.config.peers {
        text.push_str(&peer_block(at, peer, &local_address(at, peer.address)?));
    }
    Ok(text)
}

/// The source address the kernel would use towards a peer.
fn local_address(at: &At<'_>, peer: IpAddr) -> Result<String> {
    let answer = at.node.run("ip", &["-j", "route", "get", &peer.to_string()])?;
    let routes: Vec<Value> = serde_json::from_str(&answer).with_context(|| format!("ip: {answer}"))?;
    let source = routes.first().and_then(|route| route.get("prefsrc")?.as_str());
    source.map(ToOwned::to_owned).with_context(|| format!("no source address towards {peer}"))
}

fn peer_block(at: &At<'_>, peer: &Peer, local_address: &str) -> String {
    let config = at.config;
    let passive = if peer.passive { "  passive true;\n" } else { "" };
    format!(
        "neighbor {} {{\n  router-id {};\n  local-address {local_address};\n  local-as {};\n  peer-as {};\n  hold-time {};\n{passive}{}  \
         family {{ ipv4 unicast; ipv6 unicast; }}\n  \
         api {{ processes [ api ]; neighbor-changes; receive {{ parsed; update; }} }}\n}}\n",
        peer.address,
        config.router_id,
        config.local_as,
        peer.remote_as,
        config.hold_time,
        lines("  ", &peer.extra)
    )
}

fn events(at: &At<'_>) -> Result<Vec<Value>> {
    let text = fs::read_to_string(at.directory.join("events")).context("reading ExaBGP's events")?;
    // The last line may be half written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn at_path<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at_path(value, path)?.as_str()
}

fn peer_of(event: &Value) -> Option<IpAddr> {
    text(event, &["neighbor", "address", "peer"])?.parse().ok()
}

/// What is left of all announcements after all withdrawals and lost sessions.
fn replay(events: &[Value]) -> Routes {
    let mut held: BTreeMap<(String, IpAddr), IpAddr> = BTreeMap::new();
    for event in events {
        let Some(peer) = peer_of(event) else { continue };
        if text(event, &["neighbor", "state"]) == Some("down") {
            held.retain(|(_, from), _| *from != peer);
        }
        let update = ["neighbor", "message", "update"];
        let families = at_path(event, &[&update[..], &["announce"]].concat()).and_then(Value::as_object);
        for (next_hop, prefixes) in families.into_iter().flatten().filter_map(|(_, hops)| hops.as_object()).flatten() {
            // Of a global and a link-local address the global one comes first.
            let Some(next_hop) = next_hop.split_whitespace().next().and_then(|hop| hop.parse().ok()) else { continue };
            for prefix in prefixes_of(prefixes) {
                held.insert((prefix, peer), next_hop);
            }
        }
        let families = at_path(event, &[&update[..], &["withdraw"]].concat()).and_then(Value::as_object);
        let withdrawn: BTreeSet<_> = families.into_iter().flatten().flat_map(|(_, list)| prefixes_of(list)).collect();
        held.retain(|(prefix, from), _| *from != peer || !withdrawn.contains(prefix));
    }
    let mut routes = Routes::new();
    for ((prefix, _), next_hop) in held {
        routes.entry(prefix).or_default().push(next_hop);
    }
    routes
}

fn prefixes_of(list: &Value) -> Vec<String> {
    let nlri = list.as_array().into_iter().flatten();
    nlri.filter_map(|entry| entry.get("nlri")?.as_str()).map(ToOwned::to_owned).collect()
}
