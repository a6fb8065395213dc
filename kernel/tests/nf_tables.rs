//! The table in a real kernel, each test in a network namespace of its own. `nft` serves as the second opinion.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

#[path = "../nft/tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kernel::nf_tables::{Commit, NfTables};
use nft::{Base, Chain, Change, Datatype, Element, Field, Hook, Rule, Ruleset, Set, Statement, Value, diff};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread with a fresh network namespace. Without root, the test runs again as a root of its own.
fn in_namespace(name: &str, test: impl FnOnce(&mut NfTables) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        let exe = std::env::current_exe().unwrap();
        let status = Command::new("unshare").arg("-rn").arg(exe).args(["--exact", name, "--include-ignored"]).status();
        assert!(status.unwrap().success(), "{name} in a user namespace");
        return;
    }
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        test(&mut NfTables::open().unwrap());
    };
    thread::spawn(run).join().unwrap();
}

fn commit(tables: &mut NfTables, changes: &[Change]) {
    match tables.commit(changes).unwrap() {
        Commit::Done => {}
        other => panic!("{other:?}: {:?}", changes.iter().map(ToString::to_string).collect::<Vec<_>>()),
    }
}

/// Commits the difference, and lists what is there then.
fn turn_into(tables: &mut NfTables, actual: &Ruleset, desired: &Ruleset) {
    commit(tables, &diff(actual, desired));
    let listed = tables.list().unwrap();
    let left: Vec<_> = diff(&listed, desired).iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "left to do: {left:?}\n{}\ninstead of\n{}", nft::text(&listed), nft::text(desired));
    assert_eq!(listed, *desired);
}

fn nft_list() -> String {
    let output = Command::new("nft").args(["-s", "list", "table", "inet", "tortie"]).output().unwrap();
    assert!(output.status.success(), "nft list: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn nft_load(text: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft -f: {}", String::from_utf8_lossy(&output.stderr));
}

/// Without the freedom that nft takes: white space, line breaks, the order of elements, names of ICMP types, masks of
/// leading ones.
fn plain(text: &str) -> String {
    const ELEMENTS: &str = "elements = { ";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(", }", " }");
    let sorted = text.split(ELEMENTS).enumerate().map(|(index, part)| match part.split_once(" }") {
        Some((elements, rest)) if index > 0 => {
            let mut elements: Vec<_> = elements.split(", ").collect();
            elements.sort_unstable();
            format!("{} }}{rest}", elements.join(", "))
        }
        _ => part.to_owned(),
    });
    let mut text = sorted.collect::<Vec<_>>().join(ELEMENTS);
    for (nft, tortie) in [
        ("icmp type echo-request", "icmp type 8"),
        ("icmp type destination-unreachable icmp code frag-needed", "icmp type 3 icmp code 4"),
        ("icmpv6 type { echo-request, nd-neighbor-solicit }", "icmpv6 type { 128, 135 }"),
        ("ct mark 0x00010000/16", "ct mark & 0xffff0000 == 0x00010000"),
        ("ct mark != 0x00000000/1 ", "ct mark & 0x80000000 != 0x00000000 "),
    ] {
        text = text.replace(nft, tortie);
    }
    text
}

fn goldens() -> [Ruleset; 2] {
    [support::policy(), support::services()]
}

#[test]
fn nft_lists_what_was_committed_as_our_text() {
    in_namespace("nft_lists_what_was_committed_as_our_text", |tables| {
        for golden in goldens() {
            commit(tables, &diff(&Ruleset::default(), &golden));
            assert_eq!(plain(&nft_list()), plain(&nft::text(&golden)));
            commit(tables, &[Change::DeleteTable]);
        }
    });
}

#[test]
fn a_restarted_agent_finds_nothing_to_do() {
    in_namespace("a_restarted_agent_finds_nothing_to_do", |tables| {
        let mut actual = Ruleset::default();
        for golden in goldens() {
            turn_into(tables, &actual, &golden);
            actual = golden;
        }
        turn_into(tables, &actual, &Ruleset::default());
    });
}

