//! What each received attribute must look like, and what follows if it does not (RFC 7606 §7 and the RFCs of the
//! attributes).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::as_path::MalformedPath;
use super::attribute::{
    OPTIONAL, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, PARTIAL, RawAttribute, TRANSITIVE, WELL_KNOWN,
};
use super::nlri::decode_nlri;
use super::{
    AS_TRANS, AsPath, AttributeCode, AttributeError, Community, ExtendedCommunity, Fault, Ipv6ExtendedCommunity,
    LargeCommunity, NextHop, Nlri, Notification, Origin, Outcome, PathAttributes, UnknownAttribute, UpdateContext,
};
use crate::prefix::{Family, Ipv4Prefix, Ipv6Prefix};

/// A fault and what it leads to.
type Verdict = Result<(), (Fault, Outcome)>;

const LENGTH: (Fault, Outcome) = (Fault::Length, Outcome::TreatAsWithdraw);
const VALUE: (Fault, Outcome) = (Fault::Value, Outcome::TreatAsWithdraw);

/// Optional and Transitive bits of the attributes that the speaker reads here.
const fn class_of(code: u8) -> Option<u8> {
    match code {
        AttributeCode::ORIGIN
        | AttributeCode::AS_PATH
        | AttributeCode::LOCAL_PREF
        | AttributeCode::ATOMIC_AGGREGATE => Some(WELL_KNOWN),
        AttributeCode::MULTI_EXIT_DISC | AttributeCode::ORIGINATOR_ID | AttributeCode::CLUSTER_LIST => {
            Some(OPTIONAL_NON_TRANSITIVE)
        }
        AttributeCode::AGGREGATOR
        | AttributeCode::COMMUNITIES
        | AttributeCode::EXTENDED_COMMUNITIES
        | AttributeCode::AS4_PATH
        | AttributeCode::AS4_AGGREGATOR
        | AttributeCode::IPV6_EXTENDED_COMMUNITIES
        | AttributeCode::LARGE_COMMUNITIES
        | AttributeCode::ONLY_TO_CUSTOMER => Some(OPTIONAL_TRANSITIVE),
        _ => None,
    }
}

/// The attributes of one UPDATE while they are read.
pub(super) struct Collected<'a> {
    context: &'a UpdateContext,
    seen: [u64; 4],
    pub(super) attributes: PathAttributes,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<(u32, Ipv4Addr)>,
    next_hop: Option<RawAttribute<'a>>,
    /// Next hop of an MP_REACH_NLRI of a negotiated family.
    pub(super) mp_next_hop: Option<NextHop>,
    pub(super) mp_reach_v4: Vec<Nlri<Ipv4Prefix>>,
    pub(super) mp_reach_v6: Vec<Nlri<Ipv6Prefix>>,
    pub(super) mp_unreach_v4: Vec<Nlri<Ipv4Prefix>>,
    pub(super) mp_unreach_v6: Vec<Nlri<Ipv6Prefix>>,
    /// Family of an MP_UNREACH_NLRI without prefixes.
    pub(super) empty_unreach: Option<Family>,
    pub(super) foreign_family: Option<(u16, u8)>,
    pub(super) errors: Vec<AttributeError>,
    /// The first error that is stronger than discard; `None` inside is an overrun of the block.
    strongest: Option<Option<(RawAttribute<'a>, Fault)>>,
}

impl<'a> Collected<'a> {
    pub(super) fn new(context: &'a UpdateContext) -> Self {
        Self {
            context,
            seen: [0; 4],
            attributes: PathAttributes::default(),
            as4_path: None,
            as4_aggregator: None,
            next_hop: None,
            mp_next_hop: None,
            mp_reach_v4: Vec::new(),
            mp_reach_v6: Vec::new(),
            mp_unreach_v4: Vec::new(),
            mp_unreach_v6: Vec::new(),
            empty_unreach: None,
            foreign_family: None,
            errors: Vec::new(),
            strongest: None,
        }
    }

    /// True if an attribute of this code occurred, good or bad.
    pub(super) fn has(&self, code: u8) -> bool {
        self.seen.get(usize::from(code >> 6)).is_some_and(|word| word & 1 << (code & 63) != 0)
    }

