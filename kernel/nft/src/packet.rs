//! A packet as rules see it.

use std::net::IpAddr;

/// A packet, as far as rules can look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The interface it came in by; `None`: this machine sends it.
    pub input: Option<String>,
    /// The interface it will leave by; `None`: it is for this machine.
    pub output: Option<String>,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// The protocol number.
    pub protocol: u8,
    /// Source port of TCP, UDP, SCTP.
    pub source_port: u16,
    /// Destination port of TCP, UDP, SCTP.
    pub destination_port: u16,
    /// Type of ICMP and ICMPv6.
    pub icmp_type: u8,
    /// Code of ICMP and ICMPv6.
    pub icmp_code: u8,
    /// `meta mark`
    pub mark: u32,
    /// What connection tracking knows.
    pub conntrack: Conntrack,
    /// What `numgen` draws, modulo its modulus.
    pub random: u32,
}

impl Packet {
    /// The first packet of a connection that passes through, without marks.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self {
            input: None,
            output: None,
            source,
            destination,
            protocol,
            source_port: 0,
            destination_port: 0,
            icmp_type: 0,
            icmp_code: 0,
            mark: 0,
            conntrack: Conntrack { state: ConnectionState::New, direction: Direction::Original, mark: 0 },
            random: 0,
        }
    }

    /// The same with ports.
    #[must_use]
    pub fn with_ports(mut self, source: u16, destination: u16) -> Self {
        (self.source_port, self.destination_port) = (source, destination);
        self
    }

    /// The same with interfaces.
    #[must_use]
    pub fn with_interfaces(mut self, input: Option<&str>, output: Option<&str>) -> Self {
        (self.input, self.output) = (input.map(Into::into), output.map(Into::into));
        self
    }
}

/// The view of connection tracking on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conntrack {
    /// The state of the connection.
    pub state: ConnectionState,
    /// The direction of the packet in it.
    pub direction: Direction,
    /// `ct mark`
    pub mark: u32,
}

/// The state of a packet's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// Of no connection that could be.
    Invalid,
    /// Of one that was seen before.
    Established,
    /// Opens one that belongs to another; ICMP errors too.
    Related,
    /// Opens one.
    New,
    /// Not tracked.
    Untracked,
}

impl ConnectionState {
    /// Its bit in `ct state`.
    #[must_use]
    pub const fn bit(self) -> u32 {
        match self {
            Self::Invalid => 1,
            Self::Established => 2,
            Self::Related => 4,
            Self::New => 8,
            Self::Untracked => 64,
        }
    }
}

/// The direction of a packet in its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the side that opened it.
    Original = 0,
    /// From the other side.
    Reply = 1,
}
