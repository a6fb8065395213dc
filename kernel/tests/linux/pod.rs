use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use kernel::pod::{GATEWAY_V4, GATEWAY_V6, HostRoutes, PodLink, unwire_pod, wire_pod};
use kernel::{Difference, Error, InterfaceName, MacAddress, NetNs, Protocol, Removed, Side, check_pod};

use crate::namespace::{ip, isolated, name, other_namespace};

const ALIAS: &str = "default/web/eth0";

struct Lab {
    host_name: InterfaceName,
    pod_name: InterfaceName,
    namespace: NetNs,
    addresses: Vec<IpAddr>,
}

impl Lab {
    fn new(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().expect("address")).collect();
        Lab { host_name: name("cali0123456789a"), pod_name: name("eth0"), namespace: other_namespace(), addresses }
    }

    fn dual() -> Self {
        Self::new(&["10.65.0.7", "fd65::7"])
    }

    fn pod(&self) -> PodLink<'_> {
        PodLink {
            host_name: &self.host_name,
            alias: ALIAS,
            namespace: &self.namespace,
            pod_name: &self.pod_name,
            pod_mac: None,
            mtu: 1480,
            addresses: &self.addresses,
            host_routes: Some(HostRoutes { protocol: Protocol::FELIX, metric: 0 }),
            permanent_neighbours: true,
            allow_forwarding: false,
        }
    }

    fn inside(&self, arguments: &str) -> String {
        self.namespace.run(|| ip(arguments)).expect("runs")
    }
}

/// One datagram from the pod to the host and one back.
fn exchange(lab: &Lab, host: &str, patience: Duration) -> io::Result<()> {
    let server = UdpSocket::bind(SocketAddr::new(host.parse().expect("address"), 0))?;
    let any = if server.local_addr()?.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = lab.namespace.run(|| UdpSocket::bind(any)).expect("runs")?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(patience))?;
    }
    client.send_to(b"question", server.local_addr()?)?;
    let mut buffer = [0; 16];
    let (_, from) = server.recv_from(&mut buffer)?;
    assert!(lab.addresses.contains(&from.ip()), "the pod speaks as {from}");
    server.send_to(b"answer", from)?;
    client.recv_from(&mut buffer).map(drop)
}

#[test]
fn a_wired_pod_talks_to_the_host_in_both_families() {
    isolated(|| {
        ip("addr add 192.0.2.1/32 dev lo");
        ip("addr add 2001:db8::1/128 dev lo");
        // Proxy ARP answers for what is reached over another interface only.
        ip("link add uplink type veth peer name router");
        ip("link set uplink up");
        ip("route add default dev uplink");
        for permanent_neighbours in [true, false] {
            let lab = Lab::dual();
            let pod = PodLink { permanent_neighbours, ..lab.pod() };
            wire_pod(&pod).expect("wired");
            // Less than the second after which a lost neighbour solicitation is repeated.
            let patience = if permanent_neighbours { Duration::from_millis(900) } else { Duration::from_secs(10) };
            exchange(&lab, "192.0.2.1", patience).expect("IPv4");
            exchange(&lab, "2001:db8::1", patience).expect("IPv6");
            assert_eq!(check_pod(&pod).expect("checked"), []);
            assert_eq!(unwire_pod(pod.host_name, ALIAS).expect("unwired"), Removed::Gone);
        }
    });
}

#[test]
fn a_pod_is_wired_as_calico_wires_it() {
    isolated(|| {
        let lab = Lab::dual();
        let mac = MacAddress([2, 0, 0, 0, 0, 7]);
        let wired = wire_pod(&PodLink { pod_mac: Some(mac), ..lab.pod() }).expect("wired");
        assert_eq!((wired.host_mac, wired.pod_mac), (MacAddress::HOST_END, mac));

        let routes = lab.inside("route");
        assert!(routes.contains("default via 169.254.1.1 dev eth0"), "{routes}");
        assert!(routes.contains("169.254.1.1 dev eth0 scope link"), "{routes}");
        let routes = lab.inside("-6 route");
        assert!(routes.contains("default via fe80::ecee:eeff:feee:eeee dev eth0"), "{routes}");
        let addresses = lab.inside("-o addr");
        assert!(addresses.contains("eth0    inet 10.65.0.7/32 scope global"), "{addresses}");
        assert!(addresses.contains("eth0    inet6 fd65::7/128 scope global"), "{addresses}");
        assert!(addresses.contains("lo    inet 127.0.0.1/8"), "{addresses}");
        assert!(!addresses.contains("tentative"), "{addresses}");
        let host = ip("-d link show cali0123456789a");
        assert!(host.contains("mtu 1480") && host.contains("ee:ee:ee:ee:ee:ee") && host.contains(ALIAS), "{host}");
        assert!(ip("route").contains("10.65.0.7 dev cali0123456789a proto 80 scope link"));
        assert!(ip("-6 route").contains("fd65::7 dev cali0123456789a proto 80"));
        let link_local = ip("-6 -o addr show dev cali0123456789a");
        assert_eq!(link_local.lines().count(), 1, "{link_local}");
        assert!(link_local.contains(&format!("{GATEWAY_V6}/64")), "{link_local}");
    });
}

