//! The engine's status as messages of the API.

use std::sync::Arc;

use engine::{
    Explanation, Family, OriginSourceStatus, PeerFamilyStatus, PeerStatus, RouteStatus, SessionState, SpeakerStatus,
    wire::{AddPathMode, Capabilities, NextHop, Role},
};
use proto::bgp::{
    ExplainReply, ListPeersReply, OriginSource, Peer, PeerFamily, Route, Speaker, Withheld as WithheldMessage,
};

use crate::{clock::Clock, view::View};

pub(super) fn list_peers(view: &View<'_>) -> ListPeersReply {
    let peers = view.speaker.map(|s| s.peers()).unwrap_or_default();
    let mut speaker = view.speaker.map(|s| speaker_message(&s.status())).unwrap_or_default();
    speaker.node = view.name.to_owned();
    speaker.started = Some(view.clock.started());
    speaker.conditions = view.conditions.to_vec();
    if view.speaker.is_none() {
        speaker.conditions.push(view.waiting_for.to_owned());
    }
    ListPeersReply { speaker: Some(speaker), peers: peers.iter().map(|p| peer(p, view.clock)).collect() }
}

fn speaker_message(status: &SpeakerStatus) -> Speaker {
    let total = |counts: &engine::PerFamily<u32>| Family::ALL.iter().map(|f| counts[*f]).sum();
    Speaker {
        as_number: status.local_as,
        router_id: status.router_id.to_string(),
        rib_prefixes: total(&status.rib_prefixes),
        rib_paths: total(&status.rib_paths),
        fib_routes: total(&status.fib_routes),
        fib_drift: total(&status.fib_drift),
        draining: status.draining,
        sources: status.sources.iter().map(source).collect(),
        ..Speaker::default()
    }
}

fn source(status: &OriginSourceStatus) -> OriginSource {
    OriginSource {
        name: status.name.clone(),
        in_sync: status.in_sync,
        connected: status.connected,
        prefixes: status.prefixes,
    }
}

fn peer(status: &PeerStatus, clock: Clock) -> Peer {
    let text = |address: Option<String>| address.unwrap_or_default();
    let counts =
        |map: &std::collections::BTreeMap<&'static str, u64>| map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
    let down = status.state != SessionState::Established;
    Peer {
        name: status.name.to_string(),
        address: status.address.to_string(),
        as_number: status.remote_as,
        kind: status.kind.word().to_owned(),
        state: status.state.word().to_owned(),
        since: Some(clock.timestamp(status.since)),
        families: status.families.iter().map(family).collect(),
        flaps: status.flaps,
        last_error: text(status.last_error.as_ref().map(|(error, _)| error.to_string())),
        diagnosis: text(status.diagnosis.as_ref().filter(|_| down).map(ToString::to_string)),
        next: text(status.diagnosis.as_ref().filter(|_| down).map(|d| d.next().to_owned())),
        hold_time: status.hold_time.into(),
        keepalive_time: status.keepalive_time.into(),
        router_id: text(status.router_id.map(|id| id.to_string())),
        local_address: text(status.local_address.map(|a| a.to_string())),
        local_as: status.local_as,
        capabilities: common(status),
        capabilities_sent: status.capabilities_sent.as_ref().map(capabilities).unwrap_or_default(),
        capabilities_received: status.capabilities_received.as_ref().map(capabilities).unwrap_or_default(),
        messages_received: counts(&status.messages_received),
        messages_sent: counts(&status.messages_sent),
        bfd: super::bfd::of_peer(status.bfd.as_ref()),
        description: status.description.clone(),
        bfd_downs: status.bfd.map_or(0, |bfd| bfd.downs),
        graceful_restart: match (status.restarting, status.helping) {
            (true, _) => "restarting",
            (false, true) => "helper",
            (false, false) => "",
        }
        .to_owned(),
    }
}

fn common(status: &PeerStatus) -> Vec<String> {
    let sent = status.capabilities_sent.as_ref().map(capabilities).unwrap_or_default();
    let received = status.capabilities_received.as_ref().map(capabilities).unwrap_or_default();
    // One sends what the other receives, one is what the other is not: the same word on both sides says too little.
    let mode = |capability: &String| ["ADD-PATH", "role "].iter().any(|it| capability.starts_with(it));
    sent.into_iter().filter(|capability| !mode(capability) && received.contains(capability)).collect()
}

