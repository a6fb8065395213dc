//! A stream of datagrams that knows exactly which were answered.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::widen;
use crate::Namespace;

/// How long answers may be on their way after the last datagram was sent.
const SETTLE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(50);
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP6_ECHO_REQUEST: u8 = 128;
/// Type, code, checksum, identifier, sequence (RFC 792, RFC 4443 §4.1).
const ICMP_HEADER: usize = 8;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The kernel of this address, by echo requests.
    Icmp(IpAddr),
    /// An [`crate::probe::Echo`].
    Udp(SocketAddr),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp(address) => write!(f, "icmp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
        }
    }
}

/// What a stream has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Datagrams that were to be sent, those included that the kernel refused to send.
    pub sent: u64,
    /// Different ones that were answered.
    pub answered: u64,
    /// Those that the kernel refused to send (no route, a rule in the way).
    pub refused: u64,
    /// The longest time between two answers.
    pub longest_gap: Duration,
}

impl Losses {
    /// Datagrams without an answer.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = self.longest_gap.as_secs_f64() * 1000.0;
        write!(f, "{} sent, {} lost, longest gap {gap:.0} ms", self.sent, self.lost())
    }
}

#[derive(Debug, Default)]
struct State {
    losses: Losses,
    outstanding: BTreeSet<u64>,
    last_answer: Option<Instant>,
}

/// Datagrams at a steady rate until stopped.
#[derive(Debug)]
pub struct Stream {
    target: Target,
    state: Arc<Mutex<State>>,
    stop_sending: Arc<AtomicBool>,
    stop_receiving: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Starts to send one datagram per `interval`. With a `source` it is sent from there, which has to be an address of
    /// the namespace.
    ///
    /// # Errors
    /// When there is no route to the target, or the source is not there.
    pub fn start(namespace: &Namespace, target: Target, source: Option<IpAddr>, interval: Duration) -> Result<Self> {
        let socket = namespace.inside(|| open(target, source))?;
        socket.set_read_timeout(Some(IDLE)).context("read timeout")?;
        let receiving = socket.try_clone().context("duplicating the socket")?;
        let state = Arc::new(Mutex::new(State::default()));
        let (stop_sending, stop_receiving) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let sender = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop_sending));
            thread::spawn(move || send(&socket, target, interval, &state, &stop))
        };
        let receiver = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop_receiving));
            thread::spawn(move || receive(&receiving, target, &state, &stop))
        };
        Ok(Self { target, state, stop_sending, stop_receiving, threads: vec![sender, receiver] })
    }

    /// What is asked.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// What was seen so far. Datagrams on their way count as lost; [`Stream::stop`] waits for them.
    #[must_use]
    pub fn so_far(&self) -> Losses {
        self.state.lock().map_or_else(|_| Losses::default(), |state| state.losses)
    }

    /// Stops sending, waits for answers on their way and says what was seen.
    ///
    /// # Errors
    /// When a thread of the stream died.
    pub fn stop(mut self) -> Result<Losses> {
        self.stop_sending.store(true, Ordering::Relaxed);
        if let Some(sender) = (!self.threads.is_empty()).then(|| self.threads.remove(0)) {
            sender.join().map_err(|_| anyhow!("the sending thread panicked"))?;
        }
        let until = Instant::now() + SETTLE;
        while Instant::now() < until && !self.lock()?.outstanding.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        self.stop_receiving.store(true, Ordering::Relaxed);
        Ok(self.lock()?.losses)
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| anyhow!("a thread of the stream panicked"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop_sending.store(true, Ordering::Relaxed);
        self.stop_receiving.store(true, Ordering::Relaxed);
    }
}

fn open(target: Target, source: Option<IpAddr>) -> Result<UdpSocket> {
    let (address, unspecified) = match target {
        Target::Udp(address) => (address, address.is_ipv4()),
        Target::Icmp(address) => (SocketAddr::new(address, 0), address.is_ipv4()),
    };
    let any = if unspecified { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
    let local = SocketAddr::new(source.unwrap_or(any), 0);
    let socket = match target {
        Target::Udp(_) => UdpSocket::bind(local).with_context(|| format!("binding {local}"))?,
        Target::Icmp(_) => icmp_socket(local)?,
    };
    widen(&socket);
    socket.connect(address).with_context(|| format!("no route to {target}"))?;
    Ok(socket)
}

fn icmp_socket(local: SocketAddr) -> Result<UdpSocket> {
    let (family, protocol) = if local.is_ipv4() {
        (AddressFamily::Inet, SockProtocol::Icmp)
    } else {
        (AddressFamily::Inet6, SockProtocol::IcmpV6)
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol).context("ICMP socket")?;
    if !local.ip().is_unspecified() {
        let address = nix::sys::socket::SockaddrStorage::from(local);
        nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)
            .with_context(|| format!("binding {local}"))?;
    }
    // An ICMP datagram socket takes the same calls as a UDP one.
    Ok(UdpSocket::from(socket))
}

fn datagram(target: Target, sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ICMP_HEADER + 8);
    if let Target::Icmp(address) = target {
        // The kernel fills in checksum and identifier.
        let kind = if address.is_ipv4() { ICMP_ECHO_REQUEST } else { ICMP6_ECHO_REQUEST };
        bytes.extend([kind, 0, 0, 0, 0, 0]);
        bytes.extend(u16::try_from(sequence & 0xffff).unwrap_or(0).to_be_bytes());
    }
    bytes.extend(sequence.to_be_bytes());
    bytes
}

fn sequence_of(target: Target, bytes: &[u8]) -> Option<u64> {
    let offset = if matches!(target, Target::Icmp(_)) { ICMP_HEADER } else { 0 };
    bytes.get(offset..offset + 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn send(socket: &UdpSocket, target: Target, interval: Duration, state: &Mutex<State>, stop: &AtomicBool) {
    let mut next = Instant::now();
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        {
            let Ok(mut state) = state.lock() else { return };
            state.losses.sent += 1;
            state.outstanding.insert(sequence);
        }
        let bytes = datagram(target, sequence);
        // The first error may be that of an earlier datagram (an ICMP answer to it); this one was not sent then.
        if socket.send(&bytes).is_err() && socket.send(&bytes).is_err() {
            let Ok(mut state) = state.lock() else { return };
            state.losses.refused += 1;
            state.outstanding.remove(&sequence);
        }
        sequence += 1;
        next += interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn receive(socket: &UdpSocket, target: Target, state: &Mutex<State>, stop: &AtomicBool) {
    let mut buffer = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let Some(sequence) = sequence_of(target, buffer.get(..length).unwrap_or_default()) else { continue };
        let now = Instant::now();
        let Ok(mut state) = state.lock() else { return };
        if state.outstanding.remove(&sequence) {
            state.losses.answered += 1;
            if let Some(last) = state.last_answer.replace(now) {
                state.losses.longest_gap = state.losses.longest_gap.max(now.duration_since(last));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_carries_its_sequence_number_behind_the_icmp_header() {
        for target in [Target::Icmp([127, 0, 0, 1].into()), Target::Udp(([127, 0, 0, 1], 7).into())] {
            assert_eq!(sequence_of(target, &datagram(target, 70_000)), Some(70_000));
        }
    }

    #[test]
    fn what_was_not_answered_is_lost() {
        let losses = Losses { sent: 10, answered: 7, refused: 1, longest_gap: Duration::from_millis(12) };
        assert_eq!(losses.lost(), 3);
        assert_eq!(losses.to_string(), "10 sent, 3 lost, longest gap 12 ms");
    }
}
