//! The ordering rule: knowing whether chunks put without a write-ahead log
//! have reached the disk.
//!
//! "Already present" is not "durable". A chunk that another job put a moment
//! ago may still be in memory only, so a commit has to flush whenever anything
//! at all is unflushed, not only when its own job has put something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::StoreError;

/// Counts puts, and how many of them a completed flush covers.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Puts that have begun. What somebody else can see may be of any of them.
    started: AtomicU64,
    /// Puts that have ended, so that a flush that starts now covers them.
    ended: AtomicU64,
    /// Puts covered by the last completed flush; the lock lets one flush run
    /// at a time, and those who waited find their puts covered already.
    flushed: Mutex<u64>,
}

impl Watermark {
    /// Runs a put and counts it.
    pub(super) fn put(
        &self,
        put: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let result = put();
        self.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Runs a flush, unless every put that began before the call is durable.
    /// While one is under way nobody knows that, so the flush then always runs.
    pub(super) fn flush(
        &self,
        flush: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let wanted = self.started.load(Ordering::SeqCst);
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if *flushed >= wanted {
            return Ok(());
        }
        let covered = self.ended.load(Ordering::SeqCst);
        flush()?;
        *flushed = covered;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn flushes_exactly_when_something_is_unflushed() {
        let watermark = Watermark::default();
        let flushes = Cell::new(0);
        let flush = || {
            watermark.flush(|| {
                flushes.set(flushes.get() + 1);
                Ok(())
            })
        };
        flush().expect("nothing to do");
        assert_eq!(flushes.get(), 0);
        watermark.put(|| Ok(())).expect("put");
        flush().expect("flush");
        flush().expect("nothing to do");
        assert_eq!(flushes.get(), 1);
    }

    #[test]
    fn a_failed_flush_leaves_everything_unflushed() {
        let watermark = Watermark::default();
        watermark.put(|| Ok(())).expect("put");
        let failed =
            watermark.flush(|| Err(StoreError::Damaged { family: "chunk", detail: String::new() }));
        assert!(failed.is_err());
        let again = Cell::new(false);
        watermark
            .flush(|| {
                again.set(true);
                Ok(())
            })
            .expect("flush");
        assert!(again.get());
    }
}
