//! The tables of both families and what they share.

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::group::{Group, OutId, PathIds, Sent, path_id_of};
use crate::policy::CompiledGuards;
use crate::prefix::{Family, Ipv4Prefix, Ipv6Prefix};
use crate::reason::Withheld;
use crate::rib::{Entry, Interner, NextHops, PeerId, PrefixId, Sources, Table};
use crate::wire::PathAttributes;

/// What the families have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) interner: Interner,
    pub(super) next_hops: NextHops,
    pub(super) sources: Sources,
    pub(super) guards: CompiledGuards,
    /// Peers by address.
    pub(super) addresses: HashMap<IpAddr, PeerId, FixedState>,
}

/// One family: its table and its update groups.
#[derive(Debug)]
pub(super) struct FamilyTables<P> {
    pub(super) table: Table<P>,
    pub(super) groups: Vec<Group<P>>,
    /// Of what is sent with ADD-PATH.
    pub(super) path_ids: PathIds,
    /// A member may be able to take more.
    pub(super) attention: bool,
    /// Entries to be exported again although their best path is the same.
    pub(super) exported_anew: Vec<PrefixId>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) shared: Shared,
    pub(super) v4: FamilyTables<Ipv4Prefix>,
    pub(super) v6: FamilyTables<Ipv6Prefix>,
}

/// A Path Identifier, 0 without ADD-PATH; the place that has it; and what was sent.
pub(super) type Told<'t> = (u32, Option<OutId>, &'t Sent);

impl<P: crate::prefix::NetPrefix> FamilyTables<P> {
    fn new() -> Self {
        Self {
            table: Table::new(),
            groups: Vec::new(),
            path_ids: PathIds::default(),
            attention: false,
            exported_anew: Vec::new(),
        }
    }

    /// The group that a peer is a member of.
    pub(super) fn group_of(&self, peer: PeerId) -> Option<&Group<P>> {
        self.groups.iter().find(|group| group.member(peer).is_some())
    }

    /// The attributes that a peer was sent.
    pub(super) fn attributes_sent(&self, peer: PeerId, sent: &Sent) -> PathAttributes {
        let four_octet_as = self.group_of(peer).is_none_or(|group| group.key.send.four_octet_as);
        sent.route.block().read(four_octet_as)
    }

    /// Takes back paths of one peer; returns how many.
    pub(super) fn purge(
        &mut self,
        shared: &mut Shared,
        peer: PeerId,
        mut condemned: impl FnMut(&crate::rib::Path) -> bool,
    ) -> u32 {
        if shared.sources.counts(peer, P::FAMILY).received == 0 {
            return 0;
        }
        let Shared { sources, next_hops, .. } = shared;
        self.table.retain(|path| path.source == peer && condemned(path), sources, next_hops)
    }

    /// Has everything exported again that was learned from a peer.
    pub(super) fn export_again(&mut self, peer: PeerId) {
        let learned = |entry: &Entry<P>| entry.paths.iter().any(|path| path.source == peer);
        let ids = self.table.iter().filter(|(_, it)| learned(it)).map(|(id, _)| id);
        self.exported_anew.extend(ids);
    }

    /// Drops entries and Path Identifiers that are empty and that nobody refers to.
    pub(super) fn sweep(&mut self) {
        let Self { table, groups, path_ids, .. } = self;
        if groups.iter().any(Group::adds_paths) {
            path_ids.sweep(table, |id| groups.iter().any(|group| group.adds_paths() && group.refers_to(id)));
        } else {
            path_ids.clear();
        }
        let all = !groups.iter().any(Group::has_queued);
        table.sweep(all, |id| {
            let plain = |group: &Group<P>| !group.adds_paths() && group.refers_to(id.into());
            !path_ids.of(id).is_empty() || groups.iter().any(plain)
        });
    }

    /// What a peer was given of a prefix, each with its Path Identifier and the path it was made of; or why nothing.
    pub(super) fn told(&self, id: PrefixId, entry: &Entry<P>, peer: PeerId) -> Result<Vec<Told<'_>>, Withheld> {
        let group = self.group_of(peer).ok_or(Withheld::NotEstablished)?;
        if !group.adds_paths() {
            let best = entry.best.as_ref().map(|best| best.source);
            if best == Some(peer) {
                return Err(Withheld::FromThisPeer);
            }
            return group.told(peer, id.into()).map(|sent| vec![(0, None, sent)]);
        }
        let mut why = Withheld::NoPath;
        let mut all = Vec::new();
        for place in self.path_ids.of(id) {
            match group.told(peer, *place) {
                Ok(sent) => all.push((path_id_of(*place), Some(*place), sent)),
                Err(Withheld::NoPath) => {}
                Err(withheld) => why = withheld,
            }
        }
        if all.is_empty() { Err(why) } else { Ok(all) }
    }

    /// Ends the membership of a peer whose session is gone.
    pub(super) fn leave(&mut self, peer: PeerId) {
        for group in &mut self.groups {
            group.leave(peer);
        }
        self.groups.retain(|group| !group.is_empty());
    }
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            shared: Shared {
                interner: Interner::new(),
                next_hops: NextHops::new(),
                sources: Sources::default(),
                guards: CompiledGuards::default(),
                addresses: HashMap::with_hasher(FixedState::default()),
            },
            v4: FamilyTables::new(),
            v6: FamilyTables::new(),
        }
    }

    /// Takes back paths of one peer in one family.
    pub(super) fn purge(
        &mut self,
        family: Family,
        peer: PeerId,
        condemned: impl FnMut(&crate::rib::Path) -> bool,
    ) -> u32 {
        match family {
            Family::Ipv4Unicast => self.v4.purge(&mut self.shared, peer, condemned),
            Family::Ipv6Unicast => self.v6.purge(&mut self.shared, peer, condemned),
        }
    }

    pub(super) fn leave(&mut self, peer: PeerId) {
        self.v4.leave(peer);
        self.v6.leave(peer);
    }

    pub(super) fn call_attention(&mut self) {
        self.v4.attention = true;
        self.v6.attention = true;
    }
}
