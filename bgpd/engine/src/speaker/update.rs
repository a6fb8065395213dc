//! What an UPDATE or a ROUTE-REFRESH of a peer does to the tables.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Speaker;
use super::tables::{FamilyTables, Shared};
use crate::config::{LimitAction, PeerKind, PrefixLimit};
use crate::output::Event as Said;
use crate::peer::{Peer, Slot, Standing};
use crate::policy::{Filtering, Importer, admit};
use crate::prefix::{Family, NetPrefix};
use crate::reason::{Diagnosis, Refusal, Why};
use crate::rib::{Attributes, Path, PeerId, Staleness};
use crate::session::Event;
use crate::wire::{
    MessageKind, NextHop, Notification, Outcome, PathAttributes, Reach, RefreshKind, RouteRefresh, Update,
    decode_update, encode_route_refresh,
};

/// Bound of a refresh that never ends.
const REFRESH_BOUND: Duration = Duration::from_secs(360);

/// What one UPDATE did besides changing tables.
#[derive(Debug, Default)]
struct Tally {
    refusals: Vec<Refusal>,
    /// New prefixes that the limit kept out.
    blocked: u32,
}

/// One peer's side of an UPDATE.
struct Applying<'a> {
    id: PeerId,
    name: &'a str,
    kind: PeerKind,
    /// Interface of a link-local session.
    interface: Option<u32>,
    importer: &'a Importer,
    limit: PrefixLimit,
    tally: Tally,
}

impl Speaker {
    pub(super) fn receive_update(&mut self, id: PeerId, body: &[u8]) {
        let Some(session) = self.get(id).and_then(Peer::session) else { return };
        let update = match decode_update(body, &session.receive) {
            Ok(update) => update,
            Err(notification) => {
                let Some((peer, mut drive)) = self.split(id) else { return };
                let effects = peer.drive(Slot::Established, Event::UpdateMsgErr(notification), &mut drive);
                self.take_effects(id, effects);
                return;
            }
        };
        if !update.errors.is_empty() {
            self.note_update_errors(id, &update, body);
        }
        self.apply(id, update);
    }

