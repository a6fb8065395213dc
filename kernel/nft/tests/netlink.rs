//! What is written is what is read back, without a kernel in between: the batch, given to the decoder as a dump.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

mod support;

use std::net::Ipv4Addr;

use nft::{
    Chain, Comparand, ConnectionState, Datatype, Decoder, Element, Field, Key, Rule, Ruleset, Set, Statement, Value,
    Verdict, concat, diff, encode,
};
use proptest::prelude::*;

/// Messages of a batch: type, sequence number and what follows the netlink header.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().unwrap()) as usize;
        let kind = u16::from_ne_bytes(rest[4..6].try_into().unwrap());
        let sequence = u32::from_ne_bytes(rest[8..12].try_into().unwrap());
        let body = &rest[16..length];
        rest = &rest[length..];
        Some((kind, sequence, body))
    })
}

/// As the kernel does it, except that it gives anonymous sets their own names: here one per ruleset must do.
fn reread(ruleset: &Ruleset) -> Ruleset {
    let batch = encode(&diff(&Ruleset::default(), ruleset));
    let mut decoder = Decoder::default();
    messages(batch.as_bytes()).for_each(|(kind, _, body)| decoder.message(kind, body));
    decoder.finish()
}

fn one_rule(rule: Rule) -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.add_set("s", Set::of([Datatype::Ipv4Addr, Datatype::InetService]));
    ruleset.add_set("m", Set::verdict_map([Datatype::Ipv4Addr]));
    ruleset.add_set("marks", Set::map([Datatype::Ipv4Addr], [Datatype::Mark]));
    ruleset.add_chain("c", Chain::new([rule]));
    ruleset
}

#[test]
fn every_rule_of_the_layouts_is_read_back() {
    for layout in [support::policy(), support::services()] {
        for chain in layout.chains.values() {
            for rule in &chain.rules {
                let mut ruleset = Ruleset { sets: layout.sets.clone(), ..Ruleset::default() };
                ruleset.add_chain("c", Chain { base: chain.base, rules: vec![rule.clone()] });
                assert_eq!(reread(&ruleset).chains, ruleset.chains, "{}", nft::rule_text(rule));
            }
        }
    }
}

#[test]
fn sets_are_read_back_with_their_elements() {
    for layout in [support::policy(), support::services()] {
        let ruleset = Ruleset { sets: layout.sets, ..Ruleset::default() };
        assert_eq!(reread(&ruleset), ruleset);
    }
}

#[test]
fn many_elements_take_several_messages_of_one_batch() {
    let mut ruleset = Ruleset::default();
    ruleset.add_set("hash", Set::of([Datatype::Ipv4Addr]).with_members(support::addresses(10_000)));
    let changes = diff(&Ruleset::default(), &ruleset);
    let batch = encode(&changes);
    let all: Vec<_> = messages(batch.as_bytes()).collect();
    assert!(all.len() > 6, "{} messages", all.len());
    assert!(all.iter().all(|(_, _, body)| body.len() < 65_536));
    assert!(all.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1));
    assert_eq!(reread(&ruleset), ruleset);
    let last = batch.last_sequence().unwrap();
    assert_eq!(batch.change_of(last), Some(changes.len() - 1));
    assert_eq!((batch.change_of(0), batch.change_of(1), batch.change_of(last + 1)), (None, Some(0), None));
}

#[test]
fn only_the_last_message_asks_for_an_acknowledgement() {
    let batch = encode(&diff(&Ruleset::default(), &support::policy()));
    let mut rest = batch.as_bytes();
    let mut asking = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        if u16::from_ne_bytes(rest[6..8].try_into().unwrap()) & 0x4 != 0 {
            asking.push(u32::from_ne_bytes(rest[8..12].try_into().unwrap()));
        }
        rest = &rest[length..];
    }
    assert_eq!(asking, batch.last_sequence().into_iter().collect::<Vec<_>>());
}

#[test]
fn nothing_to_do_asks_for_nothing() {
    assert_eq!(encode(&[]).last_sequence(), None);
}

