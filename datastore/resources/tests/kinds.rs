//! Defaults, forms and validation of every kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use resources::{
    AffinityState, AllowedUse, AsNumber, BgpConfiguration, BgpFilter, BgpPeer, BlockAffinity, Cidr, Community,
    Duration, EncapsulationMode, FelixConfiguration, IpPool, IpamBlock, IpamConfiguration, IpamHandle, Kind,
    NetworkPolicy, NextHopMode, Node, Object, PeerAddress, Pod, PortRange, Recognition, Resource, Timestamp, recognize,
};
use serde_json::{Value, json};

fn read(kind: Kind, spec: Value) -> Result<Resource, String> {
    let manifest =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "x"}, "spec": spec});
    Resource::deserialize(kind, manifest).map_err(|error| error.to_string())
}

fn valid<T: Object>(spec: Value) -> T {
    let resource = read(T::KIND, spec).unwrap();
    resource.validate().unwrap();
    T::from_resource(resource).unwrap()
}

/// What is wrong with a spec, as `FIELD: ALLOWED`.
fn wrong(kind: Kind, spec: Value) -> Vec<String> {
    let invalid = read(kind, spec).unwrap().validate().err().unwrap_or_default();
    invalid.into_iter().map(|invalid| format!("{}: {}", invalid.field, invalid.allowed)).collect()
}

fn unsupported(kind: Kind, spec: Value) -> Vec<String> {
    read(kind, spec).unwrap().unsupported().into_iter().map(|unsupported| unsupported.field).collect()
}

#[test]
fn kinds_are_recognized_in_both_groups_of_calico_and_as_lists() {
    assert_eq!(recognize("projectcalico.org/v3", "IPPool"), Recognition::Kind(Kind::IpPool));
    assert_eq!(recognize("crd.projectcalico.org/v1", "IPPool"), Recognition::Kind(Kind::IpPool));
    assert_eq!(recognize("crd.projectcalico.org/v1", "IPAMConfig"), Recognition::Kind(Kind::IpamConfiguration));
    assert_eq!(recognize("networking.k8s.io/v1", "NetworkPolicy"), Recognition::Kind(Kind::NetworkPolicy));
    assert_eq!(recognize("projectcalico.org/v3", "NetworkPolicy"), Recognition::Ignored);
    assert_eq!(recognize("v1", "List"), Recognition::List(None));
    assert_eq!(recognize("v1", "PodList"), Recognition::List(Some(Kind::Pod)));
    assert_eq!(recognize("projectcalico.org/v3", "IPPoolList"), Recognition::List(Some(Kind::IpPool)));
    assert_eq!(recognize("apps/v1", "Deployment"), Recognition::Ignored);
    for kind in Kind::ALL {
        assert_eq!(Kind::of(kind.api_version(), kind.name()), Some(*kind));
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let specs = [
        (
            Kind::IpPool,
            json!({"cidr": "10.0.0.0/16", "ipipMode": "CrossSubnet", "nodeSelector": "has(a)", "nat-outgoing": true}),
        ),
        (Kind::IpReservation, json!({"reservedCIDRs": ["10.0.0.0/24"]})),
        (Kind::IpamConfiguration, json!({"strictAffinity": true, "maxBlocksPerHost": 20})),
        (
            Kind::BlockAffinity,
            json!({"state": "pendingDeletion", "node": "n", "cidr": "10.0.0.0/26", "deleted": "true"}),
        ),
        (Kind::IpamHandle, json!({"handleID": "h", "block": {"10.0.0.0/26": 1}})),
        (Kind::BgpConfiguration, json!({"asNumber": "1.10", "nodeMeshMaxRestartTime": "2m", "listenPort": 1790})),
        (
            Kind::BgpPeer,
            json!({"peerIP": "[fd00::1]:1179", "asNumber": 65000, "nextHopMode": "Self", "ttlSecurity": 2}),
        ),
        (Kind::BgpFilter, json!({"importV4": [{"action": "Accept", "communities": {"values": ["1:2:3"]}}]})),
        (Kind::FelixConfiguration, json!({"natPortRange": "1024:2048", "bpfEnabled": false})),
        (Kind::NetworkPolicy, json!({"podSelector": {}, "ingress": [{"ports": [{"port": "http"}]}]})),
        (Kind::Node, json!({"podCIDRs": ["10.0.0.0/24"], "taints": [{"key": "a", "effect": "NoSchedule"}]})),
        (Kind::Pod, json!({"nodeName": "n", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]})),
        (Kind::Namespace, json!({})),
    ];
    for (kind, spec) in specs {
        let resource = read(kind, spec).unwrap();
        let written = resource.to_json().unwrap();
        assert_eq!(written["kind"], kind.name());
        assert_eq!(Resource::deserialize(kind, &written).unwrap(), resource);
    }
}

