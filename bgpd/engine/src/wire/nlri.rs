//! Network Layer Reachability Information (RFC 4271 §4.3, RFC 7911 §3).

use bytes::BufMut;

use super::NextHop;
use crate::prefix::{NetPrefix, octets_of};

/// A prefix as it stands in an UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri<P> {
    /// The destination.
    pub prefix: P,
    /// Path Identifier, present exactly if ADD-PATH is in use in this direction.
    pub path_id: Option<u32>,
}

impl<P> Nlri<P> {
    /// A prefix without Path Identifier.
    pub const fn new(prefix: P) -> Self {
        Self { prefix, path_id: None }
    }

    /// A prefix with Path Identifier.
    pub const fn with_path_id(prefix: P, path_id: u32) -> Self {
        Self { prefix, path_id: Some(path_id) }
    }
}

/// What an UPDATE says about one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach<P> {
    /// Prefixes that are no longer reachable. To be applied before [`Reach::announced`].
    pub withdrawn: Vec<Nlri<P>>,
    /// Prefixes that are reachable now.
    pub announced: Vec<Nlri<P>>,
    /// Next hop of everything in [`Reach::announced`]; present if that is not empty.
    pub next_hop: Option<NextHop>,
}

impl<P> Default for Reach<P> {
    fn default() -> Self {
        Self { withdrawn: Vec::new(), announced: Vec::new(), next_hop: None }
    }
}

impl<P> Reach<P> {
    /// True if there is nothing about this family.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.withdrawn.is_empty() && self.announced.is_empty()
    }
}

/// A prefix that is too long or cut off, or a cut Path Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedNlri;

/// Appends the prefixes of a field to `out`. Host bits are dropped (RFC 4271 §4.3).
pub(super) fn decode_nlri<P: NetPrefix>(
    mut field: &[u8],
    add_path: bool,
    out: &mut Vec<Nlri<P>>,
) -> Result<(), MalformedNlri> {
    // Most prefixes of the Internet take 4 octets (IPv4 /24) or 7 (IPv6 /48).
    let usual = if P::MAX_LENGTH > 32 { 7 } else { 4 };
    out.reserve(field.len() / (usual + if add_path { 4 } else { 0 }) + usize::from(!field.is_empty()));
    while !field.is_empty() {
        let mut path_id = None;
        if add_path {
            let (id, rest) = field.split_first_chunk().ok_or(MalformedNlri)?;
            path_id = Some(u32::from_be_bytes(*id));
            field = rest;
        }
        let (length, rest) = field.split_first().ok_or(MalformedNlri)?;
        let prefix = P::from_octets(*length, rest).ok_or(MalformedNlri)?;
        out.push(Nlri { prefix, path_id });
        field = rest.get(octets_of(*length)..).ok_or(MalformedNlri)?;
    }
    Ok(())
}

/// Octets that [`encode_nlri`] writes.
pub(super) fn encoded_length<P: NetPrefix>(nlri: &Nlri<P>, add_path: bool) -> usize {
    1 + octets_of(nlri.prefix.length()) + if add_path { 4 } else { 0 }
}

/// Writes one prefix, with its Path Identifier (0 if it has none) iff `add_path`.
pub(super) fn encode_nlri<P: NetPrefix>(nlri: &Nlri<P>, add_path: bool, out: &mut impl BufMut) {
    if add_path {
        out.put_u32(nlri.path_id.unwrap_or(0));
    }
    let length = nlri.prefix.length();
    out.put_u8(length);
    nlri.prefix.with_octets(|octets| out.put_slice(octets.get(..octets_of(length)).unwrap_or(octets)));
}
