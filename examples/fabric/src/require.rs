//! What a lab needs from the machine.

use std::{env, fmt, fs, path::Path, process::Command};

/// Something a lab cannot run without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A program, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// Root on the machine itself, not in a user namespace.
    Root,
    /// A binary of ours.
    Binary(&'static str),
}

impl Need {
    /// Namespaces and what every lab executes.
    pub const BASE: &[Self] = &[
        Self::Program("ip", "iproute2"),
        Self::Program("unshare", "util-linux"),
        Self::Program("setpriv", "util-linux"),
        Self::Program("tcpdump", "tcpdump"),
        Self::Program("nft", "nftables"),
    ];
    /// BIRD 2.
    pub const BIRD: Self = Self::Program("bird", "bird2");
    /// FRR.
    pub const FRR: Self = Self::Program("/usr/lib/frr/bgpd", "frr");
    /// GoBGP.
    pub const GOBGP: Self = Self::Program("gobgpd", "gobgpd");
    /// ExaBGP.
    pub const EXABGP: Self = Self::Program("exabgp", "exabgp");
    /// OpenBGPD. Its daemon is called `bgpd` like ours, so its control program stands for it.
    pub const OPENBGPD: Self = Self::Program("bgpctl", "openbgpd");
    /// tortie's own binaries.
    pub const TORTIE: &[Self] = &[Self::Binary("bgpd"), Self::Binary("felix"), Self::Binary("tortie")];

    /// Whether it is there.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self {
            Self::Program(name, _) => program(name),
            Self::Root => is_real_root(),
            Self::Binary(name) => crate::binary(name).is_ok(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name, package) => write!(f, "{name} (Debian package {package})"),
            Self::Root => write!(f, "root"),
            Self::Binary(name) => write!(f, "tortie's {name} (cargo build --release)"),
        }
    }
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<Need>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "this machine has no {}", needs.join(", no "))
    }
}

impl std::error::Error for Missing {}

/// Says which of the needs are not met.
///
/// # Errors
/// Those that are not.
pub fn require(needs: &[Need]) -> Result<(), Missing> {
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met()).copied().collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

fn program(name: &str) -> bool {
    if name.contains('/') {
        return Path::new(name).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the sbin folders.
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into))
        .any(|folder| folder.join(name).exists())
}

fn is_real_root() -> bool {
    let whole = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    whole && Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}