#[test]
fn implied_matches_are_not_kept() {
    let v4 = || Field::NfProto.is(Value::family(nft::Family::Ipv4));
    let source = || Field::Ip4Saddr.is(Ipv4Addr::LOCALHOST);
    assert_eq!(Rule::new([v4(), source()]), Rule::new([source()]));
    let icmp = || Field::L4Proto.is(Value::protocol(1));
    let echo = || Field::IcmpType.is(Value::icmp(8));
    assert_eq!(Rule::new([v4(), icmp(), echo()]), Rule::new([echo()]));
    // Not the next statement: kept, as the kernel keeps it.
    assert_eq!(Rule::new([v4(), Statement::Counter, source()]).statements().len(), 3);
}

#[test]
fn sets_of_one_are_values_networks_or_ranges() {
    let comparand = |statement: Statement| match Rule::new([statement]).statements() {
        [Statement::Match(of)] => of.with.clone(),
        other => panic!("{other:?}"),
    };
    let network = "10.0.0.0/8".parse().unwrap();
    assert_eq!(comparand(Field::Ip4Saddr.within([Element::network(network)])), Comparand::Network(network));
    assert_eq!(comparand(Field::ThDport.within([Value::port(1)])), Comparand::Value(Value::port(1)));
    assert_eq!(
        comparand(Field::ThDport.within([Element::ports(1..=2)])),
        Comparand::Range(Value::port(1), Value::port(2))
    );
    let host = "10.0.0.1/32".parse().unwrap();
    assert_eq!(comparand(Field::Ip4Saddr.is_in_network(host)), Comparand::Value(support::v4("10.0.0.1").into()));
}

#[test]
fn long_comments_are_cut_where_a_character_ends() {
    let mut ruleset = one_rule(Rule::new([Statement::accept()]).with_comment("ü".repeat(100)));
    let mut set = Set::of([Datatype::Ipv4Addr]);
    set.comment = Some("ü".repeat(100));
    ruleset.add_set("commented", set);
    assert_eq!(ruleset.chains["c"].rules[0].comment().map(str::len), Some(126));
    assert_eq!(diff(&reread(&ruleset), &ruleset), []);
}

#[test]
fn ranges_of_a_rule_that_overlap_or_touch_are_merged() {
    let key = || concat([Field::L4Proto, Field::ThDport]);
    let tcp = |ports| support::tcp().dot(Element::ports(ports));
    let udp = |ports| Element::protocol(nft::protocol::UDP).dot(Element::ports(ports));
    assert_eq!(
        Rule::new([key().within([tcp(80..=90), tcp(85..=85), tcp(91..=100), udp(90..=95), tcp(102..=102)])]),
        Rule::new([key().within([tcp(80..=100), udp(90..=95), tcp(102..=102)])]),
    );
    assert_eq!(
        Rule::new([Field::ThDport.within([Element::ports(1..=5), Element::port(6), Element::ports(4..=9)])]),
        Rule::new([Field::ThDport.is_between(Value::port(1), Value::port(9))]),
    );
}

fn field_match() -> impl Strategy<Value = Statement> {
    let negated = any::<bool>();
    let network = (any::<u32>(), 0u8..=32)
        .prop_map(|(address, length)| ipnetwork::Ipv4Network::new(address.into(), length).unwrap().into());
    let network = (network, negated).prop_map(|(network, negated)| match negated {
        true => Field::Ip4Daddr.is_not_in_network(network),
        false => Field::Ip4Saddr.is_in_network(network),
    });
    let network6 = (any::<u128>(), 0u8..=128).prop_map(|(address, length)| {
        Field::Ip6Daddr.is_in_network(ipnetwork::Ipv6Network::new(address.into(), length).unwrap().into())
    });
    let ports = (any::<u16>(), any::<u16>(), any::<bool>()).prop_map(|(a, b, negated)| {
        let (low, high) = (Value::port(a.min(b)), Value::port(a.max(b)));
        if negated { Field::ThDport.is_not_between(low, high) } else { Field::ThSport.is_between(low, high) }
    });
    let mark = (any::<u32>(), any::<u32>(), any::<bool>()).prop_map(|(mask, value, negated)| {
        if negated { Field::CtMark.masked_is_not(mask, value) } else { Field::MetaMark.masked_is(mask, value) }
    });
    prop_oneof![
        network,
        network6,
        ports,
        mark,
        "[a-z]{1,15}".prop_map(|prefix| Field::Oifname.begins_with(&prefix)),
        "[a-z]{1,15}".prop_map(|name| Field::Iifname.is_not(Value::ifname(&name))),
        (0u8..=255).prop_map(|number| Field::L4Proto.is(Value::protocol(number))),
        (0u8..=255).prop_map(|number| Field::IcmpType.is(Value::icmp(number))),
        (0u8..=255).prop_map(|number| Field::Icmpv6Code.is_not(Value::icmp(number))),
        prop::sample::select(&[ConnectionState::New, ConnectionState::Established][..])
            .prop_map(|state| Field::CtState.is_not(Value::state(state.bit()))),
        Just(Field::NfProto.is(Value::family(nft::Family::Ipv4))),
        Just(concat([Field::Ip4Saddr, Field::ThDport]).not_within_set("s")),
    ]
}

