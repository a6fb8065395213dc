//! Rulesets of the layout, for tests here and in `kernel`.
#![allow(dead_code, reason = "every test binary uses another part")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use nft::{
    Base, Chain, Change, ConnectionState, Datatype, Direction, DynamicOperation, Element, Expression, Family, Field,
    Hook, Key, MarkTarget, MarkValue, NumgenMode, Reject, Rule, Ruleset, Set, Statement, Value, Verdict, concat, jhash,
    numgen, priority, protocol,
};

pub(crate) fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn tcp() -> Element {
    Element::protocol(protocol::TCP)
}

fn rule(statements: impl IntoIterator<Item = Statement>) -> Rule {
    Rule::new(statements)
}

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

fn endpoint(address: &str, port: u16) -> Value {
    Value::from(v4(address)).dot(Value::port(port))
}

/// Services as in the layout: a frontend of three endpoints, affinity, node ports, refusal.
pub(crate) fn services() -> Ruleset {
    use Datatype::{InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark, Slot};
    let mut ruleset = Ruleset::default();
    let frontend = || Element::from(v4("10.96.0.10")).dot(tcp()).dot(Element::port(80));
    let slot = |n| frontend().dot(Value::slot(n));
    ruleset.add_set(
        "svc4",
        Set::verdict_map([Ipv4Addr, InetProto, InetService]).with_entries([
            (frontend(), Verdict::goto("c3_4")),
            (Element::from(v4("10.96.0.11")).dot(tcp()).dot(Element::port(443)), Verdict::goto("refuse")),
        ]),
    );
    ruleset.add_set(
        "ep4",
        Set::map([Ipv4Addr, InetProto, InetService, Slot], [Ipv4Addr, InetService]).with_entries(
            (0..3)
                .map(|n| (slot(n), endpoint(&format!("10.0.0.{}", n + 1), 8080)))
                .chain([(slot(65536), endpoint("10.0.0.9", 8080))]),
        ),
    );
    ruleset.add_set(
        "np4",
        Set::verdict_map([InetProto, InetService])
            .with_entries([(tcp().dot(Element::port(30080)), Verdict::goto("n3_4"))]),
    );
    ruleset.add_set(
        "nep4",
        Set::map([InetProto, InetService, Slot], [Ipv4Addr, InetService]).with_entries(
            (0..3).map(|n| (tcp().dot(Element::port(30080)).dot(Value::slot(n)), endpoint("10.0.0.1", 8080))),
        ),
    );
    ruleset.add_set("ep6", Set::map([Ipv6Addr, InetProto, InetService, Slot], [Ipv6Addr, InetService]));
    ruleset.add_set("nodeip4", Set::of([Ipv4Addr]).with_members([v4("192.0.2.1")]));
    ruleset.add_set(
        "svccidr4",
        Set::intervals([Ipv4Addr]).with_members([Element::network("10.96.0.0/12".parse().unwrap())]),
    );
    ruleset.add_set(
        "hairpin4",
        Set::of([Ipv4Addr, Ipv4Addr]).with_members([Element::from(v4("10.0.0.1")).dot(v4("10.0.0.1"))]),
    );
    ruleset.add_set("guarded4", Set::of([Ipv4Addr, InetProto, InetService]).with_members([frontend()]));
    ruleset.add_set(
        "allowed4",
        Set::intervals([Ipv4Addr, InetProto, InetService, Ipv4Addr]).with_members([
            frontend().dot(Element::network("192.0.2.0/24".parse().unwrap())),
            frontend().dot(Element::range(v4("198.51.100.3"), v4("198.51.100.9"))),
            frontend().dot(v4("203.0.113.1")),
        ]),
    );
    let mut affinity = Set::map([Ipv4Addr, Ipv4Addr, InetProto, InetService], [Mark]);
    (affinity.dynamic, affinity.timeout, affinity.size) = (true, Some(Duration::from_secs(3 * 3600)), Some(262_144));
    ruleset.add_set("aff4", affinity);
    ruleset.add_set(
        "affslot4",
        Set::map([Ipv4Addr, InetProto, InetService, Slot], [Mark]).with_entries([(slot(0), Value::mark(1))]),
    );
    ruleset.add_set(
        "affep4",
        Set::map([Ipv4Addr, InetProto, InetService, Mark], [Ipv4Addr, InetService])
            .with_entries([(frontend().dot(Value::mark(1)), endpoint("10.0.0.1", 8080))]),
    );
    service_chains(&mut ruleset);
    ruleset
}

