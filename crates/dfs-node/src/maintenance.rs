//! Background upkeep of the store: completing interrupted removals, giving
//! space back, and removing old records of downloads.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::Cid;
use dfs_store::tables::{DownloadRecord, DownloadState, Downloads};
use dfs_store::{Batch, Tables};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::blocking::{Disk, blocking, for_each};
use crate::clock::now_ms;
use crate::error::NodeError;
use crate::timing::{
    DOWNLOAD_RECORD_AGE, PENDING_DELETES_INTERVAL, PRUNE_INTERVAL, RECLAIM_INTERVAL,
};
use crate::workers::{Worker, after, sleep_until};

/// Records of finished downloads that are kept whatever their age.
const MIN_KEPT: usize = 100;

/// Releases the pages that an interrupted removal or addition has left: some
/// pages a step, at the start, after a failed removal and once an hour.
pub(crate) struct PendingDeletes {
    disk: Disk,
    wake: Arc<Notify>,
    next: Option<Instant>,
}

impl PendingDeletes {
    pub(crate) fn new(disk: Disk, wake: Arc<Notify>) -> Self {
        Self { disk, wake, next: after(Duration::ZERO) }
    }
}

impl Worker for PendingDeletes {
    const NAME: &'static str = "pending deletes";
    type Work = ();

    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.wake.notified() => {}
            () = sleep_until(self.next) => {}
        }
        Some(())
    }

    async fn step(&mut self, (): ()) -> Result<(), NodeError> {
        self.next = after(PENDING_DELETES_INTERVAL);
        if self.disk.run(|store| store.release_step()).await?.more {
            self.next = after(Duration::ZERO);
        }
        Ok(())
    }

    fn next_run(&self) -> Option<Instant> {
        self.next
    }
}

/// Gives the space of removed chunks back to the file system: one bounded step
/// at a time, at the start, after each removal and once an hour.
pub(crate) struct Reclaim {
    disk: Disk,
    wake: Arc<Notify>,
    next: Option<Instant>,
}

impl Reclaim {
    pub(crate) fn new(disk: Disk, wake: Arc<Notify>) -> Self {
        Self { disk, wake, next: after(Duration::ZERO) }
    }
}

impl Worker for Reclaim {
    const NAME: &'static str = "reclaim";
    type Work = ();

    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.wake.notified() => {}
            () = sleep_until(self.next) => {}
        }
        Some(())
    }

    async fn step(&mut self, (): ()) -> Result<(), NodeError> {
        self.next = after(RECLAIM_INTERVAL);
        if self.disk.run(|store| store.reclaim_step()).await?.more {
            self.next = after(Duration::ZERO);
        }
        Ok(())
    }

    fn next_run(&self) -> Option<Instant> {
        self.next
    }
}

/// Removes the records of downloads that were finished long ago. Records that
/// own partial data stay until the user removes the content.
pub(crate) struct PruneDownloads {
    disk: Disk,
    next: Option<Instant>,
}

impl PruneDownloads {
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk, next: after(Duration::from_secs(60)) }
    }
}

impl Worker for PruneDownloads {
    const NAME: &'static str = "download records";
    type Work = ();

    async fn wait(&mut self) -> Option<()> {
        sleep_until(self.next).await;
        Some(())
    }

    async fn step(&mut self, (): ()) -> Result<(), NodeError> {
        self.next = after(PRUNE_INTERVAL);
        let disk = self.disk.clone();
        let removed = blocking(move || prune(&disk, now_ms(), MIN_KEPT)).await?;
        if removed > 0 {
            tracing::info!(removed, "old download records removed");
        }
        Ok(())
    }

    fn next_run(&self) -> Option<Instant> {
        self.next
    }
}

/// Removes old records and returns how many.
fn prune(disk: &Disk, now_ms: u64, min_kept: usize) -> Result<usize, NodeError> {
    let age_ms = u64::try_from(DOWNLOAD_RECORD_AGE.as_millis()).unwrap_or(u64::MAX);
    let store = disk.store();
    let mut ended = Vec::new();
    let rows = |after: Option<&Cid>, limit| store.scan::<Downloads>(after, limit);
    for_each(rows, |cid, record: DownloadRecord| {
        if is_prunable(&record) {
            ended.push((record.started_ms, cid));
        }
        Ok(())
    })?;
    ended.sort_unstable_by(|a, b| b.cmp(a));
    let old = ended.into_iter().skip(min_kept);
    let old: Vec<Cid> = old
        .filter(|(started_ms, _)| started_ms.saturating_add(age_ms) < now_ms)
        .map(|(_, cid)| cid)
        .collect();
    for part in old.chunks(256) {
        let mut batch = Batch::default();
        for cid in part {
            batch.delete::<Downloads>(cid);
        }
        store.commit(&batch)?;
    }
    Ok(old.len())
}

/// Whether the record owns nothing: the content is held, or the download ended
/// before it had stored a page.
fn is_prunable(record: &DownloadRecord) -> bool {
    match record.state {
        DownloadState::Active => false,
        DownloadState::Done => true,
        DownloadState::Failed { .. } | DownloadState::Cancelled => record.page_roots.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::Subtree;
    use dfs_store::MemoryStore;

    fn record(started_ms: u64, state: DownloadState) -> DownloadRecord {
        DownloadRecord {
            started_ms,
            state,
            destinations: Vec::new(),
            header: None,
            page_roots: Vec::new(),
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: 1,
        }
    }

    #[test]
    fn old_records_go_unless_they_own_data_or_are_the_latest() {
        let disk = Disk::new(Arc::new(MemoryStore::default()));
        let now = 100 * 86_400_000;
        let rows = [
            (1, record(now, DownloadState::Done)),
            (2, record(0, DownloadState::Active)),
            (3, record(3, DownloadState::Done)),
            (4, record(2, DownloadState::Cancelled)),
            (
                5,
                DownloadRecord {
                    page_roots: vec![(0, Subtree::empty())],
                    ..record(1, DownloadState::Cancelled)
                },
            ),
        ];
        let cid = |n| Cid::from_bytes([n; 32]);
        let mut batch = Batch::default();
        for (n, row) in &rows {
            batch.put::<Downloads>(&cid(*n), row);
        }
        disk.store().commit(&batch).expect("commit");
        let left = || -> Vec<Cid> {
            let left = disk.store().scan::<Downloads>(None, 9).expect("downloads");
            left.into_iter().map(|(cid, _)| cid).collect()
        };
        assert_eq!(prune(&disk, now, 2).expect("prune"), 1, "the latest two stay");
        assert_eq!(left(), [1, 2, 3, 5].map(cid));
        assert_eq!(prune(&disk, now, 0).expect("prune"), 1);
        assert_eq!(left(), [1, 2, 5].map(cid));
    }
}
