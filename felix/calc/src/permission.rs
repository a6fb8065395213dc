//! Whether a change of the ruleset takes a permission away from a connection that may be open.
//!
//! The answer is on the safe side: it says no only where every connection that was allowed certainly still is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use nft::{Chain, Comparand, Data, Element, Match, Name, Rule, Ruleset, Statement, Verdict};

use crate::render::{DENY, FROM_POD, TO_POD};

/// Compares two rulesets of this crate.
pub(crate) fn takes_away(old: &Ruleset, new: &Ruleset) -> bool {
    Comparison { old, new }.takes_away()
}

struct Comparison<'a> {
    old: &'a Ruleset,
    new: &'a Ruleset,
}

impl Comparison<'_> {
    fn takes_away(&self) -> bool {
        let mut covered = BTreeSet::new();
        [FROM_POD, TO_POD].into_iter().any(|map| !self.dispatch_covers(map, &mut covered))
    }

    /// Whether every interface that is in both may do at least what it could. One that is new could nothing before;
    /// one that is gone takes its connections along.
    fn dispatch_covers<'s>(&'s self, map: &str, covered: &mut BTreeSet<(&'s Name, &'s Name)>) -> bool {
        let (Some(old), Some(new)) = (self.old.sets.get(map), self.new.sets.get(map)) else { return true };
        old.elements.iter().all(|(interface, old)| match (old, new.elements.get(interface)) {
            (_, None) => true,
            (Some(Data::Verdict(Verdict::Goto(old))), Some(Some(Data::Verdict(Verdict::Goto(new))))) => {
                covered.contains(&(old, new))
                    || (self.target_covers(old, new) && {
                        covered.insert((old, new));
                        true
                    })
            }
            // Everything was allowed, and now a chain decides.
            (_, Some(Some(Data::Verdict(Verdict::Goto(_))))) => false,
            _ => true,
        })
    }

    fn target_covers(&self, old: &Name, new: &Name) -> bool {
        if old.as_str() == DENY {
            return true;
        }
        match (self.old.chains.get(old), self.new.chains.get(new)) {
            (Some(old), Some(new)) => self.chain_covers(old, new),
            _ => false,
        }
    }

    /// Whether everything that one chain lets through, another does.
    fn chain_covers(&self, old: &Arc<Chain>, new: &Arc<Chain>) -> bool {
        let is_same = |name| match (self.old.sets.get(name), self.new.sets.get(name)) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if Arc::ptr_eq(old, new) && sets_of(old).all(is_same) {
            return true;
        }
        if !(is_plain(old) && is_plain(new)) {
            // Rules that deny or pass make order and negation count: any difference may take something away.
            return old.rules == new.rules && sets_of(old).all(|name| self.same_set(name));
        }
        (old.rules.iter()).filter(|rule| allows(rule)).all(|rule| self.rule_covered(rule, new))
    }

    fn rule_covered(&self, old: &Rule, new: &Chain) -> bool {
        new.rules.iter().filter(|rule| allows(rule)).any(|rule| {
            rule.statements().iter().all(|wanted| match wanted {
                Statement::Match(wanted) => old.statements().iter().any(|had| match had {
                    Statement::Match(had) => self.implies(had, wanted),
                    _ => false,
                }),
                _ => true,
            })
        })
    }

    /// Whether whatever satisfied the old match satisfies the new one.
    fn implies(&self, old: &Match, new: &Match) -> bool {
        if old.key != new.key || old.negated || new.negated {
            return false;
        }
        if let (Comparand::Set(old), Comparand::Set(new)) = (&old.with, &new.with)
            && let (Some(old), Some(new)) = (self.old.sets.get(old), self.new.sets.get(new))
            && Arc::ptr_eq(&old.elements, &new.elements)
        {
            return true;
        }
        match (elements(self.old, &old.with), elements(self.new, &new.with)) {
            (Some(part), Some(all)) => contains_all(all, part),
            _ => false,
        }
    }

    fn same_set(&self, name: &Name) -> bool {
        match (self.old.sets.get(name), self.new.sets.get(name)) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old.elements == new.elements,
            _ => false,
        }
    }
}

type Elements<'a> = Box<dyn Iterator<Item = Cow<'a, Element>> + 'a>;

/// What satisfies a comparison, in order and without overlaps; `None` for what chains of groups do not compare with.
fn elements<'a>(ruleset: &'a Ruleset, comparand: &'a Comparand) -> Option<Elements<'a>> {
    let one = |element: Element| -> Elements<'a> { Box::new(std::iter::once(Cow::Owned(element))) };
    Some(match comparand {
        Comparand::Value(value) => one(value.clone().into()),
        Comparand::Network(network) => one(Element::network(*network)),
        Comparand::Range(first, last) => one(Element::range(first.clone(), last.clone())),
        Comparand::Elements(elements) => Box::new(elements.iter().map(Cow::Borrowed)),
        Comparand::Set(name) => Box::new(ruleset.sets.get(name)?.elements.keys().map(Cow::Borrowed)),
        _ => return None,
    })
}

/// Whether every element of one list lies in an element of another.
fn contains_all<'a>(all: Elements<'a>, mut part: Elements<'a>) -> bool {
    let mut all = all.peekable();
    part.all(|element| {
        while all.next_if(|range| range.end() < element.start()).is_some() {}
        all.peek().is_some_and(|range| range.start() <= element.start() && element.end() <= range.end())
    })
}

/// Whether a chain only allows, until it denies what is left.
fn is_plain(chain: &Chain) -> bool {
    let Some((last, rules)) = chain.rules.split_last() else { return false };
    rules.iter().all(allows)
        && matches!(last.statements(), [Statement::Verdict(Verdict::Goto(name))] if name.as_str() == DENY)
}

fn allows(rule: &Rule) -> bool {
    matches!(rule.statements().last(), Some(Statement::Verdict(Verdict::Accept | Verdict::Return)))
}

fn sets_of(chain: &Chain) -> impl Iterator<Item = &Name> {
    chain.rules.iter().flat_map(Rule::statements).filter_map(|statement| match statement {
        Statement::Match(Match { with: Comparand::Set(name), .. }) => Some(name),
        _ => None,
    })
}
