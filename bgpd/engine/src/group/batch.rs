//! One batch of changes, written once for all members in step.

use bytes::BytesMut;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::adj_out::{AdjRibOut, Route, Sent};
use super::path_ids::Places;
use super::{Group, GroupKey, Note, OutId};
use crate::outbox::Outbox;
use crate::output::ConnId;
use crate::prefix::NetPrefix;
use crate::reason::Withheld;
use crate::rib::PeerId;
use crate::wire::{EncodeContext, MessageKind, Nlri, Unsent, pack_block, pack_withdrawals};

/// Octets collected before they are handed on.
pub(super) const CHUNK: usize = 64 * 1024;

/// Members that a shared message is not for. A change concerns at most the sources and next-hop owners of the old and the
/// new state.
type Excluded = [PeerId; 4];

const NOBODY: Excluded = [PeerId::NONE; 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Announcement,
    Withdrawal,
}

fn need(same_route: bool, before: bool, after: bool) -> Need {
    match (before, after) {
        (true, true) if same_route => Need::Nothing,
        (_, true) => Need::Announcement,
        (true, false) => Need::Withdrawal,
        (false, false) => Need::Nothing,
    }
}

/// Changes that go into the same messages.
struct Bucket {
    /// `None` for withdrawals.
    route: Option<Route>,
    excluded: Excluded,
    /// Indices of changes.
    changes: Vec<u32>,
}

/// A place with its former state.
type Change = (OutId, Option<Sent>);

/// The members in step at the beginning of a batch.
type InStep = Vec<(PeerId, ConnId)>;

impl<P: NetPrefix> Group<P> {
    /// Hands changes of the Adj-RIB-Out to the members: in shared messages to those in step, into the queues of the others.
    pub(super) fn distribute(
        &mut self,
        changes: &[Change],
        places: Places<'_, P>,
        outbox: &mut Outbox,
        notes: &mut Vec<Note>,
    ) {
        let mut in_step = InStep::new();
        for member in self.members.values_mut() {
            if member.is_in_step() && outbox.has_room(member.conn) {
                in_step.push((member.peer, member.conn));
                continue;
            }
            for (id, former) in changes {
                member.note(*id, former.as_ref());
            }
        }
        if in_step.is_empty() {
            return;
        }
        let buckets = self.sort_into_buckets(changes, &in_step);
        let mut left = buckets.as_slice();
        while !left.is_empty() {
            self.split_off(&mut in_step, left, changes, outbox);
            if in_step.is_empty() {
                return;
            }
            left = self.write_chunk(left, changes, &in_step, places, outbox, notes);
        }
    }

    /// Withdrawals first, then announcements by route, each in order of the changes.
    fn sort_into_buckets(&mut self, changes: &[Change], in_step: &InStep) -> Vec<Bucket> {
        let Self { members, out, .. } = self;
        let is_in_step = |peer: PeerId| in_step.binary_search_by_key(&peer, |it| it.0).is_ok();
        let mut index: HashMap<(Route, Excluded), usize, FixedState> = HashMap::with_hasher(FixedState::default());
        let mut withdrawals: Vec<Bucket> = Vec::new();
        let mut announcements: Vec<Bucket> = Vec::new();
        for (number, (id, former)) in changes.iter().enumerate() {
            let new = out.get(*id).ok();
            let same_route = matches!((former, new), (Some(old), Some(new)) if old.route == new.route);
            let common = need(same_route, former.is_some(), new.is_some());
            let mut excluded = NOBODY;
            let concerned =
                [former.as_ref(), new].map(|sent| sent.map_or([PeerId::NONE; 2], |it| [it.source, it.owner]));
            let mut concerned = concerned.into_iter().flatten();
            for slot in &mut excluded {
                let Some(peer) = concerned.next() else { break };
                if !is_in_step(peer) {
                    continue;
                }
                let sees = |sent: Option<&Sent>| sent.is_some_and(|it| it.is_visible_to(peer));
                let own = need(same_route, sees(former.as_ref()), sees(new));
                if own == common {
                    continue;
                }
                *slot = peer;
                if own != Need::Nothing
                    && let Some(member) = members.get_mut(&peer)
                {
                    member.note(*id, former.as_ref());
                }
            }
            excluded.sort_unstable();
            match (common, new) {
                (Need::Withdrawal, _) => push(&mut withdrawals, None, excluded, number),
                (Need::Announcement, Some(new)) => {
                    add(&mut announcements, &mut index, &new.route, excluded, number);
                }
                _ => {}
            }
        }
        withdrawals.append(&mut announcements);
        withdrawals
    }

    /// Members whose sockets are full leave the step: what is not written yet goes into their queues.
    fn split_off(&mut self, in_step: &mut InStep, left: &[Bucket], changes: &[Change], outbox: &Outbox) {
        let members = &mut self.members;
        in_step.retain(|(peer, conn)| {
            if outbox.has_room(*conn) {
                return true;
            }
            let Some(member) = members.get_mut(peer) else { return false };
            for bucket in left.iter().filter(|it| !it.excluded.contains(peer)) {
                for (id, former) in changes_of(bucket, changes) {
                    member.note(*id, former.as_ref());
                }
            }
            false
        });
    }

