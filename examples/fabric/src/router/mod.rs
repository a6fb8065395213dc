//! BGP speakers of other makers (and our own) as routers of a lab, configured and read the same way.
//!
//! Each driver writes a real configuration file, starts the real daemons, and reads the router's own tables through the
//! router's own commands.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod openbgpd;
mod tortie;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{Need, Node, Process, wait_until};

/// A router's own table: prefix to the next hops it holds for it.
pub type Routes = BTreeMap<String, Vec<IpAddr>>;

/// Which software a router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR (zebra and bgpd).
    Frr,
    /// GoBGP; it does not forward.
    GoBgp,
    /// ExaBGP; it has no table of its own and does not forward.
    ExaBgp,
    /// OpenBGPD; on Linux it does not forward. It needs real root.
    OpenBgpd,
    /// tortie's bgpd with a static file.
    Tortie,
}

impl Kind {
    /// What the machine must have for it.
    #[must_use]
    pub const fn needs(self) -> &'static [Need] {
        match self {
            Self::Bird => &[Need::BIRD],
            Self::Frr => &[Need::FRR],
            Self::GoBgp => &[Need::GOBGP],
            Self::ExaBgp => &[Need::EXABGP],
            Self::OpenBgpd => &[Need::OPENBGPD, Need::Root],
            Self::Tortie => &[Need::Binary("bgpd")],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::ExaBgp => "ExaBGP",
            Self::OpenBgpd => "OpenBGPD",
            Self::Tortie => "tortie",
        })
    }
}

/// How a peer is watched by BFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// Interval in milliseconds, both ways. Detection takes three.
    pub interval: u32,
    /// Over any number of hops.
    pub multihop: bool,
    /// A failure is no failure while the peer may be restarting gracefully; for BIRD and FRR.
    pub graceful: bool,
}

/// One peer of a router.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub remote_as: u32,
    /// The router waits for the peer to dial.
    pub passive: bool,
    /// The peer is a client of the router's reflection.
    pub reflector_client: bool,
    /// Several paths to a prefix, both ways (RFC 7911). Not for ExaBGP and OpenBGPD.
    pub add_path: bool,
    /// BFD with it; BIRD, FRR and tortie can.
    pub bfd: Option<Bfd>,
    /// TCP MD5 password; BIRD, FRR, GoBGP and tortie take one.
    pub password: Option<String>,
    /// Lines in the router's own language, put into the block of the peer.
    pub extra: Vec<String>,
}

impl Peer {
    /// A peer that both sides dial.
    #[must_use]
    pub const fn new(address: IpAddr, remote_as: u32) -> Self {
        Self {
            address,
            remote_as,
            passive: false,
            reflector_client: false,
            add_path: false,
            bfd: None,
            password: None,
            extra: Vec::new(),
        }
    }
}

/// What a router is to do. Families: both, on each session. Timers are short. Everything is accepted and announced.
#[derive(Clone, Debug)]
pub struct Config {
    /// AS number.
    pub local_as: u32,
    /// BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Hold time in seconds.
    pub hold_time: u16,
    /// The router preserves its forwarding over a restart and says so (RFC 4724); helping others to is always on.
    pub graceful_restart: bool,
    /// Peers.
    pub peers: Vec<Peer>,
    /// Prefixes of the router's own.
    pub networks: BTreeSet<String>,
    /// The next hop for IPv6 prefixes of its own over an IPv4 session, where the software does not find it by itself.
    pub ipv6_next_hop: Option<IpAddr>,
    /// tortie's speaker is recorded, for `bgpd replay`; see [`Router::recording`].
    pub recorded: bool,
    /// Lines in the router's own language, at the top level.
    pub extra: Vec<String>,
}

impl Config {
    /// A router without peers; hold time 9 s.
    #[must_use]
    pub const fn new(local_as: u32, router_id: Ipv4Addr) -> Self {
        Self {
            local_as,
            router_id,
            hold_time: 9,
            graceful_restart: false,
            peers: Vec::new(),
            networks: BTreeSet::new(),
            ipv6_next_hop: None,
            recorded: false,
            extra: Vec::new(),
        }
    }

    /// Adds a peer.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peers.push(peer);
        self
    }

    /// Adds a prefix of its own.
    #[must_use]
    pub fn network(mut self, prefix: &str) -> Self {
        self.networks.insert(prefix.to_owned());
        self
    }
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    kind: Kind,
    node: Node,
    config: Config,
    directory: PathBuf,
    processes: Vec<Process>,
}

/// What a driver is asked with.
struct At<'a> {
    node: &'a Node,
    config: &'a Config,
    directory: &'a Path,
}

