//! Rules and their statements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::canonical::canonical;
use crate::set::clip;
use crate::{Element, Key, Name, Value};

/// Bytes of a rule's comment that nft reads.
const COMMENT_LENGTH: usize = 127;

/// Statements, tried from left to right until one does not match or gives a verdict.
///
/// Kept in the one form in which it also comes back from the kernel: a family or protocol match that the next
/// statement implies is left out, a set of one value is that value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    statements: Vec<Statement>,
    comment: Option<Arc<str>>,
}

impl Rule {
    /// A rule of these statements.
    #[must_use]
    pub fn new(statements: impl IntoIterator<Item = Statement>) -> Self {
        Self { statements: canonical(statements.into_iter().collect()), comment: None }
    }

    /// In order. Empty only for a rule of a dump that tortie cannot read: it equals no rule that is wanted.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Printed by nft, else without effect.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    pub(crate) const fn unreadable() -> Self {
        Self { statements: Vec::new(), comment: None }
    }

    /// The same with a comment, of which nft reads 127 bytes; the rest is cut.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<Arc<str>>) -> Self {
        let comment = comment.into();
        let kept = clip(&comment, COMMENT_LENGTH);
        self.comment = Some(if kept.len() == comment.len() { comment } else { kept.into() });
        self
    }
}

/// One statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Goes on only if it holds.
    Match(Match),
    /// The verdict that a map has for the key; when it has none, on to the next rule.
    VerdictMap {
        /// What is looked up.
        key: Key,
        /// Where.
        map: VerdictMap,
    },
    /// The verdict.
    Verdict(Verdict),
    /// `meta mark set …` or `ct mark set …`
    SetMark {
        /// Which mark.
        target: MarkTarget,
        /// To what.
        value: MarkValue,
    },
    /// `masquerade`, in a nat chain at postrouting: leaves with the address of the interface.
    Masquerade {
        /// Source ports are drawn at random, which avoids collisions of two connections.
        fully_random: bool,
    },
    /// `dnat FAMILY to KEY map @MAP`, in a nat chain at prerouting or output. The map's values are `ADDRESS . PORT`.
    /// When the map has none, on to the next rule. Needs a match of `meta l4proto` before it.
    Dnat {
        /// The family of the addresses.
        family: Family,
        /// What is looked up.
        key: Key,
        /// A map to address and port.
        map: Name,
    },
    /// Drops the packet and tells the sender.
    Reject(Reject),
    /// `counter`: counts packets and bytes that come here. Starts at zero whenever its rule is written.
    Counter,
    /// `notrack`, before connection tracking: the packet has no connection.
    Notrack,
    /// `log prefix "…"` to the kernel log.
    Log {
        /// Begins the line. At most 127 bytes.
        prefix: Arc<str>,
    },
    /// `add|update|delete @SET { KEY : VALUE }`: changes a dynamic set or map.
    Dynamic {
        /// What is done.
        operation: DynamicOperation,
        /// A set that is dynamic.
        set: Name,
        /// The key of the element.
        key: Key,
        /// Its value, in a map.
        value: Option<Key>,
    },
}

impl From<Verdict> for Statement {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl Statement {
    /// `accept`
    #[must_use]
    pub const fn accept() -> Self {
        Self::Verdict(Verdict::Accept)
    }

    /// `drop`
    #[must_use]
    pub const fn drop() -> Self {
        Self::Verdict(Verdict::Drop)
    }

    /// `return`
    #[must_use]
    pub const fn return_() -> Self {
        Self::Verdict(Verdict::Return)
    }

    /// `jump CHAIN`
    #[must_use]
    pub fn jump(chain: impl Into<Name>) -> Self {
        Self::Verdict(Verdict::Jump(chain.into()))
    }

    /// `goto CHAIN`
    #[must_use]
    pub fn goto(chain: impl Into<Name>) -> Self {
        Self::Verdict(Verdict::Goto(chain.into()))
    }

    /// `ct mark set ct mark & KEEP | SET`: the bits outside `keep` and `set` become zero, those of `set` one.
    #[must_use]
    pub const fn set_ct_mark(keep: u32, set: u32) -> Self {
        Self::SetMark { target: MarkTarget::Connection, value: MarkValue::bits(keep, set) }
    }

    /// `meta mark set meta mark & KEEP | SET`.
    #[must_use]
    pub const fn set_meta_mark(keep: u32, set: u32) -> Self {
        Self::SetMark { target: MarkTarget::Packet, value: MarkValue::bits(keep, set) }
    }

    /// `masquerade fully-random`
    #[must_use]
    pub const fn masquerade() -> Self {
        Self::Masquerade { fully_random: true }
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// What is compared.
    pub key: Key,
    /// Holds when it is *not* so.
    pub negated: bool,
    /// With what.
    pub with: Comparand,
}

/// What a key is compared with. All but the two sets are for keys of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparand {
    /// This value.
    Value(Value),
    /// An address of this network.
    Network(IpNetwork),
    /// From the first to the second, both included. Big endian types only.
    Range(Value, Value),
    /// An interface name that begins so.
    NamePrefix(Arc<str>),
    /// A mark of which the bits of `mask` are `value`.
    Masked {
        /// The bits that are compared.
        mask: u32,
        /// What they are.
        value: u32,
    },
    /// A `ct state` that has any of these bits.
    AnyOf(u32),
    /// In a named set.
    Set(Name),
    /// One of these.
    Elements(BTreeSet<Element>),
}

/// Where a verdict is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerdictMap {
    /// In a named map.
    Named(Name),
    /// In one of the rule itself.
    Anonymous(BTreeMap<Element, Verdict>),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The packet passes this base chain; later ones still see it.
    Accept,
    /// The packet ends here.
    Drop,
    /// Back to the rule after the jump; in a base chain, its policy.
    Return,
    /// To another chain, and back.
    Jump(Name),
    /// To another chain; its end returns to where this one would have.
    Goto(Name),
}

impl Verdict {
    /// To another chain, and back.
    #[must_use]
    pub fn jump(chain: impl Into<Name>) -> Self {
        Self::Jump(chain.into())
    }

    /// To another chain, for good.
    #[must_use]
    pub fn goto(chain: impl Into<Name>) -> Self {
        Self::Goto(chain.into())
    }
}

/// A mark that a rule sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkTarget {
    /// `meta mark`, of this packet.
    Packet,
    /// `ct mark`, of the connection.
    Connection,
}

/// What a mark is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkValue {
    /// The old mark with bits cleared and set; see [`MarkValue::bits`].
    Bits {
        /// The bits that stay; none of those that are set.
        keep: u32,
        /// The bits that become one.
        set: u32,
    },
    /// What a map to marks has for the key; goes on to the next rule when it has none.
    Map {
        /// What is looked up.
        key: Key,
        /// The map.
        map: Name,
    },
}

impl MarkValue {
    /// `mark & KEEP | SET`
    #[must_use]
    pub const fn bits(keep: u32, set: u32) -> Self {
        Self::Bits { keep: keep & !set, set }
    }
}

/// What the sender of a rejected packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// ICMP port unreachable: TCP and UDP see "connection refused".
    PortUnreachable,
    /// ICMP administratively prohibited.
    AdminProhibited,
}

/// How a rule changes a dynamic set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynamicOperation {
    /// Adds the element if it is not there.
    Add,
    /// Adds the element or renews its timeout; an old value stays.
    Update,
    /// Deletes the element.
    Delete,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Its number in the kernel (`NFPROTO_*`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::Ipv4),
            10 => Some(Self::Ipv6),
            _ => None,
        }
    }
}