#[test]
fn null_means_absent() {
    let pool: IpPool =
        valid(json!({"cidr": "10.0.0.0/16", "blockSize": null, "nodeSelector": null, "allowedUses": null,
        "vxlanMode": null, "natOutgoing": null, "namespaceSelector": null}));
    assert_eq!(pool.spec, valid::<IpPool>(json!({"cidr": "10.0.0.0/16"})).spec);
    let policy: NetworkPolicy = valid(json!({"podSelector": null, "ingress": null, "policyTypes": null}));
    assert_eq!(policy.spec, valid::<NetworkPolicy>(json!({})).spec);
}

#[test]
fn a_pool_has_calicos_defaults() {
    let v4: IpPool = valid(json!({"cidr": "10.0.0.0/16"}));
    assert_eq!(
        (v4.spec.block_prefix(), v4.spec.ipip(), v4.spec.vxlan_mode),
        (26, EncapsulationMode::Never, EncapsulationMode::Never)
    );
    assert!(v4.spec.node_selector.is_all() && v4.spec.namespace_selector.is_none());
    assert!(!v4.spec.masquerades() && !v4.spec.disabled && !v4.spec.disable_bgp_export);
    assert!(v4.spec.allows(AllowedUse::Workload) && v4.spec.allows(AllowedUse::Tunnel));
    assert!(!v4.spec.allows(AllowedUse::LoadBalancer));
    assert_eq!(valid::<IpPool>(json!({"cidr": "fd00::/48"})).spec.block_prefix(), 122);
    let old: IpPool =
        valid(json!({"cidr": "10.0.0.0/16", "ipip": {"enabled": true, "mode": "cross-subnet"}, "nat-outgoing": true}));
    assert_eq!((old.spec.ipip(), old.spec.masquerades()), (EncapsulationMode::CrossSubnet, true));
    let empty: IpPool = valid(
        json!({"cidr": "10.0.0.0/16", "vxlanMode": "", "ipipMode": "", "nodeSelector": "", "assignmentMode": ""}),
    );
    assert_eq!(empty.spec.vxlan_mode, EncapsulationMode::Never);
}

