//! Neighbour entries: which Ethernet address an IP address has on a link (ARP, RFC 826; NDP, RFC 4861).

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::{Family, MacAddress};

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbour {
    /// Interface index.
    pub interface: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// What is known of it.
    pub entry: Entry,
}

/// What a neighbour entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// Set by hand: never probed, never forgotten.
    Permanent(MacAddress),
    /// Learned, and believed for now.
    Learned(MacAddress),
    /// Asked for without an answer (incomplete or failed).
    Unresolved,
    /// This host answers for the address on the interface.
    Proxy,
}

impl Neighbour {
    /// The message that writes or removes it.
    pub(crate) fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = Family::of(self.address).wire();
        message.header.ifindex = self.interface;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::Destination(match self.address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }));
        match self.entry {
            Entry::Permanent(mac) | Entry::Learned(mac) => {
                message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
            }
            Entry::Proxy => message.header.flags = NeighbourFlags::Proxy,
            Entry::Unresolved => {}
        }
        if matches!(self.entry, Entry::Learned(_)) {
            message.header.state = NeighbourState::Reachable;
        }
        message
    }

    /// `None` for entries that are no IP neighbours (bridge forwarding, multicast and loopback entries).
    pub(crate) fn parse(message: &NeighbourMessage) -> Option<Self> {
        let header = &message.header;
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return None;
        }
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok().map(MacAddress),
                _ => {}
            }
        }
        let entry = match (header.state, mac) {
            _ if header.flags.contains(NeighbourFlags::Proxy) => Entry::Proxy,
            (NeighbourState::Noarp, _) => return None,
            (NeighbourState::Permanent, Some(mac)) => Entry::Permanent(mac),
            (NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None, _) | (_, None) => {
                Entry::Unresolved
            }
            (_, Some(mac)) => Entry::Learned(mac),
        };
        Some(Neighbour { interface: header.ifindex, address: address?, entry })
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.address, self.interface)
    }
}
