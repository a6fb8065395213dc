//! The table as `nft -f` reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::canonical::{Dependency, network_of};
use crate::datatype::needs_typeof;
use crate::value::{address, padded};
use crate::{
    Base, Chain, ChainKind, Comparand, ConnectionState, Data, Datatype, DynamicOperation, Element, Expression, Family,
    Field, Hook, Key, MapData, MarkTarget, MarkValue, Match, NumgenMode, Policy, Reject, Rule, Ruleset, Set, Statement,
    TABLE, Value, Verdict, VerdictMap, priority, protocol,
};

/// Lists of up to this many elements stand on one line.
const SHORT_LIST: usize = 4;

/// The table as `nft -f` reads it: sets, then chains, each by name.
///
/// Numbers that nft would show by a name that no rule needs (services, ICMP) stay numbers.
#[must_use]
pub fn text(ruleset: &Ruleset) -> String {
    let mut out = format!("table inet {TABLE} {{\n");
    let sets = ruleset.sets.iter().map(|(name, set)| set_text(name.as_str(), set));
    let chains = ruleset.chains.iter().map(|(name, chain)| chain_text(name.as_str(), chain));
    out.push_str(&sets.chain(chains).collect::<Vec<_>>().join("\n"));
    out.push_str("}\n");
    out
}

fn set_text(name: &str, set: &Set) -> String {
    let mut out = format!("\t{} {name} {{\n", if set.data.is_some() { "map" } else { "set" });
    let values = match &set.data {
        Some(MapData::Values(parts)) => parts.as_slice(),
        _ => &[],
    };
    let by_typeof = needs_typeof(&set.key) || needs_typeof(values);
    let types = |parts: &[Datatype]| {
        let name = if by_typeof { Datatype::typeof_name } else { Datatype::name };
        parts.iter().map(|part| name(*part)).collect::<Vec<_>>().join(" . ")
    };
    let data = match &set.data {
        None => String::new(),
        Some(MapData::Verdict) => " : verdict".into(),
        Some(MapData::Values(parts)) => format!(" : {}", types(parts)),
    };
    let keyword = if by_typeof { "typeof" } else { "type" };
    let _ = writeln!(out, "\t\t{keyword} {}{data}", types(&set.key));
    if let Some(size) = set.size {
        let _ = writeln!(out, "\t\tsize {size}");
    }
    let flags = [(set.interval, "interval"), (set.dynamic, "dynamic"), (set.timeout.is_some(), "timeout")];
    let flags: Vec<_> = flags.iter().filter(|(present, _)| *present).map(|(_, flag)| *flag).collect();
    if !flags.is_empty() {
        let _ = writeln!(out, "\t\tflags {}", flags.join(","));
    }
    if let Some(timeout) = set.timeout {
        let _ = writeln!(out, "\t\ttimeout {}", duration(timeout));
    }
    if let Some(comment) = set.kept_comment() {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    if !set.elements.is_empty() && !set.dynamic {
        let _ = writeln!(out, "\t\telements = {}", elements(&set.key, values, &set.elements));
    }
    out.push_str("\t}\n");
    out
}

/// In days, hours, minutes, seconds and milliseconds, as nft shows times.
fn duration(of: Duration) -> String {
    let seconds = of.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(of.subsec_millis()), "ms"),
    ];
    parts.iter().filter(|(count, _)| *count != 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

fn elements(key: &[Datatype], values: &[Datatype], of: &BTreeMap<Element, Option<Data>>) -> String {
    let mut sorted: Vec<_> = of.iter().collect();
    // nft sorts by the number that a value is, whatever the order of its bytes.
    sorted.sort_by_cached_key(|(element, _)| numeric_order(key, element.start()));
    let entries: Vec<_> = (sorted.into_iter())
        .map(|(element, data)| match data {
            None => element_text(key, element),
            Some(Data::Verdict(verdict)) => format!("{} : {}", element_text(key, element), verdict_text(verdict)),
            Some(Data::Value(value)) => format!("{} : {}", element_text(key, element), value_text(values, value)),
        })
        .collect();
    if entries.len() <= SHORT_LIST {
        format!("{{ {} }}", entries.join(", "))
    } else {
        format!("{{\n\t\t\t{},\n\t\t}}", entries.join(",\n\t\t\t"))
    }
}

fn numeric_order(key: &[Datatype], value: &Value) -> Vec<u8> {
    let mut order = Vec::with_capacity(value.as_bytes().len());
    for (part, bytes) in parts(key, value) {
        let little = part.is_host_order() && part != Datatype::Ifname && cfg!(target_endian = "little");
        if little {
            order.extend(bytes.iter().rev());
        } else {
            order.extend(bytes);
        }
    }
    order
}

/// The parts of a concatenated value without their padding.
fn parts<'a>(types: &'a [Datatype], value: &'a Value) -> impl Iterator<Item = (Datatype, &'a [u8])> {
    let mut rest = value.as_bytes();
    types.iter().map(move |datatype| {
        let length = datatype.length();
        let part = rest.get(..length).unwrap_or(rest);
        rest = rest.get(padded(length)..).unwrap_or(&[]);
        (*datatype, part)
    })
}

