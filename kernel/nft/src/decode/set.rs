//! Sets of a dump.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::attribute::Attributes;
use crate::datatype::concat_of_number;
use crate::encode::user_data;
use crate::netlink::{data, element, set as attribute, verdict};
use crate::{Data, Datatype, Element, MapData, Name, Set, Value, Verdict};

/// An element as it came.
#[derive(Debug)]
struct RawElement {
    start: Value,
    end: Option<Value>,
    /// Not a member but the value after a range.
    closes: bool,
    data: Option<Data>,
}

/// A set as it came.
#[derive(Debug)]
pub(super) struct RawSet {
    flags: u32,
    set: Set,
    elements: Vec<RawElement>,
}

impl RawSet {
    pub(super) fn of_message(attributes: Attributes<'_>) -> Option<(Name, Self)> {
        let name = attributes.text(attribute::NAME)?;
        let flags = attributes.number(attribute::FLAGS).unwrap_or(0);
        let key = attributes.number(attribute::KEY_TYPE).and_then(concat_of_number).unwrap_or_default();
        let data = (flags & attribute::MAP != 0).then(|| match attributes.number(attribute::DATA_TYPE) {
            Some(attribute::VERDICTS) => MapData::Verdict,
            number => MapData::Values(number.and_then(concat_of_number).unwrap_or_default()),
        });
        let timeout =
            attributes.get(attribute::TIMEOUT).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let set = Set {
            key,
            data,
            interval: flags & attribute::INTERVAL != 0,
            dynamic: flags & attribute::DYNAMIC != 0,
            timeout: timeout.map(Duration::from_millis),
            size: attributes
                .nested(attribute::DESCRIPTION)
                .and_then(|description| description.number(attribute::DESCRIPTION_SIZE)),
            comment: attributes.get(attribute::USER_DATA).and_then(user_data::comment_of_set),
            elements: Arc::default(),
        };
        Some((name.into(), Self { flags, set, elements: Vec::new() }))
    }

    pub(super) const fn is_anonymous(&self) -> bool {
        self.flags & attribute::ANONYMOUS != 0
    }

    pub(super) const fn is_dynamic(&self) -> bool {
        self.set.dynamic
    }

    pub(super) fn key(&self) -> &[Datatype] {
        &self.set.key
    }

    pub(super) const fn data(&self) -> Option<&MapData> {
        self.set.data.as_ref()
    }

    pub(super) fn elements(&mut self, attributes: Attributes<'_>) {
        for (_, entry) in attributes.nested(element::LIST).into_iter().flatten() {
            self.elements.extend(raw_element(Attributes::new(entry)));
        }
    }

    /// The members of an anonymous set.
    pub(super) fn members(&self) -> BTreeSet<Element> {
        self.paired().into_keys().collect()
    }

    /// The entries of an anonymous verdict map.
    pub(super) fn verdicts(&self) -> Option<BTreeMap<Element, Verdict>> {
        let verdict = |data| match data {
            Some(Data::Verdict(verdict)) => Some(verdict),
            _ => None,
        };
        self.paired().into_iter().map(|(element, data)| Some((element, verdict(data)?))).collect()
    }

    pub(super) fn into_set(mut self) -> Set {
        self.set.elements = Arc::new(self.paired());
        self.set
    }

    /// Joins the two elements that an interval takes in the kernel's rbtree.
    fn paired(&self) -> BTreeMap<Element, Option<Data>> {
        if !self.set.interval || self.set.key.len() != 1 {
            let whole = |raw: &RawElement| match &raw.end {
                Some(end) => Element::range(raw.start.clone(), end.clone()),
                None => raw.start.clone().into(),
            };
            return self.elements.iter().map(|raw| (whole(raw), raw.data.clone())).collect();
        }
        let mut sorted: Vec<_> = self.elements.iter().collect();
        // A value that closes one range may open the next.
        sorted.sort_by_key(|raw| (&raw.start, !raw.closes));
        let mut ranges = BTreeMap::new();
        let mut sorted = sorted.into_iter().peekable();
        while let Some(raw) = sorted.next() {
            if raw.closes {
                continue;
            }
            let end = match sorted.peek() {
                Some(next) => predecessor(&next.start),
                None => Value::from_bytes(&vec![0xff; raw.start.as_bytes().len()]),
            };
            ranges.insert(Element::range(raw.start.clone(), end), raw.data.clone());
        }
        ranges
    }
}

/// The value before `value` in big endian order.
fn predecessor(value: &Value) -> Value {
    let mut bytes = value.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        let (next, borrow) = byte.overflowing_sub(1);
        *byte = next;
        if !borrow {
            break;
        }
    }
    Value::from_bytes(&bytes)
}

fn raw_element(attributes: Attributes<'_>) -> Option<RawElement> {
    let value = |number| attributes.nested(number).and_then(|key| key.get(data::VALUE)).map(Value::from_bytes);
    Some(RawElement {
        start: value(element::KEY)?,
        end: value(element::KEY_END),
        closes: attributes.number(element::FLAGS).unwrap_or(0) & element::INTERVAL_END != 0,
        data: attributes.nested(element::DATA).and_then(element_data),
    })
}

fn element_data(attributes: Attributes<'_>) -> Option<Data> {
    match attributes.get(data::VALUE) {
        Some(value) => Some(Data::Value(Value::from_bytes(value))),
        None => attributes.nested(data::VERDICT).and_then(read_verdict).map(Data::Verdict),
    }
}

/// A verdict from inside its attribute.
pub(super) fn read_verdict(attributes: Attributes<'_>) -> Option<Verdict> {
    let code = i32::from_be_bytes(attributes.get(data::VERDICT_CODE)?.try_into().ok()?);
    let chain = || attributes.text(data::VERDICT_CHAIN).map(Name::from);
    Some(match code {
        verdict::ACCEPT => Verdict::Accept,
        verdict::DROP => Verdict::Drop,
        verdict::RETURN => Verdict::Return,
        verdict::JUMP => Verdict::Jump(chain()?),
        verdict::GOTO => Verdict::Goto(chain()?),
        _ => return None,
    })
}
