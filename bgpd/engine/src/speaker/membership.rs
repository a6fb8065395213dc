//! Which update group a peer is in.

use std::net::{IpAddr, Ipv4Addr};

use super::Speaker;
use super::tables::{FamilyTables, Shared};
use crate::group::{Group, GroupKey, Member, Surroundings};
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::policy::{LongLivedStale, Recipient};
use crate::prefix::{Family, NetPrefix};
use crate::rib::{Options, Order};
use crate::session::Negotiated;
use crate::wire::NextHop;

/// A member on its way into a group, with what it holds of the former one.
struct Joining {
    key: GroupKey,
    member: Member,
    cluster_id: Ipv4Addr,
    options: Options,
    local_as: u32,
}

impl Speaker {
    /// Puts a peer into the group that fits it. `moving`: it leaves another one and keeps what it was told.
    pub(super) fn join_groups(&mut self, id: crate::rib::PeerId, family: Family, moving: bool) {
        let Some(peer) = self.get(id) else { return };
        let (Some(session), Some(connection)) = (peer.session(), peer.established.as_ref()) else { return };
        let Some(conn) = connection.id else { return };
        let joining = Joining {
            key: group_key(peer, session, family, self),
            member: Member::new(id, conn, session.enhanced_route_refresh),
            cluster_id: self.config.cluster_id.unwrap_or(self.config.router_id),
            options: Options { always_compare_med: self.config.always_compare_med },
            local_as: self.config.local_as,
        };
        match family {
            Family::Ipv4Unicast => joining.join(&mut self.tables.v4, &self.tables.shared, moving),
            Family::Ipv6Unicast => joining.join(&mut self.tables.v6, &self.tables.shared, moving),
        }
    }

    /// Sends a peer its whole table of a family again.
    pub(super) fn resend_family(&mut self, id: crate::rib::PeerId, family: Family) {
        fn refresh<P: NetPrefix>(tables: &mut FamilyTables<P>, id: crate::rib::PeerId, outbox: &mut Outbox) {
            tables.attention = true;
            for group in &mut tables.groups {
                group.refresh(id, outbox);
            }
        }
        match family {
            Family::Ipv4Unicast => refresh(&mut self.tables.v4, id, &mut self.outbox),
            Family::Ipv6Unicast => refresh(&mut self.tables.v6, id, &mut self.outbox),
        }
    }
}

impl Joining {
    fn join<P: NetPrefix>(mut self, family: &mut FamilyTables<P>, shared: &Shared, moving: bool) {
        let id = self.member.peer;
        if moving {
            if family.group_of(id).is_some_and(|group| group.key == self.key) {
                return;
            }
            if let Some((former, holdings)) = family.groups.iter_mut().find_map(|group| group.part(id)) {
                self.member.inherit_markers(&former);
                self.member.take_over(holdings);
            }
            family.groups.retain(|group| !group.is_empty());
        }
        let around = Surroundings {
            order: Order {
                sources: &shared.sources,
                next_hops: &shared.next_hops,
                options: self.options,
                local_as: self.local_as,
            },
            cluster_id: self.cluster_id,
            peers: &shared.addresses,
            complete: false,
        };
        family.attention = true;
        let FamilyTables { table, groups, path_ids, .. } = family;
        match groups.iter_mut().find(|group| group.key == self.key) {
            Some(group) => group.join(self.member, table, path_ids, &around),
            None => {
                let mut group = Group::new(self.key);
                group.join(self.member, table, path_ids, &around);
                groups.push(group);
            }
        }
    }
}

fn group_key(peer: &Peer, session: &Negotiated, family: Family, speaker: &Speaker) -> GroupKey {
    let config = &peer.config;
    let takes_v6 = match family {
        Family::Ipv4Unicast => session.send.extended_next_hop_v4,
        Family::Ipv6Unicast => true,
    };
    let takes_v4 = family == Family::Ipv4Unicast;
    let fits = |address: &IpAddr| if address.is_ipv4() { takes_v4 } else { takes_v6 };
    let own = peer.local_address().filter(fits).or_else(|| speaker.config.next_hops[family].filter(fits));
    GroupKey {
        recipient: Recipient {
            local_as: session.local_as,
            internal: session.internal,
            client: config.route_reflector_client && session.internal,
            kind: config.kind,
            policy: config.export,
            next_hop_mode: config.next_hop,
            own_next_hop: own.map(|address| own_next_hop(address, family, session)),
            route_server_client: config.route_server_client && !session.internal,
            remove_private: config.remove_private_as.map(|mode| (mode, session.peer_as)),
            own_as: Some(speaker.config.local_as)
                .filter(|own| config.local_as_prepend.outbound && *own != session.local_as),
            takes_v6,
            takes_v4,
            calico_local_pref: config.calico_local_pref && session.internal,
            long_lived: match (session.takes_long_lived, config.long_lived_to_all_internal && session.internal) {
                (true, _) => LongLivedStale::Told,
                (false, true) => LongLivedStale::Disguised,
                (false, false) => LongLivedStale::Withheld,
            },
            role: session.role,
            draining: speaker.draining,
            filter: config.filters.export[family].clone(),
        },
        send: session.send.clone(),
        max_paths: if session.send.add_path[family] { usize::from(config.add_path.send_max) } else { 0 },
    }
}

/// Our address as a next hop. A link-local one alone is written twice unless the peer knows better
/// (draft-ietf-idr-linklocal-capability) or the route is IPv4 (RFC 8950).
fn own_next_hop(address: IpAddr, family: Family, session: &Negotiated) -> NextHop {
    match address {
        IpAddr::V6(global) if global.is_unicast_link_local() => {
            let alone = session.link_local_next_hop || family == Family::Ipv4Unicast;
            NextHop::V6 { global, link_local: (!alone).then_some(global) }
        }
        _ => NextHop::new(address),
    }
}
