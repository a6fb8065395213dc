//! What a rule reads from a packet, and the matches made of it.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use crate::{Comparand, Datatype, Element, Family, Match, Name, Statement, Value, Verdict, VerdictMap};

/// A field of the packet or of its connection.
///
/// A field that only one family has (`ip saddr`, `icmpv6 type`) does not match packets of the other, as in nft; the
/// same for the ICMP fields and other protocols. Nobody has to write `meta nfproto ipv4 ip saddr …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `meta nfproto`
    NfProto,
    /// `meta l4proto`
    L4Proto,
    /// `meta mark`
    MetaMark,
    /// `iifname`
    Iifname,
    /// `oifname`
    Oifname,
    /// `ct state`
    CtState,
    /// `ct direction`
    CtDirection,
    /// `ct mark`
    CtMark,
    /// `ip saddr`
    Ip4Saddr,
    /// `ip daddr`
    Ip4Daddr,
    /// `ip6 saddr`
    Ip6Saddr,
    /// `ip6 daddr`
    Ip6Daddr,
    /// `th sport`
    ThSport,
    /// `th dport`
    ThDport,
    /// `icmp type`
    IcmpType,
    /// `icmp code`
    IcmpCode,
    /// `icmpv6 type`
    Icmpv6Type,
    /// `icmpv6 code`
    Icmpv6Code,
}

/// IP protocol numbers that have a name here.
pub mod protocol {
    /// ICMP
    pub const ICMP: u8 = 1;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
    /// ICMPv6
    pub const ICMPV6: u8 = 58;
    /// SCTP
    pub const SCTP: u8 = 132;
}

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A field of the packet.
    Field(Field),
    /// `numgen random|inc mod MODULUS offset OFFSET`
    Numgen {
        /// How the next number is found.
        mode: NumgenMode,
        /// Numbers are below it (before the offset is added). At least 1.
        modulus: u32,
        /// Added to the number.
        offset: u32,
    },
    /// `jhash KEY mod MODULUS seed SEED offset OFFSET`
    Jhash {
        /// What is hashed; fields only.
        over: Vec<Field>,
        /// Numbers are below it (before the offset is added). At least 1.
        modulus: u32,
        /// The same seed gives the same numbers on every machine.
        seed: u32,
        /// Added to the number.
        offset: u32,
    },
}

/// How `numgen` finds the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumgenMode {
    /// A random one.
    Random,
    /// One more than the last, counted per rule.
    Incremental,
}

/// `numgen random mod MODULUS`.
#[must_use]
pub const fn numgen(modulus: u32) -> Expression {
    Expression::Numgen { mode: NumgenMode::Random, modulus, offset: 0 }
}

/// `jhash OVER mod MODULUS seed SEED`.
#[must_use]
pub fn jhash(over: impl Into<Vec<Field>>, modulus: u32, seed: u32) -> Expression {
    Expression::Jhash { over: over.into(), modulus, seed, offset: 0 }
}

/// The concatenation of parts: `concat([Field::L4Proto, Field::ThDport])`.
#[must_use]
pub fn concat<E: Into<Expression>>(parts: impl IntoIterator<Item = E>) -> Key {
    Key(parts.into_iter().map(Into::into).collect())
}

/// What is looked up: one expression or a concatenation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub Vec<Expression>);

impl From<Field> for Expression {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

impl From<Field> for Key {
    fn from(field: Field) -> Self {
        Self(vec![field.into()])
    }
}

impl From<Expression> for Key {
    fn from(expression: Expression) -> Self {
        Self(vec![expression])
    }
}

impl<E: Into<Expression>, const N: usize> From<[E; N]> for Key {
    fn from(parts: [E; N]) -> Self {
        concat(parts)
    }
}

impl Expression {
    /// The type of what it yields.
    #[must_use]
    pub const fn datatype(&self) -> Datatype {
        match self {
            Self::Field(field) => field.datatype(),
            Self::Numgen { .. } | Self::Jhash { .. } => Datatype::Slot,
        }
    }

