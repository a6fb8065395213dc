//! The file of a bgpd that runs alone: on a top-of-rack router, as a route reflector, in a lab.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ipnetwork::IpNetwork;
use resources::{Invalid, PeerOptions};
use serde::Deserialize;

use crate::password::Password;

/// A router's configuration. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StaticConfig {
    /// Name shown in status. Default `router`.
    #[serde(default = "default_name")]
    pub(crate) name: String,
    /// Local AS number.
    pub(crate) as_number: u32,
    /// BGP Identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Port to listen on. Default 179.
    #[serde(default = "default_port")]
    pub(crate) listen_port: u16,
    /// Cluster id as a route reflector; default the router id.
    #[serde(default)]
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// Our next hop for IPv4 routes on sessions over IPv6.
    #[serde(default)]
    pub(crate) ipv4_next_hop: Option<Ipv4Addr>,
    /// Our next hop for IPv6 routes on sessions over IPv4.
    #[serde(default)]
    pub(crate) ipv6_next_hop: Option<Ipv6Addr>,
    /// Learned routes go into the kernel. Default true; a pure reflector says false.
    #[serde(default = "default_true")]
    pub(crate) install_routes: bool,
    /// At the end, peers are told for this many seconds that traffic shall find another way (RFC 8326). Default: an end is
    /// a restart.
    #[serde(default)]
    pub(crate) drain_time: Option<u16>,
    /// Prefixes of our own.
    #[serde(default)]
    pub(crate) originate: Vec<IpNetwork>,
    /// Whom to talk to.
    #[serde(default)]
    pub(crate) peers: Vec<StaticPeer>,
    /// Socket of the status API.
    #[serde(default = "default_socket")]
    pub(crate) socket: PathBuf,
    /// Folder for what must survive the daemon but not a reboot. Default `/run/tortie`.
    #[serde(default = "default_state_directory")]
    pub(crate) state_directory: PathBuf,
    /// Log filter.
    #[serde(default = "default_log")]
    pub(crate) log: String,
}

/// One peer of a router. Without `import: accept` nothing from an external peer is used and without `export: accept`
/// nothing is sent to it (RFC 8212 §3).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StaticPeer {
    /// Name shown in status.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its port. Default 179.
    #[serde(default = "default_port")]
    pub(crate) port: u16,
    /// Its AS number.
    pub(crate) as_number: u32,
    /// Our address on the session; default what the routing table says.
    #[serde(default)]
    pub(crate) local_address: Option<IpAddr>,
    /// File that holds its password (TCP MD5, RFC 2385), 1 to 80 bytes; one line break at its end does not count.
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// What it holds.
    #[serde(skip)]
    pub(crate) password: Option<Password>,
    /// It is a client of our reflection.
    #[serde(default)]
    pub(crate) route_reflector_client: bool,
    /// The options that a session in a cluster has as well.
    #[serde(flatten)]
    pub(crate) options: PeerOptions,
    /// What is used of its routes.
    #[serde(default)]
    pub(crate) import: Option<StaticPolicy>,
    /// What is sent to it.
    #[serde(default)]
    pub(crate) export: Option<StaticPolicy>,
}

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StaticPolicy {
    /// Everything that the built-in guards let through.
    Accept,
    /// Nothing.
    Reject,
}

/// Why a router's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {value}; allowed: {allowed}")]
pub(crate) struct InvalidConfig {
    field: String,
    value: String,
    allowed: String,
}

impl StaticConfig {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// The first field that holds what it must not hold.
    pub(crate) fn validate(&self) -> Result<(), InvalidConfig> {
        let refuse = |field: String, value: String, allowed: &str| {
            Err(InvalidConfig { field, value, allowed: allowed.to_owned() })
        };
        if self.as_number == 0 {
            return refuse("asNumber".to_owned(), "0".to_owned(), "1 to 4294967295");
        }
        if self.router_id.is_unspecified() {
            return refuse("routerId".to_owned(), "0.0.0.0".to_owned(), "any address but 0.0.0.0");
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let field = |name: &str| format!("peers[{index}].{name}");
            if peer.as_number == 0 {
                return refuse(field("asNumber"), "0".to_owned(), "1 to 4294967295");
            }
            let mut invalid = Vec::new();
            peer.options.validate(&field, &mut invalid);
            if let Some(Invalid { field, value, allowed }) = invalid.into_iter().next() {
                return Err(InvalidConfig { field, value, allowed });
            }
            if let Some(role) = peer.options.role.filter(|_| peer.as_number == self.as_number) {
                return refuse(field("role"), format!("{role:?}"), "none for a peer of our own AS");
            }
            let earlier = self.peers.iter().take(index);
            if earlier.clone().any(|other| other.name == peer.name) {
                return refuse(field("name"), peer.name.clone(), "a name that no other peer has");
            }
            if earlier.clone().any(|other| other.address == peer.address) {
                return refuse(field("address"), peer.address.to_string(), "an address that no other peer has");
            }
        }
        Ok(())
    }
}

impl StaticConfig {
    /// The files that it names.
    pub(crate) fn named_files(&self) -> Vec<PathBuf> {
        self.peers.iter().filter_map(|peer| peer.password_file.clone()).collect()
    }

    /// What of a changed file takes effect at the next start only, a sentence each.
    pub(crate) fn needs_restart(&self, in_force: &Self) -> Vec<String> {
        let fields = [
            ("name", self.name != in_force.name),
            ("socket", self.socket != in_force.socket),
            ("stateDirectory", self.state_directory != in_force.state_directory),
            ("drainTime", self.drain_time != in_force.drain_time),
            ("installRoutes", self.install_routes != in_force.install_routes),
            ("log", self.log != in_force.log),
        ];
        let changed = fields.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(field, _)| format!("{field}: the change takes effect at the next start")).collect()
    }
}

fn default_name() -> String {
    "router".to_owned()
}

const fn default_port() -> u16 {
    179
}

const fn default_true() -> bool {
    true
}

fn default_socket() -> PathBuf {
    PathBuf::from(daemon::config::BGPD_SOCKET)
}

fn default_state_directory() -> PathBuf {
    PathBuf::from("/run/tortie")
}

fn default_log() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bfd: &str) -> Result<StaticConfig, String> {
        let text = format!(
            "asNumber: 65001\nrouterId: 192.0.2.1\npeers: [{{name: p, address: 192.0.2.2, asNumber: 65002, bfd: {bfd}}}]"
        );
        let config: StaticConfig = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn bfd_of_a_peer_is_read_and_a_mistake_in_it_is_refused_with_field_value_and_what_is_allowed() {
        let bfd = read("{minInterval: 100ms, multiplier: 5}").unwrap().peers[0].options.bfd.unwrap();
        assert_eq!((bfd.min_receive().0.as_millis(), bfd.multiplier), (100, 5));
        assert_eq!(read("{}").unwrap().peers[0].options.bfd, Some(resources::Bfd::default()));
        let refused = read("{minInterval: 1ms}").unwrap_err();
        assert_eq!(refused, "peers[0].bfd.minInterval: 0.001s; allowed: from 10ms to 60s");
        assert!(read("{interval: 1s}").unwrap_err().contains("interval"));
    }
}
