//! Sets and their elements.

use super::user_data;
use super::writer::Writer;
use crate::datatype::{concat_number, key_length};
use crate::netlink::{data, element, set as attribute, verdict};
use crate::set::successor;
use crate::value::padded;
use crate::{Data, Datatype, Element, MapData, Set, TABLE, Value, Verdict};

/// How elements are written, which depends on the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A key.
    Single,
    /// The first value and the one after the last, as two elements (the kernel's rbtree).
    Boundaries,
    /// A key and a last key (the kernel's pipapo).
    Ranges,
}

impl Shape {
    pub(super) const fn of(key: &[Datatype], interval: bool) -> Self {
        match (interval, key.len()) {
            (false, _) => Self::Single,
            (true, 1) => Self::Boundaries,
            (true, _) => Self::Ranges,
        }
    }
}

/// The attributes of a new named set.
pub(super) fn declaration(writer: &mut Writer, name: &str, set: &Set, id: u32) {
    let mut flags = 0;
    for (present, bit) in [
        (set.interval, attribute::INTERVAL),
        (set.data.is_some(), attribute::MAP),
        (set.timeout.is_some(), attribute::TIMEOUTS),
        (set.dynamic, attribute::DYNAMIC),
        (set.interval && set.key.len() > 1, attribute::CONCAT),
    ] {
        flags |= if present { bit } else { 0 };
    }
    head(writer, name, flags, &set.key, id);
    match &set.data {
        Some(MapData::Verdict) => verdict_data(writer),
        Some(MapData::Values(parts)) => {
            writer.number(attribute::DATA_TYPE, concat_number(parts));
            writer.number(attribute::DATA_LENGTH, length(key_length(parts)));
        }
        None => {}
    }
    description(writer, set.size, &set.key, set.interval);
    if let Some(timeout) = set.timeout {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        writer.bytes(attribute::TIMEOUT, &milliseconds.to_be_bytes());
    }
    writer.bytes(attribute::USER_DATA, &user_data::of_set(set));
}

/// The attributes of a new anonymous set or verdict map. The kernel puts a number into `name`.
pub(super) fn anonymous_declaration(
    writer: &mut Writer,
    key: &[Datatype],
    is_map: bool,
    shape: Shape,
    size: usize,
    id: u32,
) {
    let mut flags = attribute::ANONYMOUS | attribute::CONSTANT;
    let (interval, concat) = (shape != Shape::Single, shape == Shape::Ranges);
    for (present, bit) in [(interval, attribute::INTERVAL), (is_map, attribute::MAP), (concat, attribute::CONCAT)] {
        flags |= if present { bit } else { 0 };
    }
    head(writer, anonymous_name(is_map), flags, key, id);
    if is_map {
        verdict_data(writer);
    }
    let size = if shape == Shape::Boundaries { size.saturating_mul(2) } else { size };
    description(writer, Some(length(size)), key, interval);
    writer.bytes(attribute::USER_DATA, &user_data::of_anonymous_set(key, is_map));
}

/// The name under which an anonymous set is asked for.
pub(super) const fn anonymous_name(is_map: bool) -> &'static str {
    if is_map { "__map%d" } else { "__set%d" }
}

fn head(writer: &mut Writer, name: &str, flags: u32, key: &[Datatype], id: u32) {
    writer.text(attribute::TABLE, TABLE);
    writer.text(attribute::NAME, name);
    writer.number(attribute::FLAGS, flags);
    writer.number(attribute::KEY_TYPE, concat_number(key));
    writer.number(attribute::KEY_LENGTH, length(key_length(key)));
    writer.number(attribute::ID, id);
}

fn verdict_data(writer: &mut Writer) {
    writer.number(attribute::DATA_TYPE, attribute::VERDICTS);
    writer.number(attribute::DATA_LENGTH, 0);
}

fn description(writer: &mut Writer, size: Option<u32>, key: &[Datatype], interval: bool) {
    let fields = if interval && key.len() > 1 { key } else { &[] };
    if size.is_none() && fields.is_empty() {
        return;
    }
    writer.nested(attribute::DESCRIPTION, |writer| {
        if let Some(size) = size {
            writer.number(attribute::DESCRIPTION_SIZE, size);
        }
        if !fields.is_empty() {
            writer.nested(attribute::DESCRIPTION_CONCAT, |writer| {
                for field in fields {
                    writer.nested(crate::netlink::LIST_ENTRY, |writer| {
                        writer.number(attribute::FIELD_LENGTH, length(field.length()));
                    });
                }
            });
        }
    });
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The attributes that say to which set elements belong.
pub(super) fn list_head(writer: &mut Writer, set: &str, id: Option<u32>) {
    writer.text(element::TABLE, TABLE);
    writer.text(element::SET, set);
    if let Some(id) = id {
        writer.number(element::SET_ID, id);
    }
}

/// An upper bound of the bytes that [`entry`] writes.
pub(super) fn entry_bound(of: &Element, with: Option<&Data>) -> usize {
    let key = 16 + padded(of.start().as_bytes().len());
    let value = match with {
        None => 0,
        Some(Data::Value(value)) => 8 + padded(value.as_bytes().len()),
        Some(Data::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain))) => 28 + chain.as_str().len(),
        Some(Data::Verdict(_)) => 20,
    };
    2 * key + value
}

/// One element, or the two that an interval takes.
pub(super) fn entry(writer: &mut Writer, shape: Shape, of: &Element, with: Option<&Data>) {
    writer.nested(crate::netlink::LIST_ENTRY, |writer| {
        key(writer, element::KEY, of.start());
        if shape == Shape::Ranges {
            key(writer, element::KEY_END, of.end());
        }
        match with {
            Some(Data::Value(value)) => {
                writer.nested(element::DATA, |writer| writer.bytes(data::VALUE, value.as_bytes()));
            }
            Some(Data::Verdict(verdict)) => writer.nested(element::DATA, |writer| verdict_value(writer, verdict)),
            None => {}
        }
    });
    if let (Shape::Boundaries, Some(after)) = (shape, successor(of.end())) {
        writer.nested(crate::netlink::LIST_ENTRY, |writer| {
            writer.number(element::FLAGS, element::INTERVAL_END);
            key(writer, element::KEY, &after);
        });
    }
}

fn key(writer: &mut Writer, kind: u16, value: &Value) {
    writer.nested(kind, |writer| writer.bytes(data::VALUE, value.as_bytes()));
}

/// A verdict, inside its attribute.
pub(super) fn verdict_value(writer: &mut Writer, of: &Verdict) {
    let (code, chain) = match of {
        Verdict::Accept => (verdict::ACCEPT, None),
        Verdict::Drop => (verdict::DROP, None),
        Verdict::Return => (verdict::RETURN, None),
        Verdict::Jump(chain) => (verdict::JUMP, Some(chain)),
        Verdict::Goto(chain) => (verdict::GOTO, Some(chain)),
    };
    writer.nested(data::VERDICT, |writer| {
        writer.bytes(data::VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            writer.text(data::VERDICT_CHAIN, chain.as_str());
        }
    });
}
