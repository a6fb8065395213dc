//! Where paths come from.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::PeerKind;
use crate::prefix::{Family, PerFamily};
use crate::wire::Role;

/// A peer, or this speaker itself, as the tables know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerId(pub(crate) u32);

impl PeerId {
    /// This speaker.
    pub(crate) const LOCAL: Self = Self(u32::MAX);
    /// Nobody.
    pub(crate) const NONE: Self = Self(u32::MAX - 1);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What decision and export need to know of the peer that a path came from. It outlives the session, as stale paths do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) address: IpAddr,
    pub(crate) kind: PeerKind,
    /// Same AS on the session.
    pub(crate) internal: bool,
    /// Client of our reflection.
    pub(crate) client: bool,
    /// AS number we use towards it.
    pub(crate) local_as: u32,
    pub(crate) identifier: Ipv4Addr,
    /// LOCAL_PREF on the session follows Calico's rule.
    pub(crate) calico_local_pref: bool,
    /// Our role towards it, and its AS (RFC 9234).
    pub(crate) role: Option<(Role, u32)>,
    pub(crate) counts: PerFamily<Counts>,
}

/// What a peer has in Adj-RIB-In.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Paths held.
    pub(crate) received: u32,
    /// Of them, refused.
    pub(crate) rejected: u32,
    /// Of them, from a session that was lost.
    pub(crate) stale: u32,
}

/// All sources by [`PeerId`].
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Option<Source>>);

impl Sources {
    pub(crate) fn get(&self, id: PeerId) -> Option<&Source> {
        self.0.get(id.index()).and_then(Option::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Source> {
        self.0.get_mut(id.index()).and_then(Option::as_mut)
    }

    pub(crate) fn set(&mut self, id: PeerId, source: Option<Source>) {
        if self.0.len() <= id.index() {
            self.0.resize(id.index() + 1, None);
        }
        if let Some(slot) = self.0.get_mut(id.index()) {
            *slot = source;
        }
    }

    pub(crate) fn counts_mut(&mut self, id: PeerId, family: Family) -> Option<&mut Counts> {
        self.get_mut(id).map(|source| &mut source.counts[family])
    }

    pub(crate) fn counts(&self, id: PeerId, family: Family) -> Counts {
        self.get(id).map(|source| source.counts[family]).unwrap_or_default()
    }
}
