//! The moments at which a pod begins and ends.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use fabric::{
    Lab, Pod, PodSpec,
    probe::{Echo, Stream, Target, connect},
    wait_until,
};
use tests::cluster::SOON;

use crate::{connects, manifest, one_node, policy};

const TICK: Duration = Duration::from_millis(1);

pub(crate) fn first_packet(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["server"])?;
    let server = pods.first().ok_or_else(|| anyhow!("no pod"))?;
    let targets = [SocketAddr::new(server.ipv4()?, 7), SocketAddr::new(server.ipv6()?, 7)];
    let echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let deny = policy("deny", "{podSelector: {matchLabels: {may: nothing}}, policyTypes: [Ingress, Egress]}");
    cluster.write("policy.yaml", &deny)?;
    worker.wait_policies(&["deny"])?;
    for number in 0..10 {
        let spec = PodSpec::new(&format!("denied-{number}"), &[("may", "nothing")]);
        // From before the ADD on, the container sends as fast as it can.
        let inside = lab.host(&format!("denied-{number}"))?;
        let attachment = spec.attachment(inside.namespace().path());
        let done = AtomicBool::new(false);
        thread::scope(|scope| -> Result<()> {
            let sending = scope.spawn(|| inside.inside(|| send_until(&done, &targets)));
            let added = worker.network.add(worker.node(), &attachment);
            let at_once = connect(inside.namespace(), targets[0], Duration::from_millis(50));
            done.store(true, Ordering::Relaxed);
            sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
            added?;
            ensure!(at_once?.is_err(), "a connection at time 0 was let through");
            Ok(())
        })?;
        ensure!(echo.datagrams() == 0, "{} datagrams got out of pod {number}", echo.datagrams());
    }
    for number in 0..10 {
        let pod = worker.pod(lab, &PodSpec::new(&format!("allowed-{number}"), &[]))?;
        for target in targets {
            // The first SYN must do it: the second comes after a second.
            let took = connect(pod.inside().namespace(), target, Duration::from_millis(900))?;
            took.map_err(|error| anyhow!("{target} at time 0 of pod {number}: {error}"))?;
        }
    }
    Ok(())
}

fn send_until(done: &AtomicBool, targets: &[SocketAddr]) -> Result<()> {
    let socket = UdpSocket::bind("[::]:0")?;
    while !done.load(Ordering::Relaxed) {
        for target in targets {
            let target = match target.ip() {
                IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), target.port()),
                IpAddr::V6(_) => *target,
            };
            // There is no route yet, or a rule in the way.
            let _ = socket.send_to(b"out", target);
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

pub(crate) fn labels(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["server", "client", "other"])?;
    let [server, client, other] = pods.as_slice() else { anyhow::bail!("three pods") };
    let _echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let only_client =
        "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
    cluster.write("policy.yaml", &policy("only-client", only_client))?;
    worker.wait_policies(&["only-client"])?;
    for address in [server.ipv4()?, server.ipv6()?] {
        let target = SocketAddr::new(address, 7);
        ensure!(connects(client.inside(), target, true)?, "the client is allowed");
        ensure!(!connects(other.inside(), target, false)?, "the other is not");
    }
    // A manifest knows better.
    cluster.write("pods.yaml", &manifest("client", "{app: somebody}"))?;
    let target = SocketAddr::new(server.ipv4()?, 7);
    wait_until("the manifest to count", SOON, || Ok(!connects(client.inside(), target, false)?))?;
    cluster.remove("pods.yaml")?;
    wait_until("the labels of the attachment to count again", SOON, || connects(client.inside(), target, true))?;
    Ok(())
}

pub(crate) fn address_again(lab: &Lab) -> Result<()> {
    let (cluster, worker, mut pods) = one_node(lab, &["client", "server"])?;
    let deny = policy("deny", "{podSelector: {matchLabels: {app: secret}}, policyTypes: [Ingress]}");
    cluster.write("policy.yaml", &deny)?;
    worker.wait_policies(&["deny"])?;
    let server = pods.pop().ok_or_else(|| anyhow!("no pod"))?;
    let client = pods.pop().ok_or_else(|| anyhow!("no pod"))?;
    let addresses = [server.ipv4()?, server.ipv6()?];
    let echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let stream = |pod: &Pod, address| {
        Stream::start(pod.inside().namespace(), Target::Udp(SocketAddr::new(address, 7)), None, TICK)
    };
    let streams = [stream(&client, addresses[0])?, stream(&client, addresses[1])?];
    for stream in &streams {
        wait_until("an answer", SOON, || Ok(stream.so_far().answered > 100))?;
    }
    // The client goes on sending on the same connection while another pod gets the address.
    server.delete()?;
    drop(echo);
    let before = streams.each_ref().map(|stream| stream.so_far());
    let mut spec = PodSpec::new("secret", &[("app", "secret")]);
    spec.runtime.insert("ips".to_owned(), serde_json::json!(addresses));
    let secret = worker.pod(lab, &spec)?;
    let echo = Echo::start(secret.inside().namespace(), "[::]:7".parse()?)?;
    for (stream, before) in streams.iter().zip(&before) {
        wait_until("two hundred more", SOON, || Ok(stream.so_far().sent > before.sent + 200))?;
        ensure!(stream.so_far().answered <= before.answered + 1, "the new pod answered {}", stream.target());
    }
    ensure!(echo.datagrams() == 0, "{} datagrams reached the new pod", echo.datagrams());
    Ok(())
}
