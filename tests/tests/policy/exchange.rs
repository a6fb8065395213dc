//! Packets in the middle of the rules while the rules are exchanged under them.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, bail, ensure};
use fabric::{
    Lab, Namespace,
    probe::{Echo, connect},
};

use crate::{one_node, policy};

/// Each is a change of the chain that an interface leads to. A kernel that lets packets through between two sets of rules
/// does so in about every tenth.
const CHANGES: usize = 300;
/// Longer than a change takes to be in the kernel.
const PAUSE: Duration = Duration::from_millis(15);

pub(crate) fn denied_all_the_time(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["server", "client", "captive"])?;
    let [server, client, captive] = pods.as_slice() else { bail!("three pods") };
    let friends =
        "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]}";
    let nowhere = "{podSelector: {matchLabels: {app: captive}}, policyTypes: [Egress]}";
    cluster.write("policy.yaml", &(policy("friends", friends) + &policy("nowhere", nowhere)))?;
    worker.wait_policies(&["friends", "nowhere"])?;
    let closed = Echo::start(server.inside().namespace(), "[::]:8".parse()?)?;
    let target = SocketAddr::new(server.ipv4()?, 8);
    // The captive may send to nobody, not even to whoever takes everything.
    let outside = Echo::start(client.inside().namespace(), "[::]:8".parse()?)?;
    let away = SocketAddr::new(client.ipv4()?, 8);
    ensure!(connect(client.inside().namespace(), target, PAUSE)?.is_err(), "the policy is not in force");
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let floods = [
            scope.spawn(|| flood(client.inside().namespace(), target, &done)),
            scope.spawn(|| flood(captive.inside().namespace(), away, &done)),
        ];
        let changed = (0..CHANGES).try_for_each(|number| {
            let port = 1000 + number % 7;
            let [more, elsewhere] = [("server", "ingress"), ("captive", "egress")].map(|(app, direction)| {
                format!("{{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [Ingress, Egress], {direction}: [{{ports: [{{port: {port}}}]}}]}}")
            });
            cluster.write("more.yaml", &(policy("more", &more) + &policy("elsewhere", &elsewhere)))?;
            thread::sleep(PAUSE);
            cluster.remove("more.yaml")?;
            thread::sleep(PAUSE);
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.join().map_err(|_| anyhow!("a flooding thread panicked"))??;
        }
        changed
    })?;
    ensure!(closed.datagrams() == 0, "{} datagrams got into the server", closed.datagrams());
    ensure!(outside.datagrams() == 0, "{} datagrams got out of the captive", outside.datagrams());
    Ok(())
}

/// Sends as fast as it can, from a new port now and then, so that no packet is judged as one of an open connection.
fn flood(from: &Namespace, target: SocketAddr, done: &AtomicBool) -> Result<()> {
    from.inside(|| {
        while !done.load(Ordering::Relaxed) {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..64 {
                // What a rule refuses is an error to the sender at most.
                let _ = socket.send_to(b"in", target);
            }
        }
        Ok(())
    })
}
