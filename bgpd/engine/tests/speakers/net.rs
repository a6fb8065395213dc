//! Several speakers on a fake wire, with a clock that jumps to the next thing that happens.
//!
//! Connections behave as TCP does: octets arrive in order and after a delay that differs from one delivery to the next, FIN
//! comes behind them, and connections do not wait for each other. Next hops are reachable unless a test says otherwise, and
//! the kernel takes every route.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use engine::{
    Action, ConnId, ConnectError, Event, FibNextHop, FibUpdate, InstallResult, Instant, NextHopUpdate,
    OriginAttributes, PeerConfig, Prefix, Reachability, SessionState, Speaker, SpeakerConfig,
};

/// A node by its number.
pub(crate) type NodeId = usize;

/// SplitMix64, for delays.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below.max(1)
    }
}

/// A speaker and its surroundings.
pub(crate) struct Node {
    pub(crate) speaker: Option<Speaker>,
    pub(crate) address: IpAddr,
    pub(crate) fib: BTreeMap<Prefix, Vec<FibNextHop>>,
    /// Routes removed from the kernel since the last look.
    pub(crate) removed: Vec<Prefix>,
    /// Families swept.
    pub(crate) swept: Vec<engine::Family>,
    pub(crate) events: Vec<Event>,
    /// What it asked of BFD.
    pub(crate) bfd: Vec<Action>,
    /// Addresses that it cannot reach as next hops.
    pub(crate) unreachable: Vec<IpAddr>,
    /// Its kernel does not answer how next hops are reached.
    pub(crate) silent: bool,
    /// Nodes that do not read what it sends.
    pub(crate) slow: BTreeSet<NodeId>,
    /// What its sockets have not accepted because of them.
    backlog: Vec<(ConnId, Bytes)>,
    /// Octets handed to its sockets that were not accepted yet, at most so far.
    pub(crate) most_in_flight: usize,
    /// UPDATE messages that it sent, by receiver.
    pub(crate) sent: BTreeMap<NodeId, Vec<Bytes>>,
    conns: BTreeMap<ConnId, (usize, usize)>,
    in_flight: BTreeMap<ConnId, usize>,
}

