//! What the shell tells the speaker about itself, its peers and its surroundings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bfd::BfdConfig;
use crate::filter::Filters;
use crate::prefix::{Family, PerFamily, Prefix};
use crate::wire::{AddPathMode, Community, LargeCommunity, Role};

/// The speaker as a whole. [`SpeakerConfig::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerConfig {
    /// AS number of this speaker.
    pub local_as: u32,
    /// BGP Identifier. Not zero.
    pub router_id: Ipv4Addr,
    /// Cluster id as a route reflector; default the BGP Identifier (RFC 4456 §7).
    pub cluster_id: Option<Ipv4Addr>,
    /// This process follows one that ended without a reboot: OPENs carry the R bit until End-of-RIB was sent, selection is
    /// deferred, stale kernel routes are kept (RFC 4724 §4.1).
    pub restarted: bool,
    /// The kernel still forwards on the routes of the former process: the F bit of a family (RFC 4724 §3).
    pub forwarding_preserved: PerFamily<bool>,
    /// Names of the origin sources that must be in sync before End-of-RIB is sent.
    pub origin_sources: Vec<String>,
    /// How long prefixes of a lost origin source stay announced. Default 120 s.
    pub origin_stale_time: Duration,
    /// How many paths of equal cost are installed.
    pub multipath: Multipath,
    /// MED is compared between paths of different neighbour AS numbers too. Default false.
    pub always_compare_med: bool,
    /// After a restart, how long selection waits for peers that are not Established once the first session of the family
    /// is. Default 5 s.
    pub absent_peer_wait: Duration,
    /// After a restart, how long selection waits at most (Selection_Deferral_Timer, RFC 4724 §4.1). Default 120 s.
    pub selection_deferral: Duration,
    /// After a restart, when kernel routes that nobody announced again are swept at the latest. They go as soon as every
    /// peer has sent End-of-RIB (RFC 4724 §4.2); a peer that is away, that restarts too or that sends none is waited for
    /// until then. Default 120 s.
    pub fib_sweep_after: Duration,
    /// Originated prefixes have the LOCAL_PREF of Calico nodes, 2147483647 minus the metric, inside the cluster. Default
    /// false: 100.
    pub calico_local_pref: bool,
    /// Learned routes go into the kernel; default true. Without, they count as installed and the shell is told of none.
    pub installs_routes: bool,
    /// Our own next hop in a family that is not that of the session's addresses.
    pub next_hops: PerFamily<Option<IpAddr>>,
}

impl SpeakerConfig {
    /// The defaults, for a fresh start.
    #[must_use]
    pub const fn new(local_as: u32, router_id: Ipv4Addr) -> Self {
        Self {
            local_as,
            router_id,
            cluster_id: None,
            restarted: false,
            forwarding_preserved: PerFamily::new(false, false),
            origin_sources: Vec::new(),
            origin_stale_time: Duration::from_secs(120),
            multipath: Multipath { max_paths: 64, relax_as_path: true },
            always_compare_med: false,
            absent_peer_wait: Duration::from_secs(5),
            selection_deferral: Duration::from_secs(120),
            fib_sweep_after: Duration::from_secs(120),
            calico_local_pref: false,
            installs_routes: true,
            next_hops: PerFamily::new(None, None),
        }
    }
}

/// ECMP limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multipath {
    /// Most paths of one prefix in the kernel; 1 turns ECMP off. Default 64.
    pub max_paths: usize,
    /// AS_PATHs need only be equally long, not identical. Default true.
    pub relax_as_path: bool,
}

/// What a peer is to us; the built-in policies and guards depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerKind {
    /// A node of the node-to-node mesh.
    Mesh,
    /// A route reflector of the cluster; we are its client.
    Reflector,
    /// A node of the cluster that is our reflection client.
    Client,
    /// A router outside the cluster, named by a BGPPeer.
    External,
    /// A pod on this node.
    Workload,
    /// A peer of a static file. It follows RFC 8212: without a policy nothing is exchanged with an external AS.
    Static,
}

