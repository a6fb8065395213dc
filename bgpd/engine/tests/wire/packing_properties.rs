//! Packing of anything: all that went in comes out, once, in the fewest messages.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bytes::BytesMut;
use engine::prefix::{NetPrefix, PerFamily};
use engine::wire::{
    AsPath, Community, EncodeContext, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, Nlri, Origin, Partial,
    PathAttributes, Reach, SegmentKind, UnknownAttribute, Update, pack_withdrawals,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::pack::{V4_HOP, announce, decode_all, messages, v6_hop};
use crate::support::*;

pub(crate) fn any_path() -> impl Strategy<Value = AsPath> {
    let kind = prop_oneof![3 => Just(SegmentKind::Sequence), 1 => Just(SegmentKind::Set)];
    let number = prop_oneof![1..=65535u32, 1..=u32::MAX];
    vec((kind, vec(number, 1..6)), 0..4).prop_map(|segments| {
        let mut path = AsPath::new();
        for (kind, numbers) in segments {
            path.push(kind, &numbers);
        }
        path
    })
}

fn any_origin() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)]
}

pub(crate) fn any_attributes() -> impl Strategy<Value = PathAttributes> {
    let codes = prop_oneof![Just(11u8), Just(23), Just(33), Just(40), 100..=255u8];
    let unknown = proptest::collection::btree_map(codes, vec(any::<u8>(), 0..300), 0..4);
    let large = proptest::collection::btree_set(any::<[u32; 3]>(), 0..5);
    (
        (any_origin(), any_path(), option::of(any::<u32>()), option::of(any::<u32>()), any::<bool>()),
        option::of((1..=u32::MAX, any::<u32>())),
        (vec(any::<u32>(), 0..80), vec(any::<[u8; 8]>(), 0..5), vec(any::<u8>(), 0..3), large),
        (option::of(any::<u32>()), vec(any::<u32>(), 0..4), option::of(any::<u32>()), unknown, any::<[bool; 6]>()),
    )
        .prop_map(
            |(
                (origin, as_path, med, local_pref, atomic),
                aggregator,
                lists,
                (originator, clusters, otc, unknown, flags),
            )| {
                let (communities, extended, ipv6, large) = lists;
                let mut attributes = PathAttributes {
                    origin,
                    as_path,
                    med,
                    local_pref,
                    atomic_aggregate: atomic,
                    aggregator: aggregator.map(|(number, id)| (number, Ipv4Addr::from_bits(id))),
                    communities: communities.into_iter().map(Community).collect(),
                    extended_communities: extended.into_iter().map(ExtendedCommunity).collect(),
                    ipv6_extended_communities: ipv6
                        .into_iter()
                        .map(|octet| Ipv6ExtendedCommunity([octet; 20]))
                        .collect(),
                    large_communities: large
                        .into_iter()
                        .map(|[global, local1, local2]| LargeCommunity { global, local1, local2 })
                        .collect(),
                    originator_id: originator.map(Ipv4Addr::from_bits),
                    cluster_list: clusters.into_iter().map(Ipv4Addr::from_bits).collect(),
                    otc,
                    unknown: unknown
                        .into_iter()
                        .map(|(code, value)| UnknownAttribute { code, value: value.into() })
                        .collect(),
                    partial: Partial::default(),
                };
                let present = [
                    (7, attributes.aggregator.is_some()),
                    (8, !attributes.communities.is_empty()),
                    (16, !attributes.extended_communities.is_empty()),
                    (25, !attributes.ipv6_extended_communities.is_empty()),
                    (32, !attributes.large_communities.is_empty()),
                    (35, attributes.otc.is_some()),
                ];
                for ((code, present), flag) in present.into_iter().zip(flags) {
                    if present && flag {
                        attributes.partial.set(code);
                    }
                }
                attributes
            },
        )
}

fn any_nlri<P: NetPrefix>(prefix: impl Strategy<Value = P>, most: usize) -> impl Strategy<Value = Vec<Nlri<P>>> {
    proptest::collection::btree_set((prefix, any::<u32>()), 0..most)
        .prop_map(|set| set.into_iter().map(|(prefix, id)| Nlri::with_path_id(prefix, id)).collect())
}

/// Path Identifiers only where they travel, and each entry once.
fn for_session<P: NetPrefix>(nlri: Vec<Nlri<P>>, add_path: bool) -> Vec<Nlri<P>> {
    let mut seen = BTreeSet::new();
    nlri.into_iter()
        .map(|entry| if add_path { entry } else { Nlri::new(entry.prefix) })
        .filter(|entry| seen.insert(*entry))
        .collect()
}

