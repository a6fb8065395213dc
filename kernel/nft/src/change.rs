//! Steps from one ruleset to another.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Base, Chain, Data, Element, Name, Set};

/// One step. A list of them is one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the table; does nothing if it is there.
    AddTable,
    /// Removes the table with all that is in it.
    DeleteTable,
    /// Makes a set, still empty.
    AddSet {
        /// Its name.
        name: Name,
        /// Its declaration; the elements are not part of this change.
        set: Arc<Set>,
    },
    /// Removes a set and its elements.
    DeleteSet {
        /// Its name.
        name: Name,
    },
    /// Makes a chain, still without rules, or gives a base chain another policy.
    AddChain {
        /// Its name.
        name: Name,
        /// Where it hooks in.
        base: Option<Base>,
    },
    /// Removes a chain and its rules.
    DeleteChain {
        /// Its name.
        name: Name,
    },
    /// Removes all rules of a chain.
    FlushChain {
        /// Its name.
        name: Name,
    },
    /// Appends rules to a chain.
    AddRules {
        /// The chain's name.
        chain: Name,
        /// The chain as it will be.
        desired: Arc<Chain>,
        /// The first rule to append; those before it are there.
        from: usize,
    },
    /// Adds elements to a set or map.
    AddElements {
        /// The set's name.
        name: Name,
        /// Its declaration.
        set: Arc<Set>,
        /// What is added.
        elements: Arc<BTreeMap<Element, Option<Data>>>,
    },
    /// Removes elements from a set or map.
    DeleteElements {
        /// The set's name.
        name: Name,
        /// Its declaration.
        set: Arc<Set>,
        /// What is removed.
        elements: Vec<Element>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable => write!(f, "add table"),
            Self::DeleteTable => write!(f, "delete table"),
            Self::AddSet { name, .. } => write!(f, "add set {name}"),
            Self::DeleteSet { name } => write!(f, "delete set {name}"),
            Self::AddChain { name, .. } => write!(f, "add chain {name}"),
            Self::DeleteChain { name } => write!(f, "delete chain {name}"),
            Self::FlushChain { name } => write!(f, "flush chain {name}"),
            Self::AddRules { chain, desired, from } => {
                write!(f, "add {} rules to chain {chain}", desired.rules.len().saturating_sub(*from))
            }
            Self::AddElements { name, elements, .. } => write!(f, "add {} elements to {name}", elements.len()),
            Self::DeleteElements { name, elements, .. } => write!(f, "delete {} elements of {name}", elements.len()),
        }
    }
}
