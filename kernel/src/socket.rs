//! A blocking netlink socket: batches with one system call, dumps without holes.
//!
//! The kernel works through all messages of one `sendmsg` before it returns, and has queued every answer by then. So a
//! batch costs one send and a few receives, whatever its length.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{DecodeError, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::SocketAddr;
use nix::sys::socket::{setsockopt, sockopt};

use crate::Error;

/// The kernel sizes the pieces of a dump by the reader's buffer, and never makes a message larger than 32 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Queue length for answers: one refusal takes about 1 KiB of it.
const SOCKET_BUFFER: usize = 4 << 20;
/// How often an interrupted dump is started again.
const DUMP_ATTEMPTS: u32 = 16;
/// Length of the netlink message header.
pub(crate) const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Messages on their way to the kernel.
///
/// Message numbers count from 0 in the order of the calls of [`Batch::push`].
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: u32,
    last: usize,
}

impl Batch {
    /// Appends a message: `payload_length` bytes that `payload` writes into a zeroed slice.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, payload_length: usize, payload: impl FnOnce(&mut [u8])) {
        let start = self.bytes.len();
        let length = HEADER + payload_length;
        self.bytes.resize(start + length.next_multiple_of(4), 0);
        let message = &mut self.bytes[start..start + length];
        message[0..4].copy_from_slice(&(length as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        message[8..12].copy_from_slice(&self.messages.to_ne_bytes());
        payload(&mut message[HEADER..]);
        self.last = start;
        self.messages += 1;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.messages = 0;
        self.last = 0;
    }
}

/// A request that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: i32,
    pub(crate) detail: Option<Box<str>>,
}

impl Refusal {
    pub(crate) fn error(self, operation: &'static str, subject: impl ToString) -> Error {
        Error::Refused {
            operation,
            subject: subject.to_string().into(),
            source: io::Error::from_raw_os_error(self.errno),
            detail: self.detail,
        }
    }

    /// Reads the body of an `NLMSG_ERROR`; `None` is an acknowledgement. With `NETLINK_CAP_ACK` the attributes follow
    /// the header of the request that is echoed.
    pub(crate) fn parse(flags: u16, body: &[u8]) -> Option<Self> {
        let errno = read_u32(body, 0).map_or(-libc::EPROTO, |code| code as i32);
        if errno == 0 {
            return None;
        }
        let attributes = body.get(4 + HEADER..).filter(|_| flags & NLM_F_ACK_TLVS != 0).unwrap_or_default();
        let detail = Attributes(attributes)
            .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
            .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').into());
        Some(Refusal { errno: errno.saturating_abs(), detail })
    }
}

