//! What the shell wants.

use std::net::{IpAddr, Ipv4Addr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Speaker;
use crate::config::{Guards, PeerConfig};
use crate::instant::Instant;
use crate::output::{Reachability, Shutdown};
use crate::peer::{Peer, Slot, Standing};
use crate::policy::{CompiledGuards, Filtering, Importer, admit};
use crate::prefix::{Family, NetPrefix};
use crate::reason::{Diagnosis, Refusal, Why};
use crate::rib::{Attributes, Interner, NextHopId, Path, PeerId, Staleness};
use crate::wire::{NextHop, Notification};

impl Speaker {
    /// Adds a peer or changes one. Only what OPEN negotiates, its addresses or its transport reset its session (Cease
    /// 6/6); everything else changes live.
    pub fn set_peer(&mut self, now: Instant, config: PeerConfig) {
        self.at(now);
        self.forget_pending(&config.name);
        match self.names.get(config.name.as_str()).copied() {
            None => self.add_peer(config),
            Some(id) => {
                self.take_back(id);
                self.change_peer(id, config);
            }
        }
    }

    fn add_peer(&mut self, config: PeerConfig) {
        let slot = self.peers.vacant_entry();
        let id = PeerId(slot.key() as u32);
        let peer = slot.insert(Peer::new(id, config, self.now));
        self.names.insert(peer.name.clone(), id);
        self.index_address(id);
        if let Some((peer, mut drive)) = self.split(id) {
            peer.start(true, &mut drive);
        }
        self.review_peer(id);
    }

    fn change_peer(&mut self, id: PeerId, config: PeerConfig) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        if peer.config == config {
            return;
        }
        // A session that stands does not ask where it was dialled, nor what it waited for before it stood.
        let strict = |config: &PeerConfig| config.bfd.is_some_and(|it| it.strict);
        let before = (peer.config.port, strict(&peer.config)) != (config.port, strict(&config));
        let resets = (before && peer.session().is_none()) || needs_reset(&peer.config, &config);
        let was_down = peer.config.shutdown.is_some();
        if let Some(reason) = config.shutdown.as_ref().filter(|_| !was_down) {
            self.stand_down(id);
            self.stop_peer(id, &Notification::administrative_shutdown(reason), true);
            self.stop_bfd(id);
        }
        if resets {
            self.stop_peer(id, &Notification::other_configuration_change(), false);
        }
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let former = std::mem::replace(&mut peer.config, config);
        let config = &peer.config;
        let imports = former.import != config.import
            || former.filters.import != config.filters.import
            || former.kind != config.kind
            || former.local_as_prepend != config.local_as_prepend
            || former.allow_own_as != config.allow_own_as;
        let names_it = (former.address, former.interface) != (config.address, config.interface);
        let (client, kind) = (config.route_reflector_client, config.kind);
        let calico = config.calico_local_pref;
        let bfd = (former.bfd != config.bfd).then_some(config.bfd);
        let resumes = was_down && config.shutdown.is_none();
        if let Some(source) = self.tables.shared.sources.get_mut(id) {
            source.kind = kind;
            source.client = client && source.internal;
            source.calico_local_pref = calico && source.internal;
        }
        if names_it {
            self.tables.shared.addresses.retain(|_, it| *it != id);
            self.index_address(id);
        }
        if resets || resumes {
            self.restart_peer(id);
        } else {
            for family in Family::ALL {
                let used = self.get(id).and_then(Peer::session).is_some_and(|it| it.families[family]);
                if used {
                    self.join_groups(id, family, true);
                }
            }
        }
        match bfd {
            Some(None) => self.stop_bfd(id),
            Some(Some(_)) => self.start_bfd(id, Slot::Established, false),
            None => {}
        }
        if imports {
            self.judge_again(Some(id));
        }
        if former.kind != kind || former.route_reflector_client != client || former.calico_local_pref != calico {
            self.export_again(id);
        }
        self.review_peer(id);
    }

    fn index_address(&mut self, id: PeerId) {
        if let Some(peer) = self.get(id) {
            let address = peer.config.address;
            self.tables.shared.addresses.insert(address, id);
        }
    }

    /// No session is started any more.
    fn stand_down(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.standing = Standing::Stopped(Diagnosis::AdminDown, None);
            peer.pause = None;
        }
    }

    fn restart_peer(&mut self, id: PeerId) {
        if let Some((peer, mut drive)) = self.split(id)
            && peer.config.shutdown.is_none()
        {
            peer.standing = Standing::Running;
            peer.pause = None;
            peer.damping.clear();
            peer.dial_failures = 0;
            peer.start(true, &mut drive);
        }
    }

    /// Removes a peer: Cease 6/3, its routes go.
    pub fn remove_peer(&mut self, now: Instant, name: &str) {
        self.at(now);
        let Some(id) = self.names.remove(name) else { return };
        self.transition.forget(id);
        self.stop_peer(id, &Notification::peer_deconfigured(), true);
        self.stop_bfd(id);
        self.review_peer(id);
        for family in Family::ALL {
            self.tables.purge(family, id, |_| true);
        }
        self.tables.shared.sources.set(id, None);
        self.tables.shared.addresses.retain(|_, it| *it != id);
        if let Some(peer) = self.peers.try_remove(id.index())
            && let Some(at) = peer.timer
        {
            self.timers.remove(&(at, id));
        }
        self.outbox.forget_peer(id);
        // Nothing may refer to the peer once its number is given to another.
        self.settle();
    }

    /// Resets a session (Cease 6/4) with a text for the peer's operator; lets a peer that was down for its prefix limit
    /// try again. False if there is no such peer.
    pub fn reset_peer(&mut self, now: Instant, name: &str, reason: &str) -> bool {
        self.at(now);
        let Some(id) = self.names.get(name).copied() else { return false };
        self.stop_peer(id, &Notification::administrative_reset(reason), false);
        self.restart_peer(id);
        self.review_peer(id);
        true
    }

    /// Asks a peer for its routes again (RFC 2918). False if there is no such peer, or it cannot.
    pub fn request_refresh(&mut self, now: Instant, name: &str) -> bool {
        self.at(now);
        let Some(id) = self.names.get(name).copied() else { return false };
        let asked = Family::ALL.map(|family| self.ask_for_refresh(id, family));
        asked.contains(&true)
    }

    /// Sends a peer its whole table again. False if there is no such peer, or no session.
    pub fn resend(&mut self, now: Instant, name: &str) -> bool {
        self.at(now);
        let Some(id) = self.names.get(name).copied() else { return false };
        if self.get(id).and_then(Peer::session).is_none() {
            return false;
        }
        for family in Family::ALL {
            self.resend_family(id, family);
        }
        true
    }

    /// Tells the import guards about the node and the cluster.
    pub fn set_guards(&mut self, now: Instant, guards: Guards) {
        self.at(now);
        self.tables.shared.guards = CompiledGuards::new(guards);
        self.judge_again(None);
        // Which prefixes are installed depends on the guards too.
        self.tables.v4.table.revise(|_, _| true);
        self.tables.v6.table.revise(|_, _| true);
    }

    /// Changes the cluster id as a route reflector; `None`: the BGP Identifier (RFC 4456 §7). Sessions stay: what is
    /// reflected goes out again with the new one.
    pub fn set_cluster_id(&mut self, now: Instant, cluster_id: Option<Ipv4Addr>) {
        self.at(now);
        if std::mem::replace(&mut self.config.cluster_id, cluster_id) == cluster_id {
            return;
        }
        self.judge_again(None);
        let ids: Vec<PeerId> = self.names.values().copied().collect();
        ids.into_iter().for_each(|id| self.export_again(id));
    }

    /// The cluster id, as it was set.
    #[must_use]
    pub const fn cluster_id(&self) -> Option<Ipv4Addr> {
        self.config.cluster_id
    }

    /// Judges stored paths anew, of one peer or of all.
    pub(super) fn judge_again(&mut self, only: Option<PeerId>) {
        let mut judges: HashMap<PeerId, Judge, FixedState> = HashMap::with_hasher(FixedState::default());
        for (_, peer) in &self.peers {
            if only.is_none_or(|id| id == peer.id)
                && let Some(importer) = self.importer(peer)
            {
                let name = peer.name.clone();
                judges.insert(peer.id, Judge { importer, name, last: None });
            }
        }
        judge_family(&mut judges, &mut self.tables.v4, &mut self.tables.shared);
        judge_family(&mut judges, &mut self.tables.v6, &mut self.tables.shared);
    }

    /// What is sent of a peer's routes depends on what it is to us.
    pub(super) fn export_again(&mut self, id: PeerId) {
        self.tables.v4.export_again(id);
        self.tables.v6.export_again(id);
    }

    /// How a next hop is reached, or `None` if it is not.
    pub fn set_reachability(&mut self, now: Instant, next_hop: IpAddr, reachability: Option<Reachability>) {
        self.at(now);
        self.next_hops_changed |= self.tables.shared.next_hops.set(next_hop, reachability);
    }

    /// Turns [`crate::Event::RouteChanged`] on or off.
    pub const fn watch_routes(&mut self, on: bool) {
        self.watch_routes = on;
    }

    /// Says that we are about to go, or takes it back: what leads through us carries GRACEFUL_SHUTDOWN, and LOCAL_PREF 0
    /// towards internal peers, so that traffic finds another way while this one still works (RFC 8326 §4). Sessions stay;
    /// [`Speaker::shutdown`] ends them once the peers have had time.
    pub fn drain(&mut self, now: Instant, on: bool) {
        self.at(now);
        self.draining = on;
        let ids: Vec<PeerId> = self.names.values().copied().collect();
        for id in ids {
            for family in Family::ALL {
                if self.get(id).and_then(Peer::session).is_some_and(|it| it.families[family]) {
                    self.join_groups(id, family, true);
                }
            }
        }
    }

    /// Ends every session. Poll the last actions afterwards.
    pub fn shutdown(&mut self, now: Instant, how: Shutdown) {
        self.at(now);
        let ids: Vec<PeerId> = self.names.values().copied().collect();
        for id in ids {
            self.stand_down(id);
            match &how {
                Shutdown::Administrative { reason } => {
                    self.stop_peer(id, &Notification::administrative_shutdown(reason), true);
                }
                Shutdown::Planned => {
                    let Some((peer, mut drive)) = self.split(id) else { continue };
                    Slot::ALL.into_iter().for_each(|slot| peer.drop_quietly(slot, &mut drive));
                    self.tables.leave(id);
                }
            }
            // Behind BGP: its end must not look like a failure of the path under a session.
            self.stop_bfd(id);
            self.review_peer(id);
        }
    }
}

