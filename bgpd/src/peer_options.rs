//! What the options of a session mean for the speaker.

use std::time::Duration;

use engine::{
    AddPath, BfdConfig, Family, GracefulRestartConfig, LimitAction, LocalAsPrepend, LongLivedRestart, NextHopMode,
    PeerConfig, PerFamily, PrefixLimit, RemovePrivateAs, wire::Role,
};
use resources::{
    AddressFamily, AsPathOptions, Bfd, GracefulRestart, LongLivedFamily, MaxPrefixes, NextHop, PeerOptions,
    RemovePrivate,
};

/// How long a peer shall keep our routes where nothing else is said.
const STALE_TIME: Duration = Duration::from_secs(3600);

/// Makes a peer what its options say; what they leave out stays.
pub(crate) fn apply(options: &PeerOptions, peer: &mut PeerConfig) {
    peer.description = options.description.clone().unwrap_or_default();
    peer.shutdown = options.shutdown.as_ref().map(|it| it.message.clone());
    if let Some(time) = options.hold_time {
        peer.hold_time = seconds(time.0);
    }
    if let Some(time) = options.keepalive_time {
        peer.keepalive_time = Some(seconds(time.0));
    }
    if let Some(time) = options.send_hold_time {
        peer.send_hold_time = Some(seconds(time.0));
    }
    if let Some(time) = options.connect_retry_time {
        peer.connect_retry = time.0;
    }
    peer.passive |= options.passive;
    if let Some(families) = &options.families {
        peer.families = Family::ALL.into_iter().filter(|it| families.contains(&resource_family(*it))).collect();
    }
    if let Some(limit) = &options.max_prefixes {
        peer.limit = prefix_limit(limit);
    }
    if let Some(restart) = &options.graceful_restart {
        graceful_restart(restart, &mut peer.graceful_restart);
    }
    if let Some(long_lived) = options.long_lived_restart {
        peer.long_lived_restart = PerFamily::new(long_lived.ipv4.map(kept_long), long_lived.ipv6.map(kept_long));
        peer.long_lived_to_all_internal = long_lived.to_all_internal;
    }
    if let Some(as_path) = &options.as_path {
        adapt_as_path(as_path, peer);
    }
    if let Some(next_hop) = options.next_hop {
        peer.next_hop = match next_hop {
            NextHop::Auto => NextHopMode::Auto,
            NextHop::Own => NextHopMode::SelfAddress,
            NextHop::Keep => NextHopMode::Keep,
        };
    }
    peer.route_server_client = options.route_server_client;
    peer.role = options.role.map(role);
    peer.strict_role = options.strict_role;
    if let Some(add_path) = options.add_path {
        peer.add_path = AddPath { receive: add_path.receive, send_max: add_path.send_max };
    }
    peer.bfd = options.bfd.as_ref().map(bfd);
}

/// Whole seconds, as they stand in messages.
pub(crate) fn seconds(time: Duration) -> u16 {
    u16::try_from(time.as_secs()).unwrap_or(u16::MAX)
}

const fn resource_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4Unicast => AddressFamily::Ipv4,
        Family::Ipv6Unicast => AddressFamily::Ipv6,
    }
}

fn prefix_limit(limit: &MaxPrefixes) -> PrefixLimit {
    let action = match limit.action {
        resources::LimitAction::Warn => LimitAction::Warn,
        resources::LimitAction::Block => LimitAction::Block,
        resources::LimitAction::Down => LimitAction::Down,
        resources::LimitAction::Restart => LimitAction::Restart(limit.restart_after.unwrap_or_default().0),
    };
    PrefixLimit { max: limit.limit, warn_percent: limit.warn_percent, action }
}

fn graceful_restart(options: &GracefulRestart, config: &mut GracefulRestartConfig) {
    config.enabled = options.enabled.unwrap_or(config.enabled);
    config.restart_time = options.restart_time.map_or(config.restart_time, |time| time.0);
    config.stale_time = options.stale_time.map_or(config.stale_time, |time| time.0);
}

fn kept_long(options: LongLivedFamily) -> LongLivedRestart {
    LongLivedRestart {
        stale_time: options.stale_time.map_or(STALE_TIME, |it| it.0),
        max_stale_time: options.max_stale_time.map_or(Duration::MAX, |it| it.0),
    }
}

fn adapt_as_path(options: &AsPathOptions, peer: &mut PeerConfig) {
    peer.allow_own_as = options.allow_own.unwrap_or(peer.allow_own_as);
    peer.enforce_first_as = options.enforce_first.unwrap_or(peer.enforce_first_as);
    peer.reject_as_sets = options.reject_sets;
    peer.remove_private_as = options.remove_private.map(|it| match it {
        RemovePrivate::Remove => RemovePrivateAs::Remove,
        RemovePrivate::Replace => RemovePrivateAs::Replace,
    });
    if let Some(local) = options.local {
        peer.local_as = local.number.or(peer.local_as);
        peer.local_as_prepend = LocalAsPrepend { inbound: local.prepend_inbound, outbound: local.prepend_outbound };
    }
}

const fn role(role: resources::Role) -> Role {
    match role {
        resources::Role::Provider => Role::Provider,
        resources::Role::RouteServer => Role::RouteServer,
        resources::Role::RouteServerClient => Role::RouteServerClient,
        resources::Role::Customer => Role::Customer,
        resources::Role::Peer => Role::Peer,
    }
}

fn bfd(bfd: &Bfd) -> BfdConfig {
    BfdConfig {
        min_interval: bfd.min_interval.0,
        min_receive: bfd.min_receive().0,
        multiplier: bfd.multiplier,
        multihop: bfd.multihop.then(|| bfd.min_ttl.unwrap_or(1)),
        strict: bfd.strict,
    }
}
