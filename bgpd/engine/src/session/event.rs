//! Events of the FSM (RFC 4271 §8.1).

use crate::wire::{Notification, OpenMessage, RouteRefresh};

/// An event, named as in RFC 4271 §8.1.
///
/// Not there are the events of optional attributes that this speaker does not have: DelayOpen (12, 20) and TrackTcpState
/// (14, 15). Damping (6, 7, 13) is done one level up, where it outlives the connection: the peer decides when an
/// `AutomaticStart` comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// Event 1.
    ManualStart,
    /// Event 2, with the Cease to send.
    ManualStop(Notification),
    /// Event 3.
    AutomaticStart,
    /// Event 4.
    ManualStartWithPassiveTcpEstablishment,
    /// Event 5.
    AutomaticStartWithPassiveTcpEstablishment,
    /// Event 8, with the Cease to send.
    AutomaticStop(Notification),
    /// Event 9.
    ConnectRetryTimerExpires,
    /// Event 10.
    HoldTimerExpires,
    /// Event 11.
    KeepaliveTimerExpires,
    /// Event 16: our dial succeeded.
    TcpCrAcked,
    /// Event 17: the peer's dial succeeded.
    TcpConnectionConfirmed,
    /// Event 18.
    TcpConnectionFails,
    /// Event 19: a valid OPEN that no collision speaks against.
    BgpOpen(Box<OpenMessage>),
    /// Event 21.
    BgpHeaderErr(Notification),
    /// Event 22.
    BgpOpenMsgErr(Notification),
    /// Event 23.
    OpenCollisionDump,
    /// Event 24.
    NotifMsgVerErr(Notification),
    /// Event 25.
    NotifMsg(Notification),
    /// Event 26.
    KeepAliveMsg,
    /// Event 27: the body of an UPDATE, not yet decoded.
    UpdateMsg(&'a [u8]),
    /// Event 28, and a ROUTE-REFRESH of impossible length.
    UpdateMsgErr(Notification),
    /// Event 29 (RFC 9687 §4.2).
    SendHoldTimerExpires,
    /// BFD with the peer is up (draft-ietf-idr-bgp-bfd-strict-mode).
    BfdUp,
    /// A ROUTE-REFRESH (RFC 2918).
    RouteRefreshMsg(RouteRefresh),
}
