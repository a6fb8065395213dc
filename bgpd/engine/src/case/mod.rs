//! What goes into a speaker and what comes out of it, as text: conformance cases, and recordings of a daemon.
//!
//! A file is lines. `#` begins a comment, at the start of a line or behind white space. Everything is played on a
//! [`Speaker`](crate::Speaker) without sockets, on a clock that jumps.
//!
//! # Cases
//!
//! A case says what is done and what is expected at once. Next hops are reachable, the kernel takes every route and sockets
//! take every octet, unless a line says otherwise.
//!
//! | line | what it does |
//! |---|---|
//! | `speaker AS ID [KEY=VALUE …]` | makes the speaker; keys are the fields of [`SpeakerConfig`](crate::SpeakerConfig) |
//! | `peer NAME ADDRESS KIND AS [KEY=VALUE …]` | adds or changes a peer; keys are the fields of [`PeerConfig`](crate::PeerConfig), AS may be `internal` or `external` |
//! | `router NAME ADDRESS AS [KEY=VALUE …]` | the same for a static peer that we do not dial, with everything accepted both ways |
//! | `accept PEER`, `dialled PEER`, `dial-fails PEER ERROR`, `closed PEER` | its connections |
//! | `session PEER [OPEN …]` | accepts a connection and exchanges OPEN and KEEPALIVE; what is sent meanwhile does not matter |
//! | `< [PEER] MESSAGE [; MESSAGE …]` | it sends messages, all in one piece, or with `< [PEER] octet-wise …` each octet alone |
//! | `at +5s`, `now +5s` | time passes, and timers expire; or the clock jumps and `timeout` lets them expire |
//! | `stall PEER`, `resume PEER` | its socket takes no more octets, and takes them again |
//! | `unreachable ADDRESS`, `reachable ADDRESS` | a next hop |
//! | every line of [`Input`] | that call |
//!
//! | line | what it expects |
//! |---|---|
//! | `> [PEER] MESSAGE` | the next message sent to it; with `...` other words may be there too, `!NAME` is one that is not |
//! | `> [PEER] close`, `> [PEER] connect` | the connection is closed, or dialled |
//! | `> nothing` | nothing was sent |
//! | `fib PREFIX via ADDRESS,…`, `fib PREFIX none` | the route in the kernel |
//! | `state PEER STATE` | of the FSM |
//! | `event TEXT` | an [`Event`](crate::Event) since the last input whose `Debug` holds the text |
//! | `no-event TEXT` | none of that kind |
//! | `explain PREFIX PEER TEXT`, `explain PREFIX none` | what became of the peer's path |
//! | `route PREFIX PEER TEXT` | the peer's path, in the `Debug` of [`RouteStatus`](crate::RouteStatus) |
//! | `withheld PREFIX PEER TEXT` | why the peer is not sent it |
//! | `status PEER TEXT` | the peer's [`PeerStatus`](crate::PeerStatus) in `Debug` |
//!
//! What is sent and not expected before the next input is a failure, but for KEEPALIVE, dialling, and the close behind a
//! NOTIFICATION. A message is words, as in `UPDATE origin=IGP path=65002 next-hop=192.0.2.1 nlri=203.0.113.0/24`, or
//! hexadecimal digits, in which `marker` is 16 times `ff`. Without PEER there must be only one. `add-path` and `two-octet`
//! among the words of an UPDATE say in which form its prefixes and AS numbers are.
//!
//! # Recordings
//!
//! The first line is `recording 1`. Then every input of the speaker, `now SECONDS` where the time has changed, and behind
//! `>` everything that it gave when it was polled; `poll` where it gave nothing. Played again, it must be the same.

mod attribute;
mod expect;
mod input;
mod message;
mod nlri;
mod player;
mod recording;
mod values;

pub use input::Input;
pub use recording::{Output, Recorder};
pub use values::ParseFamilyError;

/// What came of playing a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What differs, or cannot be read, each with its line.
    pub problems: Vec<String>,
    /// How many expectations there were.
    pub asserted: usize,
}

impl Outcome {
    fn problem(&mut self, line: usize, text: &str) {
        self.problems.push(format!("line {line}: {text}"));
    }
}

/// Plays a case or a recording.
#[must_use]
pub fn play(text: &str) -> Outcome {
    if text.starts_with(recording::TITLE) { recording::play(text) } else { player::play(text) }
}
