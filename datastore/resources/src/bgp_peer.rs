//! Calico BGPPeer.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{AsNumber, BgpPassword, Duration, Invalid, Selector, Unsupported, envelope::calico_kind, null, selector};

calico_kind! {
    /// Sessions between nodes and a peer: a router, or other nodes.
    BgpPeer, BgpPeerSpec, DefaultEnvelope, "crate::envelope::DefaultEnvelope<BgpPeerSpec>"
}

/// Who peers with whom, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BgpPeerSpec {
    /// The one node that peers; empty together with `node_selector` means all.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The nodes that peer.
    #[serde(default, deserialize_with = "selector::optional", skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// The peer's address and port.
    #[serde(default, rename = "peerIP", deserialize_with = "peer_address", skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<PeerAddress>,
    /// The peer's AS number; absent means that of the peering node.
    #[serde(default, deserialize_with = "as_number", skip_serializing_if = "Option::is_none")]
    pub as_number: Option<AsNumber>,
    /// The node's AS number towards this peer.
    #[serde(default, rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub local_as_number: Option<AsNumber>,
    /// The nodes to peer with, instead of an address.
    #[serde(default, deserialize_with = "selector::optional", skip_serializing_if = "Option::is_none")]
    pub peer_selector: Option<Selector>,
    /// Deprecated form of `nextHopMode: Keep`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "null::is_default")]
    pub keep_original_next_hop: bool,
    /// What is announced as next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_mode: Option<NextHopMode>,
    /// TCP MD5 key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<BgpPassword>,
    /// The node's end of the connection.
    #[serde(default, deserialize_with = "null::or_empty", skip_serializing_if = "null::is_default")]
    pub source_address: SourceAddress,
    /// Graceful restart time; default 120 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restart_time: Option<Duration>,
    /// Time between KEEPALIVEs; default a third of the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// How often the node's own AS number may be in a received AS_PATH.
    #[serde(default, rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    pub num_allowed_local_as_numbers: Option<u32>,
    /// Hops to the peer: packets with a lower TTL than 256 minus this are dropped (RFC 5082).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Gateway through which the peer is reached.
    #[serde(default, deserialize_with = "address", skip_serializing_if = "Option::is_none")]
    pub reachable_by: Option<IpAddr>,
    /// Names of BGPFilters, in order.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Local workloads to peer with.
    #[serde(default, deserialize_with = "selector::optional", skip_serializing_if = "Option::is_none")]
    pub local_workload_selector: Option<Selector>,
    /// Whether the nodes that `peer_selector` picks peer back without being told.
    #[serde(default, deserialize_with = "null::or_empty", skip_serializing_if = "null::is_default")]
    pub reverse_peering: ReversePeering,
}

/// What is announced as next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NextHopMode {
    /// As RFC 4271 §5.1.3 says.
    Auto,
    /// The node.
    #[serde(rename = "Self")]
    SelfAddress,
    /// What was received.
    Keep,
}

/// The node's end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SourceAddress {
    /// The node's address.
    #[default]
    UseNodeIP,
    /// What the kernel chooses.
    None,
}

/// Whether selected nodes peer back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReversePeering {
    /// They do.
    #[default]
    Auto,
    /// A BGPPeer of its own must say so.
    Manual,
}

/// A peer's address: `192.0.2.1`, `192.0.2.1:1179`, `fd00::1`, `[fd00::1]:1179`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The address.
    pub address: IpAddr,
    /// The port, where it is not 179.
    pub port: Option<u16>,
}

/// Why a text is no address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of a peer: must be {PEER_ADDRESS}")]
pub struct PeerAddressError;

const PEER_ADDRESS: &str = "an IP address, with a port as \"192.0.2.1:179\" or \"[2001:db8::1]:179\"";

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address, port: None });
        }
        let (address, port) = text.rsplit_once(':').ok_or(PeerAddressError)?;
        let address = match address.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
            Some(inner) => IpAddr::V6(inner.parse::<Ipv6Addr>().map_err(|_| PeerAddressError)?),
            None => IpAddr::V4(address.parse().map_err(|_| PeerAddressError)?),
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(PeerAddressError)?;
        Ok(Self { address, port: Some(port) })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, None) => address.fmt(f),
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
        }
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn peer_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PeerAddress>, D::Error> {
    text_or_empty(deserializer, PEER_ADDRESS)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    text_or_empty(deserializer, "an IP address")
}