fn value_text(types: &[Datatype], value: &Value) -> String {
    parts(types, value).map(|(datatype, bytes)| scalar(datatype, bytes)).collect::<Vec<_>>().join(" . ")
}

fn element_text(types: &[Datatype], element: &Element) -> String {
    let both = parts(types, element.start()).zip(parts(types, element.end()));
    both.map(|((datatype, start), (_, end))| {
        if start == end {
            return scalar(datatype, start);
        }
        let (first, last) = (Value::from_bytes(start), Value::from_bytes(end));
        match network_of(&first, &last).filter(|_| matches!(datatype, Datatype::Ipv4Addr | Datatype::Ipv6Addr)) {
            Some(network) => network.to_string(),
            None => format!("{}-{}", scalar(datatype, start), scalar(datatype, end)),
        }
    })
    .collect::<Vec<_>>()
    .join(" . ")
}

fn scalar(datatype: Datatype, bytes: &[u8]) -> String {
    let host = || <[u8; 4]>::try_from(bytes).map_or(0, u32::from_ne_bytes);
    let byte = bytes.first().copied().unwrap_or_default();
    match datatype {
        Datatype::Ipv4Addr | Datatype::Ipv6Addr => {
            address(&Value::from_bytes(bytes)).map_or_else(String::new, |address| address.to_string())
        }
        Datatype::InetService => <[u8; 2]>::try_from(bytes).map_or(0, u16::from_be_bytes).to_string(),
        Datatype::Ifname => {
            let name: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != 0).collect();
            format!("\"{}\"", String::from_utf8_lossy(&name))
        }
        Datatype::Mark => format!("0x{:08x}", host()),
        Datatype::Slot => host().to_string(),
        Datatype::CtState => states(host()),
        Datatype::InetProto => protocol_name(byte).map_or_else(|| byte.to_string(), Into::into),
        Datatype::NfProto if byte == Family::Ipv4.number() => "ipv4".into(),
        Datatype::NfProto if byte == Family::Ipv6.number() => "ipv6".into(),
        Datatype::CtDirection if byte == 0 => "original".into(),
        Datatype::CtDirection if byte == 1 => "reply".into(),
        Datatype::NfProto
        | Datatype::CtDirection
        | Datatype::IcmpType
        | Datatype::IcmpCode
        | Datatype::Icmpv6Type
        | Datatype::Icmpv6Code => byte.to_string(),
    }
}

const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMPV6 => "ipv6-icmp",
        protocol::SCTP => "sctp",
        _ => return None,
    })
}

fn states(bits: u32) -> String {
    let known = [
        (ConnectionState::Invalid, "invalid"),
        (ConnectionState::Established, "established"),
        (ConnectionState::Related, "related"),
        (ConnectionState::New, "new"),
        (ConnectionState::Untracked, "untracked"),
    ];
    let rest = known.iter().fold(bits, |rest, (state, _)| rest & !state.bit());
    let named = known.iter().filter(|(state, _)| bits & state.bit() != 0).map(|(_, name)| (*name).to_owned());
    named.chain((rest != 0).then(|| format!("0x{rest:x}"))).collect::<Vec<_>>().join(",")
}

