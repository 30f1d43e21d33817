//! Where the readers of a content are that may have to be fetched for them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_transfer::WantId;
use tokio::sync::Notify;

/// The bytes that the readers of one job want. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Readers so far.
    count: u64,
    ranges: BTreeMap<WantId, Range<u64>>,
    /// The longest time without an answer that one of them allows.
    timeout: Duration,
    is_closed: bool,
}

/// A reader of a job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    id: WantId,
    readers: Readers,
}

impl Readers {
    /// Adds a reader that wants these bytes; `None` if the job ends.
    pub(super) fn join(&self, range: Range<u64>, timeout: Duration) -> Option<Reading> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        // Number 0 is the want of everything.
        state.count += 1;
        let id = WantId::new(state.count);
        state.ranges.insert(id, range);
        state.timeout = state.timeout.max(timeout);
        self.0.changed.notify_one();
        Some(Reading { id, readers: self.clone() })
    }

    /// What each reader wants now.
    pub(super) fn ranges(&self) -> BTreeMap<WantId, Range<u64>> {
        self.state().ranges.clone()
    }

    /// The longest time without an answer that a reader allows.
    pub(super) fn timeout(&self) -> Duration {
        self.state().timeout
    }

    /// Lets no further reader in.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
    }

    /// Waits until a reader wants something else than when this was last called.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Lets no further reader in, if there is none. Returns whether that is so.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.state();
        state.is_closed |= state.ranges.is_empty();
        state.is_closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// From now on the reader wants these bytes and no others.
    pub(crate) fn want(&self, range: Range<u64>) {
        self.readers.state().ranges.insert(self.id, range);
        self.readers.0.changed.notify_one();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readers.state().ranges.remove(&self.id);
        self.readers.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_job_closes_to_readers_when_the_last_one_has_gone() {
        let readers = Readers::default();
        let (first, second) = (readers.join(0..10, SECOND), readers.join(5..15, 3 * SECOND));
        readers.changed().await;
        assert_eq!(readers.timeout(), 3 * SECOND);
        let first = first.expect("it is open");
        first.want(10..20);
        readers.changed().await;
        assert!(readers.ranges().values().eq([&(10..20), &(5..15)]));
        drop(second);
        readers.changed().await;
        assert!(!readers.close_if_empty());
        drop(first);
        drop(readers.join(0..1, SECOND).expect("it is open still"));
        assert!(readers.close_if_empty());
        assert!(readers.join(0..1, SECOND).is_none());
    }

    #[test]
    fn a_job_that_ends_lets_no_reader_in_beside_those_it_has() {
        let readers = Readers::default();
        let _reading = readers.join(0..10, SECOND).expect("it is open");
        readers.close();
        assert!(readers.join(0..1, SECOND).is_none());
    }
}
