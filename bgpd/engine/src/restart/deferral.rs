//! The restarting side: selection waits until the peers have told what they know (RFC 4724 §4.1).

use crate::config::SpeakerConfig;
use crate::instant::Instant;
use crate::prefix::{Family, PerFamily};

/// How far a peer is, for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No session yet.
    Absent,
    /// Established, its table is not complete.
    Sending,
    /// Nothing to wait for: End-of-RIB received, it restarts too, or it knows no graceful restart.
    Done,
}

/// Whether peers without a session are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AbsentWait {
    /// Yes: there is no session of the family at all.
    #[default]
    Open,
    Until(Instant),
    Over,
}

/// Selection of which families waits, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deferral {
    waiting: PerFamily<bool>,
    /// Selection_Deferral_Timer.
    cap: Instant,
    absent: PerFamily<AbsentWait>,
    /// When kernel routes of the former process are swept at the latest.
    sweep_at: PerFamily<Option<Instant>>,
}

impl Deferral {
    pub(crate) fn new(config: &SpeakerConfig, now: Instant) -> Self {
        let sweep_at = if config.restarted { now + config.fib_sweep_after } else { now };
        Self {
            waiting: PerFamily::new(config.restarted, config.restarted),
            cap: now + config.selection_deferral,
            absent: PerFamily::default(),
            sweep_at: PerFamily::new(Some(sweep_at), Some(sweep_at)),
        }
    }

    pub(crate) fn is_waiting(&self, family: Family) -> bool {
        self.waiting[family]
    }

    /// Kernel routes of the former process may still be there.
    pub(crate) fn kernel_is_stale(&self, family: Family) -> bool {
        self.sweep_at[family].is_some()
    }

    /// A session of the family came up.
    pub(crate) fn session_up(&mut self, family: Family, now: Instant, config: &SpeakerConfig) {
        if self.waiting[family] && self.absent[family] == AbsentWait::Open {
            self.absent[family] = AbsentWait::Until(now + config.absent_peer_wait);
        }
    }

    /// Ends the wait of a family if there is nothing left to wait for. True if it ended now.
    pub(crate) fn review(&mut self, family: Family, now: Instant, peers: impl Iterator<Item = Progress>) -> bool {
        if !self.waiting[family] {
            return false;
        }
        if matches!(self.absent[family], AbsentWait::Until(until) if until <= now) {
            self.absent[family] = AbsentWait::Over;
        }
        let absent_count = self.absent[family] != AbsentWait::Over;
        let mut nobody = true;
        let mut complete = true;
        for progress in peers {
            nobody = false;
            complete &= match progress {
                Progress::Done => true,
                Progress::Sending => false,
                Progress::Absent => !absent_count,
            };
        }
        // Peers are configured after the start: a family without any is not complete, it is not known yet.
        let ended = now >= self.cap || (complete && !nobody);
        self.waiting[family] = !ended;
        ended
    }

    /// True once per family, when its kernel routes are to be swept: everything that is known to come has come and was
    /// selected from (`complete`), or it is too late to wait on.
    pub(crate) fn take_sweep(&mut self, family: Family, now: Instant, complete: bool) -> bool {
        let due = self.sweep_at[family].is_some_and(|at| now >= at || (complete && !self.waiting[family]));
        if due {
            self.sweep_at[family] = None;
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waits = Family::ALL.into_iter().filter(|family| self.waiting[*family]);
        let waits = waits.flat_map(|family| match self.absent[family] {
            AbsentWait::Until(until) => [Some(self.cap), Some(until)],
            AbsentWait::Open | AbsentWait::Over => [Some(self.cap), None],
        });
        waits.chain([self.sweep_at.v4, self.sweep_at.v6]).flatten().min()
    }
}
