//! UPDATE (RFC 4271 §4.3, §6.3; RFC 7606).

use super::attribute::{Attributes, Overrun};
use super::nlri::{MalformedNlri, decode_nlri};
use super::validation::Collected;
use super::{AttributeCode, AttributeError, Fault, NextHop, Notification, PathAttributes, Reach};
use crate::prefix::{Family, Ipv4Prefix, Ipv6Prefix, PerFamily};

/// What a session negotiated, as far as it decides what received octets mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateContext {
    /// Both sides sent the 4-octet AS capability.
    pub four_octet_as: bool,
    /// The peer has our AS (on this session).
    pub peer_is_internal: bool,
    /// AS of the peer.
    pub peer_as: u32,
    /// Demand of an external peer that its AS is the first one; off for route servers.
    pub check_first_as: bool,
    /// Treat routes with an AS_SET as withdrawn (RFC 9774).
    pub reject_as_sets: bool,
    /// Negotiated families. Those of MP attributes of others are ignored.
    pub families: PerFamily<bool>,
    /// Families whose prefixes come with a Path Identifier.
    pub add_path_receive: PerFamily<bool>,
    /// IPv4 prefixes may come with an IPv6 next hop: we sent the capability of RFC 8950.
    pub extended_next_hop_v4: bool,
}

/// A decoded UPDATE. Withdrawals are to be applied before announcements; a prefix in both is announced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// IPv4 unicast, from the classic fields and from MP attributes.
    pub v4: Reach<Ipv4Prefix>,
    /// IPv6 unicast.
    pub v6: Reach<Ipv6Prefix>,
    /// Attributes of everything announced; present if anything is.
    pub attributes: Option<PathAttributes>,
    /// An error turned all announcements of this message into withdrawals (RFC 7606 §2): they are in the withdrawn lists.
    pub treat_as_withdraw: bool,
    /// The message is the End-of-RIB marker of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// The message holds MP attributes of a family that was not negotiated; they were ignored.
    pub foreign_family: Option<(u16, u8)>,
    /// Errors that did not end the session, to be logged with the message (RFC 7606 §6).
    pub errors: Vec<AttributeError>,
}

/// Decodes the body of an UPDATE.
///
/// # Errors
///
/// Only what must reset the session (RFC 7606); everything weaker is in the [`Update`].
pub fn decode_update(body: &[u8], context: &UpdateContext) -> Result<Update, Notification> {
    let fields = Fields::split(body).ok_or_else(Notification::malformed_attribute_list)?;
    let mut update = Update::default();
    let add_path = context.add_path_receive.v4;
    decode_nlri(fields.withdrawn, add_path, &mut update.v4.withdrawn)
        .and_then(|()| decode_nlri(fields.nlri, add_path, &mut update.v4.announced))
        .map_err(|MalformedNlri| Notification::invalid_network_field())?;
    if !context.families.v4 && !update.v4.is_empty() {
        update.foreign_family = Some((Family::Ipv4Unicast.afi(), Family::Ipv4Unicast.safi()));
        update.v4 = Reach::default();
    }
    let mut collected = Collected::new(context);
    for attribute in Attributes::new(fields.attributes) {
        match attribute {
            Ok(attribute) => collected.accept(attribute)?,
            Err(Overrun) => collected.withdraw(0, Fault::Overrun),
        }
    }
    let next_hop = collected.classic_next_hop(fields.nlri.is_empty());
    if fields.nlri.is_empty()
        && !collected.has(AttributeCode::MP_REACH_NLRI)
        && let Some(notification) = collected.reset()
    {
        return Err(notification);
    }
    update.end_of_rib = end_of_rib(&fields, &collected, context);
    collected.merge_as4();
    merge_reach(&mut update, &mut collected, next_hop);
    if !update.v4.announced.is_empty() || !update.v6.announced.is_empty() {
        check_route(&mut collected, &fields, context);
    }
    apply_outcome(&mut update, collected);
    Ok(update)
}

/// The three variable fields of an UPDATE.
struct Fields<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
}

impl<'a> Fields<'a> {
    fn split(body: &'a [u8]) -> Option<Self> {
        let counted = |octets: &'a [u8]| {
            let (length, rest) = octets.split_first_chunk()?;
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        };
        let (withdrawn, rest) = counted(body)?;
        let (attributes, nlri) = counted(rest)?;
        Some(Self { withdrawn, attributes, nlri })
    }
}

fn end_of_rib(fields: &Fields<'_>, collected: &Collected<'_>, context: &UpdateContext) -> Option<Family> {
    if !fields.withdrawn.is_empty() || !fields.nlri.is_empty() {
        return None;
    }
    if fields.attributes.is_empty() {
        return context.families.v4.then_some(Family::Ipv4Unicast);
    }
    collected.empty_unreach.filter(|_| collected.count() == 1)
}

/// Joins what the classic fields and the MP attributes say.
fn merge_reach(update: &mut Update, collected: &mut Collected<'_>, classic: Option<NextHop>) {
    let multiprotocol = collected.mp_next_hop;
    update.v4.withdrawn.append(&mut collected.mp_unreach_v4);
    update.v6.withdrawn = std::mem::take(&mut collected.mp_unreach_v6);
    update.v6.announced = std::mem::take(&mut collected.mp_reach_v6);
    update.v6.next_hop = multiprotocol.filter(|_| !update.v6.announced.is_empty());
    update.v4.next_hop = classic.filter(|_| !update.v4.announced.is_empty());
    if !collected.mp_reach_v4.is_empty() {
        if !update.v4.announced.is_empty() && classic != multiprotocol {
            collected.withdraw(AttributeCode::NEXT_HOP, Fault::TwoNextHops);
        }
        update.v4.announced.append(&mut collected.mp_reach_v4);
        update.v4.next_hop = multiprotocol;
    }
    update.foreign_family = update.foreign_family.or(collected.foreign_family);
}

/// What an announcement needs beyond attributes that are well-formed.
fn check_route(collected: &mut Collected<'_>, fields: &Fields<'_>, context: &UpdateContext) {
    if collected.treat_as_withdraw() {
        return;
    }
    let mandatory = [
        (AttributeCode::ORIGIN, true),
        (AttributeCode::AS_PATH, true),
        (AttributeCode::NEXT_HOP, !fields.nlri.is_empty()),
    ];
    for (code, needed) in mandatory {
        if needed && !collected.has(code) {
            collected.withdraw(code, Fault::Missing);
        }
    }
    let path = &collected.attributes.as_path;
    let foreign_first = context.check_first_as && !context.peer_is_internal && path.first_as() != Some(context.peer_as);
    let refused_set = context.reject_as_sets && path.has_set();
    if collected.has(AttributeCode::AS_PATH) && foreign_first {
        collected.withdraw(AttributeCode::AS_PATH, Fault::FirstAs);
    }
    if refused_set {
        collected.withdraw(AttributeCode::AS_PATH, Fault::AsSet);
    }
}

/// Turns announcements into withdrawals if an error demands it; else adds the attributes to them.
fn apply_outcome(update: &mut Update, collected: Collected<'_>) {
    update.treat_as_withdraw = collected.treat_as_withdraw();
    if update.treat_as_withdraw {
        withdraw_all(&mut update.v4);
        withdraw_all(&mut update.v6);
    } else if !update.v4.announced.is_empty() || !update.v6.announced.is_empty() {
        update.attributes = Some(collected.attributes);
    }
    update.errors = collected.errors;
}

fn withdraw_all<P>(reach: &mut Reach<P>) {
    reach.withdrawn.append(&mut reach.announced);
    reach.next_hop = None;
}
