//! Step 3 and 7: pods come and go.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::SOON;
use crate::{
    picture,
    rack::{NODES, PODS, Rack, address},
    report::{Report, time},
};

/// Pods by CNI ADD; their blocks appear in the router's own table and in every other node's kernel.
pub(super) fn add(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(3, "Pods: the CNI plugin is executed as a container runtime would");
    let mut times = Vec::new();
    for (pod, node, app) in PODS {
        let took = rack.add_pod(pod, node, app)?;
        times.push(took);
        let (ipv4, ipv6) = (rack.pod(pod)?.ipv4()?, rack.pod(pod)?.ipv6()?);
        report.held(&format!("{pod} on {node}: {ipv4} {ipv6}  ADD {}", time(took)));
        let routes = rack.node(node)?.kernel_routes("80")?;
        let host = format!("{ipv4}/32");
        let via = routes.get(&host).map(|via| via.join(" ")).unwrap_or_default();
        report.check(&format!("{node} routes {host} to {via}"), via.starts_with("cali"))?;
        rack.pod(pod)?.check().context("CHECK")?;
    }
    let answered = Instant::now();
    report.held("CHECK says that each is as ADD left it");
    measure_adds(report, times);
    let blocks = blocks(rack)?;
    for (block, next_hop) in &blocks {
        let router = rack.router()?;
        report.wait(&format!("{block} via {next_hop} in the table of tor-1"), SOON, || {
            Ok(router.routes()?.get(block).is_some_and(|hops| hops == &[*next_hop]))
        })?;
    }
    report.measure("last ADD answered → all blocks in the table of tor-1", time(answered.elapsed()));
    for (name, number) in NODES {
        let node = rack.node(name)?;
        let foreign: BTreeMap<_, _> = blocks.iter().filter(|(_, hop)| !is_of(**hop, number)).collect();
        report.wait(&format!("{name} has the {} other blocks in its kernel", foreign.len()), SOON, || {
            let routes = node.kernel_routes("bgp")?;
            Ok(foreign.iter().all(|(block, hop)| routes.get(*block).is_some_and(|via| via == &[hop.to_string()])))
        })?;
    }
    report.show(&picture::draw(rack));
    Ok(())
}

fn measure_adds(report: &mut Report, mut times: Vec<Duration>) {
    times.sort();
    let shown: Vec<_> = times.into_iter().map(time).collect();
    report.measure("CNI ADD, each, with policy in the kernel", shown.join(" "));
}

/// Blocks in use (/26 and /122, as the pools say) and the node addresses behind which they are.
fn blocks(rack: &Rack) -> Result<BTreeMap<String, IpAddr>> {
    let mut blocks = BTreeMap::new();
    for (pod, node, _) in PODS {
        let number = NODES.iter().find(|(name, _)| *name == node).map_or(0, |(_, number)| *number);
        for pod_address in rack.pod(pod)?.added().addresses() {
            let (block, next_hop) = match pod_address {
                IpAddr::V4(a) => (format!("{}/26", Ipv4Addr::from_bits(a.to_bits() & !0x3f)), address(number)),
                IpAddr::V6(a) => (format!("{}/122", Ipv6Addr::from_bits(a.to_bits() & !0x3f)), address6(number)),
            };
            blocks.insert(block, next_hop);
        }
    }
    Ok(blocks)
}

fn address6(number: u8) -> IpAddr {
    // 2001:db8:2::11 reads as the node's number, in hexadecimal digits.
    let last = u16::from(number / 10) * 16 + u16::from(number % 10);
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, last))
}

fn is_of(next_hop: IpAddr, number: u8) -> bool {
    next_hop == address(number) || next_hop == address6(number)
}

/// A pod is deleted; nothing of it is left.
pub(super) fn delete(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(7, "A pod is deleted: its address, route and interface go, its block stays");
    let (pod, node) = ("web-2", "node-c");
    let ipv4 = rack.pod(pod)?.ipv4()?;
    let interfaces = rack.pod(pod)?.added().host_interfaces();
    let blocks = blocks(rack)?;
    let took = rack.delete_pod(pod)?;
    report.held(&format!("DEL of {pod} on {node}  {}", time(took)));
    report.measure("CNI DEL", time(took));
    let routes = rack.node(node)?.kernel_routes("80")?;
    report.check(&format!("{node} has no route to {ipv4}"), !routes.contains_key(&format!("{ipv4}/32")))?;
    let links = rack.node(node)?.run("ip", &["-br", "link"])?;
    report.check(
        &format!("{node} has no interface {}", interfaces.join(" ")),
        !interfaces.iter().any(|interface| links.contains(interface.as_str())),
    )?;
    let ipam = rack.daemons(node)?.ask_felix(&["show", "ipam"])?;
    report.check(&format!("{ipv4} is free again"), !allocated(&ipam).contains(&ipv4.to_string()))?;
    let table = rack.router()?.routes()?;
    report.check("tor-1 still has every block", blocks.keys().all(|block| table.contains_key(block)))
}

fn allocated(ipam: &Value) -> Vec<String> {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let allocations = list(ipam, "blocks").into_iter().flat_map(|block| list(&block, "allocations"));
    allocations.filter_map(|a| a.get("address").and_then(Value::as_str).map(ToOwned::to_owned)).collect()
}
