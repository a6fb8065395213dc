//! The table as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Chain, Name, Set};

/// The table `inet tortie`.
///
/// Sets and chains are shared: one that is the same allocation in two rulesets is known to be unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// Sets and maps by name.
    pub sets: BTreeMap<Name, Arc<Set>>,
    /// Chains by name.
    pub chains: BTreeMap<Name, Arc<Chain>>,
}

impl Ruleset {
    /// Adds or replaces a set.
    pub fn add_set(&mut self, name: impl Into<Name>, set: impl Into<Arc<Set>>) {
        self.sets.insert(name.into(), set.into());
    }

    /// Adds or replaces a chain.
    pub fn add_chain(&mut self, name: impl Into<Name>, chain: impl Into<Arc<Chain>>) {
        self.chains.insert(name.into(), chain.into());
    }
}
