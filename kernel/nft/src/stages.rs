//! Changes in several transactions, for the packets that are in the middle of the rules.
//!
//! A transaction is atomic for a packet that comes after it, not for one that is being judged meanwhile: such a packet
//! walks the rules as they were when it began (the kernel keeps both), but finds in sets and maps what they hold at the
//! moment it looks. A map that leads to a chain of the same transaction leads it to a chain that is still empty for it,
//! which lets it through; a set that goes with the transaction matches nothing for it.

use crate::{Change, MapData, Ruleset, diff};

/// What is committed together, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Chains and sets that nothing leads to yet.
    New,
    /// Rules and elements of what is in use.
    InUse,
    /// Which chain an interface or service leads to, and what every packet passes.
    Dispatch,
    /// What nothing leads to any more.
    Gone,
}

/// As [`diff`], in transactions to be committed one after the other. Whatever is denied under both rulesets is denied to
/// every packet all the time, and after each transaction the table is good to stay.
///
/// Most changes take one transaction. Where something is declared anew in place, everything is one.
#[must_use]
pub fn stages(actual: &Ruleset, desired: &Ruleset) -> Vec<Vec<Change>> {
    let changes = diff(actual, desired);
    // Before the first transaction nothing is denied.
    if actual.chains.is_empty() || changes.iter().any(|change| makes_room(change, desired)) {
        return [changes].into_iter().filter(|changes| !changes.is_empty()).collect();
    }
    let mut by_stage = [const { Vec::new() }; 4];
    for change in changes {
        let stage = stage(&change, actual, desired);
        if let Some(changes) = by_stage.get_mut(stage as usize) {
            changes.push(change);
        }
    }
    join(by_stage)
}

/// Whether something is deleted that is there afterwards too.
fn makes_room(change: &Change, desired: &Ruleset) -> bool {
    match change {
        Change::DeleteSet { name } => desired.sets.contains_key(name),
        Change::DeleteChain { name } => desired.chains.contains_key(name),
        _ => false,
    }
}

fn stage(change: &Change, actual: &Ruleset, desired: &Ruleset) -> Stage {
    let of_chain = |name| match (actual.chains.get(name), desired.chains.get(name)) {
        (_, None) => Stage::Gone,
        (_, Some(wanted)) if wanted.base.is_some() => Stage::Dispatch,
        (None, Some(_)) => Stage::New,
        (Some(_), Some(_)) => Stage::InUse,
    };
    match change {
        Change::AddTable | Change::DeleteTable | Change::AddSet { .. } => Stage::New,
        Change::AddChain { name, .. } | Change::FlushChain { name } => of_chain(name),
        Change::AddRules { chain, .. } => of_chain(chain),
        Change::AddElements { name, .. } if !actual.sets.contains_key(name) => Stage::New,
        Change::AddElements { set, .. } | Change::DeleteElements { set, .. } if set.data == Some(MapData::Verdict) => {
            Stage::Dispatch
        }
        Change::AddElements { .. } | Change::DeleteElements { .. } => Stage::InUse,
        Change::DeleteSet { .. } | Change::DeleteChain { .. } => Stage::Gone,
    }
}

/// Joins stages where that lets nothing through.
fn join([mut new, mut in_use, mut dispatch, mut gone]: [Vec<Change>; 4]) -> Vec<Vec<Change>> {
    let leads_elsewhere = dispatch.iter().any(|change| matches!(change, Change::AddElements { .. }));
    let changes_rules = |change: &Change| matches!(change, Change::FlushChain { .. } | Change::AddRules { .. });
    // An interface must not be led to rules that are still the former ones for a packet under way,
    if !(leads_elsewhere && in_use.iter().any(changes_rules)) {
        in_use.append(&mut dispatch);
        std::mem::swap(&mut in_use, &mut dispatch);
    }
    // nor to a chain that is still empty for it,
    if !(leads_elsewhere && new.iter().any(|change| matches!(change, Change::AddChain { .. }))) {
        let next = if in_use.is_empty() { &mut dispatch } else { &mut in_use };
        new.append(next);
        std::mem::swap(&mut new, next);
    }
    // nor find a set empty that the rules it walks look into.
    if dispatch.is_empty() || !gone.iter().any(|change| matches!(change, Change::DeleteSet { .. })) {
        dispatch.append(&mut gone);
    }
    [new, in_use, dispatch, gone].into_iter().filter(|changes| !changes.is_empty()).collect()
}
