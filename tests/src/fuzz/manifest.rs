//! Manifests: any text is decoded or refused with a place.

use datastore::decode::{Format, decode};

/// What was decoded is valid, and is the same when it is written and read again.
pub(super) fn manifest(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    for format in [Format::Yaml, Format::Json] {
        for (key, (_, object)) in decode(text, format).objects {
            assert!(object.validate().is_ok(), "{key} was admitted and is not valid");
            let Ok(json) = object.to_json() else { continue };
            let again = decode(&json.to_string(), Format::Json);
            assert!(again.problems.is_empty(), "{key} cannot be read again: {:?}", again.problems);
            assert_eq!(again.objects.get(&key).map(|(_, object)| object), Some(&object));
        }
    }
}