    /// Packs buckets with the same receivers until a chunk is full and hands it on. Returns the buckets that are left.
    fn write_chunk<'b>(
        &mut self,
        buckets: &'b [Bucket],
        changes: &[Change],
        in_step: &InStep,
        places: Places<'_, P>,
        outbox: &mut Outbox,
        notes: &mut Vec<Note>,
    ) -> &'b [Bucket] {
        let Self { key: GroupKey { send, .. }, out, buffer, .. } = self;
        let excluded = buckets.first().map_or(NOBODY, |it| it.excluded);
        let mut packed = Packed { context: send, out, places, buffer, messages: 0 };
        let mut written = 0;
        for bucket in buckets {
            if bucket.excluded != excluded || packed.buffer.len() >= CHUNK {
                break;
            }
            packed.bucket(bucket, changes, |prefix| {
                let receivers = in_step.iter().filter(|(peer, _)| !excluded.contains(peer));
                notes.extend(receivers.map(|(peer, _)| Note::TooLarge(*peer, prefix.into())));
            });
            written += 1;
        }
        let messages = packed.messages;
        if messages > 0 {
            let bytes = self.buffer.split().freeze();
            for (peer, conn) in in_step.iter().filter(|(peer, _)| !excluded.contains(peer)) {
                debug_assert!(self.members.contains_key(peer), "only members are in step");
                outbox.send(*conn, MessageKind::Update, messages, bytes.clone());
            }
            self.buffer.reserve(CHUNK);
        }
        buckets.get(written..).unwrap_or_default()
    }
}

fn add(
    buckets: &mut Vec<Bucket>,
    index: &mut HashMap<(Route, Excluded), usize, FixedState>,
    route: &Route,
    excluded: Excluded,
    number: usize,
) {
    let fits = |bucket: &Bucket| bucket.excluded == excluded && bucket.route.as_ref() == Some(route);
    if let Some(last) = buckets.last_mut().filter(|it| fits(it)) {
        last.changes.push(number as u32);
        return;
    }
    let next = buckets.len();
    match *index.entry((route.clone(), excluded)).or_insert(next) {
        at if at < next => {
            if let Some(bucket) = buckets.get_mut(at) {
                bucket.changes.push(number as u32);
            }
        }
        _ => push(buckets, Some(route.clone()), excluded, number),
    }
}

fn push(buckets: &mut Vec<Bucket>, route: Option<Route>, excluded: Excluded, number: usize) {
    match buckets.iter_mut().rev().take(1).find(|it| it.route.is_none() && route.is_none() && it.excluded == excluded) {
        Some(bucket) => bucket.changes.push(number as u32),
        None => buckets.push(Bucket { route, excluded, changes: vec![number as u32] }),
    }
}

fn changes_of<'c>(bucket: &'c Bucket, changes: &'c [Change]) -> impl Iterator<Item = &'c Change> {
    bucket.changes.iter().filter_map(|number| changes.get(*number as usize))
}

/// Messages being packed.
struct Packed<'p, P> {
    context: &'p EncodeContext,
    out: &'p mut AdjRibOut,
    places: Places<'p, P>,
    buffer: &'p mut BytesMut,
    messages: usize,
}

impl<P: NetPrefix> Packed<'_, P> {
    fn bucket(&mut self, bucket: &Bucket, changes: &[Change], too_large: impl FnMut(P)) {
        let places = self.places;
        let prefixes = changes_of(bucket, changes).filter_map(|(id, _)| places.nlri(*id));
        let Some(route) = &bucket.route else {
            self.messages += pack_withdrawals(self.context, prefixes, self.buffer);
            return;
        };
        match pack_block(self.context, route.block(), route.next_hop(), prefixes, self.buffer) {
            Ok(messages) => self.messages += messages,
            Err(unsent) => {
                self.messages += unsent.messages;
                drop_unsent(&unsent, self.out, places, too_large);
                let unsent: HashSet<Nlri<P>, FixedState> = unsent.nlri.into_iter().collect();
                let had = changes_of(bucket, changes).filter(|(_, former)| former.is_some());
                let former = had.filter_map(|(id, _)| places.nlri(*id)).filter(|it| unsent.contains(it));
                self.messages += pack_withdrawals(self.context, former, self.buffer);
            }
        }
    }
}

/// Marks routes that fit into no message as not told.
pub(super) fn drop_unsent<P: NetPrefix>(
    unsent: &Unsent<P>,
    out: &mut AdjRibOut,
    places: Places<'_, P>,
    mut each: impl FnMut(P),
) {
    for nlri in &unsent.nlri {
        if let Some(id) = places.find(nlri) {
            out.set(id, Err(Withheld::TooLarge));
        }
        each(nlri.prefix);
    }
}
