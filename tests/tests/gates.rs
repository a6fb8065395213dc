//! What the repository promises about itself: which crates are pure, who may import whom, how long a file may be, what a
//! dependency may be. DESIGN and CONTRIBUTING say why; this says no.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::matrix::{Cell, ROWS, page};

/// Of ours, what each crate may import.
const IMPORTS: [(&str, &[&str]); 15] = [
    ("proto", &[]),
    ("bfd", &[]),
    ("engine", &[]),
    ("resources", &[]),
    ("nft", &[]),
    ("fabric", &[]),
    ("calc", &["resources", "nft"]),
    ("ipam", &["resources"]),
    ("datastore", &["resources"]),
    ("kernel", &["nft"]),
    ("daemon", &["proto"]),
    ("cni", &["proto"]),
    ("bgpd", &["engine", "bfd", "resources", "datastore", "kernel", "proto", "daemon"]),
    ("felix", &["calc", "ipam", "resources", "nft", "datastore", "kernel", "proto", "daemon"]),
    ("tests", &["fabric", "engine", "bfd", "resources", "nft", "calc", "ipam", "datastore", "kernel", "proto"]),
];

/// Crates that decide and do nothing else.
const PURE: [&str; 6] = ["engine", "bfd", "nft", "resources", "calc", "ipam"];

/// What brings sockets, files, clocks, randomness or a runtime.
const IMPURE: [&str; 22] = [
    "tokio",
    "mio",
    "socket2",
    "nix",
    "rustix",
    "libc",
    "inotify",
    "netlink-sys",
    "netlink-proto",
    "rtnetlink",
    "hyper",
    "tonic",
    "axum",
    "tower",
    "reqwest",
    "kube",
    "getrandom",
    "rand",
    "chrono",
    "time",
    "tracing",
    "tempfile",
];

/// Third-party crates with a home: no other crate but `tests` may depend on them.
const HOMES: [(&str, &[&str]); 20] = [
    ("zettabgp", &["engine"]),
    ("prefix-trie", &["engine"]),
    ("slab", &["engine"]),
    ("rtnetlink", &["kernel"]),
    ("netlink-packet-core", &["kernel"]),
    ("netlink-packet-route", &["kernel"]),
    ("netlink-proto", &["kernel"]),
    ("netlink-sys", &["kernel"]),
    ("libc", &["kernel"]),
    ("nix", &["kernel", "datastore", "fabric"]),
    ("socket2", &["kernel", "bgpd"]),
    ("inotify", &["datastore"]),
    ("serde_path_to_error", &["datastore"]),
    ("axum", &["daemon"]),
    ("comfy-table", &["daemon"]),
    ("tonic-health", &["daemon"]),
    ("tonic-reflection", &["daemon"]),
    ("tracing-subscriber", &["daemon"]),
    ("tonic-prost", &["proto"]),
    ("anyhow", &["bgpd", "felix", "fabric"]),
];

const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The dependency graph as cargo resolved it for Linux.
struct Graph {
    packages: BTreeMap<String, Value>,
    members: BTreeSet<String>,
    nodes: BTreeMap<String, Value>,
}

