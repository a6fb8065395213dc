use super::*;

fn read(verb: Verb, text: &str) -> Result<Config, Error> {
    Config::read(verb, text.as_bytes(), &BTreeMap::new())
}

fn add(extra: &str) -> Result<Config, Error> {
    read(Verb::Add, &format!(r#"{{"cniVersion": "1.0.0", "name": "net", "type": "tortie"{extra}}}"#))
}

#[test]
fn a_minimal_configuration_has_the_default_socket_and_no_wishes() {
    let config = add("").unwrap();
    assert_eq!(config.socket, Path::new("/run/tortie/felix.sock"));
    assert_eq!(config.felix, NetworkConfig::default());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn wishes_reach_felix() {
    let config = add(r#", "mtu": 1400, "socket": "/tmp/s", "container_settings": {"allow_ip_forwarding": true},
        "ipam": {"type": "calico-ipam", "assign_ipv4": "false", "assign_ipv6": true, "ipv6_pools": ["fd00::/112"]},
        "args": {"cni": {"labels": [{"key": "app", "value": "web"}]}}"#)
    .unwrap();
    assert_eq!(config.felix.mtu, 1400);
    assert_eq!((config.felix.assign_ipv4, config.felix.assign_ipv6), (Some(false), Some(true)));
    assert_eq!(config.felix.ipv6_pools, ["fd00::/112"]);
    assert_eq!(config.felix.labels["app"], "web");
    assert!(config.felix.allow_ip_forwarding);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn labels_may_be_an_object_too() {
    assert_eq!(add(r#", "args": {"cni": {"labels": {"app": "web"}}}"#).unwrap().felix.labels["app"], "web");
    assert_eq!(add(r#", "args": {"cni": {"labels": [{"key": "app"}]}}"#).unwrap_err().code(false), 7);
}

#[test]
fn requested_addresses_of_all_sources_are_joined_each_once() {
    let stdin = br#"{"cniVersion": "1.0.0", "name": "net", "runtimeConfig": {"ips": ["10.65.0.7/26"]},
        "args": {"cni": {"ips": ["fd00::7"]}}}"#;
    let args = BTreeMap::from([("IP".to_owned(), "10.65.0.7".to_owned())]);
    assert_eq!(Config::read(Verb::Add, stdin, &args).unwrap().felix.requested_ips, ["10.65.0.7/26", "fd00::7"]);
}

#[test]
fn a_requested_address_that_is_none_is_refused_by_name() {
    let error = add(r#", "runtimeConfig": {"ips": ["10.65.0"]}"#).unwrap_err();
    assert_eq!(error.code(false), 7);
    assert!(error.to_string().contains("runtimeConfig.ips: 10.65.0 is not allowed"), "{error}");
}

#[test]
fn keys_of_calico_without_meaning_here_are_named_in_a_warning() {
    let warnings = add(r#", "log_level": "info", "kubernetes": {"kubeconfig": "/x"}"#).unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| warning.contains("no meaning here")), "{warnings:?}");
}

#[test]
fn misspelt_keys_are_named_in_a_warning_wherever_they_stand() {
    let warnings = add(r#", "sokcet": "/x", "ipam": {"assign_ip4": true}, "container_settings": {"forward": true},
        "runtimeConfig": {"portMappings": []}, "args": {"cni": {"label": []}, "other-plugin": {}}"#)
    .unwrap()
    .warnings
    .join("\n");
    for key in
        ["sokcet", "ipam.assign_ip4", "container_settings.forward", "runtimeConfig.portMappings", "args.cni.label"]
    {
        assert!(warnings.contains(&format!("unknown key {key} ")), "{key} in {warnings}");
    }
    assert!(!warnings.contains("other-plugin"));
}

#[test]
fn another_allocator_is_refused_as_unsupported() {
    for extra in [r#""type": "host-local""#, r#""subnet": "usePodCidr""#] {
        let error = add(&format!(r#", "ipam": {{{extra}}}"#)).unwrap_err();
        assert_eq!(error.code(false), 2, "{error}");
    }
}

#[test]
fn another_device_or_dataplane_is_refused_as_unsupported() {
    assert_eq!(add(r#", "device_type": "netkit""#).unwrap_err().code(false), 2);
    assert_eq!(add(r#", "dataplane_options": {"type": "grpc", "socket": "x"}"#).unwrap_err().code(false), 2);
    assert!(add(r#", "device_type": "veth", "dataplane_options": {"type": "linux"}"#).unwrap().warnings.is_empty());
}

#[test]
fn a_value_of_the_wrong_sort_is_refused_with_its_path() {
    let error = add(r#", "ipam": {"assign_ipv4": "yes"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"network configuration, ipam.assign_ipv4: "yes" is not allowed, it must be true or false"#
    );
    assert_eq!(add(r#", "mtu": 20"#).unwrap_err().code(false), 7);
    assert_eq!(add(r#", "mtu": -1"#).unwrap_err().code(false), 7);
}

#[test]
fn an_unsupported_or_absent_version_is_code_1() {
    for text in
        [r#"{"cniVersion": "2.0.0", "name": "n"}"#, r#"{"cniVersion": "0.2.0", "name": "n"}"#, r#"{"name": "n"}"#]
    {
        assert_eq!(read(Verb::Add, text).unwrap_err().code(false), 1);
    }
}

#[test]
fn what_is_not_json_is_code_6() {
    assert_eq!(read(Verb::Add, "{").unwrap_err().code(false), 6);
    assert_eq!(read(Verb::Add, "[]").unwrap_err().code(false), 6);
}

#[test]
fn a_network_without_a_usable_name_is_code_7() {
    assert_eq!(read(Verb::Add, r#"{"cniVersion": "1.0.0"}"#).unwrap_err().code(false), 7);
    assert_eq!(read(Verb::Add, r#"{"cniVersion": "1.0.0", "name": "a/b"}"#).unwrap_err().code(false), 7);
}

#[test]
fn a_verb_that_is_newer_than_the_configuration_is_code_1() {
    let with = |version| format!(r#"{{"cniVersion": "{version}", "name": "net"}}"#);
    assert_eq!(read(Verb::Check, &with("0.3.1")).unwrap_err().code(false), 1);
    assert!(read(Verb::Check, &with("0.4.0")).is_ok());
    assert_eq!(read(Verb::Status, &with("1.0.0")).unwrap_err().code(true), 1);
    assert!(read(Verb::Status, &with("1.1.0")).is_ok());
}

#[test]
fn a_del_is_not_stopped_by_keys_that_only_an_add_needs() {
    let text = r#"{"cniVersion": "1.0.0", "name": "net", "socket": "/x", "mtu": -1, "ipam": {"type": "host-local"}}"#;
    assert_eq!(read(Verb::Del, text).unwrap().socket, Path::new("/x"));
}
