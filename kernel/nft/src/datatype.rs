//! Types of set keys and map values.

/// The type of one part of a set key or of a map's value.
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
