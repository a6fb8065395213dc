//! Where the speaker's configuration comes from: the cluster's resources, or a router's static file.

use std::{collections::BTreeMap, mem, net::Ipv4Addr, time::Duration};

use datastore::{Origin, Refusal, syncer::Update};
use engine::{
    ExportPolicy, Guards, ImportPolicy, Instant, OriginAttributes, PeerConfig, PeerKind, PerFamily, Prefix, RemoteAs,
    SpeakerConfig,
};
use resources::LogSeverity;

use crate::{
    advertising::Advertising,
    cluster::{Cluster, Identity, Topology},
    input::OriginInput,
    password::Passwords,
    peer_options,
    peer_routes::PeerRoutes,
    sockets::Listen,
    static_config::{StaticConfig, StaticPeer, StaticPolicy},
};

/// Name of the origin source that felix is.
const FELIX: &str = "felix";
/// Name of the origin source that a static file is.
const STATIC: &str = "static";
const WAITING_FOR_DATASTORE: &str = "the datastore has not told everything yet";

/// What the speaker should be now.
pub(crate) struct Wanted {
    pub(crate) speaker: SpeakerConfig,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    pub(crate) peers: BTreeMap<String, PeerConfig>,
    pub(crate) passwords: Passwords,
    pub(crate) peer_routes: PeerRoutes,
    pub(crate) guards: Guards,
    pub(crate) listen: Listen,
    pub(crate) drain: bool,
    pub(crate) log: Option<LogSeverity>,
    pub(crate) linger: Duration,
}

/// What is known about this process's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// A bgpd ran before in this boot: OPENs say Restart State (RFC 4724 §3).
    pub(crate) restarted: bool,
    /// For timer jitter.
    pub(crate) seed: u64,
}

/// The configuration and what became of it.
pub(crate) struct Source {
    origin: ConfigOrigin,
    start: Start,
    identity: Option<Identity>,
    identity_changed: bool,
    /// Speakers made so far: only the first one continues a former process.
    speakers: u32,
    conditions: Vec<String>,
    /// What of a router's changed file is not in force, and why.
    file_conditions: Vec<String>,
    refusals: BTreeMap<Origin, Vec<Refusal>>,
    missing: String,
    /// What origin sources said, for a speaker that starts later.
    prefixes: BTreeMap<String, OriginState>,
    /// What goes with those prefixes.
    advertising: Advertising,
    /// Those with which something else goes than the speaker was told.
    readvertised: Vec<Readvertised>,
}

/// A prefix of our own with which something else goes now: who originates it, and what.
pub(crate) type Readvertised = (String, Prefix, OriginAttributes);

#[derive(Debug, Default)]
struct OriginState {
    prefixes: BTreeMap<Prefix, String>,
    in_sync: bool,
}

enum ConfigOrigin {
    Cluster { cluster: Cluster, in_sync: bool },
    Static(StaticConfig),
}

impl Source {
    /// From the cluster's resources, Secrets from one namespace.
    pub(crate) fn cluster(node_name: &str, namespace: &str, start: Start) -> Self {
        Self::new(ConfigOrigin::Cluster { cluster: Cluster::new(node_name, namespace), in_sync: false }, start)
    }

    /// From a router's file.
    pub(crate) fn from_file(config: StaticConfig, start: Start) -> Self {
        let prefixes = own_prefixes(&config);
        let mut source = Self::new(ConfigOrigin::Static(config), start);
        source.prefixes.insert(STATIC.to_owned(), OriginState { prefixes, in_sync: true });
        source
    }

    fn new(origin: ConfigOrigin, start: Start) -> Self {
        Self {
            origin,
            start,
            identity: None,
            identity_changed: false,
            speakers: 0,
            conditions: Vec::new(),
            file_conditions: Vec::new(),
            refusals: BTreeMap::new(),
            missing: WAITING_FOR_DATASTORE.to_owned(),
            prefixes: BTreeMap::new(),
            advertising: Advertising::default(),
            readvertised: Vec::new(),
        }
    }

    /// Takes a change of the resources. True when the speaker may have to change.
    pub(crate) fn on_update(&mut self, update: Update) -> bool {
        let ConfigOrigin::Cluster { cluster, in_sync } = &mut self.origin else { return false };
        match update {
            Update::Apply(resource) => cluster.apply(resource),
            Update::Delete(key) => cluster.delete(&key),
            Update::InSync => *in_sync = true,
            Update::Refused(refusal) => {
                tracing::warn!("{refusal}");
                self.refusals.entry(refusal.origin.clone()).or_default().push(refusal);
            }
            Update::Admitted(origin) => drop(self.refusals.remove(&origin)),
        }
        *in_sync
    }

