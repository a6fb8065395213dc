//! Handles: in which blocks an owner has addresses, and how many.
//!
//! A handle never counts fewer addresses of a block than the block assigns to it: it is written before the block when
//! addresses are assigned, and after the block when they are released. So whoever holds a handle's identifier finds all
//! its addresses, whatever crashed in between; what is left is at worst a handle that counts too many.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use resources::{IpamHandle, IpamHandleSpec, Key, Kind, Object, ObjectMeta};

use crate::{
    ATTEMPTS,
    machine::{Store, Write},
    names,
};

/// Annotation on a handle: the node whose agent wrote it. A handle without it is Calico's.
pub const NODE_ANNOTATION: &str = "tortie/node";

/// Addresses per block.
pub(crate) type Counts = BTreeMap<IpNetwork, u64>;

fn key(handle_id: &str) -> Key {
    Key::cluster(Kind::IpamHandle, names::handle_name(handle_id))
}

/// Reads a handle; one that is about to be deleted counts as absent and is finished off.
pub(crate) async fn get(store: &Store, handle_id: &str) -> Option<IpamHandle> {
    let handle = store.get(key(handle_id)).await.and_then(IpamHandle::from_resource)?;
    if handle.spec.deleted {
        let _gone_or_changed = store.delete(handle).await;
        return None;
    }
    Some(handle)
}

/// Counts more addresses. False when others changed the handle each time.
pub(crate) async fn add(store: &Store, node: &str, handle_id: &str, more: &Counts) -> bool {
    for _ in 0..ATTEMPTS {
        let write = store.create(new(node, handle_id, more)).await;
        if matches!(write, Write::Done(_)) {
            return true;
        }
        let Some(mut handle) = get(store, handle_id).await else { continue };
        for (cidr, count) in more {
            *handle.spec.block.entry(cidr.to_string()).or_default() += count;
        }
        if let Write::Done(_) = store.update(handle).await {
            return true;
        }
    }
    false
}

fn new(node: &str, handle_id: &str, counts: &Counts) -> IpamHandle {
    let mut metadata = ObjectMeta::named(names::handle_name(handle_id));
    metadata.annotations.insert(NODE_ANNOTATION.to_owned(), node.to_owned());
    let block = counts.iter().map(|(cidr, count)| (cidr.to_string(), *count)).collect();
    IpamHandle { metadata, spec: IpamHandleSpec { handle_id: handle_id.to_owned(), block, deleted: false } }
}

/// Counts fewer addresses; a handle that counts none goes. False when others changed the handle each time.
pub(crate) async fn subtract(store: &Store, handle_id: &str, fewer: &Counts) -> bool {
    change(store, None, handle_id, |spec| {
        for (cidr, count) in fewer {
            let cidr = cidr.to_string();
            let left = spec.block.get(&cidr).copied().unwrap_or(0).saturating_sub(*count);
            if left == 0 {
                spec.block.remove(&cidr);
            } else {
                spec.block.insert(cidr, left);
            }
        }
    })
    .await
}

/// Makes a change to a handle, first to the copy at hand. A handle that counts none afterwards goes.
pub(crate) async fn change(
    store: &Store,
    known: Option<IpamHandle>,
    handle_id: &str,
    change: impl Fn(&mut IpamHandleSpec),
) -> bool {
    let mut known = known;
    for _ in 0..ATTEMPTS {
        let current = match known.take() {
            Some(handle) => Some(handle),
            None => get(store, handle_id).await,
        };
        let Some(mut handle) = current else { return true };
        let before = handle.spec.clone();
        change(&mut handle.spec);
        let write = if handle.spec.block.is_empty() {
            store.delete(handle).await
        } else if handle.spec == before {
            return true;
        } else {
            store.update(handle).await
        };
        if matches!(write, Write::Done(_) | Write::NotFound) {
            return true;
        }
    }
    false
}

/// Writes the counts of a handle as they are in the blocks.
pub(crate) async fn correct(store: &Store, node: &str, handle_id: &str, counts: &Counts) -> bool {
    if get(store, handle_id).await.is_none() {
        return add(store, node, handle_id, counts).await;
    }
    let block: BTreeMap<String, u64> = counts.iter().map(|(cidr, count)| (cidr.to_string(), *count)).collect();
    change(store, None, handle_id, |spec| spec.block = block.clone()).await
}
