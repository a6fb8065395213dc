//! A BGP session of one side of the bench: as little as a speaker needs to send and receive a table.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use engine::{
    Family,
    wire::{
        Capabilities, MAX_LENGTH, MessageKind, OpenMessage, RawMessage, decode_notification, encode_open, frame,
        keepalive,
    },
};
use fabric::{Node, wait_for};
use socket2::{Domain, Socket, Type};

use super::tally::Tally;

/// Seconds. Long enough that no measurement needs a KEEPALIVE on the way.
pub(super) const HOLD_TIME: u16 = 3600;
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Octets read at once.
const READ: usize = 256 << 10;

/// An Established session.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    /// Begins with octets that were received and not yet looked at.
    buffer: Box<[u8]>,
    /// Their number.
    unread: usize,
    tally: Tally,
}

impl Session {
    /// Dials from a node until the session is Established. The BGP Identifier is `local`.
    pub(super) fn dial(node: &Node, as_number: u32, local: Ipv4Addr, remote: Ipv4Addr) -> Result<Self> {
        let dial = || {
            let stream = node.inside(|| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(local.into(), 0).into()).with_context(|| format!("binding {local}"))?;
                socket.connect_timeout(&SocketAddr::new(remote.into(), 179).into(), HANDSHAKE).context("connecting")?;
                Ok(socket.into())
            })?;
            Self::handshake(stream, as_number, local).map(Some)
        };
        let (session, _) = wait_for(&format!("session with {remote}"), Duration::from_secs(30), dial)?;
        Ok(session)
    }

    /// Opens the session on a connection.
    pub(super) fn handshake(stream: TcpStream, as_number: u32, identifier: Ipv4Addr) -> Result<Self> {
        stream.set_read_timeout(Some(HANDSHAKE))?;
        stream.set_nodelay(true)?;
        let capabilities =
            Capabilities { families: vec![Family::Ipv4Unicast], route_refresh: true, ..Capabilities::default() };
        let open = OpenMessage::new(as_number, HOLD_TIME, identifier, capabilities);
        let buffer = vec![0; READ].into_boxed_slice();
        let mut session = Self { stream, buffer, unread: 0, tally: Tally::default() };
        session.stream.write_all(&encode_open(&open))?;
        while session.message()? != MessageKind::Open {}
        session.stream.write_all(&keepalive())?;
        while session.message()? != MessageKind::Keepalive {}
        Ok(session)
    }

    /// Writes messages. What the peer sends meanwhile must be read by [`Session::drain`].
    pub(super) fn send(&self, messages: &[u8]) -> Result<()> {
        (&self.stream).write_all(messages).context("writing messages")
    }

    /// Reads and forgets what the peer sends from now on, on a thread that ends with the session.
    pub(super) fn drain(&self) -> Result<()> {
        let mut stream = self.stream.try_clone().context("duplicating a socket")?;
        stream.set_read_timeout(None)?;
        thread::spawn(move || {
            let mut buffer = vec![0; READ];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        });
        Ok(())
    }

    /// Receives until `done`, and says when that was.
    pub(super) fn receive_until(&mut self, deadline: Duration, done: impl Fn(&Tally) -> bool) -> Result<Instant> {
        let start = Instant::now();
        loop {
            self.take_messages()?;
            let now = Instant::now();
            if done(&self.tally) {
                return Ok(now);
            }
            let left = deadline.checked_sub(now - start).filter(|left| !left.is_zero());
            let Some(left) = left else { bail!("not within {deadline:?}: {:?}", self.tally) };
            self.stream.set_read_timeout(Some(left))?;
            self.read().with_context(|| format!("after {:?}", self.tally))?;
        }
    }

    /// Receives until `done` and until nothing more came for a while, and says when the last octet came.
    pub(super) fn receive_until_quiet(
        &mut self,
        deadline: Duration,
        quiet: Duration,
        done: impl Fn(&Tally) -> bool,
    ) -> Result<Instant> {
        let mut last = self.receive_until(deadline, &done)?;
        self.stream.set_read_timeout(Some(quiet))?;
        let is_nothing = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        loop {
            match self.read() {
                Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_nothing) => return Ok(last),
                outcome => outcome?,
            }
            last = Instant::now();
            self.take_messages()?;
        }
    }

    /// Takes in what is there without waiting for more.
    pub(super) fn take_in(&mut self) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        let outcome = self.read();
        self.stream.set_nonblocking(false)?;
        let is_nothing = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match outcome {
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_nothing) => Ok(()),
            outcome => outcome.and_then(|()| self.take_messages()),
        }
    }

    /// To wait for octets.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What came so far.
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Copies octets from here to another session until the connection ends: a speaker that does nothing.
    pub(super) fn copy_to(&self, other: &Self) -> Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            let length = (&self.stream).read(&mut buffer).context("reading")?;
            let Some(octets) = buffer.get(..length).filter(|octets| !octets.is_empty()) else { return Ok(()) };
            other.send(octets)?;
        }
    }

    /// Waits without end for the peer from now on.
    pub(super) fn be_patient(&self) -> Result<()> {
        self.stream.set_read_timeout(None).context("socket option")
    }

    fn read(&mut self) -> Result<()> {
        let room = self.buffer.get_mut(self.unread..).unwrap_or_default();
        let length = self.stream.read(room).context("reading")?;
        ensure!(length > 0, "the peer closed the connection");
        self.unread += length;
        Ok(())
    }

    /// Looks at all whole messages that are there.
    fn take_messages(&mut self) -> Result<()> {
        let mut rest = self.buffer.get(..self.unread).unwrap_or_default();
        while let Some(message) = first(rest)? {
            if message.kind == MessageKind::Update {
                self.tally.count(message.body)?;
            }
            rest = rest.get(message.length..).unwrap_or_default();
        }
        let left = rest.len();
        self.forget(self.unread - left);
        Ok(())
    }

    /// Takes octets that were looked at out of the buffer.
    fn forget(&mut self, length: usize) {
        self.buffer.copy_within(length..self.unread, 0);
        self.unread -= length;
    }

    /// Waits for the next message.
    fn message(&mut self) -> Result<MessageKind> {
        loop {
            let unread = self.buffer.get(..self.unread).unwrap_or_default();
            if let Some(RawMessage { kind, length, .. }) = first(unread)? {
                self.forget(length);
                return Ok(kind);
            }
            self.read()?;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ends the thread that drains. Fails when the peer was faster.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The first message of a stream, if all of it is there. A NOTIFICATION is an error.
fn first(octets: &[u8]) -> Result<Option<RawMessage<'_>>> {
    let Some(message) = frame(octets, MAX_LENGTH).map_err(|refusal| anyhow!("what the peer sent is {refusal}"))? else {
        return Ok(None);
    };
    if message.kind == MessageKind::Notification {
        bail!("the peer says {}", decode_notification(message.body));
    }
    Ok(Some(message))
}
