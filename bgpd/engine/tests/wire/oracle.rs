//! zettabgp as the other side: what we write it reads, what it writes we read.

use std::net::Ipv4Addr;

use bytes::BytesMut;
use engine::prefix::{Family, Ipv4Prefix, Ipv6Prefix, NetPrefix, PerFamily};
use engine::wire::{
    AddPathMode, AsPath, Capabilities, Community, ExtendedCommunity, GracefulRestart, HEADER_LENGTH, LargeCommunity,
    NextHop, Nlri, Notification, OpenMessage, PathAttributes, RefreshKind, RouteRefresh, SegmentKind,
    decode_notification, decode_open, decode_update, encode_notification, encode_open, encode_route_refresh, frame,
    pack_announcements, pack_withdrawals,
};
use proptest::collection::vec;
use proptest::prelude::*;
use zettabgp::prelude::*;

use crate::support::*;

fn parameters(add_path: bool) -> BgpSessionParams {
    let tuples = [(1, 1), (2, 1)].map(|(afi, safi)| BgpCapAddPath { afi, safi, send: true, receive: true });
    let capabilities = if add_path { vec![BgpCapability::CapAddPath(tuples.to_vec())] } else { vec![] };
    let mut parameters = BgpSessionParams::new(65001, 90, BgpTransportMode::IPv4, Ipv4Addr::LOCALHOST, capabilities);
    parameters.fuzzy_pathid = false;
    parameters
}

fn read(out: &[u8], add_path: bool) -> BgpUpdateMessage {
    let raw = frame(out, 65535).unwrap().unwrap();
    let mut message = BgpUpdateMessage::new();
    BgpMessage::decode_from(&mut message, &parameters(add_path), raw.body).unwrap();
    message
}

fn v4_of(addresses: &BgpAddrs) -> Vec<Nlri<Ipv4Prefix>> {
    let prefix = |net: &BgpAddrV4| Ipv4Prefix::new(net.addr, net.prefixlen).unwrap();
    match addresses {
        BgpAddrs::IPV4U(nets) => nets.iter().map(|net| Nlri::new(prefix(net))).collect(),
        BgpAddrs::IPV4UP(nets) => nets.iter().map(|net| Nlri::with_path_id(prefix(&net.nlri), net.pathid)).collect(),
        _ => Vec::new(),
    }
}

fn v6_of(addresses: &BgpAddrs) -> Vec<Nlri<Ipv6Prefix>> {
    let prefix = |net: &BgpAddrV6| Ipv6Prefix::new(net.addr, net.prefixlen).unwrap();
    match addresses {
        BgpAddrs::IPV6U(nets) => nets.iter().map(|net| Nlri::new(prefix(net))).collect(),
        BgpAddrs::IPV6UP(nets) => nets.iter().map(|net| Nlri::with_path_id(prefix(&net.nlri), net.pathid)).collect(),
        _ => Vec::new(),
    }
}

/// Attributes in the common subset: one sequence (zettabgp keeps sets apart), sorted lists (it keeps sets of values).
fn any_common() -> impl Strategy<Value = PathAttributes> {
    (
        vec(65536..=u32::MAX, 1..8),
        proptest::option::of(any::<u32>()),
        proptest::option::of(any::<u32>()),
        proptest::collection::btree_set(any::<u32>(), 0..70),
        proptest::collection::btree_set(any::<[u32; 3]>(), 0..4),
        proptest::collection::btree_set(any::<[u8; 8]>(), 0..4),
    )
        .prop_map(|(path, med, local_pref, communities, large, extended)| PathAttributes {
            as_path: AsPath::from_sequence(&path),
            med,
            local_pref,
            communities: communities.into_iter().map(Community).collect(),
            large_communities: large
                .into_iter()
                .map(|[global, local1, local2]| LargeCommunity { global, local1, local2 })
                .collect(),
            extended_communities: extended.into_iter().map(ExtendedCommunity).collect(),
            ..PathAttributes::default()
        })
}

