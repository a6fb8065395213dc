//! Calico CalicoNodeStatus: what a node is asked to say about itself, and what it says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Timestamp, envelope::calico_kind};

calico_kind! {
    /// Asks a node for a report about its BGP speaker.
    CalicoNodeStatus, CalicoNodeStatusSpec, Envelope, "crate::envelope::Envelope<CalicoNodeStatusSpec>"
}

/// Whom to ask for what, how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CalicoNodeStatusSpec {
    /// Name of the node.
    #[serde(default)]
    pub node: String,
    /// Parts of the report; the others are left out.
    #[serde(default, deserialize_with = "crate::null::default")]
    pub classes: Vec<NodeStatusClass>,
    /// Seconds between two reports, at most a day; absent or 0: none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_period_seconds: Option<u32>,
}

/// A part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeStatusClass {
    /// The speaker.
    Agent,
    /// Its sessions.
    #[serde(rename = "BGP")]
    Bgp,
    /// Its routes.
    Routes,
}

const DAY: u32 = 86_400;

impl CalicoNodeStatusSpec {
    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        if self.node.is_empty() {
            out.push(Invalid::new("spec.node", "", "the name of a node"));
        }
        if let Some(seconds) = self.update_period_seconds.filter(|seconds| *seconds > DAY) {
            out.push(Invalid::new("spec.updatePeriodSeconds", seconds, "at most 86400, which is a day"));
        }
    }
}

/// A report. What was not asked for is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// When it was made.
    pub last_updated: Timestamp,
    /// The speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentReport>,
    /// Its sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<SessionsReport>,
    /// Its routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesReport>,
}

/// The speaker, once per family: Calico has a daemon for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentReport {
    /// For IPv4.
    #[serde(rename = "birdV4")]
    pub v4: DaemonReport,
    /// For IPv6.
    #[serde(rename = "birdV6")]
    pub v6: DaemonReport,
}

/// A BGP daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonReport {
    /// `Ready` or `NotReady`.
    pub state: &'static str,
    /// Its version.
    pub version: String,
    /// BGP Identifier.
    #[serde(rename = "routerID")]
    pub router_id: String,
    /// When it started.
    pub last_boot_time: String,
    /// When its configuration changed last.
    pub last_reconfiguration_time: String,
}

/// Sessions by the family of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsReport {
    /// Established ones over IPv4.
    pub number_established_v4: usize,
    /// Others over IPv4.
    pub number_not_established_v4: usize,
    /// Established ones over IPv6.
    pub number_established_v6: usize,
    /// Others over IPv6.
    pub number_not_established_v6: usize,
    /// All over IPv4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_v4: Vec<PeerReport>,
    /// All over IPv6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_v6: Vec<PeerReport>,
}

/// Where a peer is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PeerOrigin {
    /// The node-to-node mesh.
    NodeMesh,
    /// A BGPPeer for some nodes.
    NodePeer,
    /// A BGPPeer for all nodes.
    GlobalPeer,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// The peer's address.
    #[serde(rename = "peerIP")]
    pub peer_ip: IpAddr,
    /// Where it is configured.
    #[serde(rename = "type")]
    pub origin: PeerOrigin,
    /// State of RFC 4271.
    pub state: &'static str,
    /// Since when.
    pub since: String,
}

/// Routes by family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutesReport {
    /// IPv4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes_v4: Vec<RouteReport>,
    /// IPv6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes_v6: Vec<RouteReport>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// `FIB` if packets follow it, else `RIB`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Destination.
    pub destination: String,
    /// Next hop; absent for the node's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Where it comes from.
    pub learned_from: LearnedFrom,
}

/// Where a route comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedFrom {
    /// `NodeMesh`, `BGPPeer`, or `Static` for the node's own.
    pub source_type: &'static str,
    /// The peer's address.
    #[serde(rename = "peerIP", skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Resource};

    fn read(spec: &str) -> Result<Resource, serde_json::Error> {
        let text = format!(r#"{{"metadata": {{"name": "a"}}, "spec": {spec}}}"#);
        Resource::deserialize(Kind::CalicoNodeStatus, &mut serde_json::Deserializer::from_str(&text))
    }

    #[test]
    fn what_calico_admits_is_read_and_a_mistake_is_refused_by_name() {
        let right = read(r#"{"node": "a", "classes": ["Agent", "BGP", "Routes"], "updatePeriodSeconds": 10}"#).unwrap();
        assert_eq!(right.validate(), Ok(()));
        assert!(read(r#"{"node": "a", "classes": ["Bgp"]}"#).unwrap_err().to_string().contains("Bgp"));
        for (spec, field) in [
            (r#"{"classes": ["BGP"]}"#, "spec.node"),
            (r#"{"node": "a", "updatePeriodSeconds": 86401}"#, "spec.updatePeriodSeconds"),
        ] {
            let refused = read(spec).unwrap().validate().unwrap_err();
            assert_eq!((refused.len(), refused[0].field.as_str()), (1, field));
        }
    }
}
