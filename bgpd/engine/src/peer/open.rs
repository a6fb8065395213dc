//! OPENs: ours, what we demand of the peer's, and what a valid one does to the other connections.

use std::time::Duration;

use super::{Connection, Drive, Effect, Peer, Slot};
use crate::collision::{Contender, Speaker, Verdict, judge, ours_wins};
use crate::config::{RemoteAs, SpeakerConfig};
use crate::prefix::Family;
use crate::reason::Diagnosis;
use crate::restart::kept_families;
use crate::session::{Event, State};
use crate::status::SessionState;
use crate::wire::{
    AddPathMode, Capabilities, ExpectedAs, GracefulRestart, LongLivedFamily, OpenExpectation, OpenMessage, Role,
};

/// How long a connection with a valid OPEN waits for one that must win but is mute.
const COLLISION_WAIT: Duration = Duration::from_secs(5);
/// Largest restart time that fits its field.
const MAX_RESTART_TIME: u64 = 4095;
/// Largest long-lived stale time that fits its field.
const MAX_STALE_TIME: u64 = 0xff_ffff;

impl Peer {
    /// Our OPEN.
    pub(crate) fn our_open(&self, speaker: &SpeakerConfig) -> OpenMessage {
        let (local_as, hold_time) = (self.local_as(speaker.local_as), self.config.hold_time);
        if self.plain_open {
            return OpenMessage::without_capabilities(local_as, hold_time, speaker.router_id);
        }
        let link_local = matches!(self.config.address, std::net::IpAddr::V6(it) if it.is_unicast_link_local());
        let capabilities = Capabilities {
            families: self.config.families.clone(),
            route_refresh: true,
            enhanced_route_refresh: true,
            extended_message: true,
            extended_next_hop: self.config.families.contains(&Family::Ipv4Unicast),
            link_local_next_hop: link_local,
            bfd_strict_mode: self.config.bfd.is_some_and(|it| it.strict),
            graceful_restart: self.our_restart(speaker),
            add_path: self.our_add_path(),
            long_lived_graceful_restart: self.our_long_lived(speaker),
            roles: self.role(speaker.local_as).map(Role::code).into_iter().collect(),
            ..Capabilities::default()
        };
        OpenMessage::new(local_as, hold_time, speaker.router_id, capabilities)
    }

    /// Our role towards it; none inside our AS (RFC 9234 §3.1).
    fn role(&self, speaker_as: u32) -> Option<Role> {
        let internal = match self.config.remote_as {
            RemoteAs::Exactly(as_number) => as_number == self.local_as(speaker_as),
            RemoteAs::Internal => true,
            RemoteAs::External => false,
        };
        self.config.role.filter(|_| !internal)
    }

    fn our_add_path(&self) -> Vec<(Family, AddPathMode)> {
        let mode = self.config.add_path.mode();
        self.config.families.iter().filter_map(|family| Some((*family, mode?))).collect()
    }

    fn our_restart(&self, speaker: &SpeakerConfig) -> Option<GracefulRestart> {
        let config = &self.config.graceful_restart;
        // A lost connection harms no forwarding; only a restart may.
        let forwarding = |family| self.ever_established || speaker.forwarding_preserved[family];
        config.enabled.then(|| GracefulRestart {
            restarting: speaker.restarted && !self.told_end_of_rib,
            notification: true,
            time: config.restart_time.as_secs().min(MAX_RESTART_TIME) as u16,
            families: self.config.families.iter().map(|family| (*family, forwarding(*family))).collect(),
        })
    }

    fn our_long_lived(&self, speaker: &SpeakerConfig) -> Option<Vec<LongLivedFamily>> {
        let family = |family: &Family| {
            let stale_time = self.config.long_lived_restart[*family]?.stale_time.as_secs();
            Some(LongLivedFamily {
                family: *family,
                forwarding: self.ever_established || speaker.forwarding_preserved[*family],
                stale_time: stale_time.min(MAX_STALE_TIME) as u32,
            })
        };
        let families: Vec<LongLivedFamily> = self.config.families.iter().filter_map(family).collect();
        Some(families).filter(|it| !it.is_empty() && self.config.graceful_restart.enabled)
    }

    fn expectation(&self, speaker: &SpeakerConfig) -> OpenExpectation {
        OpenExpectation {
            remote_as: match self.config.remote_as {
                RemoteAs::Exactly(as_number) => ExpectedAs::Number(as_number),
                RemoteAs::Internal => ExpectedAs::Internal,
                RemoteAs::External => ExpectedAs::External,
            },
            local_as: self.local_as(speaker.local_as),
            local_identifier: speaker.router_id,
            minimum_hold_time: 0,
            families: self.config.families.clone(),
            required: Capabilities::default(),
            role: self.role(speaker.local_as),
            strict_role: self.config.strict_role,
        }
    }

