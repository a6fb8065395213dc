//! Path attributes as words: `origin=IGP`, `path=65001,65002`, `community=65001:1`, and `attr=c0/99/0102` for the rest.
//!
//! Flags that are not the usual ones stand behind the name (`community/e0=…`). `attr=FLAGS/CODE/LENGTH/VALUE` has a length
//! that need not be that of the value. This is written apart from `wire`, so that it can say what that would never send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nlri;
use super::values::{hex, octets};
use crate::prefix::Family;
use crate::wire::{Community, LargeCommunity};

const EXTENDED_LENGTH: u8 = 0x10;

/// How the value of an attribute is read and written.
#[derive(Debug, Clone, Copy)]
enum Codec {
    Origin,
    Path,
    /// A path of 4-octet numbers on every session.
    WidePath,
    Address,
    Number,
    Empty,
    Aggregator,
    Communities,
    Addresses,
    LargeCommunities,
    Hex,
    Reach,
    Unreach,
}

/// Name, type code, usual flags, form of the value.
const NAMES: [(&str, u8, u8, Codec); 18] = [
    ("origin", 1, 0x40, Codec::Origin),
    ("path", 2, 0x40, Codec::Path),
    ("next-hop", 3, 0x40, Codec::Address),
    ("med", 4, 0x80, Codec::Number),
    ("local-pref", 5, 0x40, Codec::Number),
    ("atomic", 6, 0x40, Codec::Empty),
    ("aggregator", 7, 0xc0, Codec::Aggregator),
    ("community", 8, 0xc0, Codec::Communities),
    ("originator", 9, 0x80, Codec::Address),
    ("cluster", 10, 0x80, Codec::Addresses),
    ("mp-reach", 14, 0x80, Codec::Reach),
    ("mp-unreach", 15, 0x80, Codec::Unreach),
    ("ext-community", 16, 0xc0, Codec::Hex),
    ("as4-path", 17, 0xc0, Codec::WidePath),
    ("as4-aggregator", 18, 0xc0, Codec::Aggregator),
    ("ipv6-community", 25, 0xc0, Codec::Hex),
    ("large-community", 32, 0xc0, Codec::LargeCommunities),
    ("otc", 35, 0xc0, Codec::Number),
];

/// What decides how octets are read: not to be seen in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// AS numbers have 4 octets.
    pub(super) wide: bool,
    /// Prefixes come with a Path Identifier.
    pub(super) add_path: bool,
}

/// The octets of an attribute, header included, if the word is one.
pub(super) fn encode(key: &str, value: &str, form: Form) -> Result<Option<Vec<u8>>, String> {
    let (name, flags) = key.split_once('/').map_or((key, None), |(name, flags)| (name, Some(flags)));
    if name == "attr" {
        return raw(value).map(Some);
    }
    let Some((_, code, usual, codec)) = NAMES.iter().find(|it| it.0 == name) else { return Ok(None) };
    let flags = flags.map_or(Ok(*usual), |it| u8::from_str_radix(it, 16).map_err(|_| format!("flags: {it}")))?;
    let value = value_octets(*codec, value, form).map_err(|error| format!("{name}: {error}"))?;
    Ok(Some(with_header(flags, *code, value.len(), &value)))
}

fn raw(text: &str) -> Result<Vec<u8>, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (flags, code, length, value) = match parts[..] {
        [flags, code, value] => (flags, code, None, value),
        [flags, code, length, value] => (flags, code, Some(length), value),
        _ => return Err(format!("attr: {text}; expected FLAGS/CODE/VALUE or FLAGS/CODE/LENGTH/VALUE")),
    };
    let number = |text: &str| format!("attr: {text} is no number");
    let value = repeated(value)?;
    let length = length.map_or(Ok(value.len()), |it| it.parse().map_err(|_| number(it)))?;
    let flags = u8::from_str_radix(flags, 16).map_err(|_| number(flags))?;
    Ok(with_header(flags, code.parse().map_err(|_| number(code))?, length, &value))
}

/// Hexadecimal digits; `00*300` for 300 times the same.
pub(super) fn repeated(text: &str) -> Result<Vec<u8>, String> {
    match text.split_once('*') {
        Some((unit, times)) => {
            Ok(octets(unit)?.repeat(times.parse().map_err(|_| format!("{times} is no number of times"))?))
        }
        None => octets(text),
    }
}

fn with_header(flags: u8, code: u8, length: usize, value: &[u8]) -> Vec<u8> {
    let long = flags & EXTENDED_LENGTH != 0 || length > 255;
    let mut out = vec![if long { flags | EXTENDED_LENGTH } else { flags }, code];
    let [high, low] = (length as u16).to_be_bytes();
    if long {
        out.push(high);
    }
    out.push(low);
    out.extend_from_slice(value);
    out
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text} is no number of 32 bits"))
}

fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("{text} is no IPv4 address"))
}

fn as_octets(number: u32, wide: bool) -> Vec<u8> {
    if wide { number.to_be_bytes().to_vec() } else { u16::try_from(number).unwrap_or(23456).to_be_bytes().to_vec() }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|it| !it.is_empty())
}

fn value_octets(codec: Codec, text: &str, form: Form) -> Result<Vec<u8>, String> {
    let joined = |parts: Result<Vec<Vec<u8>>, String>| parts.map(|it| it.concat());
    match codec {
        Codec::Origin => match text {
            "IGP" => Ok(vec![0]),
            "EGP" => Ok(vec![1]),
            "INCOMPLETE" => Ok(vec![2]),
            _ => Err(format!("{text}; expected IGP, EGP or INCOMPLETE")),
        },
        Codec::Path => path_octets(text, form.wide),
        Codec::WidePath => path_octets(text, true),
        Codec::Address => Ok(address(text)?.octets().to_vec()),
        Codec::Number => Ok(number(text)?.to_be_bytes().to_vec()),
        Codec::Empty => Ok(Vec::new()),
        Codec::Aggregator => {
            let (as_number, router) = text.split_once(':').ok_or("expected AS:ADDRESS")?;
            Ok([as_octets(number(as_number)?, form.wide), address(router)?.octets().to_vec()].concat())
        }
        Codec::Communities => joined(
            list(text)
                .map(|it| {
                    it.parse().map(|it: Community| it.0.to_be_bytes().to_vec()).map_err(|error| error.to_string())
                })
                .collect(),
        ),
        Codec::Addresses => joined(list(text).map(|it| Ok(address(it)?.octets().to_vec())).collect()),
        Codec::LargeCommunities => joined(
            list(text)
                .map(|it| {
                    let LargeCommunity { global, local1, local2 } =
                        it.parse().map_err(|error: crate::wire::ParseCommunityError| error.to_string())?;
                    Ok([global, local1, local2].map(u32::to_be_bytes).concat())
                })
                .collect(),
        ),
        Codec::Hex => repeated(text),
        Codec::Reach | Codec::Unreach => multiprotocol(text, matches!(codec, Codec::Reach), form),
    }
}

/// `65001,65002,{65003|65004}`; `65001*300` for a number that stands there many times.
fn path_octets(text: &str, wide: bool) -> Result<Vec<u8>, String> {
    let mut segments: Vec<(u8, Vec<u32>)> = Vec::new();
    for part in list(text) {
        if let Some(set) = part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            segments.push((1, set.split('|').map(number).collect::<Result<_, _>>()?));
            continue;
        }
        let (part, times) = part.split_once('*').unwrap_or((part, "1"));
        for _ in 0..number(times)? {
            match segments.last_mut() {
                Some((2, numbers)) if numbers.len() < 255 => numbers.push(number(part)?),
                _ => segments.push((2, vec![number(part)?])),
            }
        }
    }
    let mut out = Vec::new();
    for (kind, numbers) in segments {
        out.extend([kind, numbers.len() as u8]);
        numbers.iter().for_each(|number| out.extend(as_octets(*number, wide)));
    }
    Ok(out)
}

/// `ipv6,2001:db8::1,2001:db8:1::/48`, a second next hop behind `+`; without next hop for MP_UNREACH_NLRI.
fn multiprotocol(text: &str, reach: bool, form: Form) -> Result<Vec<u8>, String> {
    let mut parts = text.split(',');
    let family: Family = parts.next().unwrap_or_default().parse().map_err(|_| format!("{text}: no family"))?;
    let mut out = [&family.afi().to_be_bytes()[..], &[family.safi()]].concat();
    if reach {
        let mut hops = Vec::new();
        for hop in parts.next().unwrap_or_default().split('+').filter(|it| !it.is_empty()) {
            match hop.parse().map_err(|_| format!("{hop}: no address"))? {
                IpAddr::V4(hop) => hops.extend(hop.octets()),
                IpAddr::V6(hop) => hops.extend(hop.octets()),
            }
        }
        out.push(hops.len() as u8);
        out.extend(hops);
        out.push(0);
    }
    for part in parts {
        out.extend(nlri::encode(part, form.add_path)?);
    }
    Ok(out)
}

/// The words of a block of attributes; what does not fit at its end is `raw=…`.
pub(super) fn words(mut block: &[u8], form: Form, out: &mut Vec<String>) {
    while !block.is_empty() {
        let (flags, code, header, length) = match *block {
            [flags, code, high, low, ..] if flags & EXTENDED_LENGTH != 0 => {
                (flags, code, 4, usize::from(u16::from_be_bytes([high, low])))
            }
            [flags, code, length, ..] if flags & EXTENDED_LENGTH == 0 => (flags, code, 3, usize::from(length)),
            _ => return out.push(format!("raw={}", hex(block))),
        };
        let Some((whole, rest)) = block.split_at_checked(header + length) else {
            return out.push(format!("raw={}", hex(block)));
        };
        out.push(word(flags, code, whole.get(header..).unwrap_or_default(), form));
        block = rest;
    }
}

