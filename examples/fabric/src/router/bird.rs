//! BIRD 2.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, process::Command};

use anyhow::{Result, ensure};

use super::{At, Driver, ESTABLISHED, Peer, Routes, is_ipv6, lines, write};

pub(super) struct Bird;

impl Driver for Bird {
    fn write(&self, at: &At<'_>) -> Result<()> {
        write(&at.directory.join("bird.conf"), &configuration(at))
    }

    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>> {
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(at.directory.join("bird.conf"));
        command.arg("-s").arg(at.directory.join("bird.ctl")).arg("-P").arg(at.directory.join("bird.pid"));
        Ok(vec![("bird", command)])
    }

    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>> {
        Ok(parse_sessions(&birdc(at, "show protocols")?, &at.config.peers))
    }

    fn routes(&self, at: &At<'_>) -> Result<Routes> {
        let mut routes = Routes::new();
        for table in ["master4", "master6"] {
            routes.extend(parse_routes(&birdc(at, &format!("show route table {table} where source = RTS_BGP"))?));
        }
        Ok(routes)
    }

    fn reload(&self, at: &At<'_>, _: &[String], _: &[String]) -> Result<()> {
        let answer = birdc(at, "configure")?;
        ensure!(answer.contains("Reconfigured") || answer.contains("Reconfiguration in progress"), "birdc: {answer}");
        Ok(())
    }
}

fn configuration(at: &At<'_>) -> String {
    let config = at.config;
    let mut text = format!(
        "log stderr all;\nrouter id {};\nprotocol device {{ scan time 5; }}\nprotocol direct {{ ipv4; ipv6; }}\n",
        config.router_id
    );
    if config.graceful_restart {
        text.push_str("graceful restart wait 20;\n");
    }
    for (name, family, wanted) in [("4", "ipv4", false), ("6", "ipv6", true)] {
        let _ = write!(
            text,
            "protocol kernel kernel{name} {{ merge paths on; persist; scan time 5;\n  \
             {family} {{ import none; export where source = RTS_BGP; }};\n}}\n\
             protocol static networks{name} {{\n  {family} {{ preference 250; }};\n"
        );
        for prefix in config.networks.iter().filter(|prefix| is_ipv6(prefix) == wanted) {
            let _ = writeln!(text, "  route {prefix} unreachable;");
        }
        text.push_str("}\n");
    }
    if let Some(bfd) = config.peers.iter().find_map(|peer| peer.bfd) {
        let timers = format!("{{ interval {} ms; idle tx interval 1 s; multiplier 3; }}", bfd.interval);
        let _ = writeln!(text, "protocol bfd {{ interface \"*\" {timers}; multihop {timers}; }}");
    }
    text.push_str(&lines("", &config.extra));
    for (number, peer) in config.peers.iter().enumerate() {
        text.push_str(&peer_block(at, number, peer));
    }
    text
}

fn peer_block(at: &At<'_>, number: usize, peer: &Peer) -> String {
    let config = at.config;
    let internal = peer.remote_as == config.local_as;
    // Without it a next hop learned from outside would go into the AS, where nobody knows it.
    let next_hop_self = if internal && !peer.reflector_client { " next hop self;" } else { "" };
    let add_path = if peer.add_path { " add paths on;" } else { "" };
    let channel = format!("import all; export where source ~ [ RTS_BGP, RTS_STATIC ];{next_hop_self}{add_path}");
    let mut text = format!(
        "protocol bgp peer{number} {{\n  local as {};\n  neighbor {} as {};\n  hold time {};\n  \
         connect delay time 1; connect retry time 1; error wait time 1, 2; startup hold time 30;\n  \
         ipv4 {{ {channel} }};\n  ipv6 {{ {channel} }};\n",
        config.local_as, peer.address, peer.remote_as, config.hold_time
    );
    if config.graceful_restart {
        text.push_str("  graceful restart on;\n");
    }
    if let Some(password) = &peer.password {
        let _ = writeln!(text, "  password \"{password}\";");
    }
    if peer.passive {
        text.push_str("  passive;\n");
    }
    if peer.reflector_client {
        text.push_str("  rr client;\n");
    }
    if let Some(bfd) = peer.bfd {
        text.push_str(if bfd.multihop { "  multihop 4;\n" } else { "  direct;\n" });
        text.push_str(if bfd.graceful { "  bfd graceful;\n" } else { "  bfd on;\n" });
    }
    text + &lines("  ", &peer.extra) + "}\n"
}

fn birdc(at: &At<'_>, request: &str) -> Result<String> {
    let socket = at.directory.join("bird.ctl");
    at.node.run("birdc", &["-s".as_ref(), socket.as_os_str(), request.as_ref()])
}

/// `peer0      BGP        ---        up     12:00:00.123  Established`
fn parse_sessions(text: &str, peers: &[Peer]) -> BTreeMap<IpAddr, String> {
    let mut sessions = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = words.first().and_then(|name| name.strip_prefix("peer")?.parse::<usize>().ok());
        let Some(peer) = number.and_then(|number| peers.get(number)) else { continue };
        let state = words.iter().skip(5).copied().collect::<Vec<_>>().join(" ");
        let state = if state.starts_with(ESTABLISHED) { ESTABLISHED.to_owned() } else { state };
        sessions.insert(peer.address, state);
    }
    sessions
}

/// A prefix begins a line; further paths to it begin with white space; next hops follow as `via ADDRESS on INTERFACE`.
fn parse_routes(text: &str) -> Routes {
    let mut routes = Routes::new();
    let mut prefix = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !line.starts_with(char::is_whitespace) {
            prefix = words.next().filter(|word| word.contains('/')).unwrap_or_default().to_owned();
        } else if words.next() == Some("via")
            && !prefix.is_empty()
            && let Some(address) = words.next().and_then(|word| word.parse().ok())
        {
            routes.entry(prefix.clone()).or_default().push(address);
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_two_paths_to_a_prefix_is_read() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            10.65.0.0/26         unicast [peer0 12:00:00.100] * (100) [AS64512i]\n\tvia 192.0.2.11 on eth0\n\
            198.51.100.7/32      unicast [peer0 12:00:00.100] * (100) [AS64512i]\n\tvia 192.0.2.11 on eth0\n\
            \x20                    unicast [peer1 12:00:00.100] (100) [AS64512i]\n\tvia 192.0.2.12 on eth0\n";
        let routes = parse_routes(text);
        assert_eq!(routes["10.65.0.0/26"], ["192.0.2.11".parse::<IpAddr>().unwrap()]);
        assert_eq!(routes["198.51.100.7/32"].len(), 2);
        assert_eq!(routes.len(), 2);
    }

    #[test]
    fn a_session_that_is_not_up_says_why() {
        let peers = [Peer::new("192.0.2.11".parse().unwrap(), 1), Peer::new("192.0.2.12".parse().unwrap(), 1)];
        let text = "Name       Proto      Table      State  Since         Info\n\
            peer0      BGP        ---        up     12:00:00.100  Established   \n\
            peer1      BGP        ---        start  12:00:00.100  Active        Socket: Connection refused\n";
        let sessions = parse_sessions(text, &peers);
        assert_eq!(sessions[&peers[0].address], "Established");
        assert_eq!(sessions[&peers[1].address], "Active Socket: Connection refused");
    }
}
