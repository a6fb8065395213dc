//! tortie's own bgpd on a static file.

use std::{collections::BTreeMap, net::IpAddr, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{At, Driver, Routes, write};
use crate::binary;

pub(super) struct Tortie;

impl Driver for Tortie {
    fn write(&self, at: &At<'_>) -> Result<()> {
        write(&at.directory.join("bgpd.yaml"), &serde_json::to_string_pretty(&configuration(at))?)
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        let mut command = Command::new(binary("bgpd")?);
        command.arg("run").arg("--static").arg(at.directory.join("bgpd.yaml"));
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
        // bgpd reads its static file anew when it changes.
        Ok(())
    }
}

fn configuration(at: &At<'_>) -> Value {
    let config = at.config;
    let peers: Vec<_> = config
        .peers
        .iter()
        .map(|peer| {
            json!({
                "name": peer.address.to_string(),
                "address": peer.address,
                "asNumber": peer.remote_as,
                "holdTime": config.hold_time,
                "passive": peer.passive,
                "routeReflectorClient": peer.reflector_client,
                "import": "accept",
                "export": "accept",
            })
        })
        .collect();
    json!({
        "name": at.node.name(),
        "asNumber": config.local_as,
        "routerId": config.router_id,
        "originate": config.networks,
        "peers": peers,
        "socket": at.directory.join("bgpd.sock"),
        "stateDirectory": at.directory.join("state"),
    })
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