impl Graph {
    fn load() -> Result<Self> {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command.args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ]);
        let output = command.current_dir(root()).output().context("running cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let by_id = |list: &Value| {
            let list = list.as_array().into_iter().flatten();
            list.map(|entry| (text(entry, "id").to_owned(), entry.clone())).collect::<BTreeMap<_, _>>()
        };
        let members = metadata["workspace_members"].as_array().into_iter().flatten();
        Ok(Self {
            packages: by_id(&metadata["packages"]),
            members: members.filter_map(|id| id.as_str().map(ToOwned::to_owned)).collect(),
            nodes: by_id(&metadata["resolve"]["nodes"]),
        })
    }

    fn name(&self, id: &str) -> &str {
        self.packages.get(id).map_or("", |package| text(package, "name"))
    }

    fn member(&self, name: &str) -> Result<&str> {
        let found = self.members.iter().find(|id| self.name(id) == name);
        found.map(String::as_str).with_context(|| format!("no crate {name} in the workspace"))
    }

    /// Ids of direct dependencies of the given kinds (`normal`, `dev`, `build`).
    fn dependencies(&self, id: &str, kinds: &[&str]) -> Vec<String> {
        let dependencies = self.nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let of_kind = |dependency: &&Value| {
            let mut found = dependency["dep_kinds"].as_array().into_iter().flatten();
            found.any(|kind| kinds.contains(&kind["kind"].as_str().unwrap_or("normal")))
        };
        dependencies.filter(of_kind).map(|dependency| text(dependency, "pkg").to_owned()).collect()
    }

    /// Everything that is linked into a crate.
    fn linked(&self, id: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut pending = vec![id.to_owned()];
        while let Some(next) = pending.pop() {
            pending.extend(self.dependencies(&next, &["normal"]).into_iter().filter(|id| seen.insert(id.clone())));
        }
        seen
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn none(offences: &[String]) -> Result<()> {
    ensure!(offences.is_empty(), "{}", offences.join("\n"));
    Ok(())
}

#[test]
fn pure_crates_link_nothing_that_could_do_something() -> Result<()> {
    let graph = Graph::load()?;
    let mut offences = Vec::new();
    for pure in PURE {
        let id = graph.member(pure)?;
        offences.extend(
            graph
                .linked(id)
                .iter()
                .map(|id| graph.name(id))
                .filter(|name| IMPURE.contains(name))
                .map(|name| format!("{pure} is pure and must not link {name}")),
        );
        let manifest = graph.packages.get(id).map(|package| text(package, "manifest_path")).unwrap_or_default();
        if !Path::new(manifest).with_file_name("clippy.toml").exists() {
            offences.push(format!("{pure} is pure and has no clippy.toml of its own"));
        }
    }
    none(&offences)
}

#[test]
fn crates_import_only_those_they_may() -> Result<()> {
    let graph = Graph::load()?;
    let allowed: BTreeMap<_, _> = IMPORTS.into_iter().collect();
    let mut offences = Vec::new();
    for member in &graph.members {
        let name = graph.name(member);
        let Some(allowed) = allowed.get(name) else { bail!("say in IMPORTS what {name} may import") };
        let imported = graph.dependencies(member, &["normal", "build", "dev"]);
        let ours = imported.iter().filter(|id| graph.members.contains(*id)).map(|id| graph.name(id));
        offences.extend(ours.filter(|n| !allowed.contains(n)).map(|n| format!("{name} must not import {n}")));
    }
    none(&offences)
}

#[test]
fn a_third_party_crate_with_a_home_is_used_nowhere_else() -> Result<()> {
    let graph = Graph::load()?;
    let mut offences = Vec::new();
    for (guest, homes) in HOMES {
        for member in graph.members.iter().filter(|id| !homes.contains(&graph.name(id)) && graph.name(id) != "tests") {
            let direct = graph.dependencies(member, &["normal", "build"]);
            if direct.iter().any(|id| graph.name(id) == guest) {
                offences.push(format!("{} depends on {guest}, whose home is {homes:?}", graph.name(member)));
            }
        }
    }
    for file in files(&["rs"])?.iter().filter(|file| !file.path.starts_with("bgpd/engine/src/wire")) {
        if file.path.starts_with("bgpd/engine/src") && file.text.contains("zettabgp::") {
            offences.push(format!("{}: zettabgp stays behind wire", file.path.display()));
        }
    }
    none(&offences)
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() -> Result<()> {
    let graph = Graph::load()?;
    let mut offences = Vec::new();
    for member in &graph.members {
        let manifest = graph.packages.get(member).map(|package| text(package, "manifest_path")).unwrap_or_default();
        if !fs::read_to_string(manifest)?.contains("[lints]\nworkspace = true") {
            offences.push(format!("{manifest} does not take the lints of the workspace"));
        }
    }
    none(&offences)
}

/// A text file of the repository, its path relative to the root.
struct Source {
    path: PathBuf,
    text: String,
}

fn files(extensions: &[&str]) -> Result<Vec<Source>> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || name == "target" || name == "corpus" || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            if path.is_dir() { walk(&path, found)? } else { found.push(path) }
        }
        Ok(())
    }
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths)?;
    paths.sort();
    let wanted = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        extensions.is_empty() || extensions.contains(&extension.as_ref())
    };
    let read = |path: PathBuf| {
        let bytes = fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Source { path: path.strip_prefix(&root)?.to_owned(), text })
    };
    paths.into_iter().filter(wanted).map(read).collect()
}

#[test]
fn no_file_is_longer_than_one_sitting_before_its_tests() -> Result<()> {
    let is_test = |path: &Path| {
        path.file_name().is_some_and(|name| name == "tests.rs")
            || path.components().skip(1).any(|part| part.as_os_str() == "tests")
    };
    let mut offences = Vec::new();
    for file in files(&["rs"])? {
        // Labs are programs like others.
        if is_test(&file.path) && !file.path.starts_with("tests") {
            continue;
        }
        let lines = file.text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > MAX_LINES {
            offences.push(format!("{}: {lines} lines, {MAX_LINES} allowed", file.path.display()));
        }
    }
    none(&offences)
}

