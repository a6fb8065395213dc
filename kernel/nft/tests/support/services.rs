//! Services of the layout.

use std::time::Duration;

use nft::{
    Base, Chain, ConnectionState, Datatype, DynamicOperation, Element, Expression, Family, Field, Hook, Key,
    MarkTarget, MarkValue, NumgenMode, Reject, Rule, Ruleset, Set, Statement, Value, Verdict, concat, jhash, numgen,
    priority, protocol,
};

use super::{rule, tcp, v4};

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
    balancing_chains(ruleset);
    affinity_chains(ruleset);
}

fn balancing_chains(ruleset: &mut Ruleset) {
    let not_from_pod = || rule([Field::Ip4Saddr.not_within_set("svccidr4"), Statement::set_ct_mark(!0x4000, 0x4000)]);
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
}

fn affinity_chains(ruleset: &mut Ruleset) {
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
