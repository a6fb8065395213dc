//! Sessions come and go: what that means for tables, groups and the next attempt.

use std::time::Duration;

use super::Speaker;
use crate::output::{DownReason, Event as Said};
use crate::peer::{Effect, Peer, Slot, Standing, diagnosis};
use crate::prefix::{Family, PerFamily};
use crate::reason::Diagnosis;
use crate::restart::Progress;
use crate::rib::{PeerId, Source};
use crate::session::{Event, Negotiated};
use crate::status::SessionState;
use crate::wire::Notification;

/// Subcodes of Cease after which a peer wants to be left alone for a while: shutdown, de-configured, rejected, out of
/// resources (RFC 4486 §4).
const KEEP_AWAY: [u8; 4] = [2, 3, 5, 8];
const HOLD_TIMER_EXPIRED: u8 = 4;
const CEASE: u8 = 6;
const COLLISION: u8 = 7;

impl Speaker {
    pub(super) fn take_effects(&mut self, id: PeerId, effects: Vec<Effect<'_>>) {
        for effect in effects {
            match effect {
                Effect::Update(body) => self.receive_update(id, body),
                Effect::Refresh(refresh) => self.receive_refresh(id, refresh),
                Effect::Up => self.session_up(id),
                Effect::AwaitBfd(slot) => self.await_bfd(id, slot),
                Effect::Down { slot, from, reason, lost } => self.connection_down(id, (slot, from), reason, lost),
            }
        }
    }

    /// Everything that follows from a change of a peer but is not part of it: waiting connections, events, timers.
    pub(super) fn review_peer(&mut self, id: PeerId) {
        while let Some((slot, effects)) = self.split(id).and_then(|(peer, mut drive)| peer.release_waiting(&mut drive))
        {
            let conn = self.get(id).and_then(|peer| peer.at(slot)).and_then(|it| it.id);
            self.take_effects(id, effects);
            if let Some(conn) = conn {
                self.resume(id, conn);
            }
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let state = peer.state();
        if state != peer.reported {
            let from = std::mem::replace(&mut peer.reported, state);
            peer.since = now;
            self.events.push_back(Said::StateChanged { peer: peer.name.clone(), from, to: state });
        }
        self.index_timers(id);
    }

    fn session_up(&mut self, id: PeerId) {
        let now = self.now;
        let Some((peer, mut drive)) = self.split(id) else { return };
        let Some(session) = peer.session().cloned() else { return };
        let effects = peer.stop_dialing(&mut drive);
        peer.end_of_rib_received = PerFamily::default();
        peer.end_of_rib_sent = PerFamily::default();
        peer.refresh_until = PerFamily::default();
        peer.limits = PerFamily::default();
        peer.ever_established = true;
        let capabilities = &session.capabilities_received;
        let dropped = peer.retention.resume(now, capabilities, &peer.config.graceful_restart);
        let client = peer.config.route_reflector_client && session.internal;
        let former = self.tables.shared.sources.get(id);
        let counts = former.map(|it| it.counts).unwrap_or_default();
        let former_role = former.and_then(|it| it.role);
        let Some(peer) = self.peers.get(id.index()) else { return };
        let source = Source {
            address: peer.config.address,
            kind: peer.config.kind,
            internal: session.internal,
            client,
            local_as: session.local_as,
            identifier: session.peer_identifier,
            calico_local_pref: peer.config.calico_local_pref && session.internal,
            role: session.role.map(|role| (role, session.peer_as)),
            counts,
        };
        let role_changed = source.role != former_role;
        self.tables.shared.sources.set(id, Some(source));
        if role_changed {
            self.judge_again(Some(id));
            self.export_again(id);
        }
        for family in dropped.families() {
            self.drop_stale(id, family);
        }
        for family in session.families.families() {
            self.deferral.session_up(family, now, &self.config);
            self.join_groups(id, family, false);
        }
        self.take_effects(id, effects);
        self.start_bfd(id, Slot::Established, true);
    }

    fn connection_down(
        &mut self,
        id: PeerId,
        (slot, from): (Slot, SessionState),
        reason: DownReason,
        lost: Option<(Box<Negotiated>, Duration)>,
    ) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let collided = is_collision(&reason);
        if lost.is_some() || !matches!(reason, DownReason::ConnectionLost | DownReason::Closed) {
            let (peer, established) = (peer.name.clone(), lost.is_some());
            self.events.push_back(Said::SessionDown { peer, established, reason: reason.clone() });
        }
        if !collided || lost.is_some() {
            note_failure(peer, slot, &reason, lost.as_ref().map(|it| (it.0.hold_time, it.1)));
            let was_up = from >= SessionState::OpenSent;
            if was_up && !is_bad_as(peer, &reason, now) {
                peer.note_error(diagnosis::of_down_reason(&reason), now);
            }
        }
        if let Some((session, _)) = lost {
            self.session_lost(id, &reason, &session);
        }
        if let Some((peer, mut drive)) = self.split(id)
            && peer.standing == Standing::Running
        {
            peer.rest(&mut drive);
        }
    }