fn service_key() -> Key {
    concat([Field::Ip4Daddr, Field::L4Proto, Field::ThDport])
}

fn dnat(key: Key, map: &str) -> Rule {
    let protocols = [protocol::TCP, protocol::UDP, protocol::SCTP].map(Value::protocol);
    rule([Field::L4Proto.within(protocols), Statement::Dnat { family: Family::Ipv4, key, map: map.into() }])
}

fn service_chains(ruleset: &mut Ruleset) {
    let not_from_pod = || rule([Field::Ip4Saddr.not_within_set("svccidr4"), Statement::set_ct_mark(!0x4000, 0x4000)]);
    ruleset.add_chain("refuse", Chain::new([rule([Statement::Reject(Reject::PortUnreachable)])]));
    ruleset.add_chain(
        "services4",
        Chain::new([
            rule([service_key().vmap("svc4")]),
            rule([Field::Ip4Daddr.within_set("nodeip4"), concat([Field::L4Proto, Field::ThDport]).vmap("np4")]),
            rule([Field::Ip4Daddr.within_set("svccidr4"), Statement::goto("refuse")]),
        ]),
    );
    ruleset.add_chain(
        "services",
        Chain::new([rule([Field::NfProto.vmap_of([
            (Value::family(Family::Ipv4), Verdict::jump("services4")),
            (Value::family(Family::Ipv6), Verdict::Return),
        ])])]),
    );
    for (name, hook) in [("prerouting_nat", Hook::Prerouting), ("output_nat", Hook::Output)] {
        ruleset.add_chain(name, Chain::base(Base::nat(hook, priority::DSTNAT), [rule([Statement::jump("services")])]));
    }
    ruleset.add_chain(
        "prerouting_filter",
        Chain::base(
            Base::filter(Hook::Prerouting, -110),
            [rule([
                Field::CtState.has_any(ConnectionState::New.bit()),
                service_key().within_set("guarded4"),
                service_key().dot(Field::Ip4Saddr).not_within_set("allowed4"),
                Statement::drop(),
            ])],
        ),
    );
    ruleset.add_chain(
        "c3_4",
        Chain::new([dnat(service_key().dot(numgen(3)), "ep4"), dnat(service_key().dot(numgen(1)), "ep4")]),
    );
    let offset = Expression::Numgen { mode: NumgenMode::Incremental, modulus: 5, offset: 65536 };
    ruleset.add_chain("l1_5_4", Chain::new([dnat(service_key().dot(offset), "ep4"), rule([Statement::drop()])]));
    ruleset.add_chain(
        "h3_4",
        Chain::new([
            dnat(service_key().dot(jhash([Field::Ip4Saddr], 3, 7)), "ep4"),
            dnat(
                service_key().dot(jhash(
                    [Field::Ip4Saddr, Field::Ip4Daddr, Field::ThSport, Field::ThDport],
                    251,
                    0xabcd,
                )),
                "ep4",
            ),
            rule([
                Field::L4Proto.within([protocol::TCP, protocol::UDP].map(Value::protocol)),
                Statement::Dnat {
                    family: Family::Ipv6,
                    key: concat([Field::Ip6Daddr, Field::L4Proto, Field::ThDport]).dot(jhash(
                        [Field::Ip6Saddr],
                        251,
                        1,
                    )),
                    map: "ep6".into(),
                },
            ]),
        ]),
    );
    ruleset.add_chain(
        "n3_4",
        Chain::new([not_from_pod(), dnat(concat([Field::L4Proto, Field::ThDport]).dot(numgen(3)), "nep4")]),
    );
    let client = || concat([Field::Ip4Saddr, Field::Ip4Daddr, Field::L4Proto, Field::ThDport]);
    let ct_mark = |key, map: &str| Statement::SetMark {
        target: MarkTarget::Connection,
        value: MarkValue::Map { key, map: map.into() },
    };
    let change = |operation, value| Statement::Dynamic { operation, set: "aff4".into(), key: client(), value };
    let update = || rule([change(DynamicOperation::Update, Some(Field::CtMark.into()))]);
    ruleset.add_chain(
        "a3_4",
        Chain::new([
            rule([ct_mark(client(), "aff4")]),
            rule([Field::CtMark.is(Value::mark(0)), Statement::goto("pick3")]),
            update(),
            dnat(service_key().dot(Field::CtMark), "affep4"),
            rule([change(DynamicOperation::Delete, Some(Field::CtMark.into()))]),
            rule([Statement::goto("pick3")]),
        ]),
    );
    ruleset.add_chain(
        "pick3",
        Chain::new([
            rule([ct_mark(service_key().dot(numgen(3)), "affslot4")]),
            update(),
            dnat(service_key().dot(Field::CtMark), "affep4"),
        ]),
    );
    ruleset.add_chain(
        "postrouting_nat",
        Chain::base(
            Base::nat(Hook::Postrouting, priority::SRCNAT),
            [
                rule([Field::CtMark.masked_is(0x4000, 0x4000), Statement::masquerade()]),
                rule([concat([Field::Ip4Saddr, Field::Ip4Daddr]).within_set("hairpin4"), Statement::masquerade()]),
            ],
        ),
    );
}