fn word(flags: u8, code: u8, value: &[u8], form: Form) -> String {
    let plain = if value.len() > 255 { flags & !EXTENDED_LENGTH } else { flags };
    let named = NAMES.iter().find(|it| it.1 == code).and_then(|it| Some((it, text(it.3, value, form)?)));
    let Some(((name, _, usual, _), text)) = named else { return format!("attr={flags:02x}/{code}/{}", hex(value)) };
    let flags = if plain == *usual { String::new() } else { format!("/{flags:02x}") };
    format!("{name}{flags}={text}")
}

fn text(codec: Codec, value: &[u8], form: Form) -> Option<String> {
    let words = |size: usize| -> Option<Vec<u32>> {
        let (chunks, rest) = value.as_chunks::<4>();
        (rest.is_empty() && value.len().is_multiple_of(size) && !value.is_empty())
            .then(|| chunks.iter().map(|it| u32::from_be_bytes(*it)).collect())
    };
    let joined = |parts: Vec<String>| Some(parts.join(","));
    match (codec, value) {
        (Codec::Origin, [code @ 0..=2]) => {
            ["IGP", "EGP", "INCOMPLETE"].get(usize::from(*code)).map(|it| (*it).to_owned())
        }
        (Codec::Path, _) => path_text(value, form.wide).or_else(|| path_text(value, false)),
        (Codec::WidePath, _) => path_text(value, true),
        (Codec::Address, [a, b, c, d]) => Some(Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        (Codec::Number, [a, b, c, d]) => Some(u32::from_be_bytes([*a, *b, *c, *d]).to_string()),
        (Codec::Empty, []) => Some(String::new()),
        (Codec::Aggregator, [a, b, router @ ..]) if value.len() == 6 => {
            let router: [u8; 4] = router.try_into().ok()?;
            Some(format!("{}:{}", u16::from_be_bytes([*a, *b]), Ipv4Addr::from(router)))
        }
        (Codec::Aggregator, [_, _, _, _, router @ ..]) if value.len() == 8 => {
            let router: [u8; 4] = router.try_into().ok()?;
            Some(format!("{}:{}", words(8)?.first()?, Ipv4Addr::from(router)))
        }
        (Codec::Communities, _) => joined(words(4)?.into_iter().map(|it| Community(it).to_string()).collect()),
        (Codec::Addresses, _) => joined(words(4)?.into_iter().map(|it| Ipv4Addr::from_bits(it).to_string()).collect()),
        (Codec::LargeCommunities, _) => {
            let numbers = words(12)?;
            let triples = numbers.as_chunks::<3>().0.iter();
            joined(triples.map(|[global, local1, local2]| format!("{global}:{local1}:{local2}")).collect())
        }
        (Codec::Hex, _) => Some(hex(value)),
        (Codec::Reach, [high, low, safi, length, rest @ ..]) => {
            let family = Family::from_afi_safi(u16::from_be_bytes([*high, *low]), *safi)?;
            let (hops, rest) = rest.split_at_checked(usize::from(*length))?;
            let prefixes = nlri::texts(rest.split_first()?.1, family, form.add_path)?;
            joined([vec![family.to_string(), hops_text(hops)?], prefixes].concat())
        }
        (Codec::Unreach, [high, low, safi, rest @ ..]) => {
            let family = Family::from_afi_safi(u16::from_be_bytes([*high, *low]), *safi)?;
            joined([vec![family.to_string()], nlri::texts(rest, family, form.add_path)?].concat())
        }
        _ => None,
    }
}

fn hops_text(octets: &[u8]) -> Option<String> {
    let wide = |it: &[u8; 16]| Ipv6Addr::from(*it).to_string();
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()),
        16 | 32 => Some(octets.as_chunks::<16>().0.iter().map(wide).collect::<Vec<_>>().join("+")),
        _ => None,
    }
}

fn path_text(mut value: &[u8], wide: bool) -> Option<String> {
    let size = if wide { 4 } else { 2 };
    let mut parts = Vec::new();
    while let [kind, count, rest @ ..] = value {
        let (numbers, behind) = rest.split_at_checked(usize::from(*count) * size)?;
        let numbers: Vec<String> = numbers
            .chunks(size)
            .map(|it| it.iter().fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet)).to_string())
            .collect();
        match kind {
            1 => parts.push(format!("{{{}}}", numbers.join("|"))),
            2 if !numbers.is_empty() => parts.extend(numbers),
            _ => return None,
        }
        value = behind;
    }
    value.is_empty().then(|| parts.join(","))
}
