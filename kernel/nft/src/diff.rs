//! From what is to what shall be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::rule::{MarkValue, VerdictMap};
use crate::{Chain, Change, Comparand, Data, Element, MapData, Match, Name, Rule, Ruleset, Set, Statement};

/// The changes that turn `actual` into `desired`, in an order in which one transaction can do them.
///
/// 1. The table, when there was nothing.
/// 2. What must make room: chains flushed whose rules name a set that is declared anew; those sets, and chains whose
///    hook changed, deleted.
/// 3. New sets and new chains.
/// 4. Elements, of every set deletions before additions; verdict maps come after the rules (6).
/// 5. Rules. A chain that only got longer has its new rules appended; every other changed chain is flushed and written
///    as a whole. Its counters and `numgen inc` start anew.
/// 6. Elements of verdict maps: the dispatch.
/// 7. Deletions: rules of chains that go, then sets, then chains.
///
/// A set or chain that is the same allocation in both is not looked at. Elements of dynamic sets are the kernel's and
/// never touched. The table itself is never deleted.
#[must_use]
pub fn diff(actual: &Ruleset, desired: &Ruleset) -> Vec<Change> {
    let plan = Plan::new(actual, desired);
    let mut changes = Vec::new();
    if actual.sets.is_empty() && actual.chains.is_empty() && !(desired.sets.is_empty() && desired.chains.is_empty()) {
        changes.push(Change::AddTable);
    }
    plan.make_room(&mut changes);
    plan.declare(&mut changes);
    plan.elements(&mut changes, false);
    plan.rules(&mut changes);
    plan.elements(&mut changes, true);
    plan.delete(&mut changes);
    changes
}

struct Plan<'a> {
    actual: &'a Ruleset,
    desired: &'a Ruleset,
    /// Sets that are deleted in step 2: those declared otherwise in both.
    redeclared: BTreeSet<&'a Name>,
    /// Chains that are in both, but must be made anew.
    rehooked: BTreeSet<&'a Name>,
    /// Chains that are in both, not rehooked, and must be empty before step 3 because of `redeclared`.
    emptied: BTreeSet<&'a Name>,
}

impl<'a> Plan<'a> {
    fn new(actual: &'a Ruleset, desired: &'a Ruleset) -> Self {
        let rehooked: BTreeSet<_> = (actual.chains.iter())
            .filter(|(name, chain)| desired.chains.get(*name).is_some_and(|wanted| hook_changed(chain, wanted)))
            .map(|(name, _)| name)
            .collect();
        // A chain without a hook may be jumped to; it can be made anew only when nobody does.
        let target_remade =
            rehooked.iter().any(|name| actual.chains.get(*name).is_some_and(|chain| chain.base.is_none()));
        let redeclared: BTreeSet<_> = (actual.sets.iter())
            .filter(|(name, set)| {
                desired.sets.get(*name).is_some_and(|wanted| !same_declaration(set, wanted))
                    || (target_remade && set.data == Some(MapData::Verdict))
            })
            .map(|(name, _)| name)
            .collect();
        let emptied = (actual.chains.iter())
            .filter(|(name, _)| !rehooked.contains(name))
            .filter(|(_, chain)| (chain.rules.iter()).any(|rule| in_the_way(rule, &redeclared, target_remade)))
            .map(|(name, _)| name)
            .collect();
        Self { actual, desired, redeclared, rehooked, emptied }
    }

    fn make_room(&self, changes: &mut Vec<Change>) {
        for name in self.emptied.iter().chain(&self.rehooked) {
            if self.actual.chains.get(*name).is_some_and(|chain| !chain.rules.is_empty()) {
                changes.push(Change::FlushChain { name: (*name).clone() });
            }
        }
        changes.extend(self.redeclared.iter().map(|name| Change::DeleteSet { name: (*name).clone() }));
        changes.extend(self.rehooked.iter().map(|name| Change::DeleteChain { name: (*name).clone() }));
    }