    /// Takes a router's file that has changed. A wrong one changes nothing but [`Source::conditions`]; otherwise this is what
    /// has become of the prefixes of our own, and everything else is to be looked at anew.
    pub(crate) fn on_file(&mut self, read: Result<Box<StaticConfig>, String>) -> Option<OriginInput> {
        let ConfigOrigin::Static(config) = &mut self.origin else { return None };
        let changed = match read {
            Ok(changed) => *changed,
            Err(error) => {
                tracing::warn!("{error}; the version before stays in force");
                self.file_conditions = vec![format!("{error}; the version before stays in force")];
                return None;
            }
        };
        self.file_conditions = changed.needs_restart(config);
        for condition in &self.file_conditions {
            tracing::warn!("{condition}");
        }
        *config = StaticConfig { install_routes: config.install_routes, ..changed };
        let own = own_prefixes(config);
        let state = self.prefixes.entry(STATIC.to_owned()).or_default();
        let withdraw = state.prefixes.keys().filter(|prefix| !own.contains_key(*prefix)).copied().collect();
        let announce = own.iter().filter(|(prefix, _)| !state.prefixes.contains_key(*prefix));
        let announce = announce.map(|(prefix, cause)| (*prefix, cause.clone())).collect();
        state.prefixes = own;
        Some(OriginInput::Update { source: STATIC.to_owned(), announce, withdraw, in_sync: true })
    }

    /// Keeps what an origin source says.
    pub(crate) fn on_origin(&mut self, input: &OriginInput) {
        match input {
            OriginInput::Connected { source } => drop(self.prefixes.insert(source.clone(), OriginState::default())),
            OriginInput::Update { source, announce, withdraw, in_sync } => {
                let state = self.prefixes.entry(source.clone()).or_default();
                for prefix in withdraw {
                    state.prefixes.remove(prefix);
                }
                state.prefixes.extend(announce.iter().cloned());
                state.in_sync |= in_sync;
            }
            OriginInput::Lost { .. } => {}
        }
    }

    /// What goes with a prefix of our own.
    pub(crate) fn attributes(&self, prefix: Prefix, cause: &str) -> OriginAttributes {
        self.advertising.attributes(prefix, cause)
    }

    /// Prefixes with which something else goes since this was last asked.
    pub(crate) fn readvertised(&mut self) -> Vec<Readvertised> {
        mem::take(&mut self.readvertised)
    }

    fn advertise_as(&mut self, advertising: Advertising) {
        if self.advertising == advertising {
            return;
        }
        let before = mem::replace(&mut self.advertising, advertising);
        for (source, state) in &self.prefixes {
            for (prefix, cause) in &state.prefixes {
                let attributes = self.advertising.attributes(*prefix, cause);
                if attributes != before.attributes(*prefix, cause) {
                    self.readvertised.push((source.clone(), *prefix, attributes));
                }
            }
        }
    }

    /// What a new speaker must be told about prefixes of our own; nothing for one that has been told.
    pub(crate) fn originated(&mut self) -> Vec<OriginInput> {
        if !mem::take(&mut self.identity_changed) {
            return Vec::new();
        }
        let sources = self.prefixes.iter().map(|(source, state)| OriginInput::Update {
            source: source.clone(),
            announce: state.prefixes.iter().map(|(p, c)| (*p, c.clone())).collect(),
            withdraw: Vec::new(),
            in_sync: state.in_sync,
        });
        sources.collect()
    }

    /// The speaker as it should be now; `None` while too little is known.
    pub(crate) fn wanted(&mut self, now: Instant) -> Option<Wanted> {
        let (topology, sources) = match &mut self.origin {
            ConfigOrigin::Cluster { in_sync: false, .. } => return None,
            ConfigOrigin::Cluster { cluster, .. } => {
                cluster.review(now);
                match cluster.topology() {
                    Some(topology) => (topology, FELIX),
                    None => {
                        self.missing = cluster.missing();
                        return None;
                    }
                }
            }
            ConfigOrigin::Static(config) => (static_topology(config), STATIC),
        };
        if self.identity != Some(topology.identity) {
            self.identity = Some(topology.identity);
            self.identity_changed = true;
            self.speakers += 1;
        }
        self.conditions = topology.conditions;
        self.advertise_as(topology.advertising);
        let mut speaker = self.speaker_config(topology.identity, sources);
        speaker.cluster_id = topology.cluster_id;
        Some(Wanted {
            speaker,
            cluster_id: topology.cluster_id,
            peers: topology.peers,
            passwords: topology.passwords,
            peer_routes: topology.peer_routes,
            guards: topology.guards,
            listen: topology.listen,
            drain: topology.drain,
            log: topology.log,
            linger: topology.linger,
        })
    }