/// Checks the messages against what went in: same prefixes in the same order, and none that could have joined the message
/// before it, so that their number is the smallest for this order.
fn check_packing<P: NetPrefix>(
    context: &EncodeContext,
    nlri: &[Nlri<P>],
    out: &[u8],
    part: impl Fn(&Update) -> Vec<Nlri<P>>,
) -> Result<(), TestCaseError> {
    let updates = decode_all(context, out);
    let lengths: Vec<usize> = messages(out, context.max_length).iter().map(|body| body.len() + 19).collect();
    let parts: Vec<Vec<Nlri<P>>> = updates.iter().map(&part).collect();
    prop_assert_eq!(&parts.concat(), nlri);
    for (index, part) in parts.iter().enumerate() {
        prop_assert!(!part.is_empty());
        prop_assert!(lengths[index] <= context.max_length);
        if let Some(next) = parts.get(index + 1).and_then(|next| next.first()) {
            let cost =
                1 + usize::from(next.prefix.length()).div_ceil(8) + if context.add_path[P::FAMILY] { 4 } else { 0 };
            prop_assert!(lengths[index] + cost > context.max_length);
        }
    }
    Ok(())
}

fn expected_after(context: &EncodeContext, attributes: &PathAttributes) -> PathAttributes {
    let mut expected = attributes.clone();
    if !context.four_octet_as {
        // Meeting sequences of the two halves of a merged path are one segment.
        let mut path = AsPath::new();
        let mut sequence = Vec::new();
        for segment in attributes.as_path.segments() {
            if segment.kind == SegmentKind::Sequence {
                sequence.extend_from_slice(segment.numbers);
                continue;
            }
            path.push(SegmentKind::Sequence, &std::mem::take(&mut sequence));
            path.push(segment.kind, segment.numbers);
        }
        path.push(SegmentKind::Sequence, &sequence);
        expected.as_path = path;
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn v4_announcements_say_what_went_in_and_nothing_twice(
        attributes in any_attributes(), nlri in any_nlri(any_v4(), 2500), add_path: bool, long: bool, four: bool
    ) {
        let context = EncodeContext {
            max_length: if long { 65535 } else { 4096 },
            add_path: PerFamily::new(add_path, false),
            four_octet_as: four,
            ..sending()
        };
        let nlri = for_session(nlri, add_path);
        let out = announce(&context, &attributes, &V4_HOP, &nlri);
        check_packing(&context, &nlri, &out, |update| update.v4.announced.clone())?;
        for update in decode_all(&context, &out) {
            let read = update.attributes.unwrap();
            if four {
                prop_assert_eq!(&read, &attributes);
            } else {
                prop_assert_eq!(read.as_path.numbers().collect::<Vec<_>>(), attributes.as_path.numbers().collect::<Vec<_>>());
                let (read, sent) = (expected_after(&context, &read), expected_after(&context, &attributes));
                prop_assert_eq!(read, sent);
            }
            let fields = Reach { announced: vec![], ..update.v4.clone() };
            prop_assert_eq!(fields, Reach { withdrawn: vec![], announced: vec![], next_hop: Some(V4_HOP) });
            prop_assert!(update.v6.is_empty());
        }
    }

    #[test]
    fn v6_announcements_say_what_went_in_and_nothing_twice(
        attributes in any_attributes(), nlri in any_nlri(any_v6(), 800), add_path: bool
    ) {
        let context = EncodeContext { add_path: PerFamily::new(false, add_path), ..sending() };
        let nlri = for_session(nlri, add_path);
        let out = announce(&context, &attributes, &v6_hop(), &nlri);
        check_packing(&context, &nlri, &out, |update| update.v6.announced.clone())?;
        for update in decode_all(&context, &out) {
            prop_assert_eq!(update.attributes.as_ref().unwrap(), &attributes);
            prop_assert!(update.v4.is_empty() && update.v6.withdrawn.is_empty());
        }
    }

    #[test]
    fn withdrawals_say_what_went_in_and_nothing_twice(
        v4 in any_nlri(any_v4(), 2500), v6 in any_nlri(any_v6(), 800), add_path: bool
    ) {
        let context = EncodeContext { add_path: PerFamily::new(add_path, add_path), ..sending() };
        let (v4, v6) = (for_session(v4, add_path), for_session(v6, add_path));
        let mut out = BytesMut::new();
        pack_withdrawals(&context, v4.iter().copied(), &mut out);
        check_packing(&context, &v4, &out, |update| update.v4.withdrawn.clone())?;
        out.clear();
        pack_withdrawals(&context, v6.iter().copied(), &mut out);
        check_packing(&context, &v6, &out, |update| update.v6.withdrawn.clone())?;
    }
}
