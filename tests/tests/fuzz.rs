//! Replays the corpora of all fuzz targets, and what looks like them.

use std::{
    panic,
    time::{Duration, Instant},
};

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

/// `FUZZ_SECONDS=600 FUZZ_TARGET=session` mutates for that long, and says how often.
#[test]
fn for_as_long_as_asked_nothing_like_a_corpus_breaks_a_promise() {
    let variable = |name| std::env::var(name).ok();
    let Some(seconds) = variable("FUZZ_SECONDS").and_then(|text| text.parse().ok()) else { return };
    let wanted = variable("FUZZ_TARGET");
    for target in TARGETS.into_iter().filter(|target| wanted.as_deref().is_none_or(|name| name == target.name)) {
        let inputs = corpus(target.name).unwrap();
        let (start, mut runs) = (Instant::now(), 0);
        // The seeds of the other test are known to be good.
        for seed in 1_000_000.. {
            for (name, input) in &inputs {
                check(target, name, &mutated(&mutated(input, seed), seed + 1));
                runs += 1;
            }
            if start.elapsed() >= Duration::from_secs(seconds) {
                break;
            }
        }
        println!("{}: {runs} inputs in {} s", target.name, start.elapsed().as_secs());
    }
}

fn check(target: tests::fuzz::Target, name: &str, input: &[u8]) {
    let outcome = panic::catch_unwind(|| (target.run)(input));
    let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(outcome.is_ok(), "{}: {name}: {hex}", target.name);
}