impl PeerKind {
    /// True for nodes of the cluster.
    #[must_use]
    pub const fn is_cluster(self) -> bool {
        matches!(self, Self::Mesh | Self::Reflector | Self::Client)
    }

    /// The word shown in status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Reflector => "reflector",
            Self::Client => "client",
            Self::External => "external",
            Self::Workload => "workload",
            Self::Static => "static",
        }
    }

    const fn default_limit(self) -> u32 {
        match self {
            Self::Mesh | Self::Client => 4096,
            Self::Reflector | Self::External => 100_000,
            Self::Workload => 100,
            Self::Static => 2_000_000,
        }
    }
}

/// Which AS number a peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RemoteAs {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// One peer. [`PeerConfig::new`] has the defaults of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// BGPPeer or node name; unique, and what status and events say.
    pub name: String,
    /// A text for people.
    pub description: String,
    /// The operator keeps it down (Cease 6/2), and this is what the peer's operator is told (RFC 9003).
    pub shutdown: Option<String>,
    /// Address of the session.
    pub address: IpAddr,
    /// Port to dial. Default 179.
    pub port: u16,
    /// Our address on the session, bound before dialing; `None`: the routing table's choice.
    pub local_address: Option<IpAddr>,
    /// Interface index of a link-local session.
    pub interface: Option<u32>,
    /// Its AS number.
    pub remote_as: RemoteAs,
    /// AS number we use towards it instead of our own (RFC 7705); see [`PeerConfig::local_as_prepend`].
    pub local_as: Option<u32>,
    /// What it is to us.
    pub kind: PeerKind,
    /// Families offered in OPEN.
    pub families: Vec<Family>,
    /// Hold time offered, in seconds: 0, or 3 and more. Default 90.
    pub hold_time: u16,
    /// Keepalive interval in seconds; `None`: a third of the negotiated hold time.
    pub keepalive_time: Option<u16>,
    /// Send hold time in seconds, longer than the hold time; `None`: 480, or twice the negotiated hold time if that is
    /// longer (RFC 9687 §4.1).
    pub send_hold_time: Option<u16>,
    /// Pause between dials, before jitter and back-off. Default 5 s.
    pub connect_retry: Duration,
    /// We never dial, only wait for it to.
    pub passive: bool,
    /// It is a client of our route reflection (RFC 4456).
    pub route_reflector_client: bool,
    /// Graceful restart towards it (RFC 4724).
    pub graceful_restart: GracefulRestartConfig,
    /// Long-lived graceful restart, per family (RFC 9494). Default off; without graceful restart it is ignored.
    pub long_lived_restart: PerFamily<Option<LongLivedRestart>>,
    /// Long-lived stale routes go to an internal peer that does not know what they are, too: with NO_EXPORT and LOCAL_PREF 0
    /// (RFC 9494 §4.6). Default false.
    pub long_lived_to_all_internal: bool,
    /// Next hop of what is sent to it.
    pub next_hop: NextHopMode,
    /// How often our AS number may occur in a path it sends. Default 0.
    pub allow_own_as: u8,
    /// An external peer's path must begin with its AS number. Default true.
    pub enforce_first_as: bool,
    /// A path with an AS_SET is treated as withdrawn (RFC 9774). Default false.
    pub reject_as_sets: bool,
    /// What becomes of private AS numbers in paths sent to an external peer; the peer's own stays, for its loop detection.
    pub remove_private_as: Option<RemovePrivateAs>,
    /// With [`PeerConfig::local_as`], where that number is put in front (RFC 7705).
    pub local_as_prepend: LocalAsPrepend,
    /// We are a route server to it (RFC 7947): what others sent goes to it with AS_PATH, NEXT_HOP, MED and communities as it
    /// came. For external peers.
    pub route_server_client: bool,
    /// Bounds on what it may send, per family.
    pub limit: PrefixLimit,
    /// What is used of its routes.
    pub import: ImportPolicy,
    /// What is sent to it.
    pub export: ExportPolicy,
    /// Rules before `import` and `export`.
    pub filters: Filters,
    /// LOCAL_PREF follows Calico's rule on this internal session: 2147483647 minus the route's metric.
    pub calico_local_pref: bool,
    /// What we are to it (RFC 9234); for external peers only, ignored for internal ones. Default none: no role is told, and
    /// ONLY_TO_CUSTOMER is neither set nor heeded.
    pub role: Option<Role>,
    /// A peer that tells no role is refused (RFC 9234 §4.2). Default false.
    pub strict_role: bool,
    /// Several paths to one prefix (RFC 7911), in all families. Default neither way.
    pub add_path: AddPath,
    /// BFD with it; `None`: without.
    pub bfd: Option<BfdConfig>,
    /// For the shell; a change of it resets the session.
    pub transport: Transport,
}

