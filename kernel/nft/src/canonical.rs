//! The one form of a rule.
//!
//! nft and the kernel do not keep every way of writing a rule apart: `ip saddr` implies `meta nfproto ipv4`, a set of
//! one value is compiled as that value. Rules are kept in the form in which they come back.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::set::merge;
use crate::value::{address, prefix_length};
use crate::{Comparand, Datatype, Element, Expression, Family, Field, MarkValue, Match, Statement, Value};

/// What a statement needs to have been matched before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependency {
    Family(Family),
    Protocol(u8),
}

impl Dependency {
    /// The dependency that this statement establishes, if it does nothing else.
    pub(crate) fn established_by(statement: &Statement) -> Option<Self> {
        let Statement::Match(Match { key, negated: false, with: Comparand::Value(value) }) = statement else {
            return None;
        };
        match (key.as_field()?, value.as_bytes()) {
            (Field::NfProto, [number]) => Family::from_number(*number).map(Self::Family),
            (Field::L4Proto, [number]) => Some(Self::Protocol(*number)),
            _ => None,
        }
    }

    /// Adds it to what is established, in place of another family or protocol.
    pub(crate) fn establish(self, established: &mut Vec<Self>) {
        established.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&self));
        established.push(self);
    }

    /// The match that establishes it.
    pub(crate) fn statement(self) -> Statement {
        match self {
            Self::Family(family) => Field::NfProto.is(Value::family(family)),
            Self::Protocol(number) => Field::L4Proto.is(Value::protocol(number)),
        }
    }
}

/// What a statement needs, family first, each once.
pub(crate) fn dependencies(statement: &Statement) -> Vec<Dependency> {
    let mut needed = Vec::new();
    let mut need = |dependency| {
        if !needed.contains(&dependency) {
            needed.push(dependency);
        }
    };
    for field in keys(statement).flat_map(Expression::fields) {
        field.family().map(Dependency::Family).into_iter().for_each(&mut need);
        field.protocol().map(Dependency::Protocol).into_iter().for_each(&mut need);
    }
    needed
}

/// All expressions that a statement evaluates.
fn keys(statement: &Statement) -> impl Iterator<Item = &Expression> {
    let (first, second) = match statement {
        Statement::Match(Match { key, .. })
        | Statement::VerdictMap { key, .. }
        | Statement::Dnat { key, .. }
        | Statement::SetMark { value: MarkValue::Map { key, .. }, .. } => (Some(key), None),
        Statement::Dynamic { key, value, .. } => (Some(key), value.as_ref()),
        _ => (None, None),
    };
    first.into_iter().chain(second).flat_map(|key| &key.0)
}

/// The statements in their one form.
pub(crate) fn canonical(statements: Vec<Statement>) -> Vec<Statement> {
    let mut kept: Vec<Statement> = Vec::with_capacity(statements.len());
    for statement in statements.into_iter().rev() {
        let statement = fold(statement);
        let implied = Dependency::established_by(&statement)
            .is_some_and(|established| kept.last().is_some_and(|next| dependencies(next).contains(&established)));
        if !implied {
            kept.push(statement);
        }
    }
    kept.reverse();
    kept
}

fn fold(statement: Statement) -> Statement {
    match statement {
        Statement::Match(Match { key, negated, with }) => {
            let with = match with {
                // nft merges these as well; the kernel refuses those that overlap.
                Comparand::Elements(elements) if elements.iter().any(Element::is_range) => {
                    Comparand::Elements(merge(&key.datatypes(), elements.iter()))
                }
                with => with,
            };
            let with = match key.as_field() {
                Some(field) => fold_comparand(field, with),
                None => with,
            };
            Statement::Match(Match { key, negated, with })
        }
        Statement::SetMark { target, value: MarkValue::Bits { keep, set } } => {
            Statement::SetMark { target, value: MarkValue::bits(keep, set) }
        }
        other => other,
    }
}

fn fold_comparand(field: Field, with: Comparand) -> Comparand {
    match with {
        Comparand::Elements(elements) if elements.len() == 1 => match elements.first() {
            Some(element) if element.is_range() => fold_range(field, element.start(), element.end()),
            Some(element) => fold_comparand(field, Comparand::Value(element.start().clone())),
            None => Comparand::Elements(elements),
        },
        Comparand::Range(start, end) if start == end => fold_comparand(field, Comparand::Value(start)),
        Comparand::Network(network) if network.prefix() == host_prefix(&network) => {
            Comparand::Value(network.ip().into())
        }
        Comparand::Network(network) => {
            IpNetwork::new(network.network(), network.prefix()).map_or(Comparand::Network(network), Comparand::Network)
        }
        Comparand::Value(value) if field == Field::CtState => match <[u8; 4]>::try_from(value.as_bytes()) {
            Ok(bits) => Comparand::AnyOf(u32::from_ne_bytes(bits)),
            Err(_) => Comparand::Value(value),
        },
        Comparand::Masked { mask: u32::MAX, value } => Comparand::Value(Value::mark(value)),
        other => other,
    }
}

fn host_prefix(network: &IpNetwork) -> u8 {
    if network.is_ipv4() { 32 } else { 128 }
}

/// A set of one range: a network if it is one and the field an address.
fn fold_range(field: Field, start: &Value, end: &Value) -> Comparand {
    let network =
        matches!(field.datatype(), Datatype::Ipv4Addr | Datatype::Ipv6Addr).then(|| network_of(start, end)).flatten();
    network.map_or_else(|| Comparand::Range(start.clone(), end.clone()), Comparand::Network)
}

/// The network of which these are the first and last address.
pub(crate) fn network_of(start: &Value, end: &Value) -> Option<IpNetwork> {
    let length = prefix_length(start, end)?;
    let start: IpAddr = address(start)?;
    IpNetwork::new(start, length).ok()
}
