//! Prefixes as words: `10.0.0.0/8`, with a Path Identifier `10.0.0.0/8~7`, or hexadecimal digits behind `#`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::values::octets;
use crate::prefix::{Family, Prefix, octets_of};

/// The octets of a prefix in an UPDATE.
pub(super) fn encode(text: &str, add_path: bool) -> Result<Vec<u8>, String> {
    if let Some(digits) = text.strip_prefix('#') {
        return octets(digits);
    }
    let (prefix, id) = text.split_once('~').map_or((text, None), |(prefix, id)| (prefix, Some(id)));
    let prefix: Prefix = prefix.parse().map_err(|_| format!("{text} is no prefix"))?;
    let mut out = Vec::new();
    if add_path || id.is_some() {
        let id: u32 = id.unwrap_or("0").parse().map_err(|_| format!("{text}: no Path Identifier"))?;
        out.extend(id.to_be_bytes());
    }
    out.push(prefix.length());
    let count = octets_of(prefix.length());
    match prefix.address() {
        IpAddr::V4(address) => out.extend(address.octets().into_iter().take(count)),
        IpAddr::V6(address) => out.extend(address.octets().into_iter().take(count)),
    }
    Ok(out)
}

/// The prefixes of a field; `None` if it is malformed.
pub(super) fn texts(mut field: &[u8], family: Family, add_path: bool) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !field.is_empty() {
        let mut id = String::new();
        if add_path {
            let (octets, rest) = field.split_first_chunk()?;
            id = format!("~{}", u32::from_be_bytes(*octets));
            field = rest;
        }
        let (length, rest) = field.split_first()?;
        let (octets, rest) = rest.split_at_checked(octets_of(*length))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        let [a, b, c, d, ..] = address;
        let prefix = match family {
            Family::Ipv4Unicast => Prefix::new(Ipv4Addr::new(a, b, c, d).into(), *length)?,
            Family::Ipv6Unicast => Prefix::new(Ipv6Addr::from(address).into(), *length)?,
        };
        texts.push(format!("{prefix}{id}"));
        field = rest;
    }
    Some(texts)
}
