//! Policy of the layout.

use std::net::IpAddr;

use nft::{
    Base, Chain, ConnectionState, Datatype, Direction, Element, Family, Field, Hook, MarkTarget, MarkValue, Reject,
    Ruleset, Set, Statement, Value, Verdict, concat, priority, protocol,
};

use super::{rule, tcp, v4};

/// Policy as in the layout, with marks of a generation.
pub(crate) fn policy() -> Ruleset {
    const ADDRESS_PORT: [Datatype; 3] = [Datatype::Ipv4Addr, Datatype::InetProto, Datatype::InetService];
    let mut ruleset = Ruleset::default();
    let pod = Element::ifname("cali1a2b3c4d5e6");
    let other = Element::ifname("cali0");
    ruleset.add_set(
        "from_pod",
        Set::verdict_map([Datatype::Ifname])
            .with_entries([(pod.clone(), Verdict::goto("go_7")), (other.clone(), Verdict::Return)]),
    );
    ruleset.add_set(
        "to_pod",
        Set::verdict_map([Datatype::Ifname])
            .with_entries([(pod.clone(), Verdict::goto("gi_7")), (other.clone(), Verdict::Accept)]),
    );
    ruleset.add_set(
        "spoof4",
        Set::of([Datatype::Ifname, Datatype::Ipv4Addr])
            .with_members([pod.clone().dot(v4("10.0.0.1")), other.dot(v4("10.0.0.2"))]),
    );
    ruleset.add_set("spoof6", Set::of([Datatype::Ifname, Datatype::Ipv6Addr]).with_members([pod.dot(v4("fd00::1"))]));
    ruleset.add_set("s12", Set::of([Datatype::Ipv4Addr]).with_members((1..=6).map(|n| IpAddr::from([10, 0, 1, n]))));
    ruleset.add_set("s12_6", Set::of([Datatype::Ipv6Addr]).with_members([v4("fd00::2")]));
    let mut n3 = Set::intervals([Datatype::Ipv4Addr]).with_members(
        ["192.168.0.0/16", "10.1.0.0/24", "10.1.1.0/24", "172.16.0.1/32", "255.0.0.0/8"]
            .map(|network| Element::network(network.parse().unwrap())),
    );
    n3.insert(Element::range(v4("1.0.0.3"), v4("1.0.0.9")));
    n3.comment = Some("networks of a rule".into());
    ruleset.add_set("n3", n3.merge_ranges());
    ruleset.add_set(
        "n3_6",
        Set::intervals([Datatype::Ipv6Addr]).with_members([Element::network("fd00:1::/64".parse().unwrap())]),
    );
    ruleset.add_set(
        "q5",
        Set::of(ADDRESS_PORT).with_members([Element::from(v4("10.0.0.9")).dot(tcp()).dot(Element::port(8080))]),
    );
    ruleset.add_set(
        "ident",
        Set::map([Datatype::Ipv4Addr], [Datatype::Mark])
            .with_entries([(v4("10.0.0.1"), Value::mark(300)), (v4("10.0.0.2"), Value::mark(2))]),
    );
    ruleset.add_set(
        "a7",
        Set::of([Datatype::Mark, Datatype::InetProto, Datatype::InetService])
            .with_members([300u32, 2].map(|mark| Element::from(Value::mark(mark)).dot(tcp()).dot(Element::port(80)))),
    );
    policy_chains(&mut ruleset);
    ruleset
}

fn policy_chains(ruleset: &mut Ruleset) {
    let established = || Field::CtState.has_any(ConnectionState::Established.bit());
    ruleset.add_chain(
        "spoof",
        Chain::new([
            rule([concat([Field::Iifname, Field::Ip4Saddr]).within_set("spoof4"), Statement::accept()]),
            rule([concat([Field::Iifname, Field::Ip6Saddr]).within_set("spoof6"), Statement::accept()]),
            rule([Field::Ip6Saddr.is_in_network("fe80::/10".parse().unwrap()), Statement::accept()]),
            rule([Statement::drop()]),
        ]),
    );
    ruleset.add_chain(
        "prerouting_raw",
        Chain::base(
            Base::filter(Hook::Prerouting, priority::RAW),
            [
                rule([
                    Field::L4Proto.is(Value::protocol(protocol::UDP)),
                    Field::ThDport.is(Value::port(4789)),
                    Statement::Notrack,
                ]),
                rule([Field::Iifname.begins_with("cali"), Statement::goto("spoof")]),
            ],
        ),
    );
    ruleset.add_chain(
        "deny",
        Chain::new([
            rule([established(), Statement::set_ct_mark(0xffff, 0x8000_0000)]),
            rule([Statement::Counter, Statement::drop()]),
        ]),
    );
    ruleset
        .add_chain("from_pods", Chain::new([rule([Field::Iifname.vmap("from_pod")]), rule([Statement::goto("deny")])]));
    ruleset.add_chain("to_pods", Chain::new([rule([Field::Oifname.vmap("to_pod")]), rule([Statement::goto("deny")])]));
    ruleset.add_chain("forward", forward());
    ruleset.add_chain(
        "go_7",
        Chain::new([
            rule([
                Field::Ip4Daddr.within_set("s12"),
                concat([Field::L4Proto, Field::ThDport])
                    .within([tcp().dot(Element::port(80)), tcp().dot(Element::port(443))]),
                Statement::return_(),
            ]),
            rule([concat([Field::Ip4Daddr, Field::L4Proto, Field::ThDport]).within_set("q5"), Statement::return_()]),
            rule([Field::Ip6Daddr.within_set("s12_6"), Statement::return_()]),
            rule([Statement::goto("deny")]),
        ]),
    );
    ruleset.add_chain("gi_7", ingress());
    ruleset.add_chain(
        "postrouting_nat",
        Chain::base(
            Base::nat(Hook::Postrouting, priority::SRCNAT),
            [
                rule([Field::Ip4Saddr.within_set("n3"), Field::Ip4Daddr.not_within_set("n3"), Statement::masquerade()]),
                rule([Field::Ip6Saddr.within_set("n3_6"), Statement::Masquerade { fully_random: false }]),
            ],
        ),
    );
}

