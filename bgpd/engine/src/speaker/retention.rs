//! What is kept of a peer whose session was lost (RFC 4724 §4.2, RFC 9494 §4.2).

use std::time::Duration;

use super::Speaker;
use super::tables::{FamilyTables, Shared};
use crate::output::{DownReason, Event as Said};
use crate::prefix::{Family, NetPrefix, PerFamily};
use crate::restart::{Expired, retains};
use crate::rib::{PeerId, Staleness};
use crate::session::Negotiated;

impl Speaker {
    pub(super) fn session_lost(&mut self, id: PeerId, reason: &DownReason, session: &Negotiated) {
        self.tables.leave(id);
        let now = self.now;
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        let keeps = retains(reason, session) && peer.config.graceful_restart.enabled;
        let mut kept = PerFamily::default();
        if keeps {
            let time = peer.retention.begin(now, session);
            kept = peer.retention.families;
            self.events.push_back(Said::StaleRetained { peer: peer.name.clone(), time });
        } else {
            peer.retention = Default::default();
        }
        for family in Family::ALL {
            let long_lived = self.get(id).is_some_and(|it| it.retention.is_long_lived(family));
            // Routes stale from an earlier restart go first (RFC 4724 §4.2), unless they may live long (RFC 9494 §4.2).
            let stale_goes = !long_lived;
            self.tables.purge(family, id, |path| !kept[family] || (stale_goes && path.staleness > Staleness::Fresh));
            if kept[family] {
                self.mark_stale(id, family);
            }
        }
    }

    /// Removes what a peer did not announce again.
    pub(super) fn drop_stale(&mut self, id: PeerId, family: Family) {
        let routes = self.tables.purge(family, id, |path| path.staleness > Staleness::Fresh);
        if let Some(peer) = self.get(id).filter(|_| routes > 0) {
            self.events.push_back(Said::StaleRemoved { peer: peer.name.clone(), family, routes });
        }
    }

    fn mark_stale(&mut self, id: PeerId, family: Family) {
        let mut marked = 0;
        let mut mark = |path: &mut crate::rib::Path| {
            if path.source == id {
                path.staleness = path.staleness.max(Staleness::Stale);
                path.unrefreshed = false;
                marked += 1;
            }
            false
        };
        match family {
            Family::Ipv4Unicast => self.tables.v4.table.revise(|_, path| mark(path)),
            Family::Ipv6Unicast => self.tables.v6.table.revise(|_, path| mark(path)),
        }
        if let Some(counts) = self.tables.shared.sources.counts_mut(id, family) {
            counts.stale = marked;
        }
    }

    pub(super) fn expire_retention(&mut self, id: PeerId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(id.index()) else { return };
        if peer.retention.deadline().is_none_or(|at| at > now) {
            return;
        }
        for (family, expired) in peer.retention.expire(now) {
            match expired {
                Expired::Gone => self.drop_stale(id, family),
                Expired::LongLived(time) => self.begin_long_lived(id, family, time),
            }
        }
    }

    /// Stale routes become a last resort; those that must not go (RFC 9494 §4.2).
    fn begin_long_lived(&mut self, id: PeerId, family: Family, time: Duration) {
        self.tables.purge(family, id, |path| {
            path.staleness > Staleness::Fresh && path.attributes.received().summary().no_long_lived
        });
        match family {
            Family::Ipv4Unicast => demote(id, &mut self.tables.v4, &mut self.tables.shared),
            Family::Ipv6Unicast => demote(id, &mut self.tables.v6, &mut self.tables.shared),
        }
        if let Some(peer) = self.get(id) {
            self.events.push_back(Said::LongLivedRetained { peer: peer.name.clone(), family, time });
        }
    }
}

fn demote<P: NetPrefix>(id: PeerId, family: &mut FamilyTables<P>, shared: &mut Shared) {
    family.table.revise(|_, path| {
        if path.source != id || path.staleness != Staleness::Stale {
            return false;
        }
        path.staleness = Staleness::LongLived;
        if path.refusal().is_none() {
            path.attributes = shared.interner.intern_long_lived(&path.attributes);
        }
        true
    });
}
