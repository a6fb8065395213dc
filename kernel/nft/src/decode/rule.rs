//! Rules of a dump: the kernel's expressions as statements.
//!
//! Follows what each expression leaves in the registers, as nft does. Reads what tortie writes and what nft makes of
//! tortie's text; everything else is `None`.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::attribute::Attributes;
use super::set::{RawSet, read_verdict};
use crate::netlink::expression::{
    bitwise, byteorder, cmp, ct, dynset, hash, immediate, log, lookup, masq, meta, nat, numgen, payload, range, reject,
};
use crate::netlink::{EXPRESSION_DATA, EXPRESSION_NAME, REGISTER_WORDS, data, payload_of, word};
use crate::value::{address, padded, prefix_length};
use crate::{
    Comparand, Datatype, DynamicOperation, Expression, Family, Field, Key, MapData, MarkTarget, MarkValue, Match, Name,
    NumgenMode, Reject, Statement, Value, VerdictMap, protocol,
};

/// What a register holds.
#[derive(Debug, Clone)]
enum Loaded {
    Expression(Expression),
    /// A part of a packet that is no single field: the beginning of one, or several.
    Payload {
        base: u32,
        offset: u32,
        length: u32,
    },
    /// A field of which bits were cleared and set.
    Masked {
        field: Field,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// A field that was found to be at least this.
    AtLeast(Field, Value),
    Constant(Value),
    /// What a map has for a key.
    Mapped(Key, Name),
}

struct Reader<'a> {
    sets: &'a BTreeMap<Name, RawSet>,
    registers: [Option<Loaded>; REGISTER_WORDS],
    statements: Vec<Statement>,
}

/// The statements of a rule; `None` if there is one that tortie does not know.
pub(super) fn statements(expressions: Attributes<'_>, sets: &BTreeMap<Name, RawSet>) -> Option<Vec<Statement>> {
    let mut reader = Reader { sets, registers: std::array::from_fn(|_| None), statements: Vec::new() };
    for (_, expression) in expressions {
        let expression = Attributes::new(expression);
        let fields = expression.nested(EXPRESSION_DATA).unwrap_or(Attributes::new(&[]));
        reader.expression(expression.text(EXPRESSION_NAME)?, fields)?;
    }
    (!reader.statements.is_empty()).then_some(reader.statements)
}