    fn speaker_config(&self, identity: Identity, source: &str) -> SpeakerConfig {
        let restarted = self.start.restarted && self.speakers == 1;
        let mut config = SpeakerConfig::new(identity.local_as, identity.router_id);
        config.next_hops = identity.addresses;
        config.restarted = restarted;
        config.forwarding_preserved = PerFamily::new(restarted, restarted);
        config.origin_sources = vec![source.to_owned()];
        config.calico_local_pref = matches!(self.origin, ConfigOrigin::Cluster { .. });
        if let ConfigOrigin::Static(router) = &self.origin {
            config.installs_routes = router.install_routes;
        }
        config
    }

    /// When to ask for [`Source::wanted`] although nothing has changed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.origin {
            ConfigOrigin::Cluster { cluster, in_sync: true } => cluster.deadline(),
            _ => None,
        }
    }

    /// Whether a session with this peer, which is not wanted any more, may have to wait for others.
    pub(crate) fn may_retire(&self, name: &str, wanted: &BTreeMap<String, PeerConfig>) -> bool {
        match &self.origin {
            ConfigOrigin::Cluster { cluster, .. } => cluster.may_retire(name, wanted.values().map(|peer| peer.kind)),
            ConfigOrigin::Static(_) => false,
        }
    }

    /// True if the last [`Source::wanted`] asks for a new speaker.
    pub(crate) fn identity_changed(&self) -> bool {
        self.identity_changed
    }

    /// For timer jitter.
    pub(crate) fn seed(&self) -> u64 {
        self.start.seed
    }

    /// Why there is no speaker.
    pub(crate) fn waiting_for(&self) -> &str {
        &self.missing
    }

    /// What is wrong with the configuration in force.
    pub(crate) fn conditions(&self) -> Vec<String> {
        let refusals = self.refusals.values().flatten().map(ToString::to_string);
        self.conditions.iter().chain(&self.file_conditions).cloned().chain(refusals).collect()
    }
}

fn own_prefixes(config: &StaticConfig) -> BTreeMap<Prefix, String> {
    config.originate.iter().map(|prefix| (Prefix::from(*prefix), "static file".to_owned())).collect()
}

fn static_topology(config: &StaticConfig) -> Topology {
    let identity = Identity {
        local_as: config.as_number,
        router_id: config.router_id,
        addresses: PerFamily::new(config.ipv4_next_hop.map(Into::into), config.ipv6_next_hop.map(Into::into)),
    };
    let peers = config.peers.iter().map(|p| (p.name.clone(), static_peer(p))).collect();
    let signed = config.peers.iter().filter_map(|p| Some((p.address, p.password.clone()?)));
    Topology {
        identity,
        cluster_id: config.cluster_id,
        peers,
        passwords: signed.collect(),
        peer_routes: PeerRoutes::new(),
        guards: Guards::default(),
        advertising: Advertising::default(),
        listen: Listen { port: config.listen_port, addresses: Vec::new() },
        drain: false,
        log: None,
        conditions: Vec::new(),
        linger: Duration::ZERO,
    }
}

fn static_peer(peer: &StaticPeer) -> PeerConfig {
    let mut config = PeerConfig::new(&peer.name, peer.address, RemoteAs::Exactly(peer.as_number), PeerKind::Static);
    config.port = peer.port;
    config.transport.md5 = peer.password.is_some();
    config.local_address = peer.local_address;
    config.route_reflector_client = peer.route_reflector_client;
    peer_options::apply(&peer.options, &mut config);
    config.import = match peer.import {
        Some(StaticPolicy::Accept) => ImportPolicy::Accept,
        Some(StaticPolicy::Reject) => ImportPolicy::Reject,
        None => ImportPolicy::BuiltIn,
    };
    config.export = match peer.export {
        Some(StaticPolicy::Accept) => ExportPolicy::Accept,
        Some(StaticPolicy::Reject) => ExportPolicy::Reject,
        None => ExportPolicy::BuiltIn,
    };
    config
}
