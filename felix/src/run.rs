//! Assembling and running the agent.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use calc::{CalcGraph, Config};
use daemon::{config::NodeConfig, rpc, shutdown};
use datastore::{Datastore, Directory, syncer::Syncer};
use kernel::Netlink;
use proto::{cni::cni_server::CniServer, felix::felix_server::FelixServer};
use resources::Kind;
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;

use crate::{
    addresses::{Addresses, Live},
    agent::{Agent, Command, Outlets},
    cni::{CniService, Locks, Wiring},
    dataplane::{self, Dataplane},
    inventory::Inventory,
    metrics::Metrics,
    origin,
    published::Published,
    record::Records,
    status::StatusService,
};

const KINDS: [Kind; 14] = [
    Kind::Node,
    Kind::Namespace,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::NetworkPolicy,
    Kind::IpPool,
    Kind::IpReservation,
    Kind::IpamConfiguration,
    Kind::BlockAffinity,
    Kind::IpamBlock,
    Kind::BgpConfiguration,
    Kind::BgpPeer,
    Kind::FelixConfiguration,
];
const COMMANDS: usize = 1024;
const UPDATES: usize = 4096;
/// Pods' interfaces begin so.
const INTERFACE_PREFIX: &str = "cali";
/// ADDs and DELs that are under way when the agent is told to stop get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the agent until it is told to stop. What the kernel holds then stays and forwards.
///
/// # Errors
/// When the socket, the datastore or the kernel cannot be had.
pub(crate) async fn run(config: NodeConfig) -> anyhow::Result<()> {
    let api = rpc::Listener::bind(&config.sockets.felix)?;
    dataplane::enable_forwarding()?;
    let store: Arc<dyn Datastore> = Arc::new(Directory::open(&config.datastore.directory)?);
    let mut dataplane = Dataplane::open()?;
    let graph = graph(&config.node_name, &mut dataplane)?;
    let metrics = Metrics::default();
    let (published, published_receiver) = watch::channel(Published::default());
    let (origins, origins_receiver) = watch::channel(None);
    let (inventory, inventory_receiver) = watch::channel(Arc::new(Inventory::new(&config.node_name)));
    let (commands, queue) = mpsc::channel(COMMANDS);
    let outlets = Outlets { published, origins, inventory, metrics: metrics.clone() };
    tokio::spawn(Agent::new(graph, dataplane, outlets, &config.node_name).run(queue));
    tokio::spawn(origin::announce(config.sockets.bgpd.clone(), origins_receiver));
    let addresses = Addresses::start(&config.node_name, store.clone(), inventory_receiver.clone());
    let wiring = Arc::new(Wiring {
        node_name: config.node_name.clone(),
        records: Records::open(&config.state_directory)?,
        addresses: addresses.clone(),
        commands: commands.clone(),
        published: published_receiver.clone(),
        inventory: inventory_receiver.clone(),
        metrics: metrics.clone(),
        mtu: dataplane::host_mtu(&Netlink::open()?, INTERFACE_PREFIX).await?,
        attached: Mutex::new(BTreeMap::new()),
        locks: Locks::default(),
    });
    wiring.recover().await;
    feed(store.clone(), commands);
    tokio::spawn(repair(wiring.clone(), addresses));
    let status = StatusService {
        node_name: config.node_name.clone(),
        datastore: describe(&config.datastore.directory),
        started: SystemTime::now(),
        store,
        published: published_receiver.clone(),
        inventory: inventory_receiver,
    };
    if let Some(address) = config.metrics.felix {
        metrics.start(address, published_receiver);
    }
    let services =
        Routes::default().add_service(CniServer::new(CniService::new(wiring))).add_service(FelixServer::new(status));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(api.serve(services, async move { drop(stopped.await) }));
    shutdown::requested().await;
    drop(stop);
    tokio::time::timeout(DRAIN, server).await.context("commands under way did not end in time")???;
    Ok(())
}

fn describe(directory: &Path) -> String {
    format!("directory {}", directory.display())
}

/// A graph that goes on where a former felix stopped.
fn graph(node_name: &str, dataplane: &mut Dataplane) -> anyhow::Result<CalcGraph> {
    let mut config = Config::new(node_name);
    INTERFACE_PREFIX.clone_into(&mut config.interface_prefix);
    let mut graph = CalcGraph::new(config);
    graph.resume(&dataplane.found().context("listing the nftables table")?);
    Ok(graph)
}

fn feed(store: Arc<dyn Datastore>, commands: mpsc::Sender<Command>) {
    let mut updates = Syncer::start(store, &KINDS, UPDATES);
    tokio::spawn(async move {
        while let Some(update) = updates.recv().await {
            if commands.send(Command::Datastore(update)).await.is_err() {
                return;
            }
        }
    });
}

/// Once in sync, takes back what a former felix left half done.
async fn repair(wiring: Arc<Wiring>, addresses: Addresses) {
    let mut published = wiring.published.clone();
    if published.wait_for(|p| p.in_sync).await.is_err() {
        return;
    }
    wiring.undo_incomplete().await;
    if let Err(error) = addresses.reconcile(Live(Box::new(move || wiring.live_handles()))).await {
        tracing::warn!(%error, "cannot look for addresses that nobody has");
    }
}
