//! Claiming a block in two phases.
//!
//! The node writes its BlockAffinity as pending, creates the block with its name in it, and confirms the affinity. The
//! creation of the block decides between nodes; who loses deletes its pending affinity. A claim that stopped anywhere is
//! finished or undone by whoever looks at it next ([`claim`] itself, and [`reconcile`](crate::reconcile)).

use std::time::Duration;

use ipnetwork::IpNetwork;
use resources::{AffinityState, BlockAffinity, BlockAffinitySpec, IpamBlock, Key, Kind, Object, ObjectMeta};

use crate::{
    ATTEMPTS, Error,
    block::Block,
    machine::{Store, Write},
    names,
};

/// What came of a claim.
pub(crate) enum Claim {
    /// The block is the node's.
    Mine(Block),
    /// The block is somebody else's, or nobody's and in use.
    Other(Block),
    /// The block is there but contradicts itself.
    Unsound(Error),
    /// Others changed the objects each time.
    Contended,
}

/// Claims a block for a node, finishing an earlier claim of its own.
pub(crate) async fn claim(store: &Store, node: &str, cidr: IpNetwork, now: Duration) -> Claim {
    for _ in 0..ATTEMPTS {
        let Some(affinity) = pend(store, node, cidr).await else { continue };
        if let Write::Done(stored) = store.create(Block::new(cidr, node, now).object().clone()).await {
            confirm(store, node, cidr, affinity).await;
            match IpamBlock::from_resource(*stored).map(Block::read) {
                Some(Ok(block)) => return Claim::Mine(block),
                Some(Err(error)) => return Claim::Unsound(error),
                None => continue,
            }
        }
        match get_block(store, cidr).await {
            None => {}
            Some(Ok(block)) if block.node() == Some(node) => {
                confirm(store, node, cidr, affinity).await;
                return Claim::Mine(block);
            }
            Some(found) => {
                let _gone_or_changed = store.delete(affinity).await;
                return found.map_or_else(Claim::Unsound, Claim::Other);
            }
        }
    }
    Claim::Contended
}

/// Reads a block; one that is about to be deleted counts as absent and is finished off.
pub(crate) async fn get_block(store: &Store, cidr: IpNetwork) -> Option<Result<Block, Error>> {
    let key = Key::cluster(Kind::IpamBlock, names::block_name(&cidr));
    let object = store.get(key).await.and_then(IpamBlock::from_resource)?;
    if object.spec.deleted {
        let _gone_or_changed = store.delete(object).await;
        return None;
    }
    Some(Block::read(object))
}

fn affinity_key(node: &str, cidr: &IpNetwork) -> Key {
    Key::cluster(Kind::BlockAffinity, names::affinity_name(node, cidr))
}

fn new_affinity(node: &str, cidr: IpNetwork, state: AffinityState) -> BlockAffinity {
    BlockAffinity {
        metadata: ObjectMeta::named(names::affinity_name(node, &cidr)),
        spec: BlockAffinitySpec {
            state,
            node: node.to_owned(),
            affinity_type: "host".to_owned(),
            cidr: cidr.into(),
            deleted: false,
        },
    }
}

async fn get_affinity(store: &Store, node: &str, cidr: &IpNetwork) -> Option<BlockAffinity> {
    let affinity = store.get(affinity_key(node, cidr)).await.and_then(BlockAffinity::from_resource)?;
    if affinity.spec.deleted {
        let _gone_or_changed = store.delete(affinity).await;
        return None;
    }
    Some(affinity)
}

/// The node's affinity, pending unless it is confirmed already. None to try again.
async fn pend(store: &Store, node: &str, cidr: IpNetwork) -> Option<BlockAffinity> {
    if let Write::Done(stored) = store.create(new_affinity(node, cidr, AffinityState::Pending)).await {
        return BlockAffinity::from_resource(*stored);
    }
    let mut affinity = get_affinity(store, node, &cidr).await?;
    if affinity.spec.state != AffinityState::PendingDeletion {
        return Some(affinity);
    }
    affinity.spec.state = AffinityState::Pending;
    match store.update(affinity).await {
        Write::Done(stored) => BlockAffinity::from_resource(*stored),
        _ => None,
    }
}

/// Confirms an affinity whose block is the node's. If others interfere each time it stays pending, which costs nothing:
/// the block says whose it is.
pub(crate) async fn confirm(store: &Store, node: &str, cidr: IpNetwork, affinity: BlockAffinity) {
    let mut current = Some(affinity);
    for _ in 0..ATTEMPTS {
        let write = match current.take() {
            Some(affinity) if affinity.spec.state == AffinityState::Confirmed => return,
            Some(mut affinity) => {
                affinity.spec.state = AffinityState::Confirmed;
                store.update(affinity).await
            }
            None => store.create(new_affinity(node, cidr, AffinityState::Confirmed)).await,
        };
        if matches!(write, Write::Done(_)) {
            return;
        }
        current = get_affinity(store, node, &cidr).await;
    }
}

/// Records the affinity of a block that names the node and has none.
pub(crate) async fn adopt(store: &Store, node: &str, cidr: IpNetwork) {
    let _made_or_exists = store.create(new_affinity(node, cidr, AffinityState::Confirmed)).await;
}