    fn note_update_errors(&mut self, id: PeerId, update: &Update, body: &[u8]) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        if update.treat_as_withdraw {
            peer.update_errors.1 += 1;
        } else {
            peer.update_errors.0 += 1;
        }
        self.events.push_back(Said::UpdateError {
            peer: peer.name.clone(),
            outcome: update.errors.iter().map(|it| it.outcome).max().unwrap_or(Outcome::Discard),
            errors: update.errors.clone(),
            raw: Bytes::copy_from_slice(body),
        });
    }

    fn apply(&mut self, id: PeerId, update: Update) {
        let received = update.attributes.map(|it| (self.tables.shared.interner.intern(&it), it));
        let Some(peer) = self.peers.get(id.index()) else { return };
        let Some(importer) = self.importer(peer) else { return };
        let mut applying = Applying {
            id,
            name: &peer.name,
            kind: peer.config.kind,
            interface: peer.config.interface,
            importer: &importer,
            limit: peer.config.limit,
            tally: Tally::default(),
        };
        let shared = &mut self.tables.shared;
        applying.apply(update.v4, received.as_ref(), &mut self.tables.v4, shared);
        let blocked_v4 = std::mem::take(&mut applying.tally.blocked);
        applying.apply(update.v6, received.as_ref(), &mut self.tables.v6, shared);
        let Tally { refusals, blocked } = applying.tally;
        if let Some(peer) = self.peers.get_mut(id.index()) {
            for refusal in refusals {
                if let Some(count) = peer.refusals.get_mut(refusal.index()) {
                    *count += 1;
                }
            }
        }
        self.review_limit(id, Family::Ipv4Unicast, blocked_v4);
        self.review_limit(id, Family::Ipv6Unicast, blocked);
        if let Some(family) = update.end_of_rib {
            self.receive_end_of_rib(id, family);
        }
    }

    /// What import depends on for a peer with a session, or with routes left of one.
    pub(super) fn importer(&self, peer: &Peer) -> Option<Importer> {
        let source = self.tables.shared.sources.get(peer.id)?;
        Some(Importer {
            kind: peer.config.kind,
            policy: peer.config.import,
            internal: source.internal,
            filter: peer.config.filters.import.clone(),
            allow_own_as: peer.config.allow_own_as,
            prepends: peer.config.local_as_prepend.inbound
                && !source.internal
                && source.local_as != self.config.local_as,
            speaker_as: self.config.local_as,
            local_as: source.local_as,
            role: source.role,
            router_id: self.config.router_id,
            cluster_id: self.config.cluster_id.unwrap_or(self.config.router_id),
            local_address: peer.local_address(),
        })
    }

    fn receive_end_of_rib(&mut self, id: PeerId, family: Family) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        peer.end_of_rib_received[family] = true;
        self.events.push_back(Said::EndOfRib { peer: peer.name.clone(), family });
        if peer.retention.end(family) {
            self.drop_stale(id, family);
        }
    }

    /// RFC 2918, RFC 7313.
    pub(super) fn receive_refresh(&mut self, id: PeerId, refresh: RouteRefresh) {
        let now = self.now;
        let Some(family) = refresh.family() else { return };
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let Some(session) = peer.session().filter(|it| it.families[family]) else { return };
        let (enhanced, restarts) = (session.enhanced_route_refresh, session.graceful_restart.is_some());
        match refresh.kind {
            RefreshKind::Request | RefreshKind::Filter => self.resend_family(id, family),
            RefreshKind::Begin if enhanced => {
                // Before End-of-RIB it would mark what a restart has yet to refresh (RFC 7313 §4).
                if !restarts || peer.end_of_rib_received[family] {
                    peer.refresh_until[family] = Some(now + REFRESH_BOUND);
                    self.mark_unrefreshed(id, family);
                }
            }
            RefreshKind::End if enhanced => {
                if peer.refresh_until[family].take().is_some() {
                    self.drop_unrefreshed(id, family);
                    if let Some(peer) = self.get(id).map(|it| it.name.clone()) {
                        self.events.push_back(Said::EndOfRib { peer, family });
                    }
                }
            }
            RefreshKind::Begin | RefreshKind::End | RefreshKind::Unknown(_) => {}
        }
    }

    fn mark_unrefreshed(&mut self, id: PeerId, family: Family) {
        let mark = |path: &mut Path| {
            path.unrefreshed |= path.source == id;
            false
        };
        match family {
            Family::Ipv4Unicast => self.tables.v4.table.revise(|_, path| mark(path)),
            Family::Ipv6Unicast => self.tables.v6.table.revise(|_, path| mark(path)),
        }
    }

    /// Asks a peer for a family again. False if it cannot.
    pub(super) fn ask_for_refresh(&mut self, id: PeerId, family: Family) -> bool {
        let Some(peer) = self.get(id) else { return false };
        let Some(session) = peer.session().filter(|it| it.route_refresh && it.families[family]) else { return false };
        debug_assert!(session.families[family], "only negotiated families are asked for");
        let Some(conn) = peer.established.as_ref().and_then(|it| it.id) else { return false };
        let bytes = encode_route_refresh(&RouteRefresh::new(family, RefreshKind::Request));
        self.outbox.send(conn, MessageKind::RouteRefresh, 1, bytes);
        true
    }

    /// Warns, blocks, or ends the session (RFC 4271 §6.7).
    fn review_limit(&mut self, id: PeerId, family: Family, blocked: u32) {
        let now = self.now;
        let held = self.tables.shared.sources.counts(id, family).received;
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let PrefixLimit { max, warn_percent, action } = peer.config.limit;
        let state = &mut peer.limits[family];
        let name = peer.name.clone();
        let near = u64::from(held) * 100 >= u64::from(max) * u64::from(warn_percent);
        if near && !std::mem::replace(&mut state.warned, near) {
            self.events.push_back(Said::PrefixLimitNear { peer: name.clone(), family, held, max });
        }
        state.warned = near;
        let exceeded = held > max || blocked > 0;
        if !exceeded {
            // Below the bound again: what was kept out may come in now.
            if state.exceeded && held < max {
                state.exceeded = false;
                self.ask_for_refresh(id, family);
            }
            return;
        }
        if !std::mem::replace(&mut state.exceeded, true) {
            self.events.push_back(Said::PrefixLimitExceeded { peer: name, family, max, action });
        }
        let until = match action {
            LimitAction::Warn | LimitAction::Block => return,
            LimitAction::Down => None,
            LimitAction::Restart(time) => Some(now + time),
        };
        peer.standing = Standing::Stopped(Diagnosis::PrefixLimit, until);
        self.stop_peer_automatically(id, &Notification::maximum_prefixes_reached(family, max), true);
    }
}