#[test]
fn a_pod_of_one_family_has_nothing_of_the_other() {
    isolated(|| {
        let lab = Lab::new(&["10.65.0.7"]);
        wire_pod(&lab.pod()).expect("wired");
        assert!(!lab.inside("-6 route").contains("default"));
        assert_eq!(ip("-6 -o addr show dev cali0123456789a"), "");
        assert_eq!(check_pod(&lab.pod()).expect("checked"), []);

        let lab = Lab { host_name: name("cali6"), ..Lab::new(&["fd65::7"]) };
        wire_pod(&lab.pod()).expect("wired");
        assert!(!lab.inside("route").contains(&GATEWAY_V4.to_string()));
        assert_eq!(check_pod(&lab.pod()).expect("checked"), []);
    });
}

#[test]
fn wiring_again_replaces_what_is_there() {
    isolated(|| {
        let lab = Lab::dual();
        let first = wire_pod(&lab.pod()).expect("wired");
        let second = wire_pod(&PodLink { mtu: 1400, ..lab.pod() }).expect("wired again");
        assert_ne!(first.host_index, second.host_index);
        assert_eq!(check_pod(&PodLink { mtu: 1400, ..lab.pod() }).expect("checked"), []);
    });
}

#[test]
fn unwiring_what_is_not_there_is_no_error_and_needs_no_namespace() {
    isolated(|| {
        let lab = Lab::dual();
        wire_pod(&lab.pod()).expect("wired");
        let Lab { host_name, namespace, .. } = lab;
        drop(namespace);
        // The kernel ends a namespace in its own time, and the interface with it.
        unwire_pod(&host_name, ALIAS).expect("no error");
        assert_eq!(unwire_pod(&host_name, ALIAS).expect("no error"), Removed::Absent);
    });
}

#[test]
fn interfaces_of_others_are_left_alone() {
    isolated(|| {
        let lab = Lab::dual();
        wire_pod(&lab.pod()).expect("wired");
        let other = PodLink { alias: "default/other/eth0", ..lab.pod() };
        let taken = |error: Error| matches!(error, Error::InterfaceTaken { owner, .. } if &*owner == ALIAS);
        assert!(taken(wire_pod(&other).expect_err("taken")));
        assert!(taken(unwire_pod(other.host_name, other.alias).expect_err("taken")));
        assert_eq!(check_pod(&lab.pod()).expect("checked"), []);
        assert_eq!(check_pod(&other).expect("checked"), [Difference::Alias(ALIAS.to_owned())]);
    });
}

#[test]
fn a_failure_leaves_nothing_behind() {
    isolated(|| {
        let lab = Lab::dual();
        lab.inside("link add eth0 type veth peer name other");
        let error = wire_pod(&lab.pod()).expect_err("the pod has an eth0");
        assert!(matches!(error, Error::PodInterfaceTaken { .. }), "{error}");
        assert!(!ip("link").contains("cali"));
        lab.inside("link del eth0");

        // Refused late, when both ends are there.
        let lab = Lab::new(&["10.65.0.7", "10.65.0.7"]);
        let error = wire_pod(&lab.pod()).expect_err("the address is there twice");
        assert!(error.to_string().starts_with("add address 10.65.0.7/32"), "{error}");
        assert!(!ip("link").contains("cali"));
        assert!(!lab.inside("link").contains("eth0"));
    });
}

#[test]
fn a_runtime_that_switched_ipv6_off_is_overruled() {
    isolated(|| {
        let lab = Lab::dual();
        lab.namespace
            .run(|| {
                for interface in ["all", "default"] {
                    std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1").expect("set");
                }
            })
            .expect("runs");
        wire_pod(&lab.pod()).expect("wired");
        assert_eq!(check_pod(&lab.pod()).expect("checked"), []);
    });
}