#[test]
fn text_loaded_by_nft_lists_as_the_same_value() {
    in_namespace("text_loaded_by_nft_lists_as_the_same_value", |tables| {
        for golden in goldens() {
            nft_load(&nft::text(&golden));
            let listed = tables.list().unwrap();
            assert_eq!(nft::text(&listed), nft::text(&golden));
            assert_eq!(listed, golden);
            commit(tables, &[Change::DeleteTable]);
        }
    });
}

#[test]
fn a_hash_over_both_ipv6_addresses_fits_the_registers() {
    // nft itself cannot write this rule: it loads what is hashed beside the key, not in its place.
    in_namespace("a_hash_over_both_ipv6_addresses_fits_the_registers", |tables| {
        let mut desired = Ruleset::default();
        let (key, value) = support::ipv6_slots();
        desired.add_set("ep6", Set::map(key, value));
        desired.add_chain("maglev", Chain::new([support::ipv6_maglev("ep6")]));
        turn_into(tables, &Ruleset::default(), &desired);
        assert_eq!(plain(&nft_list()), plain(&nft::text(&desired)));
    });
}

#[test]
fn an_absent_table_lists_as_empty() {
    in_namespace("an_absent_table_lists_as_empty", |tables| {
        assert_eq!(tables.list().unwrap(), Ruleset::default());
    });
}

#[test]
fn a_refused_change_is_named_and_nothing_is_changed() {
    in_namespace("a_refused_change_is_named_and_nothing_is_changed", |tables| {
        let golden = support::policy();
        commit(tables, &diff(&Ruleset::default(), &golden));
        let set = Arc::new(Set::of([Datatype::Ipv4Addr]));
        let changes = [
            Change::AddSet { name: "new".into(), set: Arc::clone(&set) },
            Change::DeleteElements { name: "new".into(), set, elements: vec![support::v4("10.0.0.1").into()] },
            Change::DeleteChain { name: "deny".into() },
        ];
        let Commit::Refused(refused) = tables.commit(&changes).unwrap() else { panic!("not refused") };
        let refused: Vec<_> = refused.iter().map(|refused| (refused.change, refused.source.raw_os_error())).collect();
        assert_eq!(refused, [(Some(1), Some(libc::ENOENT)), (Some(2), Some(libc::EBUSY))]);
        assert_eq!(tables.list().unwrap(), golden);
    });
}

#[test]
fn a_loop_of_chains_is_refused() {
    in_namespace("a_loop_of_chains_is_refused", |tables| {
        let mut ruleset = Ruleset::default();
        ruleset.add_chain("a", Chain::new([Rule::new([Statement::jump("b")])]));
        ruleset.add_chain("b", Chain::new([Rule::new([Statement::jump("a")])]));
        ruleset.add_chain("forward", Chain::base(Base::filter(Hook::Forward, 0), [Rule::new([Statement::jump("a")])]));
        let Commit::Refused(refused) = tables.commit(&diff(&Ruleset::default(), &ruleset)).unwrap() else {
            panic!("not refused")
        };
        let looped = |errno| errno == Some(libc::ELOOP) || errno == Some(libc::EMLINK);
        assert!(refused.iter().any(|refused| looped(refused.source.raw_os_error())), "{refused:?}");
        assert_eq!(tables.list().unwrap(), Ruleset::default());
    });
}

#[test]
fn foreign_rules_and_sets_are_replaced() {
    in_namespace("foreign_rules_and_sets_are_replaced", |tables| {
        nft_load(
            "table inet tortie {
                set s12 { type ether_addr; }
                chain forward { type filter hook forward priority 0; ether saddr @s12 accept; meta length 7 drop; }
                chain other { ip dscp 4 drop; jump third; }
                chain third { tcp flags syn drop; }
            }",
        );
        let actual = tables.list().unwrap();
        turn_into(tables, &actual, &support::policy());
    });
}

