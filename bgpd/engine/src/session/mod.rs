//! One connection: the finite state machine of RFC 4271 §8.2.2 and what its OPENs agreed on.

mod event;
mod fsm;
mod negotiated;
mod unverified;

pub(crate) use event::Event;
pub(crate) use fsm::{Output, Parameters, State, step};
pub(crate) use negotiated::Negotiated;

#[cfg(test)]
mod table_tests;
