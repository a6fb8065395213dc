//! A few different requests in one system call, each with its own answer.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NetlinkSerializable};
use netlink_packet_route::RouteNetlinkMessage;

use crate::Error;
use crate::handle::decode;
use crate::socket::{Batch, Socket};

/// Requests on their way to the kernel. Their numbers count from 0.
#[derive(Default)]
pub(crate) struct Requests {
    batch: Batch,
    names: Vec<(&'static str, String)>,
}

/// What came back, by number of the request.
pub(crate) struct Answers(Vec<Result<Option<RouteNetlinkMessage>, Error>>);

impl Requests {
    /// Appends a request. Later ones are carried out even if this one is refused.
    pub(crate) fn push(
        &mut self,
        operation: &'static str,
        subject: impl ToString,
        message: RouteNetlinkMessage,
        flags: u16,
    ) {
        self.names.push((operation, subject.to_string()));
        let flags = flags | NLM_F_ACK;
        self.batch.push(message.message_type(), flags, message.buffer_len(), |payload| message.serialize(payload));
    }

    /// Carries them out in order.
    pub(crate) fn send(mut self, socket: &mut Socket) -> Result<Answers, Error> {
        let mut answers: Vec<_> = self.names.iter().map(|_| Ok(None)).collect();
        let names = &self.names;
        socket.transact("netlink batch", &mut self.batch, |number, answer| {
            let index = number as usize;
            let (Some(slot), Some((operation, subject))) = (answers.get_mut(index), names.get(index)) else { return };
            *slot = match answer {
                Ok(message) => decode(&message).map(Some).map_err(|source| Error::Decode { operation, source }),
                Err(refusal) => Err(refusal.error(operation, subject)),
            };
        })?;
        Ok(Answers(answers))
    }

    /// The error for a request that was acknowledged without the answer it should have had.
    pub(crate) fn unanswered(operation: &'static str, subject: impl ToString) -> Error {
        Error::Refused {
            operation,
            subject: subject.to_string().into(),
            source: io::Error::from_raw_os_error(libc::ENODEV),
            detail: None,
        }
    }
}

impl Answers {
    /// The answer to one request; once.
    pub(crate) fn take(&mut self, number: usize) -> Result<Option<RouteNetlinkMessage>, Error> {
        self.0.get_mut(number).map_or(Ok(None), |answer| std::mem::replace(answer, Ok(None)))
    }

    /// The first refusal, if any.
    pub(crate) fn all(self) -> Result<(), Error> {
        self.0.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}
