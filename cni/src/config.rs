//! The network configuration that the runtime writes to stdin.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnetwork::IpNetwork;
use proto::cni::NetworkConfig;
use serde_json::{Map, Value};

use crate::{
    arguments::{self, Verb},
    error::Error,
    section::Section,
    version::Version,
};

const DEFAULT_SOCKET: &str = "/run/tortie/felix.sock";
/// Smallest MTU of IPv4 (RFC 791 §3.2).
const MTU_MINIMUM: u32 = 68;
const MTU_MAXIMUM: u32 = 65_535;
const MTU_ALLOWED: &str = "a number of octets from 68 to 65535, or 0 for felix's choice";
const LABELS_ALLOWED: &str = "a list of {\"key\", \"value\"} or an object of strings";

/// Keys of Calico's plugin that say how to do what felix does here by itself.
const WITHOUT_MEANING: [&str; 42] = [
    "burst",
    "calico_api_group",
    "datastore_type",
    "endpoint_status_dir",
    "etcd_authority",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_discovery_srv",
    "etcd_endpoints",
    "etcd_key_file",
    "etcd_scheme",
    "feature_control",
    "hostname",
    "include_default_routes",
    "ipMasq",
    "ipam_lock_file",
    "kubernetes",
    "log_file_max_age",
    "log_file_max_count",
    "log_file_max_size",
    "log_file_path",
    "log_level",
    "nodename",
    "nodename_file",
    "nodename_file_optional",
    "num_queues",
    "policy",
    "policy_setup_timeout_seconds",
    "qps",
    "readiness_gates",
    "require_mtu_file",
    "vxlan_mac_prefix",
    "vxlan_vni",
    "windows_disable_default_deny_all_policy",
    "windows_loopback_DSR",
    "windows_pod_deletion_timestamp_timeout",
    "windows_use_single_network",
    "mode",
    "ipam.log_level",
    "ipam.upgrade",
    "ipam.routes",
    "ipam.nodename",
];

/// What tortie makes of the configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) version: Version,
    /// `name`.
    pub(crate) network: String,
    /// `socket`: where felix listens.
    pub(crate) socket: PathBuf,
    /// What felix acts on.
    pub(crate) felix: NetworkConfig,
    /// `dns`, handed on in the result.
    pub(crate) dns: Option<Value>,
    /// `prevResult`.
    pub(crate) prev_result: Option<Value>,
    /// What the operator should hear about, one sentence each.
    pub(crate) warnings: Vec<String>,
}

/// `cniVersion` of a configuration that may be broken otherwise, for the error object.
pub(crate) fn version_of(stdin: &[u8]) -> Option<Version> {
    let document: Value = serde_json::from_slice(stdin).ok()?;
    Version::parse(document.get("cniVersion")?.as_str()?)
}