#[test]
fn forwarding_inside_a_pod_is_off_unless_allowed() {
    isolated(|| {
        for allow_forwarding in [false, true] {
            let lab = Lab::dual();
            let forwarding = kernel::sysctl::ip_forward();
            lab.namespace.run(|| forwarding.set(1).expect("set")).expect("runs");
            wire_pod(&PodLink { allow_forwarding, ..lab.pod() }).expect("wired");
            let value = lab.namespace.run(|| forwarding.get().expect("get")).expect("runs");
            assert_eq!(value, Some(i32::from(allow_forwarding)));
        }
    });
}

#[test]
fn check_names_what_differs() {
    isolated(|| {
        let host = |command: &'static str| move |_: &Lab| drop(ip(command));
        let inside = |command: &'static str| move |lab: &Lab| drop(lab.inside(command));
        type Damage = Box<dyn Fn(&Lab)>;
        let cases: Vec<(Damage, &[&str])> = vec![
            (
                Box::new(host("link del cali0123456789a")),
                &["the host interface is missing", "the pod interface is missing"],
            ),
            (Box::new(host("link set cali0123456789a mtu 1400")), &["the host interface has MTU 1400"]),
            (
                Box::new(host("link set cali0123456789a address 02:00:00:00:00:01")),
                &[
                    "the host interface has address 02:00:00:00:00:01",
                    // The kernel forgets them with the old address.
                    "the host lacks the neighbour entry of 10.65.0.7",
                    "the host lacks the neighbour entry of fd65::7",
                ],
            ),
            (
                Box::new(host("link set cali0123456789a alias changed")),
                &["the host interface belongs to endpoint \"changed\""],
            ),
            (
                Box::new(host("addr flush dev cali0123456789a")),
                &["the host interface lacks address fe80::ecee:eeff:feee:eeee"],
            ),
            (Box::new(host("route del 10.65.0.7")), &["the host lacks route 10.65.0.7/32 dev"]),
            (
                Box::new(host("neigh del 10.65.0.7 dev cali0123456789a")),
                &["the host lacks the neighbour entry of 10.65.0.7"],
            ),
            (
                Box::new(|_: &Lab| {
                    let path = "/proc/sys/net/ipv4/conf/cali0123456789a/proxy_arp";
                    std::fs::write(path, "0").expect("set");
                }),
                &["/proc/sys/net/ipv4/conf/cali0123456789a/proxy_arp is 0"],
            ),
            (Box::new(inside("addr del fd65::7/128 dev eth0")), &["the pod interface lacks address fd65::7"]),
            (
                Box::new(inside("addr add 10.65.0.8/32 dev eth0")),
                &["the pod interface has the foreign address 10.65.0.8"],
            ),
            (Box::new(inside("route del default")), &["the pod lacks route 0.0.0.0/0 via 169.254.1.1"]),
            (Box::new(inside("-6 route del default")), &["the pod lacks route ::/0 via fe80::ecee:eeff:feee:eeee"]),
            (
                Box::new(inside("neigh replace 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0")),
                &["the pod lacks the neighbour entry of 169.254.1.1"],
            ),
        ];
        for (damage, expected) in cases {
            let lab = Lab::dual();
            wire_pod(&lab.pod()).expect("wired");
            damage(&lab);
            let differences = check_pod(&lab.pod()).expect("checked");
            let names: Vec<_> = differences.iter().map(ToString::to_string).collect();
            let as_expected = names.len() == expected.len()
                && names.iter().zip(expected).all(|(name, expected)| name.starts_with(expected));
            assert!(as_expected, "{names:#?}\nexpected {expected:#?}");
            unwire_pod(&lab.host_name, if names[0].contains("changed") { "changed" } else { ALIAS }).expect("unwired");
        }
    });
}

#[test]
fn check_sees_an_interface_that_is_down_and_what_that_took_along() {
    isolated(|| {
        let lab = Lab::dual();
        wire_pod(&lab.pod()).expect("wired");
        lab.inside("link set eth0 down");
        let differences = check_pod(&lab.pod()).expect("checked");
        assert!(differences.contains(&Difference::Down(Side::Pod)), "{differences:?}");
        assert!(differences.iter().any(|difference| matches!(difference, Difference::NoRoute(Side::Pod, _))));
    });
}

#[test]
fn check_sees_two_interfaces_that_are_not_one_pair() {
    isolated(|| {
        let lab = Lab::dual();
        let impostor = other_namespace();
        wire_pod(&PodLink { namespace: &impostor, ..lab.pod() }).expect("wired");
        // One more link first, so that the indices of the two pods differ.
        lab.inside("link add filler type veth peer name filler2");
        lab.inside("link add eth0 mtu 1480 type veth peer name eth1");
        let differences = check_pod(&lab.pod()).expect("checked");
        assert_eq!(differences.first(), Some(&Difference::NotPaired), "{differences:?}");
    });
}
