//! Assigning addresses, to several containers at once.
//!
//! The order of writes is: handles, then blocks. A common ADD is one handle created and one block updated; requests that
//! are made together share the block update.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipnetwork::IpNetwork;
use resources::{AllowedUse, IpamBlock, Object};

use crate::{
    ATTEMPTS, Error,
    block::{Block, Owner},
    handle::{self, Counts},
    machine::{self, Step, Store, Write},
    pools::{self, Demand, Pool, View},
    range::{self, Family},
    refusal::Refusal,
    release,
    shelf::Shelf,
};

/// Whether a request wants an address of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Want {
    /// No.
    No,
    /// If a pool of the family may be used. A request that ends up with no family at all is refused.
    #[default]
    IfPool,
    /// Yes; without one the request is refused.
    Yes,
}

/// What one container (or tunnel) asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Whom the addresses are for.
    pub owner: Owner,
    /// What they are for.
    pub purpose: AllowedUse,
    /// Labels of the container's namespace, for the pools' `namespaceSelector`.
    pub namespace_labels: BTreeMap<String, String>,
    /// Whether it wants an IPv4 address.
    pub ipv4: Want,
    /// Whether it wants an IPv6 address.
    pub ipv6: Want,
    /// Names or CIDRs of the IPv4 pools to use, in that order; empty for any that selects node and namespace.
    pub ipv4_pools: Vec<String>,
    /// Names or CIDRs of the IPv6 pools to use.
    pub ipv6_pools: Vec<String>,
    /// Addresses it must have, at most one of a family. They decide the family's pool, and reservations do not count.
    pub addresses: Vec<IpAddr>,
}

/// Requests that are served together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The cluster.
    pub view: Arc<View>,
    /// The requests. Each is served whole or not at all, whatever becomes of the others.
    pub requests: Vec<Request>,
    /// The node's blocks as it remembers them, from the last [`Assigned::blocks`]. They may be out of date or none at all:
    /// that costs reads, not correctness.
    pub blocks: Vec<IpamBlock>,
    /// Time since 1970-01-01T00:00:00Z.
    pub now: Duration,
}

/// An address as assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The address.
    pub address: IpAddr,
    /// The block it is from.
    pub block: IpNetwork,
    /// The block's sequence number then; [`release_address`](crate::release_address) can insist on it.
    pub sequence: u64,
    /// The block is not this node's: the address needs a route of its own.
    pub borrowed: bool,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its addresses, IPv4 first.
    Assigned(Vec<Assignment>),
    /// It has none.
    Refused(Refusal),
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// Per request, in their order.
    pub outcomes: Vec<Outcome>,
    /// The node's blocks that were read or written, to be passed to the next call.
    pub blocks: Vec<IpamBlock>,
    /// Blocks that were passed over because they contradict themselves.
    pub unsound: Vec<Error>,
}

/// Assigns addresses.
#[must_use]
pub fn assign(batch: Batch) -> Step<Assigned> {
    machine::start(|store| run(store, batch))
}

async fn run(store: Store, batch: Batch) -> Assigned {
    let mut session = Session::new(store, batch);
    for _ in 0..ATTEMPTS {
        if !session.place().await {
            break;
        }
        session.write_handles().await;
        session.write_blocks().await;
    }
    session.settle().await
}

/// One address of one request.
struct Wish {
    request: usize,
    target: Target,
    state: State,
}

enum Target {
    Pools(Vec<Pool>),
    Address(IpAddr, Pool),
}

enum State {
    Open,
    /// It will be tried in that block.
    Placed(IpNetwork),
    Assigned(Assignment),
    /// The owner had it before.
    Held(Assignment),
    Refused(Refusal),
}

struct Session {
    store: Store,
    view: Arc<View>,
    requests: Vec<Request>,
    wishes: Vec<Wish>,
    /// Per request: what this session has added to its handle.
    counted: Vec<Counts>,
    shelf: Shelf,
}

