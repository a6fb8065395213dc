//! The kernel side: makes what is into what should be, and says what could not be made.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use calc::{Desired, DesiredRoute};
use ipnetwork::IpNetwork;
use kernel::{
    Netlink, NextHop, Protocol, Route, RouteChange, RouteFilter, RouteWriter, TABLE_MAIN,
    conntrack::{Conntrack, FlowFilter},
    nf_tables::{Commit, NfTables},
};
use nft::{Change, Ruleset};

/// Priority of our routes: Calico's normal route priority.
const METRIC: u32 = 1024;
/// Where connections carry the generation under which they were let through.
const GENERATION_BITS: u32 = 0x7fff_0000;
/// How often a transaction is computed anew because somebody else changed a ruleset meanwhile.
const ATTEMPTS: u32 = 8;

/// The part that rules are.
pub(crate) const NFTABLES: &str = "nftables";
/// The part that routes are.
const ROUTES: &str = "routes";

/// Something that should be in the kernel and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unapplied {
    /// [`NFTABLES`] or [`ROUTES`].
    pub(crate) part: &'static str,
    /// What the kernel said.
    pub(crate) detail: String,
}

/// The kernel as we know it.
pub(crate) struct Dataplane {
    tables: NfTables,
    /// The table as the last commit left it; `None` when it must be listed first.
    ruleset: Option<Ruleset>,
    /// The kernel's generation then.
    generation: u32,
    /// The generation of policy that the rules last written carry; 0 before the first.
    policy_generation: u16,
    writer: RouteWriter,
    netlink: Netlink,
    /// Our routes in the kernel; `None` when they must be listed first.
    routes: Option<BTreeMap<IpNetwork, Route>>,
    /// Numbers of the interfaces that are up, by name; `None` when they must be listed first.
    links: Option<BTreeMap<String, u32>>,
}

impl Dataplane {
    /// Opens the kernel's tables in this network namespace.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub(crate) fn open() -> Result<Self, kernel::Error> {
        Ok(Self {
            tables: NfTables::open()?,
            ruleset: None,
            generation: 0,
            policy_generation: 0,
            writer: RouteWriter::open()?,
            netlink: Netlink::open()?,
            routes: None,
            links: None,
        })
    }

    /// The ruleset that a former felix left.
    ///
    /// # Errors
    /// When the kernel cannot be talked to.
    pub(crate) fn found(&mut self) -> Result<Ruleset, kernel::Error> {
        self.tables.list()
    }

    /// How many routes of ours are in the kernel.
    pub(crate) fn route_count(&self) -> usize {
        self.routes.as_ref().map_or(0, BTreeMap::len)
    }

    /// Policy first, then routes: a pod is never reachable before it is policed.
    pub(crate) async fn apply(&mut self, desired: &Desired) -> Vec<Unapplied> {
        let mut unapplied = Vec::new();
        if let Err(detail) = self.begin_generation(desired.generation) {
            unapplied.push(Unapplied { part: NFTABLES, detail });
            return unapplied;
        }
        if let Err(detail) = self.apply_ruleset(&desired.ruleset) {
            unapplied.push(Unapplied { part: NFTABLES, detail });
            return unapplied;
        }
        if let Err(detail) = self.apply_routes(&desired.routes).await {
            unapplied.push(Unapplied { part: ROUTES, detail });
        }
        unapplied
    }

    /// Whether somebody else changed a ruleset since our last commit; ours is listed anew then.
    pub(crate) fn disturbed(&mut self) -> bool {
        match self.tables.generation() {
            Ok(generation) if generation == self.generation || self.ruleset.is_none() => false,
            Ok(_) => {
                self.ruleset = None;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot ask for the nf_tables generation");
                false
            }
        }
    }

    /// When the generation has come round, connections that were judged under the same number long ago must not pass for
    /// judged.
    fn begin_generation(&mut self, generation: u16) -> Result<(), String> {
        if generation < self.policy_generation {
            let mut conntrack = Conntrack::open().map_err(|error| error.to_string())?;
            conntrack.clear_mark(FlowFilter::default(), GENERATION_BITS).map_err(|error| error.to_string())?;
        }
        self.policy_generation = generation;
        Ok(())
    }

    fn apply_ruleset(&mut self, desired: &Ruleset) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let before = self.tables.generation().map_err(|error| error.to_string())?;
            let actual = match self.ruleset.take() {
                Some(actual) if before == self.generation => actual,
                _ => self.tables.list().map_err(|error| error.to_string())?,
            };
            if let Some(after) = self.commit(&nft::stages(&actual, desired), before)? {
                self.ruleset = Some(desired.clone());
                self.generation = after;
                return Ok(());
            }
        }
        Err("others keep changing the kernel's rulesets".to_owned())
    }

    /// Commits transactions one after the other upon generation `before`. Gives the generation then; `None` when somebody
    /// else committed since, perhaps to our table.
    fn commit(&mut self, stages: &[Vec<Change>], before: u32) -> Result<Option<u32>, String> {
        let mut expected = before;
        for changes in stages {
            match self.tables.commit(changes).map_err(|error| error.to_string())? {
                Commit::Done => expected = expected.wrapping_add(1),
                Commit::Stale => return Ok(None),
                Commit::Refused(refused) => return Err(sentence(&refused, changes)),
            }
            if self.tables.generation().map_err(|error| error.to_string())? != expected {
                return Ok(None);
            }
        }
        Ok(Some(expected))
    }

    async fn apply_routes(&mut self, desired: &BTreeMap<IpNetwork, DesiredRoute>) -> Result<(), String> {
        let actual = match self.routes.take() {
            Some(actual) => actual,
            None => self.list_routes().await.map_err(|error| error.to_string())?,
        };
        let links = match self.links.take() {
            Some(links) => links,
            None => self.list_links().await.map_err(|error| error.to_string())?,
        };
        let wanted = resolve(desired, &links);
        let replaced = wanted.values().filter(|route| actual.get(&route.destination) != Some(route));
        let mut changes: Vec<_> = replaced.cloned().map(RouteChange::Replace).collect();
        let gone = actual.values().filter(|route| !wanted.contains_key(&route.destination));
        changes.extend(gone.cloned().map(RouteChange::Delete));
        let failures = match self.writer.write(&changes) {
            Ok(failures) => failures,
            Err(error) => return Err(error.to_string()),
        };
        if let Some(first) = failures.first() {
            // What is in the kernel now is listed by the next attempt.
            return Err(first.error.to_string());
        }
        self.links = Some(links);
        self.routes = Some(wanted);
        Ok(())
    }

    async fn list_routes(&self) -> Result<BTreeMap<IpNetwork, Route>, kernel::Error> {
        let filter = RouteFilter { protocol: Some(Protocol::FELIX), table: Some(TABLE_MAIN), ..RouteFilter::default() };
        let routes = self.netlink.routes(filter).await?;
        Ok(routes.into_iter().map(|route| (route.destination, route.canonical())).collect())
    }

    /// Those that are up: the kernel takes no route over another.
    async fn list_links(&self) -> Result<BTreeMap<String, u32>, kernel::Error> {
        let links = self.netlink.links().await?.into_iter().filter(|link| link.up);
        Ok(links.map(|link| (link.name, link.index)).collect())
    }

    /// A pod's interface is there.
    pub(crate) fn link_came(&mut self, name: String, index: u32) {
        if let Some(links) = &mut self.links {
            links.insert(name, index);
        }
    }

    /// A pod's interface is gone, and with it the routes over it.
    pub(crate) fn link_went(&mut self, name: &str) {
        let index = self.links.as_mut().and_then(|links| links.remove(name));
        if let (Some(index), Some(routes)) = (index, &mut self.routes) {
            routes.retain(|_, route| route.next_hops.iter().all(|next_hop| next_hop.interface != index));
        }
    }
}

