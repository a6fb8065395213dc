//! OPEN and its capabilities.

use std::net::Ipv4Addr;

use engine::prefix::Family;
use engine::wire::{
    AddPathMode, Capabilities, ExpectedAs, Fqdn, GracefulRestart, HEADER_LENGTH, LongLivedFamily, Notification,
    OpenExpectation, OpenMessage, Role, decode_open, encode_open,
};
use proptest::prelude::*;

const OUR_ID: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THEIR_ID: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn open_body(parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 2, u8::try_from(parameters.len()).unwrap()];
    body.extend_from_slice(parameters);
    body
}

fn with_capabilities(capabilities: &[u8]) -> Vec<u8> {
    let mut parameters = vec![2, u8::try_from(capabilities.len()).unwrap()];
    parameters.extend_from_slice(capabilities);
    open_body(&parameters)
}

fn read(capabilities: &[u8]) -> Capabilities {
    decode_open(&with_capabilities(capabilities)).unwrap().capabilities
}

fn expectation() -> OpenExpectation {
    OpenExpectation {
        remote_as: ExpectedAs::Number(65001),
        local_as: 64512,
        local_identifier: OUR_ID,
        minimum_hold_time: 3,
        families: vec![Family::Ipv4Unicast],
        required: Capabilities::default(),
        role: None,
        strict_role: false,
    }
}

fn theirs() -> OpenMessage {
    let capabilities = Capabilities { families: vec![Family::Ipv4Unicast], ..Capabilities::default() };
    OpenMessage::new(65001, 90, THEIR_ID, capabilities)
}

fn full() -> Capabilities {
    Capabilities {
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        route_refresh: true,
        extended_next_hop: true,
        extended_message: true,
        roles: vec![3],
        graceful_restart: Some(GracefulRestart {
            restarting: true,
            notification: true,
            time: 120,
            families: vec![(Family::Ipv4Unicast, true), (Family::Ipv6Unicast, false)],
        }),
        four_octet_as: Some(4_200_000_001),
        add_path: vec![(Family::Ipv4Unicast, AddPathMode::Both), (Family::Ipv6Unicast, AddPathMode::Send)],
        enhanced_route_refresh: true,
        long_lived_graceful_restart: Some(vec![LongLivedFamily {
            family: Family::Ipv4Unicast,
            forwarding: true,
            stale_time: 3600,
        }]),
        fqdn: Some(Fqdn { host: "node-1".to_owned(), domain: "example.net".to_owned() }),
        bfd_strict_mode: true,
        link_local_next_hop: true,
        unknown: vec![(200, vec![1, 2, 3])],
        malformed: Vec::new(),
    }
}

#[test]
fn other_versions_are_refused_with_ours_before_anything_else() {
    let mut body = open_body(&[1, 2, 3]);
    body[0] = 3;
    assert_eq!(decode_open(&body).unwrap_err(), Notification::new(2, 1, vec![0, 4]));
}

#[test]
fn lengths_that_do_not_fit_together_are_unspecific_open_errors() {
    let mut too_long = open_body(&[2, 2, 2, 0]);
    too_long.push(0);
    let mut too_short = open_body(&[2, 2, 2, 0]);
    too_short.pop();
    let overrun_parameter = open_body(&[2, 3, 2, 0]);
    let cut_parameter = open_body(&[2, 2, 2, 0, 2]);
    let overrun_capability = with_capabilities(&[2, 1]);
    let cut_capability = with_capabilities(&[2, 0, 6]);
    let at_the_end = with_capabilities(&[2, 0, 200, 255]);
    for body in [too_long, too_short, overrun_parameter, cut_parameter, overrun_capability, cut_capability, at_the_end]
    {
        assert_eq!(decode_open(&body).unwrap_err(), Notification::malformed_open(), "{body:02x?}");
    }
}

#[test]
fn parameters_other_than_capabilities_are_refused() {
    for kind in [1, 3, 254] {
        assert_eq!(decode_open(&open_body(&[kind, 0])).unwrap_err(), Notification::unsupported_optional_parameter());
    }
    // 255 begins the extended form only in first place.
    assert_eq!(decode_open(&open_body(&[2, 0, 255, 0])).unwrap_err(), Notification::unsupported_optional_parameter());
}

#[test]
fn extended_parameters_are_accepted_even_when_short() {
    for old_length in [255, 1, 9] {
        let mut body = open_body(&[]);
        body[9] = old_length;
        body.extend_from_slice(&[255, 0, 5, 2, 0, 2, 2, 0]);
        assert!(decode_open(&body).unwrap().capabilities.route_refresh, "{old_length}");
    }
    let mut lies = open_body(&[]);
    lies[9] = 255;
    lies.extend_from_slice(&[255, 0, 6, 2, 0, 2, 2, 0]);
    assert_eq!(decode_open(&lies).unwrap_err(), Notification::malformed_open());
    let mut zero = open_body(&[]);
    zero.extend_from_slice(&[255, 0, 5, 2, 0, 2, 2, 0]);
    assert_eq!(decode_open(&zero).unwrap_err(), Notification::malformed_open());
}

