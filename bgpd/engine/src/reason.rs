//! The closed set of words that say why: why a path lost, was refused or is not sent, why a session is down.
//!
//! Whoever decides returns the reason with the decision; nothing computes one afterwards.

use std::fmt;
use std::net::Ipv4Addr;

use crate::wire::Notification;

/// A step of the decision process (RFC 4271 §9.1.2.2, RFC 4456 §9, RFC 9494 §4.4), in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Long-lived stale paths behind all others (RFC 9494 §4.4).
    LongLivedStale,
    /// Highest LOCAL_PREF.
    LocalPref,
    /// Our own routes before learned ones.
    LocallyOriginated,
    /// Shortest AS_PATH.
    AsPathLength,
    /// Lowest ORIGIN.
    Origin,
    /// Lowest MULTI_EXIT_DISC within a neighbour AS.
    Med,
    /// External before internal.
    EbgpOverIbgp,
    /// Lowest cost to the next hop.
    IgpMetric,
    /// Lowest ORIGINATOR_ID or BGP Identifier. From here on the paths are of equal cost.
    RouterId,
    /// Shortest CLUSTER_LIST.
    ClusterListLength,
    /// Lowest peer address.
    PeerAddress,
    /// Lowest received path id.
    PathId,
}

impl Step {
    /// The word shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LongLivedStale => "LongLivedStale",
            Self::LocalPref => "LocalPref",
            Self::LocallyOriginated => "LocallyOriginated",
            Self::AsPathLength => "AsPathLength",
            Self::Origin => "Origin",
            Self::Med => "Med",
            Self::EbgpOverIbgp => "EbgpOverIbgp",
            Self::IgpMetric => "IgpMetric",
            Self::RouterId => "RouterId",
            Self::ClusterListLength => "ClusterListLength",
            Self::PeerAddress => "PeerAddress",
            Self::PathId => "PathId",
        }
    }

    /// True for the steps behind the ECMP cut: paths that lose there cost the same.
    #[must_use]
    pub const fn is_tie_break(self) -> bool {
        matches!(self, Self::RouterId | Self::ClusterListLength | Self::PeerAddress | Self::PathId)
    }
}

/// Where a path lost, with the two values compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loss {
    /// The step that eliminated it.
    pub step: Step,
    /// Its own value.
    pub value: u32,
    /// The value that survived.
    pub best: u32,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, value, best } = *self;
        if step.is_tie_break() {
            write!(f, "equal cost, ")?;
        }
        write!(f, "lost at {}", step.word())?;
        match step {
            Step::LocalPref => write!(f, " ({value} < {best})"),
            Step::AsPathLength
            | Step::Origin
            | Step::Med
            | Step::IgpMetric
            | Step::ClusterListLength
            | Step::PathId => {
                write!(f, " ({value} > {best})")
            }
            Step::RouterId => write!(f, " ({} > {})", Ipv4Addr::from_bits(value), Ipv4Addr::from_bits(best)),
            Step::LongLivedStale | Step::LocallyOriginated | Step::EbgpOverIbgp | Step::PeerAddress => Ok(()),
        }
    }
}

/// Why a received path cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Our AS number is in the AS_PATH more often than allowed.
    LoopAsPath {
        /// The AS number found.
        own: u32,
        /// How often it may occur.
        allowed: u8,
    },
    /// ORIGINATOR_ID is our BGP Identifier.
    LoopOriginator,
    /// Our cluster id is in CLUSTER_LIST.
    LoopCluster,
    /// The next hop is one of our own addresses.
    NextHopSelf,
    /// The next hop cannot be a router.
    NextHopMartian,
    /// No route leads to the next hop.
    NextHopUnreachable,
    /// The shell has not said yet whether the next hop is reachable.
    NextHopUnresolved,
    /// No prefix that may be routed.
    Martian,
    /// One of our own blocks, or a part of one that is not lent to this peer.
    OwnBlock,
    /// A part of another node's block that is not lent to whoever announces it.
    InsideBlock,
    /// A node's address.
    NodeAddress,
    /// A node of the cluster may announce pools and services only.
    OutsidePools,
    /// A service range, from outside the cluster.
    ServicePrefix,
    /// The default route, from a peer that is not external.
    DefaultRoute,
    /// No import policy: RFC 8212 §3.
    NoImportPolicy,
    /// The import policy says no.
    ImportPolicy,
    /// A new prefix beyond the limit of the peer.
    PrefixLimit,
    /// Passed on by somebody who should not have: ONLY_TO_CUSTOMER says so (RFC 9234 §5).
    RouteLeak,
    /// A filter of the peer rejects it: the rule's place in the list.
    Filter(u16),
}

