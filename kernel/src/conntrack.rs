//! The connection tracking table (`nf_conntrack`), through ctnetlink.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::DecodeError;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::socket::{Attributes, Batch, DumpSink, Message, Socket};
use crate::{Error, Family, NetNs};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK << 8;
const IPCTNL_MSG_CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const IPCTNL_MSG_CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;
/// Length of `struct nfgenmsg`: family, version, resource.
const GENERIC_HEADER: usize = 4;
/// Deletions per system call.
const BATCH_MESSAGES: u32 = 256;

const NLA_F_NESTED: u16 = 0x8000;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_MARK: u16 = 8;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number: 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// Source port; 0 for protocols without.
    pub source_port: u16,
    /// Destination port; 0 for protocols without.
    pub destination_port: u16,
}

/// A tracked flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// As the first packet was seen.
    pub original: Tuple,
    /// As answers are seen: with NAT not the reverse of the original.
    pub reply: Tuple,
    /// The connection mark.
    pub mark: u32,
    /// What the deletion needs beside the family, as the kernel sent it: the tuple itself, and which entry it is.
    identity: Vec<u8>,
}

impl Flow {
    /// Whether the address is a source or destination in either direction.
    pub fn involves(&self, address: IpAddr) -> bool {
        [self.original, self.reply].iter().any(|tuple| tuple.source == address || tuple.destination == address)
    }
}

/// Which flows a dump is about; the kernel applies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Only this family.
    pub family: Option<Family>,
    /// Only flows whose mark, masked by the second number, is the first.
    pub mark: Option<(u32, u32)>,
}

/// A blocking handle on the connection tracking table of a namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// A handle on the namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::System`] if the socket cannot be opened.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(NETLINK_NETFILTER)?;
        socket.enlarge_buffers()?;
        Ok(Conntrack { socket })
    }

    /// A handle on another namespace.
    ///
    /// # Errors
    /// [`Error::Namespace`] if it cannot be entered, [`Error::System`] if the socket cannot be opened.
    pub fn open_in(namespace: &NetNs) -> Result<Self, Error> {
        namespace.run(Self::open)?
    }

    /// The flows that match a filter. Flows that end or begin meanwhile may be among them or not.
    ///
    /// # Errors
    /// [`Error::Refused`] without `CAP_NET_ADMIN` or without connection tracking in the kernel, [`Error::Decode`].
    pub fn flows(&mut self, filter: FlowFilter) -> Result<Vec<Flow>, Error> {
        let mut flows = Flows(Vec::new());
        self.socket.dump("list conntrack", IPCTNL_MSG_CT_GET, &dump_request(filter), &mut flows)?;
        Ok(flows.0)
    }

    /// Deletes the flows that match a filter and a predicate, and returns how many they were. The next packet of such
    /// a connection is a first packet again.
    ///
    /// # Errors
    /// As [`Conntrack::flows`].
    pub fn delete(&mut self, filter: FlowFilter, mut doomed: impl FnMut(&Flow) -> bool) -> Result<usize, Error> {
        let flows: Vec<Flow> = self.flows(filter)?.into_iter().filter(|flow| doomed(flow)).collect();
        self.for_each("delete conntrack", IPCTNL_MSG_CT_DELETE, &flows, &[])
    }

    /// Clears bits of the connection mark of the flows that match a filter, and returns how many they were.
    ///
    /// # Errors
    /// As [`Conntrack::flows`].
    pub fn clear_mark(&mut self, filter: FlowFilter, bits: u32) -> Result<usize, Error> {
        let flows = self.flows(filter)?;
        let mut attributes = Vec::new();
        append(&mut attributes, CTA_MARK, &0_u32.to_be_bytes());
        append(&mut attributes, CTA_MARK_MASK, &bits.to_be_bytes());
        self.for_each("change conntrack mark", IPCTNL_MSG_CT_NEW, &flows, &attributes)
    }

    /// Sends a request about each flow and returns how many were still there.
    fn for_each(
        &mut self,
        operation: &'static str,
        kind: u16,
        flows: &[Flow],
        attributes: &[u8],
    ) -> Result<usize, Error> {
        let mut done = flows.len();
        for chunk in flows.chunks(BATCH_MESSAGES as usize) {
            let mut batch = Batch::default();
            for flow in chunk {
                let subject = [flow.identity.as_slice(), attributes].concat();
                let request = request(Some(Family::of(flow.original.source)), &subject);
                batch.push(kind, 0, request.len(), |payload| payload.copy_from_slice(&request));
            }
            let mut failure = None;
            self.socket.transact(operation, &mut batch, |_, answer| match answer {
                // It ended by itself.
                Err(refusal) if refusal.errno == libc::ENOENT => done -= 1,
                Err(refusal) => failure = Some(refusal),
                Ok(_) => {}
            })?;
            if let Some(refusal) = failure {
                return Err(refusal.error(operation, "flow"));
            }
        }
        Ok(done)
    }

    /// Deletes every flow that has one of the addresses as source or destination, in either direction, and returns how
    /// many. Looks through the table once, which takes milliseconds however few flows there are.
    ///
    /// # Errors
    /// As [`Conntrack::flows`].
    pub fn delete_by_addresses(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<usize, Error> {
        let mut families: Vec<_> = addresses.iter().copied().map(Family::of).collect();
        families.dedup();
        let family = match families.as_slice() {
            [] => return Ok(0),
            [family] => Some(*family),
            _ => None,
        };
        self.delete(FlowFilter { family, mark: None }, |flow| addresses.iter().any(|address| flow.involves(*address)))
    }
}

