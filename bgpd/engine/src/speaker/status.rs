//! The speaker and its peers as people see them.

use std::collections::BTreeMap;

use super::Speaker;
use super::tables::FamilyTables;
use crate::bfd::BfdStatus;
use crate::config::RemoteAs;
use crate::outbox::MessageCounts;
use crate::output::FibUpdate;
use crate::peer::{Peer, Standing};
use crate::prefix::{Family, NetPrefix, PerFamily};
use crate::reason::Refusal;
use crate::rib::PeerId;
use crate::status::{OriginSourceStatus, PeerFamilyStatus, PeerStatus, SessionState, SpeakerStatus};
use crate::wire::MessageKind;

const KINDS: [MessageKind; 5] = [
    MessageKind::Open,
    MessageKind::Update,
    MessageKind::Notification,
    MessageKind::Keepalive,
    MessageKind::RouteRefresh,
];

fn by_kind(counts: MessageCounts) -> BTreeMap<&'static str, u64> {
    KINDS.into_iter().zip(counts).map(|(kind, count)| (kind.name(), count)).collect()
}

/// Prefixes in the kernel by paths of each peer.
type Installed = BTreeMap<PeerId, PerFamily<u32>>;

impl Speaker {
    /// The speaker.
    #[must_use]
    pub fn status(&self) -> SpeakerStatus {
        let (v4, v6) = (&self.tables.v4.table, &self.tables.v6.table);
        let sources = self.origins.sources.iter().map(|(name, source)| OriginSourceStatus {
            name: name.clone(),
            in_sync: source.in_sync,
            connected: source.connected,
            prefixes: u32::try_from(source.prefixes.len()).unwrap_or(u32::MAX),
        });
        SpeakerStatus {
            draining: self.draining,
            local_as: self.config.local_as,
            router_id: self.config.router_id,
            rib_prefixes: PerFamily::new(v4.best, v6.best),
            rib_paths: PerFamily::new(v4.paths(), v6.paths()),
            fib_routes: PerFamily::new(v4.fib_confirmed, v6.fib_confirmed),
            fib_drift: PerFamily::new(v4.fib_wanted - v4.fib_confirmed, v6.fib_wanted - v6.fib_confirmed),
            attribute_sets: u32::try_from(self.tables.shared.interner.len()).unwrap_or(u32::MAX),
            sources: sources.collect(),
            selection_deferred: PerFamily::new(
                self.deferral.is_waiting(Family::Ipv4Unicast),
                self.deferral.is_waiting(Family::Ipv6Unicast),
            ),
        }
    }

    /// All peers, sorted by name.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let installed = self.installed();
        self.names.values().filter_map(|id| self.get(*id)).map(|peer| self.peer_status(peer, &installed)).collect()
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<PeerStatus> {
        self.find(name).map(|peer| self.peer_status(peer, &self.installed()))
    }

    fn installed(&self) -> Installed {
        let mut installed = Installed::new();
        count_installed(&self.tables.v4, &mut installed);
        count_installed(&self.tables.v6, &mut installed);
        installed
    }

    fn peer_status(&self, peer: &Peer, installed: &Installed) -> PeerStatus {
        let session = peer.session();
        let state = peer.state();
        let used = |family: &Family| match session {
            Some(session) => session.families[*family],
            None => peer.config.families.contains(family),
        };
        let families = Family::ALL.into_iter().filter(used);
        let stopped = match &peer.standing {
            Standing::Stopped(diagnosis, until) => Some((diagnosis.clone(), *until)),
            Standing::Running => None,
        };
        let remote_as = match peer.config.remote_as {
            RemoteAs::Exactly(as_number) => Some(as_number),
            RemoteAs::Internal => Some(peer.local_as(self.config.local_as)),
            RemoteAs::External => session.map(|it| it.peer_as),
        };
        let refusals = Refusal::WORDS.into_iter().zip(peer.refusals).filter(|(_, count)| *count > 0);
        PeerStatus {
            name: peer.name.clone(),
            description: peer.config.description.clone(),
            address: peer.config.address,
            remote_as: remote_as.unwrap_or(0),
            kind: peer.config.kind,
            state,
            since: peer.since,
            families: families.map(|family| self.family_status(peer.id, family, installed)).collect(),
            flaps: peer.flaps,
            last_error: peer.last_error.clone(),
            diagnosis: stopped
                .as_ref()
                .map(|it| it.0.clone())
                .or_else(|| peer.diagnosis.clone())
                .filter(|_| state != SessionState::Established),
            retry_at: stopped.and_then(|it| it.1).or(peer.pause.map(|it| it.until)),
            hold_time: session.map_or(0, |it| it.hold_time),
            keepalive_time: session.map_or(0, |it| it.keepalive_time),
            router_id: peer.identifier(),
            local_address: peer.local_address().or(peer.config.local_address),
            local_as: peer.local_as(self.config.local_as),
            capabilities_sent: session.map(|it| it.capabilities_sent.clone()),
            capabilities_received: session.map(|it| it.capabilities_received.clone()),
            messages_received: by_kind(peer.received),
            messages_sent: by_kind(self.outbox.counts(peer.id)),
            update_errors: peer.update_errors,
            refusals: refusals.collect(),
            bfd: peer.config.bfd.map(|_| BfdStatus { last: peer.bfd.last, downs: peer.bfd.downs }),
            helping: peer.retention.is_active(),
            restarting: self.config.restarted && !peer.told_end_of_rib,
        }
    }

    fn family_status(&self, id: PeerId, family: Family, installed: &Installed) -> PeerFamilyStatus {
        fn advertised<P: NetPrefix>(tables: &FamilyTables<P>, id: PeerId) -> u32 {
            tables.group_of(id).map_or(0, |group| group.advertised(id))
        }
        let counts = self.tables.shared.sources.counts(id, family);
        PeerFamilyStatus {
            family,
            received: counts.received,
            accepted: counts.received - counts.rejected,
            rejected: counts.rejected,
            installed: installed.get(&id).map_or(0, |it| it[family]),
            advertised: match family {
                Family::Ipv4Unicast => advertised(&self.tables.v4, id),
                Family::Ipv6Unicast => advertised(&self.tables.v6, id),
            },
            stale: counts.stale,
        }
    }

    /// What the kernel should hold, sorted by prefix; for a comparison after lost notifications.
    #[must_use]
    pub fn fib(&self) -> Vec<FibUpdate> {
        let v4 = wanted_fib(&self.tables.v4).into_iter().map(|(_, update)| update);
        v4.chain(wanted_fib(&self.tables.v6).into_iter().map(|(_, update)| update)).collect()
    }
}

fn wanted_fib<P: NetPrefix>(family: &FamilyTables<P>) -> Vec<(P, FibUpdate)> {
    let mut wanted: Vec<(P, FibUpdate)> = Vec::new();
    for (_, entry) in family.table.iter() {
        if let Some(next_hops) = &entry.fib {
            let (prefix, next_hops) = (entry.prefix.into(), (**next_hops).clone());
            wanted.push((entry.prefix, FibUpdate::Replace { prefix, next_hops }));
        }
    }
    wanted.sort_unstable_by_key(|it| it.0);
    wanted
}

fn count_installed<P: NetPrefix>(family: &FamilyTables<P>, installed: &mut Installed) {
    for (_, entry) in family.table.iter().filter(|(_, entry)| entry.fib_confirmed) {
        let best = entry.best.as_ref().map(|it| it.source);
        for path in entry.paths.iter() {
            if path.multipath || Some(path.source) == best {
                installed.entry(path.source).or_default()[P::FAMILY] += 1;
            }
        }
    }
}
