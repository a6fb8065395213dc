//! The chains that are there whatever the policies say.

use nft::{
    Base, Chain, ConnectionState, Direction, Family, Field, Hook, Key, Rule, Ruleset, Statement, Value, Verdict,
    priority,
};

use super::{DENY, FAMILIES, FROM_POD, TO_POD, destination, of_family, source};
use crate::generation::{CUT, GENERATION_DUE, MARK_MASK, MARK_OTHERS, mark};
use crate::{Config, OpenConnections};

/// Neighbour and router discovery and multicast listening (RFC 4861, RFC 2710): without them a pod has no IPv6 at all.
const NEIGHBOUR_DISCOVERY: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// How connections that were let through are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marking {
    pub(crate) open_connections: OpenConnections,
    pub(crate) generation: u16,
    /// The generation should have risen and was held; remembered in the kernel, should the agent die.
    pub(crate) due: bool,
}

/// The chains that only the configuration decides.
pub(crate) fn fixed(config: &Config) -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.add_chain("spoof", spoof());
    ruleset.add_chain("prerouting_raw", prerouting(config));
    ruleset.add_chain(DENY, deny(config));
    ruleset.add_chain("from_pods", from_pods());
    ruleset.add_chain("to_pods", to_pods());
    ruleset
}

/// What is no pod's address on this interface is dropped.
fn spoof() -> Chain {
    let known = |family: Family| {
        let key = Key::from([Field::Iifname, source(family)]);
        let statements = [Field::NfProto.is(Value::family(family)), key.within_set(of_family("spoof", family))];
        Rule::new(statements.into_iter().chain([Statement::accept()]))
    };
    let [known4, known6] = FAMILIES.map(known);
    // fe80::/10
    let link_local = ipnetwork::Ipv6Network::new(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    let link_local =
        link_local.ok().map(|network| Rule::new([Field::Ip6Saddr.is_in_network(network.into()), Statement::accept()]));
    Chain::new([known4, known6].into_iter().chain(link_local).chain([Rule::new([Statement::drop()])]))
}

fn prerouting(config: &Config) -> Chain {
    let from_pod = Rule::new([Field::Iifname.begins_with(&config.interface_prefix), Statement::goto("spoof")]);
    Chain::base(Base::filter(Hook::Prerouting, priority::RAW), [from_pod])
}

fn deny(config: &Config) -> Chain {
    let cut = Rule::new([
        Field::CtState.has_any(ConnectionState::Established.bit()),
        Statement::set_ct_mark(MARK_OTHERS, CUT),
    ]);
    let cut = (config.open_connections == OpenConnections::Cut).then_some(cut);
    Chain::new(cut.into_iter().chain([Rule::new([Statement::drop()])]))
}

fn from_pods() -> Chain {
    dispatch(Field::Iifname, FROM_POD)
}

fn to_pods() -> Chain {
    dispatch(Field::Oifname, TO_POD)
}

/// An interface that nobody knows is denied.
fn dispatch(interface: Field, map: &str) -> Chain {
    Chain::new([Rule::new([interface.vmap(map)]), Rule::new([Statement::goto(DENY)])])
}

pub(crate) fn forward(config: &Config, marking: Marking) -> Chain {
    let prefix = &config.interface_prefix;
    let mut rules = established(marking);
    rules.push(Rule::new([Field::Iifname.begins_with(prefix), Statement::jump("from_pods")]));
    rules.push(Rule::new([Field::Oifname.begins_with(prefix), Statement::goto("to_pods")]));
    Chain::base(Base::filter(Hook::Forward, priority::FILTER), rules)
}

/// Pods to their own node. What others send to the node is none of our business.
pub(crate) fn input(config: &Config, marking: Marking) -> Chain {
    let mut rules = vec![
        Rule::new([Field::Iifname.does_not_begin_with(&config.interface_prefix), Statement::accept()]),
        Rule::new([Field::Icmpv6Type.within(NEIGHBOUR_DISCOVERY.map(Value::icmp)), Statement::accept()]),
    ];
    rules.extend(established(marking));
    rules.push(Rule::new([Statement::jump("from_pods")]));
    Chain::base(Base::filter(Hook::Input, priority::FILTER), rules)
}

/// What need not be judged, or not again.
fn established(marking: Marking) -> Vec<Rule> {
    let state = |state: ConnectionState| Value::state(state.bit());
    let is_established = || Field::CtState.has_any(ConnectionState::Established.bit());
    match marking.open_connections {
        OpenConnections::Keep => vec![Rule::new([Field::CtState.vmap_of([
            (state(ConnectionState::Established), Verdict::Accept),
            (state(ConnectionState::Related), Verdict::Accept),
            (state(ConnectionState::Invalid), Verdict::Drop),
        ])])],
        OpenConnections::Cut => {
            let generation = mark(marking.generation);
            let judged =
                Rule::new([is_established(), Field::CtMark.masked_is(MARK_MASK, generation), Statement::accept()]);
            let is_reply = Field::CtDirection.is(Value::direction(Direction::Reply));
            vec![
                // Let through under this generation, and not cut.
                if marking.due { judged.with_comment(GENERATION_DUE) } else { judged },
                Rule::new([Field::CtState.vmap_of([
                    (state(ConnectionState::Invalid), Verdict::Drop),
                    (state(ConnectionState::Related), Verdict::Accept),
                ])]),
                Rule::new([Field::CtMark.masked_is_not(CUT, 0), Statement::drop()]),
                // Only what the side sends that opened the connection is judged.
                Rule::new([is_established(), is_reply, Statement::accept()]),
                Rule::new([Statement::set_ct_mark(MARK_OTHERS, generation)]),
            ]
        }
    }
}

/// Sources that are hidden behind this node towards whatever is in no pool.
pub(crate) fn postrouting() -> Chain {
    let masquerade = |family: Family| {
        Rule::new([
            source(family).within_set(of_family("masq", family)),
            destination(family).not_within_set(of_family("pools", family)),
            Statement::masquerade(),
        ])
    };
    Chain::base(Base::nat(Hook::Postrouting, priority::SRCNAT), FAMILIES.map(masquerade))
}
