//! The table `inet tortie` in the kernel: transactions and dumps.

use std::io;

use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_sys::{Socket, SocketAddr};
use nft::{Batch, Change, Decoder, Name, Ruleset, request};
use nix::sys::socket::{setsockopt, sockopt};

use crate::Error;
use crate::socket::{Message, Messages, Refusal};

/// `NETLINK_NETFILTER`
const PROTOCOL: isize = 12;
/// The kernel sizes the pieces of a dump by the reader's buffer: a small one makes dumps of big sets quadratic.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Room for answers: one refusal takes about 1 KiB, and a batch may have many.
const RECEIVE_QUEUE: usize = 4 << 20;
/// How often an interrupted dump is started again.
const DUMP_ATTEMPTS: u32 = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// The table `inet tortie` of the network namespace in which the handle was opened.
///
/// Calls block, but only while the kernel works: it answers within the system call. A transaction of one element takes
/// microseconds, one of 10 000 elements some 10 ms.
#[derive(Debug)]
pub struct NfTables {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    send_buffer: usize,
}

/// What became of a transaction.
#[derive(Debug)]
#[must_use]
pub enum Commit {
    /// All changes are in force, from one packet to the next.
    Done,
    /// Nothing was changed, because the kernel refused some of the changes.
    Refused(Vec<RefusedChange>),
    /// Nothing was changed, or it is unknown whether: somebody else changed the ruleset at the same time, or the answer
    /// was lost. List and diff again.
    Stale,
}

/// A change that the kernel refused.
#[derive(Debug)]
pub struct RefusedChange {
    /// Its index in the changes of the transaction; `None` when the kernel refused the transaction as a whole.
    pub change: Option<usize>,
    /// The kernel's error number.
    pub source: io::Error,
    /// The text of its extended acknowledgement, where it gave one.
    pub detail: Option<Box<str>>,
}

/// What one dump gave.
enum Dump {
    Whole,
    /// The kernel says that it may have holes.
    Interrupted,
    /// What was asked about is not there.
    Absent,
}

