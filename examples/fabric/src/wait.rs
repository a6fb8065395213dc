//! Waiting for something to become true.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(5);

/// Asks `probe` until it says yes, and returns how long that took. A probe that fails is asked again; its last error is
/// in the message when time runs out.
///
/// # Errors
/// When `deadline` has passed.
pub fn wait_until(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<Duration> {
    wait_for(what, deadline, || Ok(probe()?.then_some(()))).map(|((), took)| took)
}

/// As [`wait_until`], for a probe that finds something.
///
/// # Errors
/// When `deadline` has passed.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        let answer = probe();
        let took = start.elapsed();
        match answer {
            Ok(Some(found)) => return Ok((found, took)),
            Ok(None) if took > deadline => bail!("{what}: not within {deadline:?}"),
            Err(error) if took > deadline => return Err(error.context(format!("{what}: not within {deadline:?}"))),
            Ok(None) | Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_fails_is_asked_again() {
        let mut asked = 0;
        let (found, _) = wait_for("three", Duration::from_secs(5), || {
            asked += 1;
            if asked < 3 { bail!("not yet") } else { Ok(Some(asked)) }
        })
        .unwrap();
        assert_eq!(found, 3);
    }

    #[test]
    fn the_last_error_is_in_the_message_when_time_runs_out() {
        let error = wait_until("nothing", Duration::from_millis(10), || bail!("no such thing")).unwrap_err();
        assert_eq!(format!("{error:#}"), "nothing: not within 10ms: no such thing");
    }
}
