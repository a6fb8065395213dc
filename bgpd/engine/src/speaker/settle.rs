//! Settling: deciding what is marked, and telling everybody.

use super::Speaker;
use super::tables::{FamilyTables, Shared};
use crate::group::{Group, Note, Surroundings};
use crate::outbox::Outbox;
use crate::output::{Event, FibUpdate, InstallResult};
use crate::prefix::{Family, NetPrefix, Prefix};
use crate::reason::{Refusal, Why};
use crate::rib::{Best, Entry, Options, Order, PeerId, PrefixId, Selector, Table};

/// What settling one family needs of the speaker.
struct Settling<'s> {
    selector_options: Options,
    multipath: crate::config::Multipath,
    local_as: u32,
    cluster_id: std::net::Ipv4Addr,
    /// End-of-RIB may be sent.
    complete: bool,
    outbox: &'s mut Outbox,
    notes: Vec<Note>,
    /// Prefixes whose best path changed, with its new source, if somebody watches.
    watched: Option<Vec<(Prefix, Option<PeerId>)>>,
    /// The former process may have left a kernel route.
    kernel_is_stale: bool,
    /// The shell writes kernel routes.
    installs: bool,
}

impl Speaker {
    /// Decides everything that is marked and generates what follows from it. Cheap if nothing happened.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        if std::mem::take(&mut self.next_hops_changed) {
            self.revise_next_hops();
        }
        self.review_deferral();
        for family in Family::ALL {
            self.settle_family(family);
        }
        self.tables.shared.next_hops.sweep();
        self.note_updates_sent();
    }

    /// Marks what depends on next hops whose resolution changed, in one walk for all of them.
    fn revise_next_hops(&mut self) {
        let Shared { next_hops, .. } = &mut self.tables.shared;
        self.tables.v4.table.revise(|_, path| path.next_hop.is_some_and(|id| next_hops.changed(id)));
        self.tables.v6.table.revise(|_, path| path.next_hop.is_some_and(|id| next_hops.changed(id)));
        next_hops.clear_changed();
    }

    fn settle_family(&mut self, family: Family) {
        if self.deferral.is_waiting(family) {
            return;
        }
        let mut settling = Settling {
            selector_options: Options { always_compare_med: self.config.always_compare_med },
            multipath: self.config.multipath,
            local_as: self.config.local_as,
            cluster_id: self.config.cluster_id.unwrap_or(self.config.router_id),
            complete: self.origins.are_known(),
            outbox: &mut self.outbox,
            notes: Vec::new(),
            watched: self.watch_routes.then(Vec::new),
            kernel_is_stale: self.config.restarted && self.deferral.kernel_is_stale(family),
            installs: self.config.installs_routes,
        };
        match family {
            Family::Ipv4Unicast => settling.run(&mut self.tables.v4, &mut self.tables.shared),
            Family::Ipv6Unicast => settling.run(&mut self.tables.v6, &mut self.tables.shared),
        }
        let Settling { notes, watched, .. } = settling;
        for note in notes {
            self.take_note(family, note);
        }
        for (prefix, source) in watched.into_iter().flatten() {
            let best = source.map(|id| self.source_name(id));
            self.events.push_back(Event::RouteChanged { prefix, best });
        }
    }

    fn take_note(&mut self, family: Family, note: Note) {
        match note {
            Note::EndOfRib(id) => {
                if let Some(peer) = self.peers.get_mut(id.index()) {
                    peer.end_of_rib_sent[family] = true;
                    peer.told_end_of_rib = true;
                }
            }
            Note::TooLarge(id, prefix) => {
                if let Some(peer) = self.get(id).map(|it| it.name.clone()) {
                    self.events.push_back(Event::TooLarge { peer, prefix });
                }
            }
        }
    }

    /// UPDATEs that were sent put off the next KEEPALIVE.
    fn note_updates_sent(&mut self) {
        for conn in self.outbox.take_updated() {
            let peer = self.conns.get(&conn).and_then(|id| self.peers.get_mut(id.index()));
            if let Some(connection) = peer.and_then(|it| it.established.as_mut()) {
                connection.state.update_sent(self.now, &mut self.random);
            }
        }
    }

    pub(super) fn next_fib(&mut self) -> Option<FibUpdate> {
        let routes = next_fib_of(&mut self.tables.v4.table).or_else(|| next_fib_of(&mut self.tables.v6.table));
        // A sweep takes what the routes before it do not replace.
        routes.or_else(|| self.fib.pop_front())
    }

    /// What became of a [`FibUpdate`].
    pub fn handle_installed(&mut self, prefix: Prefix, result: InstallResult) {
        match prefix {
            Prefix::V4(prefix) => confirm(&mut self.tables.v4.table, prefix, result),
            Prefix::V6(prefix) => confirm(&mut self.tables.v6.table, prefix, result),
        }
    }
}

