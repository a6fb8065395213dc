//! Reports about this node's speaker, for every CalicoNodeStatus that asks for one.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use datastore::{
    Datastore,
    syncer::{Syncer, Update},
};
use engine::{Family, PeerKind, PeerStatus, RouteQuery, RouteStatus, RouteTable, SessionState, Speaker};
use proto::Timestamp as Time;
use resources::{
    AgentReport, BgpPeer, CalicoNodeStatus, CalicoNodeStatusSpec, DaemonReport, Key, Kind, LearnedFrom, NodeReport,
    NodeStatusClass, PeerOrigin, PeerReport, Resource, RouteReport, RoutesReport, SessionsReport, Timestamp,
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{input::Input, view::View};

const UPDATES: usize = 64;
/// A report is one object, of which an API server takes a megabyte and a half.
const MOST_ROUTES: usize = 4096;

/// Who asks, and what is needed to answer.
struct Reporter {
    node: String,
    store: Arc<dyn Datastore>,
    inputs: mpsc::Sender<Input>,
    asked: BTreeMap<Key, Asked>,
    peers: BTreeMap<String, BgpPeer>,
}

struct Asked {
    spec: CalicoNodeStatusSpec,
    period: Duration,
    due: Instant,
}

/// Reports until the loop ends.
pub(crate) async fn report(node: String, store: Arc<dyn Datastore>, inputs: mpsc::Sender<Input>) {
    let mut updates = Syncer::start(Arc::clone(&store), &[Kind::CalicoNodeStatus, Kind::BgpPeer], UPDATES);
    let mut reporter = Reporter { node, store, inputs, asked: BTreeMap::new(), peers: BTreeMap::new() };
    loop {
        let next = reporter.asked.iter().min_by_key(|(_, asked)| asked.due);
        let next = next.map(|(key, asked)| (key.clone(), asked.due));
        let due = next.as_ref().map(|(_, due)| *due);
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => reporter.on_update(update).await,
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some((key, _)) = next && !reporter.answer(&key).await {
                    return;
                }
            }
        }
    }
}

impl Reporter {
    async fn on_update(&mut self, update: Update) {
        match update {
            Update::Apply(Resource::BgpPeer(peer)) => drop(self.peers.insert(peer.metadata.name.clone(), *peer)),
            Update::Apply(Resource::CalicoNodeStatus(object)) => self.on_asked(*object).await,
            Update::Delete(key) if key.kind == Kind::BgpPeer => drop(self.peers.remove(&key.name)),
            Update::Delete(key) if self.asked.remove(&key).is_some() => self.write(&key, Value::Null).await,
            _ => {}
        }
    }

    async fn on_asked(&mut self, object: CalicoNodeStatus) {
        let key = Key::cluster(Kind::CalicoNodeStatus, &object.metadata.name);
        let period = u64::from(object.spec.update_period_seconds.unwrap_or(0));
        if object.spec.node == self.node && period > 0 {
            let asked = Asked { spec: object.spec, period: Duration::from_secs(period), due: Instant::now() };
            self.asked.insert(key, asked);
        } else {
            self.asked.remove(&key);
        }
    }

    /// Answers one. False once the loop has ended.
    async fn answer(&mut self, key: &Key) -> bool {
        let Some(asked) = self.asked.get_mut(key) else { return true };
        asked.due = Instant::now() + asked.period;
        let (classes, peers) = (asked.spec.classes.clone(), self.peers.clone());
        let (answer, answered) = oneshot::channel();
        let question = move |view: View<'_>| drop(answer.send(node_report(&view, &classes, &peers)));
        if self.inputs.send(Input::Ask(Box::new(question))).await.is_err() {
            return false;
        }
        let Ok(report) = answered.await else { return false };
        match serde_json::to_value(report) {
            Ok(report) => self.write(key, report).await,
            Err(error) => tracing::warn!(%error, "{key}: no report"),
        }
        true
    }

    async fn write(&self, key: &Key, status: Value) {
        if let Err(error) = self.store.report(key, status).await {
            tracing::warn!(%error, "{key}: the report is not written");
        }
    }
}

