//! The checklist, and `docs/conformance.md`, which shows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{cases, folder};

/// A line of the checklist: `ID | source | what must hold | test that shows it, if no case does`.
struct Line {
    id: String,
    source: String,
    what: String,
    test: Option<String>,
}

fn checklist() -> Vec<Line> {
    let text = fs::read_to_string(folder().join("checklist.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [id, source, what, ref test @ ..] = parts[..] else { panic!("{line}") };
            Line {
                id: id.to_owned(),
                source: source.to_owned(),
                what: what.to_owned(),
                test: test.first().map(|it| (*it).to_owned()),
            }
        })
        .collect()
}

fn id_of(case: &str) -> String {
    case.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")
}

#[test]
fn every_line_of_the_checklist_has_a_case_or_a_test_and_every_case_a_line() {
    let lines = checklist();
    let with_case: BTreeSet<String> = cases().iter().map(|(name, _)| id_of(name)).collect();
    let known: BTreeSet<String> = lines.iter().map(|line| line.id.clone()).collect();
    assert_eq!(known.len(), lines.len(), "an id stands there twice");
    let unknown: Vec<&String> = with_case.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the checklist: {unknown:?}");
    let bare = lines.iter().filter(|line| line.test.is_none() && !with_case.contains(&line.id));
    let bare: Vec<&str> = bare.map(|line| line.id.as_str()).collect();
    assert!(bare.is_empty(), "neither case nor test: {bare:?}");
}

#[test]
fn every_case_begins_with_what_it_shows_and_its_source() {
    for (name, text) in cases() {
        let mut lines = text.lines();
        let (what, source) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        assert!(what.starts_with("# ") && what.ends_with('.'), "{name}: {what}");
        assert!(source.starts_with("# RFC ") || source.starts_with("# draft-"), "{name}: {source}");
        assert!(name.ends_with(".case") && name.is_ascii() && !name.contains(' '), "{name}");
    }
}

#[test]
fn the_tests_that_the_checklist_names_exist() {
    let mut sources = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for part in ["bgpd", "tests", "examples", "kernel"] {
        read_all(&root.join(part), &mut sources);
    }
    let missing = checklist()
        .into_iter()
        .filter_map(|line| line.test)
        .flat_map(|tests| tests.split(", ").map(ToOwned::to_owned).collect::<Vec<_>>());
    let missing: Vec<String> = missing
        .filter(|test| !sources.contains(&format!("fn {test}(")) && !sources.contains(&format!("\"{test}\"")))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

fn read_all(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            read_all(&path, out);
        } else if path.extension().is_some_and(|it| it == "rs") {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

fn page() -> String {
    let mut page = "# Conformance\n\n\
        What bgpd promises of the RFCs, line by line, and what shows it: a case, which the engine is played through without\n\
        sockets on a clock that jumps (`bgpd/engine/tests/conformance/cases`, `bgpd replay FILE` plays one), or a test by name.\n\
        The form of the cases is explained in `bgpd/engine/src/case/mod.rs`. This page is written by\n\
        `BLESS=1 cargo test -p engine --test conformance`, and checked by the same test without it.\n\n\
        | line | source | what holds | shown by |\n|---|---|---|---|\n"
        .to_owned();
    let cases = cases();
    for line in checklist() {
        let files = cases.iter().filter(|(name, _)| id_of(name) == line.id).map(|(name, _)| format!("`{name}`"));
        let tests = line.test.iter().flat_map(|it| it.split(", ")).map(|it| format!("`{it}`"));
        let shown: Vec<String> = files.chain(tests).collect();
        let _ = writeln!(page, "| {} | {} | {} | {} |", line.id, line.source, line.what, shown.join(" "));
    }
    page
}

#[test]
fn the_page_on_conformance_is_what_the_cases_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let page = page();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/conformance.md is out of date: BLESS=1 cargo test -p engine --test conformance");
}
