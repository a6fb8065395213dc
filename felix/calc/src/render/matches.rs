//! A rule of the model as lists of nftables matches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Datatype, Element, Family, Field, Name, Set, Statement, Value, concat};
use resources::Protocol;

use super::{FAMILIES, destination, source};
use crate::address_range::AddressRanges;
use crate::membership::{Content, SetKey};
use crate::model::{Direction, Peer, Peers, Port, Ports, Rule};
use crate::names;
use crate::selector::PodSelector;

/// The sets that matches look into.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) keys: BTreeSet<SetKey>,
    pub(crate) networks: BTreeMap<Name, Arc<Set>>,
}

/// One kind of other end.
struct Other<'a> {
    /// The family that it is limited to.
    family: Option<Family>,
    /// The pods that it is, if it is pods.
    pods: Option<&'a PodSelector>,
    /// The match of its address; `None` for anybody.
    address: Option<Statement>,
}

/// The lists of matches of a rule: it matches when every match of one list does.
pub(crate) fn matches(
    rule: &Rule,
    direction: Direction,
    subject: &PodSelector,
    needs: &mut Needs,
) -> Vec<Vec<Statement>> {
    let others = others(&rule.peers, direction, needs);
    let mut all = Vec::new();
    for other in &others {
        for port in numbered(&rule.ports) {
            use_address(other, needs);
            all.push(other.address.iter().cloned().chain(port).collect());
        }
    }
    for (protocol, name) in named(&rule.ports) {
        for family in FAMILIES {
            for other in others.iter().filter(|other| other.family.is_none_or(|only| only == family)) {
                all.push(named_match(other, family, direction, subject, (protocol, name), needs));
            }
        }
    }
    all
}

/// A named port is looked up at the destination by its address: the subject itself, or the pods the rule goes to, or,
/// where the rule is about addresses, whichever pod is there.
fn named_match(
    other: &Other<'_>,
    family: Family,
    direction: Direction,
    subject: &PodSelector,
    (protocol, name): (Protocol, &str),
    needs: &mut Needs,
) -> Vec<Statement> {
    let everybody = PodSelector::everything();
    let selector = match direction {
        Direction::Ingress => subject,
        Direction::Egress => other.pods.unwrap_or(&everybody),
    };
    let key = SetKey { selector: selector.clone(), content: Content::Port { protocol, name: name.to_owned() } };
    let port = concat([destination(family), Field::L4Proto, Field::ThDport]).within_set(names::members(&key, family));
    needs.keys.insert(key);
    if direction == Direction::Egress && other.pods.is_some() {
        return vec![port];
    }
    use_address(other, needs);
    other.address.iter().cloned().chain([port]).collect()
}

fn use_address(other: &Other<'_>, needs: &mut Needs) {
    if let Some(pods) = other.pods {
        needs.keys.insert(SetKey { selector: pods.clone(), content: Content::Addresses });
    }
}

fn others<'a>(peers: &'a Peers, direction: Direction, needs: &mut Needs) -> Vec<Other<'a>> {
    let Peers::OneOf(peers) = peers else { return vec![Other { family: None, pods: None, address: None }] };
    let selectors: BTreeSet<_> = (peers.iter())
        .filter_map(|peer| match peer {
            Peer::Pods(selector) => Some(selector),
            Peer::Network { .. } => None,
        })
        .collect();
    let mut others = Vec::new();
    for family in FAMILIES {
        let field = match direction {
            Direction::Ingress => source(family),
            Direction::Egress => destination(family),
        };
        for pods in &selectors {
            let key = SetKey { selector: (*pods).clone(), content: Content::Addresses };
            let address = field.within_set(names::members(&key, family));
            others.push(Other { family: Some(family), pods: Some(pods), address: Some(address) });
        }
        let mut ranges = AddressRanges::new(family);
        for peer in peers {
            if let Peer::Network { network, except } = peer {
                ranges.add(network, except);
            }
        }
        if !ranges.is_empty() {
            let address = Some(network_match(field, family, &ranges, needs));
            others.push(Other { family: Some(family), pods: None, address });
        }
    }
    others
}

fn network_match(field: Field, family: Family, ranges: &AddressRanges, needs: &mut Needs) -> Statement {
    if let Some(network) = ranges.as_network() {
        return field.is_in_network(network);
    }
    let datatype: Datatype = field.datatype();
    let set = if ranges.are_addresses() { Set::of([datatype]) } else { Set::intervals([datatype]) };
    let set = set.with_members(ranges.elements());
    let name = names::networks(set.elements.keys(), family);
    needs.networks.entry(name.clone()).or_insert_with(|| Arc::new(set));
    field.within_set(name)
}

/// The lists of matches of the ports given by number: whole protocols, single ports, ranges per protocol.
fn numbered(ports: &Ports) -> Vec<Vec<Statement>> {
    let Ports::OneOf(ports) = ports else { return vec![Vec::new()] };
    let ranges = port_ranges(ports);
    let whole = |protocol: &Protocol| ranges.get(protocol).is_some_and(|ranges| ranges.as_slice() == [(0, u16::MAX)]);
    let mut all = Vec::new();
    let protocols: Vec<_> = ranges.keys().filter(|protocol| whole(protocol)).collect();
    if !protocols.is_empty() {
        let numbers = protocols.iter().map(|protocol| Element::protocol(protocol.number()));
        all.push(vec![Field::L4Proto.within(numbers)]);
    }
    let singles: Vec<Element> = (ranges.iter())
        .flat_map(|(protocol, ranges)| ranges.iter().map(move |range| (protocol, range)))
        .filter(|(_, (first, last))| first == last)
        .map(|(protocol, (port, _))| Value::protocol(protocol.number()).dot(Value::port(*port)).into())
        .collect();
    if !singles.is_empty() {
        all.push(vec![concat([Field::L4Proto, Field::ThDport]).within(singles)]);
    }
    for (protocol, ranges) in ranges.iter().filter(|(protocol, _)| !whole(protocol)) {
        let wide: Vec<_> = ranges.iter().filter(|(first, last)| first < last).collect();
        if !wide.is_empty() {
            let ports = Field::ThDport.within(wide.iter().map(|(first, last)| Element::ports(*first..=*last)));
            all.push(vec![Field::L4Proto.is(Value::protocol(protocol.number())), ports]);
        }
    }
    all
}

/// Ranges of port numbers per protocol, in order, that neither overlap nor touch: the kernel refuses overlaps.
fn port_ranges(ports: &[Port]) -> BTreeMap<Protocol, Vec<(u16, u16)>> {
    let mut written: Vec<_> = (ports.iter())
        .filter_map(|port| match port {
            Port::Numbers { protocol, first, last } => Some((*protocol, *first, *last)),
            Port::Named { .. } => None,
        })
        .collect();
    written.sort_unstable();
    let mut merged: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for (protocol, first, last) in written {
        let ranges = merged.entry(protocol).or_default();
        match ranges.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => ranges.push((first, last)),
        }
    }
    merged
}

fn named(ports: &Ports) -> impl Iterator<Item = (Protocol, &str)> {
    let ports = match ports {
        Ports::Any => &[],
        Ports::OneOf(ports) => ports.as_slice(),
    };
    ports.iter().filter_map(|port| match port {
        Port::Named { protocol, name } => Some((*protocol, name.as_str())),
        Port::Numbers { .. } => None,
    })
}
