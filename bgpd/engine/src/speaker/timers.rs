//! Timers of all peers, and what their expiry does.

use super::Speaker;
use crate::instant::Instant;
use crate::output::{ConnectError, Event as Said};
use crate::peer::{Slot, Standing};
use crate::prefix::Family;
use crate::rib::PeerId;
use crate::session::Event;
use crate::status::SessionState;

/// Timers of one peer that may expire at once, at most; more would be a loop.
const AT_ONCE: usize = 64;

impl Speaker {
    /// The time of [`Speaker::poll_timeout`] has come. Before this, hand over what the sockets already hold: a late
    /// process must not blame the peer.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.at(now);
        self.expire_origins();
        let mut due = Vec::new();
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, id));
            if let Some(peer) = self.peers.get_mut(id.index()) {
                peer.timer = None;
            }
            due.push(id);
        }
        for id in due {
            for _ in 0..AT_ONCE {
                if self.get(id).and_then(|peer| peer.deadline()).is_none_or(|at| at > now) {
                    break;
                }
                self.expire(id);
            }
            self.review_peer(id);
        }
        self.review_transition();
    }

    /// Notes when a peer wants to be woken. An earlier entry stays: waking for nothing is cheaper than moving it with
    /// every message.
    pub(super) fn index_timers(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let Some(deadline) = peer.deadline() else { return };
        if peer.timer.is_some_and(|at| at <= deadline) {
            return;
        }
        if let Some(at) = peer.timer.replace(deadline) {
            self.timers.remove(&(at, id));
        }
        self.timers.insert((deadline, id));
    }

    /// Fires the timers of a peer that are due.
    fn expire(&mut self, id: PeerId) {
        let now = self.now;
        for slot in Slot::ALL {
            let Some((peer, mut drive)) = self.split(id) else { return };
            let due = peer.at(slot).and_then(|it| it.state.deadline()).filter(|it| it.0 <= now);
            if let Some((_, event)) = due {
                let gave_up = event == Event::ConnectRetryTimerExpires
                    && peer.at(slot).is_some_and(|it| it.state.name() == SessionState::Connect);
                let effects = peer.drive(slot, event, &mut drive);
                self.take_effects(id, effects);
                if gave_up {
                    self.note_connect_error(id, ConnectError::TimedOut);
                }
            }
        }
        self.expire_pause(id);
        self.expire_retention(id);
        self.expire_refresh(id);
        self.review_peer(id);
    }

    fn expire_pause(&mut self, id: PeerId) {
        let now = self.now;
        let Some((peer, mut drive)) = self.split(id) else { return };
        if matches!(peer.standing, Standing::Stopped(_, Some(until)) if until <= now) {
            peer.standing = Standing::Running;
            peer.pause = None;
            peer.start(false, &mut drive);
        }
        if peer.pause.is_some_and(|it| it.until <= now) {
            peer.pause = None;
            // A connection of the peer that is under way is given its time.
            let under_way = peer.inbound.as_ref().is_some_and(|it| it.state.name() >= SessionState::OpenSent);
            if under_way {
                peer.rest(&mut drive);
            } else {
                peer.start(false, &mut drive);
            }
        }
    }

    fn expire_refresh(&mut self, id: PeerId) {
        for family in Family::ALL {
            let now = self.now;
            let Some(peer) = self.peers.get_mut(id.index()) else { return };
            if peer.refresh_until[family].is_some_and(|until| until <= now) {
                peer.refresh_until[family] = None;
                self.drop_unrefreshed(id, family);
            }
        }
    }

    /// Removes what a peer did not announce again in a refresh (RFC 7313 §4).
    pub(super) fn drop_unrefreshed(&mut self, id: PeerId, family: Family) {
        let routes = self.tables.purge(family, id, |path| path.unrefreshed);
        if let Some(peer) = self.get(id).filter(|_| routes > 0) {
            self.events.push_back(Said::StaleRemoved { peer: peer.name.clone(), family, routes });
        }
    }
}