#[test]
fn every_rule_of_a_pool_is_checked() {
    let cases = [
        (json!({"cidr": "10.1.2.3/16"}), "spec.cidr: 10.1.0.0/16, without host bits"),
        (json!({"cidr": "169.254.1.0/24"}), "spec.cidr: outside 169.254.0.0/16"),
        (json!({"cidr": "fe80::/64"}), "spec.cidr: outside fe80::/10"),
        (json!({"cidr": "10.0.0.0/16", "blockSize": 19}), "spec.blockSize: from 20 to 32"),
        (json!({"cidr": "fd00::/64", "blockSize": 64}), "spec.blockSize: from 116 to 128"),
        (json!({"cidr": "10.0.0.0/27"}), "spec.cidr: a prefix that holds a block: at most /26"),
        (
            json!({"cidr": "10.0.0.0/16", "ipipMode": "Always", "vxlanMode": "Always"}),
            "spec.ipipMode: Never where vxlanMode is not Never",
        ),
        (json!({"cidr": "fd00::/64", "ipipMode": "Always"}), "spec.ipipMode: Never in an IPv6 pool"),
        (json!({"cidr": "10.0.0.0/16", "nodeSelector": "global()"}), "spec.nodeSelector: a selector without global()"),
        (
            json!({"cidr": "10.0.0.0/16", "namespaceSelector": "!global()"}),
            "spec.namespaceSelector: a selector without global()",
        ),
        (
            json!({"cidr": "10.0.0.0/16", "allowedUses": ["Tunnel"], "namespaceSelector": "all()"}),
            "spec.namespaceSelector: absent where allowedUses has Tunnel",
        ),
        (
            json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer", "Workload"]}),
            "spec.allowedUses: LoadBalancer alone",
        ),
        (
            json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer"], "vxlanMode": "Always"}),
            "spec.vxlanMode: Never in a pool for LoadBalancer",
        ),
        (
            json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer"], "disableBGPExport": true}),
            "spec.disableBGPExport: false in a pool for LoadBalancer",
        ),
        (
            json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer"], "nodeSelector": "has(a)"}),
            "spec.nodeSelector: all() in a pool for LoadBalancer",
        ),
    ];
    for (spec, finding) in cases {
        assert_eq!(wrong(Kind::IpPool, spec.clone()), [finding], "{spec}");
    }
    let used = unsupported(Kind::IpPool, json!({"cidr": "10.0.0.0/16", "ipipMode": "CrossSubnet"}));
    assert_eq!(used, ["spec.ipipMode"]);
    assert_eq!(unsupported(Kind::IpPool, json!({"cidr": "10.0.0.0/16", "vxlanMode": "Always"})), ["spec.vxlanMode"]);
    assert_eq!(unsupported(Kind::IpPool, json!({"cidr": "10.0.0.0/16"})), Vec::<String>::new());
}

#[test]
fn a_block_is_read_and_written_in_calicos_spelling() {
    let written = json!({
        "cidr": "10.0.0.0/30", "affinity": "host:node-1", "affinityClaimTime": "2026-11-24T12:00:00Z",
        "allocations": [0, null, 1, null], "unallocated": [3, 1],
        "attributes": [
            {"handle_id": "ipip-tunnel-addr-node-1", "secondary": {"node": "node-1", "type": "ipipTunnelAddress"}},
            {"handle_id": "k8s-pod-network.abc", "secondary": {"pod": "web"}, "releasedAt": "2026-11-24T12:00:01Z"}
        ],
        "sequenceNumber": 7, "sequenceNumberForAllocation": {"0": 5, "2": 6}, "deleted": false, "strictAffinity": false
    });
    let block: IpamBlock = valid(written.clone());
    assert_eq!(block.spec.allocations, [Some(0), None, Some(1), None]);
    let mut expected = written;
    expected.as_object_mut().unwrap().remove("deleted");
    assert_eq!(Resource::from(block).to_json().unwrap()["spec"], expected);
    assert_eq!(
        wrong(
            Kind::IpamBlock,
            json!({"cidr": "10.0.0.0/30", "allocations": [0, null], "unallocated": [0], "attributes": []})
        ),
        [
            "spec.allocations: 4 entries, as many as 10.0.0.0/30 has addresses (at most 65536)",
            "spec.allocations[0]: an index of spec.attributes, which has 0 entries",
            "spec.unallocated[0]: an address that spec.allocations does not assign",
        ]
    );
    let affinity: BlockAffinity =
        valid(json!({"state": "confirmed", "node": "n", "type": "host", "cidr": "10.0.0.0/26", "deleted": "false"}));
    assert_eq!((affinity.spec.state, affinity.spec.deleted), (AffinityState::Confirmed, false));
    let handle: IpamHandle = valid(json!({"handleID": "h", "block": {"10.0.0.0/26": 2}, "deleted": true}));
    assert_eq!((handle.spec.block["10.0.0.0/26"], handle.spec.deleted), (2, true));
    assert!(valid::<IpamConfiguration>(json!({"strictAffinity": true})).spec.auto_allocate_blocks);
    assert_eq!(
        wrong(Kind::IpamConfiguration, json!({"ipCooldownSeconds": 1201})),
        ["spec.ipCooldownSeconds: at most 1200"]
    );
}

