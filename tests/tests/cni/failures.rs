//! What is left of an ADD that fails: nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fabric::Lab;
use serde_json::json;
use tests::cluster::{Cluster, SOON};

use crate::{POOLS, container, refusal};

pub(crate) fn nothing_left(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    let nothing = || {
        worker.ensure_empty(&empty)?;
        cluster.ensure_no_address()
    };
    let (inside, attachment) = container(&cluster, "c1", "web")?;

    let mut nowhere = attachment.clone();
    nowhere.netns = "/run/netns/nowhere".to_owned();
    let refused = refusal(worker.network.add(worker.node(), &nowhere))?;
    ensure!(refused.code == 4 && refused.msg.contains("/run/netns/nowhere"), "{refused}");
    nothing()?;

    // After addresses and policy the interface turns out to be taken.
    inside.ip_batch("link add eth0 type bridge\n")?;
    let refused = refusal(worker.network.add(worker.node(), &attachment))?;
    ensure!(refused.msg.contains("eth0"), "{refused}");
    nothing()?;
    inside.ip_batch("link del eth0\n")?;

    // The host's interface of that name is another's.
    let added = worker.network.add(worker.node(), &attachment)?;
    worker.network.del(worker.node(), &attachment, Some(&added.result))?;
    let host = added.host_interfaces().concat();
    worker.node().ip_batch(&format!("link add {host} type bridge\n"))?;
    let refused = refusal(worker.network.add(worker.node(), &attachment))?;
    ensure!(refused.msg.contains(&host), "{refused}");
    ensure!(worker.pod_links()? == [host.clone()], "somebody else's interface was touched");
    worker.node().ip_batch(&format!("link del {host}\n"))?;
    nothing()?;

    let mut unknown = attachment;
    unknown.runtime.insert("ips".to_owned(), json!(["198.51.100.7"]));
    let refused = refusal(worker.network.add(worker.node(), &unknown))?;
    ensure!(refused.msg.contains("198.51.100.7"), "{refused}");
    nothing()
}

pub(crate) fn felix_away(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let mut worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    let (_inside, attachment) = container(&cluster, "c1", "web")?;
    worker.daemons.felix.kill()?;
    let start = Instant::now();
    let refused = refusal(worker.network.status(worker.node()))?;
    ensure!(refused.code == 50, "{refused}");
    ensure!(start.elapsed() < Duration::from_secs(2), "STATUS took {:?}", start.elapsed());
    let refused = refusal(worker.network.add(worker.node(), &attachment))?;
    ensure!(refused.code == 11, "{refused}");
    ensure!(start.elapsed() < Duration::from_secs(10), "ADD took {:?}", start.elapsed());
    worker.ensure_empty(&empty)?;
    cluster.ensure_no_address()?;

    // A felix that comes back while the plugin waits serves it.
    let (network, node) = (worker.network.clone(), worker.node().clone());
    let waiting = std::thread::spawn(move || network.add(&node, &attachment).map(|added| (added, attachment)));
    worker.daemons.felix.restart()?;
    let (added, attachment) = waiting.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    worker.daemons.wait_ready(SOON)?;
    worker.network.status(worker.node())?;
    worker.network.del(worker.node(), &attachment, Some(&added.result))?;

    // Without a pool there is nothing to serve with.
    cluster.remove("pools.yaml")?;
    fabric::wait_until("STATUS to say so", SOON, || {
        let refused = refusal(worker.network.status(worker.node()))?;
        Ok(refused.code == 50 && refused.msg.contains("IPPool"))
    })?;
    let refused = refusal(worker.network.add(worker.node(), &attachment))?;
    ensure!(refused.msg.contains("no IPv4 IPPool"), "{refused}");
    Ok(())
}
