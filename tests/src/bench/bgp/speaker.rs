//! The speakers that are compared: everything accepted and announced.

use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow};
use fabric::{Need, Node, Process, binary};
use serde_json::json;

use super::{
    LOCAL_AS, Peer, SOURCE,
    session::{HOLD_TIME, Session},
};

/// A speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Software {
    /// tortie's bgpd.
    Tortie,
    /// BIRD 2.
    Bird,
    /// FRR's bgpd, without zebra.
    Frr,
    /// GoBGP.
    GoBgp,
    /// None: octets are copied from one connection to the other. What the bench itself costs.
    Copy,
}

/// What it is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup<'a> {
    /// Whom it waits for.
    pub(super) peers: &'a [Peer],
    /// Peers of its own AS are clients of its reflection.
    pub(super) reflects: bool,
    /// What it learns goes into the kernel; not with FRR and GoBGP, which leave that to zebra.
    pub(super) installs: bool,
}

impl<'a> Setup<'a> {
    /// A reflector that installs nothing.
    pub(super) const fn of(peers: &'a [Peer]) -> Self {
        Self { peers, reflects: true, installs: false }
    }

    fn is_client(&self, peer: &Peer) -> bool {
        self.reflects && peer.is_internal()
    }

    /// The BGP Identifier: our address on the first session.
    fn router_id(&self) -> Ipv4Addr {
        self.peers.first().map_or(Ipv4Addr::LOCALHOST, |peer| peer.local)
    }
}

impl Software {
    pub(super) const ALL: [Self; 5] = [Self::Tortie, Self::Bird, Self::Frr, Self::GoBgp, Self::Copy];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tortie => "tortie",
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::Copy => "copying octets",
        }
    }

    /// What the machine must have for it.
    pub(super) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Tortie => &[Need::Binary("bgpd")],
            Self::Bird => &[Need::BIRD],
            Self::Frr => &[Need::FRR],
            Self::GoBgp => &[Need::GOBGP],
            Self::Copy => &[],
        }
    }

    /// Starts it on a node, where it waits to be dialled by its peers. `None` is a thread of ours, which only copies between the two of the table.
    pub(super) fn start(self, node: &Node, setup: &Setup<'_>) -> Result<Option<Process>> {
        let directory = node.directory();
        let file = directory.join("speaker.conf");
        fs::write(&file, self.configuration(directory, setup))
            .with_context(|| format!("writing {}", file.display()))?;
        let mut command = match self {
            Self::Tortie => Command::new(binary("bgpd")?),
            Self::Bird => Command::new("bird"),
            Self::Frr => Command::new("/usr/lib/frr/bgpd"),
            Self::GoBgp => Command::new("gobgpd"),
            Self::Copy => return copy(node),
        };
        match self {
            Self::Tortie => command.args(["run", "--static"]).arg(&file),
            Self::Bird => {
                command.arg("-f").arg("-c").arg(&file);
                command.arg("-s").arg(directory.join("bird.ctl")).arg("-P").arg(directory.join("bird.pid"))
            }
            Self::Frr => {
                // It gives up being root.
                fs::set_permissions(directory, Permissions::from_mode(0o777)).context("opening the node's folder")?;
                command.args(["--no_kernel", "--no_zebra", "--vty_port", "0", "--log", "stdout"]);
                command.arg("--config_file").arg(&file).arg("--vty_socket").arg(directory);
                command.arg("--pid_file").arg(directory.join("frr.pid"))
            }
            Self::GoBgp | Self::Copy => command.args(["--pprof-disable", "--log-level", "warn", "-f"]).arg(&file),
        };
        node.spawn("speaker", command).map(Some)
    }

    fn configuration(self, directory: &Path, setup: &Setup<'_>) -> String {
        match self {
            Self::Tortie => tortie(directory, setup),
            Self::Bird => bird(setup),
            Self::Frr => frr(setup),
            Self::GoBgp => gobgp(setup),
            Self::Copy => String::new(),
        }
    }
}

