//! Capabilities of OPEN (RFC 5492) that the speaker knows.

use std::fmt;

use bytes::BufMut;
use serde::{Deserialize, Serialize};
use zettabgp::{BgpCapAddPath, BgpCapGR, BgpCapLLGR};

use crate::prefix::Family;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const ROLE: u8 = 9;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
const FQDN: u8 = 73;
const BFD_STRICT_MODE: u8 = 74;
const LINK_LOCAL_NEXT_HOP: u8 = 77;

/// ADD-PATH direction as its sender means it (RFC 7911 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddPathMode {
    /// Able to receive several paths.
    Receive,
    /// Able to send several paths.
    Send,
    /// Both.
    Both,
}

impl AddPathMode {
    /// True if the sender of the capability can receive several paths.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }

    /// True if the sender of the capability can send several paths.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Both)
    }
}

/// Graceful restart (RFC 4724 §3, RFC 8538 §2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GracefulRestart {
    /// R: the sender has restarted.
    pub restarting: bool,
    /// N: a NOTIFICATION does not end the retention of routes.
    pub notification: bool,
    /// Seconds until the sender is back, at most 4095.
    pub time: u16,
    /// Families that survive, each with F: forwarding state was preserved.
    pub families: Vec<(Family, bool)>,
}

/// One family of long-lived graceful restart (RFC 9494 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongLivedFamily {
    /// The family.
    pub family: Family,
    /// F: forwarding state was preserved.
    pub forwarding: bool,
    /// Seconds that stale routes may live, at most 2²⁴ − 1.
    pub stale_time: u32,
}

/// BGP role (RFC 9234 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Transit provider.
    Provider,
    /// Route server.
    RouteServer,
    /// Client of a route server.
    RouteServerClient,
    /// Customer.
    Customer,
    /// Lateral peer.
    Peer,
}

impl Role {
    const ALL: [Self; 5] = [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    /// The code of a role.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
        }
    }

    /// The role that the other side must have.
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }

    /// The role of a code, if it is assigned.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "provider",
            Self::RouteServer => "route server",
            Self::RouteServerClient => "route server client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        })
    }
}

/// Host and domain name, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fqdn {
    /// Host name.
    pub host: String,
    /// Domain name.
    pub domain: String,
}

/// Everything an OPEN says about what its sender can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Capabilities {
    /// Multiprotocol families that the speaker knows, in the order received, each once. Foreign ones are in
    /// [`Capabilities::unknown`] under code 1. See [`Capabilities::usable_families`].
    pub families: Vec<Family>,
    /// Route refresh (RFC 2918).
    pub route_refresh: bool,
    /// IPv4 unicast with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Messages up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// Role codes, each once; more than one is a mismatch (RFC 9234 §4.2).
    pub roles: Vec<u8>,
    /// Graceful restart; the last instance counts (RFC 4724 §3).
    pub graceful_restart: Option<GracefulRestart>,
    /// 4-octet AS number (RFC 6793).
    pub four_octet_as: Option<u32>,
    /// ADD-PATH, the last tuple per family (RFC 7911).
    pub add_path: Vec<(Family, AddPathMode)>,
    /// Enhanced route refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Long-lived graceful restart (RFC 9494); the last instance counts.
    pub long_lived_graceful_restart: Option<Vec<LongLivedFamily>>,
    /// Host name.
    pub fqdn: Option<Fqdn>,
    /// Not Established before BFD is up (draft-ietf-idr-bgp-bfd-strict-mode).
    pub bfd_strict_mode: bool,
    /// A link-local address alone is a next hop (draft-ietf-idr-linklocal-capability).
    pub link_local_next_hop: bool,
    /// Capabilities that the speaker does not know: code and value. Ignored, and never a reason to refuse (RFC 5492 §3).
    pub unknown: Vec<(u8, Vec<u8>)>,
    /// Codes of known capabilities that were dropped because their length is impossible.
    pub malformed: Vec<u8>,
}

/// A capability whose wrong length makes the whole OPEN malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedCapability;

