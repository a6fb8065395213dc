//! Changes as one netlink batch.

mod element;
mod statement;
pub(crate) mod user_data;
mod writer;

use std::ops::Range;

use element::Shape;
pub(crate) use writer::Writer;

use crate::canonical::{Dependency, dependencies};
use crate::netlink::{chain as chain_attribute, flag, message, rule as rule_attribute, table};
use crate::{
    Base, ChainKind, Change, Comparand, Data, Datatype, Element, Hook, Match, Policy, Rule, Statement, TABLE,
    VerdictMap,
};

/// Elements of one message: its list is an attribute, whose length has 16 bits.
const ELEMENT_BYTES: usize = 48 * 1024;

/// The bytes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The sequence numbers of each change's messages.
    sequences: Vec<Range<u32>>,
}

impl Batch {
    /// What is sent, in one piece. Only the last message asks to be acknowledged.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which of the changes the message with this sequence number belongs to; `None` for the frame of the batch, by
    /// which the kernel answers when the transaction failed as a whole.
    #[must_use]
    pub fn change_of(&self, sequence: u32) -> Option<usize> {
        self.sequences.iter().position(|range| range.contains(&sequence))
    }

    /// The sequence number of the message that is acknowledged; `None` if there is nothing to do.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u32> {
        self.sequences.last().filter(|range| range.end > 1).map(|range| range.end - 1)
    }
}

/// The changes as one transaction.
#[must_use]
pub fn encode(changes: &[Change]) -> Batch {
    let mut encoder = Encoder::default();
    encoder.writer.batch_mark(message::BATCH_BEGIN, flag::REQUEST, 0);
    encoder.sequence = 1;
    let mut sequences = Vec::with_capacity(changes.len());
    for change in changes {
        let first = encoder.sequence;
        encoder.change(change);
        sequences.push(first..encoder.sequence);
    }
    if encoder.sequence > 1 {
        encoder.writer.add_flags(encoder.last, flag::ACK);
    }
    encoder.writer.batch_mark(message::BATCH_END, flag::REQUEST, encoder.sequence);
    Batch { bytes: encoder.writer.into_bytes(), sequences }
}

#[derive(Default)]
struct Encoder {
    writer: Writer,
    sequence: u32,
    /// Where the last message starts.
    last: usize,
    /// The last number given to a set.
    set_id: u32,
}

impl Encoder {
    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer)) {
        self.last = self.writer.len();
        self.writer.begin(kind, flag::REQUEST | flags, self.sequence);
        fill(&mut self.writer);
        self.writer.end();
        self.sequence += 1;
    }

    fn next_set_id(&mut self) -> u32 {
        self.set_id += 1;
        self.set_id
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::AddTable => self.message(message::NEW_TABLE, flag::CREATE, |writer| {
                writer.text(table::NAME, TABLE);
                writer.number(table::FLAGS, 0);
            }),
            Change::DeleteTable => {
                self.message(message::DEL_TABLE, 0, |writer| writer.text(table::NAME, TABLE));
            }
            Change::AddSet { name, set } => {
                let id = self.next_set_id();
                self.message(message::NEW_SET, flag::CREATE | flag::EXCLUSIVE, |writer| {
                    element::declaration(writer, name.as_str(), set, id);
                });
            }
            Change::DeleteSet { name } => self.message(message::DEL_SET, 0, |writer| {
                writer.text(crate::netlink::set::TABLE, TABLE);
                writer.text(crate::netlink::set::NAME, name.as_str());
            }),
            Change::AddChain { name, base } => {
                self.message(message::NEW_CHAIN, flag::CREATE, |writer| add_chain(writer, name.as_str(), *base));
            }
            Change::DeleteChain { name } => self.message(message::DEL_CHAIN, 0, |writer| {
                writer.text(chain_attribute::TABLE, TABLE);
                writer.text(chain_attribute::NAME, name.as_str());
            }),
            Change::FlushChain { name } => self.message(message::DEL_RULE, 0, |writer| {
                writer.text(rule_attribute::TABLE, TABLE);
                writer.text(rule_attribute::CHAIN, name.as_str());
            }),
            Change::AddRules { chain, desired, from } => {
                desired.rules.iter().skip(*from).for_each(|rule| self.rule(chain.as_str(), rule));
            }
            Change::AddElements { name, set, elements } => {
                let entries = elements.iter().map(|(element, data)| (element, data.as_ref()));
                self.elements(true, (name.as_str(), None), Shape::of(&set.key, set.interval), entries);
            }
            Change::DeleteElements { name, set, elements } => {
                let entries = elements.iter().map(|element| (element, None));
                self.elements(false, (name.as_str(), None), Shape::of(&set.key, set.interval), entries);
            }
        }
    }

    fn elements<'a>(
        &mut self,
        add: bool,
        (set, id): (&str, Option<u32>),
        shape: Shape,
        entries: impl Iterator<Item = (&'a Element, Option<&'a Data>)>,
    ) {
        let (kind, flags) = if add { (message::NEW_ELEMENT, flag::CREATE) } else { (message::DEL_ELEMENT, 0) };
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            self.message(kind, flags, |writer| {
                element::list_head(writer, set, id);
                writer.nested(crate::netlink::element::LIST, |writer| {
                    let start = writer.len();
                    while let Some((element, data)) = entries.next_if(|(element, data)| {
                        let used = writer.len() - start;
                        used == 0 || used + element::entry_bound(element, *data) <= ELEMENT_BYTES
                    }) {
                        element::entry(writer, shape, element, data);
                    }
                });
            });
        }
    }

    fn rule(&mut self, chain: &str, rule: &Rule) {
        let anonymous: Vec<_> = rule.statements().iter().map(|statement| self.anonymous_set(statement)).collect();
        self.message(message::NEW_RULE, flag::CREATE | flag::APPEND, |writer| {
            writer.text(rule_attribute::TABLE, TABLE);
            writer.text(rule_attribute::CHAIN, chain);
            writer.nested(rule_attribute::EXPRESSIONS, |writer| {
                let mut established = Vec::new();
                for (statement, anonymous) in rule.statements().iter().zip(anonymous) {
                    for dependency in dependencies(statement) {
                        if !established.contains(&dependency) {
                            statement::statement(writer, &dependency.statement(), None);
                            dependency.establish(&mut established);
                        }
                    }
                    if let Some(dependency) = Dependency::established_by(statement) {
                        dependency.establish(&mut established);
                    }
                    statement::statement(writer, statement, anonymous);
                }
            });
            if let Some(comment) = rule.comment() {
                writer.bytes(rule_attribute::USER_DATA, &user_data::of_rule(comment));
            }
        });
    }

    /// Makes the set that a statement holds itself.
    fn anonymous_set(&mut self, statement: &Statement) -> statement::Anonymous {
        match statement {
            Statement::Match(Match { key, with: Comparand::Elements(elements), .. }) => {
                let entries: Vec<_> = elements.iter().map(|element| (element, None)).collect();
                Some(self.make_anonymous(&key.datatypes(), false, &entries))
            }
            Statement::VerdictMap { key, map: VerdictMap::Anonymous(map) } => {
                let entries: Vec<_> =
                    map.iter().map(|(element, verdict)| (element, Some(Data::Verdict(verdict.clone())))).collect();
                let entries: Vec<_> = entries.iter().map(|(element, data)| (*element, data.as_ref())).collect();
                Some(self.make_anonymous(&key.datatypes(), true, &entries))
            }
            _ => None,
        }
    }

    fn make_anonymous(
        &mut self,
        key: &[Datatype],
        is_map: bool,
        entries: &[(&Element, Option<&Data>)],
    ) -> (&'static str, u32) {
        let interval = entries.iter().any(|(element, _)| element.is_range());
        let shape = Shape::of(key, interval);
        let (name, id) = (element::anonymous_name(is_map), self.next_set_id());
        self.message(message::NEW_SET, flag::CREATE, |writer| {
            element::anonymous_declaration(writer, key, is_map, shape, entries.len(), id);
        });
        self.elements(true, (name, Some(id)), shape, entries.iter().copied());
        (name, id)
    }
}