#[test]
fn sets_chains_and_hooks_change_their_kind_under_their_users() {
    in_namespace("sets_chains_and_hooks_change_their_kind_under_their_users", |tables| {
        let steps = support::kinds();
        let mut actual = Ruleset::default();
        for desired in [0, 1, 2, 0, 2, 3, 1, 0, 3].map(|step| &steps[step]) {
            turn_into(tables, &actual, desired);
            actual = desired.clone();
        }
    });
}

/// Small numbers that look random, always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn any_ranges_become_any_other_ranges() {
    in_namespace("any_ranges_become_any_other_ranges", |tables| {
        let mut numbers = Numbers(1);
        let mut actual = Ruleset::default();
        for _ in 0..300 {
            let mut set = Set::intervals([Datatype::Ipv4Addr]);
            let mut pairs = Set::intervals([Datatype::InetProto, Datatype::InetService]);
            for _ in 0..numbers.below(8) {
                let start = u32::try_from(numbers.below(40)).unwrap();
                let end = start + u32::try_from(numbers.below(6)).unwrap();
                let top = if numbers.below(2) == 0 { 0 } else { u32::MAX - 50 };
                let address = |n: u32| Value::from(std::net::Ipv4Addr::from(top + n));
                set.insert(Element::range(address(start), address(end)));
                let port = u16::try_from(start * 10).unwrap();
                pairs.insert(Element::protocol(6).dot(Element::ports(port..=port + 9)));
            }
            let mut desired = Ruleset::default();
            desired.add_set("ranges", set.merge_ranges());
            desired.add_set("pairs", pairs);
            turn_into(tables, &actual, &desired);
            actual = desired;
        }
    });
}

#[test]
fn ten_thousand_elements_come_back() {
    in_namespace("ten_thousand_elements_come_back", |tables| {
        let mut desired = Ruleset::default();
        desired.add_set("hash", Set::of([Datatype::Ipv4Addr]).with_members(support::addresses(10_000)));
        let anonymous = Field::Ip4Saddr.within(support::addresses(5_000));
        desired.add_chain("c", Chain::new([Rule::new([anonymous, Statement::accept()])]));
        turn_into(tables, &Ruleset::default(), &desired);
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "measures; run with --release --nocapture"]
fn measure_transactions() {
    in_namespace("measure_transactions", |tables| {
        let mut desired = support::policy();
        desired.add_set("hash", Set::of([Datatype::Ipv4Addr]));
        commit(tables, &diff(&Ruleset::default(), &desired));
        for count in [10_000, 100_000] {
            let actual = desired.clone();
            desired.add_set("hash", Set::of([Datatype::Ipv4Addr]).with_members(support::addresses(count)));
            let start = Instant::now();
            let changes = diff(&actual, &desired);
            let diffed = start.elapsed();
            let bytes = nft::encode(&changes).as_bytes().len();
            let start = Instant::now();
            let _ = nft::encode(&changes);
            let encoded = start.elapsed();
            let start = Instant::now();
            commit(tables, &changes);
            println!("{count}: diff {diffed:?}, encode {encoded:?} ({bytes} bytes), commit {:?}", start.elapsed());
            let start = Instant::now();
            assert_eq!(tables.list().unwrap(), desired);
            println!("list and compare: {:?}", start.elapsed());
        }
        let (mut times, mut diffs) = (Vec::new(), Vec::new());
        for n in 0..2_000 {
            let mut set = (*desired.sets["s12"]).clone();
            let address = support::v4("10.7.7.7").into();
            let _ = if n % 2 == 0 { set.insert(address) } else { set.remove(&address) };
            let mut next = desired.clone();
            next.add_set("s12", set);
            let start = Instant::now();
            let changes = diff(&desired, &next);
            diffs.push(start.elapsed());
            let start = Instant::now();
            commit(tables, &changes);
            times.push(start.elapsed());
            desired = next;
        }
        println!("one element: diff {:?}, encode and commit {:?}", median(diffs), median(times));
        let start = Instant::now();
        for _ in 0..1_000 {
            tables.generation().unwrap();
        }
        println!("generation: {:?}", start.elapsed() / 1_000);
    });
}