impl Capabilities {
    /// Families that may be used with the sender: IPv4 unicast alone if it sent no multiprotocol capability at all.
    #[must_use]
    pub fn usable_families(&self) -> Vec<Family> {
        let multiprotocol = !self.families.is_empty() || self.unknown.iter().any(|(code, _)| *code == MULTIPROTOCOL);
        if multiprotocol { self.families.clone() } else { vec![Family::Ipv4Unicast] }
    }

    /// ADD-PATH mode of a family.
    #[must_use]
    pub fn add_path_mode(&self, family: Family) -> Option<AddPathMode> {
        self.add_path.iter().find(|(candidate, _)| *candidate == family).map(|(_, mode)| *mode)
    }

    /// What of `self` a peer with capabilities `theirs` lacks. Compared are presence and family, not parameters.
    #[must_use]
    pub fn missing_in(&self, theirs: &Self) -> Self {
        let lacks = |ours: bool, theirs: bool| ours && !theirs;
        Self {
            families: self.families.iter().copied().filter(|family| !theirs.families.contains(family)).collect(),
            route_refresh: lacks(self.route_refresh, theirs.route_refresh),
            extended_next_hop: lacks(self.extended_next_hop, theirs.extended_next_hop),
            extended_message: lacks(self.extended_message, theirs.extended_message),
            roles: if theirs.roles.is_empty() { self.roles.clone() } else { Vec::new() },
            graceful_restart: self.graceful_restart.clone().filter(|_| theirs.graceful_restart.is_none()),
            four_octet_as: self.four_octet_as.filter(|_| theirs.four_octet_as.is_none()),
            add_path: self
                .add_path
                .iter()
                .copied()
                .filter(|(family, _)| theirs.add_path_mode(*family).is_none())
                .collect(),
            enhanced_route_refresh: lacks(self.enhanced_route_refresh, theirs.enhanced_route_refresh),
            long_lived_graceful_restart: self
                .long_lived_graceful_restart
                .clone()
                .filter(|_| theirs.long_lived_graceful_restart.is_none()),
            fqdn: None,
            bfd_strict_mode: lacks(self.bfd_strict_mode, theirs.bfd_strict_mode),
            link_local_next_hop: lacks(self.link_local_next_hop, theirs.link_local_next_hop),
            unknown: Vec::new(),
            malformed: Vec::new(),
        }
    }

