//! Fuzz targets of the BGP wire codec: each takes any octets, and panics if the codec breaks one of its promises.

use bytes::BytesMut;
use engine::prefix::PerFamily;
use engine::wire::{
    EncodeContext, HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, Nlri, Update, UpdateContext, decode,
    decode_notification, decode_open, decode_route_refresh, decode_update, encode_notification, encode_open,
    encode_route_refresh, frame, pack_announcements, pack_withdrawals,
};

/// A stream of messages: framing makes progress, never beyond what is there, and every message decodes or is refused.
pub(super) fn stream(octets: &[u8]) {
    for max_length in [MAX_LENGTH, MAX_EXTENDED_LENGTH] {
        let mut rest = octets;
        while let Ok(Some(raw)) = frame(rest, max_length) {
            assert!(raw.length >= HEADER_LENGTH && raw.length <= max_length);
            assert_eq!(raw.body.len() + HEADER_LENGTH, raw.length);
            let _ = decode(&raw);
            rest = &rest[raw.length..];
        }
    }
}

/// The body of an OPEN: what was accepted is read back as the same, but for capabilities that were dropped.
pub(super) fn open(octets: &[u8]) {
    let Ok(mut open) = decode_open(octets) else { return };
    open.capabilities.malformed.clear();
    let encoded = encode_open(&open);
    assert!(encoded.len() <= MAX_LENGTH);
    let again = decode_open(&encoded[HEADER_LENGTH..]);
    let mut again = again.unwrap_or_else(|refusal| unreachable!("our own OPEN is refused: {refusal}"));
    if again.capabilities.unknown.is_empty() {
        // They are left out when they do not fit.
        open.capabilities.unknown.clear();
    }
    // Foreign families are kept among the unknown capabilities, whose order is that of arrival.
    open.capabilities.unknown.sort_unstable();
    again.capabilities.unknown.sort_unstable();
    assert_eq!(again, open);
}

/// The body of a NOTIFICATION: any is accepted, shown, and read back as the same.
pub(super) fn notification(octets: &[u8]) {
    let notification = decode_notification(octets);
    assert!(!notification.to_string().is_empty());
    let _ = (notification.communication(), notification.inner());
    let encoded = encode_notification(&notification, MAX_EXTENDED_LENGTH);
    let again = decode_notification(&encoded[HEADER_LENGTH..]);
    assert!(notification.data.starts_with(&again.data));
    assert_eq!((again.code, again.subcode), (notification.code, notification.subcode));
}

/// The body of a ROUTE-REFRESH: what was accepted is read back with the same family and subtype.
pub(super) fn route_refresh(octets: &[u8]) {
    let Ok(refresh) = decode_route_refresh(octets) else { return };
    let again = decode_route_refresh(&encode_route_refresh(&refresh)[HEADER_LENGTH..]);
    let again = again.unwrap_or_else(|refusal| unreachable!("our own ROUTE-REFRESH is refused: {refusal}"));
    assert_eq!((again.afi, again.safi), (refresh.afi, refresh.safi));
}

/// The body of an UPDATE behind one octet that picks what the session negotiated: what was accepted, packed and read back
/// on a session of the same kind, is the same.
pub(super) fn update(octets: &[u8]) {
    let Some((picked, body)) = octets.split_first() else { return };
    let bit = |position: u8| picked & 1 << position != 0;
    let context = UpdateContext {
        four_octet_as: bit(0),
        peer_is_internal: bit(1),
        peer_as: 65001,
        check_first_as: bit(2),
        reject_as_sets: bit(3),
        families: PerFamily::new(true, !bit(4)),
        add_path_receive: PerFamily::new(bit(5), bit(6)),
        extended_next_hop_v4: bit(7),
    };
    if let Ok(update) = decode_update(body, &context) {
        survives_packing(&update, &context);
    }
}

fn survives_packing(update: &Update, context: &UpdateContext) {
    let session = EncodeContext {
        four_octet_as: true,
        max_length: MAX_EXTENDED_LENGTH,
        add_path: context.add_path_receive,
        extended_next_hop_v4: true,
    };
    let mut out = BytesMut::new();
    pack_withdrawals(&session, update.v4.withdrawn.iter().copied(), &mut out);
    pack_withdrawals(&session, update.v6.withdrawn.iter().copied(), &mut out);
    let mut unsent = false;
    if let (Some(attributes), Some(next_hop)) = (&update.attributes, &update.v4.next_hop) {
        let announced = update.v4.announced.iter().copied();
        unsent |= pack_announcements(&session, attributes, next_hop, announced, &mut out).is_err();
    }
    if let (Some(attributes), Some(next_hop)) = (&update.attributes, &update.v6.next_hop) {
        let announced = update.v6.announced.iter().copied();
        unsent |= pack_announcements(&session, attributes, next_hop, announced, &mut out).is_err();
    }
    let reader = UpdateContext {
        four_octet_as: true,
        peer_is_internal: true,
        check_first_as: false,
        families: PerFamily::new(true, true),
        extended_next_hop_v4: true,
        ..context.clone()
    };
    let (mut v4, mut v6) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let mut rest = out.as_ref();
    while let Ok(Some(raw)) = frame(rest, MAX_EXTENDED_LENGTH) {
        let read = decode_update(raw.body, &reader);
        let read = read.unwrap_or_else(|refusal| unreachable!("our own UPDATE is refused: {refusal}"));
        assert!(read.errors.is_empty(), "{:?}", read.errors);
        // Attributes that a receiver may discard are left out when room is short, which unread ones can make it.
        if let (Some(read), Some(sent)) = (&read.attributes, &update.attributes) {
            assert_eq!((&read.as_path, &read.unknown), (&sent.as_path, &sent.unknown));
            assert_eq!((&read.communities, read.otc), (&sent.communities, sent.otc));
        }
        v4.0.extend(read.v4.withdrawn);
        v4.1.extend(read.v4.announced);
        v6.0.extend(read.v6.withdrawn);
        v6.1.extend(read.v6.announced);
        rest = &rest[raw.length..];
    }
    assert!(rest.is_empty());
    same(&v4.0, &update.v4.withdrawn);
    same(&v6.0, &update.v6.withdrawn);
    if !unsent {
        same(&v4.1, &update.v4.announced);
        same(&v6.1, &update.v6.announced);
    }
}

fn same<P: PartialEq + std::fmt::Debug>(read: &[Nlri<P>], sent: &[Nlri<P>]) {
    assert_eq!(read, sent);
}
