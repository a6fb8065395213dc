//! Fuzz targets of BFD.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bfd::{Arrival, Config, Hops, Instant, Path, Sessions, decode, encode};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

/// Packets a millisecond, at most, whatever a peer sends: each of its packets may be answered and may change the state.
const MOST_PER_PACKET: usize = 2;

/// A UDP payload: what was accepted is read back as the same.
pub(super) fn packet(octets: &[u8]) {
    if let Ok(packet) = decode(octets) {
        assert_eq!(decode(&encode(&packet)), Ok(packet));
    }
}

/// A session that is sent one payload after the other, each behind an octet with the milliseconds before it and one with
/// its length; every second one is given the session's number. It sends no more than it may, and another session that is
/// sent nothing does not change.
pub(super) fn session(octets: &[u8]) {
    let mut sessions = Sessions::new(1);
    let start = |sessions: &mut Sessions, remote| {
        let path = Path { remote, local: OURS, interface: None, hops: Hops::Single };
        sessions.start(Instant::default(), path, Config::default())
    };
    let id = start(&mut sessions, PEER);
    let other = start(&mut sessions, OTHER);
    let number = sessions.status(id).map_or(0, |status| status.discriminator);
    let arrival = Arrival { source: PEER, destination: OURS, interface: 1, ttl: 255, multihop: false };
    let (mut now, mut rest, mut even) = (Instant::default(), octets, false);
    while let [pause, length, tail @ ..] = rest {
        let (payload, after) = tail.split_at(usize::from(*length).min(tail.len()));
        let mut payload = payload.to_vec();
        if let (true, Some(field)) = (even, payload.get_mut(8..12)) {
            field.copy_from_slice(&number.to_be_bytes());
        }
        even = !even;
        now = now + Duration::from_millis(u64::from(*pause));
        sessions.handle_timeout(now);
        while sessions.poll_transmit(now).is_some() {}
        let _ = sessions.handle_datagram(now, &arrival, &payload);
        while sessions.poll_change().is_some() {}
        let sent = std::iter::from_fn(|| sessions.poll_transmit(now)).count();
        assert!(sent <= MOST_PER_PACKET + 1, "{sent} packets for one");
        assert!(sessions.poll_timeout().is_some_and(|at| at > now), "it asks to be woken for nothing");
        rest = after;
    }
    let quiet = sessions.status(other).map(|status| (status.state, status.received));
    assert_eq!(quiet, Some((bfd::State::Down, 0)));
}