impl NfTables {
    /// Opens a handle in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(PROTOCOL)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // Every answer is queued before the request returns: an empty queue means that there is none.
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(Error::system("open an nf_tables socket"))?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_QUEUE).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_QUEUE)
                .map_err(|errno| Error::system("set SO_RCVBUF")(errno.into()))?;
        }
        Ok(Self { socket, sequence: 1, buffer: Vec::with_capacity(RECEIVE_BUFFER), send_buffer: 0 })
    }

    /// Makes all changes in one transaction.
    ///
    /// # Errors
    /// When the kernel could not be talked to. That it refused a change is an answer.
    pub fn commit(&mut self, changes: &[Change]) -> Result<Commit, Error> {
        let batch = nft::encode(changes);
        let Some(last) = batch.last_sequence() else { return Ok(Commit::Done) };
        self.reserve(batch.as_bytes().len())?;
        self.send("commit to nf_tables", batch.as_bytes())?;
        let mut refused = Vec::new();
        let mut lost = false;
        let mut acknowledged = false;
        // The answers of a failed transaction come after the answer to its frame, so all are read.
        loop {
            match self.receive("commit to nf_tables") {
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::Overrun { .. }) => {
                    lost = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for message in Messages(&self.buffer).filter(|message| message.kind == NLMSG_ERROR) {
                match Refusal::parse(message.flags, message.body) {
                    None => acknowledged |= message.sequence == last,
                    Some(refusal) => refused.push(refused_change(&batch, message.sequence, refusal)),
                }
            }
            if acknowledged && refused.is_empty() {
                break;
            }
        }
        let stale = |refused: &RefusedChange| {
            matches!(refused.source.raw_os_error(), Some(libc::EAGAIN | libc::ERESTART | libc::EINTR))
        };
        Ok(match (refused.is_empty(), acknowledged && !lost) {
            (true, true) => Commit::Done,
            (true, false) => Commit::Stale,
            (false, _) if refused.iter().any(stale) => Commit::Stale,
            (false, _) => Commit::Refused(refused),
        })
    }

    /// The table as it is; empty if there is none.
    ///
    /// # Errors
    /// When the kernel could not be talked to, or others changed rulesets during each of several dumps.
    pub fn list(&mut self) -> Result<Ruleset, Error> {
        const OPERATION: &str = "list nf_tables";
        for _ in 0..DUMP_ATTEMPTS {
            let before = self.generation()?;
            let mut decoder = Decoder::default();
            if self.dump_table(&mut decoder)? && self.generation()? == before {
                return Ok(decoder.finish());
            }
        }
        Err(Error::Interrupted { operation: OPERATION, attempts: DUMP_ATTEMPTS })
    }

    /// The number of the ruleset's generation. Every transaction in this network namespace raises it by one, of this
    /// table or another, ours or not: as long as it went up by our own commits only, the table is as we left it.
    ///
    /// # Errors
    /// When the kernel could not be talked to.
    pub fn generation(&mut self) -> Result<u32, Error> {
        const OPERATION: &str = "read the nf_tables generation";
        let sequence = self.next_sequence();
        self.send(OPERATION, &request::generation(sequence))?;
        while self.receive(OPERATION)? {
            for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                if let Some(generation) = nft::generation(message.kind, message.body) {
                    return Ok(generation);
                }
                if let Some(refusal) = refusal_of(&message) {
                    return Err(refusal.error(OPERATION, nft::TABLE));
                }
            }
        }
        Err(Error::system(OPERATION)(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Whether the dump has no holes.
    fn dump_table(&mut self, decoder: &mut Decoder) -> Result<bool, Error> {
        match self.dump(request::sets, decoder)? {
            Dump::Whole => {}
            Dump::Interrupted => return Ok(false),
            Dump::Absent => return Ok(true),
        }
        let names: Vec<Name> = decoder.sets().cloned().collect();
        for name in names {
            // A set that is gone by now shows in the generation.
            if let Dump::Interrupted = self.dump(|sequence| request::elements(name.as_str(), sequence), decoder)? {
                return Ok(false);
            }
        }
        for request in [request::chains, request::rules] {
            if let Dump::Interrupted = self.dump(request, decoder)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn dump(&mut self, request: impl FnOnce(u32) -> Vec<u8>, decoder: &mut Decoder) -> Result<Dump, Error> {
        const OPERATION: &str = "dump nf_tables";
        let sequence = self.next_sequence();
        self.send(OPERATION, &request(sequence))?;
        let mut interrupted = false;
        while self.receive(OPERATION)? {
            for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if message.kind == NLMSG_DONE {
                    return Ok(if interrupted { Dump::Interrupted } else { Dump::Whole });
                }
                match refusal_of(&message) {
                    None => decoder.message(message.kind, message.body),
                    Some(refusal) if refusal.errno == libc::ENOENT => return Ok(Dump::Absent),
                    Some(refusal) => return Err(refusal.error(OPERATION, nft::TABLE)),
                }
            }
        }
        Ok(Dump::Interrupted)
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// A message larger than the send buffer is refused; the kernel counts its own overhead as well.
    fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        let wanted = bytes.saturating_mul(2).max(RECEIVE_BUFFER);
        if wanted <= self.send_buffer {
            return Ok(());
        }
        if setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_err() {
            setsockopt(&self.socket, sockopt::SndBuf, &wanted)
                .map_err(|errno| Error::system("set SO_SNDBUF")(errno.into()))?;
        }
        self.send_buffer = wanted;
        Ok(())
    }

    fn send(&mut self, operation: &'static str, bytes: &[u8]) -> Result<(), Error> {
        self.socket.send(bytes, 0).map(|_| ()).map_err(Error::system(operation))
    }

    /// Receives the next datagram into the buffer; `false` if there is none.
    fn receive(&mut self, operation: &'static str) -> Result<bool, Error> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, 0) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(Error::Overrun { operation }),
            Err(error) => Err(Error::system(operation)(error)),
        }
    }
}

fn refused_change(batch: &Batch, sequence: u32, refusal: Refusal) -> RefusedChange {
    RefusedChange {
        change: batch.change_of(sequence),
        source: io::Error::from_raw_os_error(refusal.errno),
        detail: refusal.detail,
    }
}

fn refusal_of(message: &Message<'_>) -> Option<Refusal> {
    (message.kind == NLMSG_ERROR).then(|| Refusal::parse(message.flags, message.body)).flatten()
}
