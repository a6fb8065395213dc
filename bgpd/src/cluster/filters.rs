//! BGPFilters as the speaker takes them.

use std::collections::BTreeMap;

use engine::{
    AnyCommunity, FilterAction, FilterRule, Filters, Operation, PerFamily, Prefix, PrefixMatch,
    wire::{Community, LargeCommunity},
};
use resources::{BgpFilter, BgpFilterRule, MatchOperator, PeerType};

/// The filters that a BGPPeer names, one after the other. Without one of them, or with one that cannot be followed to the
/// letter, routes would pass that should not: that is an error, in a sentence.
pub(super) fn compile(names: &[String], known: &BTreeMap<String, BgpFilter>) -> Result<Filters, String> {
    let mut filters = Vec::new();
    for name in names {
        let filter = known.get(name).ok_or_else(|| format!("there is no BGPFilter {name}"))?;
        if let Some(unsupported) = filter.spec.unsupported().first() {
            return Err(format!("BGPFilter {name}: {unsupported}"));
        }
        filters.push((name, &filter.spec));
    }
    let rules = |list: &str, of: fn(&resources::BgpFilterSpec) -> &Vec<BgpFilterRule>| {
        let each = |(name, spec): &(&String, &_)| -> Vec<FilterRule> {
            let numbered = of(spec).iter().enumerate();
            numbered.map(|(index, it)| rule(format!("BGPFilter {name} {list}[{index}]"), it)).collect()
        };
        filters.iter().flat_map(each).collect()
    };
    Ok(Filters {
        import: PerFamily::new(rules("importV4", |it| &it.import_v4), rules("importV6", |it| &it.import_v6)),
        export: PerFamily::new(rules("exportV4", |it| &it.export_v4), rules("exportV6", |it| &it.export_v6)),
    })
}

fn rule(name: String, rule: &BgpFilterRule) -> FilterRule {
    FilterRule {
        name: name.into(),
        prefix: prefix(rule),
        learned: rule.source.is_some(),
        internal: rule.peer_type.map(|it| it == PeerType::Internal),
        community: rule.communities.as_ref().and_then(|it| it.values.first()).map(|it| community(*it)),
        as_path_prefix: rule.as_path_prefix.iter().map(|number| number.0).collect(),
        metric: rule.priority,
        action: match rule.action {
            resources::FilterAction::Reject => FilterAction::Reject,
            resources::FilterAction::Accept => {
                FilterAction::Accept(rule.operations.iter().flatten().filter_map(operation).collect())
            }
        },
    }
}

/// Lengths shorter than the prefix's own match nothing anyway.
fn prefix(rule: &BgpFilterRule) -> Option<PrefixMatch> {
    let (cidr, operator) = (rule.cidr?, rule.match_operator?);
    let lengths = rule.prefix_length.unwrap_or_default();
    Some(PrefixMatch {
        prefix: Prefix::from(cidr.network()),
        within: matches!(operator, MatchOperator::In | MatchOperator::NotIn),
        lengths: (lengths.min.unwrap_or(0), lengths.max.unwrap_or(128)),
        negated: matches!(operator, MatchOperator::NotEqual | MatchOperator::NotIn),
    })
}

fn operation(operation: &resources::FilterOperation) -> Option<Operation> {
    let added = operation.add_community.map(|it| Operation::AddCommunity(community(it.value)));
    let prepended = || {
        let numbers = operation.prepend_as_path.as_ref()?.prefix.iter().map(|number| number.0);
        Some(Operation::Prepend(numbers.collect()))
    };
    added.or_else(prepended).or_else(|| operation.set_priority.map(|it| Operation::SetMetric(it.value)))
}

/// A community as the speaker takes it.
pub(super) fn community(community: resources::Community) -> AnyCommunity {
    match community {
        resources::Community::Standard(high, low) => AnyCommunity::Standard(Community::new(high, low)),
        resources::Community::Large(global, local1, local2) => {
            AnyCommunity::Large(LargeCommunity { global, local1, local2 })
        }
    }
}
