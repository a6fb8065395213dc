//! Releasing addresses. The order of writes is: blocks, then the handle.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use resources::{IpamBlock, Kind, Object};

use crate::{
    ATTEMPTS, Error,
    block::{Allocation, Block},
    claim,
    handle::{self, Counts},
    machine::{self, Step, Store, Write},
};

/// What a release by handle did.
#[derive(Debug, Clone, Default)]
pub struct Released {
    /// The addresses that are free now. None when there was nothing left to release, which is no error.
    pub addresses: Vec<IpAddr>,
    /// The blocks that were written, as they are now.
    pub blocks: Vec<IpamBlock>,
    /// Blocks in which addresses of the handle are left, because others changed them each time or because they contradict
    /// themselves. The handle still names them: release it again.
    pub left: Vec<IpNetwork>,
    /// Why, where a block contradicts itself.
    pub unsound: Vec<Error>,
}

/// Releases all addresses of a handle, in all blocks it names and in those of `blocks`, which the node remembers as its own
/// (they may be out of date). Does nothing when done before.
#[must_use]
pub fn release_by_handle(handle_id: String, blocks: Vec<IpamBlock>) -> Step<Released> {
    machine::start(|store| async move { by_handle(&store, &handle_id, blocks).await })
}

pub(crate) async fn by_handle(store: &Store, handle_id: &str, remembered: Vec<IpamBlock>) -> Released {
    let handle = handle::get(store, handle_id).await;
    let mut blocks: BTreeMap<IpNetwork, Option<Block>> = BTreeMap::new();
    let named = handle.iter().flat_map(|handle| handle.spec.block.keys());
    for cidr in named.filter_map(|cidr| cidr.parse::<IpNetwork>().ok()) {
        blocks.insert(cidr, None);
    }
    for block in remembered.into_iter().filter_map(|object| Block::read(object).ok()) {
        let holds = block.allocations().any(|allocation| allocation.handle_id == Some(handle_id));
        // What is remembered may miss an address that was assigned since: only a block as stored may say "none here".
        if holds {
            blocks.insert(block.cidr(), Some(block));
        }
    }
    let mut released = Released::default();
    for (cidr, known) in blocks {
        match from_block(store, cidr, known, |allocation| allocation.handle_id == Some(handle_id)).await {
            Some(FromBlock { addresses, block, unsound: None }) => {
                released.addresses.extend(addresses);
                released.blocks.extend(block.map(Block::into_object));
            }
            Some(FromBlock { unsound: Some(error), .. }) => {
                released.left.push(cidr);
                released.unsound.push(error);
            }
            None => released.left.push(cidr),
        }
    }
    if handle.is_some() {
        let left: Vec<String> = released.left.iter().map(IpNetwork::to_string).collect();
        // Entries that are no prefix name no block, and go too.
        handle::change(store, handle, handle_id, |spec| spec.block.retain(|cidr, _| left.contains(cidr))).await;
    }
    released
}

/// What a release did to one block.
#[derive(Default)]
pub(crate) struct FromBlock {
    pub(crate) addresses: Vec<IpAddr>,
    /// The block as it is now, if it still is.
    pub(crate) block: Option<Block>,
    pub(crate) unsound: Option<Error>,
}

/// Releases what `which` selects in a block; a block that belongs to nobody and has become empty goes. None when others
/// changed it each time.
pub(crate) async fn from_block(
    store: &Store,
    cidr: IpNetwork,
    known: Option<Block>,
    which: impl Fn(&Allocation<'_>) -> bool,
) -> Option<FromBlock> {
    let mut known = known;
    for _ in 0..ATTEMPTS {
        let mut block = match known.take() {
            Some(block) => block,
            None => match claim::get_block(store, cidr).await {
                None => return Some(FromBlock::default()),
                Some(Err(error)) => return Some(FromBlock { unsound: Some(error), ..FromBlock::default() }),
                Some(Ok(block)) => block,
            },
        };
        let addresses = block.release(|allocation| !allocation.released && which(allocation));
        if addresses.is_empty() {
            return Some(FromBlock { addresses, block: Some(block), unsound: None });
        }
        let abandoned = block.is_empty() && block.object().spec.affinity.is_none();
        let write =
            if abandoned { store.delete(block.object().clone()).await } else { store.update(block.to_write()).await };
        if let Write::Done(stored) = write {
            let stored = IpamBlock::from_resource(*stored).filter(|_| !abandoned);
            let block = stored.and_then(|object| Block::read(object).ok());
            return Some(FromBlock { addresses, block, unsound: None });
        }
    }
    None
}

/// What a release of one address did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleasedAddress {
    /// It is free now. The handle had it.
    Released {
        /// Whose it was.
        handle_id: Option<String>,
    },
    /// It was free already, or no block holds it.
    WasFree,
    /// It is assigned, but not as said: to another handle, or anew since.
    Reassigned {
        /// Whose it is.
        handle_id: Option<String>,
        /// The block's sequence number when it was assigned.
        sequence: u64,
    },
    /// Others changed its block each time.
    Contended,
    /// Its block contradicts itself.
    Unsound(Error),
}

/// Releases one address, only if it still belongs to that handle and was assigned at that sequence number, where given.
#[must_use]
pub fn release_address(address: IpAddr, handle_id: Option<String>, sequence: Option<u64>) -> Step<ReleasedAddress> {
    machine::start(move |store| async move { one_address(&store, address, handle_id, sequence).await })
}

async fn one_address(
    store: &Store,
    address: IpAddr,
    handle_id: Option<String>,
    sequence: Option<u64>,
) -> ReleasedAddress {
    let blocks = store.list(Kind::IpamBlock).await;
    let found = blocks
        .into_iter()
        .filter_map(IpamBlock::from_resource)
        .find(|block| !block.spec.deleted && block.spec.cidr.network().contains(address));
    let Some(object) = found else { return ReleasedAddress::WasFree };
    let cidr = object.spec.cidr.network();
    let block = match Block::read(object) {
        Ok(block) => block,
        Err(error) => return ReleasedAddress::Unsound(error),
    };
    let holder = block.allocations().find(|allocation| allocation.address == address && !allocation.released);
    let Some(holder) = holder else { return ReleasedAddress::WasFree };
    let (holder_id, assigned_at) = (holder.handle_id.map(str::to_owned), holder.sequence);
    let as_said = handle_id.is_none_or(|handle_id| holder_id.as_deref() == Some(handle_id.as_str()))
        && sequence.is_none_or(|sequence| sequence == assigned_at);
    if !as_said {
        return ReleasedAddress::Reassigned { handle_id: holder_id, sequence: assigned_at };
    }
    let released = from_block(store, cidr, Some(block), |allocation| {
        allocation.address == address
            && allocation.handle_id == holder_id.as_deref()
            && allocation.sequence == assigned_at
    })
    .await;
    match released {
        None => ReleasedAddress::Contended,
        Some(FromBlock { unsound: Some(error), .. }) => ReleasedAddress::Unsound(error),
        Some(FromBlock { addresses, .. }) if addresses.is_empty() => ReleasedAddress::WasFree,
        Some(_) => {
            if let Some(handle_id) = &holder_id {
                let _counts_too_many_at_worst = handle::subtract(store, handle_id, &Counts::from([(cidr, 1)])).await;
            }
            ReleasedAddress::Released { handle_id: holder_id }
        }
    }
}
