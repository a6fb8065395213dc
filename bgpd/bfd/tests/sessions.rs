//! Many sessions: which datagram is for whom, and two machines on a wire that loses, delays and repeats.

#![expect(clippy::unwrap_used, reason = "a test ends where its expectations do not hold")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bfd::{Arrival, Config, Discard, Hops, Instant, Invalid, Path, SessionId, Sessions, State, decode, encode};
use proptest::prelude::*;

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

fn path(local: IpAddr, remote: IpAddr, hops: Hops) -> Path {
    Path { remote, local, interface: None, hops }
}

const fn arrival(source: IpAddr, destination: IpAddr) -> Arrival {
    Arrival { source, destination, interface: 7, ttl: 255, multihop: false }
}

fn at(milliseconds: u64) -> Instant {
    Instant::new(Duration::from_millis(milliseconds))
}

/// What a session would send first.
fn hello(local: IpAddr, remote: IpAddr, hops: Hops) -> Vec<u8> {
    let mut sessions = Sessions::new(99);
    sessions.start(at(0), path(local, remote, hops), Config::default());
    sessions.poll_transmit(at(0)).unwrap().payload.to_vec()
}

fn state(sessions: &Sessions, id: SessionId) -> State {
    sessions.status(id).unwrap().state
}

#[test]
fn a_first_packet_finds_its_session_by_addresses_and_later_ones_by_number() {
    let mut a = Sessions::new(1);
    let with_b = a.start(at(0), path(A, B, Hops::Single), Config::default());
    let with_c = a.start(at(0), path(A, C, Hops::Single), Config::default());
    assert_eq!(a.handle_datagram(at(1), &arrival(C, A), &hello(C, A, Hops::Single)), Ok(()));
    assert_eq!((state(&a, with_b), state(&a, with_c)), (State::Down, State::Init));
    let numbered = |id| {
        let mut packet = decode(&hello(C, A, Hops::Single)).unwrap();
        (packet.state, packet.your_discriminator) = (State::Init, id);
        encode(&packet)
    };
    let number = a.status(with_c).unwrap().discriminator;
    // From another address, as after a renumbering: the number decides (RFC 5880 §6.3).
    assert_eq!(a.handle_datagram(at(2), &arrival(B, A), &numbered(number)), Ok(()));
    assert_eq!((state(&a, with_b), state(&a, with_c)), (State::Down, State::Up));
    let unknown = a.handle_datagram(at(3), &arrival(C, A), &numbered(number ^ 1));
    assert_eq!(unknown, Err(Discard::UnknownDiscriminator));
    let nobody = a.handle_datagram(at(3), &arrival("192.0.2.9".parse().unwrap(), A), &hello(C, A, Hops::Single));
    assert_eq!(nobody, Err(Discard::NoSession));
    assert_eq!(a.handle_datagram(at(3), &arrival(C, A), &[0; 3]), Err(Discard::Invalid(Invalid::Short)));
    let counted: Vec<_> = a.discards().iter().map(|(word, count)| (*word, *count)).collect();
    assert_eq!(counted, [("length", 1), ("no_session", 1), ("unknown_discriminator", 1)]);
}

#[test]
fn a_link_local_session_hears_its_own_interface_only() {
    let (us, them): (IpAddr, IpAddr) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
    let mut a = Sessions::new(1);
    for interface in [3, 4] {
        a.start(at(0), Path { interface: Some(interface), ..path(us, them, Hops::Single) }, Config::default());
    }
    let hello = hello(them, us, Hops::Single);
    let from = |interface| Arrival { interface, ..arrival(them, us) };
    assert_eq!(a.handle_datagram(at(1), &from(5), &hello), Err(Discard::NoSession));
    assert_eq!(a.handle_datagram(at(1), &from(4), &hello), Ok(()));
    let changed: Vec<_> = std::iter::from_fn(|| a.poll_change()).collect();
    assert_eq!(changed.len(), 1);
}

#[test]
fn a_single_hop_packet_that_a_router_forwarded_is_discarded() {
    let mut a = Sessions::new(1);
    let id = a.start(at(0), path(A, B, Hops::Single), Config::default());
    let hello = hello(B, A, Hops::Single);
    let forwarded = Arrival { ttl: 254, ..arrival(B, A) };
    assert_eq!(a.handle_datagram(at(1), &forwarded, &hello), Err(Discard::Ttl));
    assert_eq!(state(&a, id), State::Down);
}

#[test]
fn a_multihop_session_takes_what_came_no_further_than_it_may_and_to_its_own_port() {
    let hops = Hops::Multi { min_ttl: 250 };
    let mut a = Sessions::new(1);
    let id = a.start(at(0), path(A, B, hops), Config::default());
    let hello = hello(B, A, hops);
    let far = |ttl| Arrival { ttl, multihop: true, ..arrival(B, A) };
    assert_eq!(a.handle_datagram(at(1), &arrival(B, A), &hello), Err(Discard::NoSession), "the single-hop port");
    let mut numbered = decode(&hello).unwrap();
    numbered.your_discriminator = a.status(id).unwrap().discriminator;
    let by_number = a.handle_datagram(at(1), &arrival(B, A), &encode(&numbered));
    assert_eq!(by_number, Err(Discard::UnknownDiscriminator), "nor by the number");
    assert_eq!(a.handle_datagram(at(1), &far(249), &hello), Err(Discard::Ttl));
    assert_eq!(a.handle_datagram(at(1), &far(250), &hello), Ok(()));
    assert_eq!(state(&a, id), State::Init);
}

