//! Peers that misbehave: none costs another its session, or bgpd its memory.
//!
//! tortie (1) has a tortie (2) as the peer whose session must stand, with a hold time of three seconds, and a node (3) whose
//! sockets are the test's own.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Node,
    router::{Config, Kind, Peer, Router},
    wait_for, wait_until,
};
use serde_json::Value;
use tests::{
    Test,
    speakers::{SOON, Status, addresses, nodes, number, text},
    test,
};

const TORTIE: u16 = 65001;
const GOOD: u16 = 65002;
const BAD: u16 = 65003;
/// What an abuse may add to bgpd's memory, in KiB.
const MEMORY: u64 = 48 * 1024;

pub(super) fn labs() -> Vec<Test> {
    let needs = [Kind::Tortie.needs()];
    vec![
        test("a_peer_that_stops_reading_ends_alone", &needs, stops_reading),
        test("a_peer_that_sends_an_octet_a_second_holds_its_place_for_half_a_minute", &needs, trickles),
        test("ten_thousand_connections_cost_nobody_a_session", &needs, connects),
        test("a_peer_that_flaps_every_second_is_damped", &needs, flaps),
        test("two_hundred_peers_that_dial_at_once_are_up_at_once", &needs, dial_at_once),
        test("a_million_prefixes_over_the_limit_are_refused_without_being_kept", &needs, announces),
    ]
}

struct Three {
    tortie: Router,
    _good: Router,
    bad: Node,
    status: Status,
    since: String,
    memory: u64,
}

/// `extra` are options of the peer that misbehaves.
fn three(lab: &Lab, extra: &[&str]) -> Result<Three> {
    let [one, two, bad] = nodes(lab, ["tortie", "good", "bad"])?;
    // Little is under way at once, so that a peer that does not read is noticed with a small table.
    one.set_sysctl("net/ipv4/tcp_wmem", "4096 16384 65536")?;
    let config = |number: u8, local_as: u16| {
        let mut config = Config::new(local_as.into(), [192, 0, 2, number].into());
        config.hold_time = 3;
        config
    };
    let good = config(2, GOOD).peer(Peer::new(addresses(1).0, TORTIE.into()));
    let good = Router::start(Kind::Tortie, &two, good)?;
    let mut peer = Peer::new(addresses(3).0, BAD.into());
    peer.passive = true;
    peer.extra = extra.iter().map(|&line| line.to_owned()).collect();
    let tortie = config(1, TORTIE).peer(Peer::new(addresses(2).0, GOOD.into())).peer(peer).network("203.0.113.0/24");
    let mut tortie = Router::start(Kind::Tortie, &one, tortie)?;
    let status = Status::of_router(&tortie);
    status.wait_established(&addresses(2).0.to_string())?;
    let since = text(&status.peer(&addresses(2).0.to_string())?, "since").to_owned();
    let memory = of_process(&mut tortie)?.0;
    Ok(Three { tortie, _good: good, bad, status, since, memory })
}

/// Resident memory in KiB, and open files.
fn of_process(router: &mut Router) -> Result<(u64, usize)> {
    let id = router.processes().first().context("no process")?.id();
    let text = fs::read_to_string(format!("/proc/{id}/status"))?;
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    Ok((resident.context("no VmRSS")?, fs::read_dir(format!("/proc/{id}/fd"))?.count()))
}

fn cpu(router: &mut Router) -> Result<u64> {
    let id = router.processes().first().context("no process")?.id();
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok());
    Ok(ticks(11).context("utime")? + ticks(12).context("stime")?)
}

impl Three {
    fn bad_peer(&self) -> Result<Value> {
        self.status.peer(&addresses(3).0.to_string())
    }

    /// The other session stood all the time, memory stayed within bounds, and nothing is left to do.
    fn unharmed(&mut self) -> Result<()> {
        let good = self.status.peer(&addresses(2).0.to_string())?;
        ensure!(text(&good, "state") == "Established" && text(&good, "since") == self.since, "{good}");
        let (memory, files) = of_process(&mut self.tortie)?;
        ensure!(memory < self.memory + MEMORY, "{} KiB before, {memory} KiB now", self.memory);
        // A few closed connections may still wait for the other end.
        ensure!(files < 200, "{files} open files");
        wait_until("idle again", SOON, || {
            ensure!(of_process(&mut self.tortie)?.1 < 40, "connections are left");
            let before = cpu(&mut self.tortie)?;
            thread::sleep(Duration::from_millis(500));
            Ok(cpu(&mut self.tortie)? - before <= 5)
        })
        .map(drop)
    }

