//! Calico BGPFilter.

use serde::{Deserialize, Serialize};

use crate::{
    AsNumber, Cidr, Community, Invalid, Unsupported, bgp_configuration::validate_priority, envelope::calico_kind, null,
};

calico_kind! {
    /// What a peer may send and receive.
    BgpFilter, BgpFilterSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<BgpFilterSpec>"
}

/// Rules per direction and family; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BgpFilterSpec {
    /// IPv4 routes to the peer.
    #[serde(default, rename = "exportV4", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub export_v4: Vec<BgpFilterRule>,
    /// IPv4 routes from the peer.
    #[serde(default, rename = "importV4", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub import_v4: Vec<BgpFilterRule>,
    /// IPv6 routes to the peer.
    #[serde(default, rename = "exportV6", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub export_v6: Vec<BgpFilterRule>,
    /// IPv6 routes from the peer.
    #[serde(default, rename = "importV6", deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub import_v6: Vec<BgpFilterRule>,
}

/// Matches routes for which everything that is set holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BgpFilterRule {
    /// The prefix that the route's is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Cidr>,
    /// The lengths that the route's prefix may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLengthRange>,
    /// Where the route comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RouteSource>,
    /// The interface the route leads to.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// How the prefix is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_operator: Option<MatchOperator>,
    /// Which peers the rule is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_type: Option<PeerType>,
    /// A community the route carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communities: Option<CommunityMatch>,
    /// What the route's AS_PATH begins with.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub as_path_prefix: Vec<AsNumber>,
    /// The route's metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// What becomes of the route.
    pub action: FilterAction,
    /// What changes on an accepted route, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<FilterOperation>>,
}

/// Lengths of prefixes, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixLengthRange {
    /// The shortest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u8>,
    /// The longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u8>,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteSource {
    /// From a BGP peer.
    RemotePeers,
}

/// How a route's prefix is compared with that of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchOperator {
    /// It is the same.
    Equal,
    /// It is not the same.
    NotEqual,
    /// It is the same or within.
    In,
    /// It is neither the same nor within.
    NotIn,
}

/// Which peers a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerType {
    /// Peers of another AS.
    #[serde(rename = "eBGP", alias = "EBGP")]
    External,
    /// Peers of the same AS.
    #[serde(rename = "iBGP", alias = "IBGP")]
    Internal,
}

/// A community a route must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommunityMatch {
    /// Exactly one value.
    pub values: Vec<Community>,
}

/// What becomes of a matching route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterAction {
    /// It goes on.
    Accept,
    /// It is dropped.
    Reject,
}

/// A change of an accepted route; exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterOperation {
    /// Adds a community.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_community: Option<AddCommunity>,
    /// Lengthens the AS_PATH.
    #[serde(default, rename = "prependASPath", skip_serializing_if = "Option::is_none")]
    pub prepend_as_path: Option<PrependAsPath>,
    /// Sets the metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_priority: Option<SetPriority>,
}

/// Adds a community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddCommunity {
    /// The community.
    pub value: Community,
}

/// Lengthens the AS_PATH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrependAsPath {
    /// The AS numbers with which the path then begins, in order.
    pub prefix: Vec<AsNumber>,
}

/// Sets the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPriority {
    /// The metric, in the units of a kernel route's.
    pub value: u32,
}

impl BgpFilterSpec {
    /// The lists by name; true for IPv4.
    fn lists(&self) -> [(&'static str, &[BgpFilterRule], bool); 4] {
        [
            ("exportV4", &self.export_v4, true),
            ("importV4", &self.import_v4, true),
            ("exportV6", &self.export_v6, false),
            ("importV6", &self.import_v6, false),
        ]
    }

    /// What the rules ask for that is not acted upon. Nothing may be filtered by a list without its rule, so the peers that
    /// use the filter are kept down.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let mut out = Vec::new();
        for (list, rules, _) in self.lists() {
            for (index, _) in rules.iter().enumerate().filter(|(_, rule)| !rule.interface.is_empty()) {
                let field = format!("spec.{list}[{index}].interface");
                out.push(Unsupported::new(field, "peers with this filter are kept down, no interface is compared"));
            }
        }
        out
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        for (list, rules, ipv4) in self.lists() {
            for (index, rule) in rules.iter().enumerate() {
                rule.validate(&format!("spec.{list}[{index}]"), ipv4, out);
            }
        }
    }
}