/// One message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in a datagram; ends at the first one that is cut short.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = read_u32(self.0, 0)? as usize;
        let body = self.0.get(HEADER..length)?;
        let message =
            Message { kind: read_u16(self.0, 4)?, flags: read_u16(self.0, 6)?, sequence: read_u32(self.0, 8)?, body };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes in a message body or a nest: number without flag bits, value.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(read_u16(self.0, 0)?);
        let kind = read_u16(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A blocking netlink socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    /// Sequence number of the first message of the next batch; answers to earlier, abandoned ones are told apart by it.
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of `protocol` (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) with extended acknowledgements and strict
    /// dump requests.
    pub(crate) fn open(protocol: isize) -> Result<Self, Error> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            socket.set_netlink_get_strict_chk(true)?;
            Ok(socket)
        };
        let socket = open().map_err(Error::system("open a netlink socket"))?;
        Ok(Socket { socket, sequence: 1, buffer: Vec::with_capacity(RECEIVE_BUFFER) })
    }

    /// Enlarges both socket buffers as far as the privileges go, for batches of hundreds of messages.
    pub(crate) fn enlarge_buffers(&self) -> Result<(), Error> {
        enlarge_receive_buffer(&self.socket, SOCKET_BUFFER)?;
        if setsockopt(&self.socket, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&self.socket, sockopt::SndBuf, &SOCKET_BUFFER)
                .map_err(|errno| Error::system("set SO_SNDBUF")(errno.into()))?;
        }
        Ok(())
    }

    /// Sends a batch, and calls `answer` with the message number and what came back for it: `Ok` for every message of
    /// an answer, `Err` for a refusal. Acknowledgements are asked for on the last message only and not reported.
    pub(crate) fn transact(
        &mut self,
        operation: &'static str,
        batch: &mut Batch,
        mut answer: impl FnMut(u32, Result<Message<'_>, Refusal>),
    ) -> Result<(), Error> {
        let Some(last) = batch.messages.checked_sub(1) else { return Ok(()) };
        let first = self.sequence;
        self.sequence = first.wrapping_add(batch.messages);
        self.send(operation, batch, first)?;
        loop {
            self.receive(operation)?;
            for message in Messages(&self.buffer) {
                let number = message.sequence.wrapping_sub(first);
                if number > last {
                    continue;
                }
                if message.kind != NLMSG_ERROR {
                    answer(number, Ok(message));
                    continue;
                }
                if let Some(refusal) = Refusal::parse(message.flags, message.body) {
                    answer(number, Err(refusal));
                }
                if number == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends a dump request of one message kind and hands each message of the answer to `take`. When the kernel says
    /// that the table changed meanwhile (`NLM_F_DUMP_INTR`), calls `restart` and starts again.
    pub(crate) fn dump(
        &mut self,
        operation: &'static str,
        kind: u16,
        request: &[u8],
        mut sink: impl DumpSink,
    ) -> Result<(), Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut batch = Batch::default();
            batch.push(kind, NLM_F_DUMP, request.len(), |payload| payload.copy_from_slice(request));
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            self.send(operation, &mut batch, sequence)?;
            sink.restart();
            if self.read_dump(operation, sequence, &mut sink)? {
                return Ok(());
            }
        }
        Err(Error::Interrupted { operation, attempts: DUMP_ATTEMPTS })
    }

    /// Reads one dump to its end; `false` if it was interrupted.
    fn read_dump(&mut self, operation: &'static str, sequence: u32, sink: &mut impl DumpSink) -> Result<bool, Error> {
        let mut consistent = true;
        let mut undecodable = None;
        loop {
            self.receive(operation)?;
            for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    // The body of a DONE starts with the error number, as that of an ERROR does.
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match (Refusal::parse(message.flags, message.body), undecodable) {
                            (Some(refusal), _) => Err(refusal.error(operation, "")),
                            (None, Some(source)) => Err(Error::Decode { operation, source }),
                            (None, None) => Ok(consistent),
                        };
                    }
                    NLMSG_OVERRUN => return Err(Error::Overrun { operation }),
                    // After an error the rest is read all the same, so that the socket is clean for the next request.
                    _ => {
                        if let Err(source) = sink.take(&message) {
                            undecodable.get_or_insert(source);
                        }
                    }
                }
            }
        }
    }

    fn send(&self, operation: &'static str, batch: &mut Batch, first: u32) -> Result<(), Error> {
        let mut at = 0;
        while let Some(length) = read_u32(&batch.bytes, at) {
            if let Some(number) = batch.bytes.get_mut(at + 8..at + 12) {
                let own = u32::from_ne_bytes([number[0], number[1], number[2], number[3]]);
                number.copy_from_slice(&first.wrapping_add(own).to_ne_bytes());
            }
            if let Some(flags) = batch.bytes.get_mut(at + 6..at + 8).filter(|_| at == batch.last) {
                let own = u16::from_ne_bytes([flags[0], flags[1]]);
                let ack = if own & NLM_F_DUMP == NLM_F_DUMP { 0 } else { NLM_F_ACK };
                flags.copy_from_slice(&(own | ack).to_ne_bytes());
            }
            at += (length as usize).next_multiple_of(4);
        }
        let sent = retry(|| self.socket.send(&batch.bytes, 0)).map_err(Error::system(operation))?;
        if sent == batch.bytes.len() {
            Ok(())
        } else {
            Err(Error::system(operation)(io::Error::from(io::ErrorKind::WriteZero)))
        }
    }

    fn receive(&mut self, operation: &'static str) -> Result<(), Error> {
        self.buffer.clear();
        match retry(|| self.socket.recv(&mut self.buffer, 0)) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(Error::Overrun { operation }),
            Err(source) => Err(Error::System { operation, source }),
        }
    }
}

/// Where the messages of a dump go.
pub(crate) trait DumpSink {
    /// Forgets what was taken: the dump starts, or starts again.
    fn restart(&mut self);
    /// Takes one message.
    fn take(&mut self, message: &Message<'_>) -> Result<(), DecodeError>;
}

/// Raises a receive buffer beyond `net.core.rmem_max` where the privileges allow it, else up to it.
pub(crate) fn enlarge_receive_buffer(socket: &impl AsFd, bytes: usize) -> Result<(), Error> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes).map_err(|errno| Error::system("set SO_RCVBUF")(errno.into()))?;
    }
    Ok(())
}

/// Repeats a system call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_of_a_batch_come_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut batch = Batch::default();
            for payload in &payloads {
                batch.push(24, NLM_F_DUMP, payload.len(), |bytes| bytes.copy_from_slice(payload));
            }
            let read: Vec<_> = Messages(&batch.bytes).collect();
            prop_assert_eq!(read.len(), payloads.len());
            for (number, (message, payload)) in read.iter().zip(&payloads).enumerate() {
                prop_assert_eq!(message.body, payload.as_slice());
                prop_assert_eq!((message.kind, message.sequence), (24, number as u32));
                prop_assert_eq!(message.flags, NLM_F_DUMP | NLM_F_REQUEST);
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Messages(&bytes).count() <= bytes.len());
            prop_assert!(Attributes(&bytes).count() <= bytes.len());
            let _ = Refusal::parse(NLM_F_ACK_TLVS, &bytes);
        }
    }

    #[test]
    fn a_refusal_carries_number_and_text() {
        let mut body = (-libc::EINVAL).to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; HEADER]);
        body.extend_from_slice(&[8, 0, NLMSGERR_ATTR_MSG as u8, 0, b'n', b'o', b'!', 0]);
        let refusal = Refusal::parse(NLM_F_ACK_TLVS, &body).expect("a refusal");
        assert_eq!((refusal.errno, refusal.detail.as_deref()), (libc::EINVAL, Some("no!")));
        let error = refusal.error("create", "it").to_string();
        assert_eq!(error, "create it: Invalid argument (os error 22) (no!)");
        body[..4].fill(0);
        assert!(Refusal::parse(NLM_F_ACK_TLVS, &body).is_none());
    }
}
