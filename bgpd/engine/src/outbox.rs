//! What goes to the sockets, with the account of what they have not accepted yet.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::output::{Action, ConnId};
use crate::rib::PeerId;
use crate::wire::MessageKind;

/// Most bytes of UPDATEs generated for a connection beyond what its socket accepted; one message may go over. The rest of
/// a backlog is state.
const WINDOW: usize = 256 * 1024;
/// A connection whose window was full is written to again when this little is left of it: few large pieces instead of one
/// for every acknowledgement.
const LOW_WATER: usize = WINDOW / 2;

/// Messages sent by type code minus 1.
pub(crate) type MessageCounts = [u64; 5];

/// Actions in order, and the open connections.
#[derive(Debug)]
pub(crate) struct Outbox {
    actions: VecDeque<Action>,
    links: HashMap<ConnId, Link, FixedState>,
    counts: HashMap<PeerId, MessageCounts, FixedState>,
    /// Connections that got an UPDATE since the list was last taken.
    updated: Vec<ConnId>,
}

#[derive(Debug)]
struct Link {
    peer: PeerId,
    in_flight: usize,
    full: bool,
    updated: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            actions: VecDeque::new(),
            links: HashMap::with_hasher(FixedState::default()),
            counts: HashMap::with_hasher(FixedState::default()),
            updated: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, conn: ConnId, peer: PeerId) {
        self.links.insert(conn, Link { peer, in_flight: 0, full: false, updated: false });
    }

    pub(crate) fn connect(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Queues `count` messages of one kind.
    pub(crate) fn send(&mut self, conn: ConnId, kind: MessageKind, count: usize, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.in_flight += bytes.len();
        link.full |= link.in_flight >= WINDOW;
        if kind == MessageKind::Update && !std::mem::replace(&mut link.updated, true) {
            self.updated.push(conn);
        }
        if let Some(sent) = self.counts.entry(link.peer).or_default().get_mut(usize::from(kind.code()) - 1) {
            *sent += count as u64;
        }
        self.actions.push_back(Action::Send { conn, bytes });
    }

    /// The socket accepted bytes.
    pub(crate) fn accepted(&mut self, conn: ConnId, count: usize) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.in_flight = link.in_flight.saturating_sub(count);
            link.full &= link.in_flight > LOW_WATER;
        }
    }

    /// UPDATEs may be generated for the connection.
    pub(crate) fn has_room(&self, conn: ConnId) -> bool {
        self.links.get(&conn).is_some_and(|link| !link.full)
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        self.links.remove(&conn);
        self.actions.push_back(Action::Close { conn });
    }

    /// The connection is gone already.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.links.remove(&conn);
    }

    pub(crate) fn take_updated(&mut self) -> Vec<ConnId> {
        let updated = std::mem::take(&mut self.updated);
        for conn in &updated {
            if let Some(link) = self.links.get_mut(conn) {
                link.updated = false;
            }
        }
        updated
    }

    pub(crate) fn counts(&self, peer: PeerId) -> MessageCounts {
        self.counts.get(&peer).copied().unwrap_or_default()
    }

    pub(crate) fn forget_peer(&mut self, peer: PeerId) {
        self.counts.remove(&peer);
    }

    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