    /// The fields it reads.
    pub(crate) fn fields(&self) -> &[Field] {
        match self {
            Self::Field(field) => std::slice::from_ref(field),
            Self::Numgen { .. } => &[],
            Self::Jhash { over, .. } => over,
        }
    }
}

impl Key {
    /// The types of its parts.
    #[must_use]
    pub fn datatypes(&self) -> Vec<Datatype> {
        self.0.iter().map(Expression::datatype).collect()
    }

    /// The field, if it is one and nothing else.
    pub(crate) fn as_field(&self) -> Option<Field> {
        match self.0.as_slice() {
            [Expression::Field(field)] => Some(*field),
            _ => None,
        }
    }

    /// `self . next`
    #[must_use]
    pub fn dot(mut self, next: impl Into<Expression>) -> Self {
        self.0.push(next.into());
        self
    }

    fn compare(self, negated: bool, with: Comparand) -> Statement {
        Statement::Match(Match { key: self, negated, with })
    }

    /// `KEY @NAME`: is in a named set.
    #[must_use]
    pub fn within_set(self, set: impl Into<Name>) -> Statement {
        self.compare(false, Comparand::Set(set.into()))
    }

    /// `KEY != @NAME`: is not in a named set.
    #[must_use]
    pub fn not_within_set(self, set: impl Into<Name>) -> Statement {
        self.compare(true, Comparand::Set(set.into()))
    }

    /// `KEY { … }`: is one of these, of which there is at least one. Ranges that overlap or touch are merged as
    /// [`crate::Set::merge_ranges`] does.
    #[must_use]
    pub fn within<E: Into<Element>>(self, elements: impl IntoIterator<Item = E>) -> Statement {
        let elements = elements.into_iter().map(Into::into).collect();
        self.compare_with_elements(false, elements)
    }

    /// `KEY != { … }`: is none of these, of which there is at least one.
    #[must_use]
    pub fn not_within<E: Into<Element>>(self, elements: impl IntoIterator<Item = E>) -> Statement {
        let elements = elements.into_iter().map(Into::into).collect();
        self.compare_with_elements(true, elements)
    }

    fn compare_with_elements(self, negated: bool, elements: BTreeSet<Element>) -> Statement {
        self.compare(negated, Comparand::Elements(elements))
    }

    /// `KEY vmap @NAME`: the verdict that a named map has; goes on when it has none.
    #[must_use]
    pub fn vmap(self, map: impl Into<Name>) -> Statement {
        Statement::VerdictMap { key: self, map: VerdictMap::Named(map.into()) }
    }

    /// `KEY vmap { … }`
    #[must_use]
    pub fn vmap_of<E: Into<Element>>(self, entries: impl IntoIterator<Item = (E, Verdict)>) -> Statement {
        let entries = entries.into_iter().map(|(element, verdict)| (element.into(), verdict)).collect();
        Statement::VerdictMap { key: self, map: VerdictMap::Anonymous(entries) }
    }
}

impl Field {
    /// `FIELD VALUE`
    #[must_use]
    pub fn is(self, value: impl Into<Value>) -> Statement {
        Key::from(self).compare(false, Comparand::Value(value.into()))
    }

    /// `FIELD != VALUE`
    #[must_use]
    pub fn is_not(self, value: impl Into<Value>) -> Statement {
        Key::from(self).compare(true, Comparand::Value(value.into()))
    }

    /// `FIELD ADDRESS/LENGTH`. A network that holds all addresses is a match too, of its family.
    #[must_use]
    pub fn is_in_network(self, network: IpNetwork) -> Statement {
        Key::from(self).compare(false, Comparand::Network(network))
    }

    /// `FIELD != ADDRESS/LENGTH`
    #[must_use]
    pub fn is_not_in_network(self, network: IpNetwork) -> Statement {
        Key::from(self).compare(true, Comparand::Network(network))
    }

    /// `FIELD START-END`, both included.
    #[must_use]
    pub fn is_between(self, start: impl Into<Value>, end: impl Into<Value>) -> Statement {
        Key::from(self).compare(false, Comparand::Range(start.into(), end.into()))
    }

    /// `FIELD != START-END`
    #[must_use]
    pub fn is_not_between(self, start: impl Into<Value>, end: impl Into<Value>) -> Statement {
        Key::from(self).compare(true, Comparand::Range(start.into(), end.into()))
    }

