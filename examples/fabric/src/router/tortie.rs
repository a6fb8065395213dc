//! tortie's own bgpd on a static file.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{At, Driver, Peer, RECORDING, Routes, lines, write};
use crate::binary;

pub(super) struct Tortie;

impl Driver for Tortie {
    fn write(&self, at: &At<'_>) -> Result<()> {
        for peer in &at.config.peers {
            if let Some(password) = &peer.password {
                write(&at.directory.join(password_file(peer)), &format!("{password}\n"))?;
            }
        }
        write(&at.directory.join("bgpd.yaml"), &configuration(at))
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        let mut command = Command::new(binary("bgpd")?);
        command.arg("run").arg("--static").arg(at.directory.join("bgpd.yaml"));
        if at.config.recorded {
            command.arg("--record").arg(at.directory.join(RECORDING));
        }
        Ok(vec![("tortie-bgpd", command)])
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        let reply = ask(at, &["show", "peers"])?;
        let peers = reply.get("peers").and_then(Value::as_array).into_iter().flatten();
        Ok(peers
            .filter_map(|peer| {
                Some((peer.get("address")?.as_str()?.parse().ok()?, peer.get("state")?.as_str()?.to_owned()))
            })
            .collect())
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        let reply = ask(at, &["show", "routes"])?;
        let mut routes = Routes::new();
        for route in reply.get("routes").and_then(Value::as_array).into_iter().flatten() {
            let field = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
            if let (true, Ok(next_hop)) = (field("peer") != "local", field("nextHop").parse()) {
                routes.entry(field("prefix").to_owned()).or_default().push(next_hop);
            }
        }
        Ok(routes)
    }

    fn reload(&self, _: &At<'_>, _: &[String], _: &[String]) -> Result<()> {
        // bgpd follows its file.
        Ok(())
    }
}

fn password_file(peer: &Peer) -> String {
    format!("password-{}", peer.address)
}

/// JSON is YAML: each value is written as JSON, so that further keys can stand between them.
fn configuration(at: &At<'_>) -> String {
    let config = at.config;
    let mut top = vec![
        ("name", json!(at.node.name())),
        ("asNumber", json!(config.local_as)),
        ("routerId", json!(config.router_id)),
        ("originate", json!(config.networks)),
        ("socket", json!(at.directory.join("bgpd.sock"))),
        ("stateDirectory", json!(at.directory.join("state"))),
    ];
    top.extend(config.ipv6_next_hop.map(|address| ("ipv6NextHop", json!(address))));
    let mut text: String = top.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    text.push_str(&lines("", &config.extra));
    if config.peers.is_empty() {
        return text;
    }
    text.push_str("peers:\n");
    for peer in &config.peers {
        let _ = writeln!(
            text,
            "- name: \"{0}\"\n  address: \"{0}\"\n  asNumber: {1}\n  holdTime: {2}\n  passive: {3}\n  \
             routeReflectorClient: {4}\n  import: accept\n  export: accept",
            peer.address, peer.remote_as, config.hold_time, peer.passive, peer.reflector_client
        );
        if peer.add_path {
            text.push_str("  addPath: {receive: true, sendMax: 8}\n");
        }
        if let Some(bfd) = peer.bfd {
            let _ = writeln!(text, "  bfd: {{minInterval: {}ms, multihop: {}}}", bfd.interval, bfd.multihop);
        }
        if peer.password.is_some() {
            let _ = writeln!(text, "  passwordFile: {}", json!(at.directory.join(password_file(peer))));
        }
        text.push_str(&lines("  ", &peer.extra));
    }
    text
}

fn ask(at: &At<'_>, words: &[&str]) -> Result<Value> {
    let program = binary("bgpd")?;
    let mut command = Command::new(&program);
    command.args(words).args(["-o", "json", "--socket"]).arg(at.directory.join("bgpd.sock"));
    let output = at.node.output(&mut command)?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("bgpd {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("bgpd {}", words.join(" ")))
}