fn chain_text(name: &str, chain: &Chain) -> String {
    let mut out = format!("\tchain {name} {{\n");
    if let Some(base) = &chain.base {
        let _ = writeln!(out, "\t\t{}", base_text(base));
    }
    for rule in &chain.rules {
        let _ = writeln!(out, "\t\t{}", rule_text(rule));
    }
    out.push_str("\t}\n");
    out
}

fn base_text(base: &Base) -> String {
    let kind = match base.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    };
    let hook = match base.hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    };
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    format!("type {kind} hook {hook} priority {}; policy {policy};", priority_text(base.hook, base.priority))
}

/// nft names priorities, and those near them, by hook.
fn priority_text(hook: Hook, number: i32) -> String {
    let named = [
        ("raw", priority::RAW, true),
        ("mangle", -150, true),
        ("dstnat", priority::DSTNAT, hook == Hook::Prerouting),
        ("filter", priority::FILTER, true),
        ("security", 50, true),
        ("srcnat", priority::SRCNAT, hook == Hook::Postrouting),
    ];
    for (name, near, _) in named.into_iter().filter(|(_, _, there)| *there) {
        match number.checked_sub(near) {
            Some(0) => return name.into(),
            Some(more @ 1..=10) => return format!("{name} + {more}"),
            Some(less @ -10..=-1) => return format!("{name} - {}", less.unsigned_abs()),
            _ => {}
        }
    }
    number.to_string()
}

/// One rule as it stands in a chain.
#[must_use]
pub fn rule_text(rule: &Rule) -> String {
    let mut words = Vec::new();
    // The protocol whose ports a `th` field reads, while nft would say so.
    let mut ports_of = None;
    let mut statements = rule.statements().iter().peekable();
    while let Some(statement) = statements.next() {
        let next_reads_port = statements.peek().is_some_and(|next| reads_port(next));
        match Dependency::established_by(statement) {
            Some(Dependency::Protocol(number @ (protocol::TCP | protocol::UDP | protocol::SCTP)))
                if next_reads_port =>
            {
                ports_of = protocol_name(number);
                continue;
            }
            _ => {}
        }
        ports_of = ports_of.filter(|_| reads_port(statement));
        words.push(statement_text(statement, ports_of.unwrap_or("th")));
    }
    if let Some(comment) = rule.comment() {
        words.push(format!("comment \"{comment}\""));
    }
    words.join(" ")
}

/// Whether it is a match of one port field, which nft shows as `tcp dport`.
fn reads_port(statement: &Statement) -> bool {
    matches!(statement, Statement::Match(Match { key, .. } ) | Statement::VerdictMap { key, .. }
        if matches!(key.as_field(), Some(Field::ThSport | Field::ThDport)))
}

fn statement_text(statement: &Statement, ports: &str) -> String {
    match statement {
        Statement::Match(of) => match_text(of, ports),
        Statement::VerdictMap { key, map } => {
            let map = match map {
                VerdictMap::Named(name) => format!("@{name}"),
                VerdictMap::Anonymous(map) => {
                    let types = key.datatypes();
                    let entry =
                        |(element, verdict)| format!("{} : {}", element_text(&types, element), verdict_text(verdict));
                    format!("{{ {} }}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
                }
            };
            format!("{} vmap {map}", key_text(key, ports))
        }
        Statement::Verdict(verdict) => verdict_text(verdict),
        Statement::SetMark { target, value } => mark_text(*target, value),
        Statement::Masquerade { fully_random: true } => "masquerade fully-random".into(),
        Statement::Masquerade { fully_random: false } => "masquerade".into(),
        Statement::Dnat { family, key, map } => {
            let family = match family {
                Family::Ipv4 => "ip",
                Family::Ipv6 => "ip6",
            };
            format!("dnat {family} to {} map @{map}", key_text(key, ports))
        }
        Statement::Reject(Reject::PortUnreachable) => "reject".into(),
        Statement::Reject(Reject::AdminProhibited) => "reject with icmpx admin-prohibited".into(),
        Statement::Counter => "counter".into(),
        Statement::Notrack => "notrack".into(),
        Statement::Log { prefix } => format!("log prefix \"{prefix}\""),
        Statement::Dynamic { operation, set, key, value } => {
            let operation = match operation {
                DynamicOperation::Add => "add",
                DynamicOperation::Update => "update",
                DynamicOperation::Delete => "delete",
            };
            let value = value.as_ref().map_or_else(String::new, |value| format!(" : {}", key_text(value, ports)));
            format!("{operation} @{set} {{ {}{value} }}", key_text(key, ports))
        }
    }
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop => "drop".into(),
        Verdict::Return => "return".into(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
    }
}

fn match_text(of: &Match, ports: &str) -> String {
    let types = of.key.datatypes();
    let not = if of.negated { "!= " } else { "" };
    let key = key_text(&of.key, ports);
    match &of.with {
        Comparand::Value(value) => format!("{key} {not}{}", value_text(&types, value)),
        Comparand::Network(network) => format!("{key} {not}{network}"),
        Comparand::Range(start, end) => format!("{key} {not}{}-{}", value_text(&types, start), value_text(&types, end)),
        Comparand::NamePrefix(prefix) => format!("{key} {not}\"{prefix}*\""),
        Comparand::Masked { mask, value } => {
            let operator = if of.negated { "!=" } else { "==" };
            format!("{key} & 0x{mask:08x} {operator} 0x{value:08x}")
        }
        Comparand::AnyOf(bits) => format!("{key} {}{}", if of.negated { "! " } else { "" }, states(*bits)),
        Comparand::Set(name) => format!("{key} {not}@{name}"),
        Comparand::Elements(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| element_text(&types, element)).collect();
            format!("{key} {not}{{ {} }}", elements.join(", "))
        }
    }
}

