use kernel::{
    Address, AddressGeneration, Created, Entry, Error, InterfaceName, LinkChange, MacAddress, Neighbour, Netlink,
    Removed, VethPair,
};

use crate::namespace::{ip, isolated_async, name, other_namespace, veth};

#[test]
fn interface_names_follow_the_kernels_rules() {
    for good in ["eth0", "eth0.100", "a", "fifteen-bytes-x", "ä"] {
        assert!(InterfaceName::new(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx", "a\tb", "a\nb"] {
        assert!(matches!(InterfaceName::new(bad), Err(Error::InterfaceName { .. })), "{bad}");
    }
}

#[test]
fn a_veth_peer_is_born_in_its_namespace_with_all_its_properties() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let other = other_namespace();
        let (host, pod) = (name("cali0"), name("eth0"));
        let pod_mac = MacAddress([2, 0, 0, 0, 0, 7]);
        let pair = VethPair {
            name: &host,
            mac: Some(MacAddress::HOST_END),
            mtu: 1430,
            peer_namespace: Some(&other),
            peer_name: &pod,
            peer_mac: Some(pod_mac),
        };
        assert_eq!(netlink.create_veth(&pair).await.expect("created"), Created::New);
        assert_eq!(netlink.create_veth(&pair).await.expect("no error"), Created::Exists);

        let link = netlink.link_by_name(&host).await.expect("answer").expect("link");
        let alias = LinkChange { alias: Some("default/web/eth0"), ..Default::default() };
        netlink.change_link(link.index, &alias).await.expect("changed");
        let link = netlink.link_by_name(&host).await.expect("answer").expect("link");
        assert_eq!(link.alias.as_deref(), Some("default/web/eth0"));
        assert_eq!((link.mac, link.mtu, link.up), (Some(MacAddress::HOST_END), 1430, false));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!(netlink.link_by_index(link.index).await.expect("answer").as_ref(), Some(&link));
        assert_eq!(netlink.links_by_alias("default/web/eth0").await.expect("list"), vec![link.clone()]);

        let inside = Netlink::open_in(&other).expect("opens");
        let peer = inside.link_by_name(&pod).await.expect("answer").expect("peer");
        assert_eq!((peer.mac, peer.mtu), (Some(pod_mac), 1430));
        assert_eq!(link.peer, Some(peer.index));
        assert!(netlink.link_by_name(&pod).await.expect("answer").is_none());

        assert_eq!(netlink.delete_link(link.index).await.expect("deleted"), Removed::Gone);
        assert_eq!(netlink.delete_link(link.index).await.expect("no error"), Removed::Absent);
        assert!(inside.link_by_name(&pod).await.expect("answer").is_none());
    });
}

#[test]
fn links_are_listed_and_changed() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let (one, _) = veth(&netlink, "one", "two.5").await;
        let names: Vec<_> = netlink.links().await.expect("list").into_iter().map(|link| link.name).collect();
        assert!(names.contains(&"lo".to_owned()) && names.contains(&"two.5".to_owned()), "{names:?}");
        let change = LinkChange { up: Some(false), mtu: Some(1280), alias: Some("new"), address_generation: None };
        netlink.change_link(one, &change).await.expect("changed");
        let link = netlink.link_by_index(one).await.expect("answer").expect("link");
        assert_eq!((link.up, link.mtu, link.alias.as_deref()), (false, 1280, Some("new")));
    });
}

#[test]
fn without_address_generation_there_is_no_link_local_address() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let (one, two) = veth(&netlink, "one", "two").await;
        let down = LinkChange { up: Some(false), ..Default::default() };
        netlink.change_link(one, &down).await.expect("down");
        let none = LinkChange { address_generation: Some(AddressGeneration::None), ..Default::default() };
        netlink.change_link(one, &none).await.expect("set");
        netlink.change_link(one, &LinkChange { up: Some(true), ..Default::default() }).await.expect("up");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let addresses = netlink.addresses().await.expect("list");
            assert!(!addresses.iter().any(|address| address.interface == one), "{addresses:?}");
            if addresses.iter().any(|address| address.interface == two) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the other end has none either");
        }
    });
}

#[test]
fn addresses_are_usable_at_once_and_removable() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let (one, _) = veth(&netlink, "one", "two").await;
        for network in ["10.1.0.1/24", "10.1.0.2/32", "fd00::1/64", "fd00::2/128"] {
            let address = Address::new(one, network.parse().expect("network"));
            assert_eq!(netlink.add_address(&address).await.expect("added"), Created::New);
            assert_eq!(netlink.add_address(&address).await.expect("no error"), Created::Exists);
            assert!(netlink.addresses().await.expect("list").contains(&address), "{address}");
            assert_eq!(netlink.delete_address(&address).await.expect("removed"), Removed::Gone);
            assert_eq!(netlink.delete_address(&address).await.expect("no error"), Removed::Absent);
        }
    });
}

#[test]
fn permanent_and_proxy_neighbours_are_written_and_removed() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let (one, _) = veth(&netlink, "one", "two").await;
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        for address in ["10.1.0.9", "fd00::9"] {
            let address = address.parse().expect("address");
            let neighbour = Neighbour { interface: one, address, entry: Entry::Permanent(mac) };
            netlink.replace_neighbour(&neighbour).await.expect("written");
            netlink.replace_neighbour(&neighbour).await.expect("written again");
            assert!(netlink.neighbours().await.expect("list").contains(&neighbour));
            assert_eq!(netlink.delete_neighbour(&neighbour).await.expect("removed"), Removed::Gone);
            assert_eq!(netlink.delete_neighbour(&neighbour).await.expect("no error"), Removed::Absent);

            let proxy = Neighbour { interface: one, address, entry: Entry::Proxy };
            netlink.replace_neighbour(&proxy).await.expect("written");
            let shown = ip("neigh show proxy") + &ip("-6 neigh show proxy");
            assert!(shown.contains(&format!("{address} dev one")), "{shown}");
            assert_eq!(netlink.delete_neighbour(&proxy).await.expect("removed"), Removed::Gone);
        }
    });
}

#[test]
fn requests_on_one_handle_do_not_mix_up_their_answers() {
    isolated_async(async || {
        let netlink = Netlink::open().expect("opens");
        let (one, two) = veth(&netlink, "one", "two").await;
        let lookups = (0..200).map(|n| {
            let netlink = netlink.clone();
            let index = if n % 2 == 0 { one } else { two };
            tokio::spawn(async move { (index, netlink.link_by_index(index).await) })
        });
        for lookup in lookups.collect::<Vec<_>>() {
            let (index, link) = lookup.await.expect("task");
            assert_eq!(link.expect("answer").expect("link").index, index);
        }
    });
}

#[test]
fn the_last_clone_takes_the_sockets_along() {
    isolated_async(async || {
        // A namespace of its own: the `ip` of the test's leaves sockets that the kernel closes in its own time.
        let other = other_namespace();
        let sockets = || {
            let list = || std::fs::read_to_string("/proc/thread-self/net/netlink").expect("procfs").lines().count();
            other.run(list).expect("runs")
        };
        let before = sockets();
        let netlink = Netlink::open_in(&other).expect("opens");
        let clone = netlink.clone();
        drop(netlink);
        clone.links().await.expect("the clone works on");
        // A socket is listed from its first message on.
        clone.link_by_index(1).await.expect("the clone works on");
        assert_eq!(sockets(), before + 2);
        drop(clone);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while sockets() != before && std::time::Instant::now() < deadline {
            // The connection notices on its next turn.
            tokio::task::yield_now().await;
        }
        assert_eq!(sockets(), before);
    });
}
