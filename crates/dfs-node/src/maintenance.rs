//! Background upkeep of the store: completing interrupted removals, giving
//! space back, and removing old records of downloads.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use dfs_core::Cid;
use dfs_store::tables::{DownloadRecord, DownloadState, Downloads, Manifests};
use dfs_store::{Batch, Store, StoreError, Tables};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::blocking::{Disk, blocking, for_each};
use crate::clock::now_ms;
use crate::download::pages;
use crate::error::NodeError;
use crate::gate::Gate;
use crate::timing::{
    DOWNLOAD_RECORD_AGE, PENDING_DELETES_INTERVAL, PRUNE_DELAY, PRUNE_INTERVAL, RECLAIM_INTERVAL,
};
use crate::workers::{Worker, after, sleep_until};

/// Records of finished downloads that are kept at any age.
const MIN_KEPT: usize = 100;

/// Upkeep of the store that is done in bounded steps: at the start, when the
/// worker is woken, and once an interval.
pub(crate) trait Upkeep: Send + 'static {
    /// Name of the worker.
    const NAME: &'static str;
    /// Longest time between two steps.
    const INTERVAL: Duration;

    /// Does one step. Returns whether another one is worth its work.
    fn step(store: &dyn Store) -> Result<bool, StoreError>;
}

/// Releases the pages that an interrupted removal or addition has left, some
/// pages a step. Woken when a removal or an addition has failed.
pub(crate) enum PendingDeletes {}

impl Upkeep for PendingDeletes {
    const NAME: &'static str = "pending deletes";
    const INTERVAL: Duration = PENDING_DELETES_INTERVAL;

    fn step(store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.release_step()?.more)
    }
}

/// Gives the space of removed chunks back to the file system. Woken after each
/// removal.
pub(crate) enum Reclaim {}

impl Upkeep for Reclaim {
    const NAME: &'static str = "reclaim";
    const INTERVAL: Duration = RECLAIM_INTERVAL;

    fn step(store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.reclaim_step()?.more)
    }
}

/// The worker of one kind of upkeep.
pub(crate) struct UpkeepWorker<U> {
    disk: Disk,
    wake: Arc<Notify>,
    next: Option<Instant>,
    upkeep: PhantomData<U>,
}

impl<U: Upkeep> UpkeepWorker<U> {
    pub(crate) fn new(disk: Disk, wake: Arc<Notify>) -> Self {
        Self { disk, wake, next: after(Duration::ZERO), upkeep: PhantomData }
    }
}

