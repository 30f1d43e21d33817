//! Turns: how many downloads fetch at the same time, and with how much memory.
//!
//! The downloads that have a turn divide the memory of all downloads evenly. The rest
//! wait, and get their turns in the order in which they asked. A download that finds
//! no provider needs no turn, and gives back the one that it has, so it does not hold
//! up the others.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all downloads. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    /// Fair: permits go out in the order of the calls.
    permits: Arc<Semaphore>,
    max: usize,
    memory: u64,
}

/// The turn of one download, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// So many turns, which have `memory` bytes together.
    pub(crate) fn new(max: NonZeroUsize, memory: u64) -> Self {
        let max = max.get().min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(max)), max, memory }
    }

    /// One turn with a little memory, for tests.
    #[cfg(test)]
    pub(crate) fn one() -> Self {
        Self::new(NonZeroUsize::MIN, 1 << 20)
    }

    /// A turn, if one is free and no download waits.
    pub(super) fn try_take(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Turn { turns: self.clone(), _permit: permit })
    }

    /// Waits for a turn.
    pub(super) async fn take(self) -> Turn {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Turn { turns: self, _permit: permit.expect("the semaphore is never closed") }
    }
}

impl Turn {
    /// Bytes of memory that the download may use now. It changes as other turns begin
    /// and end.
    pub(super) fn memory(&self) -> u64 {
        let turns = &self.turns;
        let taken = turns.max.saturating_sub(turns.permits.available_permits()).max(1);
        turns.memory / taken as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn turns_go_out_in_order() {
        let turns = Turns::new(NonZeroUsize::MIN, 0);
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

    #[test]
    fn turns_divide_the_memory() {
        let turns = Turns::new(NonZeroUsize::new(3).expect("not zero"), 12);
        let first = turns.try_take().expect("free");
        assert_eq!(first.memory(), 12);
        let second = turns.try_take().expect("free");
        assert_eq!((first.memory(), second.memory()), (6, 6));
        let third = turns.try_take().expect("free");
        let waiting = Box::pin(turns.clone().take());
        assert_eq!(third.memory(), 4);
        drop((first, waiting));
        assert_eq!((second.memory(), third.memory()), (6, 6));
    }
}
