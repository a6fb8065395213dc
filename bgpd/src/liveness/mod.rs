//! BFD with peers, on a thread of its own that goes before all others: what the speaker does meanwhile, a full table
//! included, never makes a peer miss our packets.

mod sockets;
mod worker;

use std::{sync::Arc, thread, time::Duration};

use bfd::{Path, Status};
use engine::{BfdReport, BfdRequest};
use tokio::sync::{mpsc, oneshot};

use worker::Worker;

/// What a session has to say, by peer.
pub(crate) type Report = (Arc<str>, BfdReport);

/// Commands the thread.
#[derive(Clone)]
pub(crate) struct Liveness {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Start(BfdRequest),
    Stop(Arc<str>),
    Show(oneshot::Sender<Overview>),
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// By peer name.
    pub(crate) sessions: Vec<Session>,
    /// Datagrams discarded, by reason.
    pub(crate) discards: Vec<(&'static str, u64)>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Arc<str>,
    pub(crate) path: Path,
    pub(crate) status: Status,
    /// How long ago it entered its state.
    pub(crate) age: Duration,
}

impl Liveness {
    /// Starts the thread. It opens sockets when the first session is wanted.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be had.
    pub(crate) fn start(seed: u64, reports: mpsc::UnboundedSender<Report>) -> anyhow::Result<Self> {
        let (commands, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Worker::new(seed, reports);
        thread::Builder::new().name("bfd".to_owned()).spawn(move || runtime.block_on(worker.run(queue)))?;
        Ok(Self { commands })
    }

    /// Runs a session with a peer, or changes the one there is.
    pub(crate) fn run(&self, request: BfdRequest) {
        // The thread ends only with the process.
        let _ = self.commands.send(Command::Start(request));
    }

    /// Ends the session with a peer administratively.
    pub(crate) fn stop(&self, peer: Arc<str>) {
        let _ = self.commands.send(Command::Stop(peer));
    }

    /// What there is to show.
    pub(crate) async fn overview(&self) -> Overview {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::Show(answer));
        answered.await.unwrap_or_default()
    }
}
