//! One connection of a peer: its FSM and its bytes.

use std::net::IpAddr;

use bytes::BytesMut;

use crate::instant::Instant;
use crate::output::ConnId;
use crate::session::State;
use crate::wire::OpenMessage;

/// A connection, or the place of the one to be dialled.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// `None` while there is nothing to dial.
    pub(crate) id: Option<ConnId>,
    pub(crate) state: State,
    /// The beginning of a message.
    pub(crate) buffer: BytesMut,
    pub(crate) local: Option<IpAddr>,
    /// When TCP came up.
    pub(crate) up_at: Option<Instant>,
    pub(crate) open_sent: Option<OpenMessage>,
    /// A valid OPEN that waits for a collision to be decided, and until when.
    pub(crate) waiting: Option<(Box<OpenMessage>, Instant)>,
}

impl Connection {
    /// True if a valid OPEN was received.
    pub(crate) fn has_open(&self) -> bool {
        self.waiting.is_some() || self.state.session().is_some()
    }

    /// Longest message that we said we take.
    pub(crate) fn max_length(&self) -> usize {
        let extended = self.open_sent.as_ref().is_some_and(|open| open.capabilities.extended_message);
        if extended { crate::wire::MAX_EXTENDED_LENGTH } else { crate::wire::MAX_LENGTH }
    }
}