#[test]
fn a_lint_is_switched_off_only_with_a_reason() -> Result<()> {
    let mut offences = Vec::new();
    for file in files(&["rs"])? {
        for attribute in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for (at, _) in file.text.match_indices(attribute) {
                let rest = file.text.get(at..).unwrap_or_default();
                let whole = rest.split(")]").next().unwrap_or_default();
                if !whole.contains("reason") && !file.path.ends_with("gates.rs") {
                    offences.push(format!("{}: {}", file.path.display(), rest.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    none(&offences)
}

#[test]
fn nothing_is_left_for_later_and_no_path_of_one_machine_is_in_the_text() -> Result<()> {
    // In two halves, since this file is searched, too.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut offences = Vec::new();
    for file in files(&["rs", "toml", "md", "yaml", "yml", "proto", "sh", "conflist", "case", "conf"])? {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in words.iter().filter(|word| has_word(line, word)) {
                offences.push(format!("{}:{number}: {word}", file.path.display()));
            }
        }
    }
    none(&offences)
}

fn has_word(line: &str, word: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        edge(line.get(..at).and_then(|before| before.chars().next_back()))
            && (word.ends_with('/') || edge(line.get(at + word.len()..).and_then(|after| after.chars().next())))
    })
}

/// The quoted words of a list in deny.toml.
fn deny_list(key: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join("deny.toml"))?;
    let start = text.find(&format!("\n{key} = [")).with_context(|| format!("no {key} in deny.toml"))?;
    let list = text.get(start..).and_then(|rest| rest.split("\n]").next()).unwrap_or_default();
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    Ok(lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(ToOwned::to_owned).collect())
}

#[test]
fn every_dependency_has_a_licence_on_the_list() -> Result<()> {
    let (graph, allowed) = (Graph::load()?, deny_list("allow")?);
    let foreign = graph.packages.iter().filter(|(id, _)| !graph.members.contains(*id));
    let refused = foreign.filter(|(_, package)| !satisfies(text(package, "license"), &allowed));
    none(&refused.map(|(_, p)| format!("{}: {:?}", text(p, "name"), text(p, "license"))).collect::<Vec<_>>())
}

/// Whether an SPDX expression can be met with the allowed licences. The old `/` means OR.
fn satisfies(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut parts = vec![(0, String::new())];
    // Splits at the outermost operators only.
    let mut depth = 0;
    let mut operators = Vec::new();
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        depth += i32::from(word == "(") - i32::from(word == ")");
        if depth == 0 && (word == "OR" || word == "AND") {
            operators.push(word.to_owned());
            parts.push((0, String::new()));
        } else if let Some((words, part)) = parts.last_mut() {
            *words += 1;
            part.push_str(if part.is_empty() { "" } else { " " });
            part.push_str(word);
        }
    }
    if operators.is_empty() {
        let inner = expression.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        return inner.map_or_else(|| allowed.iter().any(|a| a == expression.trim()), |i| satisfies(i, allowed));
    }
    let mut met = parts.iter().map(|(_, part)| satisfies(part, allowed));
    if operators.iter().all(|operator| operator == "AND") { met.all(|m| m) } else { met.any(|m| m) }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned(), "Zlib".to_owned()];
    for good in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND Zlib", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(satisfies(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR MIT) AND BSD-3-Clause"] {
        assert!(!satisfies(bad, &allowed), "{bad}");
    }
}

#[test]
fn dependencies_come_from_crates_io_and_none_is_banned() -> Result<()> {
    let (graph, banned) = (Graph::load()?, deny_list("deny")?);
    let mut offences = Vec::new();
    for (id, package) in graph.packages.iter().filter(|(id, _)| !graph.members.contains(*id)) {
        let (name, source) = (graph.name(id), text(package, "source"));
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            offences.push(format!("{name} comes from {source}"));
        }
        if banned.iter().any(|b| b == name) {
            offences.push(format!("{name} is banned"));
        }
    }
    none(&offences)
}

#[test]
fn the_plugin_links_no_multi_threaded_runtime_and_no_kubernetes_client() -> Result<()> {
    let graph = Graph::load()?;
    let linked = graph.linked(graph.member("cni")?);
    let names: BTreeSet<_> = linked.iter().map(|id| graph.name(id)).collect();
    let unwanted = ["kube", "kube-client", "num_cpus", "reqwest", "rustls"];
    none(&unwanted.iter().filter(|n| names.contains(**n)).map(|n| format!("cni links {n}")).collect::<Vec<_>>())
}

#[test]
fn the_page_on_interoperability_is_what_labs_show_and_every_lab_on_it_exists() -> Result<()> {
    let labs: String =
        files(&["rs"])?.into_iter().filter(|file| file.path.starts_with("tests/tests")).map(|file| file.text).collect();
    let shown = ROWS.into_iter().flat_map(|(_, cells)| cells).filter_map(|cell| match cell {
        Cell::Shown(lab) => Some(lab),
        Cell::Cannot | Cell::Open => None,
    });
    none(
        &shown
            .filter(|lab| !labs.contains(&format!("\"{lab}\"")))
            .map(|lab| format!("no lab {lab}"))
            .collect::<Vec<_>>(),
    )?;
    let (path, page) = (root().join("docs/interop.md"), page());
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &page)?;
    }
    ensure!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/interop.md is out of date: run this with BLESS=1"
    );
    Ok(())
}