impl Session {
    fn new(store: Store, batch: Batch) -> Self {
        let Batch { view, mut requests, blocks, now } = batch;
        for request in &mut requests {
            request.owner.attributes.insert("node".to_owned(), view.node.clone());
        }
        let shelf = Shelf::new(store.clone(), Arc::clone(&view), now, blocks);
        let wishes = requests.iter().enumerate().flat_map(|(index, request)| wishes(&view, index, request)).collect();
        let counted = vec![Counts::new(); requests.len()];
        Self { store, view, requests, wishes, counted, shelf }
    }

    fn is_refused(&self, request: usize) -> bool {
        self.wishes.iter().any(|wish| wish.request == request && matches!(wish.state, State::Refused(_)))
    }

    /// Finds a block for every open wish. False when there was nothing to do.
    async fn place(&mut self) -> bool {
        let mut spoken_for: BTreeMap<IpNetwork, usize> = BTreeMap::new();
        for index in 0..self.wishes.len() {
            let Some(wish) = self.wishes.get(index) else { continue };
            if !matches!(wish.state, State::Open) || self.is_refused(wish.request) {
                continue;
            }
            let found = match &wish.target {
                Target::Pools(pools) => self.shelf.room(pools, &spoken_for).await,
                Target::Address(address, pool) => block_of(&mut self.shelf, &self.view, *address, pool).await,
            };
            let state = match found {
                Ok(cidr) => {
                    *spoken_for.entry(cidr).or_default() += 1;
                    State::Placed(cidr)
                }
                Err(refusal) => State::Refused(refusal),
            };
            if let Some(wish) = self.wishes.get_mut(index) {
                wish.state = state;
            }
        }
        !spoken_for.is_empty()
    }

    /// Counts in the handles what is about to be assigned.
    async fn write_handles(&mut self) {
        for index in 0..self.requests.len() {
            if self.is_refused(index) {
                continue;
            }
            let mut more = self.counts(index, |state| match state {
                State::Placed(cidr) => Some(*cidr),
                State::Assigned(assignment) => Some(assignment.block),
                State::Open | State::Held(_) | State::Refused(_) => None,
            });
            let (Some(request), Some(counted)) = (self.requests.get(index), self.counted.get_mut(index)) else {
                continue;
            };
            for (cidr, count) in counted.iter() {
                let needed = more.get(cidr).copied().unwrap_or(0).saturating_sub(*count);
                more.insert(*cidr, needed);
            }
            more.retain(|_, count| *count > 0);
            if more.is_empty() {
                continue;
            }
            if handle::add(&self.store, &self.view.node, &request.owner.handle_id, &more).await {
                more.into_iter().for_each(|(cidr, count)| *counted.entry(cidr).or_default() += count);
            } else {
                self.refuse(index, &Refusal::Contended { attempts: ATTEMPTS });
            }
        }
    }

    fn counts(&self, request: usize, block: impl Fn(&State) -> Option<IpNetwork>) -> Counts {
        let mut counts = Counts::new();
        for cidr in self.wishes.iter().filter(|wish| wish.request == request).filter_map(|wish| block(&wish.state)) {
            *counts.entry(cidr).or_default() += 1;
        }
        counts
    }

    fn refuse(&mut self, request: usize, refusal: &Refusal) {
        for wish in self.wishes.iter_mut().filter(|wish| wish.request == request) {
            if matches!(wish.state, State::Open | State::Placed(_)) {
                wish.state = State::Refused(refusal.clone());
            }
        }
    }