    /// How many different attributes occurred.
    pub(super) fn count(&self) -> u32 {
        self.seen.iter().map(|word| word.count_ones()).sum()
    }

    /// True if everything announced counts as withdrawn.
    pub(super) const fn treat_as_withdraw(&self) -> bool {
        self.strongest.is_some()
    }

    /// The NOTIFICATION of the first error stronger than discard (RFC 7606 §5.2).
    pub(super) fn reset(&self) -> Option<Notification> {
        Some(match self.strongest? {
            Some((attribute, fault)) => attribute.notification(fault),
            None => Notification::malformed_attribute_list(),
        })
    }

    fn fail(&mut self, attribute: RawAttribute<'a>, fault: Fault, outcome: Outcome) {
        self.errors.push(AttributeError { code: attribute.code, fault, outcome });
        if outcome > Outcome::Discard && self.strongest.is_none() {
            self.strongest = Some(Some((attribute, fault)));
        }
    }

    /// Notes an error that is not one of a single attribute as received.
    pub(super) fn withdraw(&mut self, code: u8, fault: Fault) {
        self.errors.push(AttributeError { code, fault, outcome: Outcome::TreatAsWithdraw });
        if self.strongest.is_none() {
            self.strongest = Some(None);
        }
    }

    /// Reads one attribute. An error is what must reset the session at once.
    pub(super) fn accept(&mut self, attribute: RawAttribute<'a>) -> Result<(), Notification> {
        let code = attribute.code;
        if self.has(code) {
            if matches!(code, AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI) {
                return Err(Notification::malformed_attribute_list());
            }
            self.fail(attribute, Fault::Duplicate, Outcome::Discard);
            return Ok(());
        }
        if let Some(word) = self.seen.get_mut(usize::from(code >> 6)) {
            *word |= 1 << (code & 63);
        }
        match code {
            AttributeCode::MP_REACH_NLRI => {
                return self.accept_reach(&attribute).ok_or_else(|| attribute.notification(Fault::Value));
            }
            AttributeCode::MP_UNREACH_NLRI => {
                return self.accept_unreach(&attribute).ok_or_else(|| attribute.notification(Fault::Value));
            }
            // Whether it counts is known only at the end of the block.
            AttributeCode::NEXT_HOP => self.next_hop = Some(attribute),
            _ => {
                if let Err((fault, outcome)) = self.read(&attribute) {
                    self.fail(attribute, fault, outcome);
                }
            }
        }
        Ok(())
    }

    fn negotiated(&mut self, afi: u16, safi: u8) -> Option<Family> {
        let family = Family::from_afi_safi(afi, safi).filter(|family| self.context.families[*family]);
        if family.is_none() {
            self.foreign_family = Some((afi, safi));
        }
        family
    }

    fn accept_reach(&mut self, attribute: &RawAttribute<'a>) -> Option<()> {
        let [high, low, safi, next_hop_length, rest @ ..] = attribute.value else { return None };
        if !attribute.has_class(OPTIONAL_NON_TRANSITIVE) || rest.is_empty() {
            return None;
        }
        let Some(family) = self.negotiated(u16::from_be_bytes([*high, *low]), *safi) else { return Some(()) };
        let (next_hop, rest) = rest.split_at_checked(usize::from(*next_hop_length))?;
        let (_reserved, field) = rest.split_first()?;
        let add_path = self.context.add_path_receive[family];
        match family {
            Family::Ipv4Unicast => {
                self.mp_next_hop = Some(NextHop::decode(next_hop, true, self.context.extended_next_hop_v4)?);
                decode_nlri(field, add_path, &mut self.mp_reach_v4).ok()
            }
            Family::Ipv6Unicast => {
                self.mp_next_hop = Some(NextHop::decode(next_hop, false, true)?);
                decode_nlri(field, add_path, &mut self.mp_reach_v6).ok()
            }
        }
    }

