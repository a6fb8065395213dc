//! From groups, sets and pools to the table `inet tortie`.

mod chains;
mod group;
mod matches;
mod sets;

pub(crate) use chains::{Marking, fixed, forward, input, postrouting};
pub(crate) use group::{Group, allow, group, set_keys};
pub(crate) use sets::members;

use nft::{Family, Field};

pub(crate) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

pub(crate) const FROM_POD: &str = "from_pod";
pub(crate) const TO_POD: &str = "to_pod";
pub(crate) const DENY: &str = "deny";

pub(crate) const fn source(family: Family) -> Field {
    match family {
        Family::Ipv4 => Field::Ip4Saddr,
        Family::Ipv6 => Field::Ip6Saddr,
    }
}

pub(crate) const fn destination(family: Family) -> Field {
    match family {
        Family::Ipv4 => Field::Ip4Daddr,
        Family::Ipv6 => Field::Ip6Daddr,
    }
}

/// `NAME4` or `NAME6`.
pub(crate) fn of_family(name: &str, family: Family) -> nft::Name {
    match family {
        Family::Ipv4 => format!("{name}4").into(),
        Family::Ipv6 => format!("{name}6").into(),
    }
}