fn node_report(view: &View<'_>, classes: &[NodeStatusClass], peers: &BTreeMap<String, BgpPeer>) -> NodeReport {
    let wants = |class: NodeStatusClass| classes.contains(&class);
    let speaker = view.speaker;
    NodeReport {
        last_updated: Timestamp(view.clock.timestamp(view.clock.now()).seconds),
        agent: wants(NodeStatusClass::Agent).then(|| agent(view)),
        bgp: wants(NodeStatusClass::Bgp).then(|| speaker.map(|it| sessions(view, it, peers)).unwrap_or_default()),
        routes: wants(NodeStatusClass::Routes).then(|| speaker.and_then(routes).unwrap_or_default()),
    }
}

/// One process is the daemon of both families.
fn agent(view: &View<'_>) -> AgentReport {
    let daemon = DaemonReport {
        state: if view.speaker.is_some() { "Ready" } else { "NotReady" },
        version: format!("tortie {}", env!("CARGO_PKG_VERSION")),
        router_id: view.speaker.map(|speaker| speaker.status().router_id.to_string()).unwrap_or_default(),
        last_boot_time: text(view.clock.started()),
        last_reconfiguration_time: text(view.clock.timestamp(view.configured)),
    };
    AgentReport { v4: daemon.clone(), v6: daemon }
}

fn text(time: Time) -> String {
    Timestamp(time.seconds).to_string()
}

fn sessions(view: &View<'_>, speaker: &Speaker, peers: &BTreeMap<String, BgpPeer>) -> SessionsReport {
    let mut report = SessionsReport::default();
    for status in speaker.peers() {
        let peer = PeerReport {
            peer_ip: status.address,
            origin: origin(&status, peers),
            state: status.state.word(),
            since: text(view.clock.timestamp(status.since)),
        };
        let established = status.state == SessionState::Established;
        let (list, count) = match (status.address, established) {
            (IpAddr::V4(_), true) => (&mut report.peers_v4, &mut report.number_established_v4),
            (IpAddr::V4(_), false) => (&mut report.peers_v4, &mut report.number_not_established_v4),
            (IpAddr::V6(_), true) => (&mut report.peers_v6, &mut report.number_established_v6),
            (IpAddr::V6(_), false) => (&mut report.peers_v6, &mut report.number_not_established_v6),
        };
        list.push(peer);
        *count += 1;
    }
    report
}

/// A session with a node has the node's name, whatever named the node: a BGPPeer's selector, or the mesh.
fn origin(status: &PeerStatus, peers: &BTreeMap<String, BgpPeer>) -> PeerOrigin {
    let named = peers.get(&*status.name).filter(|peer| peer.spec.peer_ip.is_some());
    let selecting = || peers.values().find(|peer| peer.spec.peer_selector.is_some());
    match named.or_else(|| selecting().filter(|_| status.kind != PeerKind::Mesh)) {
        Some(peer) if peer.spec.node.is_empty() && peer.spec.node_selector.is_none() => PeerOrigin::GlobalPeer,
        Some(_) => PeerOrigin::NodePeer,
        None => PeerOrigin::NodeMesh,
    }
}

fn routes(speaker: &Speaker) -> Option<RoutesReport> {
    let known = speaker.status().rib_paths;
    if known.v4.saturating_add(known.v6) as usize > MOST_ROUTES {
        tracing::warn!("CalicoNodeStatus: routes are left out of the report, it takes at most {MOST_ROUTES}");
        return None;
    }
    let addresses: BTreeMap<_, _> =
        speaker.peers().into_iter().map(|peer| (peer.name, (peer.address, peer.kind))).collect();
    let of = |family: Family| {
        let query = RouteQuery { table: RouteTable::LocRib, prefix: None, longer: false, family: Some(family) };
        speaker.routes(&query).iter().map(|route| route_report(route, addresses.get(&route.peer))).collect()
    };
    Some(RoutesReport { routes_v4: of(Family::Ipv4Unicast), routes_v6: of(Family::Ipv6Unicast) })
}

fn route_report(route: &RouteStatus, peer: Option<&(IpAddr, PeerKind)>) -> RouteReport {
    let source_type = match peer {
        None => "Static",
        Some((_, kind)) if kind.is_cluster() => "NodeMesh",
        Some(_) => "BGPPeer",
    };
    RouteReport {
        kind: if route.installed && (route.best || route.multipath) { "FIB" } else { "RIB" },
        destination: route.prefix.to_string(),
        gateway: route.next_hop.as_ref().map(|it| it.address().to_string()).unwrap_or_default(),
        learned_from: LearnedFrom { source_type, peer_ip: peer.map(|(address, _)| *address) },
    }
}
