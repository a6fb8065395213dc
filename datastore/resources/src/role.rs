//! What this speaker is to a peer (RFC 9234).

use serde::{Deserialize, Serialize};

/// What this speaker is to an external peer. The peer must be the counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Its transit provider.
    Provider,
    /// Its route server.
    RouteServer,
    /// A client of it, a route server.
    RouteServerClient,
    /// Its customer.
    Customer,
    /// Its lateral peer.
    Peer,
}
