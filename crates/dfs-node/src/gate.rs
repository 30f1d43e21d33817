//! One lock for each CID, held while a decision about the content is made
//! and recorded.
//!
//! Removing content, starting its download and starting to provide it each
//! read rows and then commit others. Without the lock, a provide could commit
//! its row after the removal had read that there was none. Other content is
//! not held up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dfs_core::Cid;
use tokio::sync::OwnedMutexGuard;

/// Locks by CID. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    locks: Arc<Mutex<HashMap<Cid, Weak<tokio::sync::Mutex<()>>>>>,
}

impl Gate {
    /// Waits for the lock of this content. Dropping the guard releases it.
    pub(crate) async fn lock(&self, cid: Cid) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            if let Some(lock) = locks.get(&cid).and_then(Weak::upgrade) {
                lock
            } else {
                let lock = Arc::default();
                locks.insert(cid, Arc::downgrade(&lock));
                lock
            }
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_lock_excludes_its_own_cid_only_and_is_forgotten_after_use() {
        let gate = Gate::default();
        let (one, two) = (Cid::from_bytes([1; 32]), Cid::from_bytes([2; 32]));
        let guard = gate.lock(one).await;
        assert!(gate.lock(one).now_or_never().is_none(), "the same content waits");
        assert!(gate.lock(two).now_or_never().is_some(), "other content does not");
        drop(guard);
        assert!(gate.lock(one).now_or_never().is_some());
        drop(gate.lock(two).await);
        assert!(gate.locks.lock().expect("not poisoned").len() <= 1, "unused locks are dropped");
    }
}
