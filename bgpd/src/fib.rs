//! Learned routes in the kernel: protocol 186, metric 1024, table main.
//!
//! A thread of its own writes them, so that a full table never delays a KEEPALIVE.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use engine::{Family, FibNextHop, FibUpdate, InstallResult, Prefix};
use ipnetwork::IpNetwork;
use kernel::{NextHop, Protocol, Route, RouteChange, RouteWriter};
use tokio::sync::mpsc;

use crate::input::Input;

/// Together with the protocol this marks a route as ours: other BGP speakers install with protocol 186 too.
pub(crate) const METRIC: u32 = 1024;
const RETRY: Duration = Duration::from_secs(1);

/// Destinations for which somebody else's route has our metric: writing ours would replace it.
pub(crate) type Foreign = Arc<Mutex<std::collections::BTreeSet<IpNetwork>>>;

/// Hands changes to the writing thread.
pub(crate) struct FibHandle {
    updates: Sender<Vec<FibUpdate>>,
}

impl FibHandle {
    /// Starts the writer. `stale` are our routes that the kernel already holds.
    ///
    /// # Errors
    /// When the thread or its socket cannot be had.
    pub(crate) fn start(stale: Vec<Route>, foreign: Foreign, inputs: mpsc::Sender<Input>) -> anyhow::Result<Self> {
        let writer = RouteWriter::open()?;
        let (updates, queue) = channel();
        let stale = stale.into_iter().map(|route| (route.destination, route.canonical())).collect();
        let mut fib = Fib { writer, stale, foreign, pending: BTreeMap::new(), inputs };
        thread::Builder::new().name("fib".to_owned()).spawn(move || fib.run(&queue))?;
        Ok(Self { updates })
    }

    /// Queues changes; what became of them comes back as [`Input::Installed`].
    pub(crate) fn apply(&self, updates: Vec<FibUpdate>) {
        // The thread ends only with the process.
        let _ = self.updates.send(updates);
    }
}

struct Fib {
    writer: RouteWriter,
    /// Routes of the former process that nobody has decided about yet.
    stale: HashMap<IpNetwork, Route>,
    foreign: Foreign,
    /// What the kernel refused, to be tried again.
    pending: BTreeMap<Prefix, FibUpdate>,
    inputs: mpsc::Sender<Input>,
}

impl Fib {
    fn run(&mut self, queue: &Receiver<Vec<FibUpdate>>) {
        let mut retry_at = None;
        loop {
            let received = match retry_at {
                Some(at) => queue.recv_timeout(Instant::now().max(at) - Instant::now()),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let updates = match received {
                Ok(first) => first.into_iter().chain(queue.try_iter().flatten()).collect(),
                Err(RecvTimeoutError::Timeout) => std::mem::take(&mut self.pending).into_values().collect(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let results = self.apply(updates);
            retry_at = (!self.pending.is_empty()).then(|| Instant::now() + RETRY);
            if self.inputs.blocking_send(Input::Installed(results)).is_err() {
                return;
            }
        }
    }

    fn apply(&mut self, updates: Vec<FibUpdate>) -> Vec<(Prefix, InstallResult)> {
        let mut results = BTreeMap::new();
        let mut latest: BTreeMap<Prefix, FibUpdate> = BTreeMap::new();
        let mut sweeps = Vec::new();
        for update in updates {
            match update {
                FibUpdate::Replace { prefix, .. } | FibUpdate::Remove { prefix } => drop(latest.insert(prefix, update)),
                FibUpdate::Sweep { family } => sweeps.push(family),
            }
        }
        let mut adds = Vec::new();
        let mut removes = Vec::new();
        for (prefix, update) in latest {
            self.pending.remove(&prefix);
            match self.change(prefix, &update) {
                Change::None => drop(results.insert(prefix, InstallResult::Installed)),
                Change::Foreign => {
                    self.pending.insert(prefix, update);
                    results.insert(prefix, InstallResult::Failed);
                }
                Change::Write(change @ RouteChange::Replace(_)) => adds.push((change, prefix, update)),
                Change::Write(change) => removes.push((change, prefix, update)),
            }
        }
        // Adds before removes: a prefix that moves to a less specific one is never without a route.
        adds.append(&mut removes);
        self.write(adds, &mut results);
        for family in sweeps {
            self.sweep(family);
        }
        results.into_iter().collect()
    }

    fn change(&mut self, prefix: Prefix, update: &FibUpdate) -> Change {
        let destination = IpNetwork::from(prefix);
        let stale = self.stale.remove(&destination);
        match update {
            FibUpdate::Replace { next_hops, .. } => {
                let route = route(destination, next_hops);
                if stale.is_some_and(|stale| stale == route.clone().canonical()) {
                    return Change::None;
                }
                if self.foreign.lock().unwrap_or_else(PoisonError::into_inner).contains(&destination) {
                    return Change::Foreign;
                }
                Change::Write(RouteChange::Replace(route))
            }
            _ => Change::Write(RouteChange::Delete(Route::unicast(destination, Protocol::BGP, METRIC, Vec::new()))),
        }
    }

    fn write(&mut self, changes: Vec<(RouteChange, Prefix, FibUpdate)>, results: &mut BTreeMap<Prefix, InstallResult>) {
        let (changes, subjects): (Vec<_>, Vec<_>) = changes.into_iter().map(|(c, p, u)| (c, (p, u))).unzip();
        if changes.is_empty() {
            return;
        }
        let failures = match self.writer.write(&changes) {
            Ok(failures) => failures.into_iter().map(|failure| (failure.index, failure.error.to_string())).collect(),
            Err(error) => (0..changes.len()).map(|index| (index, error.to_string())).collect::<HashMap<_, _>>(),
        };
        for (index, (prefix, update)) in subjects.into_iter().enumerate() {
            let result = match (failures.get(&index), &update) {
                (Some(error), _) => {
                    tracing::warn!(%prefix, error, "the kernel refused a route; trying again");
                    self.pending.insert(prefix, update);
                    InstallResult::Failed
                }
                (None, FibUpdate::Replace { .. }) => InstallResult::Installed,
                (None, _) => InstallResult::Removed,
            };
            results.insert(prefix, result);
        }
    }

    fn sweep(&mut self, family: Family) {
        let of_family = |network: &IpNetwork| network.is_ipv4() == (family == Family::Ipv4Unicast);
        let gone: Vec<_> = self.stale.extract_if(|network, _| of_family(network)).map(|(_, route)| route).collect();
        if gone.is_empty() {
            return;
        }
        tracing::info!(routes = gone.len(), %family, "removing routes that nobody announced again");
        let changes: Vec<_> = gone.into_iter().map(RouteChange::Delete).collect();
        match self.writer.write(&changes) {
            Ok(failures) => failures.iter().for_each(|f| tracing::warn!(error = %f.error, "a stale route stays")),
            Err(error) => tracing::warn!(%error, "stale routes may stay"),
        }
    }
}

enum Change {
    /// The kernel already holds it.
    None,
    /// Somebody else's route is there.
    Foreign,
    Write(RouteChange),
}

fn route(destination: IpNetwork, next_hops: &[FibNextHop]) -> Route {
    let next_hops = next_hops
        .iter()
        .map(|next_hop| NextHop {
            gateway: Some(next_hop.gateway),
            interface: next_hop.interface.unwrap_or(0),
            weight: u8::try_from(next_hop.weight).unwrap_or(u8::MAX),
            onlink: next_hop.onlink,
        })
        .collect();
    Route::unicast(destination, Protocol::BGP, METRIC, next_hops)
}
