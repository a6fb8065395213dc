//! Writes netlink messages and attributes.

use crate::netlink::{HEADER, INET, SUBSYSTEM, message};

/// Set on the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// Bytes of an attribute's header.
const ATTRIBUTE: usize = 4;

/// A growing buffer of messages.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Where the message that is being written starts.
    start: usize,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a message of the nf_tables subsystem.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, sequence: u32) {
        self.header(SUBSYSTEM << 8 | kind, flags, sequence, INET, 0);
    }

    /// A whole message that begins or ends a batch.
    pub(crate) fn batch_mark(&mut self, kind: u16, flags: u16, sequence: u32) {
        debug_assert!(matches!(kind, message::BATCH_BEGIN | message::BATCH_END));
        self.header(kind, flags, sequence, 0, SUBSYSTEM);
        self.end();
    }

    fn header(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        debug_assert_eq!(self.bytes.len() - self.start, HEADER);
    }

    /// Ends the message: writes its length.
    pub(crate) fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.patch(self.start, &length.to_ne_bytes());
    }

    /// Sets flags of the message that begins at `start`.
    pub(crate) fn add_flags(&mut self, start: usize, flags: u16) {
        let low = self.bytes.get(start + 6).copied().unwrap_or_default();
        let high = self.bytes.get(start + 7).copied().unwrap_or_default();
        self.patch(start + 6, &(u16::from_ne_bytes([low, high]) | flags).to_ne_bytes());
    }

    fn patch(&mut self, at: usize, with: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(with) {
            *to = *from;
        }
    }

    /// An attribute of these bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// An attribute of a text that ends with zero.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        let length = u16::try_from(ATTRIBUTE + text.len() + 1).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// A big endian number, as nf_tables has them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds what `fill` writes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(NESTED | kind).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
