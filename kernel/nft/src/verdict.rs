//! What the ruleset does with a packet.

use std::collections::BTreeMap;

use crate::canonical::{Dependency, dependencies};
use crate::jhash;
use crate::value::padded;
use crate::{
    Chain, ChainKind, Comparand, ConnectionState, Data, Datatype, Element, Expression, Family, Field, Hook, Key,
    MarkTarget, MarkValue, Match, Name, Packet, Policy, Reject, Ruleset, Statement, Value, Verdict, VerdictMap,
};

/// Connection tracking looks at a packet between these two priorities.
const CONNTRACK: i32 = -200;
/// Jumps nest no deeper than this in the kernel.
const MAX_DEPTH: usize = 16;

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The end of its way.
    pub outcome: Outcome,
    /// The packet as it leaves: with its marks, and its destination after translation.
    pub packet: Packet,
    /// It leaves with the address of its interface as its source.
    pub masqueraded: bool,
    /// The rules whose statements all held, in order; the last one of a dropped packet dropped it.
    pub steps: Vec<Step>,
}

/// The end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// No chain objects.
    Accepted,
    /// Dropped without a word.
    Dropped,
    /// Dropped, and its sender told.
    Rejected(Reject),
}

/// A rule that a packet matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The chain.
    pub chain: Name,
    /// The rule's place in it, from 0.
    pub rule: usize,
}

/// Takes a packet through all hooks on its way, every hook's chains in the order of their priority.
///
/// A packet with input and output interface passes prerouting, forward and postrouting; with an input only, prerouting
/// and input; with an output only, output and postrouting. Nat chains see only what opens a connection, as in the
/// kernel. Chains before connection tracking see no connection, and after `notrack` there is none. What dynamic sets
/// hold is not known here: they are empty.
#[must_use]
pub fn verdict(ruleset: &Ruleset, packet: &Packet) -> Judgement {
    let mut walk = Walk {
        ruleset,
        packet: packet.clone(),
        masqueraded: false,
        tracked: false,
        output_known: false,
        steps: Vec::new(),
    };
    let outcome = walk.hooks();
    Judgement { outcome, packet: walk.packet, masqueraded: walk.masqueraded, steps: walk.steps }
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: Packet,
    masqueraded: bool,
    /// Whether connection tracking has seen the packet in this hook.
    tracked: bool,
    /// Before routing nobody knows where it will leave.
    output_known: bool,
    steps: Vec<Step>,
}

/// What a chain says in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// Nothing: its end was reached, or `return`.
    Nothing,
    Accept,
    Drop,
    Reject(Reject),
    /// Translated: no further rule of this base chain.
    Translated,
}

/// What a statement says.
enum Next {
    /// On with the next statement.
    Statement,
    /// It did not match: on with the next rule.
    Rule,
    Verdict(Verdict),
    Reject(Reject),
    Translated,
}

impl<'a> Walk<'a> {
    fn hooks(&mut self) -> Outcome {
        let hooks: &[Hook] = match (&self.packet.input, &self.packet.output) {
            (Some(_), Some(_)) => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
            (Some(_), None) => &[Hook::Prerouting, Hook::Input],
            (None, _) => &[Hook::Output, Hook::Postrouting],
        };
        for hook in hooks {
            self.output_known = *hook != Hook::Prerouting;
            let mut bases: Vec<_> = (self.ruleset.chains.iter())
                .filter_map(|(name, chain)| chain.base.map(|base| (base, name, chain)))
                .filter(|(base, ..)| base.hook == *hook)
                .collect();
            bases.sort_by_key(|(base, name, _)| (base.priority, *name));
            let mut translated = false;
            let is_first_hook = matches!(hook, Hook::Prerouting | Hook::Output);
            for (base, name, chain) in bases {
                self.tracked = !is_first_hook || base.priority > CONNTRACK;
                // One translation per hook and connection.
                if base.kind == ChainKind::Nat && (translated || !self.opens_connection()) {
                    continue;
                }
                match self.chain(name, chain, 0) {
                    Said::Accept => {}
                    Said::Translated => translated = true,
                    Said::Nothing if base.policy == Policy::Accept => {}
                    Said::Nothing | Said::Drop => return Outcome::Dropped,
                    Said::Reject(with) => return Outcome::Rejected(with),
                }
            }
        }
        Outcome::Accepted
    }

