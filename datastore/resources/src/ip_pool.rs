//! Calico IPPool.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Cidr, Invalid, Selector, Unsupported,
    envelope::calico_kind,
    null,
    selector::{self, everything},
};

calico_kind! {
    /// Addresses for pods, and how packets between nodes that carry them travel.
    IpPool, IpPoolSpec, Envelope, "crate::envelope::Envelope<IpPoolSpec>"
}

/// What an IP pool says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpPoolSpec {
    /// The pool's prefix.
    pub cidr: Cidr,
    /// VXLAN between nodes.
    #[serde(default, deserialize_with = "null::or_empty")]
    pub vxlan_mode: EncapsulationMode,
    /// IP in IP between nodes.
    #[serde(default, deserialize_with = "null::or_empty")]
    pub ipip_mode: EncapsulationMode,
    /// Packets from the pool to anywhere outside all pools leave with the node's address.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub nat_outgoing: bool,
    /// No new addresses are assigned.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub disabled: bool,
    /// Routes of the pool are not announced.
    #[serde(
        default,
        rename = "disableBGPExport",
        deserialize_with = "null::default",
        skip_serializing_if = "null::is_default"
    )]
    pub disable_bgp_export: bool,
    /// Prefix length of the blocks that nodes claim, as written; see [`IpPoolSpec::block_prefix`].
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub block_size: u8,
    /// The nodes that may claim blocks.
    #[serde(default = "everything", deserialize_with = "selector::or_everything")]
    pub node_selector: Selector,
    /// The namespaces whose pods may have addresses; absent means all.
    #[serde(default, deserialize_with = "selector::optional", skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// What addresses are for, as written; see [`IpPoolSpec::allows`].
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub allowed_uses: Vec<AllowedUse>,
    /// Whether addresses are assigned without being asked for by pool.
    #[serde(default, deserialize_with = "null::or_empty")]
    pub assignment_mode: AssignmentMode,
    /// Deprecated form of `ipipMode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipip: Option<DeprecatedIpip>,
    /// Deprecated spelling of `natOutgoing`.
    #[serde(
        default,
        rename = "nat-outgoing",
        deserialize_with = "null::default",
        skip_serializing_if = "null::is_default"
    )]
    pub deprecated_nat_outgoing: bool,
}

/// Deprecated form of `ipipMode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeprecatedIpip {
    /// Whether it is on.
    #[serde(default, deserialize_with = "null::default")]
    pub enabled: bool,
    /// `always` or `cross-subnet`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// When packets between two nodes are encapsulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EncapsulationMode {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// When the nodes are in different subnets.
    CrossSubnet,
}

impl fmt::Display for EncapsulationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::Always => "Always",
            Self::CrossSubnet => "CrossSubnet",
        })
    }
}

/// What a pool's addresses are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AllowedUse {
    /// Pods.
    Workload,
    /// Tunnel devices of nodes.
    Tunnel,
    /// Services of type LoadBalancer.
    LoadBalancer,
}

/// Whether a pool is used without being named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AssignmentMode {
    /// It is.
    #[default]
    Automatic,
    /// Only on request.
    Manual,
}

impl IpPoolSpec {
    /// A pool of a prefix with Calico's defaults.
    pub fn new(cidr: Cidr) -> Self {
        Self {
            cidr,
            vxlan_mode: EncapsulationMode::Never,
            ipip_mode: EncapsulationMode::Never,
            nat_outgoing: false,
            disabled: false,
            disable_bgp_export: false,
            block_size: 0,
            node_selector: everything(),
            namespace_selector: None,
            allowed_uses: Vec::new(),
            assignment_mode: AssignmentMode::Automatic,
            ipip: None,
            deprecated_nat_outgoing: false,
        }
    }

    /// Prefix length of the blocks that nodes claim: 26 (IPv4) or 122 (IPv6) unless written.
    pub fn block_prefix(&self) -> u8 {
        match (self.block_size, self.cidr.network().is_ipv4()) {
            (0, true) => 26,
            (0, false) => 122,
            (size, _) => size,
        }
    }

    /// Whether addresses may be used so: pods and tunnels unless written.
    pub fn allows(&self, purpose: AllowedUse) -> bool {
        if self.allowed_uses.is_empty() {
            return purpose != AllowedUse::LoadBalancer;
        }
        self.allowed_uses.contains(&purpose)
    }

