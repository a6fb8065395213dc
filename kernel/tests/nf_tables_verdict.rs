//! The verdict on a value against the kernel's, on packets that are sent.
//!
//! A dropped packet of this machine shows as `EPERM` where it was sent, so nobody has to wait for anything.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread;

use kernel::nf_tables::{Commit, NfTables};
use nft::{
    Base, Chain, Change, ConnectionState, Datatype, Element, Field, Hook, Outcome, Packet, Rule, Ruleset, Set,
    Statement, Value, Verdict, concat, diff, jhash, protocol,
};
use nix::sched::{CloneFlags, unshare};

/// Chains below the base chain; each enters only later ones, so there are no loops.
const CHAINS: u64 = 5;
const PORTS: u64 = 8;
const RULESETS: usize = 250;
const PACKETS: usize = 40;

/// Small numbers that look random, always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn address(&mut self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, u8::try_from(1 + self.below(6)).unwrap())
    }

    fn port(&mut self) -> u16 {
        u16::try_from(2_000 + self.below(PORTS)).unwrap()
    }

    fn mark(&mut self) -> u32 {
        u32::try_from(self.below(4)).unwrap() << 16 | u32::try_from(self.below(4)).unwrap()
    }

    /// Networks of two addresses, each with ports of its own, so that nothing overlaps.
    fn addresses_and_ports(&mut self) -> Vec<Element> {
        let network = |n| Element::network(ipnetwork::IpNetwork::new(Ipv4Addr::new(127, 0, 0, n).into(), 31).unwrap());
        let one = Element::from(Ipv4Addr::new(127, 0, 0, 1)).dot(Element::port(self.port()));
        let range = |port: u16, more: u64| Element::ports(port..=port + u16::try_from(more).unwrap());
        let ranges = [2, 4].map(|n| network(n).dot(range(self.port(), self.below(4))));
        [one].into_iter().chain(ranges).filter(|_| self.coin()).collect()
    }

    fn verdict(&mut self, level: u64) -> Verdict {
        let target = |numbers: &mut Self| format!("c{}", level + numbers.below(CHAINS - level));
        match self.below(if level < CHAINS { 6 } else { 3 }) {
            0 => Verdict::Accept,
            1 => Verdict::Drop,
            2 => Verdict::Return,
            3 => Verdict::goto(target(self)),
            _ => Verdict::jump(target(self)),
        }
    }

    fn comparison(&mut self) -> Statement {
        let source = ipnetwork::IpNetwork::new(self.address().into(), 30).unwrap();
        let (low, high) = (self.port(), self.port());
        let (low, high) = (Value::port(low.min(high)), Value::port(low.max(high)));
        let pair = || concat([Field::Ip4Daddr, Field::ThDport]);
        match self.below(16) {
            0 => Field::Ip4Saddr.is_in_network(source),
            1 => Field::Ip4Daddr.is_not_in_network(source),
            2 => Field::ThDport.is_between(low, high),
            3 => Field::ThDport.is_not_between(low, high),
            4 => Field::Ip4Saddr.within_set("hash"),
            5 => Field::Ip4Daddr.not_within_set("ranges"),
            6 => pair().within_set("pairs"),
            7 => pair().not_within(self.addresses_and_ports()),
            8 => Field::CtState.has_any(ConnectionState::New.bit()),
            9 => Field::CtState.is_not(Value::state(ConnectionState::New.bit())),
            10 => Field::CtMark.masked_is(0xffff_0000, self.mark() & 0xffff_0000),
            11 => Field::MetaMark.masked_is_not(0xffff, self.mark() & 0xffff),
            12 => Field::Oifname.begins_with(if self.coin() { "l" } else { "cali" }),
            13 => nft::Key::from(jhash([Field::Ip4Saddr, Field::Ip4Daddr, Field::ThDport], 7, 0x1234))
                .within([0, 1, 4].map(Value::slot)),
            14 => Field::Ip6Saddr.within_set("six"),
            _ => concat([Field::L4Proto, Field::ThDport]).within([
                Element::protocol(protocol::UDP).dot(Element::port(self.port())),
                Element::protocol(protocol::TCP).dot(Element::port(1)),
            ]),
        }
    }

    fn rule(&mut self, level: u64) -> Rule {
        let mut statements: Vec<_> = (0..self.below(3)).map(|_| self.comparison()).collect();
        statements.push(match self.below(7) {
            0 => Statement::set_ct_mark(0xffff, self.mark() & 0xffff_0000),
            1 => Statement::set_meta_mark(0xffff_0000, self.mark() & 0xffff),
            2 => Field::ThDport
                .vmap_of((0..3).map(|_| (Value::port(self.port()), self.verdict(level))).collect::<Vec<_>>()),
            3 if level == 0 => Field::Ip4Saddr.vmap("dispatch"),
            4 => Statement::Counter,
            _ => self.verdict(level).into(),
        });
        Rule::new(statements)
    }

    fn ruleset(&mut self) -> Ruleset {
        let mut ruleset = Ruleset::default();
        let members: Vec<_> = (0..self.below(4)).map(|_| self.address()).collect();
        ruleset.add_set("hash", Set::of([Datatype::Ipv4Addr]).with_members(members));
        let networks: Vec<_> = (0..self.below(3))
            .map(|_| Element::network(ipnetwork::IpNetwork::new(self.address().into(), 31).unwrap()))
            .collect();
        ruleset.add_set("ranges", Set::intervals([Datatype::Ipv4Addr]).with_members(networks).merge_ranges());
        let pairs = Set::intervals([Datatype::Ipv4Addr, Datatype::InetService]);
        ruleset.add_set("pairs", pairs.with_members(self.addresses_and_ports()));
        ruleset.add_set("six", Set::of([Datatype::Ipv6Addr]));
        let entries: Vec<_> = (0..4).map(|_| (self.address(), self.verdict(0))).collect();
        ruleset.add_set("dispatch", Set::verdict_map([Datatype::Ipv4Addr]).with_entries(entries));
        for chain in 0..CHAINS {
            let rules: Vec<_> = (0..=self.below(3)).map(|_| self.rule(chain + 1)).collect();
            ruleset.add_chain(format!("c{chain}"), Chain::new(rules));
        }
        for (name, priority) in [("first", -10), ("second", 10)] {
            let rules: Vec<_> = (0..=self.below(4)).map(|_| self.rule(0)).collect();
            let policy = if self.below(4) == 0 { nft::Policy::Drop } else { nft::Policy::Accept };
            let base = Base { policy, ..Base::filter(Hook::Output, priority) };
            ruleset.add_chain(name, Chain::base(base, rules));
        }
        ruleset
    }
}

