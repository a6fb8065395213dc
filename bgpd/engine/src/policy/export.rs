//! Export: propagation, reflection, communities, next hops (RFC 4271 §5.1, §9.2; RFC 4456; RFC 1997; RFC 8212).

use std::net::Ipv4Addr;

use super::leak;
use crate::config::{ExportPolicy, NextHopMode, PeerKind, RemovePrivateAs};
use crate::filter::{FilterAction, FilterRule, RuleId, Rules, is_calico};
use crate::reason::Withheld;
use crate::rib::{Best, Source};
use crate::wire::{Community, NextHop, PathAttributes, Role};

/// LOCAL_PREF towards internal routers of routes that have Calico's inside the cluster.
const ROUTER_LOCAL_PREF: u32 = 100;

/// The receiving side of an export: what members of an update group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipient {
    /// AS that we use on the session.
    pub(crate) local_as: u32,
    pub(crate) internal: bool,
    /// Client of our reflection.
    pub(crate) client: bool,
    pub(crate) kind: PeerKind,
    pub(crate) policy: ExportPolicy,
    pub(crate) next_hop_mode: NextHopMode,
    /// Our own next hop towards it; `None` if we have none that it takes.
    pub(crate) own_next_hop: Option<NextHop>,
    /// We are a route server to it (RFC 7947).
    pub(crate) route_server_client: bool,
    /// What becomes of private AS numbers, and the number of its own that stays.
    pub(crate) remove_private: Option<(RemovePrivateAs, u32)>,
    /// Our own AS, where it goes behind the one used on the session.
    pub(crate) own_as: Option<u32>,
    /// It takes IPv6 next hops for this family.
    pub(crate) takes_v6: bool,
    /// It takes IPv4 next hops for this family.
    pub(crate) takes_v4: bool,
    pub(crate) calico_local_pref: bool,
    /// What it is told of long-lived stale routes.
    pub(crate) long_lived: LongLivedStale,
    /// Our role towards it.
    pub(crate) role: Option<Role>,
    /// We are about to go: what leads through us is told as a last resort (RFC 8326).
    pub(crate) draining: bool,
    /// Its export filter in this family.
    pub(crate) filter: Rules,
}

/// What becomes of long-lived stale routes (RFC 9494).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LongLivedStale {
    /// The recipient knows what they are.
    Told,
    /// It does not, but is internal and gets them so that they lose against everything else (§4.6).
    Disguised,
    /// It does not get them.
    Withheld,
}

/// Where an exported path points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutNextHop {
    Own(NextHop),
    Kept(NextHop),
}

/// What is written for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) attributes: PathAttributes,
    pub(crate) next_hop: OutNextHop,
}

/// The form in which a best path goes to a recipient, or why it does not. `source` is `None` for our own routes, `rule` is
/// what matches in the recipient's filter.
pub(crate) fn export(
    best: &Best,
    next_hop: Option<NextHop>,
    source: Option<&Source>,
    recipient: &Recipient,
    cluster_id: Ipv4Addr,
    rule: Option<(RuleId, &FilterRule)>,
) -> Result<Exported, Withheld> {
    if best.attributes.summary().no_advertise {
        return Err(Withheld::NoAdvertise);
    }
    if best.attributes.summary().no_export && !recipient.internal {
        return Err(Withheld::NoExport);
    }
    if best.attributes.summary().long_lived_stale && recipient.long_lived == LongLivedStale::Withheld {
        return Err(Withheld::LongLivedStale);
    }
    match rule {
        Some((id, FilterRule { action: FilterAction::Reject, .. })) => return Err(Withheld::Filter(id)),
        // Calico accepts for good: its built-in policy comes only behind the filters.
        Some(_) if recipient.policy == ExportPolicy::BuiltIn => {}
        _ => check_policy(source, recipient)?,
    }
    // RFC 4456 §6: internal routes of non-clients go to clients only.
    let reflected = source.filter(|it| it.internal && recipient.internal);
    if reflected.is_some_and(|it| !it.client && !recipient.client) {
        return Err(Withheld::NonClient);
    }
    let next_hop = out_next_hop(next_hop, source, recipient)?;
    let otc = best.attributes.otc().or_else(|| source.and_then(|it| leak::set_on_ingress(it.role?)));
    let otc = leak::on_egress(recipient.role, recipient.local_as, otc)?;
    let mut attributes = best.in_force();
    if let Some((_, rule)) = rule {
        rule.apply(&mut attributes);
    }
    let local_pref = attributes.local_pref.filter(|_| rule.is_some_and(|(_, it)| it.sets_metric()));
    let mut attributes = match (recipient.internal, reflected) {
        (false, _) if source.is_some() && recipient.route_server_client => as_they_came(attributes),
        (false, _) => external_attributes(attributes, source.is_none(), recipient),
        (true, Some(source)) => reflected_attributes(attributes, source, recipient, cluster_id),
        (true, None) => internal_attributes(attributes, recipient),
    };
    if recipient.internal {
        attributes.local_pref = local_pref.or(attributes.local_pref);
    }
    attributes.otc = otc;
    if best.attributes.summary().long_lived_stale && recipient.long_lived == LongLivedStale::Disguised {
        disguise(&mut attributes);
    }
    // What is only reflected does not lead through us, and stays where it is when we go.
    if recipient.draining && reflected.is_none() {
        last_resort(&mut attributes, recipient);
    }
    Ok(Exported { attributes, next_hop })
}