struct Wire {
    ends: [Option<(NodeId, ConnId)>; 2],
    /// When the last octet sent from each end arrives.
    last: [Duration; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Dialled { from: NodeId, conn: ConnId, local: IpAddr, remote: SocketAddr },
    Connected { wire: usize },
    Failed { node: NodeId, conn: ConnId, refused: bool },
    Data { wire: usize, to: usize, bytes: Vec<u8> },
    Accepted { node: NodeId, conn: ConnId, count: usize },
    Closed { wire: usize, to: usize },
}

pub(crate) struct Net {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) dice: Dice,
    /// Deliveries take between 1 and this many microseconds.
    pub(crate) jitter: u64,
    wires: Vec<Wire>,
    queue: BinaryHeap<Reverse<(Duration, u64, What)>>,
    sequence: u64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::from_secs(1000),
            nodes: Vec::new(),
            dice: Dice(seed),
            jitter: 2000,
            wires: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::new(self.now)
    }

    pub(crate) fn add(&mut self, address: &str, config: SpeakerConfig) -> NodeId {
        let seed = self.dice.roll(u64::MAX);
        self.nodes.push(Node {
            speaker: Some(Speaker::new(config, seed, self.instant())),
            address: address.parse().unwrap(),
            fib: BTreeMap::new(),
            removed: Vec::new(),
            swept: Vec::new(),
            events: Vec::new(),
            bfd: Vec::new(),
            unreachable: Vec::new(),
            silent: false,
            slow: BTreeSet::new(),
            backlog: Vec::new(),
            most_in_flight: 0,
            sent: BTreeMap::new(),
            conns: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        });
        self.nodes.len() - 1
    }

    pub(crate) fn speaker(&mut self, node: NodeId) -> &mut Speaker {
        self.nodes[node].speaker.as_mut().expect("the node is alive")
    }

    pub(crate) fn set_peer(&mut self, node: NodeId, config: PeerConfig) {
        let now = self.instant();
        self.speaker(node).set_peer(now, config);
    }

    pub(crate) fn originate(&mut self, node: NodeId, prefix: &str) {
        let now = self.instant();
        self.speaker(node).originate(now, "test", prefix.parse().unwrap(), OriginAttributes::new("a test"));
    }

    pub(crate) fn withdraw(&mut self, node: NodeId, prefix: &str) {
        let now = self.instant();
        self.speaker(node).withdraw(now, "test", prefix.parse().unwrap());
    }

    /// The process dies; its kernel closes what it had open and keeps its routes.
    pub(crate) fn kill(&mut self, node: NodeId) {
        self.nodes[node].speaker = None;
        for (_, (wire, end)) in std::mem::take(&mut self.nodes[node].conns) {
            self.wires[wire].ends[end] = None;
            self.deliver(wire, 1 - end, |to| What::Closed { wire, to });
        }
        self.nodes[node].in_flight.clear();
    }

    /// The machine goes dark: nobody hears of it.
    pub(crate) fn unplug(&mut self, node: NodeId) {
        self.nodes[node].speaker = None;
        for (_, (wire, end)) in std::mem::take(&mut self.nodes[node].conns) {
            self.wires[wire].ends[end] = None;
        }
    }

    pub(crate) fn restart(&mut self, node: NodeId, config: SpeakerConfig) {
        let seed = self.dice.roll(u64::MAX);
        self.nodes[node].speaker = Some(Speaker::new(config, seed, self.instant()));
    }

    /// Cuts a connection: each end hears of it at its own time.
    pub(crate) fn cut(&mut self, wire: usize) {
        for end in [0, 1] {
            if let Some((node, conn)) = self.wires[wire].ends[end].take() {
                self.nodes[node].conns.remove(&conn);
                self.nodes[node].in_flight.remove(&conn);
                let now = Instant::new(self.now);
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.handle_closed(now, conn);
                }
            }
        }
    }

    pub(crate) fn live_wires(&self) -> Vec<usize> {
        (0..self.wires.len()).filter(|it| self.wires[*it].ends.iter().all(Option::is_some)).collect()
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(1 + self.dice.roll(self.jitter))
    }

    fn push(&mut self, at: Duration, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, what)));
    }

    /// In order behind what the other end has sent before.
    fn deliver(&mut self, wire: usize, to: usize, what: impl FnOnce(usize) -> What) {
        let at = (self.now + self.delay()).max(self.wires[wire].last[1 - to]);
        self.wires[wire].last[1 - to] = at;
        self.push(at, what(to));
    }

    /// Carries out what the speakers ask for, until they ask for nothing more.
    pub(crate) fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            while let Some(action) = self.nodes[node].speaker.as_mut().and_then(Speaker::poll_action) {
                self.act(node, action);
            }
            let now = self.instant();
            let Node { speaker: Some(speaker), unreachable, silent, fib, removed, swept, events, .. } =
                &mut self.nodes[node]
            else {
                continue;
            };
            while let Some(update) = speaker.poll_next_hop() {
                if let NextHopUpdate::Track(address) = update
                    && !*silent
                {
                    let reachable = Reachability { metric: 0, interface: 2, gateway: None, onlink: false };
                    let answer = (!unreachable.contains(&address)).then_some(reachable);
                    speaker.set_reachability(now, address, answer);
                }
            }
            while let Some(update) = speaker.poll_fib() {
                match update {
                    FibUpdate::Replace { prefix, next_hops } => {
                        fib.insert(prefix, next_hops.to_vec());
                        speaker.handle_installed(prefix, InstallResult::Installed);
                    }
                    FibUpdate::Remove { prefix } => {
                        fib.remove(&prefix);
                        removed.push(prefix);
                        speaker.handle_installed(prefix, InstallResult::Removed);
                    }
                    FibUpdate::Sweep { family } => swept.push(family),
                }
            }
            while let Some(event) = speaker.poll_event() {
                events.push(event);
            }
            while let Some(action) = self.nodes[node].speaker.as_mut().and_then(Speaker::poll_action) {
                self.act(node, action);
            }
        }
    }

    fn act(&mut self, node: NodeId, action: Action) {
        match action {
            Action::Connect { conn, remote, .. } => {
                let local = self.nodes[node].address;
                let at = self.now + self.delay();
                self.push(at, What::Dialled { from: node, conn, local, remote });
            }
            Action::Send { conn, bytes } => {
                let Some((wire, end)) = self.nodes[node].conns.get(&conn).copied() else { return };
                let here = &mut self.nodes[node];
                let in_flight = here.in_flight.entry(conn).or_default();
                *in_flight += bytes.len();
                here.most_in_flight = here.most_in_flight.max(*in_flight);
                if let Some((to, _)) = self.wires[wire].ends[1 - end] {
                    self.nodes[node].sent.entry(to).or_default().push(bytes.clone());
                    if self.nodes[node].slow.contains(&to) {
                        self.nodes[node].backlog.push((conn, bytes));
                        return;
                    }
                }
                self.transmit(node, conn, (wire, end), &bytes);
            }
            Action::StartBfd(_) | Action::StopBfd { .. } => self.nodes[node].bfd.push(action),
            Action::Close { conn } => {
                self.nodes[node].in_flight.remove(&conn);
                if let Some((wire, end)) = self.nodes[node].conns.remove(&conn) {
                    self.wires[wire].ends[end] = None;
                    self.deliver(wire, 1 - end, |to| What::Closed { wire, to });
                }
            }
        }
    }

    fn transmit(&mut self, node: NodeId, conn: ConnId, (wire, end): (usize, usize), bytes: &[u8]) {
        let at = self.now + self.delay();
        self.push(at, What::Accepted { node, conn, count: bytes.len() });
        self.deliver(wire, 1 - end, |to| What::Data { wire, to, bytes: bytes.to_vec() });
    }

    /// The slow receivers of a node read again.
    pub(crate) fn resume(&mut self, node: NodeId) {
        self.nodes[node].slow.clear();
        for (conn, bytes) in std::mem::take(&mut self.nodes[node].backlog) {
            if let Some(place) = self.nodes[node].conns.get(&conn).copied() {
                self.transmit(node, conn, place, &bytes);
            }
        }
    }

    fn happen(&mut self, what: What) {
        let now = self.instant();
        match what {
            What::Dialled { from, conn, local, remote } => self.dialled(from, conn, local, remote),
            What::Connected { wire } => {
                if let Some((node, conn)) = self.wires[wire].ends[0] {
                    let local = SocketAddr::new(self.nodes[node].address, 40000);
                    if let Some(speaker) = &mut self.nodes[node].speaker {
                        speaker.handle_connected(now, conn, local);
                    }
                }
            }
            What::Failed { node, conn, refused } => {
                let error = if refused { ConnectError::Refused } else { ConnectError::TimedOut };
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.handle_connect_failed(now, conn, error);
                }
            }
            What::Data { wire, to, bytes } => {
                if let Some((node, conn)) = self.wires[wire].ends[to]
                    && let Some(speaker) = &mut self.nodes[node].speaker
                {
                    speaker.handle_received(now, conn, &bytes);
                }
            }
            What::Accepted { node, conn, count } => {
                if let Some(in_flight) = self.nodes[node].in_flight.get_mut(&conn) {
                    *in_flight -= count;
                    if let Some(speaker) = &mut self.nodes[node].speaker {
                        speaker.handle_sent(now, conn, count);
                    }
                }
            }
            What::Closed { wire, to } => {
                if let Some((node, conn)) = self.wires[wire].ends[to].take() {
                    self.nodes[node].conns.remove(&conn);
                    self.nodes[node].in_flight.remove(&conn);
                    if let Some(speaker) = &mut self.nodes[node].speaker {
                        speaker.handle_closed(now, conn);
                    }
                }
            }
        }
    }

    fn dialled(&mut self, from: NodeId, conn: ConnId, local: IpAddr, remote: SocketAddr) {
        let now = self.instant();
        let back = self.now + self.delay();
        let target = self.nodes.iter().position(|it| it.address == remote.ip());
        let Some(target) = target else {
            self.push(self.now + Duration::from_secs(15), What::Failed { node: from, conn, refused: false });
            return;
        };
        let Some(speaker) = &mut self.nodes[target].speaker else {
            self.push(back, What::Failed { node: from, conn, refused: true });
            return;
        };
        let accepted = speaker.handle_accepted(now, remote, SocketAddr::new(local, 40000), None);
        let wire = self.wires.len();
        self.wires
            .push(Wire { ends: [Some((from, conn)), accepted.map(|conn| (target, conn))], last: [self.now, back] });
        self.nodes[from].conns.insert(conn, (wire, 0));
        self.push(back, What::Connected { wire });
        match accepted {
            Some(conn) => {
                self.nodes[target].conns.insert(conn, (wire, 1));
            }
            None => self.deliver(wire, 0, |to| What::Closed { wire, to }),
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.settle();
            let timers =
                self.nodes.iter().filter_map(|it| it.speaker.as_ref()?.poll_timeout()).map(Instant::since_epoch).min();
            let queued = self.queue.peek().map(|it| it.0.0);
            let Some(next) = [timers, queued].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if queued == Some(next) {
                if let Some(Reverse((_, _, what))) = self.queue.pop() {
                    self.happen(what);
                }
                continue;
            }
            let now = self.instant();
            for node in &mut self.nodes {
                if let Some(speaker) = &mut node.speaker
                    && speaker.poll_timeout().is_some_and(|at| at <= now)
                {
                    speaker.handle_timeout(now);
                }
            }
        }
        self.now = end;
    }

    pub(crate) fn run_secs(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    pub(crate) fn state(&self, node: NodeId, peer: &str) -> SessionState {
        self.nodes[node].speaker.as_ref().and_then(|it| it.peer(peer)).expect("the peer is configured").state
    }

    /// Lets time pass until the sessions are Established; panics after `seconds`.
    pub(crate) fn establish(&mut self, sessions: &[(NodeId, &str)], seconds: u64) {
        for _ in 0..seconds * 10 {
            if sessions.iter().all(|(node, peer)| self.state(*node, peer) == SessionState::Established) {
                return;
            }
            self.run(Duration::from_millis(100));
        }
        let states: Vec<_> = sessions.iter().map(|(node, peer)| (node, peer, self.state(*node, peer))).collect();
        panic!("not all Established within {seconds} s: {states:?}");
    }

    /// Gateways of a route in the kernel of a node.
    pub(crate) fn route(&self, node: NodeId, prefix: &str) -> Option<Vec<String>> {
        let prefix: Prefix = prefix.parse().unwrap();
        self.nodes[node].fib.get(&prefix).map(|it| it.iter().map(|hop| hop.gateway.to_string()).collect())
    }
}
