//! AS_PATH (RFC 4271 §4.3, §5.1.2; RFC 6793).

use std::fmt;
use std::str::FromStr;

use bytes::BufMut;

use super::AS_TRANS;

/// Kind of an AS_PATH segment. Confederation segments (RFC 5065) never get in: the speaker is no member of one, and from
/// other peers they are malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentKind {
    /// AS_SET: unordered, counts as one.
    Set,
    /// AS_SEQUENCE: ordered, the newest first.
    Sequence,
}

impl SegmentKind {
    const fn code(self) -> u8 {
        match self {
            Self::Set => 1,
            Self::Sequence => 2,
        }
    }
}

/// One segment of a path, 1 to 255 AS numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Set or sequence.
    pub kind: SegmentKind,
    /// Its AS numbers.
    pub numbers: &'a [u32],
}

/// What may be wrong with an AS_PATH or AS4_PATH value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedPath;

const MAX_SEGMENT: usize = 255;

/// The path a route took, in 4-octet AS numbers whatever the session speaks.
// Segments one after the other in one vector: a header word (kind in bits 8 and up, count in the low 8 bits), then that
// many numbers. One allocation per path, and equality and hash are those of the words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AsPath {
    words: Vec<u32>,
}

impl AsPath {
    /// The empty path of a route of our own AS.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// A path of AS_SEQUENCE segments, the newest AS first.
    #[must_use]
    pub fn from_sequence(numbers: &[u32]) -> Self {
        let mut path = Self { words: Vec::with_capacity(numbers.len() + numbers.len().div_ceil(MAX_SEGMENT)) };
        path.push(SegmentKind::Sequence, numbers);
        path
    }

    /// Appends numbers as one segment, or as several when there are more than 255; nothing for no numbers.
    pub fn push(&mut self, kind: SegmentKind, numbers: &[u32]) {
        for chunk in numbers.chunks(MAX_SEGMENT) {
            self.words.push(header(kind, chunk.len()));
            self.words.extend_from_slice(chunk);
        }
    }

