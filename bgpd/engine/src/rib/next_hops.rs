//! Next hops in use and how they are reached.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;

use crate::output::{FibNextHop, NextHopUpdate, Reachability};
use crate::wire::NextHop;

/// A next hop in [`NextHops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NextHopId(NonZeroU32);

impl NextHopId {
    /// Ids begin with 1, so that no id costs no memory.
    const fn new(slot: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot as u32))
    }

    const fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Next hops of a kernel route, sorted, shared by all prefixes that have the same. Two counters, because a table has a
/// pointer to one in each entry, and a pointer to a slice is twice as long.
pub(crate) type KernelRoute = Arc<Arc<[FibNextHop]>>;

/// What is known about reaching a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The shell has not said yet.
    Unknown,
    Unreachable,
    Reachable {
        metric: u32,
    },
}

/// A next hop and the interface that its link-local address belongs to.
type Key = (NextHop, Option<u32>);

#[derive(Debug)]
struct Known {
    key: Key,
    users: u32,
    resolution: Resolution,
    /// As the only next hop of a kernel route; empty while unreachable.
    route: KernelRoute,
    /// The resolution changed since the table was last walked.
    changed: bool,
}

/// All next hops in use.
#[derive(Debug)]
pub(crate) struct NextHops {
    known: Slab<Known>,
    ids: HashMap<Key, NextHopId, FixedState>,
    /// What the shell watches, with its last word.
    tracked: BTreeMap<IpAddr, Tracked>,
    updates: VecDeque<NextHopUpdate>,
    any_unused: bool,
}

#[derive(Debug, Default)]
struct Tracked {
    users: u32,
    answer: Option<Option<Reachability>>,
}

/// A link-local router on a known interface needs no resolving.
fn direct((next_hop, interface): Key) -> Option<FibNextHop> {
    let gateway = IpAddr::V6(next_hop.link_local()?);
    interface.map(|_| FibNextHop { gateway, interface, onlink: true, weight: 1 })
}

fn resolve(key: Key, answer: Option<Option<Reachability>>) -> (Resolution, KernelRoute) {
    if let Some(route) = direct(key) {
        return (Resolution::Reachable { metric: 0 }, Arc::new(Arc::new([route])));
    }
    match answer {
        None => (Resolution::Unknown, KernelRoute::default()),
        Some(None) => (Resolution::Unreachable, KernelRoute::default()),
        Some(Some(Reachability { metric, interface, gateway, onlink })) => {
            let gateway = gateway.unwrap_or(key.0.address());
            let route = FibNextHop { gateway, interface: Some(interface), onlink, weight: 1 };
            (Resolution::Reachable { metric }, Arc::new(Arc::new([route])))
        }
    }
}

impl NextHops {
    pub(crate) fn new() -> Self {
        Self {
            known: Slab::new(),
            ids: HashMap::with_hasher(FixedState::default()),
            tracked: BTreeMap::new(),
            updates: VecDeque::new(),
            any_unused: false,
        }
    }

    /// The id of a next hop, for [`NextHops::hold`]. Asks the shell about a new one.
    pub(crate) fn id(&mut self, next_hop: NextHop, interface: Option<u32>) -> NextHopId {
        // The interface says something about link-local addresses only.
        let key = (next_hop, interface.filter(|_| next_hop.link_local().is_some()));
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let answer = if direct(key).is_some() {
            None
        } else {
            let address = next_hop.address();
            let updates = &mut self.updates;
            let tracked = self.tracked.entry(address).or_insert_with(|| {
                updates.push_back(NextHopUpdate::Track(address));
                Tracked::default()
            });
            tracked.users += 1;
            tracked.answer
        };
        let (resolution, route) = resolve(key, answer);
        let slot = self.known.insert(Known { key, users: 0, resolution, route, changed: false });
        let id = NextHopId::new(slot);
        self.ids.insert(key, id);
        self.any_unused = true;
        id
    }

    /// One more path uses it.
    pub(crate) fn hold(&mut self, id: NextHopId) {
        if let Some(known) = self.known.get_mut(id.slot()) {
            known.users += 1;
        }
    }

