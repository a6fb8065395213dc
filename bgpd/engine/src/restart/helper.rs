//! The helper's side (RFC 4724 §4.2, RFC 8538 §4, RFC 9494 §4.2).

use std::time::Duration;

use crate::config::GracefulRestartConfig;
use crate::instant::Instant;
use crate::output::DownReason;
use crate::prefix::{Family, PerFamily};
use crate::session::Negotiated;
use crate::wire::{Capabilities, LongLivedFamily};

/// Code of SendHoldTimerExpired (RFC 9687).
const SEND_HOLD: u8 = 8;

/// Long-lived graceful restart of one family of a peer that is away, or that has not told everything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LongLived {
    /// Not agreed on, or not needed.
    #[default]
    None,
    /// Begins after the restart time, for so long.
    Agreed(Duration),
    /// Stale routes live until then. Neither a session nor the loss of another one moves it, only End-of-RIB ends it.
    Until(Instant),
    /// It is over and the peer is still telling what it has: when it is lost now, nothing is kept.
    Over,
}

/// What is kept of a peer whose session was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Retention {
    /// Families with stale routes.
    pub(crate) families: PerFamily<bool>,
    pub(crate) long_lived: PerFamily<LongLived>,
    /// The peer must be back by then.
    pub(crate) restart_until: PerFamily<Option<Instant>>,
    /// The peer is back and must have sent End-of-RIB by then.
    pub(crate) stale_until: Option<Instant>,
}

/// What becomes of a family when a timer has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Its stale routes go.
    Gone,
    /// Its stale routes are long-lived ones from now on, for so long.
    LongLived(Duration),
}

impl Retention {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let long_lived = Family::ALL.map(|family| match self.long_lived[family] {
            LongLived::Until(at) => Some(at),
            LongLived::None | LongLived::Agreed(_) | LongLived::Over => None,
        });
        let PerFamily { v4, v6 } = self.restart_until;
        [v4, v6, self.stale_until].into_iter().chain(long_lived).flatten().min()
    }

    /// True while routes are kept.
    pub(crate) const fn is_active(&self) -> bool {
        self.families.v4 || self.families.v6
    }

    /// The session was lost: these families are kept, for the time that the peer asked for. A family of which only
    /// long-lived graceful restart was agreed on has no other time before it.
    pub(crate) fn begin(&mut self, now: Instant, session: &Negotiated) -> Duration {
        let restart = session.graceful_restart.as_ref();
        let time = Duration::from_secs(restart.map_or(0, |it| it.time).into());
        let listed = restarting_families(session);
        let kept = kept_families(session);
        self.stale_until = None;
        for family in Family::ALL {
            let long_lived = &mut self.long_lived[family];
            let keeps = kept[family] && *long_lived != LongLived::Over;
            *long_lived = match (*long_lived, session.long_lived[family]) {
                _ if !keeps => LongLived::None,
                (LongLived::Until(at), _) => LongLived::Until(at),
                (_, Some(time)) => LongLived::Agreed(time),
                (_, None) => LongLived::None,
            };
            self.families[family] = keeps;
            self.restart_until[family] = keeps.then(|| if listed[family] { now + time } else { now });
        }
        time
    }

    /// Stale routes of a family are long-lived ones already: a lost session does not end them (RFC 9494 §4.2).
    pub(crate) fn is_long_lived(&self, family: Family) -> bool {
        matches!(self.long_lived[family], LongLived::Until(_))
    }

    /// The peer is back. Returns the families whose stale routes go at once: not listed any more, or not forwarded in the
    /// meantime.
    pub(crate) fn resume(
        &mut self,
        now: Instant,
        peer: &Capabilities,
        config: &GracefulRestartConfig,
    ) -> PerFamily<bool> {
        let restart = peer.graceful_restart.as_ref();
        let forwarding = |family| restart.is_some_and(|it| it.families.contains(&(family, true)));
        let long_lived = peer.long_lived_graceful_restart.as_ref().filter(|_| restart.is_some());
        let forwards = |family| move |it: &LongLivedFamily| it.family == family && it.forwarding;
        let mut dropped = PerFamily::default();
        for family in self.families.families() {
            let stays = if self.is_long_lived(family) {
                long_lived.is_some_and(|it| it.iter().any(forwards(family)))
            } else {
                forwarding(family)
            };
            if !stays {
                dropped[family] = true;
                self.families[family] = false;
            }
            if !stays || !self.is_long_lived(family) {
                self.long_lived[family] = LongLived::None;
            }
        }
        self.restart_until = PerFamily::default();
        self.stale_until = self.is_active().then(|| now + config.stale_time);
        dropped
    }

    /// Nothing of a family is stale any more. True if something was.
    pub(crate) fn end(&mut self, family: Family) -> bool {
        let was_kept = std::mem::take(&mut self.families[family]);
        self.long_lived[family] = LongLived::None;
        if !self.is_active() {
            *self = Self::default();
        }
        was_kept
    }

    /// What follows from timers that have expired by now.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(Family, Expired)> {
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        let (is_away, stale_over) = (self.stale_until.is_none(), due(self.stale_until));
        let mut expired = Vec::new();
        for family in self.families.families() {
            let restart_over = due(self.restart_until[family]);
            if restart_over {
                self.restart_until[family] = None;
            }
            let what = match self.long_lived[family] {
                _ if stale_over => Expired::Gone,
                LongLived::Until(at) if at <= now && is_away => Expired::Gone,
                LongLived::Until(at) if at <= now => {
                    self.long_lived[family] = LongLived::Over;
                    continue;
                }
                LongLived::Until(at) if restart_over => Expired::LongLived(at - now),
                LongLived::Agreed(time) if restart_over => {
                    self.long_lived[family] = LongLived::Until(now + time);
                    Expired::LongLived(time)
                }
                _ if restart_over => Expired::Gone,
                _ => continue,
            };
            expired.push((family, what));
        }
        for (family, _) in expired.iter().filter(|(_, what)| *what == Expired::Gone) {
            self.end(*family);
        }
        expired
    }
}

/// Families that the peer's last capability lists and that the session used.
fn restarting_families(session: &Negotiated) -> PerFamily<bool> {
    let mut kept = PerFamily::default();
    for (family, _) in session.graceful_restart.iter().flat_map(|it| &it.families) {
        kept[*family] = session.families[*family];
    }
    kept
}

/// Families that are kept over a restart, for a while or for long.
pub(crate) fn kept_families(session: &Negotiated) -> PerFamily<bool> {
    let restarting = restarting_families(session);
    let long_lived = session.long_lived;
    PerFamily::new(restarting.v4 || long_lived.v4.is_some(), restarting.v6 || long_lived.v6.is_some())
}

/// True if the end of this session, for this reason, is a restart of the peer and not its end.
pub(crate) fn retains(reason: &DownReason, session: &Negotiated) -> bool {
    let kept = kept_families(session);
    let by_notification = session.notification_restart;
    let cause = match reason {
        DownReason::ConnectionLost | DownReason::Closed => true,
        DownReason::NotificationSent(it) | DownReason::NotificationReceived(it) => {
            by_notification && !it.is_hard_reset() && it.code != SEND_HOLD
        }
        DownReason::SendHoldTimerExpired => false,
    };
    cause && (kept.v4 || kept.v6)
}
