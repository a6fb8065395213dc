//! The topology with its live state.

use std::fmt::Write as _;

use fabric::router::Routes;

use crate::rack::{CLIENT, CLUSTER_AS, NODES, PODS, Rack, TOR_AS, address};

/// Draws the rack as it is now: sessions and routes from the router's own table, pods from the results of ADD.
pub(crate) fn draw(rack: &Rack) -> String {
    let sessions = rack.router().and_then(|router| router.sessions()).unwrap_or_default();
    let routes = rack.router().and_then(|router| router.routes()).unwrap_or_default();
    let mut text = format!("tor-1  AS {TOR_AS}  192.0.2.1  ({})  ════  client {CLIENT}\n", rack.tor_software());
    for (index, (name, number)) in NODES.into_iter().enumerate() {
        let last = index + 1 == NODES.len();
        let (branch, stem) = if last { ("└", " ") } else { ("├", "│") };
        let state = match sessions.get(&address(number)).map(String::as_str) {
            Some("Established") => "✔ Established",
            Some(state) if !state.is_empty() => state,
            _ => "no session",
        };
        let _ = writeln!(text, " {branch}─ eBGP ─ {name}  AS {CLUSTER_AS}  192.0.2.{number}   {state}");
        for line in details(rack, name, number, &routes) {
            let _ = writeln!(text, " {stem}           {line}");
        }
    }
    text
}

fn details(rack: &Rack, node: &str, number: u8, routes: &Routes) -> Vec<String> {
    let mut lines = Vec::new();
    let via_node = routes.iter().filter(|(_, hops)| hops.contains(&address(number)));
    let learned: Vec<_> = via_node.map(|(prefix, _)| prefix.as_str()).collect();
    if !learned.is_empty() {
        lines.push(format!("learned by tor-1: {}", learned.join(", ")));
    }
    for (pod, _, app) in PODS.into_iter().filter(|(_, on, _)| *on == node) {
        let Ok(pod_state) = rack.pod(pod) else { continue };
        let addresses: Vec<_> = pod_state.added().addresses().iter().map(ToString::to_string).collect();
        lines.push(format!("pod {pod:<6} app={app:<6} {}", addresses.join("  ")));
    }
    lines
}