    fn dial(&self) -> Result<TcpStream> {
        dial(&self.bad)
    }

    /// A session of the peer that misbehaves.
    fn session(&self) -> Result<TcpStream> {
        let mut stream = self.dial()?;
        stream.write_all(&open())?;
        stream.write_all(&message(4, &[]))?;
        Ok(stream)
    }
}

fn dial(node: &Node) -> Result<TcpStream> {
    let to = SocketAddr::new(addresses(1).0, 179);
    node.inside(|| TcpStream::connect_timeout(&to, SOON).context("dialling tortie"))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// Without capabilities: IPv4, two-octet AS numbers.
fn open() -> Vec<u8> {
    message(1, &[&[4][..], &BAD.to_be_bytes(), &90_u16.to_be_bytes(), &[192, 0, 2, 3, 0]].concat())
}

/// An UPDATE with prefixes of 24 bits, and a community that makes its attributes unlike any other's.
fn update(prefixes: impl Iterator<Item = u32>, community: u32) -> Vec<u8> {
    let next_hop = [192, 0, 2, 3];
    let attributes = [
        &[0x40, 1, 1, 0, 0x40, 2, 4, 2, 1][..],
        &BAD.to_be_bytes(),
        &[0x40, 3, 4],
        &next_hop,
        &[0xc0, 8, 4],
        &community.to_be_bytes(),
    ]
    .concat();
    let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
    let mut body = [&[0, 0][..], &length.to_be_bytes(), &attributes].concat();
    for prefix in prefixes {
        let [a, b, c, _] = Ipv4Addr::from(0x0b00_0000 + (prefix << 8)).octets();
        body.extend([24, a, b, c]);
    }
    message(2, &body)
}

/// Reads and forgets until the other end closes or it is told to stop.
fn drain(stream: &TcpStream) -> Result<()> {
    let mut stream = stream.try_clone()?;
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    });
    Ok(())
}

fn stops_reading(lab: &Lab) -> Result<()> {
    let mut three = three(lab, &["sendHoldTime: 5"])?;
    let table = |count: u32| (0..count).map(|n| format!("11.{}.{}.0/24", n >> 8, n & 255));
    let file = three.tortie.node().directory().join("tortie/bgpd.yaml");
    let text_of = fs::read_to_string(&file)?;
    let originate: Vec<_> = table(60_000).collect();
    let line = text_of.lines().find(|line| line.starts_with("originate:")).context("originate")?;
    fs::write(&file, text_of.replace(line, &format!("originate: {}", serde_json::to_string(&originate)?)))?;
    let stream = three.session()?;
    three.status.wait_peer(&addresses(3).0.to_string(), "is up", |peer| text(peer, "state") == "Established")?;
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let mut keepalives = stream.try_clone()?;
    thread::spawn(move || {
        while !told.load(Ordering::Relaxed) && keepalives.write_all(&message(4, &[])).is_ok() {
            thread::sleep(Duration::from_millis(500));
        }
    });
    let ended = |peer: &Value| text(peer, "lastError") == "SendHoldTimerExpired";
    let waited = three.status.wait_peer(&addresses(3).0.to_string(), "is given up", ended);
    over.store(true, Ordering::Relaxed);
    waited?;
    drop(stream);
    three.unharmed()
}

fn trickles(lab: &Lab) -> Result<()> {
    let mut three = three(lab, &[])?;
    let mut stream = three.dial()?;
    drain(&stream)?;
    let begun = Instant::now();
    let octets = [open(), message(4, &[])].concat();
    let mut ended = false;
    // The OPEN alone has 29 octets.
    for octet in octets.iter().cycle().take(45) {
        ended = stream.write_all(&[*octet]).is_err();
        if ended {
            break;
        }
        thread::sleep(Duration::from_millis(1200));
    }
    ensure!(ended && begun.elapsed() > Duration::from_secs(25), "after {:?}: ended {ended}", begun.elapsed());
    ensure!(text(&three.bad_peer()?, "lastError") == "HoldTimerExpired", "{}", three.bad_peer()?);
    three.unharmed()
}

