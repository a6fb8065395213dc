//! What BFD means for a session (RFC 5882 §4).

use super::Speaker;
use crate::bfd::{BfdReport, BfdRequest};
use crate::instant::Instant;
use crate::output::{Action, Event as Said};
use crate::peer::{Connection, Slot};
use crate::reason::Diagnosis;
use crate::rib::PeerId;
use crate::session::Event;
use crate::wire::Notification;

impl Speaker {
    /// A BFD session that was asked for changed its state. When the path failed, an Established session ends at once: Cease
    /// 6/10 (RFC 9384), a Hard Reset where the peer knows it (RFC 8538 §3.1), so that neither side keeps the other's routes.
    /// Without a session nothing ends: a peer that restarts gracefully is expected to go Down, as long as its BFD shares
    /// the fate of its control plane (RFC 5882 §4.3.2.1), and ours does.
    pub fn handle_bfd(&mut self, now: Instant, peer: &str, report: BfdReport) {
        self.at(now);
        let Some(id) = self.names.get(peer).copied() else { return };
        let Some(peer) = self.peers.get_mut(id.index()).filter(|peer| peer.bfd.running) else { return };
        peer.bfd.last = Some(report);
        self.events.push_back(Said::BfdChanged { peer: peer.name.clone(), report });
        if report.lets_pass() {
            self.let_pass(id);
        }
        if report.failed {
            self.end_unverified(id);
        }
        let Some(peer) = self.peers.get_mut(id.index()).filter(|peer| report.failed && peer.session().is_some()) else {
            self.review_peer(id);
            return;
        };
        peer.bfd.downs += 1;
        let Some((peer, mut drive)) = self.split(id) else { return };
        let cease = peer.cease(Notification::bfd_down(), true);
        // A connection that the peer opens anew meanwhile may well be its way back.
        let effects = peer.drive(Slot::Established, Event::AutomaticStop(cease), &mut drive);
        self.take_effects(id, effects);
        self.review_peer(id);
    }

    /// A connection goes no further before BFD is up (draft-ietf-idr-bgp-bfd-strict-mode).
    pub(super) fn await_bfd(&mut self, id: PeerId, slot: Slot) {
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.diagnosis = Some(Diagnosis::BfdDown);
        }
        self.start_bfd(id, slot, true);
    }

    /// Connections that wait for BFD go on.
    fn let_pass(&mut self, id: PeerId) {
        for slot in Slot::ALL {
            let Some((peer, mut drive)) = self.split(id) else { return };
            let effects = peer.drive(slot, Event::BfdUp, &mut drive);
            self.take_effects(id, effects);
        }
    }

    /// BFD was up and is not any more: connections that would not have come this far without it end.
    fn end_unverified(&mut self, id: PeerId) {
        for slot in [Slot::Dialer, Slot::Inbound] {
            let Some((peer, mut drive)) = self.split(id) else { return };
            if peer.at(slot).and_then(|it| it.state.session()).is_some_and(|it| it.bfd_strict) {
                let effects = peer.drive(slot, Event::AutomaticStop(Notification::bfd_down()), &mut drive);
                self.take_effects(id, effects);
            }
        }
    }

    /// Asks for the BFD session of a peer that has sent a good OPEN, or for what has changed of it.
    pub(super) fn start_bfd(&mut self, id: PeerId, slot: Slot, opened: bool) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let Some(config) = peer.config.bfd else { return };
        let place = |connection: &Connection| Some((connection.state.session()?.clone(), connection.local?));
        let Some((session, local)) = peer.at(slot).and_then(place) else { return };
        let restarted = session.capabilities_received.graceful_restart.as_ref().is_some_and(|it| it.restarting);
        let request = BfdRequest {
            peer: peer.name.clone(),
            local,
            remote: peer.config.address,
            interface: peer.config.interface,
            config,
            peer_restarted: opened && restarted,
        };
        peer.bfd.running = true;
        self.outbox.connect(Action::StartBfd(request));
    }

    /// Ends the BFD session of a peer, if there is one: administratively, which is no failure at the other end.
    pub(super) fn stop_bfd(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        if std::mem::take(&mut peer.bfd.running) {
            peer.bfd.last = None;
            self.outbox.connect(Action::StopBfd { peer: peer.name.clone() });
        }
    }
}