impl PeerConfig {
    /// A peer with the defaults of its kind.
    #[must_use]
    pub fn new(name: impl Into<String>, address: IpAddr, remote_as: RemoteAs, kind: PeerKind) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            shutdown: None,
            address,
            port: 179,
            local_address: None,
            interface: None,
            remote_as,
            local_as: None,
            kind,
            families: Family::ALL.to_vec(),
            hold_time: 90,
            keepalive_time: None,
            send_hold_time: None,
            connect_retry: Duration::from_secs(5),
            passive: false,
            route_reflector_client: kind == PeerKind::Client,
            graceful_restart: GracefulRestartConfig::default(),
            long_lived_restart: PerFamily::default(),
            long_lived_to_all_internal: false,
            next_hop: NextHopMode::Auto,
            allow_own_as: 0,
            enforce_first_as: true,
            reject_as_sets: false,
            remove_private_as: None,
            local_as_prepend: LocalAsPrepend::default(),
            route_server_client: false,
            limit: PrefixLimit { max: kind.default_limit(), warn_percent: 75, action: LimitAction::Block },
            import: ImportPolicy::BuiltIn,
            export: ExportPolicy::BuiltIn,
            filters: Filters::default(),
            calico_local_pref: kind.is_cluster(),
            role: None,
            strict_role: false,
            add_path: AddPath::default(),
            bfd: None,
            transport: Transport::default(),
        }
    }

    /// Where to dial.
    #[must_use]
    pub const fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// Graceful restart towards one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GracefulRestartConfig {
    /// The capability is sent, and the peer's is heeded. Default true.
    pub enabled: bool,
    /// How long the peer shall keep our routes. Default 120 s, at most 4095 s.
    pub restart_time: Duration,
    /// How long stale routes stay after the peer came back and until it sent End-of-RIB. Default 360 s.
    pub stale_time: Duration,
}

impl Default for GracefulRestartConfig {
    fn default() -> Self {
        Self { enabled: true, restart_time: Duration::from_secs(120), stale_time: Duration::from_secs(360) }
    }
}

/// Long-lived graceful restart of one family with one peer (RFC 9494).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongLivedRestart {
    /// How long the peer shall keep our routes after the restart time; 0: not at all. At most 2²⁴ − 1 s.
    pub stale_time: Duration,
    /// How long its routes are kept after its restart time, at most.
    pub max_stale_time: Duration,
}

/// ADD-PATH towards one peer (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AddPath {
    /// We offer to receive several paths to a prefix.
    pub receive: bool,
    /// Most paths of one prefix that are sent, in the order of the decision; 0: we do not offer to send several.
    pub send_max: u16,
}

impl AddPath {
    /// The mode offered in OPEN.
    pub(crate) const fn mode(self) -> Option<AddPathMode> {
        match (self.receive, self.send_max) {
            (true, 1..) => Some(AddPathMode::Both),
            (true, 0) => Some(AddPathMode::Receive),
            (false, 1..) => Some(AddPathMode::Send),
            (false, 0) => None,
        }
    }
}

