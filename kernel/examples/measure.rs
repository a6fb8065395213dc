//! How long the kernel work of a pod and of a full table takes: `unshare -rn cargo run --release --example measure`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use kernel::pod::{HostRoutes, PodLink, unwire_pod, wire_pod};
use kernel::{
    InterfaceName, NetNs, Netlink, NextHop, Protocol, Route, RouteChange, RouteFilter, RouteWriter, check_pod,
};

const PODS: u8 = 200;
const ROUTES: u32 = 500_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for permanent_neighbours in [false, true] {
        pods(permanent_neighbours)?;
    }
    runtime.block_on(routes())
}

fn pods(permanent_neighbours: bool) -> Result<(), kernel::Error> {
    let pod_name = InterfaceName::new("eth0")?;
    let (mut wired, mut checked, mut unwired) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..PODS {
        let host_name = InterfaceName::new(&format!("cali{n}"))?;
        let namespace = NetNs::create()?;
        let v6 = std::net::Ipv6Addr::new(0xfd65, 0, 0, 0, 0, 0, 0, u16::from(n));
        let pod = PodLink {
            host_name: &host_name,
            alias: "default/web/eth0",
            namespace: &namespace,
            pod_name: &pod_name,
            pod_mac: None,
            mtu: 1500,
            addresses: &[IpAddr::from([10, 65, 0, n]), v6.into()],
            host_routes: Some(HostRoutes { protocol: Protocol::FELIX, metric: 0 }),
            permanent_neighbours,
            allow_forwarding: false,
        };
        let start = Instant::now();
        wire_pod(&pod)?;
        wired.push(start.elapsed());
        let start = Instant::now();
        let differences = check_pod(&pod)?;
        checked.push(start.elapsed());
        assert!(differences.is_empty(), "{differences:?}");
        if n % 2 == 0 {
            let start = Instant::now();
            unwire_pod(&host_name, "default/web/eth0")?;
            unwired.push(start.elapsed());
        }
    }
    println!("dual-stack pod, permanent neighbours: {permanent_neighbours}");
    for (what, times) in [("wire", wired), ("check", checked), ("unwire", unwired)] {
        report(what, times);
    }
    for n in 0..PODS {
        unwire_pod(&InterfaceName::new(&format!("cali{n}"))?, "default/web/eth0")?;
    }
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!("  {what:8} best {:.2} ms, median {:.2} ms, 90 % {:.2} ms", at(0), at(50), at(90));
}

async fn routes() -> Result<(), Box<dyn std::error::Error>> {
    let netlink = Netlink::open()?;
    let (one, two) = (InterfaceName::new("one")?, InterfaceName::new("two")?);
    let pair =
        kernel::VethPair { name: &one, mac: None, mtu: 1500, peer_namespace: None, peer_name: &two, peer_mac: None };
    netlink.create_veth(&pair).await?;
    let up = kernel::LinkChange { up: Some(true), ..Default::default() };
    let mut index = 0;
    for name in [&two, &one] {
        index = netlink.link_by_name(name).await?.map_or(0, |link| link.index);
        netlink.change_link(index, &up).await?;
    }
    netlink.add_address(&kernel::Address::new(index, "10.1.0.1/24".parse()?)).await?;
    let next_hops: Vec<_> = (2..6).map(|n| NextHop::via(IpAddr::V4(Ipv4Addr::new(10, 1, 0, n)), index)).collect();
    for ways in [1, 4] {
        let route = |n: u32| {
            let destination = IpAddr::V4(Ipv4Addr::from((20 << 24) + (n << 8)));
            let destination = IpNetwork::new(destination, 24).unwrap_or(IpNetwork::from(destination));
            Route::unicast(destination, Protocol::BGP, 1024, next_hops.iter().take(ways).copied().collect())
        };
        let changes: Vec<_> = (0..ROUTES).map(|n| RouteChange::Replace(route(n))).collect();
        let deletions: Vec<_> = changes.iter().map(|change| RouteChange::Delete(change.route().clone())).collect();
        let mut writer = RouteWriter::open()?;
        println!("{ROUTES} IPv4 routes, {ways} next hops each");
        for (what, changes) in [("add", &changes), ("replace", &changes), ("delete", &deletions)] {
            let start = Instant::now();
            let failures = writer.write(changes)?;
            rate(what, start.elapsed());
            assert!(failures.is_empty(), "{failures:?}");
            if what == "replace" {
                let start = Instant::now();
                let filter = RouteFilter { protocol: Some(Protocol::BGP), ..Default::default() };
                assert_eq!(netlink.routes(filter).await?.len(), ROUTES as usize);
                rate("dump", start.elapsed());
            }
        }
    }
    Ok(())
}

fn rate(what: &str, elapsed: Duration) {
    println!("  {what:8} {:.0} routes/s", f64::from(ROUTES) / elapsed.as_secs_f64());
}
