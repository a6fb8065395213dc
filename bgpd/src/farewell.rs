//! The last words to a peer: those of BGP first, BFD's behind them.
//!
//! What ends a session on purpose also ends its BFD. A peer that hears of the second first sees a path that fails under
//! an Established session, and may drop routes that it would have kept.

use std::{collections::HashMap, sync::Arc, time::Duration};

use engine::BfdRequest;
use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::liveness::Liveness;

/// How long the end of a connection may take to be written; a peer that does not read is not waited for.
const PATIENCE: Duration = Duration::from_millis(100);
/// BGP and BFD are two processes at many peers: the first one is given time to hear.
const HEAD_START: Duration = Duration::from_millis(50);

/// BFD's commands in an order with what BGP has to say.
pub(crate) struct Farewells {
    liveness: Liveness,
    /// Ends of connections that are being written.
    closing: Vec<oneshot::Receiver<()>>,
    /// Peers whose BFD is about to be stopped.
    stopping: HashMap<Arc<str>, AbortHandle>,
}

impl Farewells {
    /// Commands go to `liveness`.
    pub(crate) fn new(liveness: Liveness) -> Self {
        Self { liveness, closing: Vec::new(), stopping: HashMap::new() }
    }

    /// A connection is being closed; `written` resolves when its end is.
    pub(crate) fn closing(&mut self, written: oneshot::Receiver<()>) {
        self.closing.retain_mut(|it| it.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        self.closing.push(written);
    }

    /// Starts a BFD session, or changes it.
    pub(crate) fn start_bfd(&mut self, request: BfdRequest) {
        if let Some(waiting) = self.stopping.remove(&request.peer)
            && !waiting.is_finished()
        {
            waiting.abort();
            self.liveness.stop(request.peer.clone());
        }
        self.liveness.run(request);
    }

    /// Stops a BFD session once what is being closed now is.
    pub(crate) fn stop_bfd(&mut self, peer: Arc<str>) {
        self.stopping.retain(|_, waiting| !waiting.is_finished());
        let closing = std::mem::take(&mut self.closing);
        if closing.is_empty() {
            self.liveness.stop(peer);
            return;
        }
        let (liveness, name) = (self.liveness.clone(), peer.clone());
        let task = tokio::spawn(async move {
            let _ = timeout(PATIENCE, join_all(closing)).await;
            sleep(HEAD_START).await;
            liveness.stop(name);
        });
        self.stopping.insert(peer, task.abort_handle());
    }
}
