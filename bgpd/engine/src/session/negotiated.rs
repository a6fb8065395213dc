//! What two OPENs agreed on.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::config::PeerConfig;
use crate::prefix::{Family, PerFamily};
use crate::wire::{
    AddPathMode, Capabilities, EncodeContext, GracefulRestart, MAX_EXTENDED_LENGTH, MAX_LENGTH, OpenMessage, Role,
    UpdateContext,
};

/// Least send hold time, unless configured (RFC 9687 §4.1).
const SEND_HOLD: u32 = 480;

/// The terms of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) peer_as: u32,
    pub(crate) peer_identifier: Ipv4Addr,
    pub(crate) local_as: u32,
    /// Both have the same AS on this session.
    pub(crate) internal: bool,
    /// Seconds, 0 for none.
    pub(crate) hold_time: u16,
    /// Seconds, 0 for none.
    pub(crate) keepalive_time: u16,
    /// Seconds; runs only where a hold time does.
    pub(crate) send_hold_time: u32,
    pub(crate) families: PerFamily<bool>,
    pub(crate) receive: UpdateContext,
    pub(crate) send: EncodeContext,
    /// The peer's graceful restart capability, if we sent ours.
    pub(crate) graceful_restart: Option<GracefulRestart>,
    /// How long the peer's stale routes may live after the restart time, where both agreed on it (RFC 9494).
    pub(crate) long_lived: PerFamily<Option<Duration>>,
    /// The peer knows what LLGR_STALE means (RFC 9494 §4.3).
    pub(crate) takes_long_lived: bool,
    /// Both set the N bit (RFC 8538).
    pub(crate) notification_restart: bool,
    pub(crate) route_refresh: bool,
    pub(crate) enhanced_route_refresh: bool,
    pub(crate) link_local_next_hop: bool,
    /// Our role towards the peer, whether it told its own or not (RFC 9234 §4.2).
    pub(crate) role: Option<Role>,
    /// Both want BFD to be up before the session is Established.
    pub(crate) bfd_strict: bool,
    pub(crate) capabilities_sent: Capabilities,
    pub(crate) capabilities_received: Capabilities,
}

impl Negotiated {
    /// Terms of an OPEN of ours and a valid one of the peer.
    pub(crate) fn new(ours: &OpenMessage, theirs: &OpenMessage, config: &PeerConfig) -> Self {
        let (sent, received) = (&ours.capabilities, &theirs.capabilities);
        let (mine, usable) = (sent.usable_families(), received.usable_families());
        let families: Vec<Family> = mine.into_iter().filter(|family| usable.contains(family)).collect();
        let internal = ours.as_number == theirs.as_number;
        let four_octet_as = sent.four_octet_as.is_some() && received.four_octet_as.is_some();
        let hold_time = ours.hold_time.min(theirs.hold_time);
        let third = hold_time / 3;
        let graceful_restart = sent.graceful_restart.as_ref().and(received.graceful_restart.clone());
        let notification = |restart: &Option<GracefulRestart>| restart.as_ref().is_some_and(|it| it.notification);
        // RFC 7911 §4: one side must be able to send, the other to receive.
        let add_path = |sender: &Capabilities, receiver: &Capabilities| {
            let agreed = |family| {
                sender.add_path_mode(family).is_some_and(AddPathMode::sends)
                    && receiver.add_path_mode(family).is_some_and(AddPathMode::receives)
                    && families.contains(&family)
            };
            PerFamily::new(agreed(Family::Ipv4Unicast), agreed(Family::Ipv6Unicast))
        };
        Self {
            peer_as: theirs.as_number,
            peer_identifier: theirs.bgp_identifier,
            local_as: ours.as_number,
            internal,
            hold_time,
            send_hold_time: config.send_hold_time.map_or_else(|| SEND_HOLD.max(u32::from(hold_time) * 2), u32::from),
            keepalive_time: match (hold_time, config.keepalive_time) {
                (0, _) => 0,
                (_, Some(configured)) => configured.min(third).max(1),
                (_, None) => third.max(1),
            },
            families: PerFamily::of(&families),
            receive: UpdateContext {
                four_octet_as,
                peer_is_internal: internal,
                peer_as: theirs.as_number,
                check_first_as: config.enforce_first_as && !internal,
                reject_as_sets: config.reject_as_sets,
                families: PerFamily::of(&families),
                add_path_receive: add_path(received, sent),
                extended_next_hop_v4: sent.extended_next_hop,
            },
            send: EncodeContext {
                four_octet_as,
                max_length: if received.extended_message { MAX_EXTENDED_LENGTH } else { MAX_LENGTH },
                add_path: add_path(sent, received),
                extended_next_hop_v4: received.extended_next_hop,
            },
            long_lived: long_lived(sent, received, config),
            // RFC 9494 §4.5: nothing is said by it alone.
            takes_long_lived: received.graceful_restart.is_some() && received.long_lived_graceful_restart.is_some(),
            notification_restart: notification(&sent.graceful_restart) && notification(&graceful_restart),
            graceful_restart,
            route_refresh: received.route_refresh,
            enhanced_route_refresh: sent.enhanced_route_refresh && received.enhanced_route_refresh,
            bfd_strict: sent.bfd_strict_mode && received.bfd_strict_mode,
            link_local_next_hop: sent.link_local_next_hop && received.link_local_next_hop,
            role: sent.roles.first().copied().and_then(Role::from_code),
            capabilities_sent: sent.clone(),
            capabilities_received: received.clone(),
        }
    }
}

/// How long each family is kept after the restart time: what the peer asks for, up to what is configured.
fn long_lived(sent: &Capabilities, received: &Capabilities, config: &PeerConfig) -> PerFamily<Option<Duration>> {
    let mut kept = PerFamily::default();
    if sent.graceful_restart.is_none() || received.graceful_restart.is_none() {
        return kept;
    }
    let ours: Vec<Family> = sent.long_lived_graceful_restart.iter().flatten().map(|it| it.family).collect();
    for theirs in received.long_lived_graceful_restart.iter().flatten().filter(|it| ours.contains(&it.family)) {
        let most = config.long_lived_restart[theirs.family].map_or(Duration::ZERO, |it| it.max_stale_time);
        let time = Duration::from_secs(theirs.stale_time.into()).min(most);
        kept[theirs.family] = Some(time).filter(|it| !it.is_zero());
    }
    kept
}
