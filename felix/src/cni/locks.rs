//! One ADD or DEL at a time per host interface.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::CniFailure;

/// How long the ADD or DEL before is waited for.
const FREE_WITHIN: Duration = Duration::from_secs(30);

/// Locks by name; a name that nobody holds takes no memory.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    by_name: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Locks {
    /// Waits for the name to be free and holds it until the guard is dropped.
    ///
    /// # Errors
    /// When it does not become free soon.
    pub(super) async fn hold(&self, name: &str) -> Result<OwnedMutexGuard<()>, CniFailure> {
        let lock = {
            let mut locks = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(name.to_owned()).or_default().clone()
        };
        let busy = |_| CniFailure::Busy { interface: name.to_owned(), within: FREE_WITHIN };
        timeout(FREE_WITHIN, lock.lock_owned()).await.map_err(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_stays_held_is_not_waited_for_for_ever() {
        let locks = Locks::default();
        let held = locks.hold("cali1").await.unwrap();
        assert!(locks.hold("cali2").await.is_ok());
        assert!(matches!(locks.hold("cali1").await, Err(CniFailure::Busy { .. })));
        drop(held);
        assert!(locks.hold("cali1").await.is_ok());
    }
}
