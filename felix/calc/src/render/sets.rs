//! The sets of selectors.

use std::sync::Arc;

use nft::{Datatype, Element, Family, Name, Set, Value};

use super::FAMILIES;
use crate::membership::{Content, Members, SetKey};
use crate::names;

/// The sets of one key, one per family.
pub(crate) fn members(key: &SetKey, members: &Members) -> [(Name, Arc<Set>); 2] {
    FAMILIES.map(|family| {
        let address = match family {
            Family::Ipv4 => Datatype::Ipv4Addr,
            Family::Ipv6 => Datatype::Ipv6Addr,
        };
        let inside = members.keys().filter(|member| Family::of(&member.address) == family);
        let comment = match &key.content {
            Content::Addresses => key.selector.to_string(),
            Content::Port { protocol, name } => format!("{protocol} port {name} of {}", key.selector),
        };
        let mut set = match &key.content {
            Content::Addresses => Set::of([address]).with_members(inside.map(|member| member.address)),
            Content::Port { protocol, .. } => {
                let elements = inside.map(|member| -> Element {
                    let protocol = Value::protocol(protocol.number());
                    Value::from(member.address).dot(protocol).dot(Value::port(member.port)).into()
                });
                Set::of([address, Datatype::InetProto, Datatype::InetService]).with_members(elements)
            }
        };
        set.comment = Some(names::comment(&comment).to_owned());
        (names::members(key, family), Arc::new(set))
    })
}
