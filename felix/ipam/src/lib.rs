//! Address management in Calico's format, as values.
//!
//! Pools are cut into blocks. A node claims blocks and assigns addresses from them; when it may claim no more, it takes
//! single addresses from other nodes' blocks. Blocks, claims and owners are objects in the datastore (`IPAMBlock`,
//! `BlockAffinity`, `IPAMHandle`), byte-compatible with Calico's, and every write is a compare-and-swap, so that nodes of
//! both kinds share one cluster.
//!
//! [`assign`], [`release_by_handle`], [`release_address`] and [`reconcile`] are procedures that ask for one store operation
//! at a time ([`Step`]): the caller does it and passes the answer on. A procedure may be dropped between any two operations,
//! as a crash does; what it leaves is found:
//!
//! - A handle is written before the block on assignment, and after it on release. It may count too many addresses, never
//!   too few, so a release by handle finds everything.
//! - An affinity is written before its block, and says `pending` until the block is there.
//! - [`reconcile`] takes back or finishes the rest at the next start.

mod assign;
mod block;
mod claim;
mod handle;
mod machine;
mod names;
mod pools;
mod range;
mod reconcile;
mod refusal;
mod release;
mod shelf;

pub use assign::{Assigned, Assignment, Batch, Outcome, Request, Want, assign};
pub use block::{Allocation, Block, Owner};
pub use handle::NODE_ANNOTATION;
pub use machine::{Answer, Operation, Step, Waiting, Write};
pub use names::{affinity_name, block_name, handle_id, handle_name};
pub use pools::{DEFAULT_BLOCKS_PER_NODE, PassedOver, View};
pub use range::Family;
pub use reconcile::{Repaired, reconcile};
pub use refusal::{PoolUse, Refusal};
pub use release::{Released, ReleasedAddress, release_address, release_by_handle};

/// How often a write that others forestall is tried before a procedure gives up.
pub const ATTEMPTS: usize = 32;

/// Why a stored block cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The block has another number of addresses than of entries.
    #[error("IPAMBlock {block}: spec.allocations has {count} entries, the block has {size} addresses")]
    AllocationCount {
        /// Name of the object.
        block: String,
        /// Entries.
        count: usize,
        /// Addresses of the prefix.
        size: u128,
    },
    /// An address has an owner that is not listed.
    #[error("IPAMBlock {block}: spec.allocations names attribute {index}, there are {attributes}")]
    AttributeIndex {
        /// Name of the object.
        block: String,
        /// Index in `attributes`.
        index: usize,
        /// How many there are.
        attributes: usize,
    },
    /// A free address is assigned, outside the block, or twice in the list.
    #[error(
        "IPAMBlock {block}: spec.unallocated lists {ordinal}, which is assigned, listed twice or outside the block"
    )]
    Unallocated {
        /// Name of the object.
        block: String,
        /// Distance from the block's first address.
        ordinal: usize,
    },
}