fn tortie(directory: &Path, setup: &Setup<'_>) -> String {
    let describe = |peer: &Peer| {
        json!({
            "name": peer.name(), "address": peer.remote, "asNumber": peer.as_number, "holdTime": HOLD_TIME,
            "passive": true, "import": "accept", "export": "accept", "routeReflectorClient": setup.is_client(peer),
        })
    };
    let config = json!({
        "asNumber": LOCAL_AS, "routerId": setup.router_id(), "installRoutes": setup.installs, "log": "warn",
        "peers": setup.peers.iter().map(describe).collect::<Vec<_>>(),
        "socket": directory.join("bgpd.sock"), "stateDirectory": directory.join("state"),
    });
    // JSON is YAML.
    config.to_string()
}

fn bird(setup: &Setup<'_>) -> String {
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id {};\nprotocol device {{ scan time 60; }}\n",
        setup.router_id()
    );
    if setup.installs {
        text += "protocol kernel { scan time 3600; ipv4 { export all; }; }\n";
    }
    for peer in setup.peers {
        text += &format!(
            "protocol bgp {} {{\n  local {} as {LOCAL_AS};\n  neighbor {} as {};\n  passive; hold time {HOLD_TIME};\n  \
             {}ipv4 {{ import all; export all; }};\n}}\n",
            peer.name().replace(['.', '-'], "_"),
            peer.local,
            peer.remote,
            peer.as_number,
            if setup.is_client(peer) { "rr client; " } else { "" },
        );
    }
    text
}

fn frr(setup: &Setup<'_>) -> String {
    let mut text = format!(
        "log stdout warnings\nrouter bgp {LOCAL_AS}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         timers bgp {} {HOLD_TIME}\n",
        setup.router_id(),
        HOLD_TIME / 3
    );
    for peer in setup.peers {
        let (address, as_number) = (peer.remote, peer.as_number);
        text += &format!(
            " neighbor {address} remote-as {as_number}\n neighbor {address} passive\n \
             neighbor {address} advertisement-interval 0\n"
        );
    }
    text += " address-family ipv4 unicast\n";
    for peer in setup.peers.iter().filter(|peer| setup.is_client(peer)) {
        text += &format!("  neighbor {} route-reflector-client\n", peer.remote);
    }
    text + " exit-address-family\n"
}

fn gobgp(setup: &Setup<'_>) -> String {
    let mut text = format!("[global.config]\nas = {LOCAL_AS}\nrouter-id = \"{}\"\n", setup.router_id());
    for peer in setup.peers {
        text += &format!(
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n\
             [neighbors.transport.config]\npassive-mode = true\n\
             [neighbors.timers.config]\nhold-time = {HOLD_TIME}\nkeepalive-interval = {}\n",
            peer.remote,
            peer.as_number,
            HOLD_TIME / 3
        );
        if setup.is_client(peer) {
            text += &format!(
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{}\"\n",
                setup.router_id()
            );
        }
    }
    text
}

fn copy(node: &Node) -> Result<Option<Process>> {
    let listener = node.inside(|| TcpListener::bind("0.0.0.0:179").context("listening at port 179"))?;
    thread::spawn(move || {
        let outcome = copy_between(&listener);
        // The bench ends its sessions, and one of them first.
        drop(outcome);
    });
    Ok(None)
}

fn copy_between(listener: &TcpListener) -> Result<()> {
    let (mut source, mut sink) = (None, None);
    while source.is_none() || sink.is_none() {
        let (stream, from) = listener.accept().context("accepting")?;
        let session = Session::handshake(stream, LOCAL_AS, SOURCE.local)?;
        if from.ip() == SOURCE.remote {
            source = Some(session);
        } else {
            sink = Some(session);
        }
    }
    let missing = || anyhow!("both are there");
    let (source, sink) = (source.ok_or_else(missing)?, sink.ok_or_else(missing)?);
    source.be_patient()?;
    source.copy_to(&sink)
}