    /// The set as it is after step 2.
    fn actual_set(&self, name: &Name) -> Option<&'a Arc<Set>> {
        self.actual.sets.get(name).filter(|_| !self.redeclared.contains(name))
    }

    /// The chain as it is after step 2.
    fn actual_chain(&self, name: &Name) -> Option<&'a Arc<Chain>> {
        self.actual.chains.get(name).filter(|_| !self.rehooked.contains(name))
    }

    fn declare(&self, changes: &mut Vec<Change>) {
        for (name, set) in &self.desired.sets {
            if self.actual_set(name).is_none() {
                changes.push(Change::AddSet { name: name.clone(), set: Arc::clone(set) });
            }
        }
        for (name, chain) in &self.desired.chains {
            if self.actual_chain(name).is_none_or(|actual| actual.base != chain.base) {
                changes.push(Change::AddChain { name: name.clone(), base: chain.base });
            }
        }
    }

    fn elements(&self, changes: &mut Vec<Change>, verdicts: bool) {
        for (name, set) in &self.desired.sets {
            if (set.data == Some(MapData::Verdict)) != verdicts || set.dynamic {
                continue;
            }
            match self.actual_set(name) {
                None if set.elements.is_empty() => {}
                None => changes.push(add_elements(name, set, Arc::clone(&set.elements))),
                Some(actual) if Arc::ptr_eq(actual, set) || Arc::ptr_eq(&actual.elements, &set.elements) => {}
                Some(actual) => change_elements(name, actual, set, changes),
            }
        }
    }

    fn rules(&self, changes: &mut Vec<Change>) {
        for (name, chain) in &self.desired.chains {
            let (mut present, emptied) = match self.actual_chain(name) {
                Some(actual) if self.emptied.contains(name) => (actual.rules.as_slice(), true),
                Some(actual) if Arc::ptr_eq(actual, chain) => continue,
                Some(actual) => (actual.rules.as_slice(), false),
                None => (&[][..], false),
            };
            if emptied {
                present = &[];
            } else if !chain.rules.starts_with(present) {
                changes.push(Change::FlushChain { name: name.clone() });
                present = &[];
            }
            if chain.rules.len() > present.len() {
                let (chain, from) = (Arc::clone(chain), present.len());
                changes.push(Change::AddRules { chain: name.clone(), desired: chain, from });
            }
        }
    }

    fn delete(&self, changes: &mut Vec<Change>) {
        let gone = |name: &&Name| !self.desired.chains.contains_key(*name);
        for (name, chain) in self.actual.chains.iter().filter(|(name, _)| gone(name)) {
            if !chain.rules.is_empty() && !self.emptied.contains(name) {
                changes.push(Change::FlushChain { name: name.clone() });
            }
        }
        for name in self
            .actual
            .sets
            .keys()
            .filter(|name| !self.desired.sets.contains_key(*name) && !self.redeclared.contains(name))
        {
            changes.push(Change::DeleteSet { name: name.clone() });
        }
        for name in self.actual.chains.keys().filter(gone) {
            changes.push(Change::DeleteChain { name: name.clone() });
        }
    }
}

fn add_elements(name: &Name, set: &Arc<Set>, elements: Arc<BTreeMap<Element, Option<Data>>>) -> Change {
    Change::AddElements { name: name.clone(), set: Arc::clone(set), elements }
}

/// Walks both element maps once, in order.
fn change_elements(name: &Name, actual: &Arc<Set>, desired: &Arc<Set>, changes: &mut Vec<Change>) {
    let (mut deleted, mut added) = (Vec::new(), BTreeMap::new());
    let (mut old, mut new) = (actual.elements.iter().peekable(), desired.elements.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some((key, _)), other) if other.is_none_or(|(wanted, _)| key < wanted) => {
                deleted.push((*key).clone());
                old.next();
            }
            (other, Some((key, data))) if other.is_none_or(|(present, _)| key < present) => {
                added.insert((*key).clone(), (*data).clone());
                new.next();
            }
            (Some((key, present)), Some((_, wanted))) => {
                if present != wanted {
                    deleted.push((*key).clone());
                    added.insert((*key).clone(), (*wanted).clone());
                }
                old.next();
                new.next();
            }
            // Both guards above hold whenever one side has ended.
            (Some(_), None) | (None, Some(_)) => break,
        }
    }
    if !deleted.is_empty() {
        changes.push(Change::DeleteElements { name: name.clone(), set: Arc::clone(desired), elements: deleted });
    }
    if !added.is_empty() {
        changes.push(add_elements(name, desired, Arc::new(added)));
    }
}

fn same_declaration(a: &Arc<Set>, b: &Arc<Set>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.key == b.key
            && a.data == b.data
            && a.interval == b.interval
            && a.dynamic == b.dynamic
            && a.timeout == b.timeout
            && a.size == b.size
            && a.kept_comment() == b.kept_comment())
}

/// Whether a chain must be made anew; a policy can be changed in place.
fn hook_changed(actual: &Arc<Chain>, desired: &Arc<Chain>) -> bool {
    match (&actual.base, &desired.base) {
        (None, None) => false,
        (Some(a), Some(b)) => (a.kind, a.hook, a.priority) != (b.kind, b.hook, b.priority),
        _ => true,
    }
}

/// Whether a rule must go before these sets can be deleted, or chains that are jumped to.
fn in_the_way(rule: &Rule, sets: &BTreeSet<&Name>, targets: bool) -> bool {
    let unreadable = rule.statements().is_empty();
    (unreadable && (targets || !sets.is_empty()))
        || rule.statements().iter().any(|statement| {
            named_set(statement).is_some_and(|set| sets.contains(set)) || (targets && may_jump(statement))
        })
}

/// The named set that a statement looks into.
fn named_set(statement: &Statement) -> Option<&Name> {
    match statement {
        Statement::Match(Match { with: Comparand::Set(set), .. })
        | Statement::VerdictMap { map: VerdictMap::Named(set), .. }
        | Statement::Dnat { map: set, .. }
        | Statement::Dynamic { set, .. }
        | Statement::SetMark { value: MarkValue::Map { map: set, .. }, .. } => Some(set),
        _ => None,
    }
}

fn may_jump(statement: &Statement) -> bool {
    matches!(statement, Statement::Verdict(_) | Statement::VerdictMap { .. })
}