fn add_chain(writer: &mut Writer, name: &str, base: Option<Base>) {
    writer.text(chain_attribute::TABLE, TABLE);
    writer.text(chain_attribute::NAME, name);
    let Some(base) = base else { return };
    let hook: u32 = match base.hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    writer.nested(chain_attribute::HOOK, |writer| {
        writer.number(chain_attribute::HOOK_NUMBER, hook);
        writer.bytes(chain_attribute::HOOK_PRIORITY, &base.priority.to_be_bytes());
    });
    writer.number(chain_attribute::POLICY, u32::from(base.policy == Policy::Accept));
    writer.text(
        chain_attribute::KIND,
        match base.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        },
    );
}

/// Requests that the shell sends to read the table back.
pub mod request {
    use super::{TABLE, Writer, flag, message};
    use crate::netlink::{chain, element, rule, set};

    /// Asks for all sets, anonymous ones too.
    #[must_use]
    pub fn sets(sequence: u32) -> Vec<u8> {
        dump(message::GET_SET, sequence, |writer| writer.text(set::TABLE, TABLE))
    }

    /// Asks for the elements of one set.
    #[must_use]
    pub fn elements(set: &str, sequence: u32) -> Vec<u8> {
        dump(message::GET_ELEMENT, sequence, |writer| {
            writer.text(element::TABLE, TABLE);
            writer.text(element::SET, set);
        })
    }

    /// Asks for all chains of the family: the kernel has no filter for one table.
    #[must_use]
    pub fn chains(sequence: u32) -> Vec<u8> {
        dump(message::GET_CHAIN, sequence, |writer| writer.text(chain::TABLE, TABLE))
    }

    /// Asks for all rules.
    #[must_use]
    pub fn rules(sequence: u32) -> Vec<u8> {
        dump(message::GET_RULE, sequence, |writer| writer.text(rule::TABLE, TABLE))
    }

    /// Asks for the number of the ruleset's generation; every transaction of anybody raises it.
    #[must_use]
    pub fn generation(sequence: u32) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.begin(message::GET_GENERATION, flag::REQUEST, sequence);
        writer.end();
        writer.into_bytes()
    }

    fn dump(kind: u16, sequence: u32, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.begin(kind, flag::REQUEST | flag::DUMP, sequence);
        fill(&mut writer);
        writer.end();
        writer.into_bytes()
    }
}