/// What the kernel does with changes, in the order given; panics where the kernel would refuse.
pub(crate) fn apply(ruleset: &Ruleset, changes: &[Change]) -> Ruleset {
    let mut sets: BTreeMap<_, Set> = ruleset.sets.iter().map(|(name, set)| (name.clone(), (**set).clone())).collect();
    let mut chains: BTreeMap<_, Chain> =
        ruleset.chains.iter().map(|(name, chain)| (name.clone(), (**chain).clone())).collect();
    for change in changes {
        match change {
            Change::AddTable => {}
            Change::DeleteTable => {
                sets.clear();
                chains.clear();
            }
            Change::AddSet { name, set } => {
                let empty = Set { elements: Arc::default(), ..(**set).clone() };
                assert!(sets.insert(name.clone(), empty).is_none(), "set {name} is there");
            }
            Change::DeleteSet { name } => {
                let used = chains
                    .values()
                    .flat_map(|chain| &chain.rules)
                    .any(|rule| nft::rule_text(rule).contains(&format!("@{name}")));
                assert!(!used, "set {name} is in use");
                assert!(sets.remove(name).is_some(), "set {name} is not there");
            }
            Change::AddChain { name, base } => match chains.get_mut(name) {
                Some(chain) => chain.base = *base,
                None => drop(chains.insert(name.clone(), Chain { base: *base, rules: Vec::new() })),
            },
            Change::DeleteChain { name } => {
                assert!(chains.remove(name).is_some(), "chain {name} is not there");
                let ends = |text: String| {
                    text.split([',', '\n', '}']).any(|part| part.trim_end().ends_with(&format!(" {name}")))
                };
                let target = chains.values().flat_map(|chain| &chain.rules).any(|rule| ends(nft::rule_text(rule)));
                let mapped = sets.values().flat_map(|set| set.elements.values()).any(|data| {
                    matches!(data, Some(nft::Data::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) if chain == name)
                });
                assert!(!target && !mapped, "chain {name} is in use");
            }
            Change::FlushChain { name } => chains.get_mut(name).unwrap().rules.clear(),
            Change::AddRules { chain, desired, from } => {
                let rules = &mut chains.get_mut(chain).unwrap().rules;
                assert_eq!(rules.len(), *from);
                rules.extend(desired.rules.iter().skip(*from).cloned());
            }
            Change::AddElements { name, elements, .. } => {
                let set = sets.get_mut(name).unwrap();
                for (element, data) in elements.iter() {
                    let old = Arc::make_mut(&mut set.elements).insert(element.clone(), data.clone());
                    assert!(old.is_none(), "element {element:?} is there");
                }
            }
            Change::DeleteElements { name, elements, .. } => {
                let set = sets.get_mut(name).unwrap();
                for element in elements {
                    assert!(
                        Arc::make_mut(&mut set.elements).remove(element).is_some(),
                        "element {element:?} is not there"
                    );
                }
            }
        }
    }
    Ruleset {
        sets: sets.into_iter().map(|(name, set)| (name, Arc::new(set))).collect(),
        chains: chains.into_iter().map(|(name, chain)| (name, Arc::new(chain))).collect(),
    }
}

