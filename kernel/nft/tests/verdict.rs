//! What rulesets do with packets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

mod support;

use nft::{ConnectionState, Direction, Judgement, Outcome, Packet, Reject, Value, protocol, verdict};
use support::v4;

const POD: &str = "cali1a2b3c4d5e6";

fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    Packet::new(v4(source), v4(destination), protocol::TCP).with_ports(40_000, port)
}

fn judge(packet: &Packet) -> Judgement {
    verdict(&support::policy(), packet)
}

fn steps(judgement: &Judgement) -> Vec<String> {
    judgement.steps.iter().map(|step| format!("{} {}", step.chain, step.rule)).collect()
}

#[test]
fn egress_returns_and_ingress_accepts() {
    let packet = tcp("10.0.0.1", "10.0.1.1", 443).with_interfaces(Some(POD), Some("eth0"));
    let judgement = judge(&packet);
    assert_eq!(judgement.outcome, Outcome::Accepted);
    assert_eq!(judgement.packet.conntrack.mark, 0x0001_0000);
    assert_eq!(steps(&judgement), ["prerouting_raw 1", "spoof 0", "forward 4", "forward 5", "from_pods 0", "go_7 0"]);
}

#[test]
fn what_no_rule_lets_through_is_denied() {
    let judgement = judge(&tcp("10.0.0.1", "10.0.1.1", 444).with_interfaces(Some(POD), Some("eth0")));
    assert_eq!(judgement.outcome, Outcome::Dropped);
    assert_eq!(steps(&judgement).last().unwrap(), "deny 1");
    // Only an established flow is cut; a new one has no entry that would stay.
    assert_eq!(judgement.packet.conntrack.mark, 0x0001_0000);
}

#[test]
fn a_flow_that_lost_its_permission_is_cut_in_both_directions() {
    let mut packet = tcp("10.0.0.1", "10.0.1.1", 444).with_interfaces(Some(POD), Some("eth0"));
    packet.conntrack.state = ConnectionState::Established;
    packet.conntrack.mark = 0x0007_4001;
    let judgement = judge(&packet);
    assert_eq!((judgement.outcome, judgement.packet.conntrack.mark), (Outcome::Dropped, 0x8000_4001));
    let mut reply = packet.clone().with_interfaces(Some("eth0"), Some(POD));
    reply.conntrack.direction = Direction::Reply;
    reply.conntrack.mark = 0x8000_4001;
    assert_eq!(judge(&reply).outcome, Outcome::Dropped);
}

#[test]
fn a_flow_of_this_generation_is_not_judged_again() {
    let mut packet = tcp("10.0.0.1", "10.0.1.1", 444).with_interfaces(Some(POD), Some("eth0"));
    packet.conntrack.state = ConnectionState::Established;
    packet.conntrack.mark = 0x0001_0000;
    let judgement = judge(&packet);
    assert_eq!(judgement.outcome, Outcome::Accepted);
    assert_eq!(steps(&judgement).last().unwrap(), "forward 0");
}

#[test]
fn replies_of_older_generations_pass() {
    let mut packet = tcp("10.0.1.1", "10.0.0.1", 40_000).with_interfaces(Some("eth0"), Some(POD));
    packet.conntrack.state = ConnectionState::Established;
    packet.conntrack.direction = Direction::Reply;
    assert_eq!(judge(&packet).outcome, Outcome::Accepted);
}

#[test]
fn invalid_is_dropped_and_related_accepted() {
    let mut packet = tcp("10.0.0.1", "10.0.1.1", 444).with_interfaces(Some(POD), Some("eth0"));
    packet.conntrack.state = ConnectionState::Invalid;
    assert_eq!(judge(&packet).outcome, Outcome::Dropped);
    packet.conntrack.state = ConnectionState::Related;
    assert_eq!(judge(&packet).outcome, Outcome::Accepted);
}