fn connects(lab: &Lab) -> Result<()> {
    const EACH: u32 = 10_000;
    let mut three = three(lab, &[])?;
    // From an address that no peer has, too.
    three.bad.add_address("eth0", "192.0.2.77/24")?;
    let to = SocketAddr::new(addresses(1).0, 179);
    for from in [IpAddr::from([192, 0, 2, 77]), addresses(3).0] {
        let made = three.bad.inside(|| {
            let mut kept = std::collections::VecDeque::new();
            for _ in 0..EACH {
                kept.push_back(dial_from(from, to)?);
                // As many at once as the limit on our own files lets us have.
                if kept.len() > 500 {
                    kept.pop_front();
                }
            }
            Ok(EACH)
        })?;
        ensure!(made == EACH);
        three.unharmed()?;
    }
    // Its own session still comes up.
    three.bad.run("ip", &["address", "del", "192.0.2.77/24", "dev", "eth0"])?;
    let (stream, _) = wait_for("a session", Duration::from_secs(90), || {
        let Ok(stream) = three.session() else { return Ok(None) };
        let up = wait_until("up", Duration::from_secs(3), || Ok(text(&three.bad_peer()?, "state") == "Established"));
        Ok(up.is_ok().then_some(stream))
    })?;
    drop(stream);
    Ok(())
}

fn dial_from(from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
    use std::os::fd::AsRawFd as _;
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).context("dialling tortie")?;
    Ok(TcpStream::from(socket))
}

fn flaps(lab: &Lab) -> Result<()> {
    let mut three = three(lab, &[])?;
    let (begun, mut attempts) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(25) {
        let mut stream = three.dial()?;
        drain(&stream)?;
        // The end of a refused connection may come first.
        let _ = stream.write_all(&[open(), message(4, &[]), update(0..10, 1)].concat());
        attempts += 1;
        thread::sleep(Duration::from_millis(900));
        let _ = stream.shutdown(Shutdown::Both);
    }
    let peer = three.bad_peer()?;
    let flaps = number(&peer, "/flaps");
    // Pauses of 2, 4, 8 and 16 s, less a quarter of jitter.
    ensure!((1..=6).contains(&flaps) && attempts >= 15, "{flaps} flaps in {attempts} attempts: {peer}");
    three.unharmed()
}

fn announces(lab: &Lab) -> Result<()> {
    const OVER: u32 = 1_000_000;
    let mut three = three(lab, &["maxPrefixes: {limit: 1000}"])?;
    let mut stream = three.session()?;
    drain(&stream)?;
    three.status.wait_peer(&addresses(3).0.to_string(), "is up", |peer| text(peer, "state") == "Established")?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    for first in (0..OVER).step_by(1000) {
        stream.write_all(&update(first..first + 1000, first))?;
    }
    stream.write_all(&update(OVER..OVER + 1, 7))?;
    let messages = u64::from(OVER / 1000) + 1;
    let peer = three.status.wait_peer(&addresses(3).0.to_string(), "has been heard", |peer| {
        number(peer, "/messagesReceived/UPDATE") >= messages
    })?;
    ensure!(text(&peer, "state") == "Established" && number(&peer, "/families/0/received") == 1000, "{peer}");
    three.unharmed()?;
    drop(stream);
    Ok(())
}

fn dial_at_once(lab: &Lab) -> Result<()> {
    const PEERS: u8 = 200;
    let [one, _, crowd] = nodes(lab, ["tortie", "nobody", "crowd"])?;
    let own = |number: u8| IpAddr::from([192, 0, 2, 50 + number]);
    let mut config = Config::new(TORTIE.into(), [192, 0, 2, 1].into());
    for number in 0..PEERS {
        crowd.add_address("eth0", &format!("{}/24", own(number)))?;
        let mut peer = Peer::new(own(number), BAD.into());
        peer.passive = true;
        config = config.peer(peer);
    }
    let tortie = Router::start(Kind::Tortie, &one, config)?;
    let status = Status::of_router(&tortie);
    wait_until("tortie answers", SOON, || Ok(status.peer_names()?.len() == usize::from(PEERS)))?;
    let to = SocketAddr::new(addresses(1).0, 179);
    let begun = Instant::now();
    let mut streams =
        crowd.inside(|| (0..PEERS).map(|number| dial_from(own(number), to)).collect::<Result<Vec<_>>>())?;
    for stream in &mut streams {
        stream.write_all(&[open(), message(4, &[])].concat())?;
    }
    for stream in &mut streams {
        stream.set_read_timeout(Some(SOON))?;
        let (mut header, mut answer) = ([0; 19], Vec::new());
        // OPEN, and KEEPALIVE for ours.
        for kind in [1, 4] {
            stream.read_exact(&mut header)?;
            ensure!(header[18] == kind, "{header:?}");
            answer.resize(usize::from(u16::from_be_bytes([header[16], header[17]])) - 19, 0);
            stream.read_exact(&mut answer)?;
        }
    }
    let took = begun.elapsed();
    println!("{PEERS} sessions after {took:?}");
    // A SYN that is dropped for lack of room is sent again after a second.
    ensure!(took < Duration::from_millis(900), "{took:?}");
    Ok(())
}
