//! Conformance of the wire codec: RFC rows, properties, mutated octets, and zettabgp as the other side.
#![expect(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod frame;
mod open;
mod oracle;
mod pack;
mod packing_properties;
mod robustness;
mod support;
mod update;
mod update_as4;
mod update_multiprotocol;
mod values;