/// What only a new OPEN, or a new connection, can change.
fn needs_reset(former: &PeerConfig, config: &PeerConfig) -> bool {
    former.address != config.address
        || former.local_address != config.local_address
        || former.interface != config.interface
        || former.remote_as != config.remote_as
        || former.local_as != config.local_as
        || former.families != config.families
        || former.hold_time != config.hold_time
        || former.keepalive_time != config.keepalive_time
        || former.send_hold_time != config.send_hold_time
        || former.passive != config.passive
        || former.enforce_first_as != config.enforce_first_as
        || former.reject_as_sets != config.reject_as_sets
        || former.graceful_restart != config.graceful_restart
        || former.long_lived_restart != config.long_lived_restart
        || former.role != config.role
        || former.strict_role != config.strict_role
        || former.add_path.mode() != config.add_path.mode()
        || former.transport != config.transport
}

/// A peer's import, with the last verdict on attributes.
struct Judge {
    importer: Importer,
    name: std::sync::Arc<str>,
    last: Option<Verdict>,
}

/// What import says of attributes and a next hop, whatever the prefix.
struct Verdict {
    received: Attributes,
    /// The same before any filter.
    adapted: Attributes,
    hop: NextHopId,
    admitted: Result<u32, Refusal>,
    filtering: Option<Filtering>,
}

