//! What ADD, CHECK, VERSION and STATUS answer.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{Lab, Node, PodSpec, cni::Attachment};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Worker};

use crate::{POOLS, container, refusal};

pub(crate) fn versions(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    for (number, version) in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"].into_iter().enumerate() {
        let network = worker.network.clone().with_version(version);
        let (inside, attachment) = container(&cluster, &format!("c{number}"), &format!("p{number}"))?;
        let added = network.add(worker.node(), &attachment)?;
        judge(version, &inside, &added.result).with_context(|| format!("{version}: {}", added.result))?;
        let checked = network.check(worker.node(), &attachment, &added.result);
        if version == "0.3.1" {
            ensure!(refusal(checked)?.code == 1, "0.3.1 has no CHECK");
        } else {
            checked?;
        }
        let status = network.status(worker.node());
        if version == "1.1.0" {
            status?;
        } else {
            ensure!(refusal(status)?.code == 1, "{version} has no STATUS");
        }
        network.del(worker.node(), &attachment, Some(&added.result))?;
    }
    let versions = supported(&worker)?;
    ensure!(
        versions == json!({"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}),
        "{versions}"
    );
    worker.ensure_empty(&empty)?;
    cluster.ensure_no_address()
}

fn judge(version: &str, inside: &Node, result: &Value) -> Result<()> {
    let old = version.starts_with("0.");
    ensure!(result["cniVersion"] == version, "cniVersion");
    let interfaces = &result["interfaces"];
    ensure!(interfaces[0]["mac"] == "ee:ee:ee:ee:ee:ee" && interfaces[0].get("sandbox").is_none(), "host interface");
    ensure!(interfaces[1]["name"] == "eth0", "interface of the pod");
    ensure!(interfaces[1]["sandbox"] == inside.namespace().path().to_string_lossy().as_ref(), "sandbox");
    let links: Value = serde_json::from_str(&inside.run("ip", &["-j", "link", "show", "eth0"])?)?;
    ensure!(links[0]["address"] == interfaces[1]["mac"], "the pod's Ethernet address");
    ensure!((version == "1.1.0") == interfaces[1].get("mtu").is_some(), "mtu is said since 1.1.0");
    for (number, family, length) in [(0, "4", "/32"), (1, "6", "/128")] {
        let ip = &result["ips"][number];
        let address = ip["address"].as_str().unwrap_or_default();
        ensure!(address.ends_with(length) && ip["interface"] == 1, "address");
        ensure!(ip.get("version") == old.then(|| json!(family)).as_ref(), "version of an address is said before 1.0");
    }
    ensure!(result["routes"][0] == json!({"dst": "0.0.0.0/0", "gw": "169.254.1.1"}), "route");
    ensure!(result["routes"][1] == json!({"dst": "::/0", "gw": "fe80::ecee:eeff:feee:eeee"}), "IPv6 route");
    Ok(())
}

fn supported(worker: &Worker) -> Result<Value> {
    let (mut command, input) = worker.network.command("VERSION", &Attachment::default())?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or_else(|| anyhow!("no standard input"))?.write_all(input.as_bytes())?;
    Ok(serde_json::from_slice(&child.wait_with_output()?.stdout)?)
}

pub(crate) fn inside(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let pod = worker.pod(lab, &PodSpec::new("plain", &[]))?;
    let inside = pod.inside();
    let [v4, v6] = [pod.ipv4()?, pod.ipv6()?];

    let addresses: Value = serde_json::from_str(&inside.run("ip", &["-j", "address", "show", "eth0"])?)?;
    let infos = addresses[0]["addr_info"].as_array().cloned().unwrap_or_default();
    for (address, length) in [(v4, 32), (v6, 128)] {
        let found = infos.iter().find(|info| info["local"] == address.to_string());
        let info = found.with_context(|| format!("{address} is not on eth0: {infos:?}"))?;
        ensure!(info["prefixlen"] == length && info.get("tentative").is_none(), "{info}");
    }
    let routes = inside.run("ip", &["route"])? + &inside.run("ip", &["-6", "route"])?;
    for route in ["default via 169.254.1.1 dev eth0", "default via fe80::ecee:eeff:feee:eeee dev eth0"] {
        ensure!(routes.contains(route), "no {route:?} in {routes}");
    }
    ensure!(addresses[0]["mtu"] == 1500, "as the node's other interfaces: {}", addresses[0]["mtu"]);
    // The node reaches the pod, and the pod the node, whatever the family, from the first packet on.
    for address in [v4, v6] {
        ensure!(worker.node().ping(address)?, "the node does not reach {address}");
    }
    for address in worker.addresses() {
        ensure!(inside.ping(address)?, "the pod does not reach {address}");
    }

    let narrow = worker.network.clone().with("mtu", 1400);
    let (inside, attachment) = container(&cluster, "narrow", "narrow")?;
    let added = narrow.add(worker.node(), &attachment)?;
    ensure!(added.result["interfaces"][1]["mtu"] == 1400, "{}", added.result);
    let host = added.host_interfaces().concat();
    for (node, interface) in [(&inside, "eth0"), (worker.node(), host.as_str())] {
        let links: Value = serde_json::from_str(&node.run("ip", &["-j", "link", "show", interface])?)?;
        ensure!(links[0]["mtu"] == 1400, "{links}");
    }
    let odd = refusal(worker.network.clone().with("mtu", 20).add(worker.node(), &attachment))?;
    ensure!(odd.code == 7 && odd.msg.contains("mtu"), "{odd}");
    Ok(())
}

pub(crate) fn check(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let pod = worker.pod(lab, &PodSpec::new("web", &[]))?;
    pod.check()?;
    let host = pod.added().host_interfaces().concat();
    let v4 = pod.ipv4()?;

    pod.inside().ip_batch("route del default\n")?;
    let refused = refusal(pod.check())?;
    ensure!(refused.msg.contains("0.0.0.0/0"), "{refused}");
    pod.inside().ip_batch("route add default via 169.254.1.1 dev eth0 proto boot\n")?;
    pod.check()?;

    pod.inside().ip_batch(&format!("address del {v4}/32 dev eth0\n"))?;
    let refused = refusal(pod.check())?;
    ensure!(refused.msg.contains(&v4.to_string()), "{refused}");

    worker.node().ip_batch(&format!("link del {host}\n"))?;
    let refused = refusal(pod.check())?;
    ensure!(refused.msg.contains("host interface is missing"), "{refused}");
    // DEL takes away what is left of it.
    pod.delete()?;
    cluster.ensure_no_address()
}
