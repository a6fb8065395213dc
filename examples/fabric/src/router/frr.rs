//! FRR: zebra, bgpd and, where a peer has BFD, bfdd, with their own run folder so that many run on one machine.

use std::{
    collections::BTreeMap, ffi::OsStr, fmt::Write as _, fs, net::IpAddr, os::unix::net::UnixStream, path::Path,
    process::Command, sync::Mutex,
};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use super::{At, Driver, Peer, Routes, is_ipv6, lines, write};

const FOLDER: &str = "/usr/lib/frr";

pub(super) struct Frr;

impl Driver for Frr {
    fn write(&self, at: &At<'_>) -> Result<()> {
        admit_root()?;
        write(&at.directory.join("zebra.conf"), "log stdout\n")?;
        write(&at.directory.join("bfdd.conf"), "log stdout\n")?;
        write(&at.directory.join("bgpd.conf"), &configuration(at))
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        let command = |name: &str| {
            let mut command = Command::new(format!("{FOLDER}/{name}"));
            command.args(["--user", "root", "--group", "root", "--vty_port", "0"]);
            command.arg("--config_file").arg(at.directory.join(format!("{name}.conf")));
            command.arg("--pid_file").arg(at.directory.join(format!("{name}.pid")));
            command.arg("--socket").arg(at.directory.join("zserv.api"));
            command.arg("--vty_socket").arg(at.directory);
            command.args(["--log", "stdout"]);
            command
        };
        // zebra leaves the routes of a bgpd that died in place.
        let mut zebra = command("zebra");
        zebra.arg("--retain");
        let mut daemons = vec![("zebra", zebra)];
        if at.config.peers.iter().any(|peer| peer.bfd.is_some()) {
            let mut bfdd = command("bfdd");
            bfdd.arg("--bfdctl").arg(at.directory.join("bfdd.sock"));
            daemons.push(("bfdd", bfdd));
        }
        daemons.push(("frr-bgpd", command("bgpd")));
        Ok(daemons)
    }

    /// bgpd tries to reach zebra at its start, and then not for ten seconds.
    fn is_ready(&self, at: &At<'_>, daemon: &str) -> bool {
        daemon != "zebra" || UnixStream::connect(at.directory.join("zserv.api")).is_ok()
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        parse_sessions(&vtysh(at, &["show bgp neighbors json"])?)
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        let mut routes = parse_routes(&vtysh(at, &["show bgp ipv4 unicast json"])?)?;
        routes.extend(parse_routes(&vtysh(at, &["show bgp ipv6 unicast json"])?)?);
        Ok(routes)
    }

    fn reload(&self, at: &At<'_>, announced: &[String], withdrawn: &[String]) -> Result<()> {
        let router = format!("router bgp {}", at.config.local_as);
        for (prefixes, no) in [(announced, ""), (withdrawn, "no ")] {
            for prefix in prefixes {
                let family = if is_ipv6(prefix) { "ipv6" } else { "ipv4" };
                let family = format!("address-family {family} unicast");
                let answer = vtysh(at, &["configure terminal", &router, &family, &format!("{no}network {prefix}")])?;
                ensure!(!answer.contains('%'), "vtysh: {answer}");
            }
        }
        Ok(())
    }
}