    fn accept_unreach(&mut self, attribute: &RawAttribute<'a>) -> Option<()> {
        let [high, low, safi, field @ ..] = attribute.value else { return None };
        if !attribute.has_class(OPTIONAL_NON_TRANSITIVE) {
            return None;
        }
        let Some(family) = self.negotiated(u16::from_be_bytes([*high, *low]), *safi) else { return Some(()) };
        if field.is_empty() {
            self.empty_unreach = Some(family);
        }
        let add_path = self.context.add_path_receive[family];
        match family {
            Family::Ipv4Unicast => decode_nlri(field, add_path, &mut self.mp_unreach_v4).ok(),
            Family::Ipv6Unicast => decode_nlri(field, add_path, &mut self.mp_unreach_v6).ok(),
        }
    }

    fn read(&mut self, attribute: &RawAttribute<'_>) -> Verdict {
        let code = attribute.code;
        let Some(class) = class_of(code) else { return self.read_unknown(attribute) };
        let meaningless = match code {
            AttributeCode::LOCAL_PREF | AttributeCode::ORIGINATOR_ID | AttributeCode::CLUSTER_LIST => {
                !self.context.peer_is_internal
            }
            AttributeCode::AS4_PATH | AttributeCode::AS4_AGGREGATOR => self.context.four_octet_as,
            _ => false,
        };
        if meaningless {
            return Err((Fault::NotFromThisPeer, Outcome::Discard));
        }
        if !attribute.has_class(class) {
            return Err(match code {
                AttributeCode::ATOMIC_AGGREGATE | AttributeCode::AGGREGATOR => (Fault::Flags, Outcome::Discard),
                _ => (Fault::Flags, Outcome::TreatAsWithdraw),
            });
        }
        let attributes = &mut self.attributes;
        match code {
            AttributeCode::ORIGIN => {
                let [origin] = *attribute.value else { return Err(LENGTH) };
                attributes.origin = Origin::from_code(origin).ok_or(VALUE)?;
            }
            AttributeCode::AS_PATH => {
                let path = AsPath::decode(attribute.value, self.context.four_octet_as);
                attributes.as_path = path.map_err(|MalformedPath| VALUE)?;
            }
            AttributeCode::MULTI_EXIT_DISC => attributes.med = Some(number(attribute.value)?),
            AttributeCode::LOCAL_PREF => attributes.local_pref = Some(number(attribute.value)?),
            AttributeCode::ORIGINATOR_ID => {
                attributes.originator_id = Some(Ipv4Addr::from_bits(number(attribute.value)?));
            }
            AttributeCode::CLUSTER_LIST => {
                attributes.cluster_list = list(attribute.value, |octets: [u8; 4]| Ipv4Addr::from(octets))?;
            }
            AttributeCode::ONLY_TO_CUSTOMER => attributes.otc = Some(number(attribute.value)?),
            AttributeCode::ATOMIC_AGGREGATE
            | AttributeCode::AGGREGATOR
            | AttributeCode::AS4_PATH
            | AttributeCode::AS4_AGGREGATOR => {
                return self.read_discardable(attribute).map_err(|fault| (fault, Outcome::Discard));
            }
            _ => read_communities(attribute, attributes)?,
        }
        if attribute.flags & PARTIAL != 0 {
            self.attributes.partial.set(code);
        }
        Ok(())
    }

    /// The attributes whose every fault discards them, and nothing else.
    fn read_discardable(&mut self, attribute: &RawAttribute<'_>) -> Result<(), Fault> {
        let four_octet_as = self.context.four_octet_as;
        match attribute.code {
            AttributeCode::ATOMIC_AGGREGATE => {
                if !attribute.value.is_empty() {
                    return Err(Fault::Length);
                }
                self.attributes.atomic_aggregate = true;
            }
            AttributeCode::AGGREGATOR => {
                self.attributes.aggregator = Some(aggregator(attribute.value, four_octet_as)?);
                if attribute.flags & PARTIAL != 0 {
                    self.attributes.partial.set(attribute.code);
                }
            }
            AttributeCode::AS4_PATH => {
                let path = AsPath::decode_as4(attribute.value).map_err(|MalformedPath| Fault::Value)?;
                self.as4_path = Some(path);
            }
            _ => self.as4_aggregator = Some(aggregator(attribute.value, true)?),
        }
        Ok(())
    }

