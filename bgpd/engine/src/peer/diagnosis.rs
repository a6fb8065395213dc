//! The word for why a session is not there.

use crate::output::{ConnectError, DownReason};
use crate::reason::Diagnosis;

/// Diagnosis of a failed dial; `md5`: its SYN was signed.
pub(crate) const fn of_connect_error(error: ConnectError, md5: bool) -> Diagnosis {
    match error {
        ConnectError::TimedOut if md5 => Diagnosis::Md5Timeout,
        ConnectError::NoRoute => Diagnosis::NoRoute,
        ConnectError::NoNeighbour => Diagnosis::NoNeighbour,
        ConnectError::Refused => Diagnosis::TcpRefused,
        ConnectError::TimedOut => Diagnosis::TcpTimeout,
        ConnectError::Reset => Diagnosis::TcpReset,
        ConnectError::Local => Diagnosis::LocalAddress,
    }
}

/// Diagnosis of a connection that ended.
pub(crate) fn of_down_reason(reason: &DownReason) -> Diagnosis {
    match reason {
        DownReason::ConnectionLost | DownReason::Closed => Diagnosis::TcpReset,
        DownReason::SendHoldTimerExpired => Diagnosis::SendHoldTimerExpired,
        DownReason::NotificationReceived(notification) => Diagnosis::PeerSentNotification(notification.clone()),
        DownReason::NotificationSent(notification) => {
            let cause = notification.inner().unwrap_or_else(|| notification.clone());
            match (cause.code, cause.subcode) {
                (2, 3) => Diagnosis::BadBgpId,
                (2, 6) => Diagnosis::UnacceptableHoldTime,
                (2, 7) => Diagnosis::NoCommonFamily,
                (4, _) => Diagnosis::HoldTimerExpired,
                (6, 1) => Diagnosis::PrefixLimit,
                (6, 2) => Diagnosis::AdminDown,
                (6, 7) => Diagnosis::Collision,
                (6, 10) => Diagnosis::BfdDown,
                _ => Diagnosis::NotificationSent(notification.clone()),
            }
        }
    }
}
