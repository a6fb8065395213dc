//! Messages as words: `UPDATE origin=IGP path=65002 next-hop=192.0.2.1 nlri=203.0.113.0/24`.
//!
//! Every length can be made to lie (`length=`, `withdrawn-length=`, `attributes-length=`, `params-length=`), and hexadecimal
//! digits stand for themselves, so that nothing is too wrong to be said.

use std::net::Ipv4Addr;

use super::attribute::{self, Form, repeated};
use super::nlri;
use super::values::{hex, octets};
use crate::prefix::Family;
use crate::wire::MessageKind;

const HEADER: usize = 19;
const CAPABILITIES: u8 = 2;

/// Capabilities that have a name: code and value.
const CAPABILITY_NAMES: [(&str, u8, &str); 6] = [
    ("ipv4", 1, "00010001"),
    ("ipv6", 1, "00020001"),
    ("refresh", 2, ""),
    ("nexthop6", 5, "000100010002"),
    ("extended", 6, ""),
    ("enhanced-refresh", 70, ""),
];

/// What an OPEN says unless its words say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) as_number: u32,
    pub(super) identifier: Ipv4Addr,
}

/// Words of a message that are a form, not a part of it.
pub(super) fn form<'a>(words: impl Iterator<Item = &'a str>) -> Form {
    let mut form = Form { wide: true, add_path: false };
    for word in words {
        form.wide &= word != "two-octet";
        form.add_path |= word == "add-path";
    }
    form
}

const fn is_form(word: &str) -> bool {
    matches!(word.as_bytes(), b"two-octet" | b"add-path")
}

/// The octets that a message of words stands for.
pub(super) fn encode(text: &str, defaults: Defaults) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = super::values::Words::new(text).collect();
    let Some((kind, words)) = words.split_first() else { return Err("a message is missing".to_owned()) };
    let form = form(words.iter().copied());
    let words: Vec<&str> = words.iter().copied().filter(|word| !is_form(word)).collect();
    let (code, body, length) = match *kind {
        "OPEN" => (1, open(&words, defaults)?, None),
        "UPDATE" => update(&words, form).map(|(body, length)| (2, body, length))?,
        "NOTIFICATION" => (3, notification(&words)?, None),
        "KEEPALIVE" => (4, octets(&words.concat())?, None),
        "ROUTE-REFRESH" => (5, refresh(&words)?, None),
        _ => return octets(&text.replace(char::is_whitespace, "")),
    };
    let length = length.unwrap_or(HEADER + body.len());
    let mut out = vec![0xff; 16];
    out.extend((length as u16).to_be_bytes());
    out.push(code);
    out.extend(body);
    Ok(out)
}

fn split(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{key}: {text} is no number that fits"))
}

fn open(words: &[&str], defaults: Defaults) -> Result<Vec<u8>, String> {
    let (mut version, mut as_number, mut hold, mut identifier) = (4, defaults.as_number, 90_u16, defaults.identifier);
    let (mut capabilities, mut parameters, mut length) = ("ipv4,ipv6,refresh,as4", None, None);
    for word in words {
        let (key, value) = split(word);
        match key {
            "version" => version = number(key, value)?,
            "as" => as_number = number(key, value)?,
            "hold" => hold = number(key, value)?,
            "id" => identifier = number(key, value)?,
            "caps" => capabilities = value,
            "params" => parameters = Some(repeated(value)?),
            "params-length" => length = Some(number(key, value)?),
            _ => return Err(format!("{word}: expected version, as, hold, id, caps, params or params-length")),
        }
    }
    let parameters = match parameters {
        Some(parameters) => parameters,
        None => {
            let list = capabilities_octets(capabilities, as_number)?;
            if list.is_empty() { list } else { [&[CAPABILITIES, list.len() as u8], &list[..]].concat() }
        }
    };
    let mut out = vec![version];
    out.extend(u16::try_from(as_number).unwrap_or(23456).to_be_bytes());
    out.extend(hold.to_be_bytes());
    out.extend(identifier.octets());
    out.push(length.unwrap_or(parameters.len() as u8));
    out.extend(parameters);
    Ok(out)
}