fn forward() -> Chain {
    let established = || Field::CtState.has_any(ConnectionState::Established.bit());
    Chain::base(
        Base::filter(Hook::Forward, priority::FILTER),
        [
            rule([established(), Field::CtMark.masked_is(0xffff_0000, 0x0001_0000), Statement::accept()]),
            rule([Field::CtState.vmap_of([
                (Value::state(ConnectionState::Invalid.bit()), Verdict::Drop),
                (Value::state(ConnectionState::Related.bit()), Verdict::Accept),
            ])]),
            rule([Field::CtMark.masked_is_not(0x8000_0000, 0), Statement::drop()]),
            rule([established(), Field::CtDirection.is(Value::direction(Direction::Reply)), Statement::accept()]),
            rule([Statement::set_ct_mark(0xffff, 0x0001_0000)]),
            rule([Field::Iifname.begins_with("cali"), Statement::jump("from_pods")]),
            rule([Field::Oifname.begins_with("cali"), Statement::goto("to_pods")]),
        ],
    )
}

/// Every kind of match that a policy has.
fn ingress() -> Chain {
    let port = |port| Value::port(port);
    Chain::new([
        rule([
            Field::Ip4Saddr.within_set("s12"),
            concat([Field::L4Proto, Field::ThDport]).within([tcp().dot(Element::port(8080))]),
            Statement::accept(),
        ])
        .with_comment("default/web rule 1"),
        rule([
            Field::Ip4Saddr.within_set("n3"),
            concat([Field::L4Proto, Field::ThDport])
                .within([tcp().dot(Element::ports(80..=90)), Element::protocol(protocol::UDP).dot(Element::port(53))]),
            Statement::accept(),
        ]),
        rule([
            Field::Ip4Saddr.not_within_set("n3"),
            Field::L4Proto.is_not(Value::protocol(protocol::TCP)),
            Statement::goto("deny"),
        ]),
        rule([
            Field::L4Proto.is(Value::protocol(protocol::TCP)),
            Field::ThDport.is_between(port(1000), port(2000)),
            Statement::accept(),
        ]),
        rule([
            Field::L4Proto.is(Value::protocol(protocol::TCP)),
            Field::ThDport.is_not_between(port(1), port(2)),
            Statement::accept(),
        ]),
        rule([
            Field::L4Proto.is(Value::protocol(protocol::UDP)),
            Field::ThSport.within([Element::port(53), Element::ports(100..=200)]),
            Statement::accept(),
        ]),
        rule([
            Field::L4Proto.is(Value::protocol(protocol::TCP)),
            Field::ThSport.is(port(1)),
            Field::ThDport.is(port(2)),
            Statement::accept(),
        ]),
        rule([Field::IcmpType.is(Value::icmp(8)), Statement::accept()]),
        rule([Field::IcmpType.is(Value::icmp(3)), Field::IcmpCode.is(Value::icmp(4)), Statement::accept()]),
        rule([Field::Icmpv6Type.within([Value::icmp(128), Value::icmp(135)]), Statement::accept()]),
        rule([
            Field::Ip4Saddr.is_in_network("10.2.0.0/15".parse().unwrap()),
            Field::Ip4Daddr.is_not(v4("10.9.9.9")),
            Statement::accept(),
        ]),
        rule([
            Field::Ip4Saddr.is_not_in_network("10.2.0.0/16".parse().unwrap()),
            Statement::Log { prefix: "denied: ".into() },
        ]),
        rule([
            Field::Ip4Saddr
                .within(["10.0.0.0/8".parse::<ipnetwork::IpNetwork>().unwrap(), "192.168.1.1/32".parse().unwrap()]),
            Statement::accept(),
        ]),
        rule([Field::NfProto.is(Value::family(Family::Ipv6)), Statement::goto("deny")]),
        rule([Statement::SetMark {
            target: MarkTarget::Packet,
            value: MarkValue::Map { key: Field::Ip4Saddr.into(), map: "ident".into() },
        }]),
        rule([concat([Field::MetaMark, Field::L4Proto, Field::ThDport]).within_set("a7"), Statement::accept()]),
        rule([
            Field::CtState.is_not(Value::state(ConnectionState::New.bit())),
            Field::MetaMark.is(Value::mark(7)),
            Statement::set_meta_mark(0, 5),
        ]),
        rule([
            Field::L4Proto.within([Value::protocol(protocol::TCP), Value::protocol(protocol::UDP)]),
            Statement::Reject(Reject::AdminProhibited),
        ]),
        rule([Statement::goto("deny")]),
    ])
}