fn check_policy(source: Option<&Source>, recipient: &Recipient) -> Result<(), Withheld> {
    match (recipient.policy, recipient.kind) {
        (ExportPolicy::Reject, _) => Err(Withheld::ExportPolicy),
        (ExportPolicy::Accept, _) => Ok(()),
        // RFC 8212 §3.
        (ExportPolicy::BuiltIn, PeerKind::Static) if !recipient.internal => Err(Withheld::NoExportPolicy),
        (ExportPolicy::BuiltIn, PeerKind::Static) => Ok(()),
        (ExportPolicy::BuiltIn, PeerKind::External | PeerKind::Workload) => {
            source.map_or(Ok(()), |_| Err(Withheld::NotOurs))
        }
        // External routes stay off the cluster's sessions; what one node announces may be reflected to others.
        (ExportPolicy::BuiltIn, PeerKind::Mesh | PeerKind::Reflector | PeerKind::Client) => match source {
            None => Ok(()),
            Some(source) if source.internal && recipient.internal => Ok(()),
            Some(source) if source.kind.is_cluster() && (source.client || recipient.client) => Ok(()),
            Some(_) => Err(Withheld::NotOurs),
        },
    }
}

/// RFC 4271 §5.1.3.
fn out_next_hop(
    next_hop: Option<NextHop>,
    source: Option<&Source>,
    recipient: &Recipient,
) -> Result<OutNextHop, Withheld> {
    let kept = match recipient.next_hop_mode {
        NextHopMode::SelfAddress => None,
        NextHopMode::Auto if !recipient.internal && !recipient.route_server_client => None,
        NextHopMode::Auto | NextHopMode::Keep => next_hop.filter(|_| source.is_some()),
    };
    let Some(kept) = kept else {
        return recipient.own_next_hop.map(OutNextHop::Own).ok_or(Withheld::NextHopUnusable);
    };
    let taken = match kept {
        NextHop::V4(_) => recipient.takes_v4,
        // A link-local address means nothing on another link (RFC 2545 §3).
        NextHop::V6 { global, .. } => recipient.takes_v6 && !global.is_unicast_link_local(),
    };
    if !taken {
        return Err(Withheld::NextHopUnusable);
    }
    Ok(OutNextHop::Kept(match kept {
        NextHop::V4(_) => kept,
        NextHop::V6 { global, .. } => NextHop::V6 { global, link_local: None },
    }))
}

/// RFC 7947 §2.2: a route server changes nothing but what ends at the border of an AS.
fn as_they_came(mut attributes: PathAttributes) -> PathAttributes {
    attributes.local_pref = None;
    attributes.originator_id = None;
    attributes.cluster_list = Vec::new();
    attributes
}

fn external_attributes(mut attributes: PathAttributes, own: bool, recipient: &Recipient) -> PathAttributes {
    if let Some((mode, theirs)) = recipient.remove_private {
        let replacement = (mode == RemovePrivateAs::Replace).then_some(recipient.local_as);
        attributes.as_path = attributes.as_path.without_private(replacement, Some(theirs));
    }
    for own in recipient.own_as.into_iter().chain([recipient.local_as]) {
        attributes.as_path.prepend(own);
    }
    let mut attributes = as_they_came(attributes);
    // The MED of one AS is never told to another (RFC 4271 §5.1.4).
    attributes.med = attributes.med.filter(|_| own);
    attributes.extended_communities.retain(|it| it.is_transitive());
    attributes.ipv6_extended_communities.retain(|it| it.is_transitive());
    attributes
}

/// RFC 8326 §4: the community for every peer, and the lowest LOCAL_PREF for those that do not know it.
fn last_resort(attributes: &mut PathAttributes, recipient: &Recipient) {
    if !attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
        attributes.communities.push(Community::GRACEFUL_SHUTDOWN);
    }
    if recipient.internal {
        attributes.local_pref = Some(0);
    }
}

/// RFC 9494 §4.6.
fn disguise(attributes: &mut PathAttributes) {
    attributes.local_pref = Some(0);
    if !attributes.communities.contains(&Community::NO_EXPORT) {
        attributes.communities.push(Community::NO_EXPORT);
    }
}

fn internal_attributes(mut attributes: PathAttributes, recipient: &Recipient) -> PathAttributes {
    if !recipient.calico_local_pref && attributes.local_pref.is_some_and(is_calico) {
        attributes.local_pref = Some(ROUTER_LOCAL_PREF);
    }
    attributes
}

/// RFC 4456 §8.
fn reflected_attributes(
    best: PathAttributes,
    source: &Source,
    recipient: &Recipient,
    cluster_id: Ipv4Addr,
) -> PathAttributes {
    let mut attributes = if source.calico_local_pref { internal_attributes(best, recipient) } else { best };
    attributes.originator_id.get_or_insert(source.identifier);
    attributes.cluster_list.insert(0, cluster_id);
    attributes
}
