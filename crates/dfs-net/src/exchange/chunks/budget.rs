//! Memory for the chunks that are being served to peers.
//!
//! A stream takes room before it has chunks read, and gives it back when they
//! have been written to the connection. Streams get room in the order in which
//! they asked, each for about [`BATCH`] bytes, so every peer gets the same share.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::limits::MAX_CHUNK_LEN;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::{BATCH, MAX_SERVED_BYTES, MIN_SERVED_RATE};
use crate::metrics::Metrics;
use crate::timing::{SERVING_WAIT, SLOW_READER_GRACE};

/// Bytes that one permit stands for.
const UNIT: u64 = 64 << 10;

/// The room of all streams. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

/// Room for one batch, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    permit: Option<OwnedSemaphorePermit>,
    budget: Budget,
}

impl Budget {
    pub(super) fn new(metrics: Metrics) -> Self {
        let permits = Arc::new(Semaphore::new((MAX_SERVED_BYTES / UNIT) as usize));
        Self { permits, metrics }
    }

    /// Room for a batch, the last chunk of which may be the longest. `None` if none
    /// becomes free in time.
    pub(super) async fn take(&self) -> Option<Room> {
        let units = units(BATCH + u64::from(MAX_CHUNK_LEN));
        let permit = timeout(SERVING_WAIT, Arc::clone(&self.permits).acquire_many_owned(units));
        let permit = permit.await.ok()?.ok()?;
        let room = Room { permit: Some(permit), budget: self.clone() };
        self.gauge();
        Some(room)
    }

    /// Whether a stream that asks for room may have to wait.
    pub(super) fn is_scarce(&self) -> bool {
        self.permits.available_permits() < units(BATCH + u64::from(MAX_CHUNK_LEN)) as usize
    }

    fn gauge(&self) {
        let free = self.permits.available_permits() as u64 * UNIT;
        self.metrics.chunks_being_served.set(MAX_SERVED_BYTES - free);
    }
}

impl Room {
    /// Keeps only as much as the bytes that have been read.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(units(bytes) as usize);
            drop(permit.split(surplus));
        }
        self.budget.gauge();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.permit = None;
        self.budget.gauge();
    }
}

/// Permits for so many bytes.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// How long the write of a batch may take while other streams wait for room.
pub(super) fn patience(bytes: u64) -> Duration {
    SLOW_READER_GRACE + Duration::from_secs(bytes / MIN_SERVED_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_and_comes_back() {
        let metrics = Metrics::default();
        let budget = Budget::new(metrics.clone());
        let mut rooms = Vec::new();
        while !budget.is_scarce() {
            rooms.push(budget.take().await.expect("room"));
        }
        assert!(rooms.len() >= 12, "{}", rooms.len());
        let start = tokio::time::Instant::now();
        assert!(budget.take().await.is_none());
        assert_eq!(start.elapsed(), SERVING_WAIT);
        assert!(metrics.chunks_being_served.get() <= MAX_SERVED_BYTES);

        // What has been read is usually much less than the worst case.
        rooms.iter_mut().for_each(|room| room.shrink_to(BATCH));
        assert_eq!(metrics.chunks_being_served.get(), rooms.len() as u64 * BATCH);
        assert!(budget.take().await.is_some());
        drop(rooms);
        assert_eq!(metrics.chunks_being_served.get(), 0);
    }
}
