//! The helper's side (RFC 4724 §4.2, RFC 8538 §4).

use std::time::Duration;

use crate::config::GracefulRestartConfig;
use crate::instant::Instant;
use crate::output::DownReason;
use crate::prefix::PerFamily;
use crate::session::Negotiated;
use crate::wire::GracefulRestart;

/// Code of SendHoldTimerExpired (RFC 9687).
const SEND_HOLD: u8 = 8;

/// What is kept of a peer whose session was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Retention {
    /// Families with stale routes.
    pub(crate) families: PerFamily<bool>,
    /// The peer must be back by then.
    pub(crate) restart_until: Option<Instant>,
    /// The peer is back and must have sent End-of-RIB by then.
    pub(crate) stale_until: Option<Instant>,
}

impl Retention {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.restart_until, self.stale_until].into_iter().flatten().min()
    }

    /// True while routes are kept.
    pub(crate) const fn is_active(&self) -> bool {
        self.families.v4 || self.families.v6
    }

    /// The session was lost: these families are kept, for the time that the peer asked for.
    pub(crate) fn begin(&mut self, now: Instant, session: &Negotiated) -> Duration {
        let restart = session.graceful_restart.as_ref();
        let time = Duration::from_secs(restart.map_or(0, |it| it.time).into());
        *self = Self { families: kept_families(session), restart_until: Some(now + time), stale_until: None };
        time
    }

    /// The peer is back. Returns the families whose stale routes go at once: not listed any more, or not forwarded in the
    /// meantime.
    pub(crate) fn resume(
        &mut self,
        now: Instant,
        capability: Option<&GracefulRestart>,
        config: &GracefulRestartConfig,
    ) -> PerFamily<bool> {
        let forwarding = |family| capability.is_some_and(|it| it.families.contains(&(family, true)));
        let mut dropped = PerFamily::default();
        for family in self.families.families() {
            if !forwarding(family) {
                dropped[family] = true;
                self.families[family] = false;
            }
        }
        self.restart_until = None;
        self.stale_until = self.is_active().then(|| now + config.stale_time);
        dropped
    }
}

/// Families that the peer's last capability lists and that the session used.
pub(crate) fn kept_families(session: &Negotiated) -> PerFamily<bool> {
    let mut kept = PerFamily::default();
    for (family, _) in session.graceful_restart.iter().flat_map(|it| &it.families) {
        kept[*family] = session.families[*family];
    }
    kept
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