/// The API writes an empty text for "not set".
fn text_or_empty<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D, allowed: &str) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &allowed)))
        .transpose()
}

/// The API writes 0 for "not set".
fn as_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AsNumber>, D::Error> {
    Ok(Option::<AsNumber>::deserialize(deserializer)?.filter(|number| number.0 != 0))
}

impl BgpPeerSpec {
    /// What is announced as next hop, in either form.
    pub fn next_hop_mode(&self) -> NextHopMode {
        let deprecated = if self.keep_original_next_hop { NextHopMode::Keep } else { NextHopMode::Auto };
        self.next_hop_mode.unwrap_or(deprecated)
    }

    pub(crate) fn validate(&self, out: &mut Vec<Invalid>) {
        let mut refuse = |field: &str, value: &dyn fmt::Display, allowed: &str| {
            out.push(Invalid::new(format!("spec.{field}"), value, allowed));
        };
        if let Some(selector) = self.node_selector.as_ref().filter(|_| !self.node.is_empty()) {
            refuse("nodeSelector", selector, "absent where node is set");
        }
        if let (Some(selector), Some(_)) = (&self.peer_selector, self.peer_ip) {
            refuse("peerSelector", selector, "absent where peerIP is set");
        }
        if let (Some(number), Some(_)) = (self.as_number, &self.peer_selector) {
            refuse("asNumber", &number, "absent where peerSelector is set");
        }
        if self.peer_ip.is_none() && self.peer_selector.is_none() && self.local_workload_selector.is_none() {
            refuse("peerIP", &"", "set, unless peerSelector or localWorkloadSelector is");
        }
        if let (Some(gateway), None) = (self.reachable_by, self.peer_ip) {
            refuse("reachableBy", &gateway, "absent where peerIP is");
        }
        if let (Some(gateway), Some(peer)) = (self.reachable_by, self.peer_ip)
            && (gateway.is_ipv4() != peer.address.is_ipv4() || gateway == peer.address)
        {
            refuse("reachableBy", &gateway, "another address of the family of peerIP");
        }
        if self.keep_original_next_hop && self.next_hop_mode.is_some() {
            refuse("keepOriginalNextHop", &true, "absent where nextHopMode is set");
        }
        for (field, selector) in [
            ("nodeSelector", &self.node_selector),
            ("peerSelector", &self.peer_selector),
            ("localWorkloadSelector", &self.local_workload_selector),
        ] {
            if let Some(selector) = selector.as_ref().filter(|selector| selector.uses_global()) {
                refuse(field, selector, "a selector without global()");
            }
        }
        if self.ttl_security == Some(0) {
            refuse("ttlSecurity", &0, "from 1 to 255");
        }
        if self.local_as_number == Some(AsNumber(0)) {
            refuse("localASNumber", &0, "from 1 to 4294967295");
        }
        if self.local_workload_selector.is_some() {
            self.validate_workload(out);
        }
    }

    fn validate_workload(&self, out: &mut Vec<Invalid>) {
        if let Some(address) = self.peer_ip {
            out.push(Invalid::new("spec.peerIP", address, "absent where localWorkloadSelector is set"));
        }
        if let Some(selector) = &self.peer_selector {
            out.push(Invalid::new("spec.peerSelector", selector, "absent where localWorkloadSelector is set"));
        }
        if self.as_number.is_none() {
            out.push(Invalid::new("spec.asNumber", "", "set where localWorkloadSelector is"));
        }
    }

    /// What the peer asks for that must not be left out: without it the session would do what was not meant.
    pub fn indispensable(&self) -> Vec<Unsupported> {
        let set = [(self.local_workload_selector.is_some(), "spec.localWorkloadSelector", "workloads do not peer")];
        set.into_iter().filter(|(set, ..)| *set).map(|(_, field, effect)| Unsupported::new(field, effect)).collect()
    }

    pub(crate) fn unsupported(&self, out: &mut Vec<Unsupported>) {
        out.extend(self.indispensable());
    }
}