fn assert_same_attributes(theirs: &[BgpAttrItem], ours: &PathAttributes) {
    let mut read = PathAttributes::default();
    for item in theirs {
        match item {
            BgpAttrItem::ASPath(path) => {
                let numbers = path.value.iter().flat_map(|segment| match segment {
                    BgpASitem::Seq(sequence) => sequence.value.iter().map(|number| number.value).collect::<Vec<_>>(),
                    BgpASitem::Set(set) => set.value.iter().map(|number| number.value).collect(),
                });
                read.as_path.push(SegmentKind::Sequence, &numbers.collect::<Vec<_>>());
            }
            BgpAttrItem::MED(med) => read.med = Some(med.value),
            BgpAttrItem::LocalPref(local_pref) => read.local_pref = Some(local_pref.value),
            BgpAttrItem::CommunityList(list) => {
                read.communities = list.value.iter().map(|community| Community(community.value)).collect();
            }
            BgpAttrItem::LargeCommunityList(list) => {
                read.large_communities = list
                    .value
                    .iter()
                    .map(|large| LargeCommunity { global: large.ga, local1: large.ldp1, local2: large.ldp2 })
                    .collect();
            }
            BgpAttrItem::ExtCommunityList(list) => {
                read.extended_communities = list
                    .value
                    .iter()
                    .map(|community| {
                        let mut octets = [0; 8];
                        community.encode_to(&mut octets).unwrap();
                        ExtendedCommunity(octets)
                    })
                    .collect();
            }
            _ => {}
        }
    }
    assert_eq!(&read, ours);
}

