//! Calico's address management: IPReservation, IPAMConfiguration, BlockAffinity, IPAMBlock, IPAMHandle.
//!
//! Field names and values are those that Calico writes, so that both can work on the same objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Cidr, Invalid, Timestamp, Unsupported, envelope::calico_kind, null};

calico_kind! {
    /// Addresses that are never assigned.
    IpReservation, IpReservationSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<IpReservationSpec>"
}
calico_kind! {
    /// Settings of address management; the object named `default` counts.
    IpamConfiguration, IpamConfigurationSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<IpamConfigurationSpec>"
}
calico_kind! {
    /// A node's claim on a block.
    BlockAffinity, BlockAffinitySpec, Envelope, "crate::envelope::Envelope<BlockAffinitySpec>"
}
calico_kind! {
    /// A block of addresses and who has which.
    IpamBlock, IpamBlockSpec, Envelope, "crate::envelope::Envelope<IpamBlockSpec>"
}
calico_kind! {
    /// The blocks in which one owner has addresses.
    IpamHandle, IpamHandleSpec, Envelope, "crate::envelope::Envelope<IpamHandleSpec>"
}

/// What a reservation says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpReservationSpec {
    /// Prefixes from which nothing is assigned.
    #[serde(default, rename = "reservedCIDRs", deserialize_with = "null::default")]
    pub reserved_cidrs: Vec<Cidr>,
}

/// Settings of address management.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpamConfigurationSpec {
    /// A node may use its own blocks only.
    #[serde(default, deserialize_with = "null::default")]
    pub strict_affinity: bool,
    /// How many blocks a node may have; 0 means any number.
    #[serde(default, deserialize_with = "null::default")]
    pub max_blocks_per_host: u32,
    /// Nodes claim blocks as they need them.
    #[serde(default = "null::yes", deserialize_with = "null::or_true")]
    pub auto_allocate_blocks: bool,
    /// KubeVirt machines keep their addresses.
    #[serde(default, rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "Option::is_none")]
    pub kube_virt_vm_address_persistence: Option<crate::Switch>,
    /// Seconds before a released address is assigned again.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub ip_cooldown_seconds: u32,
}

impl Default for IpamConfigurationSpec {
    fn default() -> Self {
        Self {
            strict_affinity: false,
            max_blocks_per_host: 0,
            auto_allocate_blocks: true,
            kube_virt_vm_address_persistence: None,
            ip_cooldown_seconds: 0,
        }
    }
}

/// What an affinity says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockAffinitySpec {
    /// How far the claim has come.
    pub state: AffinityState,
    /// Whose it is.
    pub node: String,
    /// `host`, or `virtual` for owners that are no node. Empty means `host`.
    #[serde(default, rename = "type", deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub affinity_type: String,
    /// The block.
    pub cidr: Cidr,
    /// It is about to be deleted and counts as absent.
    #[serde(default, deserialize_with = "bool_or_text")]
    pub deleted: bool,
}

/// How far a claim on a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AffinityState {
    /// The block is the node's.
    #[serde(rename = "confirmed")]
    Confirmed,
    /// The node wants the block; it may not exist yet.
    #[serde(rename = "pending")]
    Pending,
    /// The node is giving the block back.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
}

/// What a block says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpamBlockSpec {
    /// The block's prefix.
    pub cidr: Cidr,
    /// `host:NODE` or `virtual:NAME`; absent if nobody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_claim_time: Option<Timestamp>,
    /// Per address (index: distance from the first): the index of its entry in `attributes`; none is free.
    #[serde(default, deserialize_with = "null::default")]
    pub allocations: Vec<Option<usize>>,
    /// The free addresses (as distances), in the order in which they are to be assigned.
    #[serde(default, deserialize_with = "null::default")]
    pub unallocated: Vec<usize>,
    /// Owners.
    #[serde(default, deserialize_with = "null::default")]
    pub attributes: Vec<AllocationAttribute>,
    /// Raised by every write.
    #[serde(default, deserialize_with = "null::default")]
    pub sequence_number: u64,
    /// Per assigned address (distance as text): the block's number when it was assigned.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub sequence_number_for_allocation: BTreeMap<String, u64>,
    /// It is about to be deleted and counts as absent.
    #[serde(default, deserialize_with = "bool_or_text", skip_serializing_if = "null::is_default")]
    pub deleted: bool,
    /// Written by older versions of Calico; no longer has a meaning.
    #[serde(default, deserialize_with = "null::default")]
    pub strict_affinity: bool,
}

