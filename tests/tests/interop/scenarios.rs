//! What people rely on in a cluster and no other file is about. `docs/scenarios.md` has the list.

use anyhow::{Result, ensure};
use fabric::{Lab, Need, wait_until};
use tests::{
    Test,
    cluster::{Cluster, Worker},
    speakers::{SOON, text},
    test,
};

use super::cluster::{POOLS, status};

pub(super) fn labs() -> Vec<Test> {
    vec![test("a_label_of_a_node_touches_the_sessions_that_select_it", &[Need::TORTIE], labels)]
}

fn labelled(worker: &Worker, labels: &str) -> String {
    let [v4, v6] = worker.addresses();
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n  labels: {{{labels}}}\n  annotations:\n    \
         projectcalico.org/IPv4Address: {v4}/24\n    projectcalico.org/IPv6Address: {v6}/64\n",
        worker.node().name()
    )
}

/// B28: with a peer selector, a label decides who peers with whom; everybody else's sessions stay.
fn labels(lab: &Lab) -> Result<()> {
    let cluster = Cluster::new(lab, POOLS)?;
    let off = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
               spec: {nodeToNodeMeshEnabled: false}\n---\n\
               apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: rack}\n\
               spec: {nodeSelector: \"rack == 'one'\", peerSelector: \"rack == 'one'\"}\n";
    cluster.write("bgp.yaml", off)?;
    let [a, b, c] = [cluster.worker("a", 11)?, cluster.worker("b", 12)?, cluster.worker("c", 13)?];
    for worker in [&a, &b] {
        cluster.write(&format!("node-{}.yaml", worker.node().name()), &labelled(worker, "rack: one"))?;
    }
    status(&a).wait_established("b")?;
    status(&b).wait_established("a")?;
    let since = || Ok::<_, anyhow::Error>(text(&status(&a).peer("b")?, "since").to_owned());
    let before = since()?;
    for (labels, sessions) in [("rack: one", 2), ("rack: one, colour: blue", 2), ("rack: two", 1), ("rack: one", 2)] {
        cluster.write("node-c.yaml", &labelled(&c, labels))?;
        wait_until(&format!("{sessions} sessions of a with c {labels}"), SOON, || {
            Ok(status(&a).peer_names()?.len() == sessions && status(&c).peer_names()?.len() == 2 * (sessions - 1))
        })?;
        if sessions == 2 {
            status(&a).wait_established("c")?;
            status(&b).wait_established("c")?;
        }
        ensure!(since()? == before, "the session of a and b was touched by {labels}");
    }
    Ok(())
}