    fn opens_connection(&self) -> bool {
        self.packet.conntrack.state == ConnectionState::New
    }

    fn chain(&mut self, name: &'a Name, chain: &'a Chain, depth: usize) -> Said {
        for (index, rule) in chain.rules.iter().enumerate() {
            let mut next = Next::Statement;
            for statement in rule.statements() {
                next = self.statement(statement);
                if !matches!(next, Next::Statement) {
                    break;
                }
            }
            if matches!(next, Next::Rule) {
                continue;
            }
            self.steps.push(Step { chain: name.clone(), rule: index });
            match next {
                Next::Statement | Next::Rule => {}
                Next::Reject(with) => return Said::Reject(with),
                Next::Translated => return Said::Translated,
                Next::Verdict(Verdict::Accept) => return Said::Accept,
                Next::Verdict(Verdict::Drop) => return Said::Drop,
                Next::Verdict(Verdict::Return) => return Said::Nothing,
                Next::Verdict(Verdict::Goto(target)) => return self.enter(&target, depth),
                Next::Verdict(Verdict::Jump(target)) => match self.enter(&target, depth + 1) {
                    Said::Nothing => {}
                    said => return said,
                },
            }
        }
        Said::Nothing
    }

    fn enter(&mut self, target: &Name, depth: usize) -> Said {
        match self.ruleset.chains.get_key_value(target) {
            // The kernel refuses both a missing chain and a deeper nesting; neither can be loaded.
            Some((name, chain)) if depth < MAX_DEPTH && self.steps.len() < self.step_limit() => {
                self.chain(name, chain, depth)
            }
            _ => Said::Drop,
        }
    }

    /// No walk that the kernel would load is longer; ends loops made of goto.
    fn step_limit(&self) -> usize {
        let rules: usize = self.ruleset.chains.values().map(|chain| chain.rules.len()).sum();
        (rules + 1) * MAX_DEPTH * 5
    }

    fn statement(&mut self, statement: &Statement) -> Next {
        if !dependencies(statement).into_iter().all(|dependency| self.holds(dependency)) {
            return Next::Rule;
        }
        match statement {
            Statement::Match(of) => match self.matches(of) {
                Some(true) => Next::Statement,
                Some(false) | None => Next::Rule,
            },
            Statement::VerdictMap { key, map } => self.verdict_of(key, map).map_or(Next::Rule, Next::Verdict),
            Statement::Verdict(verdict) => Next::Verdict(verdict.clone()),
            Statement::SetMark { target, value } => {
                self.set_mark(*target, value).map_or(Next::Rule, |()| Next::Statement)
            }
            Statement::Masquerade { .. } => {
                self.masqueraded = true;
                Next::Translated
            }
            Statement::Dnat { family, key, map } => match self.value_of(key, map) {
                Some(to) if *family == self.family() => self.translate(&to).map_or(Next::Rule, |()| Next::Translated),
                Some(_) => Next::Statement,
                None => Next::Rule,
            },
            Statement::Reject(with) => Next::Reject(*with),
            Statement::Notrack => {
                if !self.tracked {
                    self.packet.conntrack.state = ConnectionState::Untracked;
                }
                Next::Statement
            }
            Statement::Counter | Statement::Log { .. } | Statement::Dynamic { .. } => Next::Statement,
        }
    }

    fn holds(&self, dependency: Dependency) -> bool {
        match dependency {
            Dependency::Family(family) => family == self.family(),
            Dependency::Protocol(number) => number == self.packet.protocol,
        }
    }

    fn family(&self) -> Family {
        Family::of(&self.packet.source)
    }

