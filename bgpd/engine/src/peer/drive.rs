//! Runs the FSM of a connection and carries out what it asks for.

use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Connection, Pause, Peer, Standing};
use crate::config::SpeakerConfig;
use crate::instant::Instant;
use crate::outbox::Outbox;
use crate::output::{Action, ConnId, DownReason};
use crate::random::Random;
use crate::rib::PeerId;
use crate::session::{Event, Negotiated, Output, Parameters, State, step};
use crate::status::SessionState;
use crate::wire::{MAX_LENGTH, MessageKind, Notification, RouteRefresh, encode_notification, encode_open, keepalive};

/// Place of a connection in its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Ours to dial.
    Dialer,
    /// Dialled by the peer, not Established.
    Inbound,
    Established,
}

impl Slot {
    pub(crate) const ALL: [Self; 3] = [Self::Dialer, Self::Inbound, Self::Established];

    /// The other place of a connection that is not Established.
    pub(crate) const fn rival(self) -> Self {
        match self {
            Self::Dialer | Self::Established => Self::Inbound,
            Self::Inbound => Self::Dialer,
        }
    }
}

/// What the FSM has for the rest of the speaker.
#[derive(Debug)]
pub(crate) enum Effect<'a> {
    /// The session is Established.
    Up,
    /// A connection ended.
    Down {
        slot: Slot,
        /// The state it was in.
        from: SessionState,
        reason: DownReason,
        /// Terms of the session and how long it lived, if it was Established.
        lost: Option<(Box<Negotiated>, Duration)>,
    },
    /// The connection waits for BFD.
    AwaitBfd(Slot),
    Update(&'a [u8]),
    Refresh(RouteRefresh),
}

/// The parts of the speaker that a connection needs.
pub(crate) struct Drive<'d> {
    pub(crate) now: Instant,
    pub(crate) random: &'d mut Random,
    pub(crate) outbox: &'d mut Outbox,
    pub(crate) speaker: &'d SpeakerConfig,
    pub(crate) conns: &'d mut HashMap<ConnId, PeerId, FixedState>,
    pub(crate) next_conn: &'d mut u64,
}

impl Drive<'_> {
    pub(crate) fn new_conn(&mut self, peer: PeerId) -> ConnId {
        *self.next_conn += 1;
        let conn = ConnId(*self.next_conn);
        self.conns.insert(conn, peer);
        self.outbox.open(conn, peer);
        conn
    }
}

/// What a connection was, in case it ends.
struct Ending {
    from: SessionState,
    max_length: usize,
    /// Terms of the session, if it was Established.
    lost: Option<Box<Negotiated>>,
}

/// Events that cannot end an Established session, and are many.
const fn is_harmless(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::UpdateMsg(_) | Event::KeepAliveMsg | Event::KeepaliveTimerExpires | Event::RouteRefreshMsg(_)
    )
}

impl Peer {
    /// Feeds an event to the FSM of a connection.
    pub(crate) fn drive<'a>(&mut self, slot: Slot, event: Event<'a>, drive: &mut Drive<'_>) -> Vec<Effect<'a>> {
        let connect_retry = self.connect_retry();
        let verified = self.bfd.last.is_some_and(|it| it.lets_pass());
        let Self { dialer, inbound, established, config, .. } = self;
        let connection = match slot {
            Slot::Dialer => Some(dialer),
            Slot::Inbound => inbound.as_mut(),
            Slot::Established => established.as_mut(),
        };
        let Some(connection) = connection else { return Vec::new() };
        let Connection { state, open_sent, .. } = connection;
        let before = std::mem::take(state);
        let lost = match &before {
            State::Established { session, .. } if !is_harmless(&event) => Some(session.clone()),
            _ => None,
        };
        let ending = Ending {
            from: before.name(),
            max_length: before.session().map_or(MAX_LENGTH, |it| it.send.max_length),
            lost,
        };
        let ours = open_sent.as_ref();
        let negotiate = |theirs: &_| Negotiated::new(ours.unwrap_or(theirs), theirs, config);
        let mut parameters = Parameters {
            connect_retry,
            passive: config.passive,
            verified,
            negotiate: &negotiate,
            random: drive.random,
        };
        let (after, outputs) = step(before, event, drive.now, &mut parameters);
        *state = after;
        let mut effects = Vec::new();
        for output in outputs {
            self.carry_out(slot, output, &ending, drive, &mut effects);
        }
        self.tidy(slot);
        effects
    }

