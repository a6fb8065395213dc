//! One peer of an update group: its queue.

use std::collections::VecDeque;

use bytes::BytesMut;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::adj_out::{AdjRibOut, Route, Sent};
use super::batch::CHUNK;
use super::path_ids::Places;
use super::{Note, OutId};
use crate::outbox::Outbox;
use crate::output::ConnId;
use crate::prefix::{Family, NetPrefix};
use crate::rib::PeerId;
use crate::wire::{
    EncodeContext, MessageKind, Nlri, RefreshKind, RouteRefresh, encode_route_refresh, end_of_rib, pack_block,
    pack_withdrawals,
};

/// Prefixes looked at before the socket is asked again.
const PIECE: usize = 4096;

/// What a member has of a prefix in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    Route(Sent),
    /// Something, and it shall be sent again even if it is the same.
    Stale,
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) peer: PeerId,
    pub(crate) conn: ConnId,
    queue: VecDeque<OutId>,
    held: HashMap<OutId, Held, FixedState>,
    end_of_rib_sent: bool,
    /// Begin-of-RIB was sent, and End-of-RIB of the refresh is due when the queue is empty (RFC 7313).
    refreshing: bool,
    enhanced_refresh: bool,
}

impl Member {
    pub(crate) fn new(peer: PeerId, conn: ConnId, enhanced_refresh: bool) -> Self {
        Self {
            peer,
            conn,
            queue: VecDeque::new(),
            held: HashMap::with_hasher(FixedState::default()),
            end_of_rib_sent: false,
            refreshing: false,
            enhanced_refresh,
        }
    }

    /// It has everything that the group's Adj-RIB-Out says.
    pub(crate) fn is_in_step(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a prefix of which it holds `former`. What is queued already stays as it is.
    pub(crate) fn note(&mut self, id: OutId, former: Option<&Sent>) {
        let Self { peer, queue, held, .. } = self;
        held.entry(id).or_insert_with(|| {
            queue.push_back(id);
            former.filter(|sent| sent.is_visible_to(*peer)).map_or(Held::Nothing, |sent| Held::Route(sent.clone()))
        });
    }

    /// Queues a prefix to be sent again, whatever it holds.
    pub(crate) fn note_again(&mut self, id: OutId) {
        let Self { queue, held, .. } = self;
        let state = held.entry(id).or_insert_with(|| {
            queue.push_back(id);
            Held::Stale
        });
        if *state != Held::Nothing {
            *state = Held::Stale;
        }
    }

    /// Moves what another group's member holds into the queue of this one, prefixes of which are in this order.
    pub(crate) fn take_over(&mut self, holdings: Vec<(OutId, Held)>) {
        let Self { queue, held, .. } = self;
        for (id, holding) in holdings {
            held.entry(id).or_insert_with(|| {
                queue.push_back(id);
                holding
            });
        }
    }

    /// What it holds of the prefixes in its queue.
    pub(crate) fn queued(&self) -> impl Iterator<Item = (OutId, Held)> {
        let holding = |id: &OutId| Some((*id, self.held.get(id)?.clone()));
        self.queue.iter().filter_map(holding).filter(|(_, held)| *held != Held::Nothing)
    }

    pub(crate) fn inherit_markers(&mut self, other: &Self) {
        self.end_of_rib_sent = other.end_of_rib_sent;
        self.refreshing = other.refreshing;
    }

    /// There is something to write for it.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.end_of_rib_sent || self.refreshing
    }

    pub(crate) fn has_queued(&self, id: OutId) -> bool {
        !self.held.is_empty() && self.held.contains_key(&id)
    }

    /// True if it has not been given this version of a prefix yet.
    pub(crate) fn lacks(&self, id: OutId, sent: &Sent) -> bool {
        match self.held.get(&id) {
            None | Some(Held::Stale) => false,
            Some(Held::Nothing) => true,
            Some(Held::Route(held)) => held.route != sent.route,
        }
    }

    /// Prefixes in the queue of which it holds some version.
    pub(crate) fn held_in_queue(&self) -> usize {
        self.held.values().filter(|it| **it != Held::Nothing).count()
    }

    pub(crate) fn begin_refresh(&mut self, family: Family, outbox: &mut Outbox) {
        // BoRR comes never before our End-of-RIB (RFC 7313 §4).
        if self.enhanced_refresh && self.end_of_rib_sent && !self.refreshing {
            self.refreshing = true;
            self.send_refresh(family, RefreshKind::Begin, outbox);
        }
    }

    fn send_refresh(&self, family: Family, kind: RefreshKind, outbox: &mut Outbox) {
        let bytes = encode_route_refresh(&RouteRefresh::new(family, kind));
        outbox.send(self.conn, MessageKind::RouteRefresh, 1, bytes);
    }