/// Distinct addresses.
pub(crate) fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::from(0x0a00_0000 + n))
}

/// Rulesets in which the same names mean other kinds of sets, chains and hooks.
pub(crate) fn kinds() -> [Ruleset; 4] {
    let matches = |set: &str| Rule::new([Field::Ip4Saddr.within_set(set), Statement::accept()]);
    let dispatch = || Rule::new([Field::Ip4Saddr.vmap("m")]);
    let mut first = Ruleset::default();
    first.add_set("s", Set::of([Datatype::Ipv4Addr]).with_members([v4("10.0.0.1")]));
    first
        .add_set("m", Set::verdict_map([Datatype::Ipv4Addr]).with_entries([(v4("10.0.0.1"), Verdict::goto("target"))]));
    first.add_chain("target", Chain::new([matches("s")]));
    first.add_chain("base", Chain::base(Base::filter(Hook::Forward, 0), [dispatch(), matches("s")]));
    let mut second = first.clone();
    let network = Element::network("10.0.0.0/8".parse().unwrap());
    second.add_set("s", Set::intervals([Datatype::Ipv4Addr]).with_members([network]));
    second.add_chain("base", Chain::base(Base::filter(Hook::Input, 5), [dispatch(), matches("s")]));
    let mut third = Ruleset::default();
    third.add_set("m", Set::verdict_map([Datatype::Ipv4Addr]));
    third.add_chain("target", Chain::base(Base::filter(Hook::Output, 0), []));
    let mut fourth = third.clone();
    let drop = Base { policy: nft::Policy::Drop, ..Base::filter(Hook::Output, 0) };
    fourth.add_chain("target", Chain::base(drop, []));
    [first, second, third, fourth]
}

/// Key and values of a map of IPv6 endpoints.
pub(crate) fn ipv6_slots() -> (Vec<Datatype>, Vec<Datatype>) {
    use Datatype::{InetProto, InetService, Ipv6Addr, Slot};
    (vec![Ipv6Addr, InetProto, InetService, Slot], vec![Ipv6Addr, InetService])
}

/// The longest key that the layout has.
pub(crate) fn ipv6_maglev(map: &str) -> Rule {
    let hash = jhash([Field::Ip6Saddr, Field::Ip6Daddr, Field::ThSport, Field::ThDport], 251, 1);
    let key = concat([Field::Ip6Daddr, Field::L4Proto, Field::ThDport]).dot(hash);
    let protocols = Field::L4Proto.within([protocol::TCP, protocol::UDP].map(Value::protocol));
    Rule::new([protocols, Statement::Dnat { family: Family::Ipv6, key, map: map.into() }])
}