/// Parses `cniVersion`, the first thing to be right about.
fn decode(stdin: &[u8]) -> Result<(Version, Map<String, Value>), Error> {
    let map: Map<String, Value> = serde_json::from_slice(stdin).map_err(Error::Decode)?;
    let asked = match map.get("cniVersion") {
        // Before the key existed (CNI 0.1.0) there was no version to say.
        None | Some(Value::Null) => "0.1.0".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let version = Version::parse(&asked).ok_or(Error::Version { asked })?;
    Ok((version, map))
}

impl Config {
    /// Reads the configuration for a verb. `args` is `CNI_ARGS`.
    pub(crate) fn read(verb: Verb, stdin: &[u8], args: &BTreeMap<String, String>) -> Result<Self, Error> {
        let (version, map) = decode(stdin)?;
        check_verb(verb, version)?;
        let mut top = Section::top(map);
        for spec_key in ["cniVersion", "type", "capabilities", "cni.dev/valid-attachments", "cni.dev/attachments"] {
            top.value(spec_key);
        }
        let network = network_name(&mut top)?;
        let socket = top.string("socket")?.map_or_else(|| Path::new(DEFAULT_SOCKET).to_owned(), PathBuf::from);
        let (dns, prev_result) = (top.value("dns"), top.value("prevResult"));
        if verb == Verb::Del {
            // What is to be taken away must not stay for the sake of a key that only matters to what is made.
            let felix = NetworkConfig::default();
            return Ok(Self { version, network, socket, felix, dns, prev_result, warnings: Vec::new() });
        }
        refuse_other_dataplanes(&mut top)?;
        let mtu = mtu(&mut top)?;

        let mut ipam = top.section("ipam")?;
        refuse_other_allocators(&mut ipam)?;
        let mut settings = top.section("container_settings")?;
        let mut runtime = top.section("runtimeConfig")?;
        let mut all_args = top.section("args")?;
        let mut cni_args = all_args.section("cni")?;
        let requested_ips = requested_ips(&mut runtime, &mut cni_args, args)?;
        let felix = NetworkConfig {
            labels: labels(&mut cni_args)?,
            requested_ips,
            ipv4_pools: ipam.strings("ipv4_pools")?,
            ipv6_pools: ipam.strings("ipv6_pools")?,
            assign_ipv4: ipam.boolean("assign_ipv4")?,
            assign_ipv6: ipam.boolean("assign_ipv6")?,
            mtu,
            allow_ip_forwarding: settings.boolean("allow_ip_forwarding")?.unwrap_or(false),
        };
        // `args` belongs to all plugins of a list: only what is under `args.cni` is said to this one.
        let sections = [top, ipam, settings, runtime, cni_args];
        let warnings = sections.into_iter().flat_map(Section::leftover).map(|key| warning(&key)).collect();
        Ok(Self { version, network, socket, felix, dns, prev_result, warnings })
    }
}

fn warning(key: &str) -> String {
    if WITHOUT_MEANING.contains(&key) {
        format!("network configuration: {key} has no meaning here and is ignored")
    } else {
        format!("network configuration: unknown key {key} is ignored; is it misspelt?")
    }
}

/// Verbs that came later than the version of the configuration.
fn check_verb(verb: Verb, version: Version) -> Result<(), Error> {
    let (needed, name) = match verb {
        Verb::Check => (Version::V0_4_0, "0.4.0"),
        Verb::Status | Verb::Gc => (Version::V1_1_0, "1.1.0"),
        Verb::Add | Verb::Del | Verb::Version => return Ok(()),
    };
    if version < needed {
        return Err(Error::VerbNeedsVersion { verb: verb.name(), needed: name, version });
    }
    Ok(())
}

fn network_name(top: &mut Section) -> Result<String, Error> {
    const ALLOWED: &str = "letters, digits, '_', '.' and '-', beginning with a letter or digit";
    let name = top.string("name")?.ok_or(Error::ConfigMissing { key: "name", allowed: ALLOWED })?;
    if !arguments::is_identifier(&name) {
        return Err(Error::Config { key: "name".to_owned(), value: name, allowed: ALLOWED });
    }
    Ok(name)
}

fn mtu(top: &mut Section) -> Result<u32, Error> {
    let mtu = top.unsigned("mtu", MTU_ALLOWED)?.unwrap_or(0);
    if mtu != 0 && !(MTU_MINIMUM..=MTU_MAXIMUM).contains(&mtu) {
        return Err(Error::Config { key: "mtu".to_owned(), value: mtu.to_string(), allowed: MTU_ALLOWED });
    }
    Ok(mtu)
}

/// Keys that would make another plugin of this one: to ignore them would do something else than was asked for.
fn refuse_other_dataplanes(top: &mut Section) -> Result<(), Error> {
    let instead = "tortie makes veth interfaces on Linux";
    if let Some(device) = top.string("device_type")?.filter(|device| device != "veth") {
        return Err(Error::Unsupported { key: "device_type", value: device, instead });
    }
    if let Some(kind) = top.section("dataplane_options")?.string("type")?.filter(|kind| kind != "linux") {
        return Err(Error::Unsupported { key: "dataplane_options.type", value: kind, instead });
    }
    Ok(())
}

fn refuse_other_allocators(ipam: &mut Section) -> Result<(), Error> {
    let instead = "addresses come from the IPPools: say calico-ipam, or leave it out";
    if let Some(kind) = ipam.string("type")?.filter(|kind| kind != "calico-ipam" && kind != "tortie") {
        return Err(Error::Unsupported { key: "ipam.type", value: kind, instead });
    }
    for (key, full) in [("subnet", "ipam.subnet"), ("ranges", "ipam.ranges")] {
        if let Some(value) = ipam.value(key) {
            return Err(Error::Unsupported { key: full, value: value.to_string(), instead });
        }
    }
    Ok(())
}

/// `runtimeConfig.ips`, `args.cni.ips` and `IP=` of `CNI_ARGS` together, each address once.
fn requested_ips(
    runtime: &mut Section,
    cni_args: &mut Section,
    args: &BTreeMap<String, String>,
) -> Result<Vec<String>, Error> {
    const ALLOWED: &str = "an IP address, with or without a prefix length";
    let from_args = args.get("IP").map(String::as_str).unwrap_or_default().split(',').filter(|ip| !ip.is_empty());
    let sources = [
        ("runtimeConfig.ips", runtime.strings("ips")?),
        ("args.cni.ips", cni_args.strings("ips")?),
        ("CNI_ARGS IP", from_args.map(str::to_owned).collect()),
    ];
    let mut seen = Vec::new();
    let mut requested = Vec::new();
    for (key, ips) in sources {
        for ip in ips {
            let address = ip.parse::<IpAddr>().or_else(|_| ip.parse::<IpNetwork>().map(|network| network.ip()));
            match address {
                Err(_) => return Err(Error::Config { key: key.to_owned(), value: ip, allowed: ALLOWED }),
                Ok(address) if seen.contains(&address) => {}
                Ok(address) => {
                    seen.push(address);
                    requested.push(ip);
                }
            }
        }
    }
    Ok(requested)
}

fn labels(cni_args: &mut Section) -> Result<std::collections::HashMap<String, String>, Error> {
    let Some(value) = cni_args.value("labels") else { return Ok(Default::default()) };
    let pairs: Option<_> = match &value {
        Value::Object(map) => map.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        Value::Array(items) => {
            let text = |item: &Value, key: &str| Some(item.get(key)?.as_str()?.to_owned());
            items.iter().map(|item| Some((text(item, "key")?, text(item, "value")?))).collect()
        }
        _ => None,
    };
    let refusal =
        || Error::Config { key: "args.cni.labels".to_owned(), value: value.to_string(), allowed: LABELS_ALLOWED };
    pairs.ok_or_else(refusal)
}

#[cfg(test)]
mod tests;
