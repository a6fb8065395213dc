//! Prometheus metrics, read from the speaker whenever somebody asks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use daemon::metrics::SharedRegistry;
use engine::{Family, PeerStatus, SessionState, SpeakerStatus};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family as Metrics, gauge::Gauge, info::Info},
    registry::Registry,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{bfd_metrics::BfdMetrics, input::Input, liveness::Liveness};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    peer: String,
    kind: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PrefixLabels {
    peer: String,
    family: &'static str,
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MessageLabels {
    peer: String,
    direction: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    peer: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    peer: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FamilyLabels {
    family: &'static str,
}

/// A counter whose value is kept by the engine.
type External = Counter<u64, AtomicU64>;

#[derive(Clone, Default)]
struct Set {
    state: Metrics<StateLabels, Gauge>,
    flaps: Metrics<PeerLabels, External>,
    messages: Metrics<MessageLabels, External>,
    prefixes: Metrics<PrefixLabels, Gauge>,
    rejected: Metrics<ReasonLabels, External>,
    errors: Metrics<OutcomeLabels, External>,
    stale: Metrics<PeerLabels, Gauge>,
    rib_prefixes: Metrics<FamilyLabels, Gauge>,
    rib_paths: Metrics<FamilyLabels, Gauge>,
    fib_routes: Metrics<FamilyLabels, Gauge>,
    fib_drift: Metrics<FamilyLabels, Gauge>,
    attribute_sets: Gauge,
    bfd: BfdMetrics,
}

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) liveness: Liveness,
}

/// Serves metrics on `address`; a failure is logged.
pub(crate) fn start(address: SocketAddr, sources: Sources) {
    let set = Set::default();
    let registry: SharedRegistry = Arc::new(set.registry().into());
    let refresh = move || {
        let (set, sources) = (set.clone(), sources.clone());
        async move { refresh(set, sources).await }
    };
    tokio::spawn(async move {
        if let Err(error) = daemon::metrics::serve(address, registry, refresh).await {
            tracing::error!(%address, %error, "cannot serve metrics");
        }
    });
}

async fn refresh(set: Set, Sources { inputs, liveness }: Sources) {
    let (answer, answered) = oneshot::channel();
    let ask = Input::Ask(Box::new(move |view| {
        let status = view.speaker.map(|speaker| (speaker.status(), speaker.peers()));
        let _ = answer.send(status);
    }));
    if inputs.send(ask).await.is_err() {
        return;
    }
    if let Ok(Ok(Some((speaker, peers)))) = timeout(ANSWER_WITHIN, answered).await {
        set.take(&speaker, &peers);
    }
    if let Ok(overview) = timeout(ANSWER_WITHIN, liveness.overview()).await {
        set.bfd.take(&overview);
    }
}

impl Set {
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("bgpd_build", "The program that runs", build);
        let mut register =
            |name: &str, help: &str, metric: &dyn Fn(&mut Registry, &str, &str)| metric(&mut registry, name, help);
        register("bgpd_peer_state", "1 for the state a session is in", &|r, n, h| r.register(n, h, self.state.clone()));
        register("bgpd_peer_flaps", "Established sessions lost", &|r, n, h| r.register(n, h, self.flaps.clone()));
        register("bgpd_messages", "BGP messages", &|r, n, h| r.register(n, h, self.messages.clone()));
        register("bgpd_prefixes", "Prefixes of a peer", &|r, n, h| r.register(n, h, self.prefixes.clone()));
        register("bgpd_prefixes_rejected", "Prefixes refused", &|r, n, h| r.register(n, h, self.rejected.clone()));
        register("bgpd_update_errors", "UPDATEs with errors", &|r, n, h| r.register(n, h, self.errors.clone()));
        register("bgpd_stale_routes", "Routes kept from a lost session", &|r, n, h| {
            r.register(n, h, self.stale.clone())
        });
        register("bgpd_rib_prefixes", "Prefixes with a best path", &|r, n, h| {
            r.register(n, h, self.rib_prefixes.clone())
        });
        register("bgpd_rib_paths", "Paths of all peers", &|r, n, h| r.register(n, h, self.rib_paths.clone()));
        register("bgpd_fib_routes", "Routes in the kernel", &|r, n, h| r.register(n, h, self.fib_routes.clone()));
        register("bgpd_fib_drift_routes", "Routes the kernel lacks", &|r, n, h| {
            r.register(n, h, self.fib_drift.clone())
        });
        register("bgpd_path_attributes", "Distinct attribute sets", &|r, n, h| {
            r.register(n, h, self.attribute_sets.clone())
        });
        self.bfd.register(&mut registry);
        registry
    }

    fn take(&self, speaker: &SpeakerStatus, peers: &[PeerStatus]) {
        for family in Family::ALL {
            let labels = FamilyLabels { family: word(family) };
            self.rib_prefixes.get_or_create(&labels).set(speaker.rib_prefixes[family].into());
            self.rib_paths.get_or_create(&labels).set(speaker.rib_paths[family].into());
            self.fib_routes.get_or_create(&labels).set(speaker.fib_routes[family].into());
            self.fib_drift.get_or_create(&labels).set(speaker.fib_drift[family].into());
        }
        self.attribute_sets.set(speaker.attribute_sets.into());
        // Peers come and go: what is no longer there must not be reported for ever.
        self.state.clear();
        self.prefixes.clear();
        self.stale.clear();
        for peer in peers {
            self.take_peer(peer);
        }
    }

    fn take_peer(&self, peer: &PeerStatus) {
        let name = peer.name.to_string();
        for state in SessionState::ALL {
            let labels = StateLabels { peer: name.clone(), kind: peer.kind.word(), state: state.word() };
            self.state.get_or_create(&labels).set((state == peer.state).into());
        }
        let own = PeerLabels { peer: name.clone() };
        store(&self.flaps.get_or_create(&own), peer.flaps.into());
        for (direction, counts) in [("in", &peer.messages_received), ("out", &peer.messages_sent)] {
            for (r#type, count) in counts {
                let labels = MessageLabels { peer: name.clone(), direction, r#type };
                store(&self.messages.get_or_create(&labels), *count);
            }
        }
        for (reason, count) in &peer.refusals {
            store(&self.rejected.get_or_create(&ReasonLabels { peer: name.clone(), reason }), *count);
        }
        let (discarded, withdrawn) = peer.update_errors;
        for (outcome, count) in [("discard", discarded), ("withdraw", withdrawn)] {
            store(&self.errors.get_or_create(&OutcomeLabels { peer: name.clone(), outcome }), count);
        }
        self.stale.get_or_create(&own).set(peer.families.iter().map(|f| i64::from(f.stale)).sum());
        for f in &peer.families {
            let stages = [
                ("received", f.received),
                ("accepted", f.accepted),
                ("rejected", f.rejected),
                ("installed", f.installed),
                ("advertised", f.advertised),
            ];
            for (stage, count) in stages {
                let labels = PrefixLabels { peer: name.clone(), family: word(f.family), stage };
                self.prefixes.get_or_create(&labels).set(count.into());
            }
        }
    }
}

fn store(counter: &External, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}