/// `ipv4,ipv6,as4,64/4078`: names, or CODE/VALUE.
fn capabilities_octets(text: &str, as_number: u32) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for word in text.split(',').filter(|it| !it.is_empty() && *it != "none") {
        let (code, value) = match CAPABILITY_NAMES.iter().find(|it| it.0 == word) {
            Some((_, code, value)) => (*code, octets(value)?),
            None if word == "as4" => (65, as_number.to_be_bytes().to_vec()),
            None => {
                let (code, value) = word.split_once('/').ok_or_else(|| format!("{word}: no capability; CODE/VALUE"))?;
                (number("capability", code)?, repeated(value)?)
            }
        };
        out.extend([code, value.len() as u8]);
        out.extend(value);
    }
    Ok(out)
}

fn update(words: &[&str], form: Form) -> Result<(Vec<u8>, Option<usize>), String> {
    let (mut withdrawn, mut attributes, mut announced) = (Vec::new(), Vec::new(), Vec::new());
    let (mut withdrawn_length, mut attributes_length, mut length) = (None, None, None);
    for word in words {
        let (key, value) = split(word);
        let prefixes = || -> Result<Vec<u8>, String> {
            let parts = value.split(',').filter(|it| !it.is_empty());
            Ok(parts.map(|it| nlri::encode(it, form.add_path)).collect::<Result<Vec<_>, _>>()?.concat())
        };
        match key {
            "withdraw" => withdrawn.extend(prefixes()?),
            "nlri" => announced.extend(prefixes()?),
            "raw" => attributes.extend(repeated(value)?),
            "withdrawn-length" => withdrawn_length = Some(number::<u16>(key, value)?),
            "attributes-length" => attributes_length = Some(number::<u16>(key, value)?),
            "length" => length = Some(number(key, value)?),
            _ => match attribute::encode(key, value, form)? {
                Some(attribute) => attributes.extend(attribute),
                None => return Err(format!("{word}: no part of an UPDATE")),
            },
        }
    }
    let field = |length: Option<u16>, field: Vec<u8>| {
        let length = length.unwrap_or(field.len() as u16);
        [&length.to_be_bytes()[..], &field].concat()
    };
    let body = [field(withdrawn_length, withdrawn), field(attributes_length, attributes), announced].concat();
    Ok((body, length))
}

/// `6/2 0474657374`
fn notification(words: &[&str]) -> Result<Vec<u8>, String> {
    let Some((codes, data)) = words.split_first() else { return Err("CODE/SUBCODE is missing".to_owned()) };
    let (code, subcode) = codes.split_once('/').ok_or_else(|| format!("{codes}: expected CODE/SUBCODE"))?;
    Ok([vec![number("code", code)?, number("subcode", subcode)?], repeated(&data.concat())?].concat())
}

/// `ipv4 request`, `ipv6 begin`, `AFI/SAFI 7 rest=00`
fn refresh(words: &[&str]) -> Result<Vec<u8>, String> {
    let [family, kind, rest @ ..] = words else { return Err("expected FAMILY and request, begin, end".to_owned()) };
    let (afi, safi) = match (family.parse::<Family>(), family.split_once('/')) {
        (Ok(family), _) => (family.afi(), family.safi()),
        (_, Some((afi, safi))) => (number("AFI", afi)?, number("SAFI", safi)?),
        _ => return Err(format!("{family}: no family")),
    };
    let kind = match *kind {
        "request" => 0,
        "begin" => 1,
        "end" => 2,
        other => number("subtype", other)?,
    };
    let mut out = [&afi.to_be_bytes()[..], &[kind, safi]].concat();
    for word in rest {
        out.extend(repeated(word.strip_prefix("rest=").unwrap_or(word))?);
    }
    Ok(out)
}