/// FRR wants its user in the group that may open its control sockets. Root is not, and a user namespace has no other
/// user; so root joins, in our own view of the group file.
fn admit_root() -> Result<()> {
    const FILE: &str = "/etc/group";
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let groups = fs::read_to_string(FILE).context("reading /etc/group")?;
    let admitted = |line: &str| match line.strip_prefix("frrvty:").and_then(|rest| rest.rsplit_once(':')) {
        Some((_, members)) if members.split(',').any(|member| member == "root") => None,
        Some((_, "")) => Some(format!("{line}root\n")),
        Some(_) => Some(format!("{line},root\n")),
        None => Some(format!("{line}\n")),
    };
    let Some(text) = groups.lines().map(admitted).collect::<Option<String>>() else { return Ok(()) };
    write(Path::new("/run/fabric/group"), &text)?;
    mount(Some("/run/fabric/group"), FILE, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("mount over /etc/group")
}

fn configuration(at: &At<'_>) -> String {
    let config = at.config;
    let mut text = format!(
        "log stdout\n{}router bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n \
         no bgp network import-check\n bgp bestpath as-path multipath-relax\n timers bgp {} {}\n",
        lines("", &config.extra),
        config.local_as,
        config.router_id,
        config.hold_time / 3,
        config.hold_time
    );
    if config.graceful_restart {
        text.push_str(" bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n");
    }
    for peer in &config.peers {
        let address = peer.address;
        let _ = write!(
            text,
            " neighbor {address} remote-as {}\n neighbor {address} timers connect 1\n \
             neighbor {address} advertisement-interval 0\n",
            peer.remote_as
        );
        if let Some(password) = &peer.password {
            let _ = writeln!(text, " neighbor {address} password {password}");
        }
        if peer.passive {
            let _ = writeln!(text, " neighbor {address} passive");
        }
        if let Some(bfd) = peer.bfd {
            let _ = writeln!(text, " neighbor {address} bfd 3 {0} {0}", bfd.interval);
            if bfd.multihop {
                let _ = writeln!(text, " neighbor {address} ebgp-multihop 4");
            }
            if bfd.graceful {
                let _ = writeln!(text, " neighbor {address} bfd check-control-plane-failure");
            }
        }
        text.push_str(&lines(" ", &peer.extra));
    }
    for (family, wanted) in [("ipv4", false), ("ipv6", true)] {
        let _ = writeln!(text, " address-family {family} unicast");
        for prefix in config.networks.iter().filter(|prefix| is_ipv6(prefix) == wanted) {
            let _ = writeln!(text, "  network {prefix}");
        }
        for peer in &config.peers {
            text.push_str(&activation(config.local_as, peer));
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

fn activation(local_as: u32, peer: &Peer) -> String {
    let address = peer.address;
    let mut text = format!("  neighbor {address} activate\n");
    if peer.reflector_client {
        let _ = writeln!(text, "  neighbor {address} route-reflector-client");
    } else if peer.remote_as == local_as {
        let _ = writeln!(text, "  neighbor {address} next-hop-self");
    }
    // It takes several paths unless told otherwise.
    if peer.add_path {
        let _ = writeln!(text, "  neighbor {address} addpath-tx-all-paths");
    }
    text
}

fn vtysh(at: &At<'_>, commands: &[&str]) -> Result<String> {
    // It writes what it was asked into the home folder.
    let home = format!("HOME={}", at.directory.display());
    let mut arguments = vec![home.as_ref(), "vtysh".as_ref(), "--vty_socket".as_ref(), at.directory.as_os_str()];
    for command in commands {
        arguments.extend(["-c".as_ref(), OsStr::new(command)]);
    }
    at.node.run("env", &arguments)
}

fn parse_sessions(text: &str) -> Result<BTreeMap<IpAddr, String>> {
    let value: Value = serde_json::from_str(text).with_context(|| format!("vtysh: {text}"))?;
    let peers = value.as_object().into_iter().flatten();
    Ok(peers
        .filter_map(|(address, peer)| Some((address.parse().ok()?, peer.get("bgpState")?.as_str()?.to_owned())))
        .collect())
}

fn parse_routes(text: &str) -> Result<Routes> {
    let value: Value = serde_json::from_str(text).with_context(|| format!("vtysh: {text}"))?;
    let mut routes = Routes::new();
    for (prefix, paths) in value.get("routes").and_then(Value::as_object).into_iter().flatten() {
        for path in paths.as_array().into_iter().flatten() {
            let learned = path.get("peerId").and_then(Value::as_str).is_some_and(|peer| peer != "(unspec)");
            if !learned || path.get("valid").and_then(Value::as_bool) != Some(true) {
                continue;
            }
            let hops = path.get("nexthops").and_then(Value::as_array).into_iter().flatten();
            // With a link-local next hop FRR lists both addresses; the global one is what was announced.
            let global = hops.filter(|hop| hop.get("scope").and_then(Value::as_str) != Some("link-local"));
            let addresses = global.filter_map(|hop| hop.get("ip")?.as_str()?.parse::<IpAddr>().ok());
            routes.entry(prefix.clone()).or_default().extend(addresses);
        }
    }
    Ok(routes)
}
