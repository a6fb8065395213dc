//! Assembling and running a speaker.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use daemon::{config::NodeConfig, rpc, shutdown};
use datastore::{Datastore, Directory, syncer::Syncer};
use kernel::Netlink;
use proto::bgp::{bgp_server::BgpServer, origin_server::OriginServer};
use tokio::sync::{broadcast, mpsc};
use tonic::service::Routes;

use crate::{
    api::{OriginService, StatusService},
    clock::Clock,
    cluster,
    driver::Driver,
    events::Journal,
    farewell::Farewells,
    fib::{FibHandle, Foreign},
    input::Input,
    listener,
    liveness::Liveness,
    metrics,
    nexthops::{self, NextHopsHandle},
    node_status,
    password::Passwords,
    recorded::Recording,
    source::{Source, Start},
    static_config::StaticConfig,
    static_file,
};

const INPUTS: usize = 4096;
const UPDATES: usize = 1024;
const EVENTS: usize = 1024;
/// The last words of sessions, those of BFD behind those of BGP, get this long to leave.
const FAREWELL: Duration = Duration::from_millis(200);
/// In the state directory, holds the boot in which a bgpd last ran.
const RESTART_MARK: &str = "bgpd.restart";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the command line asks for besides the configuration.
pub(crate) struct Wishes {
    /// How long peers are told before the end.
    pub(crate) drain_time: Option<Duration>,
    /// What the speaker does is written here.
    pub(crate) recording: Option<Recording>,
}

/// What both kinds of configuration come down to.
struct Setup {
    name: String,
    socket: PathBuf,
    state_directory: PathBuf,
    metrics: Option<SocketAddr>,
    install_routes: bool,
    logs_by_configuration: bool,
    wishes: Wishes,
}

/// Runs a node's speaker until it is told to stop.
///
/// # Errors
/// When the socket, the datastore or the kernel cannot be had.
pub(crate) async fn node(config: NodeConfig, wishes: Wishes) -> anyhow::Result<()> {
    let setup = Setup {
        name: config.node_name.clone(),
        socket: config.sockets.bgpd.clone(),
        state_directory: config.state_directory.clone(),
        metrics: config.metrics.bgpd,
        install_routes: true,
        logs_by_configuration: config.log.is_none(),
        wishes,
    };
    let source = Source::cluster(&config.node_name, &config.namespace, start(&setup.state_directory)?);
    let store: Arc<dyn Datastore> = Arc::new(Directory::open(&config.datastore.directory)?);
    let mut updates = Syncer::start(Arc::clone(&store), &cluster::KINDS, UPDATES);
    run(setup, source, move |inputs| {
        tokio::spawn(node_status::report(config.node_name, store, inputs.clone()));
        tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                if inputs.send(Input::Datastore(update)).await.is_err() {
                    return;
                }
            }
        });
    })
    .await
}

/// Runs a router's speaker until it is told to stop. It follows its file.
///
/// # Errors
/// When the socket or the kernel cannot be had.
pub(crate) async fn router(file: PathBuf, config: StaticConfig, wishes: Wishes) -> anyhow::Result<()> {
    let configured = config.drain_time.map(|seconds| Duration::from_secs(seconds.into()));
    let setup = Setup {
        name: config.name.clone(),
        socket: config.socket.clone(),
        state_directory: config.state_directory.clone(),
        metrics: None,
        install_routes: config.install_routes,
        logs_by_configuration: false,
        wishes: Wishes { drain_time: wishes.drain_time.or(configured), ..wishes },
    };
    let named = config.named_files();
    let source = Source::from_file(config, start(&setup.state_directory)?);
    run(setup, source, move |inputs| drop(tokio::spawn(static_file::follow(file, named, inputs)))).await
}

async fn run(setup: Setup, source: Source, feed: impl FnOnce(mpsc::Sender<Input>)) -> anyhow::Result<()> {
    let api = rpc::Listener::bind(&setup.socket)?;
    let (inputs, queue) = mpsc::channel(INPUTS);
    let (events, _) = broadcast::channel(EVENTS);
    let (reports, bfd_reports) = mpsc::unbounded_channel();
    let liveness = Liveness::start(source.seed(), reports)?;
    let foreign = Foreign::default();
    let next_hops =
        NextHopsHandle::start(foreign.clone(), inputs.clone()).await.context("reading the kernel's tables")?;
    let fib = if setup.install_routes {
        let stale = nexthops::routes_of_ours(&Netlink::open()?).await?;
        Some(FibHandle::start(stale, foreign, inputs.clone())?)
    } else {
        None
    };
    feed(inputs.clone());
    let services = Routes::default()
        .add_service(BgpServer::new(StatusService::new(inputs.clone(), events.clone(), liveness.clone())))
        .add_service(OriginServer::new(OriginService::new(inputs.clone())));
    let readers = metrics::Sources { inputs: inputs.clone(), liveness: liveness.clone() };
    answer_apart(api.serve(services, std::future::pending()), setup.metrics, readers)?;
    let clock = Clock::start();
    let driver = Driver {
        name: setup.name,
        clock,
        listener: listener::Supervisor::new(inputs.clone()),
        source,
        inputs,
        fib,
        next_hops,
        farewells: Farewells::new(liveness),
        journal: Journal::default(),
        events,
        speaker: None,
        guards: None,
        peers: HashMap::new(),
        passwords: Passwords::new(),
        peer_routes: None,
        connections: HashMap::new(),
        dialing: HashMap::new(),
        draining: false,
        outdated: false,
        configured: clock.now(),
        drained_node: false,
        logs_by_configuration: setup.logs_by_configuration,
        log: None,
        drain_time: setup.wishes.drain_time,
        recording: setup.wishes.recording,
    };
    driver.run(queue, bfd_reports, shutdown::requested()).await;
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}

/// Answers questions on a thread of its own, so that writing down a full table never delays a KEEPALIVE.
fn answer_apart(
    api: impl Future<Output = Result<(), rpc::Error>> + Send + 'static,
    metrics: Option<SocketAddr>,
    readers: metrics::Sources,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        if let Some(address) = metrics {
            metrics::start(address, readers);
        }
        api.await
    };
    thread::Builder::new().name("api".to_owned()).spawn(move || runtime.block_on(work))?;
    Ok(())
}

/// Finds out whether a bgpd ran before in this boot, and leaves word that one does now.
fn start(state_directory: &Path) -> anyhow::Result<Start> {
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    fs::create_dir_all(state_directory).with_context(|| format!("state directory {}", state_directory.display()))?;
    let mark = state_directory.join(RESTART_MARK);
    let restarted = match fs::read_to_string(&mark) {
        Ok(before) => before == boot && !boot.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| mark.display().to_string()),
    };
    fs::write(&mark, boot).with_context(|| mark.display().to_string())?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = since.as_secs().rotate_left(32)
        ^ u64::from(since.subsec_nanos())
        ^ u64::from(std::process::id()).rotate_left(48);
    Ok(Start { restarted, seed })
}
