//! Traffic that counts itself: streams of datagrams with exact loss, TCP connections that live across events, and the
//! other ends of both. Everything runs on threads of this process with sockets made inside the nodes.

use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

mod echo;
mod flow;
mod stream;

pub use echo::Echo;
pub use flow::{Flow, connect};
pub use stream::{Losses, Stream, Target};

/// What waits in the kernel while a busy machine does not let a thread run, in octets: seconds of several streams.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Makes sure that what is lost was lost on its way and not at its end.
fn widen(socket: &impl AsFd) {
    // Only root on the machine itself may; others keep what the machine gives.
    let _ = setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
}
