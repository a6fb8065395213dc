//! Replays the corpora of all fuzz targets, and what looks like them.

use std::panic;

use tests::fuzz::{TARGETS, corpus, mutated};

/// Mutations per input; `FUZZ_MUTATIONS` asks for more.
const MUTATIONS: u64 = 500;

#[test]
fn no_corpus_and_nothing_like_it_breaks_a_promise() {
    let mutations = std::env::var("FUZZ_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTATIONS);
    for target in TARGETS {
        let inputs = corpus(target.name).unwrap();
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (name, input) in inputs {
            check(target, &name, &input);
            for seed in 0..mutations {
                check(target, &name, &mutated(&input, seed));
            }
        }
    }
}

fn check(target: tests::fuzz::Target, name: &str, input: &[u8]) {
    let outcome = panic::catch_unwind(|| (target.run)(input));
    let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(outcome.is_ok(), "{}: {name}: {hex}", target.name);
}
