//! A whole speaker: what an established peer sends, in any form, harms at most its own session.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use engine::{
    Action, AddPath, ConnId, ExportPolicy, Family, ImportPolicy, Instant, PeerConfig, PeerKind, RemoteAs, SessionState,
    Speaker, SpeakerConfig,
    wire::{AddPathMode, Capabilities, OpenMessage, encode_open, keepalive},
};

const LOCAL_AS: u32 = 65000;
/// `victim` sends the input; `other` must not notice.
const PEERS: [(&str, u32, [u8; 4]); 2] = [("victim", 65001, [192, 0, 2, 1]), ("other", 65002, [192, 0, 2, 2])];

/// Two established sessions; one receives the octets in pieces, then time passes. Once without ADD-PATH and once with.
pub(super) fn session(octets: &[u8]) {
    plays_through(octets, AddPath::default());
    plays_through(octets, AddPath { receive: true, send_max: 2 });
}

fn plays_through(octets: &[u8], add_path: AddPath) {
    let now = Instant::new(Duration::from_secs(1));
    let mut speaker = Speaker::new(SpeakerConfig::new(LOCAL_AS, Ipv4Addr::new(10, 0, 0, 9)), 1, now);
    let conns = PEERS.map(|peer| establish(&mut speaker, now, peer, add_path));
    let [Some(victim), Some(_)] = conns else { unreachable!("a session with a well-behaved peer must come up") };
    // Whatever the length of the first piece: a message may be torn anywhere.
    let cut = octets.first().map_or(0, |first| usize::from(*first) % octets.len());
    for piece in [&octets[..cut], &octets[cut..]] {
        speaker.handle_received(now, victim, piece);
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
    add_path: AddPath,
) -> Option<ConnId> {
    let address = Ipv4Addr::from(address);
    let mut config = PeerConfig::new(name, address.into(), RemoteAs::Exactly(remote_as), PeerKind::Static);
    config.import = ImportPolicy::Accept;
    config.export = ExportPolicy::Accept;
    config.add_path = add_path;
    config.passive = true;
    speaker.set_peer(now, config);
    drain(speaker, now);
    let local = SocketAddr::from(([192, 0, 2, 9], 179));
    let conn = speaker.handle_accepted(now, local, SocketAddr::new(address.into(), 40000), None)?;
    drain(speaker, now);
    let capabilities = Capabilities {
        families: Family::ALL.to_vec(),
        four_octet_as: Some(remote_as),
        route_refresh: true,
        enhanced_route_refresh: true,
        add_path: match add_path.receive {
            true => Family::ALL.map(|family| (family, AddPathMode::Both)).to_vec(),
            false => Vec::new(),
        },
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
