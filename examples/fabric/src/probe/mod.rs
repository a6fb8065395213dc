//! Traffic that counts itself: streams of datagrams with exact loss, TCP connections that live across events, and the
//! other ends of both. Everything runs on threads of this process with sockets made inside the nodes.

mod echo;
mod flow;
mod stream;

pub use echo::Echo;
pub use flow::{Flow, connect};
pub use stream::{Losses, Stream, Target};