    /// Whether packets to the outside are masqueraded, in either spelling.
    pub fn masquerades(&self) -> bool {
        self.nat_outgoing || self.deprecated_nat_outgoing
    }

    /// IP in IP between nodes, in either form.
    pub fn ipip(&self) -> EncapsulationMode {
        match &self.ipip {
            Some(old) if old.enabled && old.mode == "cross-subnet" => EncapsulationMode::CrossSubnet,
            Some(old) if old.enabled => EncapsulationMode::Always,
            _ => self.ipip_mode,
        }
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        self.validate_prefix(out);
        self.validate_modes(out);
        if self.node_selector.uses_global() {
            out.push(Invalid::new("spec.nodeSelector", &self.node_selector, "a selector without global()"));
        }
        if let Some(selector) = self.namespace_selector.as_ref().filter(|s| s.uses_global()) {
            out.push(Invalid::new("spec.namespaceSelector", selector, "a selector without global()"));
        }
        if let Some(selector) =
            self.namespace_selector.as_ref().filter(|_| self.allowed_uses.contains(&AllowedUse::Tunnel))
        {
            out.push(Invalid::new("spec.namespaceSelector", selector, "absent where allowedUses has Tunnel"));
        }
        if self.allowed_uses.contains(&AllowedUse::LoadBalancer) {
            self.validate_load_balancer(out);
        }
    }

    fn validate_prefix(&self, out: &mut Vec<Invalid>) {
        let network = self.cidr.network();
        if self.cidr.has_host_bits() {
            out.push(Invalid::new("spec.cidr", self.cidr.written(), format!("{network}, without host bits")));
        }
        let (sizes, link_local) =
            if network.is_ipv4() { (20..=32, "169.254.0.0/16") } else { (116..=128, "fe80::/10") };
        if link_local.parse::<Cidr>().is_ok_and(|range| range.overlaps(self.cidr)) {
            out.push(Invalid::new("spec.cidr", network, format!("outside {link_local}")));
        }
        if !sizes.contains(&self.block_prefix()) {
            let allowed = format!("from {} to {}", sizes.start(), sizes.end());
            out.push(Invalid::new("spec.blockSize", self.block_size, allowed));
        } else if network.prefix() > self.block_prefix() {
            let allowed = format!("a prefix that holds a block: at most /{}", self.block_prefix());
            out.push(Invalid::new("spec.cidr", network, allowed));
        }
    }

    fn validate_modes(&self, out: &mut Vec<Invalid>) {
        let ipip = self.ipip();
        if ipip == EncapsulationMode::Never {
            return;
        }
        if self.vxlan_mode != EncapsulationMode::Never {
            out.push(Invalid::new("spec.ipipMode", ipip, "Never where vxlanMode is not Never"));
        }
        if self.cidr.network().is_ipv6() {
            out.push(Invalid::new("spec.ipipMode", ipip, "Never in an IPv6 pool"));
        }
    }

    fn validate_load_balancer(&self, out: &mut Vec<Invalid>) {
        if self.allowed_uses.iter().any(|allowed| *allowed != AllowedUse::LoadBalancer) {
            out.push(Invalid::new("spec.allowedUses", format!("{:?}", self.allowed_uses), "LoadBalancer alone"));
        }
        for (field, mode) in [("spec.ipipMode", self.ipip()), ("spec.vxlanMode", self.vxlan_mode)] {
            if mode != EncapsulationMode::Never {
                out.push(Invalid::new(field, mode, "Never in a pool for LoadBalancer"));
            }
        }
        if self.disable_bgp_export {
            out.push(Invalid::new("spec.disableBGPExport", true, "false in a pool for LoadBalancer"));
        }
        if !self.node_selector.is_all() {
            out.push(Invalid::new("spec.nodeSelector", &self.node_selector, "all() in a pool for LoadBalancer"));
        }
    }

    pub(crate) fn unsupported(&self, out: &mut Vec<Unsupported>) {
        const PLAIN: &str = "packets travel without encapsulation";
        if self.ipip() != EncapsulationMode::Never {
            out.push(Unsupported::new("spec.ipipMode", PLAIN));
        }
        if self.vxlan_mode != EncapsulationMode::Never {
            out.push(Unsupported::new("spec.vxlanMode", PLAIN));
        }
        if self.allowed_uses.contains(&AllowedUse::LoadBalancer) {
            out.push(Unsupported::new("spec.allowedUses", "no addresses are assigned to services"));
        }
    }
}