#[test]
fn bgp_settings_have_calicos_defaults_and_rules() {
    let settings: BgpConfiguration = valid(json!({}));
    let spec = &settings.spec;
    assert_eq!((spec.as_number(), spec.listen_port(), spec.node_to_node_mesh_enabled()), (64512, 179, true));
    assert_eq!((spec.ipv4_normal_route_priority(), spec.ipv6_normal_route_priority()), (1024, 1024));
    let named: BgpConfiguration = valid(json!({"communities": [{"name": "blue", "value": "64512:1"}],
        "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["blue", "1:2:3"]}]}));
    let advertisement = &named.spec.prefix_advertisements[0];
    assert_eq!(named.spec.resolve(advertisement), [Community::Standard(64512, 1), Community::Large(1, 2, 3)]);
    let cases = [
        (
            json!({"nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "1s"}),
            "spec.nodeMeshMaxRestartTime: absent where nodeToNodeMeshEnabled is false",
        ),
        (
            json!({"nodeToNodeMeshEnabled": false, "nodeMeshPassword": {"secretKeyRef": {"name": "a", "key": "b"}}}),
            "spec.nodeMeshPassword: absent where nodeToNodeMeshEnabled is false",
        ),
        (json!({"communities": [{"name": "a", "value": "1:1"}]}), "spec.communities: used in prefixAdvertisements"),
        (
            json!({"prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["red"]}]}),
            "spec.prefixAdvertisements[0].communities[0]: \"aa:nn\", \"aa:nn:mm\", or a name from spec.communities",
        ),
        (json!({"ipv4NormalRoutePriority": 0}), "spec.ipv4NormalRoutePriority: from 1 to 2147483646"),
        (json!({"listenPort": 0}), "spec.listenPort: from 1 to 65535"),
        (
            json!({"programClusterRoutes": "Yes"}),
            "spec.programClusterRoutes: one of Enabled, Disabled, EnabledIPIPOnly, EnabledNoEncapOnly",
        ),
    ];
    for (spec, finding) in cases {
        assert_eq!(wrong(Kind::BgpConfiguration, spec.clone()), [finding], "{spec}");
    }
    let spec = json!({"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}], "localWorkloadPeeringIPV4": "169.254.1.1"});
    assert_eq!(unsupported(Kind::BgpConfiguration, spec), ["spec.localWorkloadPeeringIPV4"]);
}

#[test]
fn every_rule_of_a_peer_is_checked() {
    let peer: BgpPeer =
        valid(json!({"peerIP": "192.0.2.1", "asNumber": 0, "keepOriginalNextHop": true, "nodeSelector": ""}));
    assert_eq!(
        (peer.spec.as_number, peer.spec.next_hop_mode(), &peer.spec.node_selector),
        (None, NextHopMode::Keep, &None)
    );
    let cases = [
        (
            json!({"peerIP": "192.0.2.1", "node": "a", "nodeSelector": "all()"}),
            "spec.nodeSelector: absent where node is set",
        ),
        (json!({"peerIP": "192.0.2.1", "peerSelector": "all()"}), "spec.peerSelector: absent where peerIP is set"),
        (json!({"peerSelector": "all()", "asNumber": 1}), "spec.asNumber: absent where peerSelector is set"),
        (json!({"peerSelector": "all()", "reachableBy": "10.0.0.1"}), "spec.reachableBy: absent where peerIP is"),
        (
            json!({"peerIP": "192.0.2.1", "reachableBy": "fd00::1"}),
            "spec.reachableBy: another address of the family of peerIP",
        ),
        (json!({}), "spec.peerIP: set, unless peerSelector or localWorkloadSelector is"),
        (
            json!({"peerIP": "192.0.2.1", "keepOriginalNextHop": true, "nextHopMode": "Auto"}),
            "spec.keepOriginalNextHop: absent where nextHopMode is set",
        ),
        (json!({"peerSelector": "global()"}), "spec.peerSelector: a selector without global()"),
        (json!({"localWorkloadSelector": "all()"}), "spec.asNumber: set where localWorkloadSelector is"),
        (
            json!({"localWorkloadSelector": "all()", "asNumber": 1, "peerIP": "192.0.2.1"}),
            "spec.peerIP: absent where localWorkloadSelector is set",
        ),
        (json!({"peerIP": "192.0.2.1", "ttlSecurity": 0}), "spec.ttlSecurity: from 1 to 255"),
    ];
    for (spec, finding) in cases {
        assert_eq!(wrong(Kind::BgpPeer, spec.clone()), [finding], "{spec}");
    }
    let spec = json!({"localWorkloadSelector": "all()", "asNumber": 65001});
    assert_eq!(unsupported(Kind::BgpPeer, spec), ["spec.localWorkloadSelector"]);
}

#[test]
fn every_rule_of_a_filter_is_checked() {
    let all: BgpFilter = valid(
        json!({"exportV6": [{"cidr": "fd00::/8", "matchOperator": "In", "prefixLength": {"min": 16, "max": 64},
        "source": "RemotePeers", "interface": "eth0", "peerType": "eBGP", "communities": {"values": ["1:2"]},
        "asPathPrefix": [65000, "1.1"], "priority": 1024, "action": "Accept",
        "operations": [{"addCommunity": {"value": "1:2:3"}}, {"prependASPath": {"prefix": [1]}}, {"setPriority": {"value": 7}}]}]}),
    );
    assert_eq!(all.spec.export_v6[0].as_path_prefix, [AsNumber(65000), AsNumber(65537)]);
    let spec = json!({"importV4": [{"action": "Accept"}, {"action": "Reject", "interface": "eth0"}]});
    assert_eq!(unsupported(Kind::BgpFilter, spec), ["spec.importV4[1].interface"]);
    let cases = [
        (json!({"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"}), "cidr: an IPv4 prefix"),
        (json!({"action": "Accept", "matchOperator": "In"}), "matchOperator: absent where cidr is"),
        (json!({"action": "Accept", "prefixLength": {"min": 8}}), "prefixLength: absent where cidr is"),
        (
            json!({"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 9, "max": 33}}),
            "prefixLength.max: from 0 to 32",
        ),
        (
            json!({"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 9, "max": 8}}),
            "prefixLength.min: at most max, which is 8",
        ),
        (json!({"action": "Accept", "communities": {"values": []}}), "communities.values: exactly one value"),
        (
            json!({"action": "Reject", "operations": [{"setPriority": {"value": 1}}]}),
            "operations: absent where action is Reject",
        ),
        (json!({"action": "Accept", "operations": []}), "operations: 1 to 10 entries"),
        (
            json!({"action": "Accept", "operations": [{}]}),
            "operations[0]: exactly one of addCommunity, prependASPath, setPriority",
        ),
        (
            json!({"action": "Accept", "operations": [{"prependASPath": {"prefix": []}}]}),
            "operations[0].prependASPath.prefix: 1 to 10 AS numbers",
        ),
        (
            json!({"action": "Accept", "operations": [{"setPriority": {"value": 0}}]}),
            "operations[0].setPriority.value: from 1 to 2147483646",
        ),
    ];
    for (rule, finding) in cases {
        assert_eq!(
            wrong(Kind::BgpFilter, json!({"importV4": [rule]})),
            [format!("spec.importV4[0].{finding}")],
            "{rule}"
        );
    }
}

#[test]
fn the_agents_settings_name_every_field_that_changes_nothing() {
    let settings: FelixConfiguration = valid(json!({}));
    assert_eq!((settings.spec.interface_prefix(), settings.spec.ipv6_support()), ("cali", true));
    let spec = json!({"bpfEnabled": false, "reportingInterval": "0s", "natPortRange": 80, "failsafeInboundHostPorts": [{"protocol": "tcp", "port": 22}]});
    assert_eq!(
        unsupported(Kind::FelixConfiguration, spec),
        ["spec.failsafeInboundHostPorts", "spec.bpfEnabled", "spec.reportingInterval"]
    );
    assert_eq!(
        wrong(Kind::FelixConfiguration, json!({"interfacePrefx": "x"})),
        ["spec.interfacePrefx: absent: FelixConfiguration has no such field"]
    );
    let spec = json!({"interfacePrefix": "toolong"});
    assert!(wrong(Kind::FelixConfiguration, spec)[0].starts_with("spec.interfacePrefix: 1 to 4 letters"));
}

#[test]
fn every_rule_of_a_network_policy_is_checked() {
    let cases = [
        (
            json!({"ingress": [{"from": [{}]}]}),
            "spec.ingress[0].from[0]: a podSelector, a namespaceSelector, both, or an ipBlock",
        ),
        (
            json!({"egress": [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]}),
            "spec.egress[0].to[0].ipBlock: absent beside a selector",
        ),
        (
            json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}),
            "spec.egress[0].to[0].ipBlock.except[0]: a longer prefix within ipBlock.cidr",
        ),
        (
            json!({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}),
            "spec.ingress[0].ports[0].endPort: absent unless port is a number",
        ),
        (
            json!({"ingress": [{"ports": [{"endPort": 90}]}]}),
            "spec.ingress[0].ports[0].endPort: absent unless port is a number",
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.podSelector.matchExpressions[0].values: at least one value for In and NotIn",
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
            "spec.podSelector.matchExpressions[0].values: empty for Exists and DoesNotExist",
        ),
    ];
    for (spec, finding) in cases {
        assert_eq!(wrong(Kind::NetworkPolicy, spec.clone()), [finding], "{spec}");
    }
    assert!(
        wrong(Kind::NetworkPolicy, json!({"ingress": [{"ports": [{"port": "HTTP"}]}]}))[0]
            .starts_with("spec.ingress[0].ports[0].port")
    );
    let isolates = |spec: Value| {
        let policy: NetworkPolicy = valid(spec);
        (policy.spec.isolates_ingress(), policy.spec.isolates_egress())
    };
    assert_eq!(isolates(json!({})), (true, false));
    assert_eq!(isolates(json!({"egress": [{}]})), (true, true));
    assert_eq!(isolates(json!({"egress": [{}], "policyTypes": ["Ingress"]})), (true, false));
    assert_eq!(isolates(json!({"policyTypes": ["Egress"]})), (false, true));
    assert!(read(Kind::NetworkPolicy, json!({"ingress": [{"ports": [{"protocol": "ICMP"}]}]})).is_err());
}

#[test]
fn a_node_says_what_bgp_needs() {
    let node = json!({"metadata": {"name": "n", "annotations": {"projectcalico.org/IPv4Address": "10.0.0.7/24",
        "projectcalico.org/ASNumber": "1.10", "projectcalico.org/RouteReflectorClusterID": "244.0.0.1"}},
        "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.9.9.9"},
            {"type": "InternalIP", "address": "fd00::7"}], "conditions": [{"type": "Ready", "status": "True"}],
            "images": [{"names": ["ignored"]}]}});
    let resource = Resource::deserialize(Kind::Node, node).unwrap();
    let node = Node::of(&resource).unwrap();
    let bgp = node.bgp();
    assert_eq!(bgp.ipv4.unwrap().to_string(), "10.0.0.7/24");
    assert_eq!(bgp.ipv6.unwrap().to_string(), "fd00::7/128");
    assert_eq!((bgp.as_number, bgp.route_reflector_cluster_id), (Some(65546), Some([244, 0, 0, 1].into())));
    assert_eq!((node.ready(), node.addresses().len()), (Some(true), 2));
}

#[test]
fn a_finished_pod_has_no_address() {
    let pod = |phase: &str| {
        let manifest = json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"ports": [{"name": "init", "containerPort": 1,
            "protocol": "UDP"}]}], "containers": [{"image": "ignored", "ports": [{"containerPort": 80}]}]},
            "status": {"phase": phase, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
        Pod::from_resource(Resource::deserialize(Kind::Pod, manifest).unwrap()).unwrap()
    };
    assert_eq!(pod("Running").addresses().len(), 2);
    assert_eq!(pod("Succeeded").addresses(), pod("Failed").addresses());
    assert!(pod("Failed").addresses().is_empty());
    assert_eq!(pod("Running").ports().map(|port| port.container_port).collect::<Vec<_>>(), [80, 1]);
    assert_eq!(pod("Running").service_account(), "default");
}

#[test]
fn texts_of_numbers_addresses_and_times_are_read_as_the_apis_write_them() {
    for (text, number) in
        [("64512", 64512), ("1.10", 65546), ("0", 0), ("4294967295", u32::MAX), ("65535.65535", u32::MAX)]
    {
        assert_eq!(text.parse(), Ok(AsNumber(number)));
    }
    for text in ["", "-1", "+1", "4294967296", "1.65536", "1.2.3", "1.", "AS1", " 1"] {
        assert!(text.parse::<AsNumber>().is_err(), "{text}");
    }
    for text in ["192.0.2.1", "192.0.2.1:1179", "fd00::1", "[fd00::1]:1179"] {
        assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
    }
    for text in ["", "host", "192.0.2.1:0", "[192.0.2.1]:1", "[fd00::1]", "192.0.2.1:65536"] {
        assert!(text.parse::<PeerAddress>().is_err(), "{text}");
    }
    for (text, seconds, written) in
        [("90s", 90.0, "1m30s"), ("1h0.5s", 3600.5, "1h0m0.5s"), ("50ms", 0.05, "0.05s"), ("0", 0.0, "0s")]
    {
        let duration: Duration = text.parse().unwrap();
        assert_eq!((duration.0.as_secs_f64(), duration.to_string().as_str()), (seconds, written));
    }
    for text in ["", "1", "-1s", "s", "1x", "1.2.3s", "9999999999999999999999h"] {
        assert!(text.parse::<Duration>().is_err(), "{text}");
    }
    for (text, seconds, written) in [
        ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59Z", 1_709_251_199, "2024-02-29T23:59:59Z"),
        ("2026-11-24T12:00:00.123456789+02:00", 1_795_514_400, "2026-11-24T10:00:00Z"),
        ("1969-12-31T23:59:59Z", -1, "1969-12-31T23:59:59Z"),
    ] {
        let time: Timestamp = text.parse().unwrap();
        assert_eq!((time.0, time.to_string().as_str()), (seconds, written));
    }
    for text in [
        "",
        "2026-11-24",
        "2026-13-24T12:00:00Z",
        "2026-11-24T12:00:00",
        "2026-11-24T12:00:00+2",
        "é026-11-24T12:00:00Z",
    ] {
        assert!(text.parse::<Timestamp>().is_err(), "{text}");
    }
    assert_eq!("30000:32767".parse(), Ok(PortRange { first: 30000, last: 32767 }));
    assert!("2:1".parse::<PortRange>().is_err() && "".parse::<PortRange>().is_err());
    assert!(
        "1:2:3:4".parse::<Community>().is_err()
            && "65536:1".parse::<Community>().is_err()
            && "+1:1".parse::<Community>().is_err()
    );
}

#[test]
fn prefixes_are_equal_whatever_their_host_bits() {
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    assert_eq!(cidr("10.1.2.3/16"), cidr("10.1.0.0/16"));
    assert_eq!(cidr("10.1.2.3/16").to_string(), "10.1.0.0/16");
    assert!(cidr("10.1.2.3/16").has_host_bits() && !cidr("10.1.0.0/16").has_host_bits());
    assert!(cidr("10.0.0.0/8").contains(cidr("10.1.0.0/16")) && !cidr("10.1.0.0/16").contains(cidr("10.0.0.0/8")));
    assert!(!cidr("0.0.0.0/0").contains(cidr("fd00::/8")));
    assert!(cidr("10.1.0.0/16").overlaps(cidr("10.0.0.0/8")) && !cidr("10.1.0.0/16").overlaps(cidr("10.2.0.0/16")));
}