impl Reader<'_> {
    fn expression(&mut self, name: &str, fields: Attributes<'_>) -> Option<()> {
        match name {
            "payload" => self.payload(fields)?,
            "meta" => self.meta(fields)?,
            "ct" => self.ct(fields)?,
            "numgen" => self.numgen(fields)?,
            "hash" => self.hash(fields)?,
            "bitwise" => self.bitwise(fields)?,
            // nft swaps bytes even of values that have only one.
            "byteorder" => (fields.number(byteorder::LENGTH)? == 1).then_some(())?,
            "cmp" => self.cmp(fields)?,
            "range" => self.range(fields)?,
            "lookup" => self.lookup(fields)?,
            "immediate" => self.immediate(fields)?,
            "nat" => self.nat(fields)?,
            "dynset" => self.dynset(fields)?,
            "masq" => match fields.number(masq::FLAGS).unwrap_or(0) {
                0 => self.statements.push(Statement::Masquerade { fully_random: false }),
                masq::FULLY_RANDOM => self.statements.push(Statement::Masquerade { fully_random: true }),
                _ => return None,
            },
            "reject" => {
                let code = fields.get(reject::CODE)?.first().copied()?;
                self.statements.push(Statement::Reject(match (fields.number(reject::KIND)?, code) {
                    (reject::ICMPX, reject::PORT_UNREACHABLE) => Reject::PortUnreachable,
                    (reject::ICMPX, reject::ADMIN_PROHIBITED) => Reject::AdminProhibited,
                    _ => return None,
                }));
            }
            "counter" => self.statements.push(Statement::Counter),
            "notrack" => self.statements.push(Statement::Notrack),
            "log" => {
                let prefix = fields.text(log::PREFIX)?.into();
                self.statements.push(Statement::Log { prefix });
            }
            _ => return None,
        }
        Some(())
    }

    fn load(&mut self, register: u32, what: Loaded) -> Option<()> {
        *self.registers.get_mut(word(register)?)? = Some(what);
        Some(())
    }

    fn loaded(&self, register: u32) -> Option<&Loaded> {
        self.registers.get(word(register)?)?.as_ref()
    }

    fn field(&self, register: u32) -> Option<Field> {
        match self.loaded(register)? {
            Loaded::Expression(Expression::Field(field)) => Some(*field),
            _ => None,
        }
    }

    /// The key of these types that starts at a register.
    fn key(&self, register: u32, parts: &[Datatype]) -> Option<Key> {
        let mut at = word(register)?;
        let mut key = Vec::with_capacity(parts.len());
        for part in parts {
            match self.registers.get(at)?.as_ref()? {
                Loaded::Expression(expression) if expression.datatype().length() == part.length() => {
                    key.push(expression.clone());
                }
                _ => return None,
            }
            at += padded(part.length()) / 4;
        }
        (!key.is_empty()).then_some(Key(key))
    }

    /// The protocol that the rule has matched, which tells fields at the same place apart.
    fn protocol(&self) -> Option<u8> {
        self.statements.iter().rev().find_map(|statement| match statement {
            Statement::Match(Match { key, negated: false, with: Comparand::Value(value) })
                if key.as_field() == Some(Field::L4Proto) =>
            {
                value.as_bytes().first().copied()
            }
            _ => None,
        })
    }

    fn payload(&mut self, fields: Attributes<'_>) -> Option<()> {
        let place = (fields.number(payload::BASE)?, fields.number(payload::OFFSET)?, fields.number(payload::LENGTH)?);
        let loaded = match field_at(place, self.protocol()) {
            Some(field) => Loaded::Expression(field.into()),
            None => Loaded::Payload { base: place.0, offset: place.1, length: place.2 },
        };
        self.load(fields.number(payload::DESTINATION)?, loaded)
    }

    fn meta(&mut self, fields: Attributes<'_>) -> Option<()> {
        let key = fields.number(meta::KEY)?;
        if let Some(source) = fields.number(meta::SOURCE) {
            return (key == meta::MARK).then(|| self.set_mark(MarkTarget::Packet, source))?;
        }
        let field = match key {
            meta::MARK => Field::MetaMark,
            meta::IIFNAME => Field::Iifname,
            meta::OIFNAME => Field::Oifname,
            meta::NFPROTO => Field::NfProto,
            meta::L4PROTO => Field::L4Proto,
            _ => return None,
        };
        self.load(fields.number(meta::DESTINATION)?, Loaded::Expression(field.into()))
    }

    fn ct(&mut self, fields: Attributes<'_>) -> Option<()> {
        let key = fields.get(ct::KEY).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)?;
        if let Some(source) = fields.number(ct::SOURCE) {
            return (key == ct::MARK).then(|| self.set_mark(MarkTarget::Connection, source))?;
        }
        let field = match key {
            ct::STATE => Field::CtState,
            ct::DIRECTION => Field::CtDirection,
            ct::MARK => Field::CtMark,
            _ => return None,
        };
        self.load(fields.number(ct::DESTINATION)?, Loaded::Expression(field.into()))
    }

    fn set_mark(&mut self, target: MarkTarget, source: u32) -> Option<()> {
        let own = match target {
            MarkTarget::Packet => Field::MetaMark,
            MarkTarget::Connection => Field::CtMark,
        };
        let value = match self.loaded(source)? {
            Loaded::Masked { field, mask, xor } if *field == own => {
                MarkValue::Bits { keep: host(mask)?, set: host(xor)? }
            }
            Loaded::Constant(value) => MarkValue::Bits { keep: 0, set: host(value.as_bytes())? },
            Loaded::Mapped(key, map) => MarkValue::Map { key: key.clone(), map: map.clone() },
            _ => return None,
        };
        // With a bit both kept and flipped this would be a toggle, which no statement is.
        if matches!(value, MarkValue::Bits { keep, set } if keep & set != 0) {
            return None;
        }
        self.statements.push(Statement::SetMark { target, value });
        Some(())
    }

    fn numgen(&mut self, fields: Attributes<'_>) -> Option<()> {
        let mode = match fields.number(numgen::KIND)? {
            numgen::RANDOM => NumgenMode::Random,
            numgen::INCREMENTAL => NumgenMode::Incremental,
            _ => return None,
        };
        let offset = fields.number(numgen::OFFSET).unwrap_or(0);
        let expression = Expression::Numgen { mode, modulus: fields.number(numgen::MODULUS)?, offset };
        self.load(fields.number(numgen::DESTINATION)?, Loaded::Expression(expression))
    }

    fn hash(&mut self, fields: Attributes<'_>) -> Option<()> {
        if fields.number(hash::KIND).unwrap_or(hash::JENKINS) != hash::JENKINS {
            return None;
        }
        let mut at = word(fields.number(hash::SOURCE)?)?;
        let end = at + padded(usize::try_from(fields.number(hash::LENGTH)?).ok()?) / 4;
        let mut over = Vec::new();
        while at < end {
            let Some(Loaded::Expression(Expression::Field(field))) = self.registers.get(at)?.as_ref() else {
                return None;
            };
            over.push(*field);
            at += padded(field.datatype().length()) / 4;
        }
        let expression = Expression::Jhash {
            over,
            modulus: fields.number(hash::MODULUS)?,
            seed: fields.number(hash::SEED)?,
            offset: fields.number(hash::OFFSET).unwrap_or(0),
        };
        self.load(fields.number(hash::DESTINATION)?, Loaded::Expression(expression))
    }

    fn bitwise(&mut self, fields: Attributes<'_>) -> Option<()> {
        if fields.number(bitwise::OPERATION).unwrap_or(0) != 0 {
            return None;
        }
        let field = self.field(fields.number(bitwise::SOURCE)?)?;
        let mask = fields.nested(bitwise::MASK)?.get(data::VALUE)?.to_vec();
        let xor = fields.nested(bitwise::XOR)?.get(data::VALUE)?.to_vec();
        self.load(fields.number(bitwise::DESTINATION)?, Loaded::Masked { field, mask, xor })
    }

    fn cmp(&mut self, fields: Attributes<'_>) -> Option<()> {
        let register = fields.number(cmp::SOURCE)?;
        let value = fields.nested(cmp::DATA)?.get(data::VALUE)?;
        let loaded = self.loaded(register)?.clone();
        let negated = match fields.number(cmp::OPERATION)? {
            cmp::EQUAL => false,
            cmp::NOT_EQUAL => true,
            cmp::AT_LEAST => {
                let Loaded::Expression(Expression::Field(field)) = loaded else { return None };
                return self.load(register, Loaded::AtLeast(field, Value::from_bytes(value)));
            }
            cmp::AT_MOST => {
                let Loaded::AtLeast(field, start) = loaded else { return None };
                return self.compare(field, false, Comparand::Range(start, Value::from_bytes(value)));
            }
            _ => return None,
        };
        let icmp = matches!(self.protocol(), Some(protocol::ICMP | protocol::ICMPV6));
        match loaded {
            // In an ICMP packet these two bytes are type and code, which nft compares at once.
            Loaded::Expression(Expression::Field(Field::ThSport)) if icmp && !negated => {
                self.compare_payload((payload::TRANSPORT, 0, 2), negated, value)
            }
            Loaded::Expression(Expression::Field(field)) => {
                let with = compared(field, value)?;
                self.compare(field, negated, with)
            }
            Loaded::Payload { base, offset, length } => self.compare_payload((base, offset, length), negated, value),
            Loaded::Masked { field, mask, xor } if xor.iter().all(|byte| *byte == 0) => {
                let (negated, with) = compared_masked(field, &mask, negated, value)?;
                self.compare(field, negated, with)
            }
            _ => None,
        }
    }

    fn compare(&mut self, field: Field, negated: bool, with: Comparand) -> Option<()> {
        self.statements.push(Statement::Match(Match { key: field.into(), negated, with }));
        Some(())
    }

    /// nft loads only the bytes of a network that it compares, and loads fields side by side at once.
    fn compare_payload(&mut self, (base, offset, length): (u32, u32, u32), negated: bool, value: &[u8]) -> Option<()> {
        let starting = |at: u32, accept: &dyn Fn(u32) -> bool| {
            let lengths = [1, 2, 4, 16];
            lengths
                .into_iter()
                .filter(|length| accept(*length))
                .find_map(|length| field_at((base, at, length), self.protocol()).map(|field| (field, length)))
        };
        if let Some((field, whole)) = starting(offset, &|whole| whole > length) {
            let mut bytes = value.to_vec();
            bytes.resize(usize::try_from(whole).ok()?, 0);
            let prefix = u8::try_from(length * 8).ok()?;
            let network = IpNetwork::new(address(&Value::from_bytes(&bytes))?, prefix).ok()?;
            return self.compare(field, negated, Comparand::Network(network));
        }
        if negated {
            return None;
        }
        let (mut at, mut rest, mut parts) = (offset, value, Vec::new());
        while !rest.is_empty() {
            let left = u32::try_from(rest.len()).ok()?;
            let (field, length) = starting(at, &|length| length <= left)?;
            let (part, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            parts.push((field, Value::from_bytes(part)));
            (at, rest) = (at + length, after);
        }
        parts.into_iter().try_for_each(|(field, value)| self.compare(field, false, Comparand::Value(value)))
    }

    fn range(&mut self, fields: Attributes<'_>) -> Option<()> {
        let field = self.field(fields.number(range::SOURCE)?)?;
        let value = |number| fields.nested(number).and_then(|value| value.get(data::VALUE)).map(Value::from_bytes);
        let negated = fields.number(range::OPERATION)? == cmp::NOT_EQUAL;
        self.compare(field, negated, Comparand::Range(value(range::FROM)?, value(range::TO)?))
    }

    fn lookup(&mut self, fields: Attributes<'_>) -> Option<()> {
        let name = fields.text(lookup::SET)?;
        let set = self.sets.get(name)?;
        let key = self.key(fields.number(lookup::SOURCE)?, set.key())?;
        match fields.number(lookup::DESTINATION) {
            Some(0) => {
                let map = match set.is_anonymous() {
                    true => VerdictMap::Anonymous(set.verdicts()?),
                    false => VerdictMap::Named(name.into()),
                };
                self.statements.push(Statement::VerdictMap { key, map });
            }
            Some(destination) if !set.is_anonymous() => {
                return self.load(destination, Loaded::Mapped(key, name.into()));
            }
            Some(_) => return None,
            None => {
                let with = match set.is_anonymous() {
                    true => Comparand::Elements(set.members()),
                    false => Comparand::Set(name.into()),
                };
                let negated = fields.number(lookup::FLAGS).unwrap_or(0) & lookup::INVERTED != 0;
                self.statements.push(Statement::Match(Match { key, negated, with }));
            }
        }
        Some(())
    }

    fn immediate(&mut self, fields: Attributes<'_>) -> Option<()> {
        let constant = fields.nested(immediate::DATA)?;
        match fields.number(immediate::DESTINATION)? {
            0 => {
                let verdict = constant.nested(data::VERDICT).and_then(read_verdict)?;
                self.statements.push(Statement::Verdict(verdict));
                Some(())
            }
            register => self.load(register, Loaded::Constant(Value::from_bytes(constant.get(data::VALUE)?))),
        }
    }

    fn nat(&mut self, fields: Attributes<'_>) -> Option<()> {
        if fields.number(nat::KIND)? != nat::DESTINATION
            || fields.number(nat::FLAGS).unwrap_or(0) & !nat::IMPLIED_FLAGS != 0
        {
            return None;
        }
        let family = Family::from_number(u8::try_from(fields.number(nat::FAMILY)?).ok()?)?;
        let Loaded::Mapped(key, map) = self.loaded(fields.number(nat::ADDRESS_MIN)?)?.clone() else { return None };
        // The port is the second part of the map's value.
        let two_parts = matches!(self.sets.get(&map)?.data(), Some(MapData::Values(parts)) if parts.len() == 2);
        if !two_parts || fields.get(nat::PORT_MIN).is_none() {
            return None;
        }
        self.statements.push(Statement::Dnat { family, key, map });
        Some(())
    }

    fn dynset(&mut self, fields: Attributes<'_>) -> Option<()> {
        let name = fields.text(dynset::SET)?;
        let set = self.sets.get(name)?;
        let value = match (fields.number(dynset::DATA), set.data()) {
            (Some(register), Some(MapData::Values(parts))) => Some(self.key(register, parts)?),
            (None, _) => None,
            _ => return None,
        };
        let operation = match fields.number(dynset::OPERATION)? {
            dynset::ADD => DynamicOperation::Add,
            dynset::UPDATE => DynamicOperation::Update,
            dynset::DELETE => DynamicOperation::Delete,
            _ => return None,
        };
        let key = self.key(fields.number(dynset::KEY)?, set.key())?;
        self.statements.push(Statement::Dynamic { operation, set: name.into(), key, value });
        Some(())
    }
}

