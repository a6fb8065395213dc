//! What the kernel does with a transaction, and what a packet sees that is in the middle of the rules meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use nft::{Chain, Change, Ruleset, Set, Verdict};

/// What the kernel does with changes, in the order given; panics where the kernel would refuse.
pub(crate) fn apply(ruleset: &Ruleset, changes: &[Change]) -> Ruleset {
    let mut sets: BTreeMap<_, Set> = ruleset.sets.iter().map(|(name, set)| (name.clone(), (**set).clone())).collect();
    let mut chains: BTreeMap<_, Chain> =
        ruleset.chains.iter().map(|(name, chain)| (name.clone(), (**chain).clone())).collect();
    for change in changes {
        match change {
            Change::AddTable => {}
            Change::DeleteTable => {
                sets.clear();
                chains.clear();
            }
            Change::AddSet { name, set } => {
                let empty = Set { elements: Arc::default(), ..(**set).clone() };
                assert!(sets.insert(name.clone(), empty).is_none(), "set {name} is there");
            }
            Change::DeleteSet { name } => {
                let used = chains
                    .values()
                    .flat_map(|chain| &chain.rules)
                    .any(|rule| nft::rule_text(rule).split(' ').any(|word| word == format!("@{name}")));
                assert!(!used, "set {name} is in use");
                assert!(sets.remove(name).is_some(), "set {name} is not there");
            }
            Change::AddChain { name, base } => match chains.get_mut(name) {
                Some(chain) => chain.base = *base,
                None => drop(chains.insert(name.clone(), Chain { base: *base, rules: Vec::new() })),
            },
            Change::DeleteChain { name } => {
                assert!(chains.remove(name).is_some(), "chain {name} is not there");
                let ends = |text: String| {
                    text.split([',', '\n', '}']).any(|part| part.trim_end().ends_with(&format!(" {name}")))
                };
                let target = chains.values().flat_map(|chain| &chain.rules).any(|rule| ends(nft::rule_text(rule)));
                let mapped = sets.values().flat_map(|set| set.elements.values()).any(|data| {
                    matches!(data, Some(nft::Data::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) if chain == name)
                });
                assert!(!target && !mapped, "chain {name} is in use");
            }
            Change::FlushChain { name } => chains.get_mut(name).unwrap().rules.clear(),
            Change::AddRules { chain, desired, from } => {
                let rules = &mut chains.get_mut(chain).unwrap().rules;
                assert_eq!(rules.len(), *from);
                rules.extend(desired.rules.iter().skip(*from).cloned());
            }
            Change::AddElements { name, elements, .. } => {
                let set = sets.get_mut(name).unwrap();
                for (element, data) in elements.iter() {
                    let old = Arc::make_mut(&mut set.elements).insert(element.clone(), data.clone());
                    assert!(old.is_none(), "element {element:?} is there");
                }
            }
            Change::DeleteElements { name, elements, .. } => {
                let set = sets.get_mut(name).unwrap();
                for element in elements {
                    assert!(
                        Arc::make_mut(&mut set.elements).remove(element).is_some(),
                        "element {element:?} is not there"
                    );
                }
            }
        }
    }
    Ruleset {
        sets: sets.into_iter().map(|(name, set)| (name, Arc::new(set))).collect(),
        chains: chains.into_iter().map(|(name, chain)| (name, Arc::new(chain))).collect(),
    }
}

/// What a packet sees that began before a transaction and looks into sets after it: the rules of before, in which a chain
/// that is new has none, with the sets of after.
pub(crate) fn in_between(before: &Ruleset, after: &Ruleset) -> Ruleset {
    let mut seen = Ruleset { sets: after.sets.clone(), chains: before.chains.clone() };
    for (name, set) in &before.sets {
        let empty = || Arc::new(Set { elements: Arc::default(), ..(**set).clone() });
        seen.sets.entry(name.clone()).or_insert_with(empty);
    }
    for name in after.chains.keys() {
        seen.chains.entry(name.clone()).or_insert_with(|| Arc::new(Chain::new([])));
    }
    seen
}