fn last_statement() -> impl Strategy<Value = Statement> {
    let members = prop::collection::btree_set((any::<u8>(), any::<u16>(), 0u16..20), 1..6);
    let anonymous = members.prop_map(|members| {
        let element = |(protocol, port, more): (u8, u16, u16)| {
            Element::protocol(protocol).dot(Element::ports(port..=port.saturating_add(more)))
        };
        Key::from([Field::L4Proto, Field::ThDport]).within(members.into_iter().map(element))
    });
    let ports = prop::collection::btree_set(0u16..1000, 1..6).prop_map(|ports| {
        Field::ThDport.not_within(ports.into_iter().map(|port| Element::ports(port * 60..=port * 60 + 30)))
    });
    prop_oneof![
        anonymous,
        ports,
        Just(Field::Ip4Daddr.vmap("m")),
        Just(
            Field::ThDport.vmap_of([(Element::port(1), Verdict::Accept), (Element::ports(3..=5), Verdict::jump("c2"))])
        ),
        (any::<u32>(), any::<u32>()).prop_map(|(keep, set)| Statement::set_ct_mark(keep, set)),
        (any::<u32>(), any::<u32>()).prop_map(|(keep, set)| Statement::set_meta_mark(keep, set)),
        Just(Statement::goto("c2")),
        Just(Statement::return_()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rule_is_read_back(
        matches in prop::collection::vec(field_match(), 0..5),
        last in last_statement(),
        comment in prop::option::of("[a-z /-]{1,127}"),
    ) {
        let mut rule = Rule::new(matches.into_iter().chain([last]));
        if let Some(comment) = comment {
            rule = rule.with_comment(comment);
        }
        let ruleset = one_rule(rule);
        prop_assert_eq!(reread(&ruleset), ruleset);
    }

    #[test]
    fn any_ranges_are_read_back(ranges in prop::collection::vec((any::<u32>(), any::<u32>()), 0..20)) {
        let range = |(a, b): (u32, u32)| Element::range(Ipv4Addr::from(a.min(b)), Ipv4Addr::from(a.max(b)));
        let mut ruleset = Ruleset::default();
        let set = Set::intervals([Datatype::Ipv4Addr]).with_members(ranges.into_iter().map(range));
        ruleset.add_set("ranges", set.merge_ranges());
        prop_assert_eq!(reread(&ruleset), ruleset);
    }

    #[test]
    fn no_message_upsets_the_decoder(position in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let batch = encode(&diff(&Ruleset::default(), &support::services()));
        let mut bytes = batch.as_bytes().to_vec();
        let mut decoder = Decoder::default();
        let all: Vec<_> = messages(&bytes.clone()).map(|(kind, _, body)| (kind, body.to_vec())).collect();
        let at = position.index(all.len());
        for (index, (kind, mut body)) in all.into_iter().enumerate() {
            if index == at && !body.is_empty() {
                let place = cut.index(body.len());
                body[place] ^= byte;
                if byte % 2 == 0 {
                    body.truncate(place);
                }
            }
            decoder.message(kind, &body);
        }
        bytes.clear();
        let _ = decoder.finish();
    }
}
