//! Import: loops, next hops, policy, LOCAL_PREF. What depends on attributes alone is judged once per UPDATE.

use std::net::{IpAddr, Ipv4Addr};

use super::{CompiledGuards, leak};
use crate::config::{ImportPolicy, PeerKind};
use crate::filter::Rules;
use crate::prefix::PerFamily;
use crate::reason::Refusal;
use crate::wire::{Community, NextHop, PathAttributes, Role};

/// LOCAL_PREF of routes that come without one.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The peer, as far as import depends on it.
#[derive(Debug, Clone)]
pub(crate) struct Importer {
    pub(crate) kind: PeerKind,
    pub(crate) policy: ImportPolicy,
    pub(crate) internal: bool,
    pub(crate) filter: PerFamily<Rules>,
    pub(crate) allow_own_as: u8,
    /// The AS used on the session goes in front of what it sends (RFC 7705 §3).
    pub(crate) prepends: bool,
    /// AS of the speaker.
    pub(crate) speaker_as: u32,
    /// AS used on the session.
    pub(crate) local_as: u32,
    /// Our role towards it, and its AS.
    pub(crate) role: Option<(Role, u32)>,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Ipv4Addr,
    /// Our end of the session.
    pub(crate) local_address: Option<IpAddr>,
}

impl Importer {
    /// The received attributes as they are before any filter; `None` where that is as they came.
    pub(crate) fn adapt(&self, received: &PathAttributes) -> Option<PathAttributes> {
        self.prepends.then(|| {
            let mut adapted = received.clone();
            adapted.as_path.prepend(self.local_as);
            adapted
        })
    }
}

/// LOCAL_PREF in force of a path, or why it cannot be used.
pub(crate) fn admit(
    received: &PathAttributes,
    next_hop: &NextHop,
    importer: &Importer,
    guards: &CompiledGuards,
) -> Result<u32, Refusal> {
    match (importer.policy, importer.kind, importer.internal) {
        // RFC 8212 §3.
        (ImportPolicy::BuiltIn, PeerKind::Static, false) => return Err(Refusal::NoImportPolicy),
        (ImportPolicy::Reject, ..) => return Err(Refusal::ImportPolicy),
        _ => {}
    }
    check_loops(received, importer)?;
    if importer.role.is_some_and(|role| leak::is_leak(role, received.otc)) {
        return Err(Refusal::RouteLeak);
    }
    let (address, link_local) = (next_hop.address(), next_hop.link_local().map(IpAddr::V6));
    let is_own = |it: IpAddr| Some(it) == importer.local_address || guards.is_own_address(it);
    if next_hop.is_martian() {
        return Err(Refusal::NextHopMartian);
    }
    if is_own(address) || link_local.is_some_and(is_own) {
        return Err(Refusal::NextHopSelf);
    }
    Ok(match (importer.internal, received.local_pref) {
        (true, Some(local_pref)) => local_pref,
        (true, None) => DEFAULT_LOCAL_PREF,
        // RFC 8326 §4.
        (false, _) if received.communities.contains(&Community::GRACEFUL_SHUTDOWN) => 0,
        (false, _) => DEFAULT_LOCAL_PREF,
    })
}

/// RFC 4271 §9.1.2, RFC 4456 §8.
fn check_loops(attributes: &PathAttributes, importer: &Importer) -> Result<(), Refusal> {
    let allowed = importer.allow_own_as;
    for own in [importer.speaker_as, importer.local_as] {
        if attributes.as_path.count(own) > usize::from(allowed) {
            return Err(Refusal::LoopAsPath { own, allowed });
        }
    }
    if attributes.originator_id == Some(importer.router_id) {
        return Err(Refusal::LoopOriginator);
    }
    if attributes.cluster_list.contains(&importer.cluster_id) {
        return Err(Refusal::LoopCluster);
    }
    Ok(())
}