    fn matches(&self, of: &Match) -> Option<bool> {
        let key = self.key(&of.key)?;
        let equal = match &of.with {
            Comparand::Value(value) => key == *value,
            Comparand::Network(network) => crate::value::address(&key).is_some_and(|address| network.contains(address)),
            Comparand::Range(start, end) => (start..=end).contains(&&key),
            Comparand::NamePrefix(prefix) => key.as_bytes().starts_with(prefix.as_bytes()),
            Comparand::Masked { mask, value } => host(&key)? & mask == *value,
            Comparand::AnyOf(bits) => host(&key)? & bits != 0,
            Comparand::Elements(elements) => {
                let types = of.key.datatypes();
                elements.iter().any(|element| contains(element, &key, &types))
            }
            Comparand::Set(name) => {
                let set = self.ruleset.sets.get(name)?;
                entry(&set.elements, set.interval, &key, &set.key).is_some()
            }
        };
        Some(equal != of.negated)
    }

    fn verdict_of(&self, key: &Key, map: &VerdictMap) -> Option<Verdict> {
        let value = self.key(key)?;
        match map {
            VerdictMap::Anonymous(map) => entry(map, true, &value, &key.datatypes()).cloned(),
            VerdictMap::Named(name) => {
                let set = self.ruleset.sets.get(name)?;
                match entry(&set.elements, set.interval, &value, &set.key)? {
                    Some(Data::Verdict(verdict)) => Some(verdict.clone()),
                    _ => None,
                }
            }
        }
    }