impl Refusal {
    /// Every word, for metrics that start at zero.
    pub const WORDS: [&'static str; 19] = [
        "LoopAsPath",
        "LoopOriginator",
        "LoopCluster",
        "NextHopSelf",
        "NextHopMartian",
        "NextHopUnreachable",
        "NextHopUnresolved",
        "Martian",
        "OwnBlock",
        "InsideBlock",
        "NodeAddress",
        "OutsidePools",
        "ServicePrefix",
        "DefaultRoute",
        "NoImportPolicy",
        "ImportPolicy",
        "PrefixLimit",
        "Filter",
        "RouteLeak",
    ];

    /// Position of its word in [`Refusal::WORDS`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::LoopAsPath { .. } => 0,
            Self::LoopOriginator => 1,
            Self::LoopCluster => 2,
            Self::NextHopSelf => 3,
            Self::NextHopMartian => 4,
            Self::NextHopUnreachable => 5,
            Self::NextHopUnresolved => 6,
            Self::Martian => 7,
            Self::OwnBlock => 8,
            Self::InsideBlock => 9,
            Self::NodeAddress => 10,
            Self::OutsidePools => 11,
            Self::ServicePrefix => 12,
            Self::DefaultRoute => 13,
            Self::NoImportPolicy => 14,
            Self::ImportPolicy => 15,
            Self::PrefixLimit => 16,
            Self::Filter(_) => 17,
            Self::RouteLeak => 18,
        }
    }

    /// The word shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.get(self.index()).copied().unwrap_or_default()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopAsPath { own, allowed } => write!(f, "LoopAsPath (own AS {own}, allowed {allowed})"),
            other => f.write_str(other.word()),
        }
    }
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Why {
    /// Not decided yet.
    #[default]
    Undecided,
    /// Selection waits, after a restart (RFC 4724 §4.1).
    Deferred,
    /// Chosen.
    Best,
    /// Eliminated by the decision process.
    Lost(Loss),
    /// Never a candidate.
    Refused(Refusal),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided => f.write_str("undecided"),
            Self::Deferred => f.write_str("deferred until the restart is complete"),
            Self::Best => f.write_str("best"),
            Self::Lost(loss) => loss.fmt(f),
            Self::Refused(refusal) => write!(f, "rejected: {refusal}"),
        }
    }
}

/// Why a peer does not get a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// There is no best path.
    NoPath,
    /// The session is not Established, or the family not in use on it.
    NotEstablished,
    /// The best path came from it.
    FromThisPeer,
    /// Not originated by us, and nothing asks to pass it on to this peer.
    NotOurs,
    /// Learned from an internal non-client, and the peer is another (RFC 4456 §6).
    NonClient,
    /// The path carries NO_ADVERTISE.
    NoAdvertise,
    /// The path carries NO_EXPORT or NO_EXPORT_SUBCONFED and the peer is external.
    NoExport,
    /// No export policy: RFC 8212 §3.
    NoExportPolicy,
    /// The export policy says no.
    ExportPolicy,
    /// The next hop cannot be told to this peer: its own address, or of a family it does not take.
    NextHopUnusable,
    /// Long-lived stale, and the peer does not know what that is (RFC 9494 §4.3).
    LongLivedStale,
    /// It goes to customers only, and the peer is none (RFC 9234 §5).
    OnlyToCustomer,
    /// Does not fit into a message.
    TooLarge,
    /// A filter of the peer rejects it: the rule's place in the list.
    Filter(u16),
    /// Decided, but not written to the socket yet.
    Pending,
}

