//! BGP messages as octets: framing, decoding with the outcomes of RFC 7606, exact packing.
//!
//! Nothing here keeps state between messages and nothing trusts a length before it was checked. What a session negotiated
//! comes in as a context ([`UpdateContext`], [`EncodeContext`]).

mod as_path;
mod attribute;
mod attributes;
mod block;
mod capability;
mod community;
mod encode;
mod frame;
mod next_hop;
mod nlri;
mod notification;
mod open;
mod pack;
mod refresh;
mod update;
mod validation;

pub use as_path::{AsPath, ParseAsPathError, Segment, SegmentKind, Segments};
pub use attribute::{AttributeError, Fault, Outcome};
pub use attributes::{AttributeCode, Origin, Partial, PathAttributes, UnknownAttribute};
pub(crate) use block::Block;
pub use capability::{AddPathMode, Capabilities, Fqdn, GracefulRestart, LongLivedFamily, Role};
pub use community::{Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity, ParseCommunityError};
pub use encode::{end_of_rib, keepalive};
pub use frame::{HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, Message, MessageKind, RawMessage, decode, frame};
pub use next_hop::NextHop;
pub use nlri::{Nlri, Reach};
pub use notification::{Notification, decode_notification, encode_notification};
pub use open::{ExpectedAs, OpenExpectation, OpenMessage, decode_open, encode_open};
pub use pack::{EncodeContext, Unsent, UnsentReason, pack_announcements, pack_withdrawals};
pub(crate) use pack::{classic_next_hop, pack_block};
pub use refresh::{RefreshKind, RouteRefresh, decode_route_refresh, encode_route_refresh};
pub use update::{Update, UpdateContext, decode_update};

/// Stands for a 4-octet AS number where only two octets fit (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