/// One software.
trait Driver {
    /// Writes configuration files.
    fn write(&self, at: &At<'_>) -> Result<()>;
    /// The daemons to start, in order.
    fn daemons(&self, at: &At<'_>) -> Result<Vec<(&'static str, Command)>>;
    /// Whether a daemon serves the next one.
    fn is_ready(&self, _: &At<'_>, _daemon: &str) -> bool {
        true
    }
    /// State by peer address, in the router's own word; `Established` when it is.
    fn sessions(&self, at: &At<'_>) -> Result<BTreeMap<IpAddr, String>>;
    /// What was learned.
    fn routes(&self, at: &At<'_>) -> Result<Routes>;
    /// Makes the running router announce what the configuration (already written) says now.
    fn reload(&self, at: &At<'_>, announced: &[String], withdrawn: &[String]) -> Result<()>;
}

impl Router {
    /// Starts a router on a node. Names of its files begin with the software's.
    ///
    /// # Errors
    /// When it is not installed or refuses its configuration.
    pub fn start(kind: Kind, node: &Node, config: Config) -> Result<Self> {
        let directory = node.directory().join(kind.to_string().to_lowercase());
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let mut router = Self { kind, node: node.clone(), config, directory, processes: Vec::new() };
        router.driver().write(&router.at())?;
        for (name, command) in router.driver().daemons(&router.at())? {
            let process = node.spawn(name, command)?;
            router.processes.push(process);
            router.wait_ready(name)?;
        }
        Ok(router)
    }

    /// Its software.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The node it runs on.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where a router that is recorded writes.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.directory.join(RECORDING)
    }

    /// Session states by peer address: the router's own word, `Established` for all kinds.
    ///
    /// # Errors
    /// When the router does not answer.
    pub fn sessions(&self) -> Result<BTreeMap<IpAddr, String>> {
        self.driver().sessions(&self.at())
    }

    /// What the router has learned and may use: prefix to next hops, as the router itself tells it.
    ///
    /// # Errors
    /// When the router does not answer.
    pub fn routes(&self) -> Result<Routes> {
        let mut routes = self.driver().routes(&self.at())?;
        for next_hops in routes.values_mut() {
            next_hops.sort();
            next_hops.dedup();
        }
        Ok(routes)
    }

    /// Announces one more prefix of its own.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn announce(&mut self, prefix: &str) -> Result<()> {
        self.config.networks.insert(prefix.to_owned());
        self.apply(&[prefix.to_owned()], &[])
    }

    /// Withdraws a prefix of its own, as [`Router::announce`].
    ///
    /// # Errors
    /// When it was not announced, or the router refuses.
    pub fn withdraw(&mut self, prefix: &str) -> Result<()> {
        ensure!(self.config.networks.remove(prefix), "{prefix} is not announced");
        self.apply(&[], &[prefix.to_owned()])
    }

    fn apply(&mut self, announced: &[String], withdrawn: &[String]) -> Result<()> {
        self.driver().write(&self.at())?;
        self.driver().reload(&self.at(), announced, withdrawn)
    }

    /// Ends it the hard way.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn kill(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::kill)
    }

    /// Ends it the hard way, if it runs, and starts it again.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        for index in 0..self.processes.len() {
            let Some(process) = self.processes.get_mut(index) else { break };
            process.restart()?;
            let name = process.name().to_owned();
            self.wait_ready(&name)?;
        }
        Ok(())
    }

    fn wait_ready(&self, daemon: &str) -> Result<()> {
        wait_until(&format!("{daemon} serves"), START, || Ok(self.driver().is_ready(&self.at(), daemon))).map(drop)
    }

    /// Its daemons.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Waits for the session with an address.
    ///
    /// # Errors
    /// When it is not Established before the deadline.
    pub fn wait_established(&self, peer: IpAddr, deadline: Duration) -> Result<Duration> {
        let mut last = String::new();
        wait_until(&format!("{} session of {} with {peer}", self.kind, self.node.name()), deadline, || {
            last = self.sessions()?.remove(&peer).unwrap_or_else(|| "unknown".to_owned());
            Ok(last == ESTABLISHED)
        })
        .with_context(|| format!("the session is {last}"))
    }

    /// Waits until the router has a prefix with exactly these next hops; none means that it does not have it.
    ///
    /// # Errors
    /// When it is not so before the deadline; the message has its table.
    pub fn wait_route(&self, prefix: &str, next_hops: &[IpAddr], deadline: Duration) -> Result<Duration> {
        let mut wanted = next_hops.to_vec();
        wanted.sort();
        let mut last = Routes::new();
        wait_until(&format!("{prefix} via {wanted:?} in {} of {}", self.kind, self.node.name()), deadline, || {
            last = self.routes()?;
            Ok(last.get(prefix).map(Vec::as_slice).unwrap_or_default() == wanted)
        })
        .with_context(|| format!("its table: {last:?}"))
    }

    fn driver(&self) -> &'static dyn Driver {
        match self.kind {
            Kind::Bird => &bird::Bird,
            Kind::Frr => &frr::Frr,
            Kind::GoBgp => &gobgp::GoBgp,
            Kind::ExaBgp => &exabgp::ExaBgp,
            Kind::OpenBgpd => &openbgpd::OpenBgpd,
            Kind::Tortie => &tortie::Tortie,
        }
    }

    fn at(&self) -> At<'_> {
        At { node: &self.node, config: &self.config, directory: &self.directory }
    }
}

/// No daemon takes that long to begin.
/// Name of the file that a recorded router writes.
const RECORDING: &str = "recording";
const START: Duration = Duration::from_secs(10);
const ESTABLISHED: &str = "Established";

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn is_ipv6(prefix: &str) -> bool {
    prefix.contains(':')
}

/// Lines, each indented and ended.
fn lines(indent: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}
