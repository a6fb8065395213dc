//! Route filters of a peer, by Calico's model (BGPFilter): rules in order, the first that matches decides. What no rule
//! matches is decided by what else holds for the peer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::prefix::{Family, PerFamily, Prefix};
use crate::wire::{Community, LargeCommunity, PathAttributes, SegmentKind};

/// Calico's LOCAL_PREF is this minus the metric, so everything above half of it is one.
const CALICO_BASE: u32 = 2_147_483_647;
/// Metric of routes that do not carry one: Calico's normal route priority.
const NORMAL_METRIC: u32 = 1024;

/// The rules of one direction and family.
pub type Rules = Arc<[FilterRule]>;

/// The filters of a peer. Empty ones let everything pass to the built-in policy. A change is applied to what was received
/// and sent already, without touching the session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filters {
    /// Rules for what the peer sends. An accepted route still has to pass the guards.
    pub import: PerFamily<Rules>,
    /// Rules for what it is sent. What one accepts is sent although the built-in policy would not, as Calico does.
    pub export: PerFamily<Rules>,
}

/// Matches routes for which all of it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FilterRule {
    /// Where it is written, for people: `BGPFilter lab importV4[0]`.
    pub name: Arc<str>,
    /// Prefixes it is about.
    pub prefix: Option<PrefixMatch>,
    /// Only routes learned from a peer.
    pub learned: bool,
    /// Only sessions within the AS (true) or between two (false).
    pub internal: Option<bool>,
    /// Only routes that carry it.
    pub community: Option<AnyCommunity>,
    /// Only routes whose AS_PATH begins so.
    pub as_path_prefix: Vec<u32>,
    /// Only routes with this metric; see [`metric_of`].
    pub metric: Option<u32>,
    /// What becomes of a route.
    pub action: FilterAction,
}

/// A condition on the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrefixMatch {
    /// What the route's prefix is compared with.
    pub prefix: Prefix,
    /// Prefixes within it count too.
    pub within: bool,
    /// Shortest and longest length that count.
    pub lengths: (u8, u8),
    /// Everything else matches instead.
    pub negated: bool,
}

impl PrefixMatch {
    fn matches(&self, prefix: Prefix) -> bool {
        let inside = if self.within { self.prefix.covers(prefix) } else { self.prefix == prefix };
        let (shortest, longest) = self.lengths;
        (inside && (shortest..=longest).contains(&prefix.length())) != self.negated
    }
}

/// A community of either size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AnyCommunity {
    /// RFC 1997.
    Standard(Community),
    /// RFC 8092.
    Large(LargeCommunity),
}

/// What becomes of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FilterAction {
    /// It goes on, changed.
    Accept(Vec<Operation>),
    /// It goes no further.
    Reject,
}

/// A change of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Adds a community unless it is there.
    AddCommunity(AnyCommunity),
    /// Puts AS numbers in front of AS_PATH; it then begins with them in this order.
    Prepend(Vec<u32>),
    /// Sets LOCAL_PREF by Calico's rule, 2147483647 minus the metric.
    SetMetric(u32),
}

/// A route as a rule sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'r> {
    pub(crate) prefix: Prefix,
    /// With LOCAL_PREF in force.
    pub(crate) attributes: &'r PathAttributes,
    /// From a peer.
    pub(crate) learned: bool,
    /// The session is within the AS.
    pub(crate) internal: bool,
}

/// Number of a rule in its list.
pub(crate) type RuleId = u16;

/// The first rule that matches.
pub(crate) fn first_match<'r>(rules: &'r [FilterRule], subject: &Subject<'_>) -> Option<(RuleId, &'r FilterRule)> {
    (0..).zip(rules).find(|(_, rule)| rule.matches(subject))
}

/// The route metric that LOCAL_PREF carries by Calico's rule; 1024 if it carries none.
#[must_use]
pub const fn metric_of(local_pref: u32) -> u32 {
    if local_pref > CALICO_BASE / 2 { CALICO_BASE.saturating_sub(local_pref) } else { NORMAL_METRIC }
}

/// LOCAL_PREF by Calico's rule.
pub(crate) const fn local_pref_of(metric: u32) -> u32 {
    CALICO_BASE.saturating_sub(metric)
}

/// True for a LOCAL_PREF that follows Calico's rule.
pub(crate) const fn is_calico(local_pref: u32) -> bool {
    local_pref > CALICO_BASE / 2
}

impl Filters {
    /// The rule of a number, in one family's import or export.
    pub(crate) fn import_rule(&self, family: Family, id: RuleId) -> Option<Arc<str>> {
        self.import[family].get(usize::from(id)).map(|rule| rule.name.clone())
    }

    /// As [`Filters::import_rule`].
    pub(crate) fn export_rule(&self, family: Family, id: RuleId) -> Option<Arc<str>> {
        self.export[family].get(usize::from(id)).map(|rule| rule.name.clone())
    }
}

impl FilterRule {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let attributes = subject.attributes;
        self.prefix.is_none_or(|it| it.matches(subject.prefix))
            && (!self.learned || subject.learned)
            && self.internal.is_none_or(|it| it == subject.internal)
            && self.community.is_none_or(|it| carries(attributes, it))
            && begins_with(attributes, &self.as_path_prefix)
            && self.metric.is_none_or(|it| it == metric_of(attributes.local_pref.unwrap_or(0)))
    }

    /// Changes a route that the rule accepts.
    pub(crate) fn apply(&self, attributes: &mut PathAttributes) {
        let FilterAction::Accept(operations) = &self.action else { return };
        for operation in operations {
            match operation {
                Operation::AddCommunity(community) if carries(attributes, *community) => {}
                Operation::AddCommunity(AnyCommunity::Standard(community)) => attributes.communities.push(*community),
                Operation::AddCommunity(AnyCommunity::Large(community)) => {
                    attributes.large_communities.push(*community);
                }
                Operation::Prepend(numbers) => {
                    numbers.iter().rev().for_each(|number| attributes.as_path.prepend(*number));
                }
                Operation::SetMetric(metric) => attributes.local_pref = Some(local_pref_of(*metric)),
            }
        }
    }

    /// True if it sets LOCAL_PREF.
    pub(crate) fn sets_metric(&self) -> bool {
        let FilterAction::Accept(operations) = &self.action else { return false };
        operations.iter().any(|it| matches!(it, Operation::SetMetric(_)))
    }

    /// True if it accepts a route as it is.
    pub(crate) fn changes_nothing(&self) -> bool {
        matches!(&self.action, FilterAction::Accept(operations) if operations.is_empty())
    }
}

fn carries(attributes: &PathAttributes, community: AnyCommunity) -> bool {
    match community {
        AnyCommunity::Standard(community) => attributes.communities.contains(&community),
        AnyCommunity::Large(community) => attributes.large_communities.contains(&community),
    }
}

/// An AS_SET stands for no particular number.
fn begins_with(attributes: &PathAttributes, numbers: &[u32]) -> bool {
    let sequences = attributes.as_path.segments().take_while(|it| it.kind == SegmentKind::Sequence);
    let mut path = sequences.flat_map(|it| it.numbers.iter().copied());
    numbers.iter().all(|number| path.next() == Some(*number))
}

#[cfg(test)]
mod tests;
