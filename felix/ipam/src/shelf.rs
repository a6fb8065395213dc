//! The blocks that one procedure has at hand, and where the next one comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ipnetwork::IpNetwork;
use resources::{AffinityState, BlockAffinity, IpamBlock, Kind, Object};

use crate::{
    ATTEMPTS, Error,
    block::Block,
    claim::{self, Claim},
    machine::Store,
    pools::{Pool, Reservations, View},
    range::{self, Walk},
    refusal::{PoolUse, Refusal},
};

/// How many places of a pool are looked at for a free one. Only a pool whose reservations cover that many blocks has a
/// free one beyond.
const WALK_LIMIT: usize = 1 << 16;

/// Blocks as last read, by prefix.
pub(crate) struct Shelf {
    store: Store,
    view: Arc<View>,
    now: Duration,
    reserved: Reservations,
    blocks: BTreeMap<IpNetwork, Block>,
    /// Those that were read or written by this procedure. The others are remembered and may be out of date.
    fresh: BTreeSet<IpNetwork>,
    unsound: BTreeMap<IpNetwork, Error>,
    own_listed: bool,
    all_listed: bool,
}

impl Shelf {
    /// Begins with what the node remembers of its own blocks.
    pub(crate) fn new(store: Store, view: Arc<View>, now: Duration, remembered: Vec<IpamBlock>) -> Self {
        let reserved = Reservations::of(&view);
        let mut shelf = Self {
            store,
            view,
            now,
            reserved,
            blocks: BTreeMap::new(),
            fresh: BTreeSet::new(),
            unsound: BTreeMap::new(),
            own_listed: false,
            all_listed: false,
        };
        for object in remembered {
            shelf.put(object);
        }
        shelf.fresh.clear();
        shelf
    }

    pub(crate) fn reserved(&self) -> &Reservations {
        &self.reserved
    }

    pub(crate) fn get(&self, cidr: &IpNetwork) -> Option<&Block> {
        self.blocks.get(cidr)
    }

    pub(crate) fn is_unsound(&self, cidr: &IpNetwork) -> bool {
        self.unsound.contains_key(cidr)
    }

    /// Puts a block as read or written.
    pub(crate) fn put(&mut self, object: IpamBlock) {
        let cidr = object.spec.cidr.network();
        let found = (!object.spec.deleted).then(|| Block::read(object));
        self.put_found(cidr, found);
    }

    fn put_found(&mut self, cidr: IpNetwork, found: Option<Result<Block, Error>>) {
        self.blocks.remove(&cidr);
        self.unsound.remove(&cidr);
        self.fresh.insert(cidr);
        match found {
            None => {}
            Some(Ok(block)) => {
                self.blocks.insert(cidr, block);
            }
            Some(Err(error)) => {
                self.unsound.insert(cidr, error);
            }
        }
    }

    /// Puts a block as it is after a release; none if it is gone.
    pub(crate) fn replace(&mut self, cidr: IpNetwork, block: Option<Block>) {
        self.put_found(cidr, block.map(Ok));
    }

    /// Reads a block again.
    pub(crate) async fn fetch(&mut self, cidr: IpNetwork) -> Option<&Block> {
        let found = claim::get_block(&self.store, cidr).await;
        self.put_found(cidr, found);
        self.blocks.get(&cidr)
    }

    fn is_own(&self, block: &Block) -> bool {
        block.node() == Some(self.view.node.as_str())
    }

    fn has_room(&self, block: &Block, spoken_for: &BTreeMap<IpNetwork, usize>) -> bool {
        block.free(&self.reserved) > spoken_for.get(&block.cidr()).copied().unwrap_or(0)
    }

    /// A block of the pools with room beyond what is spoken for: one of the node's, or one that can be made so, or, where
    /// affinity is not strict, another's.
    pub(crate) async fn room(
        &mut self,
        pools: &[Pool],
        spoken_for: &BTreeMap<IpNetwork, usize>,
    ) -> Result<IpNetwork, Refusal> {
        loop {
            if let Some(cidr) = self.own_with_room(pools, spoken_for) {
                return Ok(cidr);
            }
            if !self.own_listed {
                self.list_own().await;
            } else if !self.claim_next(pools).await {
                break;
            }
        }
        self.list_all().await;
        let borrowed = self.borrowable(pools, spoken_for);
        borrowed.ok_or_else(|| self.full(pools, spoken_for))
    }

    fn own_with_room(&self, pools: &[Pool], spoken_for: &BTreeMap<IpNetwork, usize>) -> Option<IpNetwork> {
        pools.iter().find_map(|pool| {
            let own = self.in_pool(pool).filter(|block| self.is_own(block));
            own.filter(|block| self.has_room(block, spoken_for)).map(Block::cidr).next()
        })
    }