    /// The capabilities as they stand in OPEN: code, length, value, ascending by code. Values above 255 octets are left
    /// out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        for family in &self.families {
            let [high, low] = family.afi().to_be_bytes();
            put(MULTIPROTOCOL, &[high, low, 0, family.safi()], &mut out);
        }
        put_flag(self.route_refresh, ROUTE_REFRESH, &mut out);
        if self.extended_next_hop {
            put(EXTENDED_NEXT_HOP, &[0, 1, 0, 1, 0, 2], &mut out);
        }
        put_flag(self.extended_message, EXTENDED_MESSAGE, &mut out);
        for role in &self.roles {
            put(ROLE, &[*role], &mut out);
        }
        if let Some(restart) = &self.graceful_restart {
            put(GRACEFUL_RESTART, &encode_graceful_restart(restart), &mut out);
        }
        if let Some(as_number) = self.four_octet_as {
            put(FOUR_OCTET_AS, &as_number.to_be_bytes(), &mut out);
        }
        if !self.add_path.is_empty() {
            put(ADD_PATH, &encode_add_path(&self.add_path), &mut out);
        }
        put_flag(self.enhanced_route_refresh, ENHANCED_ROUTE_REFRESH, &mut out);
        if let Some(families) = &self.long_lived_graceful_restart {
            put(LONG_LIVED_GRACEFUL_RESTART, &encode_long_lived(families), &mut out);
        }
        if let Some(fqdn) = &self.fqdn {
            put(FQDN, &encode_fqdn(fqdn), &mut out);
        }
        put_flag(self.bfd_strict_mode, BFD_STRICT_MODE, &mut out);
        put_flag(self.link_local_next_hop, LINK_LOCAL_NEXT_HOP, &mut out);
        for (code, value) in &self.unknown {
            put(*code, value, &mut out);
        }
        out
    }

    /// Reads the capabilities of one optional parameter and adds them. A capability that overruns the parameter makes the
    /// OPEN malformed, and so does a 4-octet AS capability of wrong length; every other known one of wrong length is
    /// dropped and noted.
    pub(super) fn decode_into(&mut self, parameter: &[u8]) -> Result<(), MalformedCapability> {
        let mut rest = parameter;
        while let Some((code, behind)) = rest.split_first() {
            let (length, behind) = behind.split_first().ok_or(MalformedCapability)?;
            let (value, behind) = behind.split_at_checked(usize::from(*length)).ok_or(MalformedCapability)?;
            rest = behind;
            if self.accept(*code, value).is_none() {
                if *code == FOUR_OCTET_AS {
                    return Err(MalformedCapability);
                }
                self.malformed.push(*code);
            }
        }
        Ok(())
    }

    /// Takes one capability; `None` if its length is impossible.
    fn accept(&mut self, code: u8, value: &[u8]) -> Option<()> {
        let empty = || value.is_empty().then_some(true);
        match code {
            MULTIPROTOCOL => {
                let [high, low, _reserved, safi] = *value else { return None };
                match Family::from_afi_safi(u16::from_be_bytes([high, low]), safi) {
                    Some(family) if self.families.contains(&family) => {}
                    Some(family) => self.families.push(family),
                    None => self.unknown.push((code, value.to_vec())),
                }
            }
            ROUTE_REFRESH => self.route_refresh = empty()?,
            EXTENDED_NEXT_HOP => {
                let (tuples, []) = value.as_chunks::<6>() else { return None };
                self.extended_next_hop |= tuples.contains(&[0, 1, 0, 1, 0, 2]);
            }
            EXTENDED_MESSAGE => self.extended_message = empty()?,
            ROLE => {
                let [role] = *value else { return None };
                if !self.roles.contains(&role) {
                    self.roles.push(role);
                }
            }
            GRACEFUL_RESTART => self.graceful_restart = Some(decode_graceful_restart(value)?),
            FOUR_OCTET_AS => self.four_octet_as = Some(u32::from_be_bytes(value.try_into().ok()?)),
            ADD_PATH => self.accept_add_path(value)?,
            ENHANCED_ROUTE_REFRESH => self.enhanced_route_refresh = empty()?,
            LONG_LIVED_GRACEFUL_RESTART => self.long_lived_graceful_restart = Some(decode_long_lived(value)?),
            FQDN => self.fqdn = Some(decode_fqdn(value)?),
            BFD_STRICT_MODE => self.bfd_strict_mode = empty()?,
            LINK_LOCAL_NEXT_HOP => self.link_local_next_hop = empty()?,
            _ => self.unknown.push((code, value.to_vec())),
        }
        Some(())
    }

    fn accept_add_path(&mut self, value: &[u8]) -> Option<()> {
        let (tuples, []) = value.as_chunks::<4>() else { return None };
        for tuple in tuples {
            let [.., mode] = tuple;
            let decoded = BgpCapAddPath::decode_from(tuple).ok()?;
            let mode = match (mode, decoded.receive, decoded.send) {
                (1..=3, true, true) => AddPathMode::Both,
                (1..=3, true, false) => AddPathMode::Receive,
                (1..=3, false, true) => AddPathMode::Send,
                _ => continue,
            };
            let Some(family) = Family::from_afi_safi(decoded.afi, decoded.safi) else { continue };
            match self.add_path.iter_mut().find(|(candidate, _)| *candidate == family) {
                Some(entry) => entry.1 = mode,
                None => self.add_path.push((family, mode)),
            }
        }
        Some(())
    }
}

fn put(code: u8, value: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend_from_slice(&[code, length]);
        out.extend_from_slice(value);
    }
}

fn put_flag(set: bool, code: u8, out: &mut Vec<u8>) {
    if set {
        put(code, &[], out);
    }
}

const RESTARTING: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const RESTART_TIME: u16 = 0x0fff;
const LONG_LIVED_FORWARDING: u8 = 0x80;
const LONG_LIVED_TIME: u32 = 0x00ff_ffff;

