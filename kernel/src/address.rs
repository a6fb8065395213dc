//! IP addresses of interfaces.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use crate::{Family, Scope};

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Interface index.
    pub interface: u32,
    /// The address, with the length of the prefix that is on the link.
    pub network: IpNetwork,
    /// For how far the address means something. The kernel ignores it for IPv6 and goes by the address.
    pub scope: Scope,
    /// Duplicate address detection is still running (or failed): the address cannot be used yet. Ignored when written.
    pub tentative: bool,
}

impl Address {
    /// An address with scope `Universe`.
    pub fn new(interface: u32, network: IpNetwork) -> Self {
        Address { interface, network, scope: Scope::Universe, tentative: false }
    }

    /// The address alone.
    pub fn ip(&self) -> IpAddr {
        self.network.ip()
    }

    /// The message that writes it, without duplicate address detection: usable at once.
    pub(crate) fn message(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.interface;
        message.header.prefix_len = self.network.prefix();
        message.header.family = Family::of(self.ip()).wire();
        message.header.scope = u8::from(self.scope).into();
        message.attributes.push(AddressAttribute::Address(self.ip()));
        message.attributes.push(AddressAttribute::Local(self.ip()));
        if self.network.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        message
    }

    /// `None` for a family other than IPv4 and IPv6.
    pub(crate) fn parse(message: &AddressMessage) -> Option<Self> {
        let header = &message.header;
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return None;
        }
        let (mut local, mut address) = (None, None);
        let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let network = IpNetwork::new(local.or(address)?, header.prefix_len).ok()?;
        let scope = match header.scope {
            AddressScope::Universe => Scope::Universe,
            other => u8::from(other).into(),
        };
        let tentative = flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
        Some(Address { interface: header.index, network, scope, tentative })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.network, self.interface)
    }
}
