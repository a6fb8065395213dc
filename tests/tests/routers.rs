//! The routers of other makers talk to each other: what the fabric says about them is true.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use fabric::{
    Capture, Lab, Need, Node,
    probe::{Echo, Flow, Stream, Target, connect},
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{Test, test};

const SOON: Duration = Duration::from_secs(30);

fn main() {
    let speakers = [Need::BIRD, Need::FRR, Need::GOBGP];
    let labs: Vec<Test> = vec![
        test("bird_frr_and_gobgp_exchange_prefixes", &[&speakers], bird_frr_and_gobgp),
        test("exabgp_hears_and_is_heard", &[Kind::ExaBgp.needs(), Kind::Bird.needs()], exabgp),
        test("openbgpd_hears_and_is_heard", &[Kind::OpenBgpd.needs(), Kind::Bird.needs()], openbgpd),
        test("probes_count_what_is_lost", &[], probes),
    ];
    tests::main(labs)
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

/// Nodes on one switch: `192.0.2.N/24` and `2001:db8::N/64`.
fn nodes(lab: &Lab, names: &[&str]) -> Result<Vec<Node>> {
    let switch = lab.switch("switch")?;
    let mut nodes = Vec::new();
    for (number, name) in (1..).zip(names) {
        let node = lab.node(name)?;
        switch.connect(&node.port("eth0", &[&format!("192.0.2.{number}/24"), &format!("2001:db8::{number}/64")]))?;
        nodes.push(node);
    }
    Ok(nodes)
}

fn bird_frr_and_gobgp(lab: &Lab) -> Result<()> {
    let nodes = nodes(lab, &["bird", "frr", "gobgp"])?;
    let peer = |number: u32| Ok::<_, anyhow::Error>(Peer::new(address(&format!("192.0.2.{number}"))?, 65000 + number));
    let config = |number: u8| Config::new(65000 + u32::from(number), [192, 0, 2, number].into());
    let bird = config(1).peer(peer(2)?).peer(peer(3)?).network("203.0.113.0/24").network("2001:db8:1::/48");
    let mut bird = Router::start(Kind::Bird, &nodes[0], bird)?;
    let frr = Router::start(Kind::Frr, &nodes[1], config(2).peer(peer(1)?).network("198.51.100.0/24"))?;
    let mut gobgp = config(3).peer(peer(1)?).network("10.0.0.0/8").network("2001:db8:3::/48");
    gobgp.ipv6_next_hop = Some(address("2001:db8::3")?);
    let mut gobgp = Router::start(Kind::GoBgp, &nodes[2], gobgp)?;

    let (one, two, three) = (address("192.0.2.1")?, address("192.0.2.2")?, address("192.0.2.3")?);
    bird.wait_established(two, SOON)?;
    bird.wait_established(three, SOON)?;
    frr.wait_established(one, SOON)?;
    gobgp.wait_established(one, SOON)?;
    bird.wait_route("198.51.100.0/24", &[two], SOON)?;
    bird.wait_route("10.0.0.0/8", &[three], SOON)?;
    frr.wait_route("203.0.113.0/24", &[one], SOON)?;
    // BIRD leaves the next hop of a third party on the same subnet alone (RFC 4271 §5.1.3).
    frr.wait_route("10.0.0.0/8", &[three], SOON)?;
    gobgp.wait_route("203.0.113.0/24", &[one], SOON)?;
    bird.wait_route("2001:db8:3::/48", &[address("2001:db8::3")?], SOON)?;
    frr.wait_route("2001:db8:1::/48", &[address("2001:db8::1")?], SOON)?;
    wait_until("FRR's route in the kernel", SOON, || {
        Ok(nodes[1].kernel_routes("bgp")?.contains_key("203.0.113.0/24"))
    })?;

    gobgp.withdraw("10.0.0.0/8")?;
    frr.wait_route("10.0.0.0/8", &[], SOON)?;
    bird.announce("192.88.99.0/24")?;
    frr.wait_route("192.88.99.0/24", &[one], SOON)?;
    bird.kill()?;
    bird.restart()?;
    gobgp.wait_route("192.88.99.0/24", &[one], SOON)?;
    Ok(())
}

fn exabgp(lab: &Lab) -> Result<()> {
    hears_and_is_heard(lab, Kind::ExaBgp)
}

fn openbgpd(lab: &Lab) -> Result<()> {
    hears_and_is_heard(lab, Kind::OpenBgpd)
}

fn hears_and_is_heard(lab: &Lab, kind: Kind) -> Result<()> {
    let nodes = nodes(lab, &["one", "two"])?;
    let (one, two) = (address("192.0.2.1")?, address("192.0.2.2")?);
    let config = Config::new(65001, [192, 0, 2, 1].into()).peer(Peer::new(two, 65002));
    let mut bird = Router::start(Kind::Bird, &nodes[0], config.network("203.0.113.0/24"))?;
    let config = Config::new(65002, [192, 0, 2, 2].into()).peer(Peer::new(one, 65001));
    let mut other = Router::start(kind, &nodes[1], config.network("198.51.100.0/24"))?;
    bird.wait_established(two, SOON)?;
    other.wait_established(one, SOON)?;
    bird.wait_route("198.51.100.0/24", &[two], SOON)?;
    other.wait_route("203.0.113.0/24", &[one], SOON)?;
    other.announce("10.1.0.0/16")?;
    bird.wait_route("10.1.0.0/16", &[two], SOON)?;
    other.withdraw("10.1.0.0/16")?;
    bird.wait_route("10.1.0.0/16", &[], SOON)?;
    bird.withdraw("203.0.113.0/24")?;
    other.wait_route("203.0.113.0/24", &[], SOON)?;
    other.restart()?;
    bird.wait_route("198.51.100.0/24", &[two], SOON)?;
    Ok(())
}

fn probes(lab: &Lab) -> Result<()> {
    let nodes = nodes(lab, &["a", "b"])?;
    let (a, b) = (&nodes[0], &nodes[1]);
    let _echo = Echo::start(b.namespace(), "[::]:7".parse()?)?;
    let capture = Capture::start(b, "eth0")?;
    let tick = Duration::from_millis(1);
    let udp = Stream::start(a.namespace(), Target::Udp("192.0.2.2:7".parse()?), None, tick)?;
    let icmp = Stream::start(a.namespace(), Target::Icmp(address("2001:db8::2")?), None, tick)?;
    let flow = Flow::open(a.namespace(), "192.0.2.2:7".parse()?, tick)?;
    for stream in [&udp, &icmp] {
        wait_until("two hundred answers", SOON, || Ok(stream.so_far().answered >= 200))?;
    }
    flow.wait_alive(SOON)?;
    let icmp = icmp.stop()?;
    ensure!(icmp.lost() == 0, "nothing was in the way: {icmp}");
    ensure!(!capture.lines("udp port 7")?.is_empty(), "the capture saw nothing");

    let before = udp.so_far();
    b.ip_batch("link set eth0 down\n")?;
    flow.wait_cut(Duration::from_millis(200), SOON)?;
    wait_until("a hundred lost", SOON, || Ok(udp.so_far().lost() >= before.lost() + 100))?;
    b.ip_batch("link set eth0 up\n")?;
    wait_until("answers again", SOON, || Ok(udp.so_far().answered > before.answered + 100))?;
    let udp = udp.stop()?;
    ensure!(udp.lost() >= 100 && udp.longest_gap >= Duration::from_millis(100), "the link was down: {udp}");
    ensure!(connect(a.namespace(), "192.0.2.2:7".parse()?, SOON)?.is_ok(), "the echo is there again");
    ensure!(connect(a.namespace(), "192.0.2.2:8".parse()?, SOON)?.is_err(), "nobody is at port 8");
    Ok(())
}