#[test]
fn foreign_sources_and_unknown_interfaces_are_dropped() {
    let spoofed = tcp("10.0.0.2", "10.0.1.1", 443).with_interfaces(Some(POD), Some("eth0"));
    assert_eq!(steps(&judge(&spoofed)).last().unwrap(), "spoof 3");
    let unknown = tcp("192.0.2.1", "10.0.0.5", 8080).with_interfaces(Some("eth0"), Some("cali9"));
    assert_eq!(judge(&unknown).outcome, Outcome::Dropped);
}

#[test]
fn ranges_of_ports_in_concatenations_match_part_by_part() {
    let to = |port, protocol| {
        let mut packet = tcp("192.168.3.4", "10.0.0.1", port).with_interfaces(Some("eth0"), Some(POD));
        packet.protocol = protocol;
        steps(&judge(&packet)).contains(&"gi_7 1".to_owned())
    };
    assert!(to(80, protocol::TCP) && to(85, protocol::TCP) && to(90, protocol::TCP));
    assert!(!to(79, protocol::TCP) && !to(91, protocol::TCP) && !to(85, protocol::UDP));
    assert!(to(53, protocol::UDP));
}

#[test]
fn a_rejected_packet_says_so() {
    let mut ruleset = support::services();
    let packet = tcp("10.0.0.1", "10.96.0.11", 443).with_interfaces(Some(POD), Some("eth0"));
    assert_eq!(verdict(&ruleset, &packet).outcome, Outcome::Rejected(Reject::PortUnreachable));
    let unknown = tcp("10.0.0.1", "10.97.0.1", 1).with_interfaces(Some(POD), Some("eth0"));
    assert_eq!(verdict(&ruleset, &unknown).outcome, Outcome::Rejected(Reject::PortUnreachable));
    ruleset.chains.retain(|name, _| name.as_str() != "refuse");
    assert_eq!(verdict(&ruleset, &unknown).outcome, Outcome::Dropped);
}

#[test]
fn a_service_is_translated_to_the_slot_that_was_drawn() {
    let ruleset = support::services();
    for random in 0..6 {
        let mut packet = tcp("192.0.2.7", "10.96.0.10", 80).with_interfaces(Some("eth0"), Some(POD));
        packet.random = random;
        let judgement = verdict(&ruleset, &packet);
        assert_eq!(judgement.outcome, Outcome::Accepted);
        assert_eq!(judgement.packet.destination, v4(&format!("10.0.0.{}", random % 3 + 1)));
        assert_eq!(judgement.packet.destination_port, 8080);
    }
}

#[test]
fn source_ranges_are_checked_before_translation() {
    let ruleset = support::services();
    let from =
        |source| verdict(&ruleset, &tcp(source, "10.96.0.10", 80).with_interfaces(Some("eth0"), Some(POD))).outcome;
    assert_eq!(from("198.51.100.3"), Outcome::Accepted);
    assert_eq!(from("203.0.113.1"), Outcome::Accepted);
    assert_eq!(from("198.51.100.10"), Outcome::Dropped);
}

#[test]
fn marked_connections_are_masqueraded() {
    let mut packet = tcp("203.0.113.9", "10.0.0.1", 8080).with_interfaces(Some("eth0"), Some("cali5"));
    let ruleset = support::services();
    assert!(!verdict(&ruleset, &packet).masqueraded);
    packet.conntrack.mark = 0x4000;
    assert!(verdict(&ruleset, &packet).masqueraded);
    packet.conntrack.state = ConnectionState::Established;
    assert!(!verdict(&ruleset, &packet).masqueraded);
}

#[test]
fn fields_of_one_family_do_not_match_the_other() {
    let packet = Packet::new(v4("fd00::1"), v4("fd00::2"), protocol::TCP).with_ports(1, 80);
    let judgement = judge(&packet.with_interfaces(Some(POD), Some("eth0")));
    assert_eq!(judgement.outcome, Outcome::Accepted);
    assert_eq!(steps(&judgement)[1], "spoof 1");
}

#[test]
fn values_are_bytes_in_the_order_of_the_kernel() {
    assert_eq!(Value::port(80).dot(Value::protocol(6)).as_bytes(), [0, 80, 0, 0, 6, 0, 0, 0]);
    assert_eq!(Value::ifname("a").as_bytes().len(), 16);
}