fn capabilities(capabilities: &Capabilities) -> Vec<String> {
    let mut words: Vec<String> = capabilities.families.iter().map(|f| format!("{} unicast", family_word(*f))).collect();
    let flags = [
        (capabilities.route_refresh, "route refresh"),
        (capabilities.enhanced_route_refresh, "enhanced route refresh"),
        (capabilities.extended_message, "extended messages"),
        (capabilities.four_octet_as.is_some(), "4-octet AS"),
        (capabilities.graceful_restart.is_some(), "graceful restart"),
        (capabilities.long_lived_graceful_restart.is_some(), "long-lived graceful restart"),
    ];
    words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
    words.extend(capabilities.roles.iter().map(|code| match Role::from_code(*code) {
        Some(role) => format!("role {role}"),
        None => format!("role {code}"),
    }));
    words.extend(capabilities.add_path.iter().map(|(family, mode)| {
        let mode = match mode {
            AddPathMode::Receive => "receive",
            AddPathMode::Send => "send",
            AddPathMode::Both => "send and receive",
        };
        format!("ADD-PATH {} {mode}", family_word(*family))
    }));
    words
}

fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

fn family(status: &PeerFamilyStatus) -> PeerFamily {
    PeerFamily {
        family: family_word(status.family).to_owned(),
        received: status.received,
        accepted: status.accepted,
        rejected: status.rejected,
        installed: status.installed,
        advertised: status.advertised,
        stale: status.stale,
    }
}

fn next_hop(next_hop: &NextHop) -> String {
    match next_hop {
        NextHop::V4(address) => address.to_string(),
        NextHop::V6 { global, link_local } if global.is_unspecified() => link_local.unwrap_or(*global).to_string(),
        NextHop::V6 { global, .. } => global.to_string(),
    }
}

pub(super) fn route(status: &RouteStatus) -> Route {
    let attributes = &status.attributes;
    let communities = attributes
        .communities
        .iter()
        .map(ToString::to_string)
        .chain(attributes.extended_communities.iter().map(ToString::to_string))
        .chain(attributes.large_communities.iter().map(ToString::to_string));
    Route {
        prefix: status.prefix.to_string(),
        peer: status.peer.to_string(),
        next_hop: status.next_hop.as_ref().map(next_hop).unwrap_or_default(),
        local_pref: status.local_pref,
        med: attributes.med,
        as_path: attributes.as_path.to_string(),
        origin: attributes.origin.to_string(),
        communities: communities.collect(),
        best: status.best,
        multipath: status.multipath,
        installed: status.installed,
        stale: status.stale,
        why: status
            .withheld
            .map_or_else(|| if status.best { String::new() } else { status.why.to_string() }, |w| w.to_string())
            + &named(status.rule.as_ref()),
        originator_id: attributes.originator_id.map(|id| id.to_string()).unwrap_or_default(),
        cluster_list: attributes.cluster_list.iter().map(ToString::to_string).collect(),
        path_id: status.path_id,
    }
}

pub(super) fn explanation(explanation: &Explanation) -> ExplainReply {
    ExplainReply {
        prefix: explanation.prefix.to_string(),
        summary: summary(explanation),
        candidates: explanation.candidates.iter().map(route).collect(),
        advertised: explanation.advertised.iter().map(ToString::to_string).collect(),
        withheld: explanation
            .withheld
            .iter()
            .map(|(peer, reason)| WithheldMessage {
                peer: peer.to_string(),
                reason: reason.to_string() + &named(explanation.rules.get(peer)),
            })
            .collect(),
        origin: explanation.origins.iter().map(|(_, cause)| cause.clone()).collect::<Vec<_>>().join("; "),
    }
}

/// A filter rule behind the word that says what it did.
fn named(rule: Option<&Arc<str>>) -> String {
    rule.map(|rule| format!(" ({rule})")).unwrap_or_default()
}

fn summary(explanation: &Explanation) -> String {
    let Some(best) = explanation.candidates.iter().find(|c| c.best) else {
        return "no usable path".to_owned();
    };
    let via = best.next_hop.as_ref().map(next_hop);
    match (explanation.wanted, explanation.installed, via) {
        (true, true, Some(via)) => format!("best via {}, installed (proto bgp, via {via})", best.peer),
        (true, false, _) => format!("best via {}, not in the kernel yet", best.peer),
        _ if !explanation.origins.is_empty() => "our own".to_owned(),
        _ => format!("best via {}, not for the kernel", best.peer),
    }
}
