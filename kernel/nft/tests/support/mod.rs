//! Rulesets of the layout, for tests here and in `kernel`.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests, of which every binary uses another part"
)]

mod policy;
mod services;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use nft::{Base, Chain, Change, Datatype, Element, Field, Hook, Rule, Ruleset, Set, Statement, Verdict, protocol};
pub(crate) use policy::policy;
pub(crate) use services::{ipv6_maglev, ipv6_slots, services};

pub(crate) fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn tcp() -> Element {
    Element::protocol(protocol::TCP)
}

fn rule(statements: impl IntoIterator<Item = Statement>) -> Rule {
    Rule::new(statements)
}

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

/// Distinct addresses.
pub(crate) fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::from(0x0a00_0000 + n))
}

/// Rulesets in which the same names mean other kinds of sets, chains and hooks.
pub(crate) fn kinds() -> [Ruleset; 4] {
    let matches = |set: &str| Rule::new([Field::Ip4Saddr.within_set(set), Statement::accept()]);
    let dispatch = || Rule::new([Field::Ip4Saddr.vmap("m")]);
    let mut first = Ruleset::default();
    first.add_set("s", Set::of([Datatype::Ipv4Addr]).with_members([v4("10.0.0.1")]));
    first
        .add_set("m", Set::verdict_map([Datatype::Ipv4Addr]).with_entries([(v4("10.0.0.1"), Verdict::goto("target"))]));
    first.add_chain("target", Chain::new([matches("s")]));
    first.add_chain("base", Chain::base(Base::filter(Hook::Forward, 0), [dispatch(), matches("s")]));
    let mut second = first.clone();
    let network = Element::network("10.0.0.0/8".parse().unwrap());
    second.add_set("s", Set::intervals([Datatype::Ipv4Addr]).with_members([network]));
    second.add_chain("base", Chain::base(Base::filter(Hook::Input, 5), [dispatch(), matches("s")]));
    let mut third = Ruleset::default();
    third.add_set("m", Set::verdict_map([Datatype::Ipv4Addr]));
    third.add_chain("target", Chain::base(Base::filter(Hook::Output, 0), []));
    let mut fourth = third.clone();
    let drop = Base { policy: nft::Policy::Drop, ..Base::filter(Hook::Output, 0) };
    fourth.add_chain("target", Chain::base(drop, []));
    [first, second, third, fourth]
}