impl Applying<'_> {
    /// Withdrawals first, then announcements (RFC 4271 §4.3).
    fn apply<P: NetPrefix>(
        &mut self,
        reach: Reach<P>,
        received: Option<&(Attributes, PathAttributes)>,
        family: &mut FamilyTables<P>,
        shared: &mut Shared,
    ) {
        for nlri in &reach.withdrawn {
            let path_id = nlri.path_id.unwrap_or(0);
            family.table.remove(&nlri.prefix, self.id, path_id, &mut shared.sources, &mut shared.next_hops);
        }
        let (Some(next_hop), Some((attributes, received))) = (reach.next_hop, received) else { return };
        if reach.announced.is_empty() {
            return;
        }
        let as_received = received.local_pref.unwrap_or(0);
        let admitted = admit(received, &next_hop, self.importer, &shared.guards);
        let adapted = self.importer.adapt(received);
        let adapted = adapted.map(|it| (shared.interner.intern_changed(&it, attributes), it));
        let (before_filter, value) = adapted.as_ref().map_or((attributes, received), |it| (&it.0, &it.1));
        let Importer { filter, internal, .. } = self.importer;
        let mut filtering = admitted
            .as_ref()
            .ok()
            .and_then(|local_pref| Filtering::new(&filter[P::FAMILY], *internal, before_filter, value, *local_pref));
        let hop = shared.next_hops.id(next_hop, self.interface_of(&next_hop));
        for nlri in &reach.announced {
            let path_id = nlri.path_id.unwrap_or(0);
            if self.is_beyond_limit::<P>(family, shared, &nlri.prefix, path_id) {
                self.tally.blocked += 1;
                self.tally.refusals.push(Refusal::PrefixLimit);
                continue;
            }
            let judged = admitted.and_then(|local_pref| {
                match (shared.guards.judge(nlri.prefix, self.kind, self.name), &mut filtering) {
                    (Some(refusal), _) => Err(refusal),
                    (None, Some(filtering)) => filtering.judge(nlri.prefix.into(), &mut shared.interner),
                    (None, None) => Ok((before_filter.clone(), local_pref)),
                }
            });
            let refusal = judged.as_ref().err().copied();
            self.tally.refusals.extend(refusal);
            let (attributes, local_pref) = judged.unwrap_or_else(|_| (attributes.clone(), as_received));
            let path = Path {
                source: self.id,
                path_id,
                attributes,
                local_pref,
                next_hop: Some(hop),
                why: refusal.map_or(Why::Undecided, Why::Refused),
                multipath: false,
                staleness: Staleness::Fresh,
                unrefreshed: false,
            };
            family.table.insert(nlri.prefix, path, &mut shared.sources, &mut shared.next_hops);
        }
    }

    fn interface_of(&self, next_hop: &NextHop) -> Option<u32> {
        self.interface.filter(|_| matches!(next_hop.address(), IpAddr::V6(_)))
    }

    /// With action `block`, new prefixes beyond the bound stay out.
    fn is_beyond_limit<P: NetPrefix>(
        &self,
        family: &FamilyTables<P>,
        shared: &Shared,
        prefix: &P,
        path_id: u32,
    ) -> bool {
        self.limit.action == LimitAction::Block
            && shared.sources.counts(self.id, P::FAMILY).received >= self.limit.max
            && !family.table.holds(prefix, self.id, path_id)
    }
}
