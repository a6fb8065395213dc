//! Routes and reasons: what the decisions left behind, read out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Speaker;
use super::tables::FamilyTables;
use crate::prefix::{Family, Ipv4Prefix, Ipv6Prefix, NetPrefix, Prefix};
use crate::reason::{Refusal, Why, Withheld};
use crate::rib::{Entry, Path, PeerId, PrefixId, Staleness};
use crate::status::{Explanation, RouteQuery, RouteStatus, RouteTable};

/// A table with the peer it belongs to looked up.
#[derive(Clone, Copy)]
enum View {
    LocRib,
    Received(PeerId),
    Accepted(PeerId),
    Rejected(PeerId),
    Advertised(PeerId),
    Withheld(PeerId),
}

impl Speaker {
    /// Routes, sorted by prefix, best path first.
    #[must_use]
    pub fn routes(&self, query: &RouteQuery) -> Vec<RouteStatus> {
        let peer = |name: &str| self.names.get(name).copied();
        let view = match &query.table {
            RouteTable::LocRib => Some(View::LocRib),
            RouteTable::Received(name) => peer(name).map(View::Received),
            RouteTable::Accepted(name) => peer(name).map(View::Accepted),
            RouteTable::Rejected(name) => peer(name).map(View::Rejected),
            RouteTable::Advertised(name) => peer(name).map(View::Advertised),
            RouteTable::Withheld(name) => peer(name).map(View::Withheld),
        };
        let Some(view) = view else { return Vec::new() };
        let wants = |family| query.family.is_none_or(|it| it == family);
        let mut routes = Vec::new();
        if wants(Family::Ipv4Unicast) {
            self.routes_of(&self.tables.v4, view, query, &mut routes);
        }
        if wants(Family::Ipv6Unicast) {
            self.routes_of(&self.tables.v6, view, query, &mut routes);
        }
        routes
    }

    fn routes_of<P: NetPrefix>(
        &self,
        family: &FamilyTables<P>,
        view: View,
        query: &RouteQuery,
        routes: &mut Vec<RouteStatus>,
    ) {
        let mut ids: Vec<(P, PrefixId)> = match query.prefix.map(P::from_prefix) {
            Some(None) => Vec::new(),
            Some(Some(prefix)) if !query.longer => {
                family.table.find(&prefix).map(|id| (prefix, id)).into_iter().collect()
            }
            filter => {
                let covered = |it: &P| filter.flatten().is_none_or(|prefix| prefix.covers(it));
                family.table.iter().map(|(id, it)| (it.prefix, id)).filter(|(prefix, _)| covered(prefix)).collect()
            }
        };
        ids.sort_unstable_by_key(|it| it.0);
        for (_, id) in ids {
            if let Some(entry) = family.table.get(id) {
                self.view_entry(family, id, entry, view, routes);
            }
        }
    }

    fn view_entry<P: NetPrefix>(
        &self,
        family: &FamilyTables<P>,
        id: PrefixId,
        entry: &Entry<P>,
        view: View,
        routes: &mut Vec<RouteStatus>,
    ) {
        let of = |peer: PeerId| entry.paths.iter().filter(move |path| path.source == peer);
        match view {
            View::LocRib => routes.extend(self.candidates(entry)),
            View::Received(peer) => routes.extend(of(peer).map(|path| RouteStatus {
                attributes: Arc::new(path.attributes.received().value()),
                ..self.route(entry, path)
            })),
            View::Accepted(peer) => {
                routes.extend(of(peer).filter(|it| it.refusal().is_none()).map(|path| self.route(entry, path)));
            }
            View::Rejected(peer) => {
                routes.extend(of(peer).filter(|it| it.refusal().is_some()).map(|path| self.route(entry, path)));
            }
            View::Advertised(peer) => {
                for (path_id, place, sent) in family.told(id, entry, peer).unwrap_or_default() {
                    let path = place.and_then(|place| family.path_ids.path(place, &entry.paths));
                    let route = path.map(|path| self.route(entry, path)).or_else(|| self.best_route(entry));
                    routes.extend(route.map(|route| RouteStatus {
                        next_hop: Some(*sent.route.next_hop()),
                        attributes: Arc::new(family.attributes_sent(peer, sent)),
                        path_id,
                        ..route
                    }));
                }
            }
            View::Withheld(peer) => {
                if let (Err(withheld), Some(best)) = (family.told(id, entry, peer), self.best_route(entry)) {
                    let rule = self.export_rule(peer, P::FAMILY, withheld);
                    routes.push(RouteStatus { withheld: Some(withheld), rule, ..best });
                }
            }
        }
    }

    fn best_route<P: NetPrefix>(&self, entry: &Entry<P>) -> Option<RouteStatus> {
        let path = entry.paths.iter().find(|path| is_best(entry, path))?;
        Some(self.route(entry, path))
    }