fn decode_graceful_restart(value: &[u8]) -> Option<GracefulRestart> {
    let (head, tuples) = value.split_first_chunk::<2>()?;
    let (tuples, []) = tuples.as_chunks::<4>() else { return None };
    let head = u16::from_be_bytes(*head);
    let mut families: Vec<(Family, bool)> = Vec::new();
    for tuple in tuples {
        let decoded = BgpCapGR::decode_from(tuple).ok()?;
        let Some(family) = Family::from_afi_safi(decoded.afi, decoded.safi) else { continue };
        match families.iter_mut().find(|(candidate, _)| *candidate == family) {
            Some(entry) => entry.1 = decoded.forwarding_state,
            None => families.push((family, decoded.forwarding_state)),
        }
    }
    Some(GracefulRestart {
        restarting: head & RESTARTING != 0,
        notification: head & NOTIFICATION != 0,
        time: head & RESTART_TIME,
        families,
    })
}

fn encode_graceful_restart(restart: &GracefulRestart) -> Vec<u8> {
    let mut head = restart.time.min(RESTART_TIME);
    if restart.restarting {
        head |= RESTARTING;
    }
    if restart.notification {
        head |= NOTIFICATION;
    }
    let mut out = head.to_be_bytes().to_vec();
    for (family, forwarding_state) in &restart.families {
        let tuple = BgpCapGR { afi: family.afi(), safi: family.safi(), forwarding_state: *forwarding_state };
        let mut octets = [0; 4];
        if tuple.encode_to(&mut octets).is_ok() {
            out.extend_from_slice(&octets);
        }
    }
    out
}

fn encode_add_path(families: &[(Family, AddPathMode)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(families.len() * 4);
    for (family, mode) in families {
        let tuple =
            BgpCapAddPath { afi: family.afi(), safi: family.safi(), send: mode.sends(), receive: mode.receives() };
        let mut octets = [0; 4];
        if tuple.encode_to(&mut octets).is_ok() {
            out.extend_from_slice(&octets);
        }
    }
    out
}

fn decode_long_lived(value: &[u8]) -> Option<Vec<LongLivedFamily>> {
    let (tuples, []) = value.as_chunks::<7>() else { return None };
    let mut families: Vec<LongLivedFamily> = Vec::new();
    for tuple in tuples {
        let decoded = BgpCapLLGR::decode_from(tuple).ok()?;
        let Some(family) = Family::from_afi_safi(decoded.afi, decoded.safi) else { continue };
        let entry = LongLivedFamily {
            family,
            forwarding: decoded.flags & LONG_LIVED_FORWARDING != 0,
            stale_time: decoded.stale_time,
        };
        match families.iter_mut().find(|candidate| candidate.family == family) {
            Some(known) => *known = entry,
            None => families.push(entry),
        }
    }
    Some(families)
}

fn encode_long_lived(families: &[LongLivedFamily]) -> Vec<u8> {
    let mut out = Vec::with_capacity(families.len() * 7);
    for entry in families {
        let tuple = BgpCapLLGR {
            afi: entry.family.afi(),
            safi: entry.family.safi(),
            flags: if entry.forwarding { LONG_LIVED_FORWARDING } else { 0 },
            stale_time: entry.stale_time.min(LONG_LIVED_TIME),
        };
        let mut octets = [0; 7];
        if tuple.encode_to(&mut octets).is_ok() {
            out.extend_from_slice(&octets);
        }
    }
    out
}

fn decode_fqdn(value: &[u8]) -> Option<Fqdn> {
    let name = |field: &[u8]| std::str::from_utf8(field).ok().map(str::to_owned);
    let (length, rest) = value.split_first()?;
    let (host, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, domain) = rest.split_first()?;
    if domain.len() != usize::from(*length) {
        return None;
    }
    Some(Fqdn { host: name(host)?, domain: name(domain)? })
}

fn encode_fqdn(fqdn: &Fqdn) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + fqdn.host.len() + fqdn.domain.len());
    for name in [&fqdn.host, &fqdn.domain] {
        // Names above 255 octets make a value that does not fit into a capability, and is then left out as a whole.
        out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.put_slice(name.as_bytes());
    }
    out
}
