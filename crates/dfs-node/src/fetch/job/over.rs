//! Whether a job is over, for work that cannot be called back.

use std::sync::{Mutex, PoisonError};

/// Set at the end of a job. Work on a blocking thread goes on after its future
/// is dropped, and what it commits late must not bring the job back.
#[derive(Debug, Default)]
pub(super) struct Over(Mutex<bool>);

impl Over {
    /// Runs a commit, unless the job is over.
    pub(super) fn unless<E>(&self, commit: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let over = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *over { Ok(()) } else { commit() }
    }

    /// Waits for a commit under way; from now on there is none.
    pub(super) fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
