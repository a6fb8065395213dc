//! Containers come, are replaced and go.

use anyhow::{Result, ensure};
use fabric::Lab;
use tests::cluster::{Cluster, SOON};

use crate::{POOLS, container, refusal};

pub(crate) fn again(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let mut worker = cluster.worker("a", 1)?;
    let (inside, attachment) = container(&cluster, "c1", "web")?;
    let first = worker.network.add(worker.node(), &attachment)?.result;
    ensure!(worker.network.add(worker.node(), &attachment)?.result == first, "another answer");
    worker.daemons.felix.restart()?;
    worker.daemons.wait_ready(SOON)?;
    ensure!(worker.network.add(worker.node(), &attachment)?.result == first, "another answer after a restart");
    ensure!(cluster.assigned()?.len() == 2 && worker.pod_links()?.len() == 1, "{:?}", cluster.assigned()?);

    // Whatever was done to it in between, a repeated ADD makes it whole.
    inside.ip_batch("link del eth0\n")?;
    let repaired = worker.network.add(worker.node(), &attachment)?.result;
    worker.network.check(worker.node(), &attachment, &repaired)?;

    // Another container must not take the interface that is there.
    let mut stranger = attachment.clone();
    stranger.container_id = "c2".to_owned();
    stranger.args.insert("K8S_POD_NAME".to_owned(), "other".to_owned());
    let refused = refusal(worker.network.add(worker.node(), &stranger))?;
    ensure!(refused.msg.contains("eth0"), "{refused}");
    ensure!(cluster.assigned()?.len() == 2 && worker.pod_links()?.len() == 1, "{:?}", cluster.assigned()?);
    worker.network.check(worker.node(), &attachment, &repaired)
}

pub(crate) fn superseded(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    let (_old, before) = container(&cluster, "old", "web")?;
    let (inside, after) = container(&cluster, "new", "web")?;
    let network = &worker.network;
    let first = network.add(worker.node(), &before)?;
    let second = network.add(worker.node(), &after)?;
    ensure!(first.host_interfaces() == second.host_interfaces(), "a pod has one interface on the host");
    let owners = cluster.assigned()?;
    ensure!(owners == ["k8s-pod-network.new"; 2], "{owners:?}");
    let refused = refusal(network.check(worker.node(), &before, &first.result))?;
    ensure!(refused.code == 102, "{refused}");

    for _ in 0..2 {
        network.del(worker.node(), &before, Some(&first.result))?;
    }
    network.check(worker.node(), &after, &second.result)?;
    ensure!(inside.ping(worker.addresses()[0])?, "the stale DEL cut the new container off");
    ensure!(cluster.assigned()?.len() == 2, "the stale DEL took the new container's addresses");
    network.del(worker.node(), &after, Some(&second.result))?;
    worker.ensure_empty(&empty)?;
    cluster.ensure_no_address()
}

pub(crate) fn deleted(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let empty = worker.ruleset()?;
    let (_kept, attachment) = container(&cluster, "c1", "web")?;
    worker.network.add(worker.node(), &attachment)?;
    for _ in 0..2 {
        worker.network.del(worker.node(), &attachment, None)?;
    }

    // The namespace goes first, and the interface with it.
    let inside = fabric::Namespace::new(&format!("{}-gone", cluster.lab().directory().display()).replace('/', "-"))?;
    let mut attachment = fabric::PodSpec::new("gone", &[]).attachment(inside.path());
    worker.network.add(worker.node(), &attachment)?;
    drop(inside);
    attachment.netns.clear();
    for _ in 0..2 {
        worker.network.del(worker.node(), &attachment, None)?;
    }
    // One that never was.
    attachment.container_id = "never".to_owned();
    worker.network.del(worker.node(), &attachment, None)?;
    worker.ensure_empty(&empty)?;
    cluster.ensure_no_address()
}