proptest! {
    #[test]
    fn announcements_of_ours_are_read_by_it(
        attributes in any_common(),
        v4 in vec((any_v4(), any::<u32>()), 1..200),
        v6 in vec((any_v6(), any::<u32>()), 1..100),
        add_path: bool,
    ) {
        let context = engine::wire::EncodeContext {
            add_path: PerFamily::new(add_path, add_path), max_length: 65535, ..sending()
        };
        let mut out = BytesMut::new();
        let nlri: Vec<_> = v4.into_iter().map(|(prefix, id)| Nlri { prefix, path_id: add_path.then_some(id) }).collect();
        let hop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
        pack_announcements(&context, &attributes, &hop, nlri.iter().copied(), &mut out).unwrap();
        let message = read(&out, add_path);
        prop_assert_eq!(v4_of(&message.updates), nlri);
        assert_same_attributes(&message.attrs, &attributes);
        out.clear();
        let nlri: Vec<_> = v6.into_iter().map(|(prefix, id)| Nlri { prefix, path_id: add_path.then_some(id) }).collect();
        let hop = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: None };
        pack_announcements(&context, &attributes, &hop, nlri.iter().copied(), &mut out).unwrap();
        let message = read(&out, add_path);
        prop_assert_eq!(v6_of(&message.get_mpupdates().unwrap().addrs), nlri.clone());
        assert_same_attributes(&message.attrs, &attributes);
        out.clear();
        pack_withdrawals(&context, nlri.iter().copied(), &mut out);
        prop_assert_eq!(v6_of(&read(&out, add_path).get_mpwithdraws().unwrap().addrs), nlri);
    }

    #[test]
    fn announcements_of_its_own_are_read_by_us(
        attributes in any_common(), nlri in proptest::collection::btree_set(any_v4(), 1..200)
    ) {
        let mut message = BgpUpdateMessage::new();
        let nets = nlri.iter().map(|prefix| BgpAddrV4::new(prefix.network(), prefix.length())).collect();
        message.updates = BgpAddrs::IPV4U(nets);
        message.attrs.push(BgpAttrItem::Origin(BgpOrigin::new(BgpAttrOrigin::Igp)));
        let path = attributes.as_path.numbers().map(BgpAS::new).collect();
        message.attrs.push(BgpAttrItem::ASPath(BgpASpath { value: vec![BgpASitem::Seq(BgpASseq { value: path })] }));
        message.attrs.push(BgpAttrItem::NextHop(BgpNextHop { value: Ipv4Addr::new(192, 0, 2, 1).into() }));
        if let Some(value) = attributes.med {
            message.attrs.push(BgpAttrItem::MED(BgpMED { value }));
        }
        if let Some(value) = attributes.local_pref {
            message.attrs.push(BgpAttrItem::LocalPref(BgpLocalpref { value }));
        }
        if !attributes.communities.is_empty() {
            let list = attributes.communities.iter().map(|community| BgpCommunity::new(community.0)).collect();
            message.attrs.push(BgpAttrItem::CommunityList(BgpCommunityList::from_vec(list)));
        }
        let mut octets = vec![0; 65535];
        let length = BgpMessage::encode_to(&message, &parameters(false), &mut octets).unwrap();
        let update = decode_update(&octets[..length], &internal()).unwrap();
        prop_assert!(update.errors.is_empty(), "{:?}", update.errors);
        prop_assert_eq!(update.v4.announced.iter().map(|entry| entry.prefix).collect::<Vec<_>>(), nlri.into_iter().collect::<Vec<_>>());
        let read = update.attributes.unwrap();
        // It writes the kinds of segments the wrong way round, so that the numbers alone can be compared.
        prop_assert_eq!(read.as_path.numbers().collect::<Vec<_>>(), attributes.as_path.numbers().collect::<Vec<_>>());
        prop_assert_eq!(
            (read.med, read.local_pref, read.communities),
            (attributes.med, attributes.local_pref, attributes.communities)
        );
    }

    #[test]
    fn open_of_ours_is_read_by_it(as_number in 1..=u32::MAX, hold_time: u16, time in 0..4096u16, forwarding: bool) {
        let open = OpenMessage::new(as_number, hold_time, Ipv4Addr::new(192, 0, 2, 9), Capabilities {
            families: Family::ALL.to_vec(),
            route_refresh: true,
            graceful_restart: Some(GracefulRestart {
                restarting: true, notification: false, time, families: vec![(Family::Ipv6Unicast, forwarding)],
            }),
            add_path: vec![(Family::Ipv4Unicast, AddPathMode::Receive)],
            enhanced_route_refresh: true,
            ..Capabilities::default()
        });
        let mut theirs = BgpOpenMessage::new();
        BgpMessage::decode_from(&mut theirs, &parameters(false), &encode_open(&open)[HEADER_LENGTH..]).unwrap();
        prop_assert_eq!((theirs.as_num, theirs.hold_time), (u32::from(open.my_autonomous_system), hold_time));
        prop_assert_eq!(theirs.router_id, open.bgp_identifier);
        let expected = vec![
            BgpCapability::SafiIPv4u,
            BgpCapability::SafiIPv6u,
            BgpCapability::CapRR,
            BgpCapability::CapGR {
                restart_time: time,
                restart_state: true,
                afis: vec![BgpCapGR { afi: 2, safi: 1, forwarding_state: forwarding }],
            },
            BgpCapability::CapASN32(as_number),
            BgpCapability::CapAddPath(vec![BgpCapAddPath { afi: 1, safi: 1, send: false, receive: true }]),
            BgpCapability::CapEnhancedRR,
        ];
        prop_assert_eq!(&theirs.caps, &expected);
        // And back: it puts each capability into a parameter of its own.
        let mut octets = [0; 4096];
        let length = BgpMessage::encode_to(&theirs, &parameters(false), &mut octets).unwrap();
        prop_assert_eq!(decode_open(&octets[..length]).unwrap(), open);
    }

    #[test]
    fn notification_and_refresh_are_the_same_octets(code: u8, subcode: u8, data: u16, afi: u16, safi: u8) {
        let ours = Notification::new(code, subcode, data.to_be_bytes().to_vec());
        let mut octets = [0; 4];
        let theirs = BgpNotificationMessage { error_code: code, error_subcode: subcode, data };
        BgpMessage::encode_to(&theirs, &parameters(false), &mut octets).unwrap();
        prop_assert_eq!(&encode_notification(&ours, 4096)[HEADER_LENGTH..], octets);
        prop_assert_eq!(decode_notification(&octets), ours);
        let theirs = BgpRouterefreshMessage { afi, safi, subtype: 1 };
        BgpMessage::encode_to(&theirs, &parameters(false), &mut octets).unwrap();
        prop_assert_eq!(&encode_route_refresh(&RouteRefresh { afi, safi, kind: RefreshKind::Begin })[HEADER_LENGTH..], octets);
    }

    #[test]
    fn community_text_is_read_by_both(value: u32) {
        let ours = Community(value);
        prop_assert_eq!(ours.to_string().parse::<Community>().unwrap(), ours);
        let theirs = BgpCommunity::new(value).to_string();
        prop_assert_eq!(theirs.parse::<Community>().unwrap(), ours);
    }
}
