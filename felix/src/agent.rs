//! The loop that owns the calc graph: takes what changed, computes what this node should be, applies it, and says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use calc::{CalcGraph, Desired, EndpointId, LocalEndpoint};
use datastore::{Origin, Refusal, syncer};
use resources::Key;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    dataplane::{Dataplane, NFTABLES},
    inventory::Inventory,
    metrics::Metrics,
    origin::Origins,
    published::Published,
};

/// What the loop is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A resource changed.
    Datastore(syncer::Update),
    /// A local endpoint is there, and its interface has this index and is up; answered when its policy and then its
    /// routes are in the kernel.
    Attach(LocalEndpoint, u32, oneshot::Sender<()>),
    /// A local endpoint was there before felix started.
    Recover(LocalEndpoint),
    /// A local endpoint and its interface of this name are gone; answered when nothing of it is in the kernel.
    Detach(EndpointId, String, oneshot::Sender<()>),
}

/// Where the loop's results go.
pub(crate) struct Outlets {
    /// For status and for whoever waits for the first apply.
    pub(crate) published: watch::Sender<Published>,
    /// For bgpd.
    pub(crate) origins: watch::Sender<Origins>,
    /// For address management.
    pub(crate) inventory: watch::Sender<Arc<Inventory>>,
    /// For Prometheus.
    pub(crate) metrics: Metrics,
}

/// The loop.
pub(crate) struct Agent {
    graph: CalcGraph,
    dataplane: Dataplane,
    outlets: Outlets,
    inventory: Inventory,
    refusals: BTreeMap<Origin, Vec<Refusal>>,
    objects: BTreeSet<Key>,
    in_sync: bool,
    /// Something in the kernel is not as it should be, or may not be.
    dirty: bool,
    /// Since when open connections are not judged again: it happens at most once a second.
    held: Option<Instant>,
    generation: u16,
    retry: Option<Instant>,
    backoff: Duration,
    /// The rules of the last revision are in the kernel, whatever became of its routes.
    policed: bool,
    /// Wait for rules.
    waiting: Vec<oneshot::Sender<()>>,
    /// Wait for rules and routes.
    waiting_for_routes: Vec<oneshot::Sender<()>>,
    published: Published,
}

const BATCH: usize = 1024;
/// How often somebody else's hand on our table is looked for.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time between two judgements of all open connections.
const GENERATION_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(10);

impl Agent {
    /// A loop that knows nothing yet.
    pub(crate) fn new(graph: CalcGraph, dataplane: Dataplane, outlets: Outlets, node_name: &str) -> Self {
        Self {
            graph,
            dataplane,
            outlets,
            inventory: Inventory::new(node_name),
            refusals: BTreeMap::new(),
            objects: BTreeSet::new(),
            in_sync: false,
            dirty: false,
            held: None,
            generation: 0,
            retry: None,
            backoff: RETRY_FIRST,
            policed: false,
            waiting: Vec::new(),
            waiting_for_routes: Vec::new(),
            published: Published::default(),
        }
    }

    /// Runs until every sender of commands is gone. What the kernel holds then stays.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        let mut watch = interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                count = commands.recv_many(&mut batch, BATCH) => if count == 0 { return },
                _ = watch.tick() => self.look(),
            }
            for command in batch.drain(..) {
                self.take(command);
            }
            self.flush().await;
        }
    }

    fn look(&mut self) {
        if self.retry.is_some_and(|at| at <= Instant::now()) {
            self.dirty = true;
        }
        if self.held.is_some_and(|since| since.elapsed() >= GENERATION_INTERVAL) {
            self.held = None;
            self.graph.hold_generation(false);
        }
        if self.published.in_sync && self.dataplane.disturbed() {
            self.outlets.metrics.drift();
            self.dirty = true;
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Datastore(update) => self.take_update(update),
            Command::Attach(endpoint, index, done) => {
                self.dataplane.link_came(endpoint.interface.clone(), index);
                self.graph.on_update(calc::Update::Endpoint(endpoint));
                self.dirty = true;
                self.waiting_for_routes.push(done);
            }
            Command::Recover(endpoint) => self.graph.on_update(calc::Update::Endpoint(endpoint)),
            Command::Detach(id, interface, done) => {
                self.graph.on_update(calc::Update::EndpointGone(id));
                self.dataplane.link_went(&interface);
                self.waiting.push(done);
            }
        }
    }

    fn take_update(&mut self, update: syncer::Update) {
        match update {
            syncer::Update::Apply(resource) => {
                self.objects.insert(resource.key());
                self.inventory.apply(&resource);
                self.graph.on_update(calc::Update::Resource(resource));
            }
            syncer::Update::Delete(key) => {
                self.objects.remove(&key);
                self.inventory.delete(&key);
                self.graph.on_update(calc::Update::Deleted(key));
            }
            syncer::Update::Refused(refusal) => {
                tracing::warn!("{refusal}");
                self.refusals.entry(refusal.origin.clone()).or_default().push(refusal);
            }
            syncer::Update::Admitted(origin) => drop(self.refusals.remove(&origin)),
            syncer::Update::InSync => {
                self.in_sync = true;
                self.graph.on_update(calc::Update::InSync);
            }
        }
    }

    async fn flush(&mut self) {
        if let Some(changed) = self.inventory.changed() {
            self.outlets.inventory.send_replace(Arc::new(changed));
        }
        self.published.refusals = self.refusals.values().flatten().map(ToString::to_string).collect();
        self.published.objects = self.objects.len();
        if let Some(desired) = self.graph.flush() {
            self.dirty = true;
            if desired.generation != self.generation {
                self.generation = desired.generation;
                self.held = Some(Instant::now());
                self.graph.hold_generation(true);
            }
        }
        let current = self.graph.current().filter(|_| self.in_sync).cloned();
        if let Some(desired) = current
            && self.dirty
        {
            self.apply(&desired).await;
        }
        if self.in_sync && !self.dirty && self.policed {
            answer(&mut self.waiting);
        }
        if self.in_sync && !self.dirty && self.retry.is_none() {
            answer(&mut self.waiting_for_routes);
        }
        self.outlets.published.send_replace(self.published.clone());
    }

    async fn apply(&mut self, desired: &Arc<Desired>) {
        let begun = Instant::now();
        let unapplied = self.dataplane.apply(desired).await;
        self.published.last_apply = begun.elapsed();
        self.outlets.metrics.applied(self.published.last_apply, &unapplied);
        self.published.desired = Some(desired.clone());
        self.published.routes = self.dataplane.route_count();
        self.dirty = false;
        // A route that the kernel refuses must not keep everything else from going on.
        self.policed = unapplied.iter().all(|failure| failure.part != NFTABLES);
        if self.policed {
            self.published.kernel_revision = desired.revision;
            self.published.in_sync = true;
            self.publish_origins(desired);
        }
        if unapplied.is_empty() {
            self.retry = None;
            self.backoff = RETRY_FIRST;
        } else {
            for failure in &unapplied {
                tracing::error!(part = failure.part, "{}; trying again", failure.detail);
            }
            self.retry = Some(Instant::now() + self.backoff);
            self.backoff = (self.backoff * 2).min(RETRY_MOST);
        }
        self.published.unapplied = unapplied;
    }

    fn publish_origins(&self, desired: &Desired) {
        let origins = Arc::new(desired.origins.clone());
        self.outlets.origins.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&origins);
            if changed {
                *current = Some(origins);
            }
            changed
        });
    }
}

fn answer(waiting: &mut Vec<oneshot::Sender<()>>) {
    for done in waiting.drain(..) {
        // Whoever waited may have given up.
        let _ = done.send(());
    }
}