#[test]
fn extended_parameters_are_sent_only_above_255_octets() {
    let mut capabilities = Capabilities::default();
    capabilities.unknown.push((200, vec![0; 245]));
    let open = OpenMessage::new(65001, 90, THEIR_ID, capabilities.clone());
    let octets = encode_open(&open);
    assert_eq!(octets[HEADER_LENGTH + 9], 255);
    assert_eq!(octets[HEADER_LENGTH + 10], 2);
    assert_eq!(decode_open(&octets[HEADER_LENGTH..]).unwrap(), open);
    capabilities.unknown.push((201, vec![]));
    let open = OpenMessage::new(65001, 90, THEIR_ID, capabilities);
    let octets = encode_open(&open);
    assert_eq!(octets[HEADER_LENGTH + 9..HEADER_LENGTH + 11], [255, 255]);
    assert_eq!(decode_open(&octets[HEADER_LENGTH..]).unwrap(), open);
}

#[test]
fn open_never_exceeds_4096_octets() {
    let capabilities = Capabilities { unknown: vec![(200, vec![7; 255]); 20], ..full() };
    let octets = encode_open(&OpenMessage::new(65001, 90, THEIR_ID, capabilities));
    assert!(octets.len() <= 4096);
    let read = decode_open(&octets[HEADER_LENGTH..]).unwrap();
    assert!(read.capabilities.unknown.is_empty() && read.capabilities.route_refresh);
}

#[test]
fn every_capability_survives_the_wire() {
    let open = OpenMessage::new(4_200_000_001, 90, THEIR_ID, full());
    let read = decode_open(&encode_open(&open)[HEADER_LENGTH..]).unwrap();
    assert_eq!(read, open);
    assert_eq!(read.my_autonomous_system, 23456);
}

