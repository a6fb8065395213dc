//! Types of set keys and map values.

/// The type of one part of a set key or of a map's value. A key has at most five parts (nft packs six bits of each
/// into one number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datatype {
    /// `ipv4_addr`
    Ipv4Addr,
    /// `ipv6_addr`
    Ipv6Addr,
    /// `inet_proto`: an IP protocol number.
    InetProto,
    /// `inet_service`: a port.
    InetService,
    /// `ifname`
    Ifname,
    /// `mark`: a packet or connection mark.
    Mark,
    /// What `numgen` and `jhash` yield. nft knows it only as `typeof numgen …`, so a set with such a part is declared
    /// by `typeof` as a whole.
    Slot,
    /// `nf_proto`: the family of the packet.
    NfProto,
    /// `ct_state`
    CtState,
    /// `ct_dir`
    CtDirection,
    /// `icmp_type`
    IcmpType,
    /// `icmp_code`
    IcmpCode,
    /// `icmpv6_type`
    Icmpv6Type,
    /// `icmpv6_code`
    Icmpv6Code,
}

/// Bits of one part in the number of a concatenation's type.
const PART_BITS: u32 = 6;

impl Datatype {
    const ALL: [Self; 14] = [
        Self::Ipv4Addr,
        Self::Ipv6Addr,
        Self::InetProto,
        Self::InetService,
        Self::Ifname,
        Self::Mark,
        Self::Slot,
        Self::NfProto,
        Self::CtState,
        Self::CtDirection,
        Self::IcmpType,
        Self::IcmpCode,
        Self::Icmpv6Type,
        Self::Icmpv6Code,
    ];

    /// nft's number of the type. The kernel only keeps it.
    const fn number(self) -> u32 {
        match self {
            Self::NfProto => 2,
            Self::Slot => 4,
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::IcmpType => 14,
            Self::Mark => 19,
            Self::CtState => 26,
            Self::CtDirection => 27,
            Self::Icmpv6Type => 29,
            Self::IcmpCode => 32,
            Self::Icmpv6Code => 33,
            Self::Ifname => 41,
        }
    }

    /// Bytes of a value on its own.
    pub(crate) const fn length(self) -> usize {
        match self {
            Self::NfProto
            | Self::InetProto
            | Self::CtDirection
            | Self::IcmpType
            | Self::IcmpCode
            | Self::Icmpv6Type
            | Self::Icmpv6Code => 1,
            Self::InetService => 2,
            Self::Slot | Self::Ipv4Addr | Self::Mark | Self::CtState => 4,
            Self::Ipv6Addr | Self::Ifname => 16,
        }
    }

    /// Whether numbers of this type are in the byte order of the machine.
    pub(crate) const fn is_host_order(self) -> bool {
        matches!(self, Self::Slot | Self::Mark | Self::CtState | Self::Ifname | Self::NfProto | Self::CtDirection)
    }

    /// The name in nft; that of a slot is only known as `typeof`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Ifname => "ifname",
            Self::Mark => "mark",
            Self::Slot => "integer",
            Self::NfProto => "nf_proto",
            Self::CtState => "ct_state",
            Self::CtDirection => "ct_dir",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::Icmpv6Type => "icmpv6_type",
            Self::Icmpv6Code => "icmpv6_code",
        }
    }

    /// An expression of this type, for `typeof`.
    pub(crate) const fn typeof_name(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ip daddr",
            Self::Ipv6Addr => "ip6 daddr",
            Self::InetProto => "meta l4proto",
            Self::InetService => "th dport",
            Self::Ifname => "iifname",
            Self::Mark => "ct mark",
            Self::Slot => "numgen random mod 2",
            Self::NfProto => "meta nfproto",
            Self::CtState => "ct state",
            Self::CtDirection => "ct direction",
            Self::IcmpType => "icmp type",
            Self::IcmpCode => "icmp code",
            Self::Icmpv6Type => "icmpv6 type",
            Self::Icmpv6Code => "icmpv6 code",
        }
    }
}

/// nft's number for a concatenation.
pub(crate) fn concat_number(parts: &[Datatype]) -> u32 {
    parts.iter().fold(0, |number, part| number << PART_BITS | part.number())
}

/// The concatenation that has this number; `None` if a part is unknown here.
pub(crate) fn concat_of_number(mut number: u32) -> Option<Vec<Datatype>> {
    let mut parts = Vec::new();
    while number != 0 {
        let part = number & ((1 << PART_BITS) - 1);
        parts.push(*Datatype::ALL.iter().find(|datatype| datatype.number() == part)?);
        number >>= PART_BITS;
    }
    parts.reverse();
    (!parts.is_empty()).then_some(parts)
}

/// Bytes of a key: a single value as it is, the parts of a concatenation padded to 4 bytes each.
pub(crate) fn key_length(parts: &[Datatype]) -> usize {
    match parts {
        [single] => single.length(),
        parts => parts.iter().map(|part| crate::value::padded(part.length())).sum(),
    }
}

/// Whether a key of these types can only be declared by `typeof`.
pub(crate) fn needs_typeof(parts: &[Datatype]) -> bool {
    parts.contains(&Datatype::Slot)
}
