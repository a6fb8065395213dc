//! A whole speaker: what an established peer sends, in any form, harms at most its own session.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use engine::{
    Action, AddPath, ConnId, ExportPolicy, Family, ImportPolicy, Instant, LongLivedRestart, PeerConfig, PeerKind,
    PerFamily, RemoteAs, SessionState, Speaker, SpeakerConfig,
    wire::{AddPathMode, Capabilities, GracefulRestart, LongLivedFamily, OpenMessage, Role, encode_open, keepalive},
};

const LOCAL_AS: u32 = 65000;
/// `victim` sends the input; `other` must not notice.
const PEERS: [(&str, u32, [u8; 4]); 2] = [("victim", 65001, [192, 0, 2, 1]), ("other", 65002, [192, 0, 2, 2])];

/// Two established sessions of every kind; one receives the octets in pieces, then time passes.
pub(super) fn session(octets: &[u8]) {
    for kind in [Kind::Plain, Kind::Several, Kind::Internal, Kind::Leaving] {
        plays_through(octets, kind);
    }
}

/// What the sessions are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// ADD-PATH both ways, long messages, IPv4 by IPv6.
    Several,
    /// Inside the AS, as clients of our reflection.
    Internal,
    /// Roles, graceful restart and the long-lived one; the connection is lost at the end.
    Leaving,
}

fn plays_through(octets: &[u8], kind: Kind) {
    let now = Instant::new(Duration::from_secs(1));
    let mut speaker = Speaker::new(SpeakerConfig::new(LOCAL_AS, Ipv4Addr::new(10, 0, 0, 9)), 1, now);
    let conns = PEERS.map(|peer| establish(&mut speaker, now, peer, kind));
    let [Some(victim), Some(_)] = conns else { unreachable!("a session with a well-behaved peer must come up") };
    // Whatever the length of the first piece: a message may be torn anywhere.
    let cut = octets.first().map_or(0, |first| usize::from(*first) % octets.len());
    for piece in [&octets[..cut], &octets[cut..]] {
        speaker.handle_received(now, victim, piece);
        drain(&mut speaker, now);
    }
    if kind == Kind::Leaving {
        speaker.handle_closed(now, victim);
        drain(&mut speaker, now);
    }
    for second in 2..12 {
        let now = Instant::new(Duration::from_secs(second));
        speaker.handle_timeout(now);
        drain(&mut speaker, now);
    }
    let other = speaker.peer("other").map(|peer| peer.state);
    assert_eq!(other, Some(SessionState::Established), "a peer's octets must not end another's session");
}

fn establish(
    speaker: &mut Speaker,
    now: Instant,
    (name, remote_as, address): (&str, u32, [u8; 4]),
    kind: Kind,
) -> Option<ConnId> {
    let remote_as = if kind == Kind::Internal { LOCAL_AS } else { remote_as };
    let (several, leaving, both) = (kind == Kind::Several, kind == Kind::Leaving, Family::ALL);
    let address = Ipv4Addr::from(address);
    let mut config = PeerConfig::new(name, address.into(), RemoteAs::Exactly(remote_as), PeerKind::Static);
    config.import = ImportPolicy::Accept;
    config.export = ExportPolicy::Accept;
    if several {
        config.add_path = AddPath { receive: true, send_max: 2 };
    }
    config.route_reflector_client = kind == Kind::Internal;
    config.role = leaving.then_some(Role::Provider);
    if leaving {
        let time = Duration::from_secs(3);
        let long_lived = Some(LongLivedRestart { stale_time: time, max_stale_time: time });
        config.long_lived_restart = PerFamily::new(long_lived, long_lived);
    }
    config.passive = true;
    speaker.set_peer(now, config);
    drain(speaker, now);
    let local = SocketAddr::from(([192, 0, 2, 9], 179));
    let conn = speaker.handle_accepted(now, local, SocketAddr::new(address.into(), 40000), None)?;
    drain(speaker, now);
    let capabilities = Capabilities {
        families: both.to_vec(),
        four_octet_as: Some(remote_as),
        route_refresh: true,
        enhanced_route_refresh: true,
        extended_message: several,
        extended_next_hop: several,
        add_path: if several { both.map(|family| (family, AddPathMode::Both)).to_vec() } else { Vec::new() },
        roles: if leaving { vec![3] } else { Vec::new() },
        graceful_restart: leaving.then(|| GracefulRestart {
            notification: true,
            time: 3,
            families: both.map(|family| (family, true)).to_vec(),
            ..GracefulRestart::default()
        }),
        long_lived_graceful_restart: leaving
            .then(|| both.map(|family| LongLivedFamily { family, forwarding: true, stale_time: 3 }).to_vec()),
        ..Capabilities::default()
    };
    let open = OpenMessage::new(remote_as, 90, address, capabilities);
    speaker.handle_received(now, conn, &encode_open(&open));
    speaker.handle_received(now, conn, &keepalive());
    drain(speaker, now);
    let established = speaker.peer(name).is_some_and(|peer| peer.state == SessionState::Established);
    established.then_some(conn)
}

/// Plays the shell: everything is written at once, everything is installed.
fn drain(speaker: &mut Speaker, now: Instant) {
    while speaker.poll_next_hop().is_some() || speaker.poll_fib().is_some() || speaker.poll_event().is_some() {}
    while let Some(action) = speaker.poll_action() {
        if let Action::Send { conn, bytes } = action {
            speaker.handle_sent(now, conn, bytes.len());
        }
    }
}
