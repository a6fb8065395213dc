//! Passwords of sessions: TCP MD5 (RFC 2385).

use std::{collections::BTreeMap, fmt, io, net::IpAddr, os::fd::AsFd, sync::Arc};

use kernel::tcp;

/// The password of each peer that has one, by the peer's address.
pub(crate) type Passwords = BTreeMap<IpAddr, Password>;

/// A password that fits into the option. It is in no debug output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Arc<[u8]>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Password {
    /// `None` if it is empty, or longer than the 80 bytes that Linux takes.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        (1..=tcp::MD5_KEY_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// Signs what goes to a peer and refuses what comes unsigned from it: on a listener from the next SYN on, on a
    /// connection at once.
    pub(crate) fn sign(&self, socket: &impl AsFd, peer: IpAddr) -> io::Result<()> {
        tcp::set_md5_key(socket, peer.into(), &self.0).map_err(other)
    }
}

/// Ends the signing of a peer's segments on a socket.
pub(crate) fn unsign(socket: &impl AsFd, peer: IpAddr) -> io::Result<()> {
    tcp::delete_md5_key(socket, peer.into()).map_err(other)
}

fn other(error: kernel::Error) -> io::Error {
    io::Error::other(error.to_string())
}