/// Two machines and the packets between them.
struct Wire {
    now: u64,
    seed: u64,
    /// Packets lost, in a hundred.
    loss: u64,
    /// Most milliseconds under way.
    delay: u64,
    cut: bool,
    ends: [(Sessions, SessionId); 2],
    under_way: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    number: u64,
    /// Time, end, state entered.
    changes: Vec<(u64, usize, State)>,
}

impl Wire {
    fn new(seed: u64, configs: [Config; 2], loss: u64, delay: u64) -> Self {
        let addresses = [(A, B), (B, A)];
        let ends = [0, 1].map(|end: usize| {
            let mut sessions = Sessions::new(seed ^ (end as u64 + 1));
            let id = sessions.start(at(0), path(addresses[end].0, addresses[end].1, Hops::Single), configs[end]);
            (sessions, id)
        });
        let (under_way, changes) = (BTreeMap::new(), Vec::new());
        Self { now: 0, seed, loss, delay, cut: false, ends, under_way, number: 0, changes }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below.max(1)
    }

    fn run(&mut self, until: u64) {
        while self.now < until {
            self.now += 1;
            let due: Vec<_> = self.under_way.range(..=(self.now, u64::MAX)).map(|(at, _)| *at).collect();
            for key in due {
                let (end, payload) = self.under_way.remove(&key).unwrap();
                let from = [arrival(B, A), arrival(A, B)][end];
                self.ends[end].0.handle_datagram(at(self.now), &from, &payload).unwrap();
            }
            for end in 0..2 {
                self.step(end);
            }
        }
    }

    fn step(&mut self, end: usize) {
        let now = at(self.now);
        self.ends[end].0.handle_timeout(now);
        while let Some((_, change)) = self.ends[end].0.poll_change() {
            self.changes.push((self.now, end, change.to));
        }
        while let Some(sent) = self.ends[end].0.poll_transmit(now) {
            if !self.cut && self.roll(100) >= self.loss {
                let arrives = self.now + 1 + self.roll(self.delay);
                self.number += 1;
                self.under_way.insert((arrives, self.number), (1 - end, sent.payload.to_vec()));
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|end| state(&self.ends[end].0, self.ends[end].1))
    }
}

fn config() -> impl Strategy<Value = Config> {
    (10u64..400, 10u64..400, 3u8..6).prop_map(|(tx, rx, multiplier)| Config {
        min_interval: Duration::from_millis(tx),
        min_receive: Duration::from_millis(rx),
        multiplier,
    })
}

proptest! {
    #[test]
    fn no_octets_make_the_parser_panic_and_what_it_takes_is_read_back_the_same(
        octets in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(packet) = decode(&octets) {
            prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }
    }
}

proptest! {
    // Each is half a minute of two machines.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn two_sessions_come_up_over_a_wire_that_loses_a_third(seed: u64, a in config(), b in config()) {
        let mut wire = Wire::new(seed, [a, b], 33, 5);
        wire.run(60_000);
        prop_assert!(wire.changes.iter().any(|it| it.2 == State::Up && it.1 == 0));
        prop_assert!(wire.changes.iter().any(|it| it.2 == State::Up && it.1 == 1));
    }

    #[test]
    fn over_a_good_wire_nothing_is_lost_and_a_cut_is_seen_within_the_detection_time(
        seed: u64, a in config(), b in config(),
    ) {
        let mut wire = Wire::new(seed, [a, b], 0, 3);
        wire.run(10_000);
        prop_assert_eq!(wire.states(), [State::Up, State::Up]);
        let ups = wire.changes.len();
        wire.run(30_000);
        prop_assert_eq!(wire.changes.len(), ups, "a session was lost: {:?}", wire.changes);
        let times = [0, 1].map(|end| wire.ends[end].0.status(wire.ends[end].1).unwrap().detection_time);
        wire.cut = true;
        let cut = wire.now;
        wire.run(cut + 3000);
        for (end, time) in times.into_iter().enumerate() {
            let down = wire.changes.iter().find(|it| it.0 > cut && it.1 == end && it.2 == State::Down);
            let took = down.map(|it| it.0 - cut);
            let most = time.as_millis() as u64 + 5;
            prop_assert!(took.is_some_and(|it| it <= most), "{took:?} of {most} ms");
        }
        wire.cut = false;
        wire.run(wire.now + 10_000);
        prop_assert_eq!(wire.states(), [State::Up, State::Up], "it comes back");
    }
}

#[test]
fn a_stopped_session_tells_its_peer_and_is_gone_after_the_detection_time() {
    let mut wire = Wire::new(5, [Config::default(); 2], 0, 2);
    wire.run(10_000);
    let (now, id) = (at(wire.now), wire.ends[0].1);
    wire.ends[0].0.stop(now, id);
    wire.run(10_100);
    assert_eq!(wire.states(), [State::AdminDown, State::Down]);
    let seen = wire.ends[1].0.status(wire.ends[1].1).unwrap();
    assert_eq!(seen.remote_state, State::AdminDown);
    wire.run(10_950);
    assert!(wire.ends[0].0.contains(id));
    // Its peer still looks for it, and nobody is there.
    while wire.ends[0].0.contains(id) {
        wire.now += 1;
        wire.step(0);
        assert!(wire.now < 12_000);
    }
}
