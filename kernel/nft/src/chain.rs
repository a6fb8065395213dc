//! Chains and where they hook into the kernel.

use crate::Rule;

/// A chain: a base chain if it has a hook, else one that is jumped to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// The hook of a base chain.
    pub base: Option<Base>,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// A chain that is jumped to.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { base: None, rules: rules.into_iter().collect() }
    }

    /// A base chain.
    #[must_use]
    pub fn base(base: Base, rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { base: Some(base), rules: rules.into_iter().collect() }
    }
}

/// Where and how a base chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it sees packets.
    pub hook: Hook,
    /// In which order of the chains of this hook: lowest first. See [`priority`].
    pub priority: i32,
    /// What happens to a packet that reaches its end.
    pub policy: Policy,
}

impl Base {
    /// A filter chain with policy accept.
    #[must_use]
    pub const fn filter(hook: Hook, priority: i32) -> Self {
        Self { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept }
    }

    /// A nat chain with policy accept.
    #[must_use]
    pub const fn nat(hook: Hook, priority: i32) -> Self {
        Self { kind: ChainKind::Nat, hook, priority, policy: Policy::Accept }
    }
}

/// The kind of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of a connection and may translate it.
    Nat,
}

/// A hook of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Everything that came in, before routing.
    Prerouting,
    /// What is for this machine.
    Input,
    /// What passes through.
    Forward,
    /// What this machine sends.
    Output,
    /// Everything that leaves, after routing.
    Postrouting,
}

/// The policy of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// On to the next base chain.
    Accept,
    /// The packet ends here.
    Drop,
}

/// Priorities with a name in nft.
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Destination translation.
    pub const DSTNAT: i32 = -100;
    /// Filtering.
    pub const FILTER: i32 = 0;
    /// Source translation.
    pub const SRCNAT: i32 = 100;
}