/// A whole message as words.
pub(super) fn text(message: &[u8], form: Form) -> String {
    let kinds = [
        MessageKind::Open,
        MessageKind::Update,
        MessageKind::Notification,
        MessageKind::Keepalive,
        MessageKind::RouteRefresh,
    ];
    let shown = message.split_at_checked(HEADER).and_then(|(header, body)| {
        let code = header.last()?;
        let kind = kinds.into_iter().find(|it| it.code() == *code)?;
        let words = match kind {
            MessageKind::Open => open_words(body)?,
            MessageKind::Update => update_words(body, form)?,
            MessageKind::Notification => {
                let [code, subcode, data @ ..] = body else { return None };
                [vec![format!("{code}/{subcode}")], some(hex(data))].concat()
            }
            MessageKind::Keepalive => some(hex(body)),
            MessageKind::RouteRefresh => refresh_words(body)?,
        };
        Some([vec![kind.name().to_owned()], words].concat().join(" "))
    });
    shown.unwrap_or_else(|| hex(message))
}

fn some(text: String) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text] }
}

fn open_words(body: &[u8]) -> Option<Vec<String>> {
    let [version, as_high, as_low, hold_high, hold_low, a, b, c, d, length, parameters @ ..] = body else {
        return None;
    };
    let mut words = vec![
        format!("as={}", u16::from_be_bytes([*as_high, *as_low])),
        format!("hold={}", u16::from_be_bytes([*hold_high, *hold_low])),
        format!("id={}", Ipv4Addr::new(*a, *b, *c, *d)),
    ];
    if *version != 4 {
        words.push(format!("version={version}"));
    }
    match parameters {
        [] => words.push("caps=none".to_owned()),
        [CAPABILITIES, count, list @ ..]
            if usize::from(*length) == parameters.len() && usize::from(*count) == list.len() =>
        {
            words.push(format!("caps={}", capability_words(list)?.join(",")));
        }
        other => words.push(format!("params={}", hex(other))),
    }
    Some(words)
}

fn capability_words(mut list: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while let [code, length, rest @ ..] = list {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        let digits = hex(value);
        let name = CAPABILITY_NAMES.iter().find(|it| it.1 == *code && it.2 == digits);
        words.push(match name {
            Some((name, ..)) => (*name).to_owned(),
            None => format!("{code}/{digits}"),
        });
        list = behind;
    }
    list.is_empty().then_some(words)
}

fn update_words(body: &[u8], form: Form) -> Option<Vec<String>> {
    let counted = |octets: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let (length, rest) = octets.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some((field.to_vec(), rest.to_vec()))
    };
    let (withdrawn, rest) = counted(body)?;
    let (attributes, announced) = counted(&rest)?;
    let mut words = Vec::new();
    attribute::words(&attributes, form, &mut words);
    for (key, field) in [("withdraw", withdrawn), ("nlri", announced)] {
        let texts = nlri::texts(&field, Family::Ipv4Unicast, form.add_path);
        let texts = texts.unwrap_or_else(|| vec![format!("#{}", hex(&field))]);
        if !texts.is_empty() {
            words.push(format!("{key}={}", texts.join(",")));
        }
    }
    Some(words)
}

fn refresh_words(body: &[u8]) -> Option<Vec<String>> {
    let [high, low, kind, safi, rest @ ..] = body else { return None };
    let afi = u16::from_be_bytes([*high, *low]);
    let family = Family::from_afi_safi(afi, *safi).map_or_else(|| format!("{afi}/{safi}"), |it| it.to_string());
    let kind =
        ["request", "begin", "end"].get(usize::from(*kind)).map_or_else(|| kind.to_string(), |it| (*it).to_owned());
    let rest = if rest.is_empty() { String::new() } else { format!("rest={}", hex(rest)) };
    Some([vec![family, kind], some(rest)].concat())
}

/// Cuts octets that hold whole messages into them; what is left over comes last.
pub(super) fn messages(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let length = octets
            .get(16..18)
            .map_or(octets.len(), |it| it.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)));
        let (message, rest) = octets.split_at_checked(length.max(HEADER)).unwrap_or((octets, &[]));
        found.push(message);
        octets = rest;
    }
    found
}