    /// The segments, newest first.
    #[must_use]
    pub fn segments(&self) -> Segments<'_> {
        Segments { rest: &self.words }
    }

    /// Every AS number from left to right, those of sets included.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments().flat_map(|segment| segment.numbers.iter().copied())
    }

    /// True for a path without segments.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Length as the decision process counts it: an AS_SET is one (RFC 4271 §9.1.2.2 a).
    #[must_use]
    pub fn length(&self) -> usize {
        self.segments()
            .map(|segment| match segment.kind {
                SegmentKind::Set => 1,
                SegmentKind::Sequence => segment.numbers.len(),
            })
            .sum()
    }

    /// The AS that sent the route: the leftmost number, if the path begins with an AS_SEQUENCE.
    #[must_use]
    pub fn first_as(&self) -> Option<u32> {
        let first = self.segments().next()?;
        match first.kind {
            SegmentKind::Sequence => first.numbers.first().copied(),
            SegmentKind::Set => None,
        }
    }

    /// The AS that originated the route: the rightmost number, if the path ends with an AS_SEQUENCE.
    #[must_use]
    pub fn origin_as(&self) -> Option<u32> {
        let last = self.segments().last()?;
        match last.kind {
            SegmentKind::Sequence => last.numbers.last().copied(),
            SegmentKind::Set => None,
        }
    }

    /// How often an AS occurs, sets included; for loop detection (RFC 4271 §9.1.2).
    #[must_use]
    pub fn count(&self, as_number: u32) -> usize {
        self.numbers().filter(|number| *number == as_number).count()
    }

    /// True if an AS_SET is in the path (deprecated by RFC 9774).
    #[must_use]
    pub fn has_set(&self) -> bool {
        self.segments().any(|segment| segment.kind == SegmentKind::Set)
    }

    /// True if a number does not fit into two octets.
    #[must_use]
    pub fn has_wide_number(&self) -> bool {
        self.numbers().any(|number| number > u32::from(u16::MAX))
    }

    /// Puts an AS in front (RFC 4271 §5.1.2 b): into the leading AS_SEQUENCE while it has room, else into a new one.
    pub fn prepend(&mut self, as_number: u32) {
        match self.segments().next() {
            Some(Segment { kind: SegmentKind::Sequence, numbers }) if numbers.len() < MAX_SEGMENT => {
                let grown = header(SegmentKind::Sequence, numbers.len() + 1);
                self.words.splice(..1, [grown, as_number]);
            }
            _ => {
                self.words.splice(..0, [header(SegmentKind::Sequence, 1), as_number]);
            }
        }
    }

    /// The path with an AS in front `times` times.
    #[must_use]
    pub fn prepended(&self, as_number: u32, times: usize) -> Self {
        let mut path = self.clone();
        for _ in 0..times {
            path.prepend(as_number);
        }
        path
    }

    /// The path with private AS numbers (64512–65534 and 4200000000–4294967294, RFC 6996) replaced, or without them; segments
    /// that become empty go. `except` stays.
    #[must_use]
    pub fn without_private(&self, replacement: Option<u32>, except: Option<u32>) -> Self {
        let mut path = Self::new();
        let mut kept = Vec::new();
        let map = |number: u32| if is_private(number) && Some(number) != except { replacement } else { Some(number) };
        for segment in self.segments() {
            kept.clear();
            kept.extend(segment.numbers.iter().filter_map(|number| map(*number)));
            path.push(segment.kind, &kept);
        }
        path
    }

    /// Decodes a path of numbers of 2 or 4 octets.
    ///
    /// Malformed are: an unknown segment kind, confederation ones included; a segment without numbers; one that is longer
    /// than what is left; a single octet left over; AS 0 (RFC 7606 §7.2, RFC 7607 §2).
    pub(super) fn decode(value: &[u8], four_octet_as: bool) -> Result<Self, MalformedPath> {
        decode_segments(value, if four_octet_as { 4 } else { 2 }, false)
    }

    /// Decodes an AS4_PATH: like a path of 4-octet numbers, but confederation segments are cut out and an empty value is
    /// malformed (RFC 6793 §6).
    pub(super) fn decode_as4(value: &[u8]) -> Result<Self, MalformedPath> {
        if value.is_empty() {
            return Err(MalformedPath);
        }
        decode_segments(value, 4, true)
    }

    /// The path of which a 2-octet speaker passed on `self`, by the AS4_PATH that came along (RFC 6793 §4.2.3). An
    /// AS4_PATH longer than the path is ignored.
    pub(super) fn merged_with_as4(self, as4_path: &Self) -> Self {
        let (length, as4_length) = (self.length(), as4_path.length());
        if length < as4_length {
            return self;
        }
        let mut missing = length - as4_length;
        let mut merged = Self { words: Vec::with_capacity(self.words.len() + as4_path.words.len()) };
        for segment in self.segments() {
            if missing == 0 {
                break;
            }
            let taken = match segment.kind {
                SegmentKind::Set => {
                    missing -= 1;
                    segment.numbers
                }
                SegmentKind::Sequence => {
                    let count = missing.min(segment.numbers.len());
                    missing -= count;
                    segment.numbers.get(..count).unwrap_or_default()
                }
            };
            merged.push(segment.kind, taken);
        }
        merged.append(as4_path);
        merged
    }

    /// Appends a path; sequences that meet become one if they fit.
    fn append(&mut self, tail: &Self) {
        let mut segments = tail.segments();
        let last_start = self.segments().last().map(|last| self.words.len() - last.numbers.len() - 1);
        if let (Some(start), Some(first)) = (last_start, segments.clone().next())
            && let Some(word) = self.words.get_mut(start)
            && first.kind == SegmentKind::Sequence
            && *word >> 8 == u32::from(SegmentKind::Sequence.code())
            && (*word & 0xff) as usize + first.numbers.len() <= MAX_SEGMENT
        {
            *word += first.numbers.len() as u32;
            self.words.extend_from_slice(first.numbers);
            segments.next();
        }
        self.words.extend_from_slice(segments.rest);
    }

    /// Octets of the encoded path.
    pub(super) fn encoded_length(&self, four_octet_as: bool) -> usize {
        let octets = if four_octet_as { 4 } else { 2 };
        self.segments().map(|segment| 2 + octets * segment.numbers.len()).sum()
    }

    /// Writes the path; towards a 2-octet speaker every wide number becomes [`AS_TRANS`].
    pub(super) fn encode(&self, four_octet_as: bool, out: &mut impl BufMut) {
        for segment in self.segments() {
            out.put_u8(segment.kind.code());
            out.put_u8(segment.numbers.len() as u8);
            for number in segment.numbers {
                if four_octet_as {
                    out.put_u32(*number);
                } else {
                    out.put_u16(u16::try_from(*number).unwrap_or(AS_TRANS));
                }
            }
        }
    }
}

