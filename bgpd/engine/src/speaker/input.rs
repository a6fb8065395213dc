//! What sockets report.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BytesMut};

use super::Speaker;
use crate::instant::Instant;
use crate::output::{ConnId, ConnectError, Event as Said};
use crate::peer::{Connection, Slot, Standing, diagnosis};
use crate::rib::PeerId;
use crate::session::Event;
use crate::wire::{Message, MessageKind, RawMessage, decode, frame};

/// Code and subcode of Unsupported Version Number (RFC 4271 §6.2).
const UNSUPPORTED_VERSION: (u8, u8) = (2, 1);
/// Code and subcode of Unsupported Optional Parameter.
const UNSUPPORTED_PARAMETER: (u8, u8) = (2, 4);

impl Speaker {
    /// A dialled connection is up. `local` is our end of it.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, local: SocketAddr) {
        self.at(now);
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some((peer, mut drive)) = self.split(id) else { return };
        if peer.dialer.id != Some(conn) {
            return;
        }
        peer.dialer.local = Some(local.ip());
        peer.dialer.up_at = Some(now);
        let effects = peer.dial_succeeded(&mut drive);
        self.take_effects(id, effects);
        self.review_peer(id);
    }

    /// A dial failed.
    pub fn handle_connect_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.at(now);
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some((peer, mut drive)) = self.split(id) else { return };
        if peer.dialer.id != Some(conn) {
            return;
        }
        peer.forget_connection(Slot::Dialer, &mut drive);
        let effects = peer.drive(Slot::Dialer, Event::TcpConnectionFails, &mut drive);
        self.take_effects(id, effects);
        self.note_connect_error(id, error);
        self.review_peer(id);
    }

    /// Why a peer could not be reached, for status.
    pub(super) fn note_connect_error(&mut self, id: PeerId, error: ConnectError) {
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.diagnosis = Some(diagnosis::of_connect_error(error, peer.config.transport.md5));
        }
    }

    /// A connection was accepted. `None`: close it at once, without a word.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        interface: Option<u32>,
    ) -> Option<ConnId> {
        self.at(now);
        let Some(id) = self.willing_peer(local.ip(), remote.ip(), interface) else {
            self.events.push_back(Said::ConnectionRefused { remote });
            return None;
        };
        let (peer, mut drive) = self.split(id)?;
        let conn = drive.new_conn(id);
        let connection =
            Connection { id: Some(conn), local: Some(local.ip()), up_at: Some(now), ..Connection::default() };
        peer.accept(connection, &mut drive);
        self.review_peer(id);
        Some(conn)
    }

    /// The peer that a connection belongs to, if it wants one.
    fn willing_peer(&self, local: IpAddr, remote: IpAddr, interface: Option<u32>) -> Option<PeerId> {
        let mut found = self.peers.iter().map(|(_, peer)| peer).filter(|peer| {
            let config = &peer.config;
            config.address == remote
                && config.local_address.is_none_or(|it| it == local)
                && (config.interface.is_none() || config.interface == interface)
        });
        let peer = match self.tables.shared.addresses.get(&remote) {
            Some(id) => self.get(*id).filter(|it| it.config.interface.is_none()).or_else(|| found.next()),
            None => found.next(),
        }?;
        let fits = peer.config.local_address.is_none_or(|it| it == local);
        // A peer that restarts gracefully comes back once, and every second of ours is one of its restart time.
        let damped = peer.pause.is_some_and(|it| it.damped) && !peer.retention.is_active();
        (fits && !damped && peer.standing == Standing::Running).then_some(peer.id)
    }

    /// Bytes were received.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        self.at(now);
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some(connection) = self.connection_mut(id, conn) else { return };
        let mut buffer = std::mem::take(&mut connection.buffer);
        if buffer.is_empty() && connection.waiting.is_none() {
            let taken = self.take_messages(id, conn, bytes);
            buffer.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            buffer.extend_from_slice(bytes);
            let taken = self.take_messages(id, conn, &buffer);
            buffer.advance(taken);
        }
        if let Some(connection) = self.connection_mut(id, conn) {
            connection.buffer = buffer;
        }
        self.review_peer(id);
    }

    fn connection_mut(&mut self, id: PeerId, conn: ConnId) -> Option<&mut Connection> {
        let peer = self.peers.get_mut(id.index())?;
        let slot = peer.slot_of(conn)?;
        peer.at_mut(slot)
    }

    /// Handles whole messages in order, as long as the connection lives and need not wait. Returns the octets used up.
    fn take_messages(&mut self, id: PeerId, conn: ConnId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let Some(connection) = self.connection_mut(id, conn) else { return bytes.len() };
            if connection.waiting.is_some() {
                return taken;
            }
            let max_length = connection.max_length();
            match frame(bytes.get(taken..).unwrap_or_default(), max_length) {
                Ok(Some(message)) => {
                    taken += message.length;
                    self.take_message(id, conn, &message);
                }
                Ok(None) => return taken,
                Err(notification) => {
                    self.drive_conn(id, conn, Event::BgpHeaderErr(notification));
                    return bytes.len();
                }
            }
        }
    }

    fn take_message(&mut self, id: PeerId, conn: ConnId, raw: &RawMessage<'_>) {
        if let Some(peer) = self.peers.get_mut(id.index())
            && let Some(count) = peer.received.get_mut(usize::from(raw.kind.code()) - 1)
        {
            *count += 1;
        }
        let event = match decode(raw) {
            Ok(Message::Open(open)) => {
                let Some((peer, mut drive)) = self.split(id) else { return };
                let Some(slot) = peer.slot_of(conn) else { return };
                let effects = peer.receive_open(slot, open, &mut drive);
                self.take_effects(id, effects);
                return;
            }
            Ok(Message::Update(body)) => Event::UpdateMsg(body),
            Ok(Message::Notification(notification)) => {
                let code = (notification.code, notification.subcode);
                if code == UNSUPPORTED_PARAMETER
                    && let Some(peer) = self.peers.get_mut(id.index())
                {
                    // Once, without optional parameters (RFC 5492 §3).
                    peer.plain_open = !peer.plain_open;
                }
                if code == UNSUPPORTED_VERSION {
                    Event::NotifMsgVerErr(notification)
                } else {
                    Event::NotifMsg(notification)
                }
            }
            Ok(Message::Keepalive) => Event::KeepAliveMsg,
            Ok(Message::RouteRefresh(refresh)) => Event::RouteRefreshMsg(refresh),
            Err(notification) if raw.kind == MessageKind::Open => Event::BgpOpenMsgErr(notification),
            Err(notification) => Event::UpdateMsgErr(notification),
        };
        self.drive_conn(id, conn, event);
    }

    /// Feeds an event to the FSM of a connection, wherever it stands by now.
    pub(super) fn drive_conn(&mut self, id: PeerId, conn: ConnId, event: Event<'_>) {
        let Some((peer, mut drive)) = self.split(id) else { return };
        let Some(slot) = peer.slot_of(conn) else { return };
        let effects = peer.drive(slot, event, &mut drive);
        self.take_effects(id, effects);
    }

    /// The socket accepted `count` more bytes.
    pub fn handle_sent(&mut self, now: Instant, conn: ConnId, count: usize) {
        self.at(now);
        self.outbox.accepted(conn, count);
        let Some(id) = self.conns.get(&conn).copied() else { return };
        if let Some(connection) = self.connection_mut(id, conn) {
            connection.state.written(now);
        }
        self.tables.call_attention();
    }

    /// The connection was closed or reset by the peer. Not called for connections that the speaker closed.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.at(now);
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some((peer, mut drive)) = self.split(id) else { return };
        let Some(slot) = peer.slot_of(conn) else { return };
        peer.forget_connection(slot, &mut drive);
        let effects = peer.drive(slot, Event::TcpConnectionFails, &mut drive);
        self.take_effects(id, effects);
        self.review_peer(id);
    }

    /// A connection that waited for a collision goes on: what arrived meanwhile is handled now.
    pub(super) fn resume(&mut self, id: PeerId, conn: ConnId) {
        let Some(connection) = self.connection_mut(id, conn) else { return };
        let mut buffer: BytesMut = std::mem::take(&mut connection.buffer);
        let taken = self.take_messages(id, conn, &buffer);
        buffer.advance(taken);
        if let Some(connection) = self.connection_mut(id, conn) {
            connection.buffer = buffer;
        }
    }
}
