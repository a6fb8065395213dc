//! OpenBGPD. On Linux it has no routes in the kernel. It drops its privileges, so it needs real root.

use std::{
    collections::BTreeMap, fmt::Write as _, fs::Permissions, net::IpAddr, os::unix::fs::PermissionsExt,
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{At, Driver, ESTABLISHED, Peer, Routes, lines, write};

/// Its binary is called as ours; the search path must not decide.
const PROGRAM: &str = "/usr/sbin/bgpd";

pub(super) struct OpenBgpd;

impl Driver for OpenBgpd {
    fn write(&self, at: &At<'_>) -> Result<()> {
        // The home of its user, to which it confines itself.
        std::fs::create_dir_all("/run/openbgpd").context("making /run/openbgpd")?;
        let file = at.directory.join("bgpd.conf");
        write(&file, &configuration(at))?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).context("permissions of bgpd.conf")
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        let mut command = Command::new(PROGRAM);
        command.arg("-d").arg("-f").arg(at.directory.join("bgpd.conf"));
        Ok(vec![("openbgpd", command)])
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        let value = bgpctl(at, &["-j", "show", "neighbor"])?;
        let peers = value.get("neighbors").and_then(Value::as_array).into_iter().flatten();
        Ok(peers
            .filter_map(|peer| {
                let address = peer.get("remote_addr")?.as_str()?.parse().ok()?;
                Some((address, peer.get("state")?.as_str()?.to_owned()))
            })
            .map(|(address, state)| (address, if state == ESTABLISHED { ESTABLISHED.to_owned() } else { state }))
            .collect())
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        let value = bgpctl(at, &["-j", "show", "rib"])?;
        let mut routes = Routes::new();
        for entry in value.get("rib").and_then(Value::as_array).into_iter().flatten() {
            let own = entry.get("announced").and_then(Value::as_bool) == Some(true);
            let next_hop = entry.get("exit_nexthop").and_then(Value::as_str).and_then(|hop| hop.parse().ok());
            if let (false, Some(prefix), Some(next_hop)) = (own, entry.get("prefix").and_then(Value::as_str), next_hop)
            {
                routes.entry(prefix.to_owned()).or_default().push(next_hop);
            }
        }
        Ok(routes)
    }

    fn reload(&self, at: &At<'_>, announced: &[String], withdrawn: &[String]) -> Result<()> {
        let socket = socket(at);
        for (prefixes, verb) in [(announced, "add"), (withdrawn, "delete")] {
            for prefix in prefixes {
                at.node.run("bgpctl", &["-s", &socket, "network", verb, prefix])?;
            }
        }
        Ok(())
    }
}

fn socket(at: &At<'_>) -> String {
    at.directory.join("bgpd.sock").display().to_string()
}

fn configuration(at: &At<'_>) -> String {
    let config = at.config;
    let mut text = format!(
        "AS {}\nrouter-id {}\nholdtime {}\nconnect-retry 1\nfib-update no\nsocket \"{}\"\n",
        config.local_as,
        config.router_id,
        config.hold_time,
        socket(at)
    );
    for prefix in &config.networks {
        let _ = writeln!(text, "network {prefix}");
    }
    text.push_str(&lines("", &config.extra));
    for peer in &config.peers {
        text.push_str(&peer_block(peer));
    }
    text.push_str("allow from any\nallow to any\n");
    text
}

fn peer_block(peer: &Peer) -> String {
    let mut text = format!(
        "neighbor {} {{\n  remote-as {}\n  announce IPv4 unicast\n  announce IPv6 unicast\n",
        peer.address, peer.remote_as
    );
    if peer.passive {
        text.push_str("  passive\n");
    }
    if peer.reflector_client {
        text.push_str("  route-reflector\n");
    }
    text + &lines("  ", &peer.extra) + "}\n"
}

fn bgpctl(at: &At<'_>, words: &[&str]) -> Result<Value> {
    let socket = socket(at);
    let mut arguments = vec!["-s", socket.as_str()];
    arguments.extend(words);
    let text = at.node.run("bgpctl", &arguments)?;
    serde_json::from_str(&text).with_context(|| format!("bgpctl: {text}"))
}
