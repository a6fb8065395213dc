//! tortie between a host and routers of other makers, with traffic through it.
//!
//! The host is behind tortie (1), which announces its subnet; each router announces a prefix of each family and has an
//! address of it on its loopback. What the host sends there needs tortie's routes in the kernel of tortie's node, and the
//! answer needs them in the router's.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Node, Process,
    probe::{Losses, Stream, Target},
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::speakers::{SOON, Status, address, addresses, nodes};

pub(super) const TORTIE: u32 = 65001;
/// The host's subnets.
pub(super) const SUBNETS: [&str; 2] = ["198.18.0.0/24", "2001:db8:18::/64"];
const TICK: Duration = Duration::from_millis(5);

/// Router `number` and what it announces.
pub(super) struct Remote {
    pub(super) router: Router,
    pub(super) number: u8,
}

impl Remote {
    /// The IPv4 prefix it announces.
    pub(super) fn prefix(&self) -> String {
        format!("203.0.{}.0/24", self.number)
    }

    /// The IPv6 prefix it announces.
    pub(super) fn prefix_v6(&self) -> String {
        format!("2001:db8:{}::/48", self.number)
    }
}

/// The lab, all sessions up and all routes in all kernels.
pub(super) struct Transit {
    pub(super) tortie: Router,
    pub(super) status: Status,
    pub(super) remotes: Vec<Remote>,
    host: Node,
    monitor: Process,
}

/// Router `number`'s configuration: graceful restart on.
pub(super) fn remote_config(number: u8) -> Config {
    let mut config = Config::new(65000 + u32::from(number), [192, 0, 2, number].into());
    config = config.peer(Peer::new(addresses(1).0, TORTIE));
    config = config.network(&format!("203.0.{number}.0/24")).network(&format!("2001:db8:{number}::/48"));
    config.graceful_restart = true;
    config
}

/// tortie's, with these peers.
pub(super) fn tortie_config(peers: impl IntoIterator<Item = u8>) -> Config {
    let mut config = Config::new(TORTIE, [192, 0, 2, 1].into());
    for number in peers {
        config = config.peer(Peer::new(addresses(number).0, 65000 + u32::from(number)));
    }
    config = config.network(SUBNETS[0]).network(SUBNETS[1]);
    config.ipv6_next_hop = Some(addresses(1).1);
    config
}

/// Starts the lab with BIRD (2) and FRR (3); `adjust` may change the configuration of each.
pub(super) fn transit(lab: &Lab, adjust: impl Fn(Kind, &mut Config)) -> Result<Transit> {
    let [one, two, three] = nodes(lab, ["tortie", "bird", "frr"])?;
    let host = lab.host("host")?;
    lab.link(
        &one.port("host0", &["198.18.0.1/24", "2001:db8:18::1/64"]),
        &host.port("eth0", &["198.18.0.2/24", "2001:db8:18::2/64"]),
    )?;
    host.ip_batch("route add default via 198.18.0.1\nroute add ::/0 via 2001:db8:18::1\n")?;
    let mut remotes = Vec::new();
    for (kind, node, number) in [(Kind::Bird, &two, 2), (Kind::Frr, &three, 3)] {
        node.add_address("lo", &format!("203.0.{number}.1/32"))?;
        node.add_address("lo", &format!("2001:db8:{number}::1/128"))?;
        let mut config = remote_config(number);
        adjust(kind, &mut config);
        remotes.push(Remote { router: Router::start(kind, node, config)?, number });
    }
    let mut monitor = Command::new("ip");
    monitor.args(["-ts", "monitor", "route"]);
    let monitor = one.spawn("monitor", monitor)?;
    let tortie = Router::start(Kind::Tortie, &one, tortie_config([2, 3]))?;
    let status = Status::of_router(&tortie);
    let transit = Transit { tortie, status, remotes, host, monitor };
    transit.wait_converged()?;
    Ok(transit)
}

impl Transit {
    /// Waits until everybody has everything, in the kernels too.
    pub(super) fn wait_converged(&self) -> Result<()> {
        for remote in &self.remotes {
            let (v4, v6) = addresses(remote.number);
            self.status.wait_established(&v4.to_string())?;
            self.status.wait_kernel(&remote.prefix(), &[v4])?;
            self.status.wait_kernel(&remote.prefix_v6(), &[v6])?;
            for (subnet, via) in SUBNETS.iter().zip([addresses(1).0, addresses(1).1]) {
                let router = &remote.router;
                router.wait_route(subnet, &[via], SOON)?;
                // BIRD installs with a protocol number of its own.
                let protocol = if router.kind() == Kind::Bird { "bird" } else { "bgp" };
                wait_until(&format!("{subnet} in the kernel of {}", router.kind()), SOON, || {
                    Ok(router.node().kernel_routes(protocol)?.contains_key(*subnet))
                })?;
            }
        }
        Ok(())
    }

    /// Starts traffic from the host to the address of each remote, in both families, and waits until it flows.
    pub(super) fn traffic(&self) -> Result<Vec<Stream>> {
        let mut streams = Vec::new();
        for remote in &self.remotes {
            for target in [format!("203.0.{}.1", remote.number), format!("2001:db8:{}::1", remote.number)] {
                streams.push(Stream::start(self.host.namespace(), Target::Icmp(address(&target)?), None, TICK)?);
            }
        }
        wait_until("answers from everywhere", SOON, || Ok(streams.iter().all(|s| s.so_far().answered > 20)))?;
        Ok(streams)
    }

    /// Waits until every stream has had so many more answers.
    pub(super) fn let_pass(streams: &[Stream], answers: u64) -> Result<()> {
        let before: Vec<Losses> = streams.iter().map(Stream::so_far).collect();
        let more = |(stream, before): (&Stream, &Losses)| stream.so_far().answered >= before.answered + answers;
        wait_until("traffic", SOON, || Ok(streams.iter().zip(&before).all(more))).map(drop)
    }

    /// Ends traffic. Nothing may be lost.
    pub(super) fn ensure_lossless(streams: Vec<Stream>) -> Result<()> {
        for stream in streams {
            let target = stream.target();
            let losses = stream.stop()?;
            ensure!(losses.lost() == 0, "{target}: {losses}");
        }
        Ok(())
    }

    /// Routes by BGP that the kernel of tortie's node was ever told to remove, one line each.
    pub(super) fn removed(&self) -> Vec<String> {
        let log = self.monitor.log();
        log.lines().filter(|line| line.contains("Deleted") && line.contains("proto bgp")).map(str::to_owned).collect()
    }

    /// Whether a router still has the host's subnets, from tortie.
    pub(super) fn has_subnets(router: &Router) -> Result<bool> {
        let routes = router.routes()?;
        Ok(SUBNETS.iter().all(|subnet| routes.contains_key(*subnet)))
    }

    /// Waits until a router has noticed that tortie is gone, and checks that it keeps tortie's routes.
    pub(super) fn ensure_helped(&self) -> Result<()> {
        for remote in &self.remotes {
            let router = &remote.router;
            wait_until(&format!("{} notices", router.kind()), SOON, || {
                let state = router.sessions()?.remove(&addresses(1).0).context("no such session")?;
                Ok(state != "Established")
            })?;
            ensure!(Self::has_subnets(router)?, "{} gave tortie's routes up: {:?}", router.kind(), router.routes()?);
        }
        Ok(())
    }
}