/// An owner of addresses in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllocationAttribute {
    /// Its handle.
    #[serde(default, rename = "handle_id", skip_serializing_if = "Option::is_none")]
    pub handle_id: Option<String>,
    /// What is known of it: pod, namespace, node …
    #[serde(
        default,
        rename = "secondary",
        deserialize_with = "null::default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub secondary: BTreeMap<String, String>,
    /// What is known of a second owner, while an address moves from one to the other.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub alternate_owner_attrs: BTreeMap<String, String>,
    /// When it gave the address back; it stays assigned until it has cooled down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
}

/// What a handle says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpamHandleSpec {
    /// The handle as its owner knows it; the object's name is the same in lower case.
    #[serde(rename = "handleID")]
    pub handle_id: String,
    /// Per block (as a prefix): how many addresses.
    #[serde(default, deserialize_with = "null::default")]
    pub block: BTreeMap<String, u64>,
    /// It is about to be deleted and counts as absent.
    #[serde(default, deserialize_with = "bool_or_text", skip_serializing_if = "null::is_default")]
    pub deleted: bool,
}

impl IpReservationSpec {
    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        for (index, cidr) in self.reserved_cidrs.iter().enumerate().filter(|(_, cidr)| cidr.has_host_bits()) {
            let field = format!("spec.reservedCIDRs[{index}]");
            out.push(Invalid::new(field, cidr.written(), format!("{cidr}, without host bits")));
        }
    }
}

impl IpamConfigurationSpec {
    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        if self.max_blocks_per_host > 1_000_000 {
            out.push(Invalid::new("spec.maxBlocksPerHost", self.max_blocks_per_host, "at most 1000000"));
        }
        if self.ip_cooldown_seconds > 1200 {
            out.push(Invalid::new("spec.ipCooldownSeconds", self.ip_cooldown_seconds, "at most 1200"));
        }
    }

    pub(crate) fn unsupported(&self, out: &mut Vec<Unsupported>) {
        if self.kube_virt_vm_address_persistence.is_some_and(crate::Switch::is_enabled) {
            let effect = "a machine that moves gets another address";
            out.push(Unsupported::new("spec.kubeVirtVMAddressPersistence", effect));
        }
    }
}

impl IpamBlockSpec {
    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        let network = self.cidr.network();
        let host_bits = if network.is_ipv4() { 32 - network.prefix() } else { 128 - network.prefix() };
        let size = 1_usize.checked_shl(u32::from(host_bits)).filter(|_| host_bits <= 16).unwrap_or(0);
        if self.allocations.len() != size {
            let allowed = format!("{size} entries, as many as {network} has addresses (at most 65536)");
            out.push(Invalid::new("spec.allocations", format!("{} entries", self.allocations.len()), allowed));
        }
        for (ordinal, attribute) in self.allocations.iter().enumerate() {
            if let Some(attribute) = attribute.filter(|index| *index >= self.attributes.len()) {
                let allowed = format!("an index of spec.attributes, which has {} entries", self.attributes.len());
                out.push(Invalid::new(format!("spec.allocations[{ordinal}]"), attribute, allowed));
            }
        }
        for (index, ordinal) in self.unallocated.iter().enumerate() {
            if self.allocations.get(*ordinal) != Some(&None) {
                let allowed = "an address that spec.allocations does not assign";
                out.push(Invalid::new(format!("spec.unallocated[{index}]"), ordinal, allowed));
            }
        }
    }
}

/// The older group stores the flag as a text.
fn bool_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
            match value {
                "true" => Ok(true),
                "false" | "" => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
            }
        }
    }
    deserializer.deserialize_any(Visitor)
}
