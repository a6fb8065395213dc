//! Rulesets of the layout, for tests here and in `kernel`.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests, of which every binary uses another part"
)]

mod apply;
mod policy;
mod services;

use std::net::{IpAddr, Ipv4Addr};

pub(crate) use apply::{apply, in_between};
use nft::{Base, Chain, Datatype, Element, Field, Hook, Rule, Ruleset, Set, Statement, Verdict, protocol};
pub(crate) use policy::policy;
pub(crate) use services::{ipv6_maglev, ipv6_slots, services};

pub(crate) fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn tcp() -> Element {
    Element::protocol(protocol::TCP)
}

fn rule(statements: impl IntoIterator<Item = Statement>) -> Rule {
    Rule::new(statements)
}

/// Distinct addresses.
pub(crate) fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::from(0x0a00_0000 + n))
}

/// Rulesets in which the same names mean other kinds of sets, chains and hooks.
pub(crate) fn kinds() -> [Ruleset; 4] {
    let matches = |set: &str| Rule::new([Field::Ip4Saddr.within_set(set), Statement::accept()]);
    let dispatch = || Rule::new([Field::Ip4Saddr.vmap("m")]);
    let mut first = Ruleset::default();
    first.add_set("s", Set::of([Datatype::Ipv4Addr]).with_members([v4("10.0.0.1")]));
    first
        .add_set("m", Set::verdict_map([Datatype::Ipv4Addr]).with_entries([(v4("10.0.0.1"), Verdict::goto("target"))]));
    first.add_chain("target", Chain::new([matches("s")]));
    first.add_chain("base", Chain::base(Base::filter(Hook::Forward, 0), [dispatch(), matches("s")]));
    let mut second = first.clone();
    let network = Element::network("10.0.0.0/8".parse().unwrap());
    second.add_set("s", Set::intervals([Datatype::Ipv4Addr]).with_members([network]));
    second.add_chain("base", Chain::base(Base::filter(Hook::Input, 5), [dispatch(), matches("s")]));
    let mut third = Ruleset::default();
    third.add_set("m", Set::verdict_map([Datatype::Ipv4Addr]));
    third.add_chain("target", Chain::base(Base::filter(Hook::Output, 0), []));
    let mut fourth = third.clone();
    let drop = Base { policy: nft::Policy::Drop, ..Base::filter(Hook::Output, 0) };
    fourth.add_chain("target", Chain::base(drop, []));
    [first, second, third, fourth]
}
