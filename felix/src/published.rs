//! What the agent's loop tells everybody else.

use std::{sync::Arc, time::Duration};

use calc::Desired;

use crate::dataplane::Unapplied;

/// What the loop publishes after every apply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// The datastore's first complete picture has been applied.
    pub(crate) in_sync: bool,
    /// What should be.
    pub(crate) desired: Option<Arc<Desired>>,
    /// The revision that is in the kernel.
    pub(crate) kernel_revision: u64,
    /// What is not admitted.
    pub(crate) refusals: Vec<String>,
    /// Objects in force.
    pub(crate) objects: usize,
    /// How long the last apply took.
    pub(crate) last_apply: Duration,
    /// What could not be applied.
    pub(crate) unapplied: Vec<Unapplied>,
    /// Routes of ours in the kernel.
    pub(crate) routes: usize,
}