fn mark_text(target: MarkTarget, value: &MarkValue) -> String {
    let mark = match target {
        MarkTarget::Packet => "meta mark",
        MarkTarget::Connection => "ct mark",
    };
    match value {
        MarkValue::Map { key, map } => format!("{mark} set {} map @{map}", key_text(key, "th")),
        MarkValue::Bits { keep: 0, set } => format!("{mark} set 0x{set:08x}"),
        MarkValue::Bits { keep, set: 0 } => format!("{mark} set {mark} & 0x{keep:08x}"),
        // nft shows the mask with the bits that are set, for which it makes no difference.
        MarkValue::Bits { keep, set } if keep | set == u32::MAX => format!("{mark} set {mark} | 0x{set:08x}"),
        MarkValue::Bits { keep, set } => format!("{mark} set {mark} & 0x{:08x} | 0x{set:08x}", keep | set),
    }
}

fn key_text(key: &Key, ports: &str) -> String {
    key.0.iter().map(|part| expression_text(part, ports)).collect::<Vec<_>>().join(" . ")
}

fn expression_text(expression: &Expression, ports: &str) -> String {
    match expression {
        Expression::Field(field) => field_text(*field, ports),
        Expression::Numgen { mode, modulus, offset } => {
            let mode = match mode {
                NumgenMode::Random => "random",
                NumgenMode::Incremental => "inc",
            };
            format!("numgen {mode} mod {modulus}{}", offset_text(*offset))
        }
        Expression::Jhash { over, modulus, seed, offset } => {
            let over: Vec<_> = over.iter().map(|field| field_text(*field, ports)).collect();
            format!("jhash {} mod {modulus} seed 0x{seed:x}{}", over.join(" . "), offset_text(*offset))
        }
    }
}

fn offset_text(offset: u32) -> String {
    if offset == 0 { String::new() } else { format!(" offset {offset}") }
}

fn field_text(field: Field, ports: &str) -> String {
    let name = match field {
        Field::NfProto => "meta nfproto",
        Field::L4Proto => "meta l4proto",
        Field::MetaMark => "meta mark",
        Field::Iifname => "iifname",
        Field::Oifname => "oifname",
        Field::CtState => "ct state",
        Field::CtDirection => "ct direction",
        Field::CtMark => "ct mark",
        Field::Ip4Saddr => "ip saddr",
        Field::Ip4Daddr => "ip daddr",
        Field::Ip6Saddr => "ip6 saddr",
        Field::Ip6Daddr => "ip6 daddr",
        Field::ThSport => return format!("{ports} sport"),
        Field::ThDport => return format!("{ports} dport"),
        Field::IcmpType => "icmp type",
        Field::IcmpCode => "icmp code",
        Field::Icmpv6Type => "icmpv6 type",
        Field::Icmpv6Code => "icmpv6 code",
    };
    name.into()
}
