//! Address management: one loop that runs the allocator against the datastore. Requests that wait together are served
//! together and share the block's write.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use datastore::{Datastore, Write};
use ipam::{Answer, Batch, Operation, Outcome, Request, Step};
use resources::IpamBlock;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

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
    /// The loop is busy, or the datastore does not answer: its folder's lock may be held, or its disk be slow.
    #[error("no answer of the datastore within {} s", .within.as_secs())]
    Late {
        /// How long it was waited for.
        within: Duration,
    },
}

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
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

    /// Whoever gives up gets nothing: what is assigned to nobody any more is released by the loop.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(ask(answer)).await.map_err(|_| Error::Stopping)?;
            answered.await.map_err(|_| Error::Stopping)?
        };
        timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(Error::Late { within: ANSWER_WITHIN }))
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
                    // Its undo may be next in the queue, and must not be overtaken.
                    Ask::Assign(_, answer) if answer.is_closed() => {}
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
        let handles: Vec<String> = requests.iter().map(|request| request.owner.handle_id.clone()).collect();
        let batch = Batch { view, requests, blocks: self.blocks.clone(), now };
        match drive(&*self.store, ipam::assign(batch)).await {
            Ok(assigned) => {
                self.blocks = assigned.blocks;
                for unsound in &assigned.unsound {
                    tracing::error!("{unsound}; the block is not used");
                }
                for ((answer, outcome), handle_id) in answers.into_iter().zip(assigned.outcomes).zip(handles) {
                    if let Err(Ok(Outcome::Assigned(_))) = answer.send(Ok(outcome)) {
                        self.take_back(handle_id).await;
                    }
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

    /// Who asked has given up, and its undo may be done already.
    async fn take_back(&mut self, handle_id: String) {
        if let Err(error) = self.release(handle_id.clone()).await {
            tracing::warn!(%error, handle_id, "an address that nobody waits for is not released; its DEL will");
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

#[cfg(test)]
mod tests {
    use datastore::Memory;
    use ipam::{Owner, Want};
    use resources::{AllowedUse, IpPool, Kind, Resource};
    use serde_json::json;

    use super::*;

    fn allocator() -> (Allocator, Arc<dyn Datastore>) {
        let pool: IpPool =
            serde_json::from_value(json!({"metadata": {"name": "v4"}, "spec": {"cidr": "10.65.0.0/16"}})).unwrap();
        let mut known = Inventory::new("node");
        known.apply(&Resource::IpPool(pool.into()));
        let (_, inventory) = watch::channel(Arc::new(known));
        let store: Arc<dyn Datastore> = Arc::new(Memory::new());
        (Allocator { node: "node".to_owned(), store: store.clone(), inventory, blocks: Vec::new() }, store)
    }

    fn request(handle_id: &str) -> Request {
        Request {
            owner: Owner { handle_id: handle_id.to_owned(), attributes: [].into() },
            purpose: AllowedUse::Workload,
            namespace_labels: [].into(),
            ipv4: Want::Yes,
            ipv6: Want::No,
            ipv4_pools: Vec::new(),
            ipv6_pools: Vec::new(),
            addresses: Vec::new(),
        }
    }

    async fn handles(store: &Arc<dyn Datastore>) -> usize {
        store.list(Kind::IpamHandle).await.unwrap().len()
    }

    #[tokio::test]
    async fn an_address_that_nobody_waits_for_any_more_is_taken_back() {
        let (mut allocator, store) = allocator();
        let (answer, kept) = oneshot::channel();
        let (late, gone) = oneshot::channel();
        drop(gone);
        allocator.assign(vec![request("net.a"), request("net.b")], vec![answer, late]).await;
        assert!(matches!(kept.await, Ok(Ok(Outcome::Assigned(_)))));
        assert_eq!(handles(&store).await, 1, "the handle of the one that was waited for");
    }

    #[tokio::test]
    async fn an_assignment_that_was_given_up_in_the_queue_is_not_made_behind_its_undo() {
        let (allocator, store) = allocator();
        let (requests, queue) = mpsc::channel(8);
        let addresses = Addresses { requests };
        let (late, gone) = oneshot::channel();
        addresses.requests.send(Ask::Assign(Box::new(request("net.a")), late)).await.unwrap();
        drop(gone);
        let undo = addresses.release("net.a".to_owned());
        let (released, ()) = tokio::join!(undo, async { drop(tokio::spawn(allocator.run(queue))) });
        assert_eq!(released.unwrap(), Vec::<IpAddr>::new());
        assert_eq!(handles(&store).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_datastore_that_does_not_answer_is_not_waited_for_for_ever() {
        let (requests, _queue) = mpsc::channel(8);
        let addresses = Addresses { requests };
        assert!(matches!(addresses.release("net.a".to_owned()).await, Err(Error::Late { .. })));
        assert!(matches!(addresses.assign(request("net.a")).await, Err(Error::Late { .. })));
    }
}
