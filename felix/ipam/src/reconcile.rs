//! The repair at the start of an agent: whatever an earlier agent of this node left half done.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use resources::{AffinityState, BlockAffinity, IpamBlock, IpamHandle, Kind, Object};

use crate::{
    Error,
    block::Block,
    claim,
    handle::{self, Counts},
    machine::{self, Step, Store, Write},
    release,
};

/// What a repair did.
#[derive(Debug, Clone, Default)]
pub struct Repaired {
    /// Addresses that were taken back, with the handle that had them.
    pub released: Vec<(IpAddr, String)>,
    /// Handles that counted wrongly.
    pub corrected: Vec<String>,
    /// Claims that were finished.
    pub claimed: Vec<IpNetwork>,
    /// Claims that were undone, and blocks that were given back.
    pub unclaimed: Vec<IpNetwork>,
    /// The node's blocks, to be passed to [`assign`](crate::assign).
    pub blocks: Vec<IpamBlock>,
    /// Blocks that were left alone because they contradict themselves.
    pub unsound: Vec<Error>,
}

/// Takes back the addresses of this node's containers that no longer exist, corrects the handles of those that do, and
/// finishes or undoes this node's claims.
///
/// `live` are the handles of this node's containers. Of the others only those that this node's agent wrote are touched:
/// what Calico assigned here, to containers and to tunnels, is Calico's to release. Nothing may be assigned or released for
/// this node meanwhile, because what is half done is then somebody's work and not a leftover. Running it again finds nothing
/// to do.
#[must_use]
pub fn reconcile(node: String, live: BTreeSet<String>) -> Step<Repaired> {
    machine::start(|store| async move { run(&store, &node, &live).await })
}

async fn run(store: &Store, node: &str, live: &BTreeSet<String>) -> Repaired {
    let mut repaired = Repaired::default();
    let handles = store.list(Kind::IpamHandle).await.into_iter().filter_map(IpamHandle::from_resource).collect();
    let blocks = list_blocks(store, &mut repaired.unsound).await;
    repair_owners(store, node, live, handles, &blocks, &mut repaired).await;
    repair_claims(store, node, &blocks, &mut repaired).await;
    let mut unsound = Vec::new();
    let own = list_blocks(store, &mut unsound).await.into_values().filter(|block| block.node() == Some(node));
    repaired.blocks = own.map(Block::into_object).collect();
    repaired
}

async fn list_blocks(store: &Store, unsound: &mut Vec<Error>) -> BTreeMap<IpNetwork, Block> {
    let mut blocks = BTreeMap::new();
    for object in store.list(Kind::IpamBlock).await.into_iter().filter_map(IpamBlock::from_resource) {
        if object.spec.deleted {
            let _gone_or_changed = store.delete(object).await;
            continue;
        }
        match Block::read(object) {
            Ok(block) => {
                blocks.insert(block.cidr(), block);
            }
            Err(error) => unsound.push(error),
        }
    }
    blocks
}

async fn repair_owners(
    store: &Store,
    node: &str,
    live: &BTreeSet<String>,
    handles: Vec<IpamHandle>,
    blocks: &BTreeMap<IpNetwork, Block>,
    repaired: &mut Repaired,
) {
    let mut actual: BTreeMap<String, Counts> = BTreeMap::new();
    for block in blocks.values() {
        for allocation in block.allocations().filter(|allocation| !allocation.released) {
            let Some(handle_id) = allocation.handle_id else { continue };
            *actual.entry(handle_id.to_owned()).or_default().entry(block.cidr()).or_default() += 1;
        }
    }
    let written_here =
        |handle: &IpamHandle| handle.metadata.annotations.get(handle::NODE_ANNOTATION).is_some_and(|n| n == node);
    // A handle is written before its addresses are assigned and goes after them: none of ours is without one.
    let mut own: BTreeSet<String> = live.clone();
    own.extend(handles.iter().filter(|handle| written_here(handle)).map(|handle| handle.spec.handle_id.clone()));
    let stored: BTreeMap<&str, &IpamHandle> =
        handles.iter().map(|handle| (handle.spec.handle_id.as_str(), handle)).collect();

    for handle_id in own {
        let assigned = actual.get(&handle_id);
        if !live.contains(&handle_id) {
            let remembered = assigned.into_iter().flatten().filter_map(|(cidr, _)| blocks.get(cidr));
            let remembered = remembered.map(|block| block.object().clone()).collect();
            let released = release::by_handle(store, &handle_id, remembered).await;
            repaired.released.extend(released.addresses.into_iter().map(|address| (address, handle_id.clone())));
            continue;
        }
        let counts: BTreeMap<String, u64> =
            assigned.into_iter().flatten().map(|(cidr, count)| (cidr.to_string(), *count)).collect();
        let current = stored.get(handle_id.as_str()).filter(|handle| !handle.spec.deleted);
        if current.map_or(counts.is_empty(), |handle| handle.spec.block == counts) {
            continue;
        }
        if handle::correct(store, node, &handle_id, assigned.unwrap_or(&Counts::new())).await {
            repaired.corrected.push(handle_id);
        }
    }
}

async fn repair_claims(store: &Store, node: &str, blocks: &BTreeMap<IpNetwork, Block>, repaired: &mut Repaired) {
    let mut claimed = BTreeSet::new();
    for affinity in store.list(Kind::BlockAffinity).await.into_iter().filter_map(BlockAffinity::from_resource) {
        if affinity.spec.node != node || !matches!(affinity.spec.affinity_type.as_str(), "" | "host") {
            continue;
        }
        let cidr = affinity.spec.cidr.network();
        let is_own = blocks.get(&cidr).is_some_and(|block| block.node() == Some(node));
        let going = affinity.spec.deleted || affinity.spec.state == AffinityState::PendingDeletion;
        if is_own && !going {
            claimed.insert(cidr);
            if affinity.spec.state == AffinityState::Pending {
                claim::confirm(store, node, cidr, affinity).await;
                repaired.claimed.push(cidr);
            }
        } else if !is_own || give_back(store, node, cidr).await {
            let _gone_or_changed = store.delete(affinity).await;
            repaired.unclaimed.push(cidr);
            claimed.insert(cidr);
        }
    }
    for cidr in blocks.values().filter(|block| block.node() == Some(node)).map(Block::cidr) {
        if !claimed.contains(&cidr) {
            claim::adopt(store, node, cidr).await;
            repaired.claimed.push(cidr);
        }
    }
}

/// Gives a block of the node back: an empty one goes, another belongs to nobody from now on.
async fn give_back(store: &Store, node: &str, cidr: IpNetwork) -> bool {
    for _ in 0..crate::ATTEMPTS {
        let mut block = match claim::get_block(store, cidr).await {
            Some(Ok(block)) if block.node() == Some(node) => block,
            Some(Err(_)) => return false,
            None | Some(Ok(_)) => return true,
        };
        let write = if block.is_empty() {
            store.delete(block.into_object()).await
        } else {
            block.drop_affinity();
            store.update(block.to_write()).await
        };
        if matches!(write, Write::Done(_)) {
            return true;
        }
    }
    false
}
