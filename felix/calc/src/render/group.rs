//! The chain of a group: endpoints to which the same policies apply in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Chain, Name, Set, Statement, Verdict};

use super::DENY;
use super::matches::{Needs, matches};
use crate::membership::SetKey;
use crate::model::{Action, Direction, Policy};
use crate::names;

/// The chain of a group and the sets that only it looks into.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Made of what the chain says.
    pub(crate) name: Name,
    pub(crate) chain: Arc<Chain>,
    /// Sets of networks. Their name is their content, so they never change.
    pub(crate) networks: BTreeMap<Name, Arc<Set>>,
}

impl Group {
    /// Leads a packet there.
    pub(crate) fn goto(&self) -> Verdict {
        Verdict::Goto(self.name.clone())
    }
}

/// Renders a group. The policies are those that govern the direction, in evaluation order.
pub(crate) fn group(direction: Direction, policies: &[Arc<Policy>]) -> Group {
    let mut needs = Needs::default();
    let tier = policies.chunk_by(|a, b| a.place.tier == b.place.tier).next().unwrap_or_default();
    let mut rules: Vec<_> = tier.iter().flat_map(|policy| policy_rules(policy, direction, &mut needs)).collect();
    let end = tier.last().map_or(Action::Deny, |policy| policy.place.tier.default_action);
    rules.push(nft::Rule::new([verdict(end, direction).into()]));
    let chain = Chain::new(rules);
    Group { name: names::chain(&chain, direction), chain: Arc::new(chain), networks: needs.networks }
}

fn policy_rules(policy: &Policy, direction: Direction, needs: &mut Needs) -> Vec<nft::Rule> {
    let mut rules = Vec::new();
    for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
        let comment = format!("{} {direction} rule {}", policy.place.key, index + 1);
        let comment: Arc<str> = names::comment(&comment).into();
        for all_of in matches(rule, direction, &policy.subject, needs) {
            let end = Statement::Verdict(verdict(rule.action, direction));
            rules.push(nft::Rule::new(all_of.into_iter().chain([end])).with_comment(Arc::clone(&comment)));
        }
    }
    rules
}

/// The sets of selectors that a policy's chains look into.
pub(crate) fn set_keys(policy: &Policy) -> BTreeSet<SetKey> {
    let mut needs = Needs::default();
    for direction in Direction::BOTH {
        for rule in policy.rules(direction).unwrap_or_default() {
            matches(rule, direction, &policy.subject, &mut needs);
        }
    }
    needs.keys
}

/// What it means for the packet when a rule says so.
fn verdict(action: Action, direction: Direction) -> Verdict {
    match action {
        Action::Allow => allow(direction),
        Action::Deny => Verdict::goto(DENY),
    }
}

/// The verdict of what is allowed. Egress goes on to the ingress of the other end.
pub(crate) fn allow(direction: Direction) -> Verdict {
    match direction {
        Direction::Ingress => Verdict::Accept,
        Direction::Egress => Verdict::Return,
    }
}