fn dump_request(filter: FlowFilter) -> Vec<u8> {
    let mut attributes = Vec::new();
    if let Some((mark, mask)) = filter.mark {
        append(&mut attributes, CTA_MARK, &mark.to_be_bytes());
        append(&mut attributes, CTA_MARK_MASK, &mask.to_be_bytes());
    }
    request(filter.family, &attributes)
}

fn request(family: Option<Family>, attributes: &[u8]) -> Vec<u8> {
    let family = match family {
        None => libc::AF_UNSPEC,
        Some(Family::Ipv4) => libc::AF_INET,
        Some(Family::Ipv6) => libc::AF_INET6,
    };
    let mut request = vec![family as u8, 0, 0, 0];
    request.extend_from_slice(attributes);
    request
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

struct Flows(Vec<Flow>);

impl DumpSink for &mut Flows {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn take(&mut self, message: &Message<'_>) -> Result<(), DecodeError> {
        if message.kind == IPCTNL_MSG_CT_NEW {
            let flow = parse(message.body).ok_or_else(|| DecodeError::from("conntrack entry without a tuple"))?;
            self.0.push(flow);
        }
        Ok(())
    }
}

fn parse(body: &[u8]) -> Option<Flow> {
    let (mut original, mut reply, mut mark) = (None, None, 0);
    let mut identity = Vec::new();
    for (kind, value) in Attributes(body.get(GENERIC_HEADER..)?) {
        match kind {
            CTA_TUPLE_ORIG => {
                original = parse_tuple(value);
                append(&mut identity, kind | NLA_F_NESTED, value);
            }
            CTA_TUPLE_REPLY => reply = parse_tuple(value),
            CTA_MARK => mark = u32::from_be_bytes(value.try_into().ok()?),
            CTA_ID | CTA_ZONE => append(&mut identity, kind, value),
            _ => {}
        }
    }
    Some(Flow { original: original?, reply: reply?, mark, identity })
}

fn parse_tuple(tuple: &[u8]) -> Option<Tuple> {
    let (mut source, mut destination) = (None, None);
    let (mut protocol, mut source_port, mut destination_port) = (None, 0, 0);
    let port = |value: &[u8]| value.try_into().ok().map(u16::from_be_bytes);
    for (kind, nest) in Attributes(tuple) {
        for (field, value) in Attributes(nest) {
            match (kind, field) {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => source = address(value),
                (CTA_TUPLE_IP, CTA_IP_V4_DST | CTA_IP_V6_DST) => destination = address(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => protocol = value.first().copied(),
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => source_port = port(value)?,
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => destination_port = port(value)?,
                _ => {}
            }
        }
    }
    Some(Tuple { source: source?, destination: destination?, protocol: protocol?, source_port, destination_port })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_flow_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