    /// Every path, best first, refused ones last.
    fn candidates<P: NetPrefix>(&self, entry: &Entry<P>) -> Vec<RouteStatus> {
        let mut paths: Vec<&Path> = entry.paths.iter().collect();
        paths.sort_by_key(|path| {
            let rank = match path.why {
                _ if is_best(entry, path) => 0,
                Why::Best | Why::Undecided | Why::Deferred => 1,
                // Those that survived longest come first.
                Why::Lost(loss) => 100 - loss.step as u32,
                Why::Refused(_) => 200,
            };
            (rank, self.tables.shared.sources.get(path.source).map(|it| it.address), path.path_id)
        });
        paths.into_iter().map(|path| self.route(entry, path)).collect()
    }

    pub(super) fn source_name(&self, id: PeerId) -> Arc<str> {
        self.get(id).filter(|_| id != PeerId::LOCAL).map_or_else(|| "local".into(), |peer| peer.name.clone())
    }

    fn route<P: NetPrefix>(&self, entry: &Entry<P>, path: &Path) -> RouteStatus {
        let attributes = path.in_force();
        let best = is_best(entry, path);
        let deferred = path.why == Why::Undecided && self.deferral.is_waiting(P::FAMILY);
        RouteStatus {
            prefix: entry.prefix.into(),
            peer: self.source_name(path.source),
            next_hop: path.next_hop.and_then(|id| self.tables.shared.next_hops.get(id)),
            local_pref: attributes.local_pref.unwrap_or(0),
            attributes: Arc::new(attributes),
            best,
            multipath: path.multipath,
            installed: entry.fib_confirmed && (best || path.multipath),
            stale: path.staleness > Staleness::Fresh,
            path_id: path.path_id,
            why: if deferred { Why::Deferred } else { path.why },
            withheld: None,
            rule: self.import_rule(path, P::FAMILY),
        }
    }

    fn import_rule(&self, path: &Path, family: Family) -> Option<Arc<str>> {
        let Some(Refusal::Filter(id)) = path.refusal() else { return None };
        self.get(path.source)?.config.filters.import_rule(family, id)
    }

    fn export_rule(&self, peer: PeerId, family: Family, withheld: Withheld) -> Option<Arc<str>> {
        let Withheld::Filter(id) = withheld else { return None };
        self.get(peer)?.config.filters.export_rule(family, id)
    }

    /// Why a prefix goes where it goes; `None` if it is unknown.
    #[must_use]
    pub fn explain(&self, prefix: Prefix) -> Option<Explanation> {
        match prefix {
            Prefix::V4(prefix) => self.explain_in(&self.tables.v4, prefix),
            Prefix::V6(prefix) => self.explain_in(&self.tables.v6, prefix),
        }
    }

    fn explain_in<P: NetPrefix>(&self, family: &FamilyTables<P>, prefix: P) -> Option<Explanation> {
        let id = family.table.find(&prefix)?;
        let entry = family.table.get(id).filter(|it| !it.paths.is_empty())?;
        let mut advertised = Vec::new();
        let mut withheld = Vec::new();
        let mut rules = BTreeMap::new();
        for (name, peer) in &self.names {
            match family.told(id, entry, *peer) {
                Ok(_) => advertised.push(name.clone()),
                Err(reason) => {
                    withheld.push((name.clone(), reason));
                    rules.extend(self.export_rule(*peer, P::FAMILY, reason).map(|rule| (name.clone(), rule)));
                }
            }
        }
        Some(Explanation {
            prefix: prefix.into(),
            candidates: self.candidates(entry),
            wanted: entry.fib.is_some(),
            installed: entry.fib_confirmed,
            advertised,
            withheld,
            rules,
            origins: self.origins.causes(prefix.into()),
        })
    }

    /// The longest prefix with a candidate that holds an address.
    #[must_use]
    pub fn longest_match(&self, address: IpAddr) -> Option<Prefix> {
        match address {
            IpAddr::V4(address) => {
                let prefixes = (0..=32).rev().filter_map(|length| Ipv4Prefix::new(address, length));
                first_known(&self.tables.v4, prefixes)
            }
            IpAddr::V6(address) => {
                let prefixes = (0..=128).rev().filter_map(|length| Ipv6Prefix::new(address, length));
                first_known(&self.tables.v6, prefixes)
            }
        }
    }
}

fn is_best<P: NetPrefix>(entry: &Entry<P>, path: &Path) -> bool {
    path.why == Why::Best && entry.best.as_ref().is_some_and(|best| best.source == path.source)
}

fn first_known<P: NetPrefix>(family: &FamilyTables<P>, mut prefixes: impl Iterator<Item = P>) -> Option<Prefix> {
    let known = |prefix: &P| family.table.find(prefix).and_then(|id| family.table.get(id));
    prefixes.find(|prefix| known(prefix).is_some_and(|entry| !entry.paths.is_empty())).map(Into::into)
}
