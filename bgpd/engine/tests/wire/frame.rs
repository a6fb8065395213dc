//! Framing, NOTIFICATION, ROUTE-REFRESH.

use engine::prefix::Family;
use engine::wire::{
    HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, Message, MessageKind, Notification, RefreshKind, RouteRefresh,
    decode, decode_notification, decode_route_refresh, encode_notification, encode_route_refresh, end_of_rib, frame,
    keepalive,
};

fn header(length: u16, kind: u8) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind);
    out
}

fn refused(octets: &[u8]) -> Notification {
    frame(octets, MAX_LENGTH).unwrap_err()
}

#[test]
fn marker_that_is_not_all_ones_is_not_synchronized() {
    for position in 0..16 {
        let mut octets = keepalive().to_vec();
        octets[position] = 0xfe;
        assert_eq!(refused(&octets), Notification::new(1, 1, vec![]));
    }
}

#[test]
fn illegal_length_is_refused_on_the_header_alone() {
    let illegal =
        [(18, 2), (4097, 2), (65535, 5), (28, 1), (22, 2), (20, 3), (22, 5), (20, 4), (0, 4), (18, 9), (5000, 9)];
    for (length, kind) in illegal {
        assert_eq!(
            refused(&header(length, kind)),
            Notification::new(1, 2, length.to_be_bytes().to_vec()),
            "{length} {kind}"
        );
    }
}

#[test]
fn unknown_type_is_refused_with_the_type() {
    for kind in [0, 6, 128, 255] {
        assert_eq!(refused(&header(19, kind)), Notification::new(1, 3, vec![kind]));
    }
}

#[test]
fn long_messages_are_taken_once_we_said_so_but_open_and_keepalive_stay_short() {
    for (kind, longest) in [(2, 65535), (3, 65535), (5, 65535), (1, 4096), (4, 19)] {
        assert!(frame(&header(longest, kind), MAX_EXTENDED_LENGTH).is_ok(), "{kind}");
        if let Some(longer) = longest.checked_add(1) {
            assert_eq!(frame(&header(longer, kind), MAX_EXTENDED_LENGTH).unwrap_err().subcode, 2, "{kind}");
        }
    }
}

#[test]
fn octets_may_arrive_one_by_one_and_many_messages_at_once() {
    let update = end_of_rib(Family::Ipv6Unicast);
    let stream = [keepalive(), update, keepalive()].concat();
    let (mut kinds, mut start) = (Vec::new(), 0);
    for end in 0..=stream.len() {
        while let Some(raw) = frame(&stream[start..end], MAX_LENGTH).unwrap() {
            assert_eq!(raw.body.len() + HEADER_LENGTH, raw.length);
            kinds.push((raw.kind, end));
            start += raw.length;
        }
    }
    assert_eq!(kinds, [(MessageKind::Keepalive, 19), (MessageKind::Update, 48), (MessageKind::Keepalive, 67)]);
    let mut rest = stream.as_slice();
    let mut count = 0;
    while let Some(raw) = frame(rest, MAX_LENGTH).unwrap() {
        rest = &rest[raw.length..];
        count += 1;
    }
    assert_eq!((count, rest.len()), (3, 0));
}

#[test]
fn whole_messages_decode_by_type() {
    let notification = Notification::hold_timer_expired();
    let octets = encode_notification(&notification, MAX_LENGTH);
    let raw = frame(&octets, MAX_LENGTH).unwrap().unwrap();
    assert_eq!(decode(&raw).unwrap(), Message::Notification(notification));
    let octets = end_of_rib(Family::Ipv4Unicast);
    let raw = frame(&octets, MAX_LENGTH).unwrap().unwrap();
    assert_eq!(decode(&raw).unwrap(), Message::Update(&[0, 0, 0, 0]));
    let refresh = RouteRefresh::new(Family::Ipv6Unicast, RefreshKind::Begin);
    let octets = encode_route_refresh(&refresh);
    let raw = frame(&octets, MAX_LENGTH).unwrap().unwrap();
    assert_eq!(decode(&raw).unwrap(), Message::RouteRefresh(refresh));
}