const fn header(kind: SegmentKind, count: usize) -> u32 {
    (kind.code() as u32) << 8 | count as u32
}

const fn is_private(as_number: u32) -> bool {
    matches!(as_number, 64512..=65534 | 4_200_000_000..=4_294_967_294)
}

fn decode_segments(value: &[u8], octets: usize, skip_confederation: bool) -> Result<AsPath, MalformedPath> {
    let mut words = Vec::with_capacity(value.len() / octets);
    let mut rest = value;
    while let [kind, count, behind @ ..] = rest {
        let count = usize::from(*count);
        let Some((numbers, tail)) = behind.split_at_checked(count * octets) else { return Err(MalformedPath) };
        if count == 0 {
            return Err(MalformedPath);
        }
        rest = tail;
        let kind = match kind {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            3 | 4 if skip_confederation => continue,
            _ => return Err(MalformedPath),
        };
        words.push(header(kind, count));
        for number in numbers.chunks_exact(octets) {
            let number = number.iter().fold(0, |value, octet| value << 8 | u32::from(*octet));
            if number == 0 {
                return Err(MalformedPath);
            }
            words.push(number);
        }
    }
    if rest.is_empty() { Ok(AsPath { words }) } else { Err(MalformedPath) }
}

/// Iterator over the segments of a path.
#[derive(Debug, Clone)]
pub struct Segments<'a> {
    rest: &'a [u32],
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let (header, behind) = self.rest.split_first()?;
        let (numbers, rest) = behind.split_at_checked((header & 0xff) as usize)?;
        self.rest = rest;
        let kind = if header >> 8 == 1 { SegmentKind::Set } else { SegmentKind::Sequence };
        Some(Segment { kind, numbers })
    }
}

impl fmt::Display for AsPath {
    /// Numbers from left to right, sets in braces: `65001 65100 {64512,64513}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match segment.kind {
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::Sequence => ("", " ", ""),
            };
            f.write_str(open)?;
            for (position, number) in segment.numbers.iter().enumerate() {
                write!(f, "{}{number}", if position > 0 { separator } else { "" })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Text that is no AS path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an AS path: expected AS numbers and sets in braces")]
pub struct ParseAsPathError;

impl FromStr for AsPath {
    type Err = ParseAsPathError;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse() {
            Ok(0) | Err(_) => Err(ParseAsPathError),
            Ok(number) => Ok(number),
        };
        let mut path = Self::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('{') {
                let (set, behind) = inside.split_once('}').ok_or(ParseAsPathError)?;
                let numbers = set.split(',').map(number).collect::<Result<Vec<u32>, _>>()?;
                path.push(SegmentKind::Set, &numbers);
                rest = behind.trim_start();
            } else {
                let (sequence, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
                let numbers = sequence.split_whitespace().map(number).collect::<Result<Vec<u32>, _>>()?;
                path.push(SegmentKind::Sequence, &numbers);
                rest = behind;
            }
        }
        Ok(path)
    }
}
