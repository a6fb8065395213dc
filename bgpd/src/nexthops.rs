//! Which next hops are reachable, and how: resolved in a snapshot of the kernel's tables that notifications keep current.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::PoisonError,
    time::Duration,
};

use engine::Reachability;
use futures_util::FutureExt;
use ipnetwork::IpNetwork;
use kernel::{Effect, Event, Fib, Monitor, Netlink, Protocol, Route, RouteChange, RouteFilter, TABLE_MAIN, Watch};
use tokio::sync::mpsc;

use crate::{
    fib::{Foreign, METRIC},
    input::Input,
    peer_routes::{self, PeerRoutes},
};

/// Pause before a failed snapshot is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Tells the task which next hops matter.
pub(crate) struct NextHopsHandle {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Routes(PeerRoutes),
    Track(IpAddr),
    Untrack(IpAddr),
}

impl NextHopsHandle {
    /// Starts the task.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read or watched.
    pub(crate) async fn start(foreign: Foreign, inputs: mpsc::Sender<Input>) -> Result<Self, kernel::Error> {
        let watch = Watch {
            links: true,
            addresses: true,
            neighbours: false,
            routes: true,
            except: Some((Protocol::BGP, METRIC)),
        };
        let monitor = Monitor::open(watch)?;
        let netlink = Netlink::open()?;
        let fib = snapshot(&netlink, &foreign).await?;
        let (commands, queue) = mpsc::unbounded_channel();
        let task = NextHops { netlink, fib, foreign, tracked: BTreeMap::new(), peers: None, failed: false, inputs };
        tokio::spawn(task.run(monitor, queue));
        Ok(Self { commands })
    }

    /// Reports how `address` is reached, now and at every change.
    pub(crate) fn track(&self, address: IpAddr) {
        let _ = self.commands.send(Command::Track(address));
    }

    /// Peers that are reached through a gateway, and no others.
    pub(crate) fn reach(&self, peers: PeerRoutes) {
        let _ = self.commands.send(Command::Routes(peers));
    }

    /// No longer of interest.
    pub(crate) fn untrack(&self, address: IpAddr) {
        let _ = self.commands.send(Command::Untrack(address));
    }
}

/// Reads our routes of a former process.
///
/// # Errors
/// When the kernel's table cannot be read.
pub(crate) async fn routes_of_ours(netlink: &Netlink) -> Result<Vec<Route>, kernel::Error> {
    let filter = RouteFilter { protocol: Some(Protocol::BGP), table: Some(TABLE_MAIN), ..RouteFilter::default() };
    let routes = netlink.routes(filter).await?;
    Ok(routes.into_iter().filter(|route| route.metric == METRIC).collect())
}

async fn snapshot(netlink: &Netlink, foreign: &Foreign) -> Result<Fib, kernel::Error> {
    let links = netlink.links().await?;
    let addresses = netlink.addresses().await?;
    let routes = netlink.routes(RouteFilter::default()).await?;
    let theirs: BTreeSet<IpNetwork> = routes.iter().filter(|r| is_foreign(r)).map(|r| r.destination).collect();
    *foreign.lock().unwrap_or_else(PoisonError::into_inner) = theirs;
    Ok(Fib::new(TABLE_MAIN, Some((Protocol::BGP, METRIC)), links, addresses, routes))
}

fn is_foreign(route: &Route) -> bool {
    route.table == TABLE_MAIN && route.metric == METRIC && route.protocol != Protocol::BGP
}

struct NextHops {
    netlink: Netlink,
    fib: Fib,
    foreign: Foreign,
    tracked: BTreeMap<IpAddr, Option<Reachability>>,
    /// Peers behind a gateway, once they are known.
    peers: Option<PeerRoutes>,
    /// A route to one of them could not be written.
    failed: bool,
    inputs: mpsc::Sender<Input>,
}

impl NextHops {
    async fn run(mut self, mut monitor: Monitor, mut queue: mpsc::UnboundedReceiver<Command>) {
        loop {
            let changes = tokio::select! {
                command = queue.recv() => match command {
                    Some(Command::Track(address)) => self.track(address),
                    Some(Command::Routes(peers)) => {
                        self.peers = Some(peers);
                        self.reach().await;
                        Vec::new()
                    }
                    Some(Command::Untrack(address)) => {
                        self.tracked.remove(&address);
                        Vec::new()
                    }
                    None => return,
                },
                () = tokio::time::sleep(RETRY), if self.failed => {
                    self.reach().await;
                    Vec::new()
                }
                event = monitor.next() => match event {
                    Ok(event) => self.events(event, &mut monitor).await,
                    Err(error) => {
                        tracing::error!(%error, "the kernel's notifications failed");
                        std::process::abort();
                    }
                },
            };
            if !changes.is_empty() && self.inputs.send(Input::Reachable(changes)).await.is_err() {
                return;
            }
        }
    }

    fn track(&mut self, address: IpAddr) -> Vec<(IpAddr, Option<Reachability>)> {
        let reachability = resolve(&self.fib, address);
        self.tracked.insert(address, reachability);
        vec![(address, reachability)]
    }

    /// Takes this event and those that already wait, then resolves once.
    async fn events(&mut self, first: Event, monitor: &mut Monitor) -> Vec<(IpAddr, Option<Reachability>)> {
        let mut changed = false;
        let mut resync = false;
        let mut next = Some(Ok(first));
        while let Some(Ok(event)) = next {
            self.note_foreign(&event);
            match self.fib.on_event(&event) {
                Effect::None => {}
                Effect::Changed => changed = true,
                Effect::Resync => resync = true,
            }
            next = monitor.next().now_or_never();
        }
        if resync {
            self.resync().await;
        }
        if !changed && !resync {
            return Vec::new();
        }
        self.reach().await;
        self.changes()
    }

    /// Makes the routes to peers what they should be.
    async fn reach(&mut self) {
        let Some(peers) = &self.peers else { return };
        let mut failed = false;
        for change in peer_routes::difference(&self.fib, peers) {
            let done = match &change {
                RouteChange::Replace(route) => self.netlink.replace_route(route).await,
                RouteChange::Delete(route) => self.netlink.delete_route(route).await.map(drop),
            };
            if let Err(error) = done {
                if !self.failed {
                    tracing::warn!(%error, "a route to a peer is not as it should be; trying on");
                }
                failed = true;
            }
        }
        self.failed = failed;
    }

    fn note_foreign(&self, event: &Event) {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Route(route) | Event::RouteReplaced(route) if is_foreign(route) => {
                foreign.insert(route.destination);
            }
            Event::RouteGone(route) if is_foreign(route) => {
                foreign.remove(&route.destination);
            }
            _ => {}
        }
    }

    async fn resync(&mut self) {
        loop {
            match snapshot(&self.netlink, &self.foreign).await {
                Ok(fib) => {
                    self.fib = fib;
                    return;
                }
                Err(error) => tracing::warn!(%error, "cannot read the kernel's tables; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn changes(&mut self) -> Vec<(IpAddr, Option<Reachability>)> {
        let mut changes = Vec::new();
        for (address, known) in &mut self.tracked {
            let now = resolve(&self.fib, *address);
            if now != *known {
                *known = now;
                changes.push((*address, now));
            }
        }
        changes
    }
}

fn resolve(fib: &Fib, address: IpAddr) -> Option<Reachability> {
    fib.resolve(address, None).map(|r| Reachability {
        metric: r.metric,
        interface: r.interface,
        gateway: r.gateway,
        onlink: r.onlink,
    })
}