/// Sends a datagram; what the kernel's output hook did with it.
fn send(source: Ipv4Addr, destination: Ipv4Addr, port: u16) -> (u16, Outcome) {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    let local = socket.local_addr().unwrap().port();
    match socket.send_to(b"x", (destination, port)) {
        Ok(_) => (local, Outcome::Accepted),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (local, Outcome::Dropped),
        Err(error) => panic!("send: {error}"),
    }
}

fn compare(tables: &mut NfTables) {
    let mut numbers = Numbers(7);
    let mut actual = Ruleset::default();
    let mut seen = [0, 0];
    for _ in 0..RULESETS {
        let ruleset = numbers.ruleset();
        let changes: Vec<Change> = diff(&actual, &ruleset);
        match tables.commit(&changes).unwrap() {
            Commit::Done => {}
            other => panic!("{other:?}\n{}", nft::text(&ruleset)),
        }
        for _ in 0..PACKETS {
            let (source, destination, port) = (numbers.address(), numbers.address(), numbers.port());
            let (source_port, outcome) = send(source, destination, port);
            let packet = Packet::new(IpAddr::V4(source), IpAddr::V4(destination), protocol::UDP)
                .with_ports(source_port, port)
                .with_interfaces(None, Some("lo"));
            let judgement = nft::verdict(&ruleset, &packet);
            assert_eq!(judgement.outcome, outcome, "{packet:?}\n{judgement:?}\n{}", nft::text(&ruleset));
            seen[usize::from(outcome == Outcome::Accepted)] += 1;
        }
        actual = ruleset;
    }
    assert!(seen.iter().all(|count| *count > RULESETS * PACKETS / 10), "one-sided: {seen:?}");
}

#[test]
fn the_value_and_the_kernel_agree_on_ten_thousand_packets() {
    const NAME: &str = "the_value_and_the_kernel_agree_on_ten_thousand_packets";
    if !nix::unistd::geteuid().is_root() {
        let exe = std::env::current_exe().unwrap();
        let status = Command::new("unshare").arg("-rn").arg(exe).args(["--exact", NAME]).status();
        assert!(status.unwrap().success(), "in a user namespace");
        return;
    }
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        compare(&mut NfTables::open().unwrap());
    };
    thread::spawn(run).join().unwrap();
}
