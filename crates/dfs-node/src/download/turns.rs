//! Turns: how many downloads fetch at the same time.
//!
//! Each download has buffers of its own, so this number bounds their memory
//! together. The rest wait, and get their turns in the order in which they asked.
//! A download that finds no provider needs no turn, and gives back the one that
//! it has, so it does not hold up the others.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all downloads. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    /// Fair: permits go out in the order of the calls.
    permits: Arc<Semaphore>,
}

/// The turn of one download, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(max: NonZeroUsize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max.get())) }
    }

    /// A turn, if one is free and no download waits.
    pub(super) fn try_take(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit })
    }

    /// Waits for a turn.
    pub(super) async fn take(self) -> Turn {
        let permit = self.permits.acquire_owned().await;
        Turn { _permit: permit.expect("the semaphore is never closed") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn turns_go_out_in_order() {
        let turns = Turns::new(NonZeroUsize::MIN);
        let first = turns.try_take().expect("free");
        let mut second = Box::pin(turns.clone().take());
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = Box::pin(turns.clone().take());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(turns.try_take().is_none(), "the second one is before");
        assert!(third.as_mut().now_or_never().is_none());
        drop(second.as_mut().now_or_never().expect("its turn"));
        assert!(third.as_mut().now_or_never().is_some());
    }
}
