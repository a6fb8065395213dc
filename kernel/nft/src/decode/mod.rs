//! A dump of the table as a ruleset.

mod attribute;
mod rule;
mod set;

use std::collections::BTreeMap;
use std::sync::Arc;

use attribute::Attributes;
use set::RawSet;

use crate::encode::user_data;
use crate::netlink::{
    FAMILY_HEADER, GENERATION_ID, SUBSYSTEM, chain as chain_attribute, message, rule as rule_attribute,
};
use crate::{Base, Chain, ChainKind, Hook, Name, Policy, Rule, Ruleset, TABLE};

/// Collects the messages of a dump.
///
/// Ask for [`crate::request::sets`], then for the elements of every set in [`Decoder::sets`], then for chains and
/// rules; give every message to [`Decoder::message`]; [`Decoder::finish`] then knows the whole.
///
/// Foreign objects do no harm. A rule that no version of tortie writes becomes one without statements, a set of an
/// unknown type one without key types: neither equals anything that is wanted, so [`crate::diff`] replaces them.
#[derive(Debug, Default)]
pub struct Decoder {
    sets: BTreeMap<Name, RawSet>,
    chains: BTreeMap<Name, Option<Base>>,
    /// Chain and message of each rule, as they came. They name sets that may come later.
    rules: Vec<(Name, Vec<u8>)>,
}

impl Decoder {
    /// Takes one message: its type and what follows the netlink header. Of other tables and subsystems, and of kinds
    /// that are not part of a dump, nothing is kept.
    pub fn message(&mut self, kind: u16, body: &[u8]) {
        let Some(body) = body.get(FAMILY_HEADER..) else { return };
        let attributes = Attributes::new(body);
        // The table is attribute 1 in all of them.
        if kind >> 8 != SUBSYSTEM || attributes.text(chain_attribute::TABLE) != Some(TABLE) {
            return;
        }
        match kind & 0xff {
            message::NEW_SET => {
                if let Some((name, set)) = RawSet::of_message(attributes) {
                    self.sets.insert(name, set);
                }
            }
            message::NEW_ELEMENT => {
                let name = attributes.text(crate::netlink::element::SET);
                if let Some(set) = name.and_then(|name| self.sets.get_mut(name)) {
                    set.elements(attributes);
                }
            }
            message::NEW_CHAIN => {
                if let Some(name) = attributes.text(chain_attribute::NAME) {
                    self.chains.insert(name.into(), base(attributes));
                }
            }
            message::NEW_RULE => {
                if let Some(chain) = attributes.text(rule_attribute::CHAIN) {
                    self.rules.push((chain.into(), body.to_vec()));
                }
            }
            _ => {}
        }
    }

    /// The sets whose elements are to be asked for. Those of dynamic sets are not: they belong to the kernel.
    pub fn sets(&self) -> impl Iterator<Item = &Name> {
        self.sets.iter().filter(|(_, set)| !set.is_dynamic()).map(|(name, _)| name)
    }

    /// The ruleset that the messages described.
    #[must_use]
    pub fn finish(self) -> Ruleset {
        let mut chains: BTreeMap<Name, Chain> =
            self.chains.into_iter().map(|(name, base)| (name, Chain { base, rules: Vec::new() })).collect();
        for (chain, message) in &self.rules {
            let attributes = Attributes::new(message);
            let comment = attributes.get(rule_attribute::USER_DATA).and_then(user_data::comment_of_rule);
            let rule = attributes
                .nested(rule_attribute::EXPRESSIONS)
                .and_then(|expressions| rule::statements(expressions, &self.sets))
                .map_or_else(Rule::unreadable, Rule::new);
            let rule = match comment {
                Some(comment) => rule.with_comment(comment),
                None => rule,
            };
            chains.entry(chain.clone()).or_default().rules.push(rule);
        }
        let sets = self.sets.into_iter().filter(|(_, set)| !set.is_anonymous());
        Ruleset {
            sets: sets.map(|(name, set)| (name, Arc::new(set.into_set()))).collect(),
            chains: chains.into_iter().map(|(name, chain)| (name, Arc::new(chain))).collect(),
        }
    }
}

fn base(attributes: Attributes<'_>) -> Option<Base> {
    let hook = attributes.nested(chain_attribute::HOOK)?;
    Some(Base {
        kind: match attributes.text(chain_attribute::KIND)? {
            "filter" => ChainKind::Filter,
            "nat" => ChainKind::Nat,
            _ => return None,
        },
        hook: match hook.number(chain_attribute::HOOK_NUMBER)? {
            0 => Hook::Prerouting,
            1 => Hook::Input,
            2 => Hook::Forward,
            3 => Hook::Output,
            4 => Hook::Postrouting,
            _ => return None,
        },
        priority: hook.get(chain_attribute::HOOK_PRIORITY)?.try_into().ok().map(i32::from_be_bytes)?,
        policy: if attributes.number(chain_attribute::POLICY) == Some(0) { Policy::Drop } else { Policy::Accept },
    })
}

/// The generation in an answer to [`crate::request::generation`], of this type and with this after the netlink header.
#[must_use]
pub fn generation(kind: u16, body: &[u8]) -> Option<u32> {
    if kind != SUBSYSTEM << 8 | message::NEW_GENERATION {
        return None;
    }
    Attributes::new(body.get(FAMILY_HEADER..)?).number(GENERATION_ID)
}
