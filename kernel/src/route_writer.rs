//! Many routes at once.
//!
//! One request per system call with an answer each costs ten times what the kernel needs for the route itself. The
//! writer puts hundreds of requests into one `sendmsg` and asks for an acknowledgement of the last only; refusals come
//! back unasked, numbered.

use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::RouteMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::socket::{Batch, Socket};
use crate::{Error, NetNs, Route, route_message};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// A refusal takes up to 1 KiB of the receive buffer, which an unprivileged socket has about 400 KiB of.
const BATCH_MESSAGES: u32 = 256;
const BATCH_BYTES: usize = 128 * 1024;

/// A change of the kernel's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Write the route over the one with the same key ([`Route::key`]), whoever installed that one, in one step.
    Replace(Route),
    /// Delete the route with the key, protocol and kind of this one. That there is none is no failure.
    Delete(Route),
}

impl RouteChange {
    /// The route that is written or deleted.
    pub fn route(&self) -> &Route {
        match self {
            RouteChange::Replace(route) | RouteChange::Delete(route) => route,
        }
    }
}

/// A change that the kernel refused; all others of the same call were made.
#[derive(Debug)]
pub struct Failure {
    /// Position in the list of changes.
    pub index: usize,
    /// Why.
    pub error: Error,
}

/// A blocking writer for long lists of routes: call it from a thread that may block (`spawn_blocking`).
#[derive(Debug)]
pub struct RouteWriter {
    socket: Socket,
    batch: Batch,
}

impl RouteWriter {
    /// A writer for the namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::System`] if the socket cannot be opened.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(NETLINK_ROUTE)?;
        socket.enlarge_buffers()?;
        Ok(RouteWriter { socket, batch: Batch::default() })
    }

    /// A writer for another namespace.
    ///
    /// # Errors
    /// [`Error::Namespace`] if it cannot be entered, [`Error::System`] if the socket cannot be opened.
    pub fn open_in(namespace: &NetNs) -> Result<Self, Error> {
        namespace.run(Self::open)?
    }

    /// Makes the changes in order and returns those that were refused, in order.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Overrun`] if the conversation itself broke down: then it is unknown how far it
    /// got, and writing all of it again is safe.
    pub fn write(&mut self, changes: &[RouteChange]) -> Result<Vec<Failure>, Error> {
        let mut failures = Vec::new();
        let mut start = 0;
        for (index, change) in changes.iter().enumerate() {
            let (kind, flags, message) = match change {
                RouteChange::Replace(route) => {
                    (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route_message::write(route))
                }
                RouteChange::Delete(route) => (RTM_DELROUTE, 0, route_message::delete(route)),
            };
            push(&mut self.batch, kind, flags, &message);
            if self.batch.messages() >= BATCH_MESSAGES || self.batch.bytes() >= BATCH_BYTES {
                self.flush(changes, start, &mut failures)?;
                start = index + 1;
            }
        }
        self.flush(changes, start, &mut failures)?;
        Ok(failures)
    }

    fn flush(&mut self, changes: &[RouteChange], start: usize, failures: &mut Vec<Failure>) -> Result<(), Error> {
        let result = self.socket.transact("write routes", &mut self.batch, |number, answer| {
            let index = start + number as usize;
            let (Some(change), Err(refusal)) = (changes.get(index), answer) else { return };
            let operation = match change {
                RouteChange::Delete(_) if matches!(refusal.errno, libc::ESRCH | libc::ENOENT) => return,
                RouteChange::Delete(_) => "delete route",
                RouteChange::Replace(_) => "replace route",
            };
            failures.push(Failure { index, error: refusal.error(operation, change.route()) });
        });
        self.batch.clear();
        result
    }
}

/// Appends a routing message to a batch.
pub(crate) fn push(batch: &mut Batch, kind: u16, flags: u16, message: &RouteMessage) {
    batch.push(kind, flags, message.buffer_len(), |payload| message.emit(payload));
}
