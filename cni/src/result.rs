//! The result of an ADD in the format of each version, and what a CHECK wants to know of an earlier one.

use ipnetwork::IpNetwork;
use proto::cni::AddResult;
use serde_json::{Map, Value, json};

use crate::{arguments::Arguments, config::Config, error::Error, version::Version};

const PREV_RESULT_ALLOWED: &str = "a result of this version of the specification";

/// The result for stdout: what the plugins before this one made, then the host's end, the container's end, its addresses
/// and routes.
pub(crate) fn add(config: &Config, arguments: &Arguments, added: &AddResult) -> Result<Value, Error> {
    let mut result = previous(config)?.unwrap_or_default();
    let interfaces = list(&mut result, "interfaces")?;
    let container = interfaces.len() + 1;
    interfaces.push(json!({"name": added.host_interface, "mac": added.host_mac}));
    let mut inside = json!({"name": arguments.if_name, "mac": added.container_mac, "sandbox": arguments.netns});
    if config.version >= Version::V1_1_0 && added.mtu != 0 {
        inside["mtu"] = json!(added.mtu);
    }
    interfaces.push(inside);

    let ips = list(&mut result, "ips")?;
    for address in &added.addresses {
        let mut ip = json!({"address": address, "interface": container});
        if config.version < Version::V1_0_0 {
            ip["version"] = json!(if address.contains(':') { "6" } else { "4" });
        }
        ips.push(ip);
    }
    let routes = list(&mut result, "routes")?;
    for route in &added.routes {
        let mut entry = json!({"dst": route.destination});
        if !route.gateway.is_empty() {
            entry["gw"] = json!(route.gateway);
        }
        routes.push(entry);
    }
    result.insert("cniVersion".to_owned(), json!(config.version.to_string()));
    let dns = config.dns.clone().unwrap_or_else(|| json!({}));
    result.entry("dns").or_insert(dns);
    Ok(Value::Object(result))
}

/// What `prevResult` promises of a container: the addresses in its network namespace, and the interfaces of the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    pub(crate) addresses: Vec<String>,
    pub(crate) host_interfaces: Vec<String>,
}

/// Reads `prevResult` for a CHECK, which must have one. Addresses of other interfaces of a chain are not ours to check.
pub(crate) fn promised(config: &Config, arguments: &Arguments) -> Result<Promised, Error> {
    let mut result = previous(config)?
        .ok_or(Error::ConfigMissing { key: "prevResult", allowed: "there when CNI_COMMAND is CHECK" })?;
    let interfaces = std::mem::take(list(&mut result, "interfaces")?);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = interfaces
        .iter()
        .position(|interface| text(interface, "name") == arguments.if_name && !text(interface, "sandbox").is_empty());
    let host_interfaces = interfaces.iter().filter(|interface| text(interface, "sandbox").is_empty());
    let mut addresses = Vec::new();
    for ip in list(&mut result, "ips")?.iter() {
        let interface = ip.get("interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        if interface.is_some() && interface != ours {
            continue;
        }
        let address = text(ip, "address");
        if address.parse::<IpNetwork>().is_err() {
            return Err(refusal("prevResult.ips.address", ip));
        }
        addresses.push(address);
    }
    Ok(Promised { addresses, host_interfaces: host_interfaces.map(|interface| text(interface, "name")).collect() })
}

fn previous(config: &Config) -> Result<Option<Map<String, Value>>, Error> {
    match &config.prev_result {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone())),
        Some(other) => Err(refusal("prevResult", other)),
    }
}

/// The list under a key of a result, made if it is not there.
fn list<'a>(result: &'a mut Map<String, Value>, key: &'static str) -> Result<&'a mut Vec<Value>, Error> {
    let value = result.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Error::Config {
            key: format!("prevResult.{key}"),
            value: other.to_string(),
            allowed: PREV_RESULT_ALLOWED,
        }),
    }
}

