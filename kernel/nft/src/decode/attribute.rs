//! Reads attributes of a message; never outside of it.

/// The bits of an attribute's type that are its number.
const NUMBER: u16 = 0x3fff;
const HEADER: usize = 4;

/// Attributes one after the other. What is malformed ends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn get(self, number: u16) -> Option<&'a [u8]> {
        { self }.find(|(kind, _)| *kind == number).map(|(_, value)| value)
    }

    pub(super) fn nested(self, number: u16) -> Option<Self> {
        self.get(number).map(Self)
    }

    /// A big endian number.
    pub(super) fn number(self, number: u16) -> Option<u32> {
        self.get(number)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn text(self, number: u16) -> Option<&'a str> {
        let bytes = self.get(number)?;
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.get(..length).and_then(|text| str::from_utf8(text).ok())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, ..] = *self.0 else { return None };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([c, d]) & NUMBER, value))
    }
}