    /// Ends the wait for peers after a restart where nothing is left to wait for, and says when kernel routes are to be
    /// swept.
    pub(super) fn review_deferral(&mut self) {
        for family in Family::ALL {
            let peers = self.peers.iter().filter_map(|(_, peer)| progress(peer, family));
            if self.deferral.is_waiting(family) && self.deferral.review(family, self.now, peers) {
                self.tables.call_attention();
                self.events.push_back(Said::SelectionStarted { family });
            }
            let complete = self.deferral.kernel_is_stale(family) && self.everything_was_told(family);
            if self.deferral.take_sweep(family, self.now, complete) {
                self.fib.push_back(crate::output::FibUpdate::Sweep { family });
            }
        }
    }

    /// True if nobody has anything left to say about kernel routes of the former process. A peer that is away or restarts
    /// itself may: selection goes on without it (RFC 4724 §4.1), but what the kernel still forwards to it stays.
    fn everything_was_told(&self, family: Family) -> bool {
        let mut peers = self.peers.iter().filter_map(|(_, peer)| has_told_all(peer, family)).peekable();
        // Peers are configured after the start.
        peers.peek().is_some() && peers.all(|told| told) && !self.tables.shared.next_hops.any_unresolved()
    }

    /// Ends every connection of a peer with a Cease, by command.
    pub(super) fn stop_peer(&mut self, id: PeerId, notification: &Notification, hard: bool) {
        self.end_connections(id, notification, hard, Event::ManualStop);
    }

    /// Ends every connection of a peer with a Cease, by our own decision.
    pub(super) fn stop_peer_automatically(&mut self, id: PeerId, notification: &Notification, hard: bool) {
        self.end_connections(id, notification, hard, Event::AutomaticStop);
    }

    fn end_connections(
        &mut self,
        id: PeerId,
        notification: &Notification,
        hard: bool,
        event: fn(Notification) -> Event<'static>,
    ) {
        for slot in Slot::ALL {
            let Some((peer, mut drive)) = self.split(id) else { return };
            let cease =
                if slot == Slot::Established { peer.cease(notification.clone(), hard) } else { notification.clone() };
            let effects = peer.drive(slot, event(cease), &mut drive);
            self.take_effects(id, effects);
        }
    }
}

fn is_collision(reason: &DownReason) -> bool {
    match reason {
        DownReason::NotificationSent(it) | DownReason::NotificationReceived(it) => {
            it.code == CEASE && it.subcode == COLLISION
        }
        _ => false,
    }
}

/// The diagnosis of a wrong AS number has been made where the number was known.
fn is_bad_as(peer: &Peer, reason: &DownReason, now: crate::instant::Instant) -> bool {
    let bad_as = matches!(reason, DownReason::NotificationSent(it) if (it.code, it.subcode) == (2, 2));
    bad_as && matches!(&peer.last_error, Some((Diagnosis::BadPeerAs { .. }, at)) if *at == now)
}

/// We heard nothing for the hold time.
fn is_hold_timer(reason: &DownReason) -> bool {
    matches!(reason, DownReason::NotificationSent(it) if it.code == HOLD_TIMER_EXPIRED)
}

fn note_failure(peer: &mut Peer, slot: Slot, reason: &DownReason, lost: Option<(u16, Duration)>) {
    let received_cease = match reason {
        DownReason::NotificationReceived(it) => {
            let cause = it.inner().unwrap_or_else(|| it.clone());
            cause.code == CEASE && KEEP_AWAY.contains(&cause.subcode)
        }
        _ => false,
    };
    match (lost, reason) {
        (Some((hold_time, lived)), _) => {
            peer.flaps += 1;
            let hold_time = Duration::from_secs(hold_time.max(1).into());
            // A peer that says nothing after its first KEEPALIVE has not lived for the time that we listened.
            let silence = if is_hold_timer(reason) { hold_time } else { Duration::ZERO };
            peer.damping.failed(Some(lived.saturating_sub(silence)), hold_time);
            if received_cease && !peer.damping.is_damped() {
                peer.damping.asked_to_wait();
            }
        }
        (None, DownReason::ConnectionLost | DownReason::Closed) => {
            if slot == Slot::Dialer {
                peer.dial_failures = peer.dial_failures.saturating_add(1);
            }
        }
        (None, _) => peer.damping.failed(None, Duration::ZERO),
    }
}

/// True if a peer has sent its whole table since our restart. Nobody knows it of a peer that sends no End-of-RIB.
fn has_told_all(peer: &Peer, family: Family) -> Option<bool> {
    progress(peer, family).map(|progress| {
        let unused = peer.session().is_some_and(|it| !it.families[family]);
        progress == Progress::Done && (unused || peer.end_of_rib_received[family])
    })
}

/// How far a peer is after our restart; `None` if the family is not configured with it.
fn progress(peer: &Peer, family: Family) -> Option<Progress> {
    if !peer.config.families.contains(&family) || peer.standing != Standing::Running {
        return None;
    }
    let Some(session) = peer.session().filter(|_| peer.state() == SessionState::Established) else {
        return Some(Progress::Absent);
    };
    let waited_for = session.families[family]
        && session.graceful_restart.as_ref().is_some_and(|it| !it.restarting)
        && !peer.end_of_rib_received[family];
    Some(if waited_for { Progress::Sending } else { Progress::Done })
}
