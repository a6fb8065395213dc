//! Choosing for one prefix: which path, which kernel route, and why the others lost.

use std::net::IpAddr;
use std::sync::Arc;

use super::table::Best;
use super::{Candidate, Entry, KernelRoute, NextHops, Options, Path, PeerId, Resolution, Sources, decide};
use crate::config::Multipath;
use crate::output::FibNextHop;
use crate::prefix::NetPrefix;
use crate::reason::{Refusal, Why};

/// Greatest weight of a kernel next hop.
const MAX_WEIGHT: f64 = 255.0;

/// What the order of paths depends on besides them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'s> {
    pub(crate) sources: &'s Sources,
    pub(crate) next_hops: &'s NextHops,
    pub(crate) options: Options,
    pub(crate) local_as: u32,
}

/// What selection depends on besides the entry.
pub(crate) struct Selector<'s> {
    pub(crate) order: Order<'s>,
    pub(crate) multipath: Multipath,
    /// The last route over several next hops: the next prefix often has the same, and shares it.
    pub(crate) last_route: Option<KernelRoute>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    pub(crate) best: bool,
    pub(crate) fib: bool,
}

impl Selector<'_> {
    /// Decides an entry anew. `install` is false for prefixes that the kernel never gets.
    pub(crate) fn select<P: NetPrefix>(&mut self, entry: &mut Entry<P>, install: bool) -> Changes {
        let (best, fib) = match &mut *entry.paths {
            [path] => self.only(path),
            paths => self.among(paths),
        };
        let fib = fib.filter(|it| install && !it.is_empty());
        let changes = Changes { best: entry.best != best, fib: entry.fib != fib };
        if changes.best {
            entry.best = best;
        }
        if changes.fib {
            entry.fib = fib;
        }
        changes
    }

    /// Sets `why` to the refusal of a path that is no candidate.
    fn is_candidate(&self, path: &mut Path) -> bool {
        let refusal = path.refusal().or_else(|| match path.next_hop.map(|id| self.order.next_hops.resolution(id)) {
            None | Some(Resolution::Reachable { .. }) => None,
            Some(Resolution::Unreachable) => Some(Refusal::NextHopUnreachable),
            Some(Resolution::Unknown) => Some(Refusal::NextHopUnresolved),
        });
        path.multipath = false;
        if let Some(refusal) = refusal {
            path.why = Why::Refused(refusal);
        }
        refusal.is_none()
    }

    fn only(&self, path: &mut Path) -> (Option<Best>, Option<KernelRoute>) {
        if !self.is_candidate(path) {
            return (None, None);
        }
        path.why = Why::Best;
        let fib = path.next_hop.and_then(|id| self.order.next_hops.route(id)).cloned();
        (Some(Best::of(path)), fib)
    }

    fn among(&mut self, paths: &mut [Path]) -> (Option<Best>, Option<KernelRoute>) {
        let mut eligible = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter_mut().enumerate() {
            if self.is_candidate(path) {
                eligible.push(index);
            }
        }
        let candidates: Vec<Candidate> =
            eligible.iter().filter_map(|index| paths.get(*index)).map(|path| self.order.candidate(path)).collect();
        let decision = decide(&candidates, self.order.options);
        for (index, loss) in eligible.iter().zip(&decision.losses) {
            if let Some(path) = paths.get_mut(*index) {
                path.why = loss.map_or(Why::Best, Why::Lost);
            }
        }
        let Some(best) = decision.best.and_then(|it| eligible.get(it)).and_then(|index| paths.get(*index)) else {
            return (None, None);
        };
        let chosen = Best::of(best);
        if chosen.source == PeerId::LOCAL {
            return (Some(chosen), None);
        }
        let equal: Vec<usize> = decision.equal.iter().filter_map(|it| eligible.get(*it)).copied().collect();
        let fib = self.multipath_route(paths, &equal);
        (Some(chosen), Some(fib))
    }

    /// The kernel route over the paths of equal cost, the best first.
    fn multipath_route(&mut self, paths: &mut [Path], equal: &[usize]) -> KernelRoute {
        let best = equal.first().and_then(|it| paths.get(*it)).map(|it| it.attributes.clone());
        let mut members: Vec<(FibNextHop, Option<f32>)> = Vec::with_capacity(equal.len());
        for index in equal {
            let Some(path) = paths.get_mut(*index) else { continue };
            let same_path = best.as_ref().is_some_and(|it| path.attributes.has_as_path_of(it));
            if !self.multipath.relax_as_path && !same_path {
                continue;
            }
            let Some([hop]) = path.next_hop.and_then(|id| self.order.next_hops.route(id)).map(|it| &it[..]) else {
                continue;
            };
            let known = members.iter().any(|(it, _)| it == hop);
            if !known && members.len() < self.multipath.max_paths.max(1) {
                members.push((*hop, bandwidth(path)));
                path.multipath = true;
            }
        }
        if members.len() == 1 {
            paths.iter_mut().for_each(|path| path.multipath = false);
            let next_hop = equal.first().and_then(|it| paths.get(*it)).and_then(|it| it.next_hop);
            return next_hop.and_then(|id| self.order.next_hops.route(id)).cloned().unwrap_or_default();
        }
        weigh(&mut members);
        let mut route: Vec<FibNextHop> = members.into_iter().map(|(hop, _)| hop).collect();
        route.sort_unstable();
        match &self.last_route {
            Some(last) if ***last == *route => last.clone(),
            _ => self.last_route.insert(Arc::new(route.into())).clone(),
        }
    }
}