    /// An OPEN arrived: judges it, resolves collisions (RFC 4271 §6.8) and hands it to the FSM.
    pub(crate) fn receive_open<'a>(
        &mut self,
        slot: Slot,
        open: Box<OpenMessage>,
        drive: &mut Drive<'_>,
    ) -> Vec<Effect<'a>> {
        let awaits_it = |it: &Connection| it.state.name() == SessionState::OpenSent && it.state.session().is_none();
        if !self.at(slot).is_some_and(awaits_it) {
            return self.drive(slot, Event::BgpOpen(open), drive);
        }
        if let Err(notification) = open.check(&self.expectation(drive.speaker)) {
            if (notification.code, notification.subcode) == (2, 2) {
                let expected = match self.config.remote_as {
                    RemoteAs::Exactly(as_number) => as_number,
                    RemoteAs::Internal => self.local_as(drive.speaker.local_as),
                    RemoteAs::External => 0,
                };
                self.note_error(Diagnosis::BadPeerAs { expected, got: open.as_number }, drive.now);
            }
            return self.drive(slot, Event::BgpOpenMsgErr(notification), drive);
        }
        self.dial_failures = 0;
        self.plain_open = false;
        let mut effects = Vec::new();
        if self.established.is_some() {
            if !self.replaces_established(slot, &open, drive) {
                return self.drive(slot, Event::OpenCollisionDump, drive);
            }
            effects = self.drive(Slot::Established, Event::TcpConnectionFails, drive);
        }
        match self.judge_collision(slot, &open, drive) {
            Verdict::Proceed => {}
            Verdict::DumpNew => {
                effects.extend(self.drive(slot, Event::OpenCollisionDump, drive));
                return effects;
            }
            Verdict::DumpOther => effects.extend(self.drive(slot.rival(), Event::OpenCollisionDump, drive)),
            Verdict::Wait => {
                if let Some(connection) = self.at_mut(slot) {
                    connection.waiting = Some((open, drive.now + COLLISION_WAIT));
                }
                return effects;
            }
        }
        effects.extend(self.drive(slot, Event::BgpOpen(open), drive));
        effects
    }

    fn speakers(&self, open: &OpenMessage, drive: &Drive<'_>) -> (Speaker, Speaker) {
        let local_as = self.local_as(drive.speaker.local_as);
        let local = Speaker { identifier: drive.speaker.router_id, as_number: local_as };
        (local, Speaker { identifier: open.bgp_identifier, as_number: open.as_number })
    }

    /// True if the Established session is lost at the peer, which dials anew (RFC 4724 §5). A connection that came up
    /// before that session was established is the remainder of a collision and is judged as one.
    fn replaces_established(&self, slot: Slot, open: &OpenMessage, drive: &Drive<'_>) -> bool {
        let Some(session) = self.session() else { return false };
        let kept = kept_families(session);
        let same = session.peer_identifier == open.bgp_identifier && session.peer_as == open.as_number;
        if !same || !(kept.v4 || kept.v6) {
            return false;
        }
        let newer = self.at(slot).and_then(|it| it.up_at) > self.established_at;
        let (local, remote) = self.speakers(open, drive);
        newer || (slot == Slot::Dialer) == ours_wins(local, remote)
    }

    fn judge_collision(&self, slot: Slot, open: &OpenMessage, drive: &Drive<'_>) -> Verdict {
        let Some(other) = self.at(slot.rival()) else { return Verdict::Proceed };
        let ours = slot == Slot::Dialer;
        let new = Contender { ours, state: SessionState::OpenSent, has_open: true };
        let other = Contender { ours: !ours, state: other.state.name(), has_open: other.has_open() };
        let (local, remote) = self.speakers(open, drive);
        judge(new, other, local, remote)
    }

    /// A dial succeeded. It comes too late if the peer's own connection is further.
    pub(crate) fn dial_succeeded<'a>(&mut self, drive: &mut Drive<'_>) -> Vec<Effect<'a>> {
        let rival_is_further =
            self.established.is_some() || self.inbound.as_ref().is_some_and(|it| it.state.session().is_some());
        if rival_is_further {
            self.drop_quietly(Slot::Dialer, drive);
            return Vec::new();
        }
        self.drive(Slot::Dialer, Event::TcpCrAcked, drive)
    }

    /// Takes a connection of the peer in. A mute older one makes room.
    pub(crate) fn accept(&mut self, connection: Connection, drive: &mut Drive<'_>) {
        if self.inbound.is_some() {
            self.drive(Slot::Inbound, Event::OpenCollisionDump, drive);
        }
        self.inbound = Some(Connection { state: State::Active { retry: None }, ..connection });
        self.drive(Slot::Inbound, Event::TcpConnectionConfirmed, drive);
    }

    /// Lets a waiting connection go on once its rival is gone, or when it has waited long enough.
    pub(crate) fn release_waiting<'a>(&mut self, drive: &mut Drive<'_>) -> Option<(Slot, Vec<Effect<'a>>)> {
        let slot = [Slot::Dialer, Slot::Inbound]
            .into_iter()
            .find(|slot| self.at(*slot).is_some_and(|it| it.waiting.is_some()))?;
        let until = self.at(slot)?.waiting.as_ref()?.1;
        let rival = self.at(slot.rival()).map(|it| it.state.name()).unwrap_or_default();
        let mut effects = Vec::new();
        if matches!(rival, SessionState::OpenSent | SessionState::OpenConfirm) {
            if drive.now < until {
                return None;
            }
            effects = self.drive(slot.rival(), Event::OpenCollisionDump, drive);
        }
        let (open, _) = self.at_mut(slot)?.waiting.take()?;
        effects.extend(self.drive(slot, Event::BgpOpen(open), drive));
        Some((slot, effects))
    }

    /// The session is Established: other attempts of ours end.
    pub(crate) fn stop_dialing<'a>(&mut self, drive: &mut Drive<'_>) -> Vec<Effect<'a>> {
        match self.dialer.state.name() {
            SessionState::Idle => Vec::new(),
            SessionState::OpenSent | SessionState::OpenConfirm => {
                self.drive(Slot::Dialer, Event::OpenCollisionDump, drive)
            }
            _ => {
                self.drop_quietly(Slot::Dialer, drive);
                Vec::new()
            }
        }
    }
}
