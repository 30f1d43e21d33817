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

use crate::limits::{BATCH, MIN_SERVED_RATE};
use crate::metrics::Metrics;
use crate::timing::{SERVING_WAIT, SLOW_READER_GRACE};

/// Bytes that one permit stands for.
const UNIT: u32 = 64 << 10;
/// Permits for a batch, the last chunk of which may be the longest.
const BATCH_UNITS: u32 = (BATCH + MAX_CHUNK_LEN).div_ceil(UNIT);

/// The room of all streams. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    units: u32,
    metrics: Metrics,
}

/// Room for one batch, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    permit: Option<OwnedSemaphorePermit>,
    budget: Budget,
}

impl Budget {
    /// Room for so many bytes, and at least for one batch.
    pub(super) fn new(max_bytes: u64, metrics: Metrics) -> Self {
        let units = units(max_bytes).max(BATCH_UNITS);
        Self { permits: Arc::new(Semaphore::new(units as usize)), units, metrics }
    }

    /// Room for a batch, the last chunk of which may be the longest. `None` if none
    /// becomes free in time.
    pub(super) async fn take(&self) -> Option<Room> {
        let permit = Arc::clone(&self.permits).acquire_many_owned(BATCH_UNITS);
        let permit = timeout(SERVING_WAIT, permit);
        let permit = permit.await.ok()?.ok()?;
        let room = Room { permit: Some(permit), budget: self.clone() };
        self.gauge();
        Some(room)
    }

    /// Like [`Self::take`], if no stream has to wait for it.
    pub(super) fn try_take(&self) -> Option<Room> {
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(BATCH_UNITS).ok()?;
        let room = Room { permit: Some(permit), budget: self.clone() };
        self.gauge();
        Some(room)
    }

    /// Whether a stream that asks for room may have to wait.
    pub(super) fn is_scarce(&self) -> bool {
        self.permits.available_permits() < BATCH_UNITS as usize
    }

    fn gauge(&self) {
        let free = self.permits.available_permits() as u64;
        self.metrics.chunks_being_served.set((u64::from(self.units) - free) * u64::from(UNIT));
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
    u32::try_from(bytes.div_ceil(u64::from(UNIT))).unwrap_or(u32::MAX)
}

/// How long the write of a batch may take while other streams wait for room.
pub(super) fn patience(bytes: u64) -> Duration {
    SLOW_READER_GRACE + Duration::from_secs(bytes / MIN_SERVED_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_SERVED_BYTES;

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_and_comes_back() {
        let metrics = Metrics::default();
        let budget = Budget::new(MAX_SERVED_BYTES, metrics.clone());
        let mut rooms = Vec::new();
        while !budget.is_scarce() {
            rooms.push(budget.take().await.expect("room"));
        }
        assert!(rooms.len() >= 6, "{}", rooms.len());
        let start = tokio::time::Instant::now();
        assert!(budget.take().await.is_none());
        assert_eq!(start.elapsed(), SERVING_WAIT);
        assert!(metrics.chunks_being_served.get() <= MAX_SERVED_BYTES);

        // What has been read is usually much less than the worst case.
        let batch = u64::from(BATCH);
        rooms.iter_mut().for_each(|room| room.shrink_to(batch));
        assert_eq!(metrics.chunks_being_served.get(), rooms.len() as u64 * batch);
        assert!(budget.take().await.is_some());
        drop(rooms);
        assert_eq!(metrics.chunks_being_served.get(), 0);
    }
}