impl Importer {
    fn verdict<P: NetPrefix>(
        &self,
        received: &Attributes,
        hop: NextHopId,
        next_hop: &NextHop,
        guards: &CompiledGuards,
        interner: &mut Interner,
    ) -> Verdict {
        let value = received.value();
        let admitted = admit(&value, next_hop, self, guards);
        let (adapted, value) = match self.adapt(&value) {
            Some(changed) => (interner.intern_changed(&changed, received), changed),
            None => (received.clone(), value),
        };
        let rules = &self.filter[P::FAMILY];
        let filtering = admitted.ok().and_then(|it| Filtering::new(rules, self.internal, &adapted, &value, it));
        Verdict { received: received.clone(), adapted, hop, admitted, filtering }
    }
}

fn judge_family<P: NetPrefix>(
    judges: &mut HashMap<PeerId, Judge, FixedState>,
    family: &mut super::tables::FamilyTables<P>,
    shared: &mut super::tables::Shared,
) {
    let super::tables::Shared { next_hops, sources, guards, interner, .. } = shared;
    family.table.revise(|prefix, path: &mut Path| {
        let (Some(judge), Some(hop)) = (judges.get_mut(&path.source), path.next_hop) else { return false };
        let received = path.attributes.received().clone();
        if !judge.last.as_ref().is_some_and(|it| it.received == received && it.hop == hop) {
            let Some(next_hop) = next_hops.get(hop) else { return false };
            judge.last = Some(judge.importer.verdict::<P>(&received, hop, &next_hop, guards, interner));
        }
        let Some(verdict) = &mut judge.last else { return false };
        let judged = verdict.admitted.and_then(|local_pref| {
            match (guards.judge(*prefix, judge.importer.kind, &judge.name), &mut verdict.filtering) {
                (Some(refusal), _) => Err(refusal),
                (None, Some(filtering)) => filtering.judge((*prefix).into(), interner),
                (None, None) => Ok((verdict.adapted.clone(), local_pref)),
            }
        });
        let refusal = judged.as_ref().err().copied();
        let as_received = received.summary().local_pref.unwrap_or(0);
        let (mut attributes, local_pref) = judged.unwrap_or((received, as_received));
        if refusal.is_none() && path.staleness == Staleness::LongLived {
            attributes = interner.intern_long_lived(&attributes);
        }
        if local_pref == path.local_pref && refusal == path.refusal() && attributes == path.attributes {
            return false;
        }
        path.attributes = attributes;
        if let Some(counts) = sources.counts_mut(path.source, P::FAMILY) {
            counts.rejected = counts.rejected + u32::from(refusal.is_some()) - u32::from(path.refusal().is_some());
        }
        path.local_pref = local_pref;
        path.why = refusal.map_or(Why::Undecided, Why::Refused);
        true
    });
}