impl<U: Upkeep> Worker for UpkeepWorker<U> {
    const NAME: &'static str = U::NAME;
    type Work = ();

    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.wake.notified() => {}
            () = sleep_until(self.next) => {}
        }
        Some(())
    }

    async fn step(&mut self, (): ()) -> Result<(), NodeError> {
        self.next = after(U::INTERVAL);
        if self.disk.run(U::step).await? {
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
    gate: Gate,
    next: Option<Instant>,
}

impl PruneDownloads {
    pub(crate) fn new(disk: Disk, gate: Gate) -> Self {
        Self { disk, gate, next: after(PRUNE_DELAY) }
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
        let removed = prune(&self.disk, &self.gate, now_ms(), MIN_KEPT).await?;
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
async fn prune(disk: &Disk, gate: &Gate, now_ms: u64, min_kept: usize) -> Result<usize, NodeError> {
    let reader = disk.clone();
    let mut removed = 0;
    for cid in blocking(move || old_records(&reader, now_ms, min_kept)).await? {
        // A download of the content may have started since its record was read.
        let _undisturbed = gate.lock(cid).await;
        let removal = disk.run(move |store| {
            let record = store.get::<Downloads>(&cid)?;
            let is_old = record.map(|record| is_prunable(store, cid, &record)).transpose()?;
            let is_old = is_old.unwrap_or(false);
            if is_old {
                store.commit(Batch::default().delete::<Downloads>(&cid))?;
            }
            Ok(is_old)
        });
        removed += usize::from(removal.await?);
    }
    Ok(removed)
}

/// The contents whose records are old, and not among the latest.
fn old_records(disk: &Disk, now_ms: u64, min_kept: usize) -> Result<Vec<Cid>, NodeError> {
    let age_ms = u64::try_from(DOWNLOAD_RECORD_AGE.as_millis()).unwrap_or(u64::MAX);
    let store = disk.store();
    let mut ended = Vec::new();
    let rows = |after: Option<&Cid>, limit| store.scan_each::<Downloads>(after, limit);
    for_each(rows, |cid, record| {
        // Damaged records are reported when the node starts.
        if let Ok(record) = record
            && is_prunable(&**store, cid, &record)?
        {
            ended.push((record.started_ms, cid));
        }
        Ok(())
    })?;
    ended.sort_unstable_by(|a, b| b.cmp(a));
    let old = ended.into_iter().skip(min_kept);
    let old = old.filter(|(started_ms, _)| started_ms.saturating_add(age_ms) < now_ms);
    Ok(old.map(|(_, cid)| cid).collect())
}

/// Whether the record owns nothing: the content is held, or the download ended
/// before it had stored a page.
fn is_prunable(store: &dyn Store, cid: Cid, record: &DownloadRecord) -> Result<bool, StoreError> {
    match record.state {
        DownloadState::Active => Ok(false),
        DownloadState::Done => Ok(true),
        DownloadState::Failed { .. } | DownloadState::Cancelled => {
            Ok(store.contains::<Manifests>(&cid)? || !pages::any(store, cid)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::Subtree;
    use dfs_store::MemoryStore;
    use dfs_transfer::KnownPage;

    fn record(started_ms: u64, state: DownloadState) -> DownloadRecord {
        DownloadRecord {
            started_ms,
            state,
            destinations: Vec::new(),
            header: None,
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: 1,
            file: None,
            leftovers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn old_records_go_unless_they_own_data_or_are_the_latest() {
        let disk = Disk::new(Arc::new(MemoryStore::default()));
        let now = 100 * 86_400_000;
        let rows = [
            (1, record(now, DownloadState::Done)),
            (2, record(0, DownloadState::Active)),
            (3, record(3, DownloadState::Done)),
            (4, record(2, DownloadState::Cancelled)),
            (5, record(1, DownloadState::Cancelled)),
        ];
        let cid = |n| Cid::from_bytes([n; 32]);
        let mut batch = Batch::default();
        for (n, row) in &rows {
            batch.put::<Downloads>(&cid(*n), row);
        }
        let (start, root) = (0, Subtree { len: 1, leaves: 1, ..Subtree::empty() });
        let page = KnownPage { index: 0, start, root, is_complete: false };
        pages::put(&mut batch, cid(5), &page);
        disk.store().commit(&batch).expect("commit");
        let left = || -> Vec<Cid> {
            let left = disk.store().scan::<Downloads>(None, 9).expect("downloads");
            left.into_iter().map(|(cid, _)| cid).collect()
        };
        let gate = Gate::default();
        assert_eq!(prune(&disk, &gate, now, 2).await.expect("prune"), 1, "the latest two stay");
        assert_eq!(left(), [1, 2, 3, 5].map(cid));

        // A download starts while its record is about to go.
        let held = gate.lock(cid(3)).await;
        let (pruning, waiting) = (prune(&disk, &gate, now, 0), async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let mut batch = Batch::default();
            batch.put::<Downloads>(&cid(3), &record(now, DownloadState::Active));
            disk.store().commit(&batch).expect("commit");
            drop(held);
        });
        let (removed, ()) = tokio::join!(pruning, waiting);
        assert_eq!(removed.expect("prune"), 0);
        assert_eq!(left(), [1, 2, 3, 5].map(cid));
    }
}
