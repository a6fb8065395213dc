//! Network interfaces.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage,
};

use crate::{Error, NetNs};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of the host end of every pod interface, ee:ee:ee:ee:ee:ee.
    pub const HOST_END: MacAddress = MacAddress([0xee; 6]);
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a network interface: 1 to 15 bytes that the kernel accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// Checks a name by the kernel's rules (`dev_valid_name`).
    ///
    /// # Errors
    /// [`Error::InterfaceName`] if the kernel would not take it.
    pub fn new(name: &str) -> Result<Self, Error> {
        let valid = (1..=15).contains(&name.len())
            && name != "."
            && name != ".."
            && !name.bytes().any(|byte| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace() || byte == 0x0b);
        if valid { Ok(InterfaceName(name.into())) } else { Err(Error::InterfaceName { name: name.into() }) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name; empty only if the kernel sent none.
    pub name: String,
    /// Driver kind as `ip -d link` shows it ("veth", "vxlan"); `None` for physical interfaces and loopback.
    pub kind: Option<String>,
    /// Alias (`IFLA_IFALIAS`), up to 255 bytes.
    pub alias: Option<String>,
    /// Ethernet address; `None` where the link layer has another kind of address or none.
    pub mac: Option<MacAddress>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// The lower layer is up too (`IFF_LOWER_UP`): there is a carrier.
    pub carrier: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// For a veth, VLAN or tunnel: index of the other or underlying interface, in the namespace where that one lives.
    pub peer: Option<u32>,
    /// Index of the bridge, bond or VRF the interface belongs to.
    pub controller: Option<u32>,
}

impl Link {
    /// `None` for the notifications that bridges send about their ports in the form of link messages.
    pub(crate) fn of_interface(message: &LinkMessage) -> Option<Self> {
        (message.header.interface_family == AddressFamily::Unspec).then(|| Self::parse(message))
    }

    pub(crate) fn parse(message: &LinkMessage) -> Self {
        let header = &message.header;
        let mut link = Link {
            index: header.index,
            name: String::new(),
            kind: None,
            alias: None,
            mac: None,
            mtu: 0,
            up: header.flags.contains(LinkFlags::Up),
            carrier: header.flags.contains(LinkFlags::LowerUp),
            loopback: header.flags.contains(LinkFlags::Loopback),
            peer: None,
            controller: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
                LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(MacAddress),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(index) => link.peer = Some(*index),
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        link
    }
}

/// A veth pair to make: one end here, the other born directly in another namespace, under its final name. An alias can
/// only be set afterwards ([`LinkChange`]): the kernel ignores one in the message that makes an interface.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// Name of the end in this namespace.
    pub name: &'a InterfaceName,
    /// Its Ethernet address; `None` for a random one.
    pub mac: Option<MacAddress>,
    /// Largest packet of both ends, in bytes.
    pub mtu: u32,
    /// Namespace of the other end; `None` for this one.
    pub peer_namespace: Option<&'a NetNs>,
    /// Name of the other end.
    pub peer_name: &'a InterfaceName,
    /// Its Ethernet address; `None` for a random one.
    pub peer_mac: Option<MacAddress>,
}

impl VethPair<'_> {
    pub(crate) fn message(&self) -> LinkMessage {
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName(self.peer_name.to_string()));
        peer.attributes.push(LinkAttribute::Mtu(self.mtu));
        if let Some(mac) = self.peer_mac {
            peer.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        }
        if let Some(namespace) = self.peer_namespace {
            peer.attributes.push(LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()));
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(self.name.to_string()));
        message.attributes.push(LinkAttribute::Mtu(self.mtu));
        if let Some(mac) = self.mac {
            message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        message
    }
}

/// How the kernel makes the link-local IPv6 address of an interface (`IFLA_INET6_ADDR_GEN_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressGeneration {
    /// From the Ethernet address (RFC 4291 appendix A).
    Eui64,
    /// Not at all.
    None,
}

/// What to change on an interface. `None` leaves a property as it is.
#[derive(Clone, Debug, Default)]
pub struct LinkChange<'a> {
    /// Administratively up or down.
    pub up: Option<bool>,
    /// Largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Alias, up to 255 bytes.
    pub alias: Option<&'a str>,
    /// How the link-local IPv6 address is made. Takes effect when the interface goes up. The kernel refuses it in the
    /// message that makes an interface.
    pub address_generation: Option<AddressGeneration>,
}

impl LinkChange<'_> {
    pub(crate) fn message(&self, index: u32) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(up) = self.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        if let Some(mtu) = self.mtu {
            message.attributes.push(LinkAttribute::Mtu(mtu));
        }
        if let Some(alias) = self.alias {
            message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        }
        if let Some(mode) = self.address_generation {
            let mode = match mode {
                AddressGeneration::Eui64 => In6AddrGenMode::Eui64,
                AddressGeneration::None => In6AddrGenMode::None,
            };
            message
                .attributes
                .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)])]));
        }
        message
    }
}

/// The message that asks for one interface by name.
pub(crate) fn by_name(name: &str) -> LinkMessage {
    let mut message = without_statistics();
    message.attributes.insert(0, LinkAttribute::IfName(name.to_owned()));
    message
}

/// The message that asks for one interface by index, or with 0, for all.
pub(crate) fn by_index(index: u32) -> LinkMessage {
    let mut message = without_statistics();
    message.header.index = index;
    message
}

/// The message that deletes an interface.
pub(crate) fn delete(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn without_statistics() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Unspec;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}