    fn read_unknown(&mut self, attribute: &RawAttribute<'_>) -> Verdict {
        match attribute.flags & (OPTIONAL | TRANSITIVE) {
            OPTIONAL_TRANSITIVE => {
                let unknown = UnknownAttribute { code: attribute.code, value: attribute.value.into() };
                let list = &mut self.attributes.unknown;
                let position = list.partition_point(|other| other.code < unknown.code);
                list.insert(position, unknown);
                Ok(())
            }
            OPTIONAL_NON_TRANSITIVE => Ok(()),
            _ => Err((Fault::Unrecognized, Outcome::TreatAsWithdraw)),
        }
    }

    /// The next hop of the NLRI field. Without that field, beside MP_REACH_NLRI, NEXT_HOP is ignored whatever it holds
    /// (RFC 4760 §3).
    pub(super) fn classic_next_hop(&mut self, field_is_empty: bool) -> Option<NextHop> {
        if field_is_empty && self.has(AttributeCode::MP_REACH_NLRI) {
            return None;
        }
        let attribute = self.next_hop?;
        if !attribute.has_class(WELL_KNOWN) {
            self.fail(attribute, Fault::Flags, Outcome::TreatAsWithdraw);
            return None;
        }
        let Ok(octets) = <[u8; 4]>::try_from(attribute.value) else {
            self.fail(attribute, Fault::Length, Outcome::TreatAsWithdraw);
            return None;
        };
        Some(NextHop::V4(Ipv4Addr::from(octets)))
    }

    /// Puts the AS4 attributes of a 2-octet speaker in their place (RFC 6793 §4.2.3).
    pub(super) fn merge_as4(&mut self) {
        let (path, aggregator) = (self.as4_path.take(), self.as4_aggregator.take());
        if let (Some((as_number, _)), Some(_)) = (self.attributes.aggregator, aggregator) {
            // A 2-octet speaker aggregated the route anew: what came along is about the former one.
            if as_number != u32::from(AS_TRANS) {
                return;
            }
            self.attributes.aggregator = aggregator;
        }
        if let Some(as4_path) = path {
            let as_path = std::mem::take(&mut self.attributes.as_path);
            self.attributes.as_path = as_path.merged_with_as4(&as4_path);
        }
    }
}

fn number(value: &[u8]) -> Result<u32, (Fault, Outcome)> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| LENGTH)
}

fn aggregator(value: &[u8], four_octet_as: bool) -> Result<(u32, Ipv4Addr), Fault> {
    let (as_number, identifier) = match *value {
        [a, b, c, d, e, f, g, h] if four_octet_as => (u32::from_be_bytes([a, b, c, d]), [e, f, g, h]),
        [a, b, c, d, e, f] if !four_octet_as => (u32::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
        _ => return Err(Fault::Length),
    };
    if as_number == 0 { Err(Fault::Value) } else { Ok((as_number, Ipv4Addr::from(identifier))) }
}

/// A list of values of `N` octets, at least one.
fn list<T, const N: usize>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Result<Vec<T>, (Fault, Outcome)> {
    match value.as_chunks::<N>() {
        ([], _) => Err(LENGTH),
        (chunks, []) => Ok(chunks.iter().map(|chunk| item(*chunk)).collect()),
        _ => Err(LENGTH),
    }
}

fn read_communities(attribute: &RawAttribute<'_>, attributes: &mut PathAttributes) -> Verdict {
    let value = attribute.value;
    match attribute.code {
        AttributeCode::COMMUNITIES => {
            attributes.communities = list(value, |octets| Community(u32::from_be_bytes(octets)))?;
        }
        AttributeCode::EXTENDED_COMMUNITIES => attributes.extended_communities = list(value, ExtendedCommunity)?,
        AttributeCode::IPV6_EXTENDED_COMMUNITIES => {
            attributes.ipv6_extended_communities = list(value, Ipv6ExtendedCommunity)?;
        }
        _ => {
            let mut communities = list(value, LargeCommunity::from_octets)?;
            if communities.len() > 1 {
                let mut known = BTreeSet::new();
                communities.retain(|community| known.insert(*community));
            }
            attributes.large_communities = communities;
        }
    }
    Ok(())
}
