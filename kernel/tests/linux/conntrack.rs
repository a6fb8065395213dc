use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use kernel::conntrack::{Conntrack, Flow, FlowFilter};
use kernel::{Family, NetNs};

use crate::namespace::isolated;

fn insert(arguments: &str) {
    let output = Command::new("conntrack").arg("-I").args(arguments.split_whitespace()).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Three IPv4 flows and one IPv6 flow; the second goes through destination NAT.
fn some_flows() -> Conntrack {
    insert("-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 53 --timeout 100 --mark 0x5");
    insert(
        "-p udp -s 10.0.0.3 -d 10.96.0.10 -r 10.0.0.2 -q 10.0.0.3 --sport 1001 --dport 53 --reply-port-src 53 --reply-port-dst 1001 --timeout 100",
    );
    insert("-p tcp -s 10.0.0.4 -d 10.0.0.5 --sport 1002 --dport 80 --timeout 100 --state ESTABLISHED");
    insert("-p udp -s fd00::1 -d fd00::2 --sport 1003 --dport 53 --timeout 100");
    Conntrack::open_in(&NetNs::current().expect("current")).expect("opens")
}

fn ports(flows: &[Flow]) -> Vec<u16> {
    let mut ports: Vec<_> = flows.iter().map(|flow| flow.original.source_port).collect();
    ports.sort_unstable();
    ports
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

#[test]
fn flows_are_listed_with_both_directions_and_their_mark() {
    isolated(|| {
        let mut conntrack = some_flows();
        let flows = conntrack.flows(FlowFilter::default()).expect("list");
        assert_eq!(ports(&flows), [1000, 1001, 1002, 1003]);
        let nat = flows.iter().find(|flow| flow.original.source_port == 1001).expect("the flow with NAT");
        assert_eq!((nat.original.destination, nat.reply.source), (address("10.96.0.10"), address("10.0.0.2")));
        assert_eq!((nat.original.protocol, nat.original.destination_port), (17, 53));
        let marked = FlowFilter { mark: Some((0x5, 0xf)), ..FlowFilter::default() };
        assert_eq!(ports(&conntrack.flows(marked).expect("list")), [1000]);
        let v6 = FlowFilter { family: Some(Family::Ipv6), ..FlowFilter::default() };
        assert_eq!(ports(&conntrack.flows(v6).expect("list")), [1003]);
    });
}

#[test]
fn flows_of_an_address_are_deleted_in_whatever_direction_it_stands() {
    isolated(|| {
        let mut conntrack = some_flows();
        assert_eq!(conntrack.delete_by_addresses(&[address("10.0.0.2")].into()).expect("deleted"), 2);
        assert_eq!(ports(&conntrack.flows(FlowFilter::default()).expect("list")), [1002, 1003]);
        assert_eq!(conntrack.delete_by_addresses(&[address("10.0.0.2")].into()).expect("deleted"), 0);
        assert_eq!(conntrack.delete_by_addresses(&[address("fd00::1")].into()).expect("deleted"), 1);
        assert_eq!(conntrack.delete(FlowFilter::default(), |flow| flow.original.protocol == 6).expect("deleted"), 1);
        assert_eq!(conntrack.flows(FlowFilter::default()).expect("list"), []);
    });
}

#[test]
fn flows_of_both_families_are_deleted_at_once_and_those_of_nobody_are_left() {
    isolated(|| {
        let mut conntrack = some_flows();
        assert_eq!(conntrack.delete_by_addresses(&BTreeSet::new()).expect("deleted"), 0);
        let both = BTreeSet::from([address("10.0.0.2"), address("fd00::1")]);
        assert_eq!(conntrack.delete_by_addresses(&both).expect("deleted"), 3);
        assert_eq!(ports(&conntrack.flows(FlowFilter::default()).expect("list")), [1002]);
    });
}

#[test]
fn many_flows_are_deleted() {
    isolated(|| {
        for port in 1..=600 {
            insert(&format!("-p udp -s 10.0.0.1 -d 10.0.0.2 --sport {port} --dport 53 --timeout 100"));
        }
        let mut conntrack = Conntrack::open().expect("opens");
        assert_eq!(conntrack.delete_by_addresses(&[address("10.0.0.1")].into()).expect("deleted"), 600);
        assert_eq!(conntrack.flows(FlowFilter::default()).expect("list"), []);
    });
}

#[test]
fn bits_of_the_mark_are_cleared_and_the_others_stay() {
    isolated(|| {
        insert("-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 53 --timeout 100 --mark 0x7fff4005");
        insert("-p udp -s fd00::1 -d fd00::2 --sport 1001 --dport 53 --timeout 100 --mark 0x80010000");
        let mut conntrack = Conntrack::open().expect("opens");
        assert_eq!(conntrack.clear_mark(FlowFilter::default(), 0x7fff_0000).expect("changed"), 2);
        let mut marks: Vec<_> = conntrack.flows(FlowFilter::default()).expect("list").iter().map(|f| f.mark).collect();
        marks.sort_unstable();
        assert_eq!(marks, [0x4005, 0x8000_0000]);
    });
}
