//! The CNI server: wires and unwires containers.
//!
//! ADD and DEL run to their end even when the plugin that asked goes away: a half-done one would have to be undone by
//! somebody.

mod add;
mod del;
mod error;
mod locks;
pub(crate) mod names;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use calc::{EndpointId, LocalEndpoint};
use kernel::{InterfaceName, NetNs, pod::PodLink};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    addresses::Addresses,
    agent::Command,
    inventory::Inventory,
    metrics::Metrics,
    published::Published,
    record::{Record, Records},
};

use error::CniFailure;
pub(crate) use locks::Locks;
pub(crate) use server::CniService;

/// Longest wait for the kernel to hold what an ADD or DEL needs.
const APPLY_WITHIN: Duration = Duration::from_secs(30);

/// How long a felix that has just started is waited for: shorter than the pause that a runtime makes when told to come again.
const SYNC_WITHIN: Duration = Duration::from_secs(5);

/// Everything that wiring needs.
pub(crate) struct Wiring {
    pub(crate) node_name: String,
    pub(crate) records: Records,
    pub(crate) addresses: Addresses,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) published: watch::Receiver<Published>,
    pub(crate) inventory: watch::Receiver<Arc<Inventory>>,
    pub(crate) metrics: Metrics,
    /// MTU of pods' links unless a network configuration says otherwise, in bytes.
    pub(crate) mtu: u32,
    /// Attachments by container and interface.
    pub(crate) attached: Mutex<BTreeMap<EndpointId, Record>>,
    pub(crate) locks: Locks,
}

impl Wiring {
    /// Takes up what a former felix left.
    pub(crate) async fn recover(&self) {
        let records = match self.records.load() {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "cannot read the endpoint records");
                return;
            }
        };
        for record in records {
            // Nobody waits for these: the first apply comes when the datastore is in sync.
            let _ = self.commands.send(Command::Recover(record.endpoint())).await;
            self.attached().insert(record.id(), record);
        }
    }

    /// Undoes what a former felix had only begun. Called once the datastore is in sync.
    pub(crate) async fn undo_incomplete(&self) {
        let incomplete: Vec<Record> = self.attached().values().filter(|r| !r.complete).cloned().collect();
        for record in incomplete {
            // Its container may be served just now, or have been meanwhile.
            let Ok(_held) = self.locks.hold(&record.interface).await else { continue };
            if self.attached().get(&record.id()) != Some(&record) {
                continue;
            }
            tracing::info!(container = record.container_id, "undoing an ADD that was cut short");
            if let Err(failure) = self.detach(&record).await {
                tracing::warn!(%failure, container = record.container_id, "cannot undo an ADD; its DEL will");
            }
        }
    }

    fn attached(&self) -> MutexGuard<'_, BTreeMap<EndpointId, Record>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handles of all attachments, begun or complete.
    pub(crate) fn live_handles(&self) -> BTreeSet<String> {
        self.attached().values().map(Record::handle_id).collect()
    }

    /// Waits a little for the first apply.
    async fn in_sync(&self) -> Result<(), CniFailure> {
        let mut published = self.published.clone();
        match tokio::time::timeout(SYNC_WITHIN, published.wait_for(|published| published.in_sync)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(CniFailure::Stopping),
            Err(_) => Err(CniFailure::NotInSync),
        }
    }

    async fn in_kernel(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<(), CniFailure> {
        let (done, applied) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| CniFailure::Stopping)?;
        match tokio::time::timeout(APPLY_WITHIN, applied).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CniFailure::Stopping),
            Err(_) => Err(CniFailure::NotApplied { unapplied: self.published.borrow().unapplied.clone() }),
        }
    }
}

impl Record {
    fn id(&self) -> EndpointId {
        EndpointId { container_id: self.container_id.clone(), if_name: self.if_name.clone() }
    }

    fn endpoint(&self) -> LocalEndpoint {
        LocalEndpoint {
            id: self.id(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            interface: self.interface.clone(),
            addresses: self.addresses.clone(),
            labels: self.labels.clone(),
            mac: self.mac,
        }
    }
}

/// What the kernel is asked to make of a record.
struct Link {
    host_name: InterfaceName,
    pod_name: InterfaceName,
    alias: String,
    namespace: NetNs,
    mtu: u32,
    addresses: Vec<IpAddr>,
    allow_forwarding: bool,
}

impl Link {
    fn of(record: &Record, allow_forwarding: bool) -> Result<Self, CniFailure> {
        let missing = || CniFailure::NoNamespace { path: record.netns.clone() };
        Ok(Self {
            host_name: InterfaceName::new(&record.interface)?,
            pod_name: InterfaceName::new(&record.if_name)?,
            alias: record.id().to_string(),
            namespace: NetNs::open(&record.netns)?.ok_or_else(missing)?,
            mtu: record.mtu,
            addresses: record.addresses.clone(),
            allow_forwarding,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&PodLink<'_>) -> T) -> T {
        work(&PodLink {
            host_name: &self.host_name,
            alias: &self.alias,
            namespace: &self.namespace,
            pod_name: &self.pod_name,
            pod_mac: None,
            mtu: self.mtu,
            addresses: &self.addresses,
            host_routes: None,
            permanent_neighbours: true,
            allow_forwarding: self.allow_forwarding,
        })
    }
}
