//! Rules against an evaluator that works on text, rule by rule and condition by condition.

use proptest::prelude::*;

use super::*;
use crate::wire::AsPath;

/// The bits of a prefix.
fn bits(prefix: Prefix) -> String {
    let octets = match prefix.address() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let all: String = octets.iter().map(|octet| format!("{octet:08b}")).collect();
    all[..usize::from(prefix.length())].to_owned()
}

fn community_text(community: AnyCommunity) -> String {
    match community {
        AnyCommunity::Standard(it) => format!("{}:{}", it.0 >> 16, it.0 & 0xffff),
        AnyCommunity::Large(it) => it.to_string(),
    }
}

/// The conditions of one rule, each by itself.
fn naive_conditions(rule: &FilterRule, subject: &Subject<'_>) -> Vec<bool> {
    let mut conditions = Vec::new();
    if let Some(condition) = rule.prefix {
        let (wanted, found) = (bits(condition.prefix), bits(subject.prefix));
        let same = if condition.within { found.starts_with(&wanted) } else { found == wanted };
        let same = same && condition.prefix.family() == subject.prefix.family();
        let long = found.len() >= condition.lengths.0.into() && found.len() <= condition.lengths.1.into();
        conditions.push(if condition.negated { !(same && long) } else { same && long });
    }
    if rule.learned {
        conditions.push(subject.learned);
    }
    if let Some(internal) = rule.internal {
        conditions.push(subject.internal == internal);
    }
    if let Some(community) = rule.community {
        let standard = subject.attributes.communities.iter().map(|it| community_text(AnyCommunity::Standard(*it)));
        let large = subject.attributes.large_communities.iter().map(ToString::to_string);
        conditions.push(standard.chain(large).any(|it| it == community_text(community)));
    }
    if !rule.as_path_prefix.is_empty() {
        // Sets are written in braces, so that no number equals one.
        let path = format!("{} ", subject.attributes.as_path);
        let wanted: String = rule.as_path_prefix.iter().map(|number| format!("{number} ")).collect();
        conditions.push(path.starts_with(&wanted));
    }
    if let Some(metric) = rule.metric {
        let local_pref = i64::from(subject.attributes.local_pref.unwrap_or(0));
        let carried = if local_pref > 1_073_741_823 { (2_147_483_647 - local_pref).max(0) } else { 1024 };
        conditions.push(carried == i64::from(metric));
    }
    conditions
}

fn naive(rules: &[FilterRule], subject: &Subject<'_>) -> Option<usize> {
    let mut found = None;
    for (index, rule) in rules.iter().enumerate().rev() {
        if !naive_conditions(rule, subject).contains(&false) {
            found = Some(index);
        }
    }
    found
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (prop_oneof![Just(10u32 << 24), Just(10u32 << 24 | 1 << 16), any::<u32>()], 0..=32u8)
        .prop_map(|(bits, length)| Prefix::new(std::net::Ipv4Addr::from(bits).into(), length));
    let v6 = (prop_oneof![Just(0xfd_u128 << 120), any::<u128>()], 0..=128u8)
        .prop_map(|(bits, length)| Prefix::new(std::net::Ipv6Addr::from(bits).into(), length));
    prop_oneof![v4, v6].prop_filter_map("a length that fits", |it| it)
}

fn community() -> impl Strategy<Value = AnyCommunity> {
    let large = |local2| LargeCommunity { global: 1, local1: 2, local2 };
    prop_oneof![
        (0..3u32).prop_map(|it| AnyCommunity::Standard(Community(it << 16 | it))),
        (0..3u32).prop_map(move |it| AnyCommunity::Large(large(it))),
    ]
}

fn metric() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1024u32), Just(512), 1..4u32]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        community().prop_map(Operation::AddCommunity),
        proptest::collection::vec(1..5u32, 1..4).prop_map(Operation::Prepend),
        metric().prop_map(Operation::SetMetric),
    ]
}

fn rule() -> impl Strategy<Value = FilterRule> {
    let prefix_match = (prefix(), any::<bool>(), 0..=32u8, 0..=128u8, any::<bool>()).prop_map(
        |(prefix, within, shortest, longest, negated)| PrefixMatch {
            prefix,
            within,
            lengths: (shortest, longest),
            negated,
        },
    );
    let action = prop_oneof![
        Just(FilterAction::Reject),
        proptest::collection::vec(operation(), 0..3).prop_map(FilterAction::Accept),
    ];
    (
        proptest::option::of(prefix_match),
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.2, any::<bool>()),
        proptest::option::weighted(0.3, community()),
        prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(1..3u32, 1..3)],
        proptest::option::weighted(0.2, metric()),
        action,
    )
        .prop_map(|(prefix, learned, internal, community, as_path_prefix, metric, action)| FilterRule {
            name: "a rule".into(),
            prefix,
            learned,
            internal,
            community,
            as_path_prefix,
            metric,
            action,
        })
}

fn attributes() -> impl Strategy<Value = PathAttributes> {
    let segment = (any::<bool>(), proptest::collection::vec(1..4u32, 1..3));
    (
        proptest::collection::vec(segment, 0..3),
        proptest::collection::vec(community(), 0..3),
        proptest::option::of(prop_oneof![Just(100u32), metric().prop_map(local_pref_of), any::<u32>()]),
    )
        .prop_map(|(segments, communities, local_pref)| {
            let mut attributes = PathAttributes { local_pref, ..PathAttributes::default() };
            let mut path = AsPath::new();
            for (set, numbers) in segments {
                path.push(if set { SegmentKind::Set } else { SegmentKind::Sequence }, &numbers);
            }
            attributes.as_path = path;
            for community in communities {
                match community {
                    AnyCommunity::Standard(it) => attributes.communities.push(it),
                    AnyCommunity::Large(it) => attributes.large_communities.push(it),
                }
            }
            attributes
        })
}

proptest! {
    #[test]
    fn the_first_rule_of_which_every_condition_holds_decides(
        rules in proptest::collection::vec(rule(), 0..6),
        prefix in prefix(),
        attributes in attributes(),
        (learned, internal) in (any::<bool>(), any::<bool>()),
    ) {
        let subject = Subject { prefix, attributes: &attributes, learned, internal };
        let found = first_match(&rules, &subject).map(|(id, _)| usize::from(id));
        prop_assert_eq!(found, naive(&rules, &subject));
    }

    #[test]
    fn operations_do_what_they_say_and_nothing_else(rule in rule(), before in attributes()) {
        let mut after = before.clone();
        rule.apply(&mut after);
        let operations = match &rule.action {
            FilterAction::Reject => &[][..],
            FilterAction::Accept(operations) => operations,
        };
        let numbers: Vec<u32> = operations
            .iter()
            .rev()
            .filter_map(|it| if let Operation::Prepend(numbers) = it { Some(numbers.clone()) } else { None })
            .flatten()
            .chain(before.as_path.numbers())
            .collect();
        prop_assert_eq!(after.as_path.numbers().collect::<Vec<_>>(), numbers);
        let set = operations.iter().rev().find_map(|it| match it {
            Operation::SetMetric(metric) => Some(2_147_483_647 - metric),
            _ => None,
        });
        prop_assert_eq!(after.local_pref, set.or(before.local_pref));
        for operation in operations {
            if let Operation::AddCommunity(community) = operation {
                prop_assert!(carries(&after, *community));
            }
        }
        let unchanged = PathAttributes {
            as_path: before.as_path.clone(),
            local_pref: before.local_pref,
            communities: before.communities.clone(),
            large_communities: before.large_communities.clone(),
            ..after
        };
        prop_assert_eq!(unchanged, before);
    }
}