    /// One write per block for all that is placed in it.
    async fn write_blocks(&mut self) {
        let placed = |wish: &Wish| match wish.state {
            State::Placed(cidr) => Some(cidr),
            _ => None,
        };
        let cidrs: BTreeSet<IpNetwork> = self.wishes.iter().filter_map(placed).collect();
        for cidr in cidrs {
            let refused: BTreeSet<usize> =
                (0..self.requests.len()).filter(|request| self.is_refused(*request)).collect();
            let Some(mut block) = self.shelf.get(&cidr).cloned() else { continue };
            let borrowed = block.node() != Some(self.view.node.as_str());
            let mut assigned: Vec<(usize, State)> = Vec::new();
            for (index, wish) in self.wishes.iter().enumerate() {
                if !matches!(wish.state, State::Placed(at) if at == cidr) || refused.contains(&wish.request) {
                    continue;
                }
                let Some(request) = self.requests.get(wish.request) else { continue };
                let given = match &wish.target {
                    Target::Pools(_) => block.assign_next(&request.owner, self.shelf.reserved()),
                    Target::Address(address, _) => block.assign_address(*address, &request.owner),
                };
                if let Some((address, sequence)) = given {
                    assigned.push((index, State::Assigned(Assignment { address, block: cidr, sequence, borrowed })));
                } else if let Target::Address(address, _) = &wish.target {
                    assigned.push((index, taken(&block, *address, &request.owner, borrowed)));
                }
            }
            self.write_block(cidr, &block, assigned).await;
        }
        // Whatever found no room after all is placed anew.
        for wish in &mut self.wishes {
            if matches!(wish.state, State::Placed(_)) {
                wish.state = State::Open;
            }
        }
    }

    async fn write_block(&mut self, cidr: IpNetwork, block: &Block, assigned: Vec<(usize, State)>) {
        if self.shelf.get(&cidr) != Some(block) {
            match self.store.update(block.to_write()).await {
                Write::Done(stored) => {
                    if let Some(object) = IpamBlock::from_resource(*stored) {
                        self.shelf.put(object);
                    }
                }
                Write::Conflict | Write::Exists | Write::NotFound => {
                    self.shelf.fetch(cidr).await;
                    return;
                }
            }
        }
        for (index, state) in assigned {
            if let Some(wish) = self.wishes.get_mut(index) {
                wish.state = state;
            }
        }
    }

    /// Takes back what the refused requests got, corrects the handles, and reports.
    async fn settle(mut self) -> Assigned {
        for index in 0..self.requests.len() {
            if !self.is_refused(index) {
                self.refuse(index, &Refusal::Contended { attempts: ATTEMPTS });
            }
        }
        let mut outcomes = Vec::new();
        for index in 0..self.requests.len() {
            let refusal = self.wishes.iter().filter(|wish| wish.request == index).find_map(|wish| match &wish.state {
                State::Refused(refusal) => Some(refusal.clone()),
                _ => None,
            });
            let mut all = Vec::new();
            let mut new = Vec::new();
            for wish in self.wishes.iter().filter(|wish| wish.request == index) {
                match wish.state {
                    State::Assigned(assignment) => {
                        all.push(assignment);
                        new.push(assignment);
                    }
                    State::Held(assignment) => all.push(assignment),
                    State::Open | State::Placed(_) | State::Refused(_) => {}
                }
            }
            if refusal.is_some() {
                new = self.take_back(index, &new).await;
            }
            self.uncount(index, &new).await;
            outcomes.push(refusal.map_or(Outcome::Assigned(all), Outcome::Refused));
        }
        let (blocks, unsound) = self.shelf.into_parts();
        Assigned { outcomes, blocks, unsound }
    }

    /// Releases addresses again. Gives back those that could not be: the handle must go on counting them.
    async fn take_back(&mut self, request: usize, assigned: &[Assignment]) -> Vec<Assignment> {
        let Some(handle_id) = self.requests.get(request).map(|request| request.owner.handle_id.clone()) else {
            return Vec::new();
        };
        let mut kept = Vec::new();
        for assignment in assigned {
            let known = self.shelf.get(&assignment.block).cloned();
            let released = release::from_block(&self.store, assignment.block, known, |allocation| {
                allocation.address == assignment.address
                    && allocation.handle_id == Some(handle_id.as_str())
                    && allocation.sequence == assignment.sequence
            })
            .await;
            match released {
                Some(released) => self.shelf.replace(assignment.block, released.block),
                None => kept.push(*assignment),
            }
        }
        kept
    }

    /// Takes from a handle what was counted and is not assigned.
    async fn uncount(&mut self, request: usize, assigned: &[Assignment]) {
        let (Some(counted), Some(request)) = (self.counted.get(request), self.requests.get(request)) else { return };
        let mut surplus = counted.clone();
        for assignment in assigned {
            if let Some(count) = surplus.get_mut(&assignment.block) {
                *count = count.saturating_sub(1);
            }
        }
        surplus.retain(|_, count| *count > 0);
        if !surplus.is_empty() {
            let _counts_too_many_at_worst = handle::subtract(&self.store, &request.owner.handle_id, &surplus).await;
        }
    }
}

