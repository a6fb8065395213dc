//! What reaches the speaker's loop.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use datastore::syncer;
use engine::{ConnId, InstallResult, Prefix, Reachability};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, oneshot},
};

use crate::{static_config::StaticConfig, view::View};

/// One thing that happened.
pub(crate) enum Input {
    /// A peer dialled us.
    Accepted {
        /// The connection.
        stream: TcpStream,
        /// Our end.
        local: SocketAddr,
        /// Its end.
        remote: SocketAddr,
    },
    /// A dial ended.
    Dialled {
        /// As the engine named it.
        conn: ConnId,
        /// The connection, or why there is none.
        result: io::Result<TcpStream>,
    },
    /// Bytes came.
    Received {
        /// On which connection.
        conn: ConnId,
        /// As they came.
        bytes: Bytes,
        /// Lets the connection read on once they are handled.
        room: OwnedSemaphorePermit,
    },
    /// The kernel took bytes.
    Sent {
        /// On which connection.
        conn: ConnId,
        /// How many.
        bytes: usize,
    },
    /// A connection ended.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why, unless the peer closed it in order.
        error: Option<io::Error>,
    },
    /// A resource changed.
    Datastore(syncer::Update),
    /// A router's file changed: what it says now, or what is wrong with it.
    StaticFile(Result<Box<StaticConfig>, String>),
    /// An origin source spoke.
    Origin(OriginInput),
    /// What became of routes for the kernel.
    Installed(Vec<(Prefix, InstallResult)>),
    /// How next hops are reached now.
    Reachable(Vec<(IpAddr, Option<Reachability>)>),
    /// Drain, or stop draining.
    Drain {
        /// Which of the two.
        on: bool,
        /// Told once it is so.
        done: oneshot::Sender<()>,
    },
    /// A question, answered inside the loop.
    Ask(Box<dyn FnOnce(View<'_>) + Send>),
}

/// What an origin source says.
#[derive(Debug)]
pub(crate) enum OriginInput {
    /// A stream began.
    Connected {
        /// Source name.
        source: String,
    },
    /// Changes.
    Update {
        /// Source name.
        source: String,
        /// Prefixes and why.
        announce: Vec<(Prefix, String)>,
        /// Prefixes to take back.
        withdraw: Vec<Prefix>,
        /// Everything it had at its start has been said.
        in_sync: bool,
    },
    /// The stream ended.
    Lost {
        /// Source name.
        source: String,
    },
}
