//! A block: a few addresses, who has which, and in which order the free ones go out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnetwork::IpNetwork;
use resources::{AllocationAttribute, IpamBlock, IpamBlockSpec, ObjectMeta, Timestamp};

use crate::{Error, names, pools::Reservations, range};

/// What `affinity` of a node's block begins with.
const HOST: &str = "host:";

/// Who an address is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Identifier of the handle ([`handle_id`](crate::handle_id)).
    pub handle_id: String,
    /// What is noted beside the address: `namespace`, `pod`, `timestamp`, `type`. [`assign`](crate::assign) adds `node`,
    /// by which [`reconcile`](crate::reconcile) knows what it may take back.
    pub attributes: BTreeMap<String, String>,
}

/// An assigned address of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation<'a> {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub handle_id: Option<&'a str>,
    /// What is noted beside it.
    pub attributes: &'a BTreeMap<String, String>,
    /// The block's sequence number when it was assigned.
    pub sequence: u64,
    /// It was given back and is cooling down: nobody's, but not free yet.
    pub released: bool,
}

/// An `IPAMBlock` that is sound: as many allocations as addresses, each with its attribute, no free address twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    object: IpamBlock,
}

impl Block {
    /// A block of `node` in which every address is free.
    ///
    /// `now` is the time since 1970-01-01T00:00:00Z. The sequence number begins with it, so that it differs from any
    /// number of an earlier block of the same name.
    pub(crate) fn new(cidr: IpNetwork, node: &str, now: Duration) -> Self {
        let size = usize::try_from(range::size(&cidr)).unwrap_or(0);
        let spec = IpamBlockSpec {
            cidr: cidr.into(),
            affinity: Some(format!("{HOST}{node}")),
            affinity_claim_time: Some(Timestamp(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))),
            allocations: vec![None; size],
            unallocated: (0..size).collect(),
            attributes: Vec::new(),
            sequence_number: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            sequence_number_for_allocation: BTreeMap::new(),
            deleted: false,
            strict_affinity: false,
        };
        Self { object: IpamBlock { metadata: ObjectMeta::named(names::block_name(&cidr)), spec } }
    }

    /// Takes a stored block.
    ///
    /// # Errors
    /// When its parts contradict each other; to assign from it could give an address twice.
    pub fn read(object: IpamBlock) -> Result<Self, Error> {
        let spec = &object.spec;
        let name = || object.metadata.name.clone();
        let size = range::size(&spec.cidr.network());
        if u128::try_from(spec.allocations.len()) != Ok(size) {
            return Err(Error::AllocationCount { block: name(), count: spec.allocations.len(), size });
        }
        let attributes = spec.attributes.len();
        if let Some(index) = spec.allocations.iter().flatten().find(|index| **index >= attributes) {
            return Err(Error::AttributeIndex { block: name(), index: *index, attributes });
        }
        let mut seen = BTreeSet::new();
        for ordinal in &spec.unallocated {
            if spec.allocations.get(*ordinal) != Some(&None) || !seen.insert(*ordinal) {
                return Err(Error::Unallocated { block: name(), ordinal: *ordinal });
            }
        }
        Ok(Self { object })
    }

    /// The object, as it is to be stored.
    #[must_use]
    pub fn object(&self) -> &IpamBlock {
        &self.object
    }

    pub(crate) fn into_object(self) -> IpamBlock {
        self.object
    }

    /// Its prefix.
    #[must_use]
    pub fn cidr(&self) -> IpNetwork {
        self.object.spec.cidr.network()
    }

    /// The node that has it, if a node does.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.object.spec.affinity.as_deref()?.strip_prefix(HOST)
    }

    /// Whether another sort of owner than a node has it; nodes leave such blocks alone.
    pub(crate) fn is_virtual(&self) -> bool {
        self.object.spec.affinity.is_some() && self.node().is_none()
    }

    /// Whether no address is assigned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.object.spec.allocations.iter().all(Option::is_none)
    }

    /// How many addresses are assigned.
    #[must_use]
    pub fn used(&self) -> usize {
        self.object.spec.allocations.iter().flatten().count()
    }

    /// How many addresses could be assigned now.
    pub(crate) fn free(&self, reserved: &Reservations) -> usize {
        let spec = &self.object.spec;
        if !reserved.touches(&self.cidr()) {
            return spec.unallocated.len();
        }
        spec.unallocated.iter().filter(|ordinal| self.is_open(**ordinal, reserved)).count()
    }

    fn is_open(&self, ordinal: usize, reserved: &Reservations) -> bool {
        range::nth(&self.cidr(), ordinal).is_some_and(|address| !reserved.holds(address))
    }

    /// Its assigned addresses, lowest first.
    pub fn allocations(&self) -> impl Iterator<Item = Allocation<'_>> {
        let spec = &self.object.spec;
        spec.allocations.iter().enumerate().filter_map(move |(ordinal, index)| {
            let attribute = spec.attributes.get((*index)?)?;
            Some(Allocation {
                address: range::nth(&self.cidr(), ordinal)?,
                handle_id: attribute.handle_id.as_deref(),
                attributes: &attribute.secondary,
                sequence: self.sequence_of(ordinal),
                released: attribute.released_at.is_some(),
            })
        })
    }

    fn sequence_of(&self, ordinal: usize) -> u64 {
        self.object.spec.sequence_number_for_allocation.get(&ordinal.to_string()).copied().unwrap_or(0)
    }

    /// Assigns the address that has been free longest and is not reserved.
    pub(crate) fn assign_next(&mut self, owner: &Owner, reserved: &Reservations) -> Option<(IpAddr, u64)> {
        let unallocated = &self.object.spec.unallocated;
        let place = unallocated.iter().position(|ordinal| self.is_open(*ordinal, reserved))?;
        let ordinal = self.object.spec.unallocated.remove(place);
        self.allocate(ordinal, owner)
    }

    /// Assigns that address. Reservations do not count: they keep addresses for those who ask for them.
    pub(crate) fn assign_address(&mut self, address: IpAddr, owner: &Owner) -> Option<(IpAddr, u64)> {
        let ordinal = range::ordinal(&self.cidr(), address)?;
        let place = self.object.spec.unallocated.iter().position(|free| *free == ordinal)?;
        self.object.spec.unallocated.remove(place);
        self.allocate(ordinal, owner)
    }

    fn allocate(&mut self, ordinal: usize, owner: &Owner) -> Option<(IpAddr, u64)> {
        let address = range::nth(&self.cidr(), ordinal)?;
        let spec = &mut self.object.spec;
        let attribute = AllocationAttribute {
            handle_id: Some(owner.handle_id.clone()),
            secondary: owner.attributes.clone(),
            ..AllocationAttribute::default()
        };
        let index = spec.attributes.iter().position(|known| *known == attribute).unwrap_or_else(|| {
            spec.attributes.push(attribute);
            spec.attributes.len() - 1
        });
        *spec.allocations.get_mut(ordinal)? = Some(index);
        spec.sequence_number_for_allocation.insert(ordinal.to_string(), spec.sequence_number);
        Some((address, spec.sequence_number))
    }

    /// Frees the assigned addresses that `which` selects; they go to the end of the queue.
    pub(crate) fn release(&mut self, which: impl Fn(&Allocation<'_>) -> bool) -> Vec<IpAddr> {
        let released: Vec<IpAddr> =
            self.allocations().filter(|allocation| which(allocation)).map(|allocation| allocation.address).collect();
        let cidr = self.cidr();
        let spec = &mut self.object.spec;
        for ordinal in released.iter().filter_map(|address| range::ordinal(&cidr, *address)) {
            if let Some(allocation) = spec.allocations.get_mut(ordinal) {
                *allocation = None;
            }
            spec.unallocated.push(ordinal);
            spec.sequence_number_for_allocation.remove(&ordinal.to_string());
        }
        self.drop_unused_attributes();
        released
    }

    fn drop_unused_attributes(&mut self) {
        let spec = &mut self.object.spec;
        let used: BTreeSet<usize> = spec.allocations.iter().flatten().copied().collect();
        let renumbered: BTreeMap<usize, usize> = used.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let mut index = 0;
        spec.attributes.retain(|_| {
            index += 1;
            used.contains(&(index - 1))
        });
        for allocation in &mut spec.allocations {
            *allocation = allocation.and_then(|old| renumbered.get(&old).copied());
        }
    }

    /// Leaves the block to nobody.
    pub(crate) fn drop_affinity(&mut self) {
        self.object.spec.affinity = None;
        self.object.spec.affinity_claim_time = None;
    }

    /// The object of the next write.
    pub(crate) fn to_write(&self) -> IpamBlock {
        let mut object = self.object.clone();
        object.spec.sequence_number += 1;
        object
    }
}

#[cfg(test)]
mod tests;