/// The field at a place of the packet. ICMP fields share theirs with each other and with ports.
fn field_at(place: (u32, u32, u32), matched: Option<u8>) -> Option<Field> {
    const FIELDS: [Field; 10] = [
        Field::Ip4Saddr,
        Field::Ip4Daddr,
        Field::Ip6Saddr,
        Field::Ip6Daddr,
        Field::ThSport,
        Field::ThDport,
        Field::IcmpType,
        Field::IcmpCode,
        Field::Icmpv6Type,
        Field::Icmpv6Code,
    ];
    let at_place = FIELDS.into_iter().filter(|field| payload_of(*field) == Some(place));
    at_place.into_iter().find(|field| field.protocol().is_none_or(|protocol| matched == Some(protocol)))
}

fn host(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// What a whole field is compared with.
fn compared(field: Field, value: &[u8]) -> Option<Comparand> {
    if value.len() == field.datatype().length() {
        Some(Comparand::Value(Value::from_bytes(value)))
    } else if field.datatype() == Datatype::Ifname {
        Some(Comparand::NamePrefix(str::from_utf8(value).ok()?.into()))
    } else {
        None
    }
}

/// What a masked field is compared with, and whether it must differ.
fn compared_masked(field: Field, mask: &[u8], negated: bool, value: &[u8]) -> Option<(bool, Comparand)> {
    match field.datatype() {
        Datatype::Mark => Some((negated, Comparand::Masked { mask: host(mask)?, value: host(value)? })),
        Datatype::CtState if host(value)? == 0 => Some((!negated, Comparand::AnyOf(host(mask)?))),
        Datatype::Ipv4Addr | Datatype::Ipv6Addr => {
            let low = Value::from_bytes(&vec![0; mask.len()]);
            let high = Value::from_bytes(&mask.iter().map(|byte| !byte).collect::<Vec<_>>());
            let length = prefix_length(&low, &high)?;
            let network = IpNetwork::new(address(&Value::from_bytes(value))?, length).ok()?;
            Some((negated, Comparand::Network(network)))
        }
        _ => None,
    }
}
