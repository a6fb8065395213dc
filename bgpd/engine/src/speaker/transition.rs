//! Make before break: what others may still rely upon does not end with the word that ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Speaker;
use super::tables::FamilyTables;
use crate::config::{PeerConfig, PeerKind};
use crate::instant::Instant;
use crate::peer::{Peer, Slot, Standing};
use crate::prefix::NetPrefix;
use crate::reason::{Diagnosis, Why};
use crate::restart::kept_families;
use crate::rib::{Path, PeerId, Staleness};
use crate::wire::Notification;

/// How often it is looked whether a peer can go.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is still to happen.
#[derive(Debug, Default)]
pub(super) struct Transition {
    /// Peers that go once nothing is lost with them, and when at the latest.
    retiring: BTreeMap<PeerId, Instant>,
    /// When to see whether they can.
    look_at: Option<Instant>,
    /// What peers will be, and when.
    pending: BTreeMap<PeerId, (Instant, PeerConfig)>,
}

impl Transition {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|it| it.0).chain(self.look_at).min()
    }

    /// A peer is no more.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.retiring.remove(&id);
        self.pending.remove(&id);
    }
}

impl Speaker {
    /// As [`Speaker::set_peer`], but what other nodes of the cluster may still rely upon ends only after `linger`: that
    /// routes are reflected to this peer and from it (RFC 4456), and that a former reflector may announce what a reflector
    /// may.
    pub fn set_peer_gently(&mut self, now: Instant, config: PeerConfig, linger: Duration) {
        let id = self.names.get(config.name.as_str()).copied();
        let known = id.and_then(|id| Some((id, &self.get(id)?.config)));
        let Some((id, former)) = known.filter(|_| !linger.is_zero()) else { return self.set_peer(now, config) };
        let mut interim = config.clone();
        interim.route_reflector_client |= former.route_reflector_client;
        if former.kind == PeerKind::Reflector && config.kind.is_cluster() && config.kind != former.kind {
            interim.kind = former.kind;
            interim.limit = former.limit;
        }
        self.set_peer(now, interim.clone());
        if interim != config {
            self.transition.pending.insert(id, (now + linger, config));
        }
    }

    /// Removes a peer as soon as nothing is lost with it: when every route that it gave us and that could be used has
    /// another usable path, from a peer that stays, and after `bound` at the latest. Until then its session, if it is
    /// Established, goes on as it was; a new one is neither sought nor accepted. [`Speaker::set_peer`] takes it back.
    ///
    /// The peer may not have got so far: where graceful restart was negotiated the session ends in a way that lets it keep
    /// our routes for a while (RFC 4724 §4.2, RFC 8538 §3). After `bound` it ends for good (Cease 6/3).
    pub fn retire_peer(&mut self, now: Instant, name: &str, bound: Duration) {
        self.at(now);
        let Some(id) = self.names.get(name).copied() else { return };
        if self.transition.retiring.contains_key(&id) {
            return;
        }
        self.transition.pending.remove(&id);
        self.transition.retiring.insert(id, now + bound);
        self.transition.look_at.get_or_insert(now + LOOK_EVERY);
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.standing = Standing::Stopped(Diagnosis::Retiring, None);
            peer.pause = None;
        }
        if let Some((peer, mut drive)) = self.split(id) {
            [Slot::Dialer, Slot::Inbound].into_iter().for_each(|slot| peer.drop_quietly(slot, &mut drive));
        }
        self.review_peer(id);
    }

    /// Names of the peers that are about to go, sorted.
    #[must_use]
    pub fn retiring(&self) -> Vec<&str> {
        let retiring = self.names.iter().filter(|(_, id)| self.transition.retiring.contains_key(id));
        retiring.map(|(name, _)| name.as_ref()).collect()
    }

    /// What a peer was to become does not count any more.
    pub(super) fn forget_pending(&mut self, name: &str) {
        if let Some(id) = self.names.get(name) {
            self.transition.pending.remove(id);
        }
    }

    /// A peer that was to go is wanted again.
    pub(super) fn take_back(&mut self, id: PeerId) {
        if self.transition.retiring.remove(&id).is_some()
            && let Some((peer, mut drive)) = self.split(id)
        {
            peer.standing = Standing::configured(&peer.config);
            peer.start(true, &mut drive);
            self.review_peer(id);
        }
    }

    /// Does what is due.
    pub(super) fn review_transition(&mut self) {
        let now = self.now;
        let due: Vec<PeerId> =
            self.transition.pending.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
        for id in due {
            if let Some((_, config)) = self.transition.pending.remove(&id) {
                self.set_peer(now, config);
            }
        }
        if self.transition.look_at.is_none_or(|at| at > now) {
            return;
        }
        let needed = self.needed();
        let ends: Vec<(PeerId, Instant)> = self.transition.retiring.iter().map(|(id, until)| (*id, *until)).collect();
        for (id, until) in ends {
            let Some(name) = self.get(id).map(|peer| peer.name.clone()) else { continue };
            if !needed.contains(&id) {
                self.part_from(id);
                self.remove_peer(now, &name);
            } else if until <= now {
                self.remove_peer(now, &name);
            }
        }
        self.transition.look_at = (!self.transition.retiring.is_empty()).then(|| now + LOOK_EVERY);
    }

    /// The retiring peers that have the only usable path to something.
    fn needed(&self) -> BTreeSet<PeerId> {
        let mut needed = BTreeSet::new();
        self.note_needed(&self.tables.v4, &mut needed);
        self.note_needed(&self.tables.v6, &mut needed);
        needed
    }

    fn note_needed<P: NetPrefix>(&self, family: &FamilyTables<P>, needed: &mut BTreeSet<PeerId>) {
        let retiring = |path: &Path| self.transition.retiring.contains_key(&path.source);
        for (_, entry) in family.table.iter() {
            let usable = || entry.paths.iter().filter(|path| !matches!(path.why, Why::Refused(_)));
            if !usable().any(|path| path.staleness == Staleness::Fresh && !retiring(path)) {
                needed.extend(usable().filter(|path| retiring(path)).map(|path| path.source));
            }
        }
    }

    /// Ends the session so that the peer keeps our routes for a while, if it can.
    fn part_from(&mut self, id: PeerId) {
        let Some(session) = self.get(id).and_then(Peer::session) else { return };
        let kept = kept_families(session);
        if !(kept.v4 || kept.v6) {
            return;
        }
        if session.notification_restart {
            self.stop_peer_automatically(id, &Notification::peer_deconfigured(), false);
        } else if let Some((peer, mut drive)) = self.split(id) {
            peer.drop_quietly(Slot::Established, &mut drive);
            self.tables.leave(id);
        }
    }
}
