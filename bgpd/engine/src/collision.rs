//! Connection collision (RFC 4271 §6.8, RFC 6286 §2.3).
//!
//! Both sides must come to the same result, so it depends only on what both know: the identifiers, the AS numbers and who
//! dialled. It is asked when a valid OPEN arrives on a connection while the peer has another one.

use std::net::Ipv4Addr;

use crate::status::SessionState;

/// One side, as its OPEN tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speaker {
    pub(crate) identifier: Ipv4Addr,
    pub(crate) as_number: u32,
}

/// The connection that got the OPEN, or the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contender {
    /// We dialled.
    pub(crate) ours: bool,
    pub(crate) state: SessionState,
    /// A valid OPEN was received on it.
    pub(crate) has_open: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The other connection is no rival.
    Proceed,
    /// The one that got the OPEN loses.
    DumpNew,
    /// The other one loses.
    DumpOther,
    /// The other one must win but has not shown an OPEN yet: wait for it, but not long.
    Wait,
}

/// The connection dialled by the speaker with the higher identifier is kept; with equal identifiers, by the one with the
/// higher AS number.
pub(crate) fn ours_wins(local: Speaker, remote: Speaker) -> bool {
    local > remote
}

/// Judges the connection that got a valid OPEN against another one that is not Established.
pub(crate) fn judge(new: Contender, other: Contender, local: Speaker, remote: Speaker) -> Verdict {
    let is_rival = matches!(other.state, SessionState::OpenSent | SessionState::OpenConfirm);
    if !is_rival || new.ours == other.ours {
        return Verdict::Proceed;
    }
    let new_wins = new.ours == ours_wins(local, remote);
    match (new_wins, other.has_open) {
        (true, _) => Verdict::DumpOther,
        (false, true) => Verdict::DumpNew,
        (false, false) => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Speaker = Speaker { identifier: Ipv4Addr::new(10, 0, 0, 1), as_number: 64512 };
    const HIGH: Speaker = Speaker { identifier: Ipv4Addr::new(10, 0, 0, 2), as_number: 64512 };

    fn contender(ours: bool, state: SessionState) -> Contender {
        Contender { ours, state, has_open: state == SessionState::OpenConfirm }
    }

    #[test]
    fn both_sides_keep_the_connection_dialled_by_the_higher_identifier() {
        // One TCP connection dialled by each: what is "ours" for one is "theirs" for the other.
        for dialled_by_low_is_new in [true, false] {
            let at = |local, remote, low_dialled: bool, local_is_low: bool| {
                let new = contender(low_dialled == local_is_low, SessionState::OpenSent);
                let other = contender(low_dialled != local_is_low, SessionState::OpenConfirm);
                judge(new, other, local, remote)
            };
            let expected = if dialled_by_low_is_new { Verdict::DumpNew } else { Verdict::DumpOther };
            assert_eq!(at(LOW, HIGH, dialled_by_low_is_new, true), expected);
            assert_eq!(at(HIGH, LOW, dialled_by_low_is_new, false), expected);
        }
    }

    #[test]
    fn equal_identifiers_are_decided_by_the_larger_as_number() {
        let wide = Speaker { as_number: 4_200_000_000, ..LOW };
        assert!(ours_wins(wide, LOW) && !ours_wins(LOW, wide));
    }

    #[test]
    fn identifiers_are_compared_as_unsigned_numbers() {
        let top = Speaker { identifier: Ipv4Addr::new(224, 0, 0, 1), ..LOW };
        assert!(ours_wins(top, HIGH));
    }

    #[test]
    fn a_connection_that_must_win_is_waited_for_while_it_is_mute() {
        let new = contender(true, SessionState::OpenSent);
        let other = contender(false, SessionState::OpenSent);
        assert_eq!(judge(new, other, LOW, HIGH), Verdict::Wait);
        assert_eq!(judge(new, other, HIGH, LOW), Verdict::DumpOther);
    }

    #[test]
    fn connections_without_tcp_cannot_collide() {
        let new = contender(false, SessionState::OpenSent);
        for state in [SessionState::Idle, SessionState::Connect, SessionState::Active] {
            assert_eq!(judge(new, contender(true, state), HIGH, LOW), Verdict::Proceed);
        }
    }
}
