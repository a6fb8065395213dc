//! Update groups: peers that are told the same in the same octets share one Adj-RIB-Out, and each UPDATE for them is
//! packed and encoded once.
//!
//! A member *in step* has been given everything the group's Adj-RIB-Out says. A batch of changes is written once and the
//! same octets go to all members in step. A member whose socket is full, or that has just joined, or that needs something
//! of its own, has a queue instead: prefixes, each with what the member holds of it. When its socket takes more, the queue is
//! compared with the Adj-RIB-Out of that moment, so that a slow member skips states and never costs memory per message.

mod adj_out;
mod batch;
mod member;
mod path_ids;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub(crate) use adj_out::{AdjRibOut, Sent};
pub(crate) use member::{Held, Member};
use path_ids::Places;
pub(crate) use path_ids::{OutId, PathIds, path_id_of};

use crate::filter::{FilterRule, RuleId, Subject, first_match};
use crate::outbox::Outbox;
use crate::policy::{OutNextHop, Recipient, export};
use crate::prefix::{NetPrefix, Prefix};
use crate::reason::Withheld;
use crate::rib::{Best, Entry, NextHopId, Order, PeerId, PrefixId, Table};
use crate::wire::{EncodeContext, PathAttributes};

/// Everything that changes octets or membership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) recipient: Recipient,
    pub(crate) send: EncodeContext,
    /// With ADD-PATH, the most paths told of a prefix (RFC 7911); 0 without.
    pub(crate) max_paths: usize,
}

/// What groups read of the rest of the speaker.
pub(crate) struct Surroundings<'s> {
    pub(crate) order: Order<'s>,
    pub(crate) cluster_id: Ipv4Addr,
    /// Peers by address: a route whose next hop is a peer is not told to that peer.
    pub(crate) peers: &'s HashMap<IpAddr, PeerId, FixedState>,
    /// End-of-RIB may be sent: selection has begun and all origin sources are in sync.
    pub(crate) complete: bool,
}

/// Something for the speaker to note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// End-of-RIB was sent.
    EndOfRib(PeerId),
    /// A route fits into no message.
    TooLarge(PeerId, Prefix),
}

/// One update group of one family.
#[derive(Debug)]
pub(crate) struct Group<P> {
    pub(crate) key: GroupKey,
    members: BTreeMap<PeerId, Member>,
    out: AdjRibOut,
    buffer: BytesMut,
    family: std::marker::PhantomData<P>,
}

type MemoKey = (usize, u32, PeerId, Option<NextHopId>, Option<RuleId>);
type Memo = HashMap<MemoKey, Result<Sent, Withheld>, FixedState>;

/// What one walk over changed entries remembers.
struct Exporting {
    /// The only member. It is told nothing of its own routes, so that the Adj-RIB-Out need not have them.
    alone: Option<PeerId>,
    filter: Filter,
    memo: Memo,
    last: Option<(MemoKey, Result<Sent, Withheld>)>,
}

impl<P: NetPrefix> Group<P> {
    pub(crate) fn new(key: GroupKey) -> Self {
        Self {
            key,
            members: BTreeMap::new(),
            out: AdjRibOut::new(),
            buffer: BytesMut::new(),
            family: std::marker::PhantomData,
        }
    }