#[test]
fn notification_is_cut_to_what_the_peer_takes() {
    let long = Notification::attribute_length_error(vec![7; 70_000]);
    assert_eq!(encode_notification(&long, MAX_LENGTH).len(), 4096);
    assert_eq!(encode_notification(&long, MAX_EXTENDED_LENGTH).len(), 65535);
}

#[test]
fn every_named_notification_has_its_code_and_words() {
    let all = [
        (Notification::connection_not_synchronized(), (1, 1)),
        (Notification::bad_message_length(18), (1, 2)),
        (Notification::bad_message_type(9), (1, 3)),
        (Notification::unsupported_version(), (2, 1)),
        (Notification::bad_peer_as(), (2, 2)),
        (Notification::bad_bgp_identifier(), (2, 3)),
        (Notification::unsupported_optional_parameter(), (2, 4)),
        (Notification::unacceptable_hold_time(), (2, 6)),
        (Notification::unsupported_capability(vec![2, 0]), (2, 7)),
        (Notification::role_mismatch(), (2, 11)),
        (Notification::malformed_attribute_list(), (3, 1)),
        (Notification::unrecognized_well_known_attribute(vec![]), (3, 2)),
        (Notification::missing_well_known_attribute(1), (3, 3)),
        (Notification::attribute_flags_error(vec![]), (3, 4)),
        (Notification::attribute_length_error(vec![]), (3, 5)),
        (Notification::invalid_origin_attribute(vec![]), (3, 6)),
        (Notification::invalid_next_hop_attribute(vec![]), (3, 8)),
        (Notification::optional_attribute_error(vec![]), (3, 9)),
        (Notification::invalid_network_field(), (3, 10)),
        (Notification::malformed_as_path(), (3, 11)),
        (Notification::unexpected_in_open_sent(MessageKind::Update), (5, 1)),
        (Notification::unexpected_in_open_confirm(MessageKind::Update), (5, 2)),
        (Notification::unexpected_in_established(MessageKind::Open), (5, 3)),
        (Notification::maximum_prefixes_reached(Family::Ipv6Unicast, 5), (6, 1)),
        (Notification::administrative_shutdown(""), (6, 2)),
        (Notification::peer_deconfigured(), (6, 3)),
        (Notification::administrative_reset(""), (6, 4)),
        (Notification::connection_rejected(), (6, 5)),
        (Notification::other_configuration_change(), (6, 6)),
        (Notification::connection_collision_resolution(), (6, 7)),
        (Notification::out_of_resources(), (6, 8)),
        (Notification::hard_reset(&Notification::peer_deconfigured()), (6, 9)),
        (Notification::bfd_down(), (6, 10)),
        (Notification::invalid_route_refresh_length(vec![]), (7, 1)),
    ];
    for (notification, (code, subcode)) in &all {
        assert_eq!((notification.code, notification.subcode), (*code, *subcode));
        assert!(!notification.words().1.is_empty(), "{notification}");
    }
    for (notification, code) in [
        (Notification::malformed_open(), 2),
        (Notification::hold_timer_expired(), 4),
        (Notification::send_hold_timer_expired(), 8),
    ] {
        assert_eq!((notification.code, notification.subcode), (code, 0));
        assert!(notification.data.is_empty());
    }
    assert_eq!(Notification::maximum_prefixes_reached(Family::Ipv6Unicast, 5).data, [0, 2, 1, 0, 0, 0, 5]);
    assert_eq!(Notification::unexpected_in_open_sent(MessageKind::RouteRefresh).data, [5]);
}

#[test]
fn shutdown_communication_is_shown_as_text_and_cut_at_a_character() {
    let shutdown = Notification::administrative_shutdown("Wartung läuft");
    assert_eq!(shutdown.communication().as_deref(), Some("Wartung läuft"));
    assert_eq!(shutdown.to_string(), "6/2 Cease, Administrative Shutdown: \"Wartung läuft\"");
    let long = Notification::administrative_reset(&format!("x{}", "ä".repeat(100)));
    assert_eq!(long.data.len(), 128);
    assert_eq!(long.communication().unwrap().chars().count(), 64);
    assert_eq!(Notification::administrative_shutdown("").communication(), None);
    let longest = Notification::new(6, 2, [vec![255], vec![b'a'; 255]].concat());
    assert_eq!(longest.communication().unwrap().len(), 255);
}

