//! What BFD means for a session (RFC 5882 §4).

use super::Speaker;
use crate::bfd::{BfdReport, BfdRequest};
use crate::instant::Instant;
use crate::output::{Action, Event as Said};
use crate::peer::Slot;
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
        if !report.failed || peer.session().is_none() {
            return;
        }
        peer.bfd.downs += 1;
        let Some((peer, mut drive)) = self.split(id) else { return };
        let cease = peer.cease(Notification::bfd_down(), true);
        // A connection that the peer opens anew meanwhile may well be its way back.
        let effects = peer.drive(Slot::Established, Event::AutomaticStop(cease), &mut drive);
        self.take_effects(id, effects);
        self.review_peer(id);
    }

    /// Asks for the BFD session of an Established peer, or for what has changed of it.
    pub(super) fn start_bfd(&mut self, id: PeerId, opened: bool) {
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let (Some(config), Some(session), Some(local)) = (peer.config.bfd, peer.session(), peer.local_address()) else {
            return;
        };
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
