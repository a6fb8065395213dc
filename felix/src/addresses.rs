//! Address management: one loop that runs the allocator against the datastore. Requests that wait together are served
//! together and share the block's write.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use datastore::{Datastore, Write};
use ipam::{Answer, Batch, Operation, Outcome, Request, Step};
use resources::IpamBlock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::inventory::Inventory;

/// Asks the loop.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    requests: mpsc::Sender<Ask>,
}

#[derive(Debug)]
enum Ask {
    Assign(Box<Request>, oneshot::Sender<Result<Outcome, Error>>),
    Release(String, oneshot::Sender<Result<Vec<IpAddr>, Error>>),
    Reconcile(Live, oneshot::Sender<Result<(), Error>>),
}

/// Tells the handles in use. Called inside the loop: whatever was assigned by then is among them.
pub(crate) struct Live(pub(crate) Box<dyn FnOnce() -> BTreeSet<String> + Send>);

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live")
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The datastore could not do it.
    #[error(transparent)]
    Datastore(#[from] datastore::Error),
    /// The loop is gone.
    #[error("felix is stopping")]
    Stopping,
}

const QUEUE: usize = 1024;
const BATCH: usize = 128;

impl Addresses {
    /// Starts the loop of a node.
    pub(crate) fn start(node: &str, store: Arc<dyn Datastore>, inventory: watch::Receiver<Arc<Inventory>>) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let allocator = Allocator { node: node.to_owned(), store, inventory, blocks: Vec::new() };
        tokio::spawn(allocator.run(queue));
        Self { requests }
    }

    /// Assigns addresses.
    ///
    /// # Errors
    /// When the datastore fails; a refusal is an outcome.
    pub(crate) async fn assign(&self, request: Request) -> Result<Outcome, Error> {
        self.ask(|answer| Ask::Assign(Box::new(request), answer)).await
    }

    /// Releases all addresses of a handle; returns them.
    ///
    /// # Errors
    /// When the datastore fails. That there is no such handle is no error.
    pub(crate) async fn release(&self, handle_id: String) -> Result<Vec<IpAddr>, Error> {
        self.ask(|answer| Ask::Release(handle_id, answer)).await
    }

    /// Takes back what this node's former agents left: addresses whose handle is not among `live`, half-made claims.
    ///
    /// # Errors
    /// When the datastore fails.
    pub(crate) async fn reconcile(&self, live: Live) -> Result<(), Error> {
        self.ask(|answer| Ask::Reconcile(live, answer)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(ask(answer)).await.map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }
}

struct Allocator {
    node: String,
    store: Arc<dyn Datastore>,
    inventory: watch::Receiver<Arc<Inventory>>,
    /// Our blocks as last seen: a hint that saves reads.
    blocks: Vec<IpamBlock>,
}

impl Allocator {
    async fn run(mut self, mut queue: mpsc::Receiver<Ask>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut requests = Vec::new();
            let mut answers = Vec::new();
            for ask in batch.drain(..) {
                match ask {
                    Ask::Assign(request, answer) => {
                        requests.push(*request);
                        answers.push(answer);
                    }
                    // Who asked may have given up; what was done is done.
                    Ask::Release(handle_id, answer) => drop(answer.send(self.release(handle_id).await)),
                    Ask::Reconcile(live, answer) => drop(answer.send(self.reconcile(live.0()).await)),
                }
            }
            if !requests.is_empty() {
                self.assign(requests, answers).await;
            }
        }
    }

    async fn assign(&mut self, requests: Vec<Request>, answers: Vec<oneshot::Sender<Result<Outcome, Error>>>) {
        let view = Arc::new(self.inventory.borrow_and_update().view());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let batch = Batch { view, requests, blocks: self.blocks.clone(), now };
        match drive(&*self.store, ipam::assign(batch)).await {
            Ok(assigned) => {
                self.blocks = assigned.blocks;
                for unsound in &assigned.unsound {
                    tracing::error!("{unsound}; the block is not used");
                }
                for (answer, outcome) in answers.into_iter().zip(assigned.outcomes) {
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(error) => {
                self.blocks.clear();
                // The error has no copy for everybody; those who get none hear that their request was dropped.
                if let Some(first) = answers.into_iter().next() {
                    let _ = first.send(Err(error.into()));
                }
            }
        }
    }

    async fn release(&mut self, handle_id: String) -> Result<Vec<IpAddr>, Error> {
        let released = drive(&*self.store, ipam::release_by_handle(handle_id, self.blocks.clone())).await?;
        self.remember(released.blocks);
        for block in &released.left {
            tracing::warn!(%block, "addresses could not be released, the block keeps changing");
        }
        Ok(released.addresses)
    }

    async fn reconcile(&mut self, live: BTreeSet<String>) -> Result<(), Error> {
        let repaired = drive(&*self.store, ipam::reconcile(self.node.clone(), live)).await?;
        for (address, handle) in &repaired.released {
            tracing::info!(%address, handle, "released an address whose container is gone");
        }
        for unsound in &repaired.unsound {
            tracing::error!("{unsound}; the block is not used");
        }
        self.blocks = repaired.blocks;
        Ok(())
    }

    fn remember(&mut self, blocks: Vec<IpamBlock>) {
        for block in blocks {
            let name = &block.metadata.name;
            match self.blocks.iter_mut().find(|known| known.metadata.name == *name) {
                Some(known) => *known = block,
                None => self.blocks.push(block),
            }
        }
    }
}

/// Runs a procedure of the allocator against a store.
async fn drive<T>(store: &dyn Datastore, mut step: Step<T>) -> Result<T, datastore::Error> {
    loop {
        match step {
            Step::Done(result) => return Ok(result),
            Step::Do(operation, waiting) => step = waiting.answer(carry_out(store, operation).await?),
        }
    }
}

async fn carry_out(store: &dyn Datastore, operation: Operation) -> Result<Answer, datastore::Error> {
    let write = match operation {
        Operation::Get(key) => return Ok(Answer::Resource(store.get(&key).await?)),
        Operation::List(kind) => return Ok(Answer::List(store.list(kind).await?)),
        Operation::Create(resource) => store.create(resource).await?,
        Operation::Update(resource) => store.update(resource).await?,
        Operation::Delete { key, resource_version } => store.delete(&key, resource_version.as_deref()).await?,
    };
    Ok(Answer::Write(match write {
        Write::Done(resource) => ipam::Write::Done(Box::new(resource)),
        Write::Conflict => ipam::Write::Conflict,
        Write::Exists => ipam::Write::Exists,
        Write::NotFound => ipam::Write::NotFound,
    }))
}
