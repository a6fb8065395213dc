//! What holds whatever the policies say.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use fabric::{
    Capture, Lab, Node, PodSpec,
    probe::{Echo, Stream, Target},
    wait_until,
};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket};
use tests::cluster::{Cluster, SOON, ensure_same};

use crate::{POOLS, connects, one_node, policy};

const TICK: Duration = Duration::from_millis(2);

/// Sends an SCTP INIT (RFC 9260 §3.3.2), which conntrack takes for the beginning of an association.
pub(crate) fn send_sctp(from: &Node, to: IpAddr, port: u16) -> Result<()> {
    let mut packet = 40_000_u16.to_be_bytes().to_vec();
    packet.extend(port.to_be_bytes());
    packet.extend([0; 8]);
    // Type, flags, length; initiate tag, window, streams out and in, first TSN.
    packet.extend([1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    from.inside(|| {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp).context("raw socket")?;
        let target = SockaddrStorage::from(SocketAddr::new(to, 0));
        sendto(socket.as_raw_fd(), &packet, &target, MsgFlags::empty()).context("sending SCTP")?;
        Ok(())
    })
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

pub(crate) fn unknown_interface(lab: &Lab) -> Result<()> {
    let (_cluster, mut worker, pods) = one_node(lab, &["server"])?;
    let server = pods.first().ok_or_else(|| anyhow!("no pod"))?;
    let echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let stranger = lab.host("stranger")?;
    let node = worker.node().clone();
    let peer = stranger.namespace().name().to_owned();
    node.ip_batch(&format!("link add other0 type veth peer name eth0 netns {peer}\n"))?;
    let (host4, host6) = ("10.99.0.1/24", "fd99::1/64");
    let plug = |name: &str| -> Result<()> {
        node.ip_batch(&format!(
            "link set {name} up\naddress replace {host4} dev {name}\naddress replace {host6} dev {name} nodad\n"
        ))
    };
    plug("other0")?;
    stranger.ip_batch(
        "link set eth0 up\naddress add 10.99.0.2/24 dev eth0\naddress add fd99::2/64 dev eth0 nodad\n\
         route add default via 10.99.0.1\nroute add default via fd99::1\n",
    )?;
    let targets = [SocketAddr::new(server.ipv4()?, 7), SocketAddr::new(server.ipv6()?, 7)];
    for target in targets {
        wait_until("the stranger to be wired", SOON, || connects(&stranger, target, true))?;
    }
    node.ip_batch("link set other0 down\nlink set other0 name calistranger\n")?;
    plug("calistranger")?;
    let dropped = || -> Result<()> {
        let before = echo.datagrams();
        for target in targets {
            ensure!(!connects(&stranger, target, false)?, "{target} answers an interface that nobody knows");
            let stream = Stream::start(stranger.namespace(), Target::Udp(target), None, TICK)?;
            wait_until("a hundred datagrams", SOON, || Ok(stream.so_far().sent > 100))?;
        }
        for address in ["10.99.0.2", "fd99::2"] {
            ensure!(!server.inside().ping(address.parse()?)?, "a pod reaches an interface that nobody knows");
        }
        ensure!(echo.datagrams() == before, "datagrams came through");
        Ok(())
    };
    dropped()?;
    worker.daemons.felix.kill()?;
    dropped().context("with felix dead")?;
    worker.daemons.felix.restart()?;
    worker.daemons.wait_ready(SOON)?;
    dropped().context("with felix back")
}

pub(crate) fn spoofed(lab: &Lab) -> Result<()> {
    let (_cluster, worker, pods) = one_node(lab, &["server", "victim", "thief"])?;
    let [server, victim, thief] = pods.as_slice() else { anyhow::bail!("three pods") };
    let echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    let node_echo = Echo::start(worker.node().namespace(), "[::]:7".parse()?)?;
    let [node4, node6] = worker.addresses();
    let sources: [IpAddr; 4] = [victim.ipv4()?, "198.51.100.7".parse()?, victim.ipv6()?, "2001:db8:f::7".parse()?];
    for source in sources {
        let length = if source.is_ipv4() { 32 } else { 128 };
        thief.inside().add_address("eth0", &format!("{source}/{length}"))?;
        let (pod, node) = if length == 32 { (server.ipv4()?, node4) } else { (server.ipv6()?, node6) };
        for address in [pod, node] {
            let inside = thief.inside().namespace();
            let stream = Stream::start(inside, Target::Udp(SocketAddr::new(address, 7)), Some(source), TICK)?;
            wait_until("a hundred datagrams", SOON, || Ok(stream.so_far().sent > 100))?;
        }
        ensure!(echo.datagrams() == 0, "the pod got datagrams from {source}");
        ensure!(node_echo.datagrams() == 0, "the node got datagrams from {source}");
    }
    let own = Stream::start(
        thief.inside().namespace(),
        Target::Udp(SocketAddr::new(server.ipv4()?, 7)),
        Some(thief.ipv4()?),
        TICK,
    )?;
    wait_until("its own address to be heard", SOON, || Ok(own.so_far().answered > 0))?;
    Ok(())
}

pub(crate) fn nat_outgoing(lab: &Lab) -> Result<()> {
    let pools = POOLS.replace("blockSize: 26}", "blockSize: 26, natOutgoing: true}");
    let cluster = Cluster::new(lab, &pools.replace("blockSize: 122}", "blockSize: 122, natOutgoing: true}"))?;
    let workers = [cluster.worker("a", 1)?, cluster.worker("b", 2)?];
    let outside = cluster.outsider("outside", 9)?;
    let pod = workers[0].pod(lab, &PodSpec::new("pod", &[]))?;
    let far = workers[1].pod(lab, &PodSpec::new("far", &[]))?;
    let _echoes =
        [&outside, far.inside()].map(|node| Echo::start(node.namespace(), SocketAddr::new([0_u16; 8].into(), 7)));
    let captures = [Capture::start(&outside, "eth0")?, Capture::start(far.inside(), "eth0")?];
    let [node4, node6] = workers[0].addresses();
    // The host outside has no route to any pod.
    let pairs: [(IpAddr, IpAddr, IpAddr, usize); 4] = [
        ("192.0.2.9".parse()?, node4, pod.ipv4()?, 0),
        ("2001:db8::9".parse()?, node6, pod.ipv6()?, 0),
        (far.ipv4()?, pod.ipv4()?, node4, 1),
        (far.ipv6()?, pod.ipv6()?, node6, 1),
    ];
    for (target, seen, unseen, capture) in pairs {
        let address = SocketAddr::new(target, 7);
        wait_until(&format!("a connection to {target}"), SOON, || connects(pod.inside(), address, false))?;
        let lines = |source: IpAddr| captures[capture].lines(&format!("tcp dst port 7 and src host {source}"));
        // What is captured comes a little later.
        wait_until(&format!("{target} to see {seen}"), SOON, || Ok(!lines(seen)?.is_empty()))?;
        ensure!(lines(unseen)?.is_empty(), "{target} saw {unseen}");
    }
    Ok(())
}

pub(crate) fn restored(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["server", "client"])?;
    let [server, client] = pods.as_slice() else { anyhow::bail!("two pods") };
    let _echo = Echo::start(server.inside().namespace(), "[::]:7".parse()?)?;
    cluster
        .write("policy.yaml", &policy("deny", "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}"))?;
    worker.wait_policies(&["deny"])?;
    let target = SocketAddr::new(server.ipv4()?, 7);
    let nft = |words: &str| worker.node().run("nft", &words.split(' ').collect::<Vec<_>>());
    nft("add table inet firewall")?;
    nft("add chain inet firewall input { type filter hook input priority 0 ; }")?;
    nft("add rule inet firewall input tcp dport 22 counter accept")?;
    let foreign = nft("list table inet firewall")?;
    let before = worker.ruleset()?;
    // The rules of generations, whichever it is by now, are no part of what is compared.
    let marks = || Ok::<_, anyhow::Error>(nft("list chain inet tortie forward")?.matches("ct mark").count());
    for harm in [
        "delete table inet tortie",
        "flush table inet tortie",
        "flush chain inet tortie forward",
        "insert rule inet tortie forward accept",
        "flush set inet tortie spoof4",
        "add table ip other",
    ] {
        let whole = || Ok(marks().is_ok_and(|marks| marks > 3) && worker.ruleset()? == before);
        // A machine that is busy with something else may take its time once.
        let mut took = Vec::new();
        while took.iter().all(|took| *took > Duration::from_secs(1)) {
            ensure!(took.len() < 3, "{harm}: back after {took:?}");
            nft(harm)?;
            if harm == "add table ip other" {
                nft("delete table ip other")?;
            }
            took.push(wait_until(&format!("the table after {harm:?}"), SOON, whole)?);
        }
        ensure!(!connects(client.inside(), target, false)?, "denied again after {harm:?}");
        ensure!(nft("list table inet firewall")? == foreign, "somebody else's table was touched");
    }
    // A change of ours that comes right behind somebody else's does not hide it.
    for number in 0..5 {
        nft("flush chain inet tortie to_pods")?;
        let allow = policy(&format!("allow-{number}"), "{podSelector: {matchLabels: {app: client}}, ingress: [{}]}");
        cluster.write("allow.yaml", &allow)?;
        worker.wait_policies(&["deny", &format!("allow-{number}")])?;
        cluster.remove("allow.yaml")?;
        wait_until("the table to be whole", SOON, || Ok(worker.ruleset()? == before))?;
    }
    ensure_same(&before, &worker.ruleset()?)
}