#[test]
fn capabilities_may_be_spread_over_parameters_and_repeated() {
    let body = open_body(&[2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 2, 0, 2, 6, 1, 4, 0, 2, 0, 1, 2, 8, 2, 0, 1, 4, 0, 1, 0, 1]);
    let capabilities = decode_open(&body).unwrap().capabilities;
    assert_eq!(capabilities.families, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    assert!(capabilities.route_refresh);
}

#[test]
fn last_graceful_restart_and_last_add_path_tuple_count() {
    let capabilities = read(&[64, 2, 0, 10, 64, 6, 0x40, 20, 0, 1, 1, 0x80]);
    let restart = capabilities.graceful_restart.unwrap();
    assert_eq!((restart.time, restart.restarting, restart.notification), (20, false, true));
    assert_eq!(restart.families, [(Family::Ipv4Unicast, true)]);
    let capabilities = read(&[69, 8, 0, 1, 1, 1, 0, 1, 1, 2]);
    assert_eq!(capabilities.add_path, [(Family::Ipv4Unicast, AddPathMode::Send)]);
}

#[test]
fn add_path_tuples_of_unknown_mode_or_family_are_ignored() {
    let capabilities = read(&[69, 16, 0, 1, 1, 0, 0, 1, 1, 4, 0, 25, 70, 3, 0, 2, 1, 3]);
    assert_eq!(capabilities.add_path, [(Family::Ipv6Unicast, AddPathMode::Both)]);
}

#[test]
fn known_capability_of_wrong_length_is_dropped_and_noted() {
    let wrong: [&[u8]; 12] = [
        &[1, 3, 0, 1, 0],
        &[2, 1, 0],
        &[5, 5, 0, 1, 0, 1, 0],
        &[6, 1, 0],
        &[9, 2, 0, 0],
        &[64, 1, 0],
        &[64, 5, 0, 1, 0, 1, 1],
        &[69, 3, 0, 1, 1],
        &[70, 1, 0],
        &[71, 6, 0, 1, 1, 0, 0, 0],
        &[74, 1, 0],
        &[77, 1, 0],
    ];
    for capability in wrong {
        let read = read(&[capability, &[200, 0]].concat());
        assert_eq!(read.malformed, [capability[0]]);
        assert_eq!(
            Capabilities { malformed: vec![], ..read },
            Capabilities { unknown: vec![(200, vec![])], ..Capabilities::default() }
        );
    }
    assert_eq!(decode_open(&with_capabilities(&[65, 2, 0, 1])).unwrap_err(), Notification::malformed_open());
}

#[test]
fn unknown_capabilities_and_families_are_kept_and_refuse_nothing() {
    let capabilities = read(&[1, 4, 0, 25, 0, 70, 200, 1, 9, 128, 0]);
    assert_eq!(capabilities.unknown, [(1, vec![0, 25, 0, 70]), (200, vec![9]), (128, vec![])]);
    assert!(!capabilities.route_refresh);
}

#[test]
fn without_multiprotocol_capability_ipv4_alone_is_usable() {
    assert_eq!(read(&[2, 0]).usable_families(), [Family::Ipv4Unicast]);
    assert_eq!(read(&[1, 4, 0, 2, 0, 1]).usable_families(), [Family::Ipv6Unicast]);
    assert_eq!(read(&[1, 4, 0, 25, 0, 70]).usable_families(), []);
}

#[test]
fn capability_65_governs_the_as_number() {
    let open = decode_open(&with_capabilities(&[65, 4, 0, 0, 0xfd, 0xea])).unwrap();
    assert_eq!((open.as_number, open.my_autonomous_system), (65002, 65001));
    assert!(open.as_numbers_disagree());
    assert!(!theirs().as_numbers_disagree());
    assert_eq!(decode_open(&open_body(&[])).unwrap().as_number, 65001);
}

#[test]
fn as_number_must_be_the_configured_one_and_never_zero() {
    let accepts = |remote_as, as_number| {
        OpenMessage { as_number, ..theirs() }.check(&OpenExpectation { remote_as, ..expectation() })
    };
    assert_eq!(accepts(ExpectedAs::Number(65001), 65001), Ok(()));
    assert_eq!(accepts(ExpectedAs::Internal, 64512), Ok(()));
    assert_eq!(accepts(ExpectedAs::External, 65001), Ok(()));
    assert_eq!(accepts(ExpectedAs::Any, 7), Ok(()));
    for (expected, as_number) in [
        (ExpectedAs::Number(65002), 65001),
        (ExpectedAs::Internal, 65001),
        (ExpectedAs::External, 64512),
        (ExpectedAs::Any, 0),
        (ExpectedAs::External, 0),
    ] {
        assert_eq!(accepts(expected, as_number), Err(Notification::bad_peer_as()), "{expected:?} {as_number}");
    }
}

#[test]
fn hold_time_below_the_minimum_is_refused_but_zero_is_fine() {
    let check = |hold_time, minimum_hold_time| {
        OpenMessage { hold_time, ..theirs() }.check(&OpenExpectation { minimum_hold_time, ..expectation() })
    };
    for (hold_time, minimum) in [(1, 0), (2, 0), (9, 10)] {
        assert_eq!(check(hold_time, minimum), Err(Notification::unacceptable_hold_time()));
    }
    for (hold_time, minimum) in [(0, 10), (3, 0), (10, 10), (65535, 3)] {
        assert_eq!(check(hold_time, minimum), Ok(()));
    }
}

#[test]
fn identifier_zero_is_refused_and_ours_only_from_an_internal_peer() {
    let check = |as_number, bgp_identifier| {
        let expected = OpenExpectation { remote_as: ExpectedAs::Number(as_number), ..expectation() };
        OpenMessage { as_number, bgp_identifier, ..theirs() }.check(&expected)
    };
    assert_eq!(check(65001, Ipv4Addr::UNSPECIFIED), Err(Notification::bad_bgp_identifier()));
    assert_eq!(check(64512, OUR_ID), Err(Notification::bad_bgp_identifier()));
    assert_eq!(check(65001, OUR_ID), Ok(()));
    assert_eq!(check(64512, Ipv4Addr::new(224, 0, 0, 1)), Ok(()));
}

#[test]
fn errors_are_found_in_the_order_of_the_checklist() {
    let everything_wrong = OpenMessage {
        as_number: 1,
        hold_time: 1,
        bgp_identifier: Ipv4Addr::UNSPECIFIED,
        ..OpenMessage::without_capabilities(1, 1, OUR_ID)
    };
    let mut expected = OpenExpectation {
        role: Some(Role::Provider),
        strict_role: true,
        required: Capabilities { route_refresh: true, ..Capabilities::default() },
        families: vec![Family::Ipv6Unicast],
        ..expectation()
    };
    let mut open = everything_wrong;
    assert_eq!(open.check(&expected).unwrap_err().subcode, 2);
    open.as_number = 65001;
    assert_eq!(open.check(&expected).unwrap_err().subcode, 6);
    open.hold_time = 90;
    assert_eq!(open.check(&expected).unwrap_err().subcode, 3);
    open.bgp_identifier = THEIR_ID;
    assert_eq!(open.check(&expected).unwrap_err().subcode, 11);
    expected.strict_role = false;
    assert_eq!(open.check(&expected).unwrap_err(), Notification::unsupported_capability(vec![2, 0]));
    open.capabilities.route_refresh = true;
    assert_eq!(open.check(&expected).unwrap_err(), Notification::unsupported_capability(vec![1, 4, 0, 2, 0, 1]));
    expected.families.push(Family::Ipv4Unicast);
    assert_eq!(open.check(&expected), Ok(()));
}

#[test]
fn roles_must_pair_up_and_agree_with_themselves() {
    let check = |role, strict_role, roles: &[u8]| {
        let mut open = theirs();
        open.capabilities.roles = roles.to_vec();
        open.check(&OpenExpectation { role, strict_role, ..expectation() })
    };
    let pairs = [
        (Role::Provider, 3),
        (Role::Customer, 0),
        (Role::RouteServer, 2),
        (Role::RouteServerClient, 1),
        (Role::Peer, 4),
    ];
    for (ours, code) in pairs {
        assert_eq!(check(Some(ours), true, &[code]), Ok(()));
        for wrong in (0..=5).filter(|wrong| *wrong != code) {
            assert_eq!(check(Some(ours), false, &[wrong]), Err(Notification::role_mismatch()));
        }
    }
    assert_eq!(check(Some(Role::Peer), false, &[]), Ok(()));
    assert_eq!(check(Some(Role::Peer), true, &[]), Err(Notification::role_mismatch()));
    assert_eq!(check(Some(Role::Peer), false, &[4, 3]), Err(Notification::role_mismatch()));
    assert_eq!(check(None, false, &[4, 3]), Ok(()));
    assert_eq!(read(&[9, 1, 4, 9, 1, 4]).roles, [4]);
}

#[test]
fn required_capabilities_that_are_missing_are_named_as_in_open() {
    let required = full();
    let mut open = theirs();
    let notification = open.check(&OpenExpectation { required: required.clone(), ..expectation() }).unwrap_err();
    assert_eq!((notification.code, notification.subcode), (2, 7));
    let missing = read(&notification.data);
    assert_eq!(missing.families, [Family::Ipv6Unicast]);
    assert!(missing.extended_message && missing.link_local_next_hop && missing.graceful_restart.is_some());
    open.capabilities = full();
    assert_eq!(open.check(&OpenExpectation { required, ..expectation() }), Ok(()));
}

fn any_capabilities() -> impl Strategy<Value = Capabilities> {
    let family = prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)];
    let families = proptest::sample::subsequence(Family::ALL.to_vec(), 0..=2);
    let modes = prop_oneof![Just(AddPathMode::Receive), Just(AddPathMode::Send), Just(AddPathMode::Both)];
    let restart = (any::<bool>(), any::<bool>(), 0..4096u16, families.clone(), any::<bool>()).prop_map(
        |(restarting, notification, time, families, forwarding)| GracefulRestart {
            restarting,
            notification,
            time,
            families: families.into_iter().map(|family| (family, forwarding)).collect(),
        },
    );
    let long_lived = (family.clone(), any::<bool>(), 0..1u32 << 24)
        .prop_map(|(family, forwarding, stale_time)| vec![LongLivedFamily { family, forwarding, stale_time }]);
    let unknown = (100..255u8, proptest::collection::vec(any::<u8>(), 0..40));
    (
        (families, any::<[bool; 6]>(), proptest::option::of(0..10u8), proptest::option::of(restart)),
        proptest::option::of((family, modes)),
        proptest::option::of(long_lived),
        proptest::option::of(("[a-zäöü]{0,20}", "[a-z.]{0,20}")),
        proptest::collection::vec(unknown, 0..12),
    )
        .prop_map(|((families, flags, role, restart), add_path, long_lived, fqdn, unknown)| Capabilities {
            families,
            route_refresh: flags[0],
            extended_next_hop: flags[1],
            extended_message: flags[2],
            roles: role.into_iter().collect(),
            graceful_restart: restart,
            four_octet_as: None,
            add_path: add_path.into_iter().collect(),
            enhanced_route_refresh: flags[3],
            long_lived_graceful_restart: long_lived,
            fqdn: fqdn.map(|(host, domain)| Fqdn { host, domain }),
            bfd_strict_mode: flags[4],
            link_local_next_hop: flags[5],
            unknown,
            malformed: Vec::new(),
        })
}

proptest! {
    #[test]
    fn any_open_survives_the_wire(
        as_number in 1..=u32::MAX, hold_time: u16, identifier: u32, capabilities in any_capabilities()
    ) {
        let open = OpenMessage::new(as_number, hold_time, Ipv4Addr::from_bits(identifier), capabilities);
        let octets = encode_open(&open);
        prop_assert_eq!(decode_open(&octets[HEADER_LENGTH..]).unwrap(), open);
    }
}
