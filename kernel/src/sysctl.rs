//! Network sysctls: files under `/proc/sys/net`.
//!
//! Which namespace a file belongs to is decided by the namespace of the thread that opens it: inside [`crate::NetNs::run`]
//! it is that one. Interface names are path components, so a dot in a name is a dot, and a slash cannot occur.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, InterfaceName};

const ROOT: &str = "/proc/sys/net";

/// An integer network sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl(PathBuf);

/// The IPv4 settings of an interface (`net/ipv4/conf/NAME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Setting {
    /// Forward packets that arrive here.
    Forwarding,
    /// Answer ARP requests for addresses that are reached over another interface.
    ProxyArp,
    /// Reverse path check: 0 off, 1 strict, 2 loose.
    ReversePathFilter,
    /// Do not treat 127/8 as martian.
    RouteLocalnet,
    /// Accept ICMP redirects.
    AcceptRedirects,
}

/// The IPv6 settings of an interface (`net/ipv6/conf/NAME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Setting {
    /// Forward packets that arrive here, and be a router in the sense of RFC 4861.
    Forwarding,
    /// Router advertisements: 0 ignore, 1 accept unless forwarding, 2 accept.
    AcceptRouterAdvertisements,
    /// Duplicate address detection: 0 off, 1 on, 2 on and disable IPv6 if the link-local address is taken.
    AcceptDad,
    /// Number of probes of duplicate address detection.
    DadTransmits,
    /// No IPv6 on the interface.
    DisableIpv6,
    /// Answer neighbour solicitations for the addresses that are configured as proxy entries.
    ProxyNdp,
}

/// `net/ipv4/ip_forward`. Writing it also sets every interface's `forwarding`.
pub fn ip_forward() -> Sysctl {
    Sysctl(Path::new(ROOT).join("ipv4/ip_forward"))
}

/// `net/ipv6/conf/all/forwarding`. Writing it also sets every interface's.
pub fn ipv6_forwarding() -> Sysctl {
    Sysctl(Path::new(ROOT).join("ipv6/conf/all/forwarding"))
}

/// `net/ipv4/conf/all/…`.
pub fn ipv4_all(setting: Ipv4Setting) -> Sysctl {
    ipv4_conf("all", setting)
}

/// `net/ipv4/conf/INTERFACE/…`.
pub fn ipv4(interface: &InterfaceName, setting: Ipv4Setting) -> Sysctl {
    ipv4_conf(interface.as_str(), setting)
}

/// `net/ipv6/conf/INTERFACE/…`.
pub fn ipv6(interface: &InterfaceName, setting: Ipv6Setting) -> Sysctl {
    let file = match setting {
        Ipv6Setting::Forwarding => "forwarding",
        Ipv6Setting::AcceptRouterAdvertisements => "accept_ra",
        Ipv6Setting::AcceptDad => "accept_dad",
        Ipv6Setting::DadTransmits => "dad_transmits",
        Ipv6Setting::DisableIpv6 => "disable_ipv6",
        Ipv6Setting::ProxyNdp => "proxy_ndp",
    };
    Sysctl([ROOT, "ipv6/conf", interface.as_str(), file].iter().collect())
}

/// `net/ipv4/neigh/INTERFACE/proxy_delay`: how long an answer for a proxied address is held back, at most, in units of
/// 1/100 s.
pub fn proxy_delay(interface: &InterfaceName) -> Sysctl {
    Sysctl([ROOT, "ipv4/neigh", interface.as_str(), "proxy_delay"].iter().collect())
}

/// Whether the kernel has IPv6 at all (it can be left out, or switched off at boot with `ipv6.disable=1`).
pub fn has_ipv6() -> bool {
    Path::new(ROOT).join("ipv6").is_dir()
}

fn ipv4_conf(interface: &str, setting: Ipv4Setting) -> Sysctl {
    let file = match setting {
        Ipv4Setting::Forwarding => "forwarding",
        Ipv4Setting::ProxyArp => "proxy_arp",
        Ipv4Setting::ReversePathFilter => "rp_filter",
        Ipv4Setting::RouteLocalnet => "route_localnet",
        Ipv4Setting::AcceptRedirects => "accept_redirects",
    };
    Sysctl([ROOT, "ipv4/conf", interface, file].iter().collect())
}

impl Sysctl {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The value, or `None` if there is no such file: the interface is gone, or the kernel lacks the feature.
    ///
    /// # Errors
    /// [`Error::Sysctl`] if the file cannot be read or holds no number.
    pub fn get(&self) -> Result<Option<i32>, Error> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed(source)),
        };
        text.trim().parse().map(Some).map_err(|_| self.failed(io::ErrorKind::InvalidData.into()))
    }

    /// Sets the value.
    ///
    /// # Errors
    /// [`Error::Sysctl`], also if there is no such file.
    pub fn set(&self, value: i32) -> Result<(), Error> {
        // Without creation and truncation, which procfs has no use for: one open, one write.
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).open(&self.0)?;
            file.write_all(value.to_string().as_bytes())
        };
        write().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Sysctl { path: self.0.clone(), source }
    }
}