    fn value_of(&self, key: &Key, map: &Name) -> Option<Value> {
        let set = self.ruleset.sets.get(map)?;
        match entry(&set.elements, set.interval, &self.key(key)?, &set.key)? {
            Some(Data::Value(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// Gives the packet another destination: an address and a port.
    fn translate(&mut self, to: &Value) -> Option<()> {
        let length = if self.family() == Family::Ipv4 { 4 } else { 16 };
        let (address, port) = to.as_bytes().split_at_checked(length)?;
        self.packet.destination = crate::value::address(&Value::from_bytes(address))?;
        self.packet.destination_port = u16::from_be_bytes([*port.first()?, *port.get(1)?]);
        Some(())
    }

    fn set_mark(&mut self, target: MarkTarget, value: &MarkValue) -> Option<()> {
        let mapped = match value {
            MarkValue::Bits { .. } => None,
            MarkValue::Map { key, map } => Some(host(&self.value_of(key, map)?)?),
        };
        let has_connection = self.has_connection();
        let mark = match target {
            MarkTarget::Packet => &mut self.packet.mark,
            MarkTarget::Connection if has_connection => &mut self.packet.conntrack.mark,
            // Reading the mark ends the rule; only setting does nothing.
            MarkTarget::Connection => {
                return matches!(value, MarkValue::Bits { keep: 0, .. } | MarkValue::Map { .. }).then_some(());
            }
        };
        *mark = match (value, mapped) {
            (MarkValue::Bits { keep, set }, _) => *mark & keep | set,
            (MarkValue::Map { .. }, mapped) => mapped?,
        };
        Some(())
    }

    /// Before connection tracking, `ct state` is invalid unless a rule said `notrack`.
    fn conntrack_state(&self) -> ConnectionState {
        match self.packet.conntrack.state {
            ConnectionState::Untracked => ConnectionState::Untracked,
            state if self.tracked => state,
            _ => ConnectionState::Invalid,
        }
    }

    fn has_connection(&self) -> bool {
        !matches!(self.conntrack_state(), ConnectionState::Untracked | ConnectionState::Invalid)
    }

    fn key(&self, key: &Key) -> Option<Value> {
        match key.0.as_slice() {
            [single] => self.expression(single),
            parts => {
                let mut bytes = Vec::new();
                for part in parts {
                    bytes.extend_from_slice(self.expression(part)?.as_bytes());
                    bytes.resize(padded(bytes.len()), 0);
                }
                Some(Value::from_bytes(&bytes))
            }
        }
    }

    fn expression(&self, expression: &Expression) -> Option<Value> {
        match expression {
            Expression::Field(field) => self.field(*field),
            Expression::Numgen { modulus, offset, .. } => {
                Some(Value::slot(self.packet.random.checked_rem(*modulus)?.wrapping_add(*offset)))
            }
            Expression::Jhash { over, modulus, seed, offset } => {
                let over = Key(over.iter().map(|field| Expression::Field(*field)).collect());
                let slot = jhash::slot(self.key(&over)?.as_bytes(), *seed, *modulus);
                Some(Value::slot(slot.wrapping_add(*offset)))
            }
        }
    }

    fn field(&self, field: Field) -> Option<Value> {
        let packet = &self.packet;
        let has_ports = !matches!(packet.protocol, crate::protocol::ICMP | crate::protocol::ICMPV6);
        Some(match field {
            Field::NfProto => Value::family(self.family()),
            Field::L4Proto => Value::protocol(packet.protocol),
            Field::MetaMark => Value::mark(packet.mark),
            Field::Iifname => Value::ifname(packet.input.as_deref().unwrap_or_default()),
            Field::Oifname => Value::ifname(packet.output.as_deref().filter(|_| self.output_known).unwrap_or_default()),
            Field::CtState => Value::state(self.conntrack_state().bit()),
            Field::CtDirection | Field::CtMark if !self.has_connection() => return None,
            Field::CtDirection => Value::direction(packet.conntrack.direction),
            Field::CtMark => Value::mark(packet.conntrack.mark),
            Field::Ip4Saddr | Field::Ip6Saddr => packet.source.into(),
            Field::Ip4Daddr | Field::Ip6Daddr => packet.destination.into(),
            Field::ThSport if has_ports => Value::port(packet.source_port),
            Field::ThDport if has_ports => Value::port(packet.destination_port),
            // The kernel reads these bytes of whatever the packet carries.
            Field::ThSport => Value::port(u16::from_be_bytes([packet.icmp_type, packet.icmp_code])),
            Field::ThDport => Value::port(0),
            Field::IcmpType | Field::Icmpv6Type => Value::icmp(packet.icmp_type),
            Field::IcmpCode | Field::Icmpv6Code => Value::icmp(packet.icmp_code),
        })
    }
}

fn host(value: &Value) -> Option<u32> {
    value.as_bytes().try_into().ok().map(u32::from_ne_bytes)
}

/// The entry under which a key falls.
fn entry<'e, T>(elements: &'e BTreeMap<Element, T>, interval: bool, key: &Value, types: &[Datatype]) -> Option<&'e T> {
    if let Some(data) = elements.get(&Element::from(key.clone())) {
        return Some(data);
    }
    if !interval {
        return None;
    }
    if types.len() > 1 {
        return elements.iter().find(|(element, _)| contains(element, key, types)).map(|(_, data)| data);
    }
    // Ranges of one part do not overlap: only the last that starts before the key can hold it.
    let last = Element::range(key.clone(), Value::from_bytes(&vec![0xff; key.as_bytes().len() + 1]));
    elements.range(..last).next_back().filter(|(element, _)| contains(element, key, types)).map(|(_, data)| data)
}

/// Whether every part of a key lies between those of the element.
fn contains(element: &Element, key: &Value, types: &[Datatype]) -> bool {
    if !element.is_range() || types.len() == 1 {
        return element.start() <= key && key <= element.end();
    }
    let (mut start, mut key, mut end) = (element.start().as_bytes(), key.as_bytes(), element.end().as_bytes());
    types.iter().all(|part| {
        let length = padded(part.length());
        match (start.split_at_checked(length), key.split_at_checked(length), end.split_at_checked(length)) {
            (Some(first), Some(of), Some(last)) => {
                (start, key, end) = (first.1, of.1, last.1);
                first.0 <= of.0 && of.0 <= last.0
            }
            _ => false,
        }
    })
}