/// What becomes of private AS numbers (RFC 6996) in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RemovePrivateAs {
    /// They go.
    Remove,
    /// Ours stands in their place, so that the length stays.
    Replace,
}

/// Where the AS number that we use towards a peer, instead of our own, is put in front of a path (RFC 7705 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LocalAsPrepend {
    /// Of what the peer sends.
    pub inbound: bool,
    /// Of what is sent to it, with our own behind it. Otherwise it stands there alone.
    pub outbound: bool,
}

/// `nextHopMode` of Calico.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum NextHopMode {
    /// Own address to external peers, unchanged to internal ones (RFC 4271 §5.1.3).
    #[default]
    Auto,
    /// Always our own address.
    SelfAddress,
    /// Unchanged, to external peers too.
    Keep,
}

/// A bound on the prefixes of one family that a peer may send (RFC 4271 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixLimit {
    /// Most prefixes in Adj-RIB-In, counted before policy.
    pub max: u32,
    /// Warn at this share of it. Default 75.
    pub warn_percent: u8,
    /// What to do beyond it. Default [`LimitAction::Block`].
    pub action: LimitAction,
}

/// What to do with a peer that sends too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitAction {
    /// Say so.
    Warn,
    /// Refuse new prefixes, go on with the known ones.
    Block,
    /// End the session (Cease 6/1) until a command.
    Down,
    /// End the session and try again after this time.
    Restart(Duration),
}

/// What is used of a peer's routes, after the guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ImportPolicy {
    /// What its kind calls for: everything that passes the guards; for an external [`PeerKind::Static`] peer nothing
    /// (RFC 8212 §3).
    #[default]
    BuiltIn,
    /// Everything that passes the guards.
    Accept,
    /// Nothing.
    Reject,
}

/// What is sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum ExportPolicy {
    /// What its kind calls for: originated prefixes, and what reflection demands; for an external [`PeerKind::Static`]
    /// peer nothing (RFC 8212 §3).
    #[default]
    BuiltIn,
    /// Every best path that propagation allows.
    Accept,
    /// Nothing.
    Reject,
}

/// What the shell sets on the sockets of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transport {
    /// TTL of what is sent; `None`: the kernel's default.
    pub ttl: Option<u8>,
    /// GTSM: most hops the peer may be away (RFC 5082).
    pub ttl_security: Option<u8>,
    /// Segments are signed (TCP MD5, RFC 2385). The password is the shell's, and may change without a new session.
    pub md5: bool,
}

/// What the import guards know of this node and its cluster. A change re-judges everything received.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Guards {
    /// Pools of the cluster.
    pub pools: Vec<Prefix>,
    /// Blocks of this node.
    pub own_blocks: Vec<Prefix>,
    /// Blocks of the other nodes: announced whole, or in parts by whom they are lent to.
    pub other_blocks: Vec<Prefix>,
    /// Addresses of this node: never a next hop, never learned as host prefixes.
    pub own_addresses: Vec<IpAddr>,
    /// Addresses of the other nodes: never learned as host prefixes.
    pub node_addresses: Vec<IpAddr>,
    /// Ranges of service addresses: between nodes only, and never installed.
    pub service_prefixes: Vec<Prefix>,
    /// Addresses of a block that are lent to another node than its owner, with the name of that node.
    pub lent: BTreeMap<Prefix, String>,
}

/// What goes with a prefix of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginAttributes {
    /// Why it is announced, for people: `block of pool default-v4`.
    pub cause: String,
    /// Route metric; enters LOCAL_PREF under Calico's rule. Default 1024.
    pub metric: u32,
    /// COMMUNITIES.
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY.
    pub large_communities: Vec<LargeCommunity>,
}

impl OriginAttributes {
    /// The default attributes.
    #[must_use]
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), metric: 1024, communities: Vec::new(), large_communities: Vec::new() }
    }
}
