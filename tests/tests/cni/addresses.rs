//! Addresses: asked for, used up, raced for.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{Lab, Pod, PodSpec};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Worker};

use crate::{POOLS, container, refusal};

pub(crate) fn asked_for(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let (_one, mut by_capability) = container(&cluster, "c1", "one")?;
    by_capability.runtime.insert("ips".to_owned(), json!(["10.65.7.7/32", "fd65::7"]));
    let added = worker.network.add(worker.node(), &by_capability)?;
    ensure!(added.addresses() == ["10.65.7.7".parse::<IpAddr>()?, "fd65::7".parse()?], "{:?}", added.addresses());

    let (_two, mut by_argument) = container(&cluster, "c2", "two")?;
    by_argument.args.insert("IP".to_owned(), "10.65.7.8".to_owned());
    let added = worker.network.add(worker.node(), &by_argument)?;
    let given = added.addresses();
    ensure!(given.contains(&"10.65.7.8".parse()?), "{given:?}");

    let (_three, mut taken) = container(&cluster, "c3", "three")?;
    taken.args.insert("IP".to_owned(), "10.65.7.7".to_owned());
    let refused = refusal(worker.network.add(worker.node(), &taken))?;
    ensure!(refused.msg.contains("10.65.7.7") && refused.msg.contains("one"), "{refused}");
    worker.network.del(worker.node(), &by_capability, None)?;
    ensure!(worker.network.add(worker.node(), &taken)?.addresses().contains(&"10.65.7.7".parse()?), "it is free now");
    Ok(())
}

pub(crate) fn full(lab: &Lab) -> Result<()> {
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: tiny}\n\
                spec: {cidr: 10.66.0.0/29, blockSize: 30}\n";
    let cluster = Cluster::new(lab, pool)?;
    let worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    let mut pods = Vec::new();
    for number in 0..8 {
        pods.push(worker.pod(lab, &PodSpec::new(&format!("p{number}"), &[]))?);
        let blocks = cluster.objects("ipamblock")?.len();
        ensure!(blocks == usize::from(number > 3) + 1, "{blocks} blocks for {} addresses", number + 1);
    }
    let before = (cluster.assigned()?, worker.pod_links()?);
    let refused = refusal(worker.pod(lab, &PodSpec::new("ninth", &[])))?;
    ensure!(refused.msg.contains("tiny"), "the message names no pool: {refused}");
    ensure!((cluster.assigned()?, worker.pod_links()?) == before, "the refused ADD left something");
    ensure!(cluster.objects("ipamhandle")?.len() == 8, "the refused ADD left a handle");
    pods.pop().ok_or_else(|| anyhow!("no pod"))?.delete()?;
    pods.push(worker.pod(lab, &PodSpec::new("ninth", &[]))?);
    for pod in pods {
        pod.delete()?;
    }
    worker.ensure_empty(&empty)?;
    cluster.ensure_no_address()
}

/// Adds pods from several threads per node.
fn add_all(workers: &[&Worker], lab: &Lab, threads: usize, each: usize) -> Result<Vec<Pod>> {
    let pods = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut running = Vec::new();
        for worker in workers {
            for thread in 0..threads {
                let pods = &pods;
                running.push(scope.spawn(move || -> Result<()> {
                    for number in 0..each {
                        let name = format!("{}-{thread}-{number}", worker.node().name());
                        let pod = worker.pod(lab, &PodSpec::new(&name, &[]))?;
                        pods.lock().map_err(|_| anyhow!("another thread panicked"))?.push(pod);
                    }
                    Ok(())
                }));
            }
        }
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("the thread panicked"))?)
    })?;
    pods.into_inner().map_err(|_| anyhow!("a thread panicked"))
}

fn ensure_unique(pods: &[Pod], expected: usize) -> Result<()> {
    let addresses: Vec<_> = pods.iter().flat_map(|pod| pod.added().addresses()).collect();
    let unique: BTreeSet<_> = addresses.iter().collect();
    ensure!(unique.len() == expected, "{} of {} addresses are different", unique.len(), addresses.len());
    Ok(())
}

pub(crate) fn race(lab: &Lab) -> Result<()> {
    // Both together want every address there is: the last ones have to be borrowed from the other's blocks.
    let pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: small}\n\
                spec: {cidr: 10.66.0.0/27, blockSize: 30}\n";
    let cluster = Cluster::new(lab, pool)?;
    let (a, b) = (cluster.worker("a", 1)?, cluster.worker("b", 2)?);
    let pods = add_all(&[&a, &b], lab, 4, 4)?;
    ensure_unique(&pods, 32)?;
    ensure!(cluster.assigned()?.len() == 32, "{:?}", cluster.assigned()?);
    for worker in [&a, &b] {
        let refused = refusal(worker.pod(lab, &PodSpec::new("one-too-many", &[])))?;
        ensure!(refused.msg.contains("small"), "{refused}");
    }
    ensure!(
        cluster.assigned()?.len() == 32 && cluster.objects("ipamhandle")?.len() == 32,
        "a refused ADD left something"
    );
    Ok(())
}

