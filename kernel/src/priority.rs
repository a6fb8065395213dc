//! A thread that must not wait for others.
#![allow(unsafe_code, reason = "sched_setscheduler and setpriority are in no safe wrapper")]

use std::io;

use crate::Error;

/// What the thread got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `SCHED_FIFO` at its lowest priority: before every ordinary thread.
    RealTime,
    /// Niceness −20: the largest share, and a short wait for it.
    Nice,
}

const HIGHEST_NICENESS: libc::c_int = -20;

/// Puts the calling thread before ordinary ones, as far as the system lets it. Threads that it starts later do not
/// inherit it.
///
/// # Errors
/// [`Error::System`] when neither is allowed: the thread stays ordinary. Both want CAP_SYS_NICE.
pub fn raise() -> Result<Priority, Error> {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread; the parameters live until the call returns, and the kernel keeps no pointer.
    if unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } == 0 {
        return Ok(Priority::RealTime);
    }
    // SAFETY: numbers only; on Linux 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, HIGHEST_NICENESS) } == 0 {
        return Ok(Priority::Nice);
    }
    Err(Error::system("raise the priority of a thread")(io::Error::last_os_error()))
}