    fn carry_out<'a>(
        &mut self,
        slot: Slot,
        output: Output<'a>,
        ending: &Ending,
        drive: &mut Drive<'_>,
        effects: &mut Vec<Effect<'a>>,
    ) {
        match output {
            Output::Dial => self.dial(slot, drive),
            Output::Drop => self.drop_connection(slot, drive),
            Output::SendOpen => {
                let open = self.our_open(drive.speaker);
                self.send(slot, MessageKind::Open, encode_open(&open), drive);
                if let Some(connection) = self.at_mut(slot) {
                    connection.open_sent = Some(open);
                }
            }
            Output::SendKeepalive => self.send(slot, MessageKind::Keepalive, keepalive(), drive),
            Output::SendNotification(notification) => {
                let bytes = encode_notification(&notification, ending.max_length);
                self.send(slot, MessageKind::Notification, bytes, drive);
            }
            Output::AwaitBfd => effects.push(Effect::AwaitBfd(slot)),
            Output::CountRetry => self.connect_retry_counter += 1,
            Output::ZeroRetries => self.connect_retry_counter = 0,
            Output::Up => {
                self.become_established(slot, drive);
                effects.push(Effect::Up);
            }
            Output::Down(reason) => {
                let lived = self.established_at.map(|at| drive.now - at).unwrap_or_default();
                let lost = ending.lost.clone().map(|session| (session, lived));
                effects.push(Effect::Down { slot, from: ending.from, reason, lost });
            }
            Output::Update(body) => effects.push(Effect::Update(body)),
            Output::Refresh(refresh) => effects.push(Effect::Refresh(refresh)),
        }
    }

    fn send(&self, slot: Slot, kind: MessageKind, bytes: bytes::Bytes, drive: &mut Drive<'_>) {
        if let Some(conn) = self.at(slot).and_then(|it| it.id) {
            drive.outbox.send(conn, kind, 1, bytes);
        }
    }

    fn dial(&mut self, slot: Slot, drive: &mut Drive<'_>) {
        let conn = drive.new_conn(self.id);
        if let Some(connection) = self.at_mut(slot) {
            connection.id = Some(conn);
        }
        drive.outbox.connect(Action::Connect {
            conn,
            peer: self.name.clone(),
            local: self.config.local_address,
            remote: self.config.socket_address(),
            interface: self.config.interface,
            transport: self.config.transport,
        });
    }

    fn drop_connection(&mut self, slot: Slot, drive: &mut Drive<'_>) {
        let Some(connection) = self.at_mut(slot) else { return };
        if let Some(conn) = connection.id.take() {
            drive.outbox.close(conn);
            drive.conns.remove(&conn);
        }
        let state = std::mem::take(&mut connection.state);
        *connection = Connection { state, ..Connection::default() };
    }

    /// The socket is gone already: nothing is left to close.
    pub(crate) fn forget_connection(&mut self, slot: Slot, drive: &mut Drive<'_>) {
        if let Some(conn) = self.at_mut(slot).and_then(|it| it.id.take()) {
            drive.outbox.forget(conn);
            drive.conns.remove(&conn);
        }
    }

    /// Ends a connection that has sent no OPEN, or need not explain itself.
    pub(crate) fn drop_quietly(&mut self, slot: Slot, drive: &mut Drive<'_>) {
        self.drop_connection(slot, drive);
        if let Some(connection) = self.at_mut(slot) {
            connection.state = State::Idle;
        }
        self.tidy(slot);
    }

    fn become_established(&mut self, slot: Slot, drive: &mut Drive<'_>) {
        self.established = match slot {
            Slot::Dialer => Some(std::mem::take(&mut self.dialer)),
            Slot::Inbound => self.inbound.take(),
            Slot::Established => self.established.take(),
        };
        self.established_at = Some(drive.now);
        self.pause = None;
    }

    /// A place for a connection that the peer dialled, or that is Established, ends with it.
    fn tidy(&mut self, slot: Slot) {
        let over = self.at(slot).is_some_and(|it| it.id.is_none() || it.state == State::Idle);
        match slot {
            Slot::Inbound if over => self.inbound = None,
            Slot::Established if over => {
                self.established = None;
                self.established_at = None;
            }
            _ => {}
        }
    }

    /// Starts the dialer if nothing speaks against it.
    pub(crate) fn start(&mut self, manual: bool, drive: &mut Drive<'_>) {
        let idle = self.dialer.state == State::Idle && self.established.is_none() && self.pause.is_none();
        if !idle || self.standing != Standing::Running {
            return;
        }
        let event = match (manual, self.config.passive) {
            (true, false) => Event::ManualStart,
            (true, true) => Event::ManualStartWithPassiveTcpEstablishment,
            (false, false) => Event::AutomaticStart,
            (false, true) => Event::AutomaticStartWithPassiveTcpEstablishment,
        };
        self.drive(Slot::Dialer, event, drive);
    }

    /// The dialer is Idle: sets the time of its next start.
    pub(crate) fn rest(&mut self, drive: &mut Drive<'_>) {
        if self.dialer.state.name() != SessionState::Idle || self.established.is_some() {
            return;
        }
        let span = match (self.damping.is_damped(), self.dial_failures) {
            (false, 1..) => self.connect_retry(),
            _ => self.damping.idle_hold(),
        };
        let until = drive.now + drive.random.jitter(span);
        self.pause = Some(Pause { until, damped: self.damping.is_damped() });
    }

    /// A Cease in the form that the session calls for: hard ones are wrapped where both sides set the N bit (RFC 8538 §3).
    pub(crate) fn cease(&self, notification: Notification, hard: bool) -> Notification {
        if hard && self.session().is_some_and(|it| it.notification_restart) {
            Notification::hard_reset(&notification)
        } else {
            notification
        }
    }
}