fn next_fib_of<P: NetPrefix>(table: &mut Table<P>) -> Option<FibUpdate> {
    while let Some(entry) = table.pop_fib() {
        let prefix = entry.prefix.into();
        match &entry.fib {
            Some(next_hops) => {
                entry.fib_told = true;
                return Some(FibUpdate::Replace { prefix, next_hops: (**next_hops).clone() });
            }
            None if std::mem::take(&mut entry.fib_told) => return Some(FibUpdate::Remove { prefix }),
            None => {}
        }
    }
    None
}

fn confirm<P: NetPrefix>(table: &mut Table<P>, prefix: P, result: InstallResult) {
    let Some(entry) = table.find(&prefix).and_then(|id| table.get_mut(id)) else { return };
    let confirmed = result == InstallResult::Installed && entry.fib.is_some();
    let before = std::mem::replace(&mut entry.fib_confirmed, confirmed);
    table.fib_confirmed = table.fib_confirmed + u32::from(confirmed) - u32::from(before);
}

impl Settling<'_> {
    fn run<P: NetPrefix>(&mut self, family: &mut FamilyTables<P>, shared: &mut Shared) {
        let dirty = family.table.take_dirty();
        let mut changed = self.decide(&dirty, &mut family.table, shared);
        changed.append(&mut family.exported_anew);
        // With ADD-PATH a path counts that is not the best, too.
        let decided = if family.groups.iter().any(Group::adds_paths) {
            changed.iter().copied().chain(dirty).collect()
        } else {
            Vec::new()
        };
        let attention = std::mem::take(&mut family.attention);
        if changed.is_empty() && decided.is_empty() && !attention {
            return;
        }
        let Shared { sources, next_hops, addresses, .. } = shared;
        let order = Order { sources, next_hops, options: self.selector_options, local_as: self.local_as };
        let around = Surroundings { order, cluster_id: self.cluster_id, peers: addresses, complete: self.complete };
        let FamilyTables { table, groups, path_ids, .. } = family;
        for group in groups.iter_mut() {
            let changed = if group.adds_paths() { &decided } else { &changed };
            if !changed.is_empty() {
                group.update(changed, table, path_ids, &around, self.outbox, &mut self.notes);
            } else if group.has_work() {
                group.drain_all(table, path_ids, &around, self.outbox, &mut self.notes);
            }
        }
        family.sweep();
    }

    /// Decides the dirty entries; returns those whose best path changed.
    fn decide<P: NetPrefix>(&mut self, dirty: &[PrefixId], table: &mut Table<P>, shared: &Shared) -> Vec<PrefixId> {
        let mut selector = Selector {
            order: Order {
                sources: &shared.sources,
                next_hops: &shared.next_hops,
                options: self.selector_options,
                local_as: self.local_as,
            },
            multipath: self.multipath,
            last_route: None,
        };
        let mut changed = Vec::new();
        for id in dirty.iter().copied() {
            let Some(entry) = table.get_mut(id) else { continue };
            let had = (entry.best.is_some(), entry.fib.is_some(), entry.fib_confirmed);
            let install = !shared.guards.never_installed(entry.prefix.into());
            let changes = selector.select(entry, install);
            // A stale kernel route goes once its prefix is decided; while a next hop is still being resolved, it is not.
            let stale_goes = self.kernel_is_stale
                && entry.fib.is_none()
                && entry.paths.iter().any(|it| it.next_hop.is_some())
                && !awaits(entry);
            entry.fib_told |= stale_goes;
            if changes.best {
                changed.push(id);
                if let Some(watched) = &mut self.watched {
                    watched.push((entry.prefix.into(), entry.best.as_ref().map(|it: &Best| it.source)));
                }
            }
            let has = (entry.best.is_some(), entry.fib.is_some());
            if changes.fib {
                entry.fib_confirmed = has.1 && !self.installs;
                let confirmed = u32::from(entry.fib_confirmed);
                table.fib_confirmed = table.fib_confirmed + confirmed - u32::from(had.2);
            }
            table.best = table.best + u32::from(has.0) - u32::from(had.0);
            table.fib_wanted = table.fib_wanted + u32::from(has.1) - u32::from(had.1);
            if self.installs && (changes.fib || stale_goes) {
                table.queue_fib(id);
            }
            if !has.0 {
                table.note_empty(id);
            }
        }
        changed
    }
}

/// True while a path waits for its next hop to be resolved for the first time.
fn awaits<P>(entry: &Entry<P>) -> bool {
    entry.paths.iter().any(|path| path.why == Why::Refused(Refusal::NextHopUnresolved))
}