impl BgpFilterRule {
    fn validate(&self, field: &str, ipv4: bool, out: &mut Vec<Invalid>) {
        if let Some(cidr) = self.cidr.filter(|cidr| cidr.network().is_ipv4() != ipv4) {
            let allowed = if ipv4 { "an IPv4 prefix" } else { "an IPv6 prefix" };
            out.push(Invalid::new(format!("{field}.cidr"), cidr, allowed));
        }
        match (self.cidr, self.match_operator) {
            (Some(_), None) => {
                let allowed = "one of Equal, NotEqual, In, NotIn where cidr is set";
                out.push(Invalid::new(format!("{field}.matchOperator"), "", allowed));
            }
            (None, Some(operator)) => {
                let value = format!("{operator:?}");
                out.push(Invalid::new(format!("{field}.matchOperator"), value, "absent where cidr is"));
            }
            _ => {}
        }
        if let Some(lengths) = self.prefix_length {
            self.validate_lengths(lengths, &format!("{field}.prefixLength"), ipv4, out);
        }
        if let Some(communities) = self.communities.as_ref().filter(|c| c.values.len() != 1) {
            let value = format!("{} values", communities.values.len());
            out.push(Invalid::new(format!("{field}.communities.values"), value, "exactly one value"));
        }
        if self.interface.len() > 15 {
            out.push(Invalid::new(format!("{field}.interface"), &self.interface, "at most 15 characters"));
        }
        validate_priority(format!("{field}.priority"), self.priority, out);
        if let Some(operations) = &self.operations {
            self.validate_operations(operations, &format!("{field}.operations"), out);
        }
    }

    fn validate_lengths(&self, lengths: PrefixLengthRange, field: &str, ipv4: bool, out: &mut Vec<Invalid>) {
        let most = if ipv4 { 32 } else { 128 };
        if self.cidr.is_none() {
            out.push(Invalid::new(field, "set", "absent where cidr is"));
        }
        for (end, length) in [("min", lengths.min), ("max", lengths.max)] {
            if let Some(length) = length.filter(|length| *length > most) {
                out.push(Invalid::new(format!("{field}.{end}"), length, format!("from 0 to {most}")));
            }
        }
        if let (Some(min), Some(max)) = (lengths.min, lengths.max)
            && min > max
        {
            out.push(Invalid::new(format!("{field}.min"), min, format!("at most max, which is {max}")));
        }
    }

    fn validate_operations(&self, operations: &[FilterOperation], field: &str, out: &mut Vec<Invalid>) {
        if self.action == FilterAction::Reject {
            out.push(Invalid::new(field, "set", "absent where action is Reject"));
        }
        if !(1..=10).contains(&operations.len()) {
            out.push(Invalid::new(field, format!("{} entries", operations.len()), "1 to 10 entries"));
        }
        for (index, operation) in operations.iter().enumerate() {
            let field = format!("{field}[{index}]");
            let set = usize::from(operation.add_community.is_some())
                + usize::from(operation.prepend_as_path.is_some())
                + usize::from(operation.set_priority.is_some());
            if set != 1 {
                let allowed = "exactly one of addCommunity, prependASPath, setPriority";
                out.push(Invalid::new(&field, format!("{set} operations"), allowed));
            }
            if let Some(prepend) = operation.prepend_as_path.as_ref().filter(|p| !(1..=10).contains(&p.prefix.len())) {
                let value = format!("{} AS numbers", prepend.prefix.len());
                out.push(Invalid::new(format!("{field}.prependASPath.prefix"), value, "1 to 10 AS numbers"));
            }
            let priority = operation.set_priority.map(|set| set.value);
            validate_priority(format!("{field}.setPriority.value"), priority, out);
        }
    }
}