/// The routes with interface numbers. An endpoint whose interface is not there yet has none.
fn resolve(desired: &BTreeMap<IpNetwork, DesiredRoute>, links: &BTreeMap<String, u32>) -> BTreeMap<IpNetwork, Route> {
    let route = |destination: &IpNetwork, route: &DesiredRoute| match route {
        DesiredRoute::Blackhole => Some(Route::blackhole(*destination, Protocol::FELIX, METRIC)),
        DesiredRoute::Endpoint { interface } => {
            let next_hops = vec![NextHop::dev(*links.get(interface)?)];
            Some(Route::unicast(*destination, Protocol::FELIX, METRIC, next_hops))
        }
    };
    let routes = desired.iter().filter_map(|(destination, desired)| route(destination, desired));
    routes.map(|route| (route.destination, route.canonical())).collect()
}

fn sentence(refused: &[kernel::nf_tables::RefusedChange], changes: &[Change]) -> String {
    let Some(first) = refused.first() else { return "the kernel refused the transaction".to_owned() };
    let change = first.change.and_then(|index| changes.get(index));
    let what = change.map_or_else(|| "the transaction".to_owned(), ToString::to_string);
    let detail = first.detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
    format!("the kernel refused {what}: {}{detail}", first.source)
}

/// Forgets the connections of addresses that no longer are who they were.
pub(crate) fn forget_connections(addresses: &BTreeSet<IpAddr>) -> Result<(), kernel::Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    Conntrack::open()?.delete_by_addresses(addresses).map(drop)
}

/// Makes the node a router.
///
/// # Errors
/// When forwarding cannot be switched on.
pub(crate) fn enable_forwarding() -> Result<(), kernel::Error> {
    kernel::sysctl::ip_forward().set(1)?;
    if kernel::sysctl::has_ipv6() {
        kernel::sysctl::ipv6_forwarding().set(1)?;
    }
    Ok(())
}

/// The MTU that fits every path out of this node: the smallest of the interfaces that are no pod's, 1500 without any.
///
/// # Errors
/// When links cannot be listed.
pub(crate) async fn host_mtu(netlink: &Netlink, pod_prefix: &str) -> Result<u32, kernel::Error> {
    let links = netlink.links().await?;
    let outward = links.iter().filter(|link| link.up && link.name != "lo" && !link.name.starts_with(pod_prefix));
    Ok(outward.map(|link| link.mtu).min().unwrap_or(DEFAULT_MTU))
}

const DEFAULT_MTU: u32 = 1500;
