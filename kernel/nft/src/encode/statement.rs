//! Statements as the kernel's expressions.
//!
//! Keys start at word 0 of the registers, each part at the next free word.

use super::element::verdict_value;
use super::writer::Writer;
use crate::datatype::key_length;
use crate::netlink::expression::{
    bitwise, cmp, ct, dynset, hash, immediate, log, lookup, masq, meta, nat, numgen, payload, range, reject,
};
use crate::netlink::{EXPRESSION_DATA, EXPRESSION_NAME, LIST_ENTRY, data, payload_of, register};
use crate::value::padded;
use crate::{
    Comparand, DynamicOperation, Expression, Field, Key, MarkTarget, MarkValue, Match, Name, NumgenMode, Reject,
    Statement, Value, VerdictMap,
};

/// The anonymous set of a statement: its name and number in this batch.
pub(super) type Anonymous = Option<(&'static str, u32)>;

/// Register 0 receives verdicts.
const VERDICT_REGISTER: u32 = 0;

/// Writes the expressions of one statement.
pub(super) fn statement(writer: &mut Writer, statement: &Statement, anonymous: Anonymous) {
    match statement {
        Statement::Match(of) => comparison(writer, of, anonymous),
        Statement::VerdictMap { key, map } => {
            load(writer, key, 0);
            let set = match map {
                VerdictMap::Named(name) => (name.as_str(), None),
                VerdictMap::Anonymous(_) => anonymous.map_or(("", None), |(name, id)| (name, Some(id))),
            };
            look_up(writer, set, Some(VERDICT_REGISTER), false);
        }
        Statement::Verdict(verdict) => expression(writer, "immediate", |writer| {
            writer.number(immediate::DESTINATION, VERDICT_REGISTER);
            writer.nested(immediate::DATA, |writer| verdict_value(writer, verdict));
        }),
        Statement::SetMark { target, value } => set_mark(writer, *target, value),
        Statement::Masquerade { fully_random } => expression(writer, "masq", |writer| {
            if *fully_random {
                writer.number(masq::FLAGS, masq::FULLY_RANDOM);
            }
        }),
        Statement::Dnat { family, key, map } => {
            load(writer, key, 0);
            look_up(writer, (map.as_str(), None), Some(register(0)), false);
            let address = match family {
                crate::Family::Ipv4 => 1,
                crate::Family::Ipv6 => 4,
            };
            expression(writer, "nat", |writer| {
                writer.number(nat::KIND, nat::DESTINATION);
                writer.number(nat::FAMILY, family.number().into());
                writer.number(nat::ADDRESS_MIN, register(0));
                writer.number(nat::PORT_MIN, register(address));
            });
        }
        Statement::Reject(with) => expression(writer, "reject", |writer| {
            let code = match with {
                Reject::PortUnreachable => reject::PORT_UNREACHABLE,
                Reject::AdminProhibited => reject::ADMIN_PROHIBITED,
            };
            writer.number(reject::KIND, reject::ICMPX);
            writer.bytes(reject::CODE, &[code]);
        }),
        Statement::Counter => expression(writer, "counter", |_| {}),
        Statement::Notrack => expression(writer, "notrack", |_| {}),
        Statement::Log { prefix } => expression(writer, "log", |writer| writer.text(log::PREFIX, prefix)),
        Statement::Dynamic { operation, set, key, value } => dynamic(writer, *operation, set, key, value.as_ref()),
    }
}

fn expression(writer: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    writer.nested(LIST_ENTRY, |writer| {
        writer.text(EXPRESSION_NAME, name);
        writer.nested(EXPRESSION_DATA, fill);
    });
}

/// Loads all parts of a key, the first at `word`.
fn load(writer: &mut Writer, key: &Key, word: usize) {
    let mut at = word;
    let mut places = Vec::with_capacity(key.0.len());
    for part in &key.0 {
        places.push((at, part));
        at += padded(part.datatype().length()) / 4;
    }
    // What is hashed is loaded over the place of the other parts, so hashes come first: there are not enough
    // registers for two IPv6 keys side by side.
    places.sort_by_key(|(_, part)| !matches!(part, Expression::Jhash { .. }));
    for (at, part) in places {
        match part {
            Expression::Field(field) => load_field(writer, *field, at),
            Expression::Numgen { mode, modulus, offset } => expression(writer, "numgen", |writer| {
                let mode = match mode {
                    NumgenMode::Random => numgen::RANDOM,
                    NumgenMode::Incremental => numgen::INCREMENTAL,
                };
                writer.number(numgen::DESTINATION, register(at));
                writer.number(numgen::MODULUS, *modulus);
                writer.number(numgen::KIND, mode);
                writer.number(numgen::OFFSET, *offset);
            }),
            Expression::Jhash { over, modulus, seed, offset } => {
                let hashed = Key(over.iter().map(|field| Expression::Field(*field)).collect());
                load(writer, &hashed, word);
                expression(writer, "hash", |writer| {
                    writer.number(hash::SOURCE, register(word));
                    writer.number(hash::DESTINATION, register(at));
                    writer.number(hash::LENGTH, number(key_length(&hashed.datatypes())));
                    writer.number(hash::MODULUS, *modulus);
                    writer.number(hash::SEED, *seed);
                    writer.number(hash::OFFSET, *offset);
                    writer.number(hash::KIND, hash::JENKINS);
                });
            }
        }
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn load_field(writer: &mut Writer, field: Field, word: usize) {
    if let Some((base, offset, length)) = payload_of(field) {
        return expression(writer, "payload", |writer| {
            writer.number(payload::DESTINATION, register(word));
            writer.number(payload::BASE, base);
            writer.number(payload::OFFSET, offset);
            writer.number(payload::LENGTH, length);
        });
    }
    let (name, key) = match field {
        Field::NfProto => ("meta", meta::NFPROTO),
        Field::MetaMark => ("meta", meta::MARK),
        Field::Iifname => ("meta", meta::IIFNAME),
        Field::Oifname => ("meta", meta::OIFNAME),
        Field::CtState => ("ct", ct::STATE),
        Field::CtDirection => ("ct", ct::DIRECTION),
        Field::CtMark => ("ct", ct::MARK),
        _ => ("meta", meta::L4PROTO),
    };
    expression(writer, name, |writer| {
        // Both kinds number their attributes alike here.
        writer.number(meta::DESTINATION, register(word));
        writer.number(meta::KEY, key);
    });
}

fn comparison(writer: &mut Writer, of: &Match, anonymous: Anonymous) {
    load(writer, &of.key, 0);
    let equal = if of.negated { cmp::NOT_EQUAL } else { cmp::EQUAL };
    match &of.with {
        Comparand::Value(value) => compare(writer, equal, value.as_bytes()),
        Comparand::NamePrefix(prefix) => compare(writer, equal, prefix.as_bytes()),
        Comparand::Network(network) => {
            mask(writer, Value::from(network.mask()).as_bytes());
            compare(writer, equal, Value::from(network.network()).as_bytes());
        }
        Comparand::Masked { mask: bits, value } => {
            mask(writer, &bits.to_ne_bytes());
            compare(writer, equal, &value.to_ne_bytes());
        }
        Comparand::AnyOf(bits) => {
            // "Any of them" is "not none of them".
            let operation = if of.negated { cmp::EQUAL } else { cmp::NOT_EQUAL };
            mask(writer, &bits.to_ne_bytes());
            compare(writer, operation, &[0; 4]);
        }
        Comparand::Range(start, end) if of.negated => expression(writer, "range", |writer| {
            writer.number(range::SOURCE, register(0));
            writer.number(range::OPERATION, cmp::NOT_EQUAL);
            writer.nested(range::FROM, |writer| writer.bytes(data::VALUE, start.as_bytes()));
            writer.nested(range::TO, |writer| writer.bytes(data::VALUE, end.as_bytes()));
        }),
        Comparand::Range(start, end) => {
            compare(writer, cmp::AT_LEAST, start.as_bytes());
            compare(writer, cmp::AT_MOST, end.as_bytes());
        }
        Comparand::Set(name) => look_up(writer, (name.as_str(), None), None, of.negated),
        Comparand::Elements(_) => {
            let set = anonymous.map_or(("", None), |(name, id)| (name, Some(id)));
            look_up(writer, set, None, of.negated);
        }
    }
}

fn compare(writer: &mut Writer, operation: u32, with: &[u8]) {
    expression(writer, "cmp", |writer| {
        writer.number(cmp::SOURCE, register(0));
        writer.number(cmp::OPERATION, operation);
        writer.nested(cmp::DATA, |writer| writer.bytes(data::VALUE, with));
    });
}

fn mask(writer: &mut Writer, mask: &[u8]) {
    mask_and_xor(writer, mask, &vec![0; mask.len()]);
}

fn mask_and_xor(writer: &mut Writer, mask: &[u8], xor: &[u8]) {
    expression(writer, "bitwise", |writer| {
        writer.number(bitwise::SOURCE, register(0));
        writer.number(bitwise::DESTINATION, register(0));
        writer.number(bitwise::LENGTH, number(mask.len()));
        writer.nested(bitwise::MASK, |writer| writer.bytes(data::VALUE, mask));
        writer.nested(bitwise::XOR, |writer| writer.bytes(data::VALUE, xor));
    });
}

fn look_up(writer: &mut Writer, (set, id): (&str, Option<u32>), destination: Option<u32>, inverted: bool) {
    expression(writer, "lookup", |writer| {
        writer.text(lookup::SET, set);
        writer.number(lookup::SOURCE, register(0));
        if let Some(destination) = destination {
            writer.number(lookup::DESTINATION, destination);
        }
        if let Some(id) = id {
            writer.number(lookup::SET_ID, id);
        }
        if inverted {
            writer.number(lookup::FLAGS, lookup::INVERTED);
        }
    });
}

fn set_mark(writer: &mut Writer, target: MarkTarget, value: &MarkValue) {
    let field = match target {
        MarkTarget::Packet => Field::MetaMark,
        MarkTarget::Connection => Field::CtMark,
    };
    match value {
        MarkValue::Bits { keep: 0, set } => expression(writer, "immediate", |writer| {
            writer.number(immediate::DESTINATION, register(0));
            writer.nested(immediate::DATA, |writer| writer.bytes(data::VALUE, &set.to_ne_bytes()));
        }),
        MarkValue::Bits { keep, set } => {
            load_field(writer, field, 0);
            mask_and_xor(writer, &keep.to_ne_bytes(), &set.to_ne_bytes());
        }
        MarkValue::Map { key, map } => {
            load(writer, key, 0);
            look_up(writer, (map.as_str(), None), Some(register(0)), false);
        }
    }
    match target {
        MarkTarget::Packet => expression(writer, "meta", |writer| {
            writer.number(meta::KEY, meta::MARK);
            writer.number(meta::SOURCE, register(0));
        }),
        MarkTarget::Connection => expression(writer, "ct", |writer| {
            writer.number(ct::KEY, ct::MARK);
            writer.number(ct::SOURCE, register(0));
        }),
    }
}

fn dynamic(writer: &mut Writer, operation: DynamicOperation, set: &Name, key: &Key, value: Option<&Key>) {
    let after_key = padded(key_length(&key.datatypes())) / 4;
    load(writer, key, 0);
    if let Some(value) = value {
        load(writer, value, after_key);
    }
    expression(writer, "dynset", |writer| {
        let operation = match operation {
            DynamicOperation::Add => dynset::ADD,
            DynamicOperation::Update => dynset::UPDATE,
            DynamicOperation::Delete => dynset::DELETE,
        };
        writer.text(dynset::SET, set.as_str());
        writer.number(dynset::OPERATION, operation);
        writer.number(dynset::KEY, register(0));
        if value.is_some() {
            writer.number(dynset::DATA, register(after_key));
        }
    });
}
