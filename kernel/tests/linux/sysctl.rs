use kernel::Netlink;
use kernel::sysctl::{self, Ipv4Setting, Ipv6Setting};

use crate::namespace::{isolated, isolated_async, name, other_namespace, veth};

#[test]
fn settings_are_of_the_interface_even_with_a_dot_in_its_name() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        veth(&netlink, "one", "one.100").await;
        for setting in [
            sysctl::ipv4(&name("one.100"), Ipv4Setting::ProxyArp),
            sysctl::ipv4(&name("one.100"), Ipv4Setting::ReversePathFilter),
            sysctl::ipv6(&name("one.100"), Ipv6Setting::DadTransmits),
            sysctl::proxy_delay(&name("one.100")),
        ] {
            for value in [1, 0] {
                // In 1/100 s, kept in ticks.
                let value = if setting == sysctl::proxy_delay(&name("one.100")) { value * 100 } else { value };
                setting.set(value).expect("set");
                assert_eq!(setting.get().expect("get"), Some(value), "{}", setting.path().display());
            }
        }
        assert_eq!(sysctl::ipv4(&name("gone"), Ipv4Setting::ProxyArp).get().expect("no error"), None);
        let error = sysctl::ipv4(&name("gone"), Ipv4Setting::ProxyArp).set(1).expect_err("no file");
        assert!(error.to_string().contains("/proc/sys/net/ipv4/conf/gone/proxy_arp"), "{error}");
    });
}

#[test]
fn forwarding_is_of_the_namespace() {
    isolated(|| {
        let other = other_namespace();
        sysctl::ip_forward().set(1).expect("set");
        sysctl::ipv6_forwarding().set(1).expect("set");
        other.run(|| sysctl::ip_forward().set(0).expect("set")).expect("runs");
        assert_eq!(sysctl::ip_forward().get().expect("get"), Some(1));
        assert_eq!(sysctl::ipv6_forwarding().get().expect("get"), Some(1));
        assert_eq!(other.run(|| sysctl::ip_forward().get().expect("get")).expect("runs"), Some(0));
        assert!(sysctl::has_ipv6());
    });
}
