//! One TCP connection: a task that reads and one that writes. What either sees goes to the speaker's loop as an
//! [`Input`]; nothing is decided here.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use engine::ConnId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{input::Input, password::Password};

const READ_BUFFER: usize = 64 * 1024;
/// Pieces read that may wait to be handled. What comes faster stays in the socket, and TCP slows the peer down.
const UNHANDLED: usize = 4;
/// Pieces written in one call at most; the kernel takes 1024.
const PIECES: usize = 512;
/// How long a closed connection waits for the peer's FIN: closing a socket with unread input sends RST, which may
/// overtake the NOTIFICATION.
const LINGER: Duration = Duration::from_secs(1);
/// Closed connections that may wait so at once: who opens connections by the thousand is not owed it.
static LINGERING: Semaphore = Semaphore::const_new(64);

/// The loop's end of a connection. Dropping it closes the connection in order: what was queued is written, then FIN.
#[derive(Debug)]
pub(crate) struct Connection {
    outgoing: mpsc::UnboundedSender<Bytes>,
    remote: IpAddr,
    /// The same socket, for a change of its options.
    socket: Option<OwnedFd>,
    /// Resolves when FIN has left behind all that was queued, or nothing can leave any more.
    written: oneshot::Receiver<()>,
}

impl Connection {
    /// Starts the two tasks.
    pub(crate) fn start(conn: ConnId, stream: TcpStream, remote: IpAddr, inputs: mpsc::Sender<Input>) -> Self {
        let socket = stream.as_fd().try_clone_to_owned().ok();
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (reader, writer) = stream.into_split();
        let reading = tokio::spawn(read(conn, reader, inputs.clone()));
        let (done, written) = oneshot::channel();
        tokio::spawn(write(conn, writer, queue, inputs, (reading, done)));
        Self { outgoing, remote, socket, written }
    }

    /// Closes the connection in order, as dropping it does, and tells when FIN has left.
    pub(crate) fn close(self) -> oneshot::Receiver<()> {
        self.written
    }

    /// Signs with another password from now on, if the connection is with this peer. TCP sends again what either side
    /// dropped meanwhile, so that the session goes on if both change within the hold time.
    pub(crate) fn sign(&self, peer: IpAddr, password: &Password) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.remote == peer)
            && let Err(error) = password.sign(socket, peer)
        {
            tracing::warn!(%peer, %error, "cannot change the password of a connection");
        }
    }

    /// Queues bytes. The queue is bounded by the engine, which hands out no more than a window beyond what was written.
    pub(crate) fn send(&self, bytes: Bytes) {
        // A writer that has ended has reported the connection closed; the bytes have nowhere to go.
        let _ = self.outgoing.send(bytes);
    }
}

async fn read(conn: ConnId, mut reader: OwnedReadHalf, inputs: mpsc::Sender<Input>) {
    let mut buffer = BytesMut::with_capacity(READ_BUFFER);
    let unhandled = Arc::new(Semaphore::new(UNHANDLED));
    loop {
        let Ok(room) = unhandled.clone().acquire_owned().await else { return };
        buffer.reserve(READ_BUFFER / 4);
        let input = match reader.read_buf(&mut buffer).await {
            Ok(0) => Input::Closed { conn, error: None },
            Ok(_) => Input::Received { conn, bytes: buffer.split().freeze(), room },
            Err(error) => Input::Closed { conn, error: Some(error) },
        };
        let ended = matches!(input, Input::Closed { .. });
        if inputs.send(input).await.is_err() || ended {
            return;
        }
    }
}

async fn write(
    conn: ConnId,
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    inputs: mpsc::Sender<Input>,
    (mut reading, done): (JoinHandle<()>, oneshot::Sender<()>),
) {
    let mut pieces = Vec::new();
    while queue.recv_many(&mut pieces, PIECES).await > 0 {
        pieces.retain(|bytes| !bytes.is_empty());
        if let Err(error) = write_all(conn, &mut writer, &mut pieces, &inputs).await {
            let _ = inputs.send(Input::Closed { conn, error: Some(error) }).await;
            break;
        }
    }
    let _ = writer.shutdown().await;
    drop(done);
    if let Ok(_place) = LINGERING.try_acquire() {
        let _ = timeout(LINGER, &mut reading).await;
    }
    reading.abort();
}

/// Writes the pieces, as many as there are in one call: a reflector has one per client that its routes came from.
async fn write_all(
    conn: ConnId,
    writer: &mut OwnedWriteHalf,
    pieces: &mut Vec<Bytes>,
    inputs: &mpsc::Sender<Input>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<_> = pieces.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        forget(pieces, written);
        if inputs.send(Input::Sent { conn, bytes: written }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Drops what was written.
fn forget(pieces: &mut Vec<Bytes>, mut written: usize) {
    let mut whole = 0;
    for piece in pieces.iter_mut() {
        if piece.len() > written {
            piece.advance(written);
            break;
        }
        written -= piece.len();
        whole += 1;
    }
    pieces.drain(..whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_forgotten_to_the_octet() {
        let pieces = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"d"), Bytes::from_static(b"efg")];
        for written in 0..=7 {
            let mut left = pieces();
            forget(&mut left, written);
            assert_eq!(left.concat(), b"abcdefg"[written..]);
            assert!(left.iter().all(|piece| !piece.is_empty()));
        }
    }
}
