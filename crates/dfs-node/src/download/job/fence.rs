//! Keeps commits of a job that has ended out of the store.

use std::sync::{PoisonError, RwLock};

/// Closed at the end of a job. Work on a blocking thread goes on after its
/// future is dropped, and a late commit must not bring the record back.
#[derive(Debug, Default)]
pub(super) struct CommitFence(RwLock<bool>);

impl CommitFence {
    /// Runs a commit, unless the fence is closed; it then has no outcome. Commits do not
    /// wait for each other.
    pub(super) fn commit<T: Default, E>(
        &self,
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let closed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if *closed { Ok(T::default()) } else { commit() }
    }

    /// Waits for commits under way and lets no other through.
    pub(super) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
