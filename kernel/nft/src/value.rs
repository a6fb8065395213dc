//! Values as the kernel compares them: bytes in the order of their type.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;

/// Bytes of an interface name in a set (`IFNAMSIZ`), padded with zeros.
pub(crate) const IFNAME_LENGTH: usize = 16;

/// One value, or a concatenation of values in which each part is padded to 4 bytes.
///
/// Addresses, protocols and ports are big endian, marks and integers in the order of the machine, interface names
/// padded with zeros to 16 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Box<[u8]>);

impl Value {
    /// An IP protocol number (`tcp` is 6).
    #[must_use]
    pub fn protocol(number: u8) -> Self {
        Self([number].into())
    }

    /// A port of TCP, UDP or SCTP.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self(port.to_be_bytes().into())
    }

    /// An ICMP or ICMPv6 type or code.
    #[must_use]
    pub fn icmp(number: u8) -> Self {
        Self([number].into())
    }

    /// An interface name; bytes after the fifteenth are cut, as no interface can have them.
    #[must_use]
    pub fn ifname(name: &str) -> Self {
        let mut bytes = [0; IFNAME_LENGTH];
        for (to, from) in bytes.iter_mut().zip(name.bytes().take(IFNAME_LENGTH - 1)) {
            *to = from;
        }
        Self(bytes.into())
    }

    /// A packet or connection mark.
    #[must_use]
    pub fn mark(mark: u32) -> Self {
        Self(mark.to_ne_bytes().into())
    }

    /// What `numgen` or `jhash` yields: the number of a slot.
    #[must_use]
    pub fn slot(slot: u32) -> Self {
        Self(slot.to_ne_bytes().into())
    }

    /// Bits of `ct state`, see [`crate::ConnectionState::bit`].
    #[must_use]
    pub fn state(bits: u32) -> Self {
        Self(bits.to_ne_bytes().into())
    }

    /// The family of the packet, `meta nfproto`.
    #[must_use]
    pub fn family(family: crate::Family) -> Self {
        Self([family.number()].into())
    }

    /// The direction of the packet in its connection.
    #[must_use]
    pub fn direction(direction: crate::Direction) -> Self {
        Self([direction as u8].into())
    }

    /// The concatenation `self . next`.
    #[must_use]
    pub fn dot(self, next: impl Into<Self>) -> Self {
        let next = next.into();
        let mut bytes = Vec::with_capacity(padded(self.0.len()) + padded(next.0.len()));
        for part in [&self.0, &next.0] {
            bytes.extend_from_slice(part);
            bytes.resize(padded(bytes.len()), 0);
        }
        Self(bytes.into())
    }

    /// The bytes as the kernel has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// `length` rounded up to whole registers.
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.octets().into())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.octets().into())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a set holds: a value, or everything between two values, both included.
///
/// In a concatenation any part may be a range. Only big endian types (addresses, protocols, ports, ICMP) have ranges.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    start: Value,
    end: Option<Value>,
}

impl Element {
    /// Everything from `start` to `end`, both included; a single value if they are the same.
    #[must_use]
    pub fn range(start: impl Into<Value>, end: impl Into<Value>) -> Self {
        let (start, end) = (start.into(), end.into());
        let end = (start != end).then_some(end);
        Self { start, end }
    }

    /// All addresses of a network. A network with host bits is the network it lies in.
    #[must_use]
    pub fn network(network: IpNetwork) -> Self {
        match network {
            IpNetwork::V4(network) => Self::range(network.network(), network.broadcast()),
            IpNetwork::V6(network) => Self::range(network.network(), network.broadcast()),
        }
    }

    /// An IP protocol number.
    #[must_use]
    pub fn protocol(number: u8) -> Self {
        Value::protocol(number).into()
    }

    /// One port.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Value::port(port).into()
    }

    /// A range of ports, both ends included.
    #[must_use]
    pub fn ports(ports: RangeInclusive<u16>) -> Self {
        Self::range(Value::port(*ports.start()), Value::port(*ports.end()))
    }

    /// An interface name.
    #[must_use]
    pub fn ifname(name: &str) -> Self {
        Value::ifname(name).into()
    }

    /// The concatenation `self . next`.
    #[must_use]
    pub fn dot(self, next: impl Into<Self>) -> Self {
        let next = next.into();
        let end = match (&self.end, &next.end) {
            (None, None) => None,
            _ => {
                let next_end = next.end.unwrap_or_else(|| next.start.clone());
                Some(self.end.unwrap_or_else(|| self.start.clone()).dot(next_end))
            }
        };
        Self { start: self.start.dot(next.start), end }
    }

    /// The value, or the first of the range.
    #[must_use]
    pub fn start(&self) -> &Value {
        &self.start
    }

    /// The last of the range; the value itself if this is none.
    #[must_use]
    pub fn end(&self) -> &Value {
        self.end.as_ref().unwrap_or(&self.start)
    }

    /// Whether this is more than one value.
    #[must_use]
    pub fn is_range(&self) -> bool {
        self.end.is_some()
    }
}

impl<T: Into<Value>> From<T> for Element {
    fn from(value: T) -> Self {
        Self { start: value.into(), end: None }
    }
}

impl From<IpNetwork> for Element {
    fn from(network: IpNetwork) -> Self {
        Self::network(network)
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            None => write!(f, "{:?}", self.start),
            Some(end) => write!(f, "{:?}-{end:?}", self.start),
        }
    }
}

/// The address that these bytes are.
pub(crate) fn address(value: &Value) -> Option<IpAddr> {
    match value.as_bytes().len() {
        4 => <[u8; 4]>::try_from(value.as_bytes()).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value.as_bytes()).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The number of leading bits that all values from `start` to `end` share, if these are all values that share them.
pub(crate) fn prefix_length(start: &Value, end: &Value) -> Option<u8> {
    let mut length = 0u8;
    let mut inside = true;
    for (low, high) in start.as_bytes().iter().zip(end.as_bytes()) {
        let free = low ^ high;
        if inside {
            let shared = free.leading_zeros().min(8);
            // The bits after the shared ones: all zero at the start and all one at the end.
            let rest = 0xffu8.checked_shr(shared).unwrap_or(0);
            if low & rest != 0 || high & rest != rest {
                return None;
            }
            length = length.checked_add(u8::try_from(shared).ok()?)?;
            inside = shared == 8;
        } else if *low != 0 || *high != 0xff {
            return None;
        }
    }
    Some(length)
}
