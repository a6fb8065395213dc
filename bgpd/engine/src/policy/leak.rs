//! Route leaks (RFC 9234 §5): what came from a provider, a peer or a route server goes to customers only.

use crate::reason::Withheld;
use crate::wire::Role;

/// True for a received route that somebody passed on who should not have. `role` is ours, the AS that of the peer.
pub(crate) fn is_leak((role, peer_as): (Role, u32), otc: Option<u32>) -> bool {
    match role {
        // From a customer, or a client of our route server.
        Role::Provider | Role::RouteServer => otc.is_some(),
        Role::Peer => otc.is_some_and(|it| it != peer_as),
        Role::Customer | Role::RouteServerClient => false,
    }
}

/// ONLY_TO_CUSTOMER that a route without one is given on ingress. It is kept with the source of the route, not in its
/// attributes: Adj-RIB-In is as received, and nothing but export asks for it.
pub(crate) const fn set_on_ingress((role, peer_as): (Role, u32)) -> Option<u32> {
    match role {
        Role::Customer | Role::Peer | Role::RouteServerClient => Some(peer_as),
        Role::Provider | Role::RouteServer => None,
    }
}

/// ONLY_TO_CUSTOMER of a route that is sent, or why it is not. `role` is ours towards the receiver, none for an internal
/// one or one without a role.
pub(crate) const fn on_egress(role: Option<Role>, local_as: u32, otc: Option<u32>) -> Result<Option<u32>, Withheld> {
    match (role, otc) {
        (Some(Role::Customer | Role::Peer | Role::RouteServerClient), Some(_)) => Err(Withheld::OnlyToCustomer),
        (Some(Role::Provider | Role::Peer | Role::RouteServer), None) => Ok(Some(local_as)),
        _ => Ok(otc),
    }
}