/// The wishes of a request. One that is refused from the start is a single refused wish.
fn wishes(view: &View, index: usize, request: &Request) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut refusal = None;
    for family in [Family::Ipv4, Family::Ipv6] {
        let (want, asked_for) = match family {
            Family::Ipv4 => (request.ipv4, &request.ipv4_pools),
            Family::Ipv6 => (request.ipv6, &request.ipv6_pools),
        };
        let addresses: Vec<IpAddr> =
            request.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
        let target = match addresses.as_slice() {
            [] if want == Want::No => continue,
            [] => {
                let demand =
                    Demand { family, purpose: request.purpose, asked_for, namespace_labels: &request.namespace_labels };
                pools::select(view, &demand).map(Target::Pools)
            }
            [address] => pool_for(view, *address, request.purpose).map(|pool| Target::Address(*address, pool)),
            _ => Err(Refusal::TooManyAddresses { family }),
        };
        match target {
            Ok(target) => wishes.push(Wish { request: index, target, state: State::Open }),
            Err(no_pool @ Refusal::NoPool { .. }) if want == Want::IfPool => {
                refusal.get_or_insert(no_pool);
            }
            Err(refusal) => return vec![refused(index, refusal)],
        }
    }
    if wishes.is_empty() {
        wishes.push(refused(index, refusal.unwrap_or(Refusal::NothingAskedFor)));
    }
    wishes
}

fn refused(request: usize, refusal: Refusal) -> Wish {
    Wish { request, target: Target::Pools(Vec::new()), state: State::Refused(refusal) }
}

fn pool_for(view: &View, address: IpAddr, purpose: AllowedUse) -> Result<Pool, Refusal> {
    let pool = view.pool_of(address).ok_or(Refusal::AddressOutsidePools { address })?;
    match pools::closed_to(pool, purpose) {
        Some(because) => Err(Refusal::AddressInClosedPool { address, pool: pool.metadata.name.clone(), because }),
        None => Ok(pool.into()),
    }
}

/// The block of an address that is asked for, claimed if nobody has it.
async fn block_of(shelf: &mut Shelf, view: &View, address: IpAddr, pool: &Pool) -> Result<IpNetwork, Refusal> {
    let cidr = range::enclosing(address, pool.block_length).ok_or(Refusal::AddressOutsidePools { address })?;
    // Who has it must be known for sure, so what is remembered does not count.
    if shelf.fetch(cidr).await.is_none() && !shelf.is_unsound(&cidr) {
        shelf.claim(cidr).await;
    }
    let Some(block) = shelf.get(&cidr) else {
        return Err(match shelf.is_unsound(&cidr) {
            true => Refusal::AddressInUnsoundBlock { address },
            false => Refusal::Contended { attempts: ATTEMPTS },
        });
    };
    let own = block.node() == Some(view.node.as_str());
    if !own && (view.configuration.strict_affinity || block.is_virtual()) {
        return Err(Refusal::AddressOfOtherNode { address, node: block.node().map(str::to_owned) });
    }
    Ok(cidr)
}

/// What to say when the address asked for is not free: it may be the owner's already.
fn taken(block: &Block, address: IpAddr, owner: &Owner, borrowed: bool) -> State {
    let holder = block.allocations().find(|allocation| allocation.address == address);
    match holder {
        Some(holder) if holder.handle_id == Some(owner.handle_id.as_str()) && !holder.released => {
            State::Held(Assignment { address, block: block.cidr(), sequence: holder.sequence, borrowed })
        }
        Some(holder) => State::Refused(Refusal::AddressTaken {
            address,
            handle_id: holder.handle_id.map(str::to_owned),
            owner: holder.attributes.clone(),
        }),
        // Free by now for a reason this copy does not show; look again.
        None => State::Open,
    }
}