    fn in_pool<'a>(&'a self, pool: &Pool) -> impl Iterator<Item = &'a Block> {
        let pool = pool.cidr;
        self.blocks.values().filter(move |block| range::covers(&pool, &block.cidr()))
    }

    /// Another's block, the first on the node's walk, so that borrowers spread.
    fn borrowable(&self, pools: &[Pool], spoken_for: &BTreeMap<IpNetwork, usize>) -> Option<IpNetwork> {
        if self.view.configuration.strict_affinity {
            return None;
        }
        pools.iter().find_map(|pool| {
            let walk = Walk::new(pool.cidr, pool.block_length, &self.view.node);
            let others = self.in_pool(pool).filter(|block| !block.is_virtual() && self.has_room(block, spoken_for));
            others.map(Block::cidr).min_by_key(|cidr| walk.position(cidr))
        })
    }

    /// Reads the node's blocks by their affinities, and finishes or undoes the claims among them.
    async fn list_own(&mut self) {
        self.own_listed = true;
        let affinities = self.store.list(Kind::BlockAffinity).await;
        for affinity in affinities.into_iter().filter_map(BlockAffinity::from_resource) {
            let cidr = affinity.spec.cidr.network();
            let own =
                affinity.spec.node == self.view.node && matches!(affinity.spec.affinity_type.as_str(), "" | "host");
            if !own || affinity.spec.deleted || self.fresh.contains(&cidr) {
                continue;
            }
            match affinity.spec.state {
                AffinityState::Pending if self.is_wanted(&cidr) => {
                    self.claim(cidr).await;
                }
                // Left for `reconcile` to undo.
                AffinityState::Pending => {}
                AffinityState::Confirmed => {
                    self.fetch(cidr).await;
                }
                // Somebody is giving it back, and will finish.
                AffinityState::PendingDeletion => {}
            }
        }
    }

    /// Whether a pool still makes such blocks.
    fn is_wanted(&self, cidr: &IpNetwork) -> bool {
        let mut pools = self.view.pools.iter().filter(|pool| !pool.spec.disabled).map(Pool::from);
        pools.any(|pool| pool.block_length == cidr.prefix() && range::covers(&pool.cidr, cidr))
    }

    async fn list_all(&mut self) {
        if self.all_listed {
            return;
        }
        self.all_listed = true;
        for object in self.store.list(Kind::IpamBlock).await.into_iter().filter_map(IpamBlock::from_resource) {
            if !self.fresh.contains(&object.spec.cidr.network()) {
                self.put(object);
            }
        }
    }

    fn own_count(&self, pools: &[Pool]) -> usize {
        pools.iter().flat_map(|pool| self.in_pool(pool)).filter(|block| self.is_own(block)).count()
    }

    fn at_limit(&self, pools: &[Pool]) -> bool {
        usize::try_from(self.view.block_limit()).is_ok_and(|limit| self.own_count(pools) >= limit)
    }

    /// Claims the first block on the walk that nobody has. False if there is none or the node may not.
    async fn claim_next(&mut self, pools: &[Pool]) -> bool {
        if !self.view.configuration.auto_allocate_blocks || self.at_limit(pools) {
            return false;
        }
        self.list_all().await;
        for _ in 0..ATTEMPTS {
            let Some(cidr) = self.unclaimed(pools) else { return false };
            if self.claim(cidr).await {
                return true;
            }
            if self.get(&cidr).is_none() && !self.is_unsound(&cidr) {
                return false;
            }
        }
        false
    }

    fn unclaimed(&self, pools: &[Pool]) -> Option<IpNetwork> {
        pools.iter().find_map(|pool| {
            let walk = Walk::new(pool.cidr, pool.block_length, &self.view.node);
            // Blocks of another size may be left from a pool that was here before.
            let taken: Vec<IpNetwork> = self.blocks.keys().chain(self.unsound.keys()).copied().collect();
            let odd: Vec<&IpNetwork> = taken.iter().filter(|cidr| cidr.prefix() != pool.block_length).collect();
            let is_taken = |cidr: &IpNetwork| {
                self.blocks.contains_key(cidr)
                    || self.unsound.contains_key(cidr)
                    || odd.iter().any(|other| range::covers(other, cidr) || range::covers(cidr, other))
            };
            let limit = WALK_LIMIT.saturating_add(taken.len());
            walk.iter().take(limit).find(|cidr| !is_taken(cidr) && !self.reserved.exhaust(cidr))
        })
    }

    /// Claims that block. True when it is the node's now.
    pub(crate) async fn claim(&mut self, cidr: IpNetwork) -> bool {
        match claim::claim(&self.store, &self.view.node, cidr, self.now).await {
            Claim::Mine(block) => {
                self.put_found(cidr, Some(Ok(block)));
                true
            }
            Claim::Other(block) => {
                self.put_found(cidr, Some(Ok(block)));
                false
            }
            Claim::Unsound(error) => {
                self.put_found(cidr, Some(Err(error)));
                false
            }
            Claim::Contended => false,
        }
    }

    fn full(&self, pools: &[Pool], spoken_for: &BTreeMap<IpNetwork, usize>) -> Refusal {
        let in_use = |block: &Block| block.used() + spoken_for.get(&block.cidr()).copied().unwrap_or(0);
        let usage = |pool: &Pool| {
            let used = self.in_pool(pool).map(|block| u128::try_from(in_use(block)).unwrap_or(0)).sum();
            PoolUse {
                pool: pool.name.clone(),
                size: range::size(&pool.cidr),
                used,
                reserved: self.reserved.within(&pool.cidr),
            }
        };
        Refusal::Full {
            node: self.view.node.clone(),
            pools: pools.iter().map(usage).collect(),
            blocks_at_limit: self.at_limit(pools).then(|| self.view.block_limit()),
            no_claims: !self.view.configuration.auto_allocate_blocks,
            strict: self.view.configuration.strict_affinity,
        }
    }

    /// The node's blocks, to be remembered, and the blocks that contradict themselves.
    pub(crate) fn into_parts(self) -> (Vec<IpamBlock>, Vec<Error>) {
        let node = self.view.node.clone();
        let own = self.blocks.into_values().filter(|block| block.node() == Some(node.as_str()));
        (own.map(Block::into_object).collect(), self.unsound.into_values().collect())
    }
}