impl Order<'_> {
    fn candidate(&self, path: &Path) -> Candidate {
        let attributes = path.attributes.summary();
        let source = self.sources.get(path.source);
        let router_id = attributes.originator_id.or(source.map(|it| it.identifier));
        Candidate {
            long_lived_stale: attributes.long_lived_stale,
            local_pref: path.local_pref,
            local: path.source == PeerId::LOCAL,
            as_path_length: attributes.as_path_length,
            origin: attributes.origin as u32,
            med: attributes.med.unwrap_or(0),
            neighbour_as: if attributes.as_path_is_empty { Some(self.local_as) } else { attributes.first_as },
            external: source.is_some_and(|it| !it.internal),
            metric: match path.next_hop.map(|id| self.next_hops.resolution(id)) {
                Some(Resolution::Reachable { metric }) => Some(metric),
                Some(_) => None,
                None => Some(0),
            },
            router_id: router_id.map_or(0, |it| it.to_bits()),
            cluster_list_length: attributes.cluster_list_length,
            peer_address: source.map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |it| it.address),
            path_id: path.path_id,
        }
    }

    /// The best paths that may be used, at most so many: the best one, the best without it, and so on. A path that is
    /// better for one speaker is so for the next; with any other order, speakers that tell each other several paths can
    /// take turns for ever.
    pub(crate) fn ranked<'p>(&self, paths: &'p [Path], most: usize) -> Vec<&'p Path> {
        let usable = paths.iter().filter(|path| matches!(path.why, Why::Best | Why::Lost(_)));
        let (mut left, mut candidates): (Vec<_>, Vec<_>) = usable.map(|path| (path, self.candidate(path))).unzip();
        let mut ranked = Vec::with_capacity(most.min(left.len()));
        while ranked.len() < most
            && let Some(best) = decide(&candidates, self.options).best
        {
            candidates.remove(best);
            ranked.push(left.remove(best));
        }
        ranked
    }
}

/// Link bandwidth in octets per second, if it is a usable number.
fn bandwidth(path: &Path) -> Option<f32> {
    path.attributes.summary().link_bandwidth.filter(|it| it.is_finite() && *it > 0.0)
}

/// Weights by link bandwidth if every member has one, else equal ones (RFC 10005).
fn weigh(members: &mut [(FibNextHop, Option<f32>)]) {
    let Some(all) = members.iter().map(|(_, it)| *it).collect::<Option<Vec<f32>>>() else { return };
    let most = f64::from(all.into_iter().fold(f32::MIN_POSITIVE, f32::max));
    for (hop, bandwidth) in members {
        let share = f64::from(bandwidth.unwrap_or(0.0)) / most;
        hop.weight = (share * MAX_WEIGHT).round().clamp(1.0, MAX_WEIGHT) as u16;
    }
}