impl Withheld {
    /// The word shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoPath => "NoPath",
            Self::NotEstablished => "NotEstablished",
            Self::FromThisPeer => "FromThisPeer",
            Self::NotOurs => "NotOurs",
            Self::NonClient => "NonClient",
            Self::NoAdvertise => "NoAdvertise",
            Self::NoExport => "NoExport",
            Self::NoExportPolicy => "NoExportPolicy",
            Self::ExportPolicy => "ExportPolicy",
            Self::NextHopUnusable => "NextHopUnusable",
            Self::LongLivedStale => "LongLivedStale",
            Self::OnlyToCustomer => "OnlyToCustomer",
            Self::TooLarge => "TooLarge",
            Self::Filter(_) => "Filter",
            Self::Pending => "Pending",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a session is not Established. The shell refines the words about connecting where the kernel tells more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// No route to the peer.
    NoRoute,
    /// ARP or neighbour discovery got no answer.
    NoNeighbour,
    /// The peer answered with RST.
    TcpRefused,
    /// No answer to our SYN.
    TcpTimeout,
    /// No answer to our signed SYN: whoever has another password drops it and says nothing (RFC 2385 §2).
    Md5Timeout,
    /// The connection was reset or closed.
    TcpReset,
    /// A local failure: our address is not there.
    LocalAddress,
    /// The peer's AS number is not the configured one.
    BadPeerAs {
        /// The one configured, 0 if it is a rule and no number.
        expected: u32,
        /// The one received.
        got: u32,
    },
    /// Its BGP Identifier is zero or ours.
    BadBgpId,
    /// No address family in common.
    NoCommonFamily,
    /// Its hold time is not acceptable.
    UnacceptableHoldTime,
    /// Another connection to the same peer won (RFC 4271 §6.8).
    Collision,
    /// Nothing was received for the hold time.
    HoldTimerExpired,
    /// Nothing could be written for the send hold time (RFC 9687).
    SendHoldTimerExpired,
    /// BFD found that the path to it has failed (RFC 9384).
    BfdDown,
    /// It sent too many prefixes.
    PrefixLimit,
    /// Taken down by a command.
    AdminDown,
    /// No longer configured; it goes as soon as nothing is lost with it.
    Retiring,
    /// The peer closed with a NOTIFICATION.
    PeerSentNotification(Notification),
    /// We closed with a NOTIFICATION.
    NotificationSent(Notification),
}

impl Diagnosis {
    /// The word shown.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoRoute => "NoRoute",
            Self::NoNeighbour => "NoNeighbour",
            Self::TcpRefused => "TcpRefused",
            Self::TcpTimeout => "TcpTimeout",
            Self::Md5Timeout => "Md5Timeout",
            Self::TcpReset => "TcpReset",
            Self::LocalAddress => "LocalAddress",
            Self::BadPeerAs { .. } => "BadPeerAs",
            Self::BadBgpId => "BadBgpId",
            Self::NoCommonFamily => "NoCommonFamily",
            Self::UnacceptableHoldTime => "UnacceptableHoldTime",
            Self::Collision => "Collision",
            Self::HoldTimerExpired => "HoldTimerExpired",
            Self::SendHoldTimerExpired => "SendHoldTimerExpired",
            Self::BfdDown => "BfdDown",
            Self::PrefixLimit => "PrefixLimit",
            Self::AdminDown => "AdminDown",
            Self::Retiring => "Retiring",
            Self::PeerSentNotification(_) => "PeerSentNotification",
            Self::NotificationSent(_) => "NotificationSent",
        }
    }

    /// What to do about it, in one sentence; empty where nothing general can be said.
    #[must_use]
    pub const fn next(&self) -> &'static str {
        match self {
            Self::NoRoute => "add a route to the peer's address",
            Self::NoNeighbour => "check that the peer is up and on this link",
            Self::TcpRefused => "check that a BGP speaker listens there and knows this node as its peer",
            Self::TcpTimeout => "check firewalls and security groups between the two for tcp/179",
            Self::Md5Timeout => "check that both sides have the same password, then what lies between them",
            Self::TcpReset => "look at the peer's log: it closed the connection without saying why",
            Self::LocalAddress => "check that the configured source address is on an interface of this node",
            Self::BadPeerAs { .. } => "set the AS number of the BGPPeer to the peer's, or the peer's to it",
            Self::BadBgpId => "give both speakers different, non-zero router ids",
            Self::NoCommonFamily => "enable the same address family on both sides",
            Self::UnacceptableHoldTime => "set a hold time of 0, or of 3 s and more, on the peer",
            Self::HoldTimerExpired => "check the path between the two and the load of the peer",
            Self::SendHoldTimerExpired => "the peer does not read: check its load",
            Self::BfdDown => "check the link and the path to the peer; `bgpd show bfd` has its BFD session",
            Self::PrefixLimit => "raise the limit or filter at the peer, then clear the session",
            Self::AdminDown => "enable the peer again",
            Self::PeerSentNotification(_) => "look at the peer's configuration and log",
            Self::Collision | Self::Retiring | Self::NotificationSent(_) => "",
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::BadPeerAs { expected, got } => write!(f, " (expected {expected}, got {got})"),
            Self::PeerSentNotification(notification) | Self::NotificationSent(notification) => {
                write!(f, " ({notification})")
            }
            _ => Ok(()),
        }
    }
}
