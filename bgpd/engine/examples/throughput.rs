//! What one prefix costs on its way through a speaker: from external peers to another one, with a table like the
//! Internet's. Usage: `throughput [prefixes] [attribute sets] [senders]`.

#![expect(clippy::disallowed_methods, reason = "a program around the pure engine: it has arguments and a clock")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BytesMut;
use engine::wire::{
    AsPath, Capabilities, Community, EncodeContext, GracefulRestart, NextHop, Nlri, OpenMessage, PathAttributes,
    encode_open, end_of_rib, frame, keepalive, pack_announcements,
};
use engine::{
    Action, ConnId, ExportPolicy, Family, ImportPolicy, InstallResult, Instant, Ipv4Prefix, NextHopUpdate, PeerConfig,
    PeerKind, PerFamily, Reachability, RemoteAs, Speaker, SpeakerConfig,
};

const PIECE: usize = 64 * 1024;

fn attributes(sender: u8, number: u32) -> PathAttributes {
    PathAttributes {
        as_path: AsPath::from_sequence(&[
            65000 + u32::from(sender),
            64000 + number % 997,
            3_000_000 + number,
            number % 61,
            number % 13 + 1,
        ]),
        med: number.is_multiple_of(3).then_some(number),
        communities: (0..number % 5).map(|it| Community((65001 << 16) + number % 1000 + it)).collect(),
        ..PathAttributes::default()
    }
}

/// UPDATEs of a table whose prefixes have their attributes at random, as they come from a router.
fn table(sender: u8, prefixes: u32, sets: u32) -> BytesMut {
    let context = EncodeContext {
        four_octet_as: true,
        max_length: 4096,
        add_path: PerFamily::new(false, false),
        extended_next_hop_v4: false,
    };
    let mut by_set: Vec<Vec<Ipv4Prefix>> = vec![Vec::new(); sets as usize];
    for number in 0..prefixes {
        let address = Ipv4Addr::from_bits(0x1400_0000 + (number << 8));
        let at = number.wrapping_mul(2_654_435_761) as usize % by_set.len();
        if let (Some(set), Some(prefix)) = (by_set.get_mut(at), Ipv4Prefix::new(address, 24)) {
            set.push(prefix);
        }
    }
    let mut out = BytesMut::new();
    let next_hop = NextHop::V4(Ipv4Addr::new(192, 0, 2, sender));
    for (number, set) in (0..).zip(by_set) {
        let nlri = set.into_iter().map(Nlri::new);
        let _ = pack_announcements(&context, &attributes(sender, number), &next_hop, nlri, &mut out);
    }
    out.extend_from_slice(&end_of_rib(Family::Ipv4Unicast));
    out
}

struct Bench {
    speaker: Speaker,
    now: Duration,
    sent: usize,
    messages: usize,
    installed: usize,
}

impl Bench {
    fn instant(&mut self) -> Instant {
        self.now += Duration::from_micros(10);
        Instant::new(self.now)
    }

    fn drain(&mut self) {
        loop {
            let mut idle = true;
            while let Some(action) = self.speaker.poll_action() {
                idle = false;
                if let Action::Send { conn, bytes } = action {
                    self.sent += bytes.len();
                    let mut rest = &bytes[..];
                    while let Ok(Some(message)) = frame(rest, 65535) {
                        self.messages += 1;
                        rest = rest.get(message.length..).unwrap_or_default();
                    }
                    let now = self.instant();
                    self.speaker.handle_sent(now, conn, bytes.len());
                }
            }
            while let Some(update) = self.speaker.poll_next_hop() {
                if let NextHopUpdate::Track(address) = update {
                    let reachability = Reachability { metric: 0, interface: 2, gateway: None, onlink: false };
                    let now = self.instant();
                    self.speaker.set_reachability(now, address, Some(reachability));
                    idle = false;
                }
            }
            while let Some(update) = self.speaker.poll_fib() {
                if let engine::FibUpdate::Replace { prefix, .. } = update {
                    self.installed += 1;
                    self.speaker.handle_installed(prefix, InstallResult::Installed);
                }
            }
            while self.speaker.poll_event().is_some() {}
            if idle {
                return;
            }
        }
    }

    fn connect(&mut self, number: u8) -> Option<ConnId> {
        let address = IpAddr::from([192, 0, 2, number]);
        let as_number = 65000 + u32::from(number);
        let name = format!("peer-{number}");
        let mut config = PeerConfig::new(name, address, RemoteAs::Exactly(as_number), PeerKind::Static);
        config.passive = true;
        config.import = ImportPolicy::Accept;
        config.export = ExportPolicy::Accept;
        let now = self.instant();
        self.speaker.set_peer(now, config);
        let local = (Ipv4Addr::new(192, 0, 2, 100), 179).into();
        let conn = self.speaker.handle_accepted(now, local, (address, 40000).into(), None)?;
        let capabilities = Capabilities {
            families: vec![Family::Ipv4Unicast],
            route_refresh: true,
            graceful_restart: Some(GracefulRestart::default()),
            ..Capabilities::default()
        };
        let open = OpenMessage::new(as_number, 90, [10, 0, 0, number].into(), capabilities);
        self.speaker.handle_received(now, conn, &encode_open(&open));
        self.speaker.handle_received(now, conn, &keepalive());
        self.drain();
        Some(conn)
    }
}

/// CPU time of this thread, so that a busy machine does not blur the numbers.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Memory of this process in kB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let prefixes: u32 = arguments.next().as_deref().unwrap_or("100000").parse()?;
    let sets: u32 = arguments.next().as_deref().unwrap_or("12000").parse()?;
    let senders: u8 = arguments.next().as_deref().unwrap_or("1").parse()?;
    let config = SpeakerConfig::new(65100, [10, 0, 0, 100].into());
    let mut bench = Bench {
        speaker: Speaker::new(config, 1, Instant::default()),
        now: Duration::ZERO,
        sent: 0,
        messages: 0,
        installed: 0,
    };
    let mut report = format!("{prefixes} prefixes, {sets} attribute sets\n");
    let Some(_to) = bench.connect(u8::MAX) else { return Err("refused".into()) };
    let mut from = None;
    for sender in (1..=senders).rev() {
        let Some(conn) = bench.connect(sender) else { return Err("refused".into()) };
        let stream = table(sender, prefixes, sets);
        let (sent, messages, resident) = (bench.sent, bench.messages, resident());
        let started = cpu_time();
        for piece in stream.chunks(PIECE) {
            let now = bench.instant();
            bench.speaker.handle_received(now, conn, piece);
            bench.drain();
        }
        let took = cpu_time() - started;
        report += &format!(
            "from peer-{sender}: {} octets in, {took:?} = {} ns/prefix, {} octets and {} messages out, {} kB more resident\n",
            stream.len(),
            took.as_nanos() / u128::from(prefixes.max(1)),
            bench.sent - sent,
            bench.messages - messages,
            self::resident().saturating_sub(resident),
        );
        from = Some(conn);
    }
    report += &format!("{} routes installed\n", bench.installed);
    let _ = bench.connect(u8::MAX - 1);
    let Some(from) = from else { return Ok(()) };
    let started = cpu_time();
    let now = bench.instant();
    bench.speaker.handle_closed(now, from);
    bench.drain();
    report += &format!("connection lost, all withdrawn: {:?}\n", cpu_time() - started);
    let started = cpu_time();
    let now = bench.instant();
    bench.speaker.remove_peer(now, "peer-1");
    bench.drain();
    report += &format!("peer removed: {:?}\n", cpu_time() - started);
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes())?;
    Ok(())
}
