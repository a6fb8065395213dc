//! The text of rulesets, compared with files that `nft -f` reads.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

mod support;

use std::path::Path;

fn check(name: &str, ruleset: &nft::Ruleset) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("nft");
    let text = nft::text(ruleset);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "UPDATE_GOLDEN=1 writes {}", path.display());
}

#[test]
fn policy_reads_as_in_its_file() {
    check("policy", &support::policy());
}

#[test]
fn services_read_as_in_their_file() {
    check("services", &support::services());
}
