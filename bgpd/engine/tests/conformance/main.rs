//! The checklist of `checklist.txt`: for every line a case that the engine is played through, or a test that shows it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads its cases, and ends where its expectations do not hold"
)]

mod index;
mod recordings;

use std::fs;
use std::path::{Path, PathBuf};

use engine::case::play;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// Name and text of every case, in order.
fn cases() -> Vec<(String, String)> {
    let files = fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = files.collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_case_holds_and_expects_something() {
    let mut failed = Vec::new();
    for (name, text) in cases() {
        let outcome = play(&text);
        if outcome.asserted == 0 {
            failed.push(format!("{name}: expects nothing"));
        }
        failed.extend(outcome.problems.iter().map(|problem| format!("{name}: {problem}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_a_case_expects_and_does_not_come_is_told_with_its_line() {
    let start = "speaker 65001 10.0.0.1\nrouter r1 192.0.2.1 65002\nsession r1\n";
    for (line, problem) in [
        ("> UPDATE", "line 4: > UPDATE\n  nothing was sent"),
        ("state r1 Active", "line 4: state r1 Active\n  it is Established"),
        ("fib 203.0.113.0/24 via 192.0.2.1", "line 4: fib 203.0.113.0/24 via 192.0.2.1\n  it is None"),
        ("event nonsense", "line 4: event nonsense\n  there were: "),
        ("explain 203.0.113.0/24 r1 best", "line 4: explain 203.0.113.0/24 r1 best\n  there are []"),
        ("frobnicate", "line 4: frobnicate\n  frobnicate: no such input"),
        ("reset r1 bye", "line 4: unexpected before this line\n  > r1 NOTIFICATION 6/4 03627965"),
        (
            "router r2 192.0.2.2 65003 hold_tiem=3",
            "line 4: router r2 192.0.2.2 65003 hold_tiem=3\n  hold_tiem: no such field",
        ),
    ] {
        let outcome = play(&format!("{start}{line}\n"));
        assert!(outcome.problems[0].starts_with(problem), "{line}: {:?}", outcome.problems);
    }
}