fn refusal(key: &str, value: &Value) -> Error {
    Error::Config { key: key.to_owned(), value: value.to_string(), allowed: PREV_RESULT_ALLOWED }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proto::cni::PodRoute;

    use super::*;
    use crate::arguments::Verb;

    fn arguments() -> Arguments {
        Arguments {
            container_id: "c0ffee".into(),
            netns: "/run/netns/x".into(),
            if_name: "eth0".into(),
            args: BTreeMap::new(),
        }
    }

    fn added() -> AddResult {
        AddResult {
            host_interface: "cali0123456789a".into(),
            host_mac: "ee:ee:ee:ee:ee:ee".into(),
            container_mac: "02:00:00:00:00:07".into(),
            addresses: vec!["10.65.0.7/32".into(), "fd00::7/128".into()],
            routes: vec![
                PodRoute { destination: "169.254.1.1/32".into(), gateway: String::new() },
                PodRoute { destination: "0.0.0.0/0".into(), gateway: "169.254.1.1".into() },
            ],
            mtu: 1500,
        }
    }

    fn config(version: &str, extra: &str) -> Config {
        let text = format!(r#"{{"cniVersion": "{version}", "name": "net"{extra}}}"#);
        Config::read(Verb::Add, text.as_bytes(), &BTreeMap::new()).unwrap()
    }

    fn result(version: &str, extra: &str) -> Value {
        add(&config(version, extra), &arguments(), &added()).unwrap()
    }

    #[test]
    fn a_result_before_1_0_says_the_family_of_each_address() {
        for version in ["0.3.1", "0.4.0"] {
            assert_eq!(
                result(version, ""),
                json!({
                    "cniVersion": version,
                    "interfaces": [
                        {"name": "cali0123456789a", "mac": "ee:ee:ee:ee:ee:ee"},
                        {"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/x"},
                    ],
                    "ips": [
                        {"version": "4", "address": "10.65.0.7/32", "interface": 1},
                        {"version": "6", "address": "fd00::7/128", "interface": 1},
                    ],
                    "routes": [{"dst": "169.254.1.1/32"}, {"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
                    "dns": {},
                })
            );
        }
    }

    #[test]
    fn a_result_of_1_0_has_no_family() {
        let result = result("1.0.0", "");
        assert_eq!(result["ips"][0], json!({"address": "10.65.0.7/32", "interface": 1}));
        assert_eq!(result["interfaces"][1].get("mtu"), None);
    }

    #[test]
    fn a_result_of_1_1_says_the_mtu() {
        assert_eq!(result("1.1.0", "")["interfaces"][1]["mtu"], 1500);
    }

    #[test]
    fn dns_of_the_configuration_is_handed_on() {
        assert_eq!(
            result("1.0.0", r#", "dns": {"nameservers": ["10.96.0.10"]}"#)["dns"]["nameservers"][0],
            "10.96.0.10"
        );
    }

    #[test]
    fn a_previous_result_comes_first_and_indices_follow_it() {
        let result = result(
            "1.0.0",
            r#", "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/x"}],
               "ips": [{"address": "192.0.2.9/24", "interface": 0}], "dns": {"domain": "x"}}"#,
        );
        assert_eq!(result["interfaces"][0]["name"], "net1");
        assert_eq!(result["interfaces"][2]["name"], "eth0");
        assert_eq!(result["ips"][1], json!({"address": "10.65.0.7/32", "interface": 2}));
        assert_eq!(result["dns"]["domain"], "x");
    }

    #[test]
    fn a_previous_result_that_is_none_is_refused() {
        let broken = config("1.0.0", r#", "prevResult": {"ips": 7}"#);
        let error = add(&broken, &arguments(), &added()).unwrap_err();
        assert!(error.to_string().contains("prevResult.ips: 7"), "{error}");
    }

    #[test]
    fn a_check_asks_for_what_add_promised() {
        let first = result("1.0.0", "");
        let again = config("1.0.0", &format!(r#", "prevResult": {first}"#));
        assert_eq!(
            promised(&again, &arguments()).unwrap(),
            Promised {
                addresses: vec!["10.65.0.7/32".into(), "fd00::7/128".into()],
                host_interfaces: vec!["cali0123456789a".into()],
            }
        );
    }

    #[test]
    fn a_check_without_a_previous_result_is_refused() {
        assert_eq!(promised(&config("1.0.0", ""), &arguments()).unwrap_err().code(false), 7);
    }
}