pub(crate) fn parallel(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let start = Instant::now();
    let pods = add_all(&[&worker], lab, 25, 2)?;
    let took = start.elapsed();
    ensure_unique(&pods, 100)?;
    ensure!(worker.pod_routes()?.len() == 100, "{:?}", worker.pod_routes()?);
    ensure!(took < Duration::from_secs(10), "50 ADDs took {took:?}");
    Ok(())
}

/// `10.65.0.0/26` of node `a` with one address assigned, as Calico 3.29 writes it.
fn calico_block() -> Value {
    let allocations: Vec<_> = (0..64).map(|ordinal| if ordinal == 0 { json!(0) } else { Value::Null }).collect();
    json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock",
        "metadata": {"name": "10-65-0-0-26", "annotations": {"projectcalico.org/metadata": "{\"creationTimestamp\":null}"}},
        "spec": {
            "affinity": "host:a", "cidr": "10.65.0.0/26", "deleted": false, "strictAffinity": false,
            "allocations": allocations, "unallocated": (1..64).collect::<Vec<_>>(),
            "attributes": [{"handle_id": "ipip-tunnel-addr-a", "secondary": {"node": "a", "type": "ipipTunnelAddress"}}],
            "sequenceNumber": 1_783_000_000_000_u64, "sequenceNumberForAllocation": {"0": 1_783_000_000_000_u64},
        },
    })
}

pub(crate) fn of_calico(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let affinity = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "BlockAffinity",
        "metadata": {"name": "a-10-65-0-0-26", "annotations": {"projectcalico.org/metadata": "{\"creationTimestamp\":null}"}},
        "spec": {"cidr": "10.65.0.0/26", "deleted": "false", "node": "a", "state": "confirmed", "type": "host"},
    });
    let handle = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMHandle",
        "metadata": {"name": "ipip-tunnel-addr-a", "annotations": {"projectcalico.org/metadata": "{\"creationTimestamp\":null}"}},
        "spec": {"block": {"10.65.0.0/26": 1}, "deleted": false, "handleID": "ipip-tunnel-addr-a"},
    });
    let objects = [
        ("ipamblock", "10-65-0-0-26", calico_block()),
        ("blockaffinity", "a-10-65-0-0-26", affinity),
        ("ipamhandle", "ipip-tunnel-addr-a", handle),
    ];
    for (kind, name, object) in &objects {
        fs::create_dir_all(cluster.state(kind))?;
        fs::write(cluster.state(kind).join(format!("{name}.json")), object.to_string())?;
    }
    let worker = cluster.worker("a", 1)?;
    let pod = worker.pod(lab, &PodSpec::new("web", &[]))?;
    ensure!(pod.ipv4()?.to_string() == "10.65.0.1", "the first free address of the node's block: {}", pod.ipv4()?);
    let block = |name: &str| -> Result<Value> {
        cluster.objects("ipamblock")?.remove(name).with_context(|| format!("no {name}"))
    };
    let spec = block("10-65-0-0-26.json")?["spec"].clone();
    ensure!(spec["allocations"][0] == 0 && spec["allocations"][1] == 1, "{spec}");
    ensure!(spec["attributes"][0] == calico_block()["spec"]["attributes"][0], "{spec}");
    ensure!(spec["attributes"][1]["handle_id"] == "k8s-pod-network.default-web", "{spec}");
    ensure!(spec["attributes"][1]["secondary"]["pod"] == "web", "{spec}");
    let sequence = |spec: &Value| spec["sequenceNumber"].as_u64().unwrap_or_default();
    ensure!(sequence(&spec) > 1_783_000_000_000, "{spec}");
    pod.delete()?;
    let spec = block("10-65-0-0-26.json")?["spec"].clone();
    ensure!(spec["allocations"][0] == 0 && spec["allocations"][1].is_null(), "{spec}");
    // A released address goes to the end of the queue.
    ensure!(spec["unallocated"][0] == 2 && spec["unallocated"][62] == 1, "{spec}");
    ensure!(spec["attributes"].as_array().map(Vec::len) == Some(1), "{spec}");
    Ok(())
}