    /// `iifname "PREFIX*"`: an interface name that begins so. At most 15 bytes.
    #[must_use]
    pub fn begins_with(self, prefix: &str) -> Statement {
        Key::from(self).compare(false, Comparand::NamePrefix(prefix.into()))
    }

    /// `iifname != "PREFIX*"`
    #[must_use]
    pub fn does_not_begin_with(self, prefix: &str) -> Statement {
        Key::from(self).compare(true, Comparand::NamePrefix(prefix.into()))
    }

    /// `MARK & MASK == VALUE`
    #[must_use]
    pub fn masked_is(self, mask: u32, value: u32) -> Statement {
        Key::from(self).compare(false, Comparand::Masked { mask, value })
    }

    /// `MARK & MASK != VALUE`
    #[must_use]
    pub fn masked_is_not(self, mask: u32, value: u32) -> Statement {
        Key::from(self).compare(true, Comparand::Masked { mask, value })
    }

    /// `ct state A,B`: any of these bits, see [`crate::ConnectionState::bit`].
    #[must_use]
    pub fn has_any(self, bits: u32) -> Statement {
        Key::from(self).compare(false, Comparand::AnyOf(bits))
    }

    /// [`Key::within_set`]
    #[must_use]
    pub fn within_set(self, set: impl Into<Name>) -> Statement {
        Key::from(self).within_set(set)
    }

    /// [`Key::not_within_set`]
    #[must_use]
    pub fn not_within_set(self, set: impl Into<Name>) -> Statement {
        Key::from(self).not_within_set(set)
    }

    /// [`Key::within`]
    #[must_use]
    pub fn within<E: Into<Element>>(self, elements: impl IntoIterator<Item = E>) -> Statement {
        Key::from(self).within(elements)
    }

    /// [`Key::not_within`]
    #[must_use]
    pub fn not_within<E: Into<Element>>(self, elements: impl IntoIterator<Item = E>) -> Statement {
        Key::from(self).not_within(elements)
    }

    /// [`Key::vmap`]
    #[must_use]
    pub fn vmap(self, map: impl Into<Name>) -> Statement {
        Key::from(self).vmap(map)
    }

    /// [`Key::vmap_of`]
    #[must_use]
    pub fn vmap_of<E: Into<Element>>(self, entries: impl IntoIterator<Item = (E, Verdict)>) -> Statement {
        Key::from(self).vmap_of(entries)
    }

    /// `self . next`
    #[must_use]
    pub fn dot(self, next: impl Into<Expression>) -> Key {
        Key::from(self).dot(next)
    }

    /// The family that alone has it.
    pub(crate) const fn family(self) -> Option<Family> {
        match self {
            Self::Ip4Saddr | Self::Ip4Daddr | Self::IcmpType | Self::IcmpCode => Some(Family::Ipv4),
            Self::Ip6Saddr | Self::Ip6Daddr | Self::Icmpv6Type | Self::Icmpv6Code => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// The protocol that alone has it.
    pub(crate) const fn protocol(self) -> Option<u8> {
        match self {
            Self::IcmpType | Self::IcmpCode => Some(protocol::ICMP),
            Self::Icmpv6Type | Self::Icmpv6Code => Some(protocol::ICMPV6),
            _ => None,
        }
    }

    /// The type of its values.
    #[must_use]
    pub const fn datatype(self) -> Datatype {
        match self {
            Self::NfProto => Datatype::NfProto,
            Self::L4Proto => Datatype::InetProto,
            Self::MetaMark | Self::CtMark => Datatype::Mark,
            Self::Iifname | Self::Oifname => Datatype::Ifname,
            Self::CtState => Datatype::CtState,
            Self::CtDirection => Datatype::CtDirection,
            Self::Ip4Saddr | Self::Ip4Daddr => Datatype::Ipv4Addr,
            Self::Ip6Saddr | Self::Ip6Daddr => Datatype::Ipv6Addr,
            Self::ThSport | Self::ThDport => Datatype::InetService,
            Self::IcmpType => Datatype::IcmpType,
            Self::IcmpCode => Datatype::IcmpCode,
            Self::Icmpv6Type => Datatype::Icmpv6Type,
            Self::Icmpv6Code => Datatype::Icmpv6Code,
        }
    }
}