#[test]
fn unreadable_shutdown_communication_is_shown_as_hex() {
    for data in [vec![5, b'a'], vec![2, 0xc3, 0x28], vec![2, b'a', 7], vec![255]] {
        let text = Notification::new(6, 4, data.clone()).communication().unwrap();
        assert_eq!(text, data.iter().map(|octet| format!("{octet:02x}")).collect::<String>());
    }
    assert_eq!(Notification::new(6, 3, vec![1, b'a']).communication(), None);
}

#[test]
fn hard_reset_carries_the_inner_notification_and_is_one_without_it() {
    let inner = Notification::administrative_shutdown("bye");
    let hard = Notification::hard_reset(&inner);
    assert_eq!(hard.data[..2], [6, 2]);
    assert_eq!(hard.inner(), Some(inner));
    assert_eq!(hard.communication().as_deref(), Some("bye"));
    assert_eq!(hard.to_string(), "6/9 Cease, Hard Reset (6/2 Cease, Administrative Shutdown: \"bye\")");
    for data in [vec![], vec![6]] {
        let short = Notification::new(6, 9, data);
        assert!(short.is_hard_reset());
        assert_eq!(short.inner(), None);
    }
    let nested = (0..2000).fold(Notification::peer_deconfigured(), |inner, _| Notification::hard_reset(&inner));
    assert!(nested.inner().unwrap().is_hard_reset());
    assert_eq!(nested.communication(), None);
    assert!(nested.to_string().starts_with("6/9 Cease, Hard Reset [0609"));
}

#[test]
fn unknown_notification_is_shown_with_its_data() {
    assert_eq!(decode_notification(&[77, 3, 0xab]).to_string(), "77/3 unknown error [ab]");
    assert_eq!(decode_notification(&[2, 8]).to_string(), "2/8 OPEN Message Error");
}

#[test]
fn route_refresh_of_every_subtype_is_read() {
    for (kind, subtype) in
        [(RefreshKind::Request, 0), (RefreshKind::Begin, 1), (RefreshKind::End, 2), (RefreshKind::Unknown(9), 9)]
    {
        let refresh = RouteRefresh { afi: 2, safi: 1, kind };
        assert_eq!(encode_route_refresh(&refresh)[HEADER_LENGTH..], [0, 2, subtype, 1]);
        assert_eq!(decode_route_refresh(&[0, 2, subtype, 1]).unwrap(), refresh);
    }
    assert_eq!(decode_route_refresh(&[0, 25, 0, 70]).unwrap().family(), None);
    assert_eq!(decode_route_refresh(&[0, 1, 0, 1]).unwrap().family(), Some(Family::Ipv4Unicast));
}

#[test]
fn route_refresh_of_wrong_length_is_answered_with_the_whole_message() {
    for body in [vec![0, 1, 1, 1, 0], vec![0, 1, 2, 1, 0], vec![0, 1, 0, 1, 1, 64, 0, 5, 1], vec![0, 1, 0]] {
        let notification = decode_route_refresh(&body).unwrap_err();
        assert_eq!((notification.code, notification.subcode), (7, 1));
        assert_eq!(notification.data[HEADER_LENGTH..], body);
        assert_eq!(usize::from(notification.data[17]), HEADER_LENGTH + body.len());
    }
}

#[test]
fn outbound_route_filters_and_unknown_subtypes_are_left_to_be_ignored() {
    let filters = [0, 1, 0, 1, 1, 64, 0, 2, 7, 7, 65, 0, 0];
    assert_eq!(decode_route_refresh(&filters).unwrap().kind, RefreshKind::Filter);
    assert_eq!(decode_route_refresh(&[0, 1, 77, 1, 9, 9]).unwrap().kind, RefreshKind::Unknown(77));
}