    pub(crate) fn member(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True if it tells several paths of a prefix.
    pub(crate) const fn adds_paths(&self) -> bool {
        self.key.max_paths > 0
    }

    /// Takes a member in; it gets what it lacks of the whole table.
    pub(crate) fn join(&mut self, member: Member, table: &Table<P>, path_ids: &mut PathIds, around: &Surroundings<'_>) {
        let peer = member.peer;
        let (is_first, alone) = (self.members.is_empty(), self.alone());
        let several = self.adds_paths();
        let lacks = |entry: &Entry<P>| match alone.filter(|_| !is_first) {
            None if several => !entry.paths.is_empty(),
            None => entry.best.is_some(),
            Some(alone) if several => entry.paths.iter().any(|path| path.source == alone),
            Some(alone) => entry.best.as_ref().is_some_and(|best| best.source == alone),
        };
        self.members.insert(peer, member);
        if is_first || alone.is_some() {
            let lacking: Vec<PrefixId> = table.iter().filter(|(_, it)| lacks(it)).map(|(id, _)| id).collect();
            let changes = self.export_all(&lacking, table, path_ids, around);
            self.note_for_others(peer, &changes);
        }
        let all = self.out.by_route();
        if let Some(member) = self.members.get_mut(&peer) {
            all.into_iter().for_each(|id| member.note(id, None));
        }
    }

    /// Paths may have gone since the last decision: the members that were here before must hear of it, too.
    fn note_for_others(&mut self, newcomer: PeerId, changes: &[(OutId, Option<Sent>)]) {
        let Self { members, out, .. } = self;
        for member in members.values_mut().filter(|it| it.peer != newcomer) {
            for (id, former) in changes {
                let sees = |sent: Option<&Sent>| sent.is_some_and(|it| it.is_visible_to(member.peer));
                if sees(former.as_ref()) || sees(out.get(*id).ok()) {
                    member.note(*id, former.as_ref());
                }
            }
        }
    }

    /// The only member.
    fn alone(&self) -> Option<PeerId> {
        self.members.keys().next().copied().filter(|_| self.members.len() == 1)
    }

    /// Lets a member go; its connection is gone.
    pub(crate) fn leave(&mut self, peer: PeerId) -> Option<Member> {
        self.members.remove(&peer)
    }

    /// Lets a member go to another group, with what it holds.
    pub(crate) fn part(&mut self, peer: PeerId) -> Option<(Member, Vec<(OutId, Held)>)> {
        let member = self.members.remove(&peer)?;
        let given = self.out.iter().filter(|(id, sent)| sent.is_visible_to(peer) && !member.has_queued(*id));
        let mut holdings: Vec<(OutId, Held)> = given.map(|(id, sent)| (id, Held::Route(sent.clone()))).collect();
        holdings.extend(member.queued());
        Some((member, holdings))
    }

    /// True if a member waits for something to be written.
    pub(crate) fn has_work(&self) -> bool {
        self.members.values().any(Member::has_work)
    }

    /// Sends a member everything again.
    pub(crate) fn refresh(&mut self, peer: PeerId, outbox: &mut Outbox) {
        let Self { members, out, .. } = self;
        if let Some(member) = members.get_mut(&peer) {
            member.begin_refresh(P::FAMILY, outbox);
            for id in out.by_route() {
                if out.get(id).is_ok_and(|sent| sent.is_visible_to(peer)) {
                    member.note_again(id);
                }
            }
        }
    }

    /// Brings the Adj-RIB-Out up to date with these entries; returns what changed, with the former state.
    fn export_all(
        &mut self,
        changed: &[PrefixId],
        table: &Table<P>,
        path_ids: &mut PathIds,
        around: &Surroundings<'_>,
    ) -> Vec<(OutId, Option<Sent>)> {
        let mut exporting = Exporting {
            alone: self.alone(),
            filter: Filter { recipient: self.key.recipient.clone(), last: None },
            memo: Memo::with_hasher(FixedState::default()),
            last: None,
        };
        let mut changes = Vec::with_capacity(changed.len());
        for id in changed {
            let entry = table.get(*id);
            if self.adds_paths() {
                self.export_paths(*id, entry, &mut exporting, path_ids, around, &mut changes);
                continue;
            }
            let new = match entry.and_then(|entry| Some((entry.prefix, entry.best.as_ref()?))) {
                None => Err(Withheld::NoPath),
                Some((prefix, best)) => self.export_one(prefix.into(), best, &mut exporting, around),
            };
            let place = OutId::from(*id);
            changes.extend(self.out.set(place, new).map(|former| (place, former)));
        }
        changes
    }

    /// [`Group::export_all`] of one prefix with ADD-PATH: the best paths up to the bound, and those they displace.
    fn export_paths(
        &mut self,
        id: PrefixId,
        entry: Option<&Entry<P>>,
        exporting: &mut Exporting,
        path_ids: &mut PathIds,
        around: &Surroundings<'_>,
        changes: &mut Vec<(OutId, Option<Sent>)>,
    ) {
        let paths = entry.map(|entry| &*entry.paths).unwrap_or_default();
        let mut told = Vec::new();
        for path in around.order.ranked(paths, self.key.max_paths) {
            let Some(prefix) = entry.map(|entry| entry.prefix.into()) else { break };
            let place = path_ids.place(id, path);
            told.push(place);
            let new = self.export_one(prefix, &Best::of(path), exporting, around);
            changes.extend(self.out.set(place, new).map(|former| (place, former)));
        }
        let displaced: Vec<OutId> = path_ids.of(id).iter().copied().filter(|place| !told.contains(place)).collect();
        for place in displaced {
            if path_ids.path(place, paths).is_none() {
                path_ids.note_gone(place);
            }
            changes.extend(self.out.set(place, Err(Withheld::NoPath)).map(|former| (place, former)));
        }
    }

    /// The form of a path for this group; the same as before for a path that differs in nothing that matters.
    fn export_one(
        &mut self,
        prefix: Prefix,
        best: &Best,
        exporting: &mut Exporting,
        around: &Surroundings<'_>,
    ) -> Result<Sent, Withheld> {
        if Some(best.source) == exporting.alone {
            return Err(Withheld::FromThisPeer);
        }
        let rule = exporting.filter.rule(prefix, best);
        let key = (best.attributes.identity(), best.local_pref, best.source, best.next_hop, rule);
        match &exporting.last {
            Some((former, result)) if *former == key => result.clone(),
            _ => {
                let result = exporting.memo.entry(key).or_insert_with(|| self.export_anew(best, rule, around)).clone();
                exporting.last = Some((key, result.clone()));
                result
            }
        }
    }

    fn export_anew(&mut self, best: &Best, rule: Option<RuleId>, around: &Surroundings<'_>) -> Result<Sent, Withheld> {
        let next_hop = best.next_hop.and_then(|id| around.order.next_hops.get(id));
        let source = around.order.sources.get(best.source);
        let recipient = &self.key.recipient;
        let rule = rule.and_then(|id| Some((id, recipient.filter.get(usize::from(id))?)));
        let exported = export(best, next_hop, source, recipient, around.cluster_id, rule)?;
        let (next_hop, owner) = match exported.next_hop {
            OutNextHop::Own(next_hop) => (next_hop, PeerId::NONE),
            OutNextHop::Kept(next_hop) => {
                (next_hop, around.peers.get(&next_hop.address()).copied().unwrap_or(PeerId::NONE))
            }
        };
        let route = self.out.intern(&exported.attributes, next_hop, P::FAMILY, self.key.send.four_octet_as);
        Ok(Sent { route, source: best.source, owner })
    }

    /// Takes over what was decided and writes what sockets have room for.
    pub(crate) fn update(
        &mut self,
        changed: &[PrefixId],
        table: &Table<P>,
        path_ids: &mut PathIds,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
        notes: &mut Vec<Note>,
    ) {
        let changes = self.export_all(changed, table, path_ids, around);
        if !changes.is_empty() {
            self.distribute(&changes, self.places(table, path_ids), outbox, notes);
        }
        self.drain_all(table, path_ids, around, outbox, notes);
    }

    /// Writes what is queued for members whose sockets have room, and End-of-RIB where it is due.
    pub(crate) fn drain_all(
        &mut self,
        table: &Table<P>,
        path_ids: &PathIds,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
        notes: &mut Vec<Note>,
    ) {
        let places = self.places(table, path_ids);
        let Self { key, members, out, buffer, .. } = self;
        for member in members.values_mut() {
            member.drain(&key.send, out, places, buffer, outbox, notes);
            if around.complete && member.finish(P::FAMILY, outbox) {
                notes.push(Note::EndOfRib(member.peer));
            }
        }
    }

    /// True if a member has a queue.
    pub(crate) fn has_queued(&self) -> bool {
        !self.members.values().all(Member::is_in_step)
    }

    fn places<'t>(&self, table: &'t Table<P>, path_ids: &'t PathIds) -> Places<'t, P> {
        Places { table, paths: self.adds_paths().then_some(path_ids) }
    }

    /// True if a place is in use, or a member may still hold what was there.
    pub(crate) fn refers_to(&self, id: OutId) -> bool {
        self.out.get(id).is_ok() || self.members.values().any(|member| member.has_queued(id))
    }

    /// What a member was given at a place, or why nothing.
    pub(crate) fn told(&self, peer: PeerId, id: OutId) -> Result<&Sent, Withheld> {
        let member = self.members.get(&peer).ok_or(Withheld::NotEstablished)?;
        let sent = self.out.get(id)?;
        if sent.source == peer {
            return Err(Withheld::FromThisPeer);
        }
        if sent.owner == peer {
            return Err(Withheld::NextHopUnusable);
        }
        if member.lacks(id, sent) { Err(Withheld::Pending) } else { Ok(sent) }
    }

    /// Number of paths that a member was given and not withdrawn from it.
    pub(crate) fn advertised(&self, peer: PeerId) -> u32 {
        let Some(member) = self.members.get(&peer) else { return 0 };
        let given = self.out.iter().filter(|(id, sent)| sent.is_visible_to(peer) && !member.has_queued(*id)).count();
        u32::try_from(given + member.held_in_queue()).unwrap_or(u32::MAX)
    }
}

/// The export filter of a group at work on one batch.
struct Filter {
    recipient: Recipient,
    /// The attributes last looked at.
    last: Option<(usize, u32, PathAttributes)>,
}

impl Filter {
    /// The rule that matches a best path.
    fn rule(&mut self, prefix: Prefix, best: &Best) -> Option<RuleId> {
        let Recipient { filter, internal, .. } = &self.recipient;
        if filter.is_empty() {
            return None;
        }
        let (identity, local_pref) = (best.attributes.identity(), best.local_pref);
        let (_, _, attributes) = match self.last.take() {
            Some(last) if (last.0, last.1) == (identity, local_pref) => self.last.insert(last),
            _ => self.last.insert((identity, local_pref, best.in_force())),
        };
        let subject = Subject { prefix, attributes, learned: best.source != PeerId::LOCAL, internal: *internal };
        first_match(filter, &subject).map(|(id, _): (_, &FilterRule)| id)
    }
}