    /// Sends the markers that are due once nothing is queued. True if that was the first End-of-RIB.
    pub(crate) fn finish(&mut self, family: Family, outbox: &mut Outbox) -> bool {
        if !self.queue.is_empty() {
            return false;
        }
        if std::mem::take(&mut self.refreshing) {
            self.send_refresh(family, RefreshKind::End, outbox);
        }
        if std::mem::replace(&mut self.end_of_rib_sent, true) {
            return false;
        }
        outbox.send(self.conn, MessageKind::Update, 1, end_of_rib(family));
        true
    }

    /// Writes from the queue while the socket has room.
    pub(crate) fn drain<P: NetPrefix>(
        &mut self,
        context: &EncodeContext,
        out: &mut AdjRibOut,
        places: Places<'_, P>,
        buffer: &mut BytesMut,
        outbox: &mut Outbox,
        notes: &mut Vec<Note>,
    ) {
        while !self.queue.is_empty() && outbox.has_room(self.conn) {
            let piece = self.take_piece(out, places);
            let mut count = pack_withdrawals(context, piece.withdrawn, buffer);
            let mut runs = piece.announced.into_iter();
            for run in runs.by_ref() {
                count += self.announce(context, &run, out, places, buffer, notes);
                if buffer.len() >= CHUNK {
                    self.flush(std::mem::take(&mut count), buffer, outbox);
                    if !outbox.has_room(self.conn) {
                        break;
                    }
                }
            }
            self.flush(count, buffer, outbox);
            for run in runs.rev() {
                self.put_back(run);
            }
        }
        if self.queue.is_empty() {
            // A whole table may have been in it, and may never be again.
            self.queue.shrink_to(PIECE);
            self.held.shrink_to(PIECE);
        }
    }

    /// The next prefixes of the queue, compared with what the group says now.
    fn take_piece<P: NetPrefix>(&mut self, out: &AdjRibOut, places: Places<'_, P>) -> Piece<P> {
        let mut piece = Piece { withdrawn: Vec::new(), announced: Vec::new() };
        let mut index: HashMap<Route, usize, FixedState> = HashMap::with_hasher(FixedState::default());
        for _ in 0..PIECE {
            let Some(id) = self.queue.pop_front() else { break };
            let Some(held) = self.held.remove(&id) else { continue };
            let Some(nlri) = places.nlri(id) else { continue };
            let wanted = out.get(id).ok().filter(|sent| sent.is_visible_to(self.peer));
            match (wanted, held) {
                (None, Held::Nothing) => {}
                (None, _) => piece.withdrawn.push(nlri),
                (Some(wanted), Held::Route(held)) if wanted.route == held.route => {}
                (Some(wanted), held) => {
                    let next = piece.announced.len();
                    let at = match piece.announced.last() {
                        Some(last) if last.route == wanted.route => next - 1,
                        _ => *index.entry(wanted.route.clone()).or_insert(next),
                    };
                    if at == next {
                        piece.announced.push(Run { route: wanted.route.clone(), places: Vec::new() });
                    }
                    if let Some(run) = piece.announced.get_mut(at) {
                        run.places.push((id, nlri, held));
                    }
                }
            }
        }
        piece
    }

    fn put_back<P>(&mut self, run: Run<P>) {
        for (id, _, held) in run.places.into_iter().rev() {
            self.queue.push_front(id);
            self.held.insert(id, held);
        }
    }

    /// Packs a run; returns the number of messages.
    fn announce<P: NetPrefix>(
        &self,
        context: &EncodeContext,
        run: &Run<P>,
        out: &mut AdjRibOut,
        places: Places<'_, P>,
        buffer: &mut BytesMut,
        notes: &mut Vec<Note>,
    ) -> usize {
        let nlri = run.places.iter().map(|(_, nlri, _)| *nlri);
        let packed = pack_block(context, run.route.block(), run.route.next_hop(), nlri, buffer);
        match packed {
            Ok(count) => count,
            Err(unsent) => {
                super::batch::drop_unsent(&unsent, out, places, |prefix| {
                    notes.push(Note::TooLarge(self.peer, prefix.into()));
                });
                // What it holds is an older version, if anything.
                let left_out: HashSet<Nlri<P>, FixedState> = unsent.nlri.into_iter().collect();
                let had = run.places.iter().filter(|(_, nlri, held)| *held != Held::Nothing && left_out.contains(nlri));
                unsent.messages + pack_withdrawals(context, had.map(|(_, nlri, _)| *nlri), buffer)
            }
        }
    }

    fn flush(&self, count: usize, buffer: &mut BytesMut, outbox: &mut Outbox) {
        if count > 0 {
            outbox.send(self.conn, MessageKind::Update, count, buffer.split().freeze());
            buffer.reserve(CHUNK);
        }
    }
}

struct Piece<P> {
    withdrawn: Vec<Nlri<P>>,
    announced: Vec<Run<P>>,
}

/// Places that share a route.
struct Run<P> {
    route: Route,
    places: Vec<(OutId, Nlri<P>, Held)>,
}