    /// One path less.
    pub(crate) fn release(&mut self, id: NextHopId) {
        if let Some(known) = self.known.get_mut(id.slot()) {
            known.users = known.users.saturating_sub(1);
            self.any_unused |= known.users == 0;
        }
    }

    /// Forgets what no path uses.
    pub(crate) fn sweep(&mut self) {
        if !std::mem::take(&mut self.any_unused) {
            return;
        }
        let Self { known, ids, tracked, updates, .. } = self;
        known.retain(|_, it| {
            if it.users > 0 {
                return true;
            }
            ids.remove(&it.key);
            let address = it.key.0.address();
            if direct(it.key).is_none()
                && let Some(watched) = tracked.get_mut(&address)
            {
                watched.users -= 1;
                if watched.users == 0 {
                    tracked.remove(&address);
                    updates.push_back(NextHopUpdate::Untrack(address));
                }
            }
            false
        });
    }

    /// The shell's word on an address. True if a path may be concerned.
    pub(crate) fn set(&mut self, address: IpAddr, answer: Option<Reachability>) -> bool {
        let Some(tracked) = self.tracked.get_mut(&address) else { return false };
        if tracked.answer == Some(answer) {
            return false;
        }
        tracked.answer = Some(answer);
        let mut any = false;
        for (_, known) in self.known.iter_mut() {
            if known.key.0.address() == address && direct(known.key).is_none() {
                (known.resolution, known.route) = resolve(known.key, Some(answer));
                known.changed = true;
                any = true;
            }
        }
        any
    }

    /// True if the resolution changed since [`NextHops::clear_changed`].
    pub(crate) fn changed(&self, id: NextHopId) -> bool {
        self.known.get(id.slot()).is_some_and(|it| it.changed)
    }

    pub(crate) fn clear_changed(&mut self) {
        self.known.iter_mut().for_each(|(_, known)| known.changed = false);
    }

    pub(crate) fn get(&self, id: NextHopId) -> Option<NextHop> {
        self.known.get(id.slot()).map(|it| it.key.0)
    }

    pub(crate) fn resolution(&self, id: NextHopId) -> Resolution {
        self.known.get(id.slot()).map_or(Resolution::Unknown, |it| it.resolution)
    }

    /// True while paths wait for the shell's first word on their next hop.
    pub(crate) fn any_unresolved(&self) -> bool {
        self.known.iter().any(|(_, it)| it.users > 0 && it.resolution == Resolution::Unknown)
    }

    /// The kernel's next hops of a route through this one alone; empty while unreachable.
    pub(crate) fn route(&self, id: NextHopId) -> Option<&KernelRoute> {
        self.known.get(id.slot()).map(|it| &it.route)
    }

    pub(crate) fn poll(&mut self) -> Option<NextHopUpdate> {
        self.updates.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_watched_once_while_paths_use_it() {
        let mut next_hops = NextHops::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let id = next_hops.id(NextHop::new(address), None);
        next_hops.hold(id);
        assert_eq!(next_hops.poll(), Some(NextHopUpdate::Track(address)));
        assert_eq!(next_hops.resolution(id), Resolution::Unknown);
        let reachability = Reachability { metric: 5, interface: 2, gateway: None, onlink: false };
        assert!(next_hops.set(address, Some(reachability)));
        assert!(!next_hops.set(address, Some(reachability)));
        assert_eq!(next_hops.resolution(id), Resolution::Reachable { metric: 5 });
        next_hops.sweep();
        assert_eq!(next_hops.poll(), None);
        next_hops.release(id);
        next_hops.sweep();
        assert_eq!(next_hops.poll(), Some(NextHopUpdate::Untrack(address)));
    }

    #[test]
    fn a_link_local_router_is_reached_over_the_interface_it_was_seen_on() {
        let mut next_hops = NextHops::new();
        let router: IpAddr = "fe80::1".parse().unwrap();
        let id = next_hops.id(NextHop::new(router), Some(7));
        assert_eq!(next_hops.poll(), None);
        assert_eq!(next_hops.resolution(id), Resolution::Reachable { metric: 0 });
        let route = next_hops.route(id).unwrap();
        assert_eq!(route[..], [FibNextHop { gateway: router, interface: Some(7), onlink: true, weight: 1 }]);
        assert_ne!(id, next_hops.id(NextHop::new(router), Some(8)));
    }
}
