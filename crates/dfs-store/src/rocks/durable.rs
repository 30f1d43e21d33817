//! Knowing what has reached the disk: chunks that bypassed the write-ahead log, which
//! a flush makes durable, and rows in the log, which a sync makes durable.
//!
//! One flush or sync covers what several threads have put, so commits that arrive
//! during a sync share the next one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::StoreError;

/// Counts puts, and how many of them a completed flush covers. For the write-ahead log,
/// a put is a batch and a flush is a sync.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Puts that have begun. Readers may observe a put before it returns, so a
    /// flush has to cover every put that has started.
    started: AtomicU64,
    /// Puts that have ended: a flush that starts now covers them.
    ended: AtomicU64,
    /// Puts covered by the last completed flush.
    flushed: AtomicU64,
    /// Held by the one flush that runs. Threads that have waited for it often
    /// find their puts covered. A thread whose puts are covered does not wait.
    flushing: Mutex<()>,
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
    pub(super) fn flush(
        &self,
        flush: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let wanted = self.started.load(Ordering::SeqCst);
        if self.flushed.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let _one_at_a_time = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.flushed.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let covered = self.ended.load(Ordering::SeqCst);
        flush()?;
        self.flushed.store(covered, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn flushes_exactly_when_a_put_is_unflushed() {
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
        let failed = watermark.flush(|| {
            let source = std::io::ErrorKind::Other.into();
            Err(StoreError::Directory { path: "/".into(), source })
        });
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

    #[test]
    fn a_flush_under_way_holds_up_only_flushes_that_need_it() {
        let watermark = Watermark::default();
        watermark.put(|| Ok(())).expect("put");
        watermark.flush(|| Ok(())).expect("flush");
        let held = watermark.flushing.lock().expect("the lock");
        // Would wait for ever for the lock.
        watermark.flush(|| unreachable!("every put is covered")).expect("nothing to do");
        drop(held);
    }
}
