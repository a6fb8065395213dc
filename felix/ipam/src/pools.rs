//! Which pools serve whom.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnetwork::IpNetwork;
use resources::{AllowedUse, AssignmentMode, IpPool, IpReservation, IpamConfigurationSpec};

use crate::{
    range::{self, Family},
    refusal::Refusal,
};

/// Blocks a node may have when the configuration sets no limit.
pub const DEFAULT_BLOCKS_PER_NODE: u32 = 20;

/// What the allocator has to know of the cluster, as the datastore's watch last told it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Name of this node.
    pub node: String,
    /// Its labels, for the pools' `nodeSelector`.
    pub node_labels: BTreeMap<String, String>,
    /// All pools.
    pub pools: Vec<IpPool>,
    /// All reservations.
    pub reservations: Vec<IpReservation>,
    /// The IPAMConfiguration named `default`, or its default.
    pub configuration: IpamConfigurationSpec,
}

impl View {
    /// How many blocks this node may have.
    #[must_use]
    pub fn block_limit(&self) -> u32 {
        match self.configuration.max_blocks_per_host {
            0 => DEFAULT_BLOCKS_PER_NODE,
            limit => limit,
        }
    }

    /// The pool that holds an address.
    pub(crate) fn pool_of(&self, address: IpAddr) -> Option<&IpPool> {
        self.pools.iter().find(|pool| pool.spec.cidr.network().contains(address))
    }
}

/// Why a pool was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// `disabled: true`.
    Disabled,
    /// `allowedUses` lacks what the address is for.
    Use(AllowedUse),
    /// `assignmentMode: Manual`, and the request does not name it.
    Manual,
    /// `nodeSelector` does not select this node.
    Node,
    /// `namespaceSelector` does not select the namespace.
    Namespace,
    /// It is of the other family.
    Family,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("is disabled"),
            Self::Use(purpose) => write!(f, "does not allow use {purpose:?}"),
            Self::Manual => f.write_str("is assigned from only when asked for by name"),
            Self::Node => f.write_str("does not select this node"),
            Self::Namespace => f.write_str("does not select the namespace"),
            Self::Family => f.write_str("is of the other address family"),
        }
    }
}

/// A pool that serves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) cidr: IpNetwork,
    pub(crate) block_length: u8,
}

impl From<&IpPool> for Pool {
    fn from(pool: &IpPool) -> Self {
        Self {
            name: pool.metadata.name.clone(),
            cidr: pool.spec.cidr.network(),
            block_length: pool.spec.block_prefix(),
        }
    }
}

/// What pools are looked for.
pub(crate) struct Demand<'a> {
    pub(crate) family: Family,
    pub(crate) purpose: AllowedUse,
    /// Names or CIDRs; empty for any pool that selects the node and the namespace.
    pub(crate) asked_for: &'a [String],
    pub(crate) namespace_labels: &'a BTreeMap<String, String>,
}

/// The pools for a demand, in the order in which they are tried: as asked for, otherwise by name.
pub(crate) fn select(view: &View, demand: &Demand<'_>) -> Result<Vec<Pool>, Refusal> {
    if demand.asked_for.is_empty() { select_any(view, demand) } else { select_named(view, demand) }
}

/// Selectors do not count for a pool that is asked for.
fn select_named(view: &View, demand: &Demand<'_>) -> Result<Vec<Pool>, Refusal> {
    let mut chosen: Vec<Pool> = Vec::new();
    for asked in demand.asked_for {
        let cidr = asked.parse::<IpNetwork>().ok();
        let found = view
            .pools
            .iter()
            .find(|pool| pool.metadata.name == *asked || cidr.is_some_and(|cidr| pool.spec.cidr.network() == cidr));
        let pool = found.ok_or_else(|| Refusal::PoolUnknown { asked: asked.clone() })?;
        if let Some(because) = closed(pool, demand) {
            return Err(Refusal::PoolUnusable { pool: pool.metadata.name.clone(), because });
        }
        if !chosen.iter().any(|known| known.name == pool.metadata.name) {
            chosen.push(pool.into());
        }
    }
    Ok(chosen)
}

fn select_any(view: &View, demand: &Demand<'_>) -> Result<Vec<Pool>, Refusal> {
    let mut chosen: Vec<Pool> = Vec::new();
    let mut passed = Vec::new();
    for pool in view.pools.iter().filter(|pool| family_of(pool) == demand.family) {
        match closed(pool, demand).or_else(|| unselected(view, pool, demand)) {
            None => chosen.push(pool.into()),
            Some(because) => passed.push((pool.metadata.name.clone(), because)),
        }
    }
    if chosen.is_empty() {
        let (family, node) = (demand.family, view.node.clone());
        return Err(Refusal::NoPool { family, node, passed });
    }
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(chosen)
}

fn family_of(pool: &IpPool) -> Family {
    Family::of(pool.spec.cidr.network().ip())
}

/// What keeps a pool from being used even when it is asked for.
fn closed(pool: &IpPool, demand: &Demand<'_>) -> Option<PassedOver> {
    if family_of(pool) != demand.family {
        return Some(PassedOver::Family);
    }
    closed_to(pool, demand.purpose)
}

/// What keeps an address of the pool from being assigned for a purpose.
pub(crate) fn closed_to(pool: &IpPool, purpose: AllowedUse) -> Option<PassedOver> {
    if pool.spec.disabled {
        return Some(PassedOver::Disabled);
    }
    (!pool.spec.allows(purpose)).then_some(PassedOver::Use(purpose))
}

fn unselected(view: &View, pool: &IpPool, demand: &Demand<'_>) -> Option<PassedOver> {
    if pool.spec.assignment_mode == AssignmentMode::Manual {
        return Some(PassedOver::Manual);
    }
    if !pool.spec.node_selector.matches(&view.node_labels) {
        return Some(PassedOver::Node);
    }
    let namespaces = pool.spec.namespace_selector.as_ref();
    namespaces.is_some_and(|selector| !selector.matches(demand.namespace_labels)).then_some(PassedOver::Namespace)
}

/// Addresses that are only assigned when asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations(Vec<IpNetwork>);

impl Reservations {
    pub(crate) fn of(view: &View) -> Self {
        Self(view.reservations.iter().flat_map(|one| &one.spec.reserved_cidrs).map(|cidr| cidr.network()).collect())
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|reserved| reserved.contains(address))
    }

    pub(crate) fn touches(&self, cidr: &IpNetwork) -> bool {
        self.0.iter().any(|reserved| range::covers(reserved, cidr) || range::covers(cidr, reserved))
    }

    /// How many addresses of a prefix are reserved, at most; where reservations overlap it is less.
    pub(crate) fn within(&self, cidr: &IpNetwork) -> u128 {
        let inside = |reserved: &IpNetwork| match (range::covers(reserved, cidr), range::covers(cidr, reserved)) {
            (true, _) => range::size(cidr),
            (false, true) => range::size(reserved),
            (false, false) => 0,
        };
        self.0.iter().map(inside).fold(0, u128::saturating_add).min(range::size(cidr))
    }

    /// Whether a block of that prefix would have no address to assign.
    pub(crate) fn exhaust(&self, cidr: &IpNetwork) -> bool {
        if !self.touches(cidr) {
            return false;
        }
        if self.0.iter().any(|reserved| range::covers(reserved, cidr)) {
            return true;
        }
        let addresses = (0..).map_while(|ordinal| range::nth(cidr, ordinal));
        addresses.into_iter().all(|address| self.holds(address))
    }
}

#[cfg(test)]
mod tests;
