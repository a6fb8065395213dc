//! One nftables table, `inet tortie`, as a value.
//!
//! A [`Ruleset`] holds sets, maps and chains. It can be compared ([`diff`], [`stages`]), written as netlink messages ([`encode`]),
//! read back from a dump ([`Decoder`]), printed as `nft -f` reads it ([`text`]) and asked what it does with a packet
//! ([`verdict`]). Everything a type can hold works in all five. Nothing here does I/O: the crate `kernel` carries the
//! bytes.

mod canonical;
mod chain;
mod change;
mod datatype;
mod decode;
mod diff;
mod encode;
mod expression;
mod jhash;
mod name;
mod netlink;
mod packet;
mod rule;
mod ruleset;
mod set;
mod stages;
mod text;
mod value;
mod verdict;

pub use chain::{Base, Chain, ChainKind, Hook, Policy, priority};
pub use change::Change;
pub use datatype::Datatype;
pub use decode::{Decoder, generation};
pub use diff::diff;
pub use encode::{Batch, encode, request};
pub use expression::{Expression, Field, Key, NumgenMode, concat, jhash, numgen, protocol};
pub use name::Name;
pub use packet::{ConnectionState, Conntrack, Direction, Packet};
pub use rule::{
    Comparand, DynamicOperation, Family, MarkTarget, MarkValue, Match, Reject, Rule, Statement, Verdict, VerdictMap,
};
pub use ruleset::Ruleset;
pub use set::{Data, MapData, Set};
pub use stages::stages;
pub use text::{rule_text, text};
pub use value::{Element, Value};
pub use verdict::{Judgement, Outcome, Step, verdict};

/// The name of the table. Its family is `inet`.
pub const TABLE: &str = "tortie";
