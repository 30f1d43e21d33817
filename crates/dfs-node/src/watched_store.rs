//! A store for tests: it counts commits, and holds a release of pages until the
//! test lets it go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use dfs_core::{ChunkHash, TreeHash};
use dfs_store::layout::Family;
use dfs_store::{
    Batch, ChunkStore, MemoryStore, MetaStore, Owner, Reclaimed, Released, Store, StoreError,
};

use crate::blocking::Disk;

/// The store.
#[derive(Default)]
pub(crate) struct WatchedStore {
    inner: MemoryStore,
    commits: AtomicU64,
    /// The next release of pages reports here, and then waits.
    hold: Mutex<Option<(mpsc::SyncSender<()>, mpsc::Receiver<()>)>>,
}

/// A release of pages that the test holds.
pub(crate) struct HeldRelease {
    reached: mpsc::Receiver<()>,
    go_on: mpsc::SyncSender<()>,
}

impl HeldRelease {
    /// Waits until the release has been reached.
    pub(crate) async fn reached(self) -> mpsc::SyncSender<()> {
        let Self { reached, go_on } = self;
        let reached = tokio::task::spawn_blocking(move || reached.recv());
        reached.await.expect("no panic").expect("a release of pages");
        go_on
    }
}

impl WatchedStore {
    /// The store, and a disk on top of it.
    pub(crate) fn new() -> (Arc<Self>, Disk) {
        let store = Arc::new(Self::default());
        (Arc::clone(&store), Disk::new(store as Arc<dyn Store>))
    }

    /// Commits so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Holds the next release of pages.
    pub(crate) fn hold_release(&self) -> HeldRelease {
        let (report, reached) = mpsc::sync_channel(1);
        let (go_on, wait) = mpsc::sync_channel(1);
        *self.hold.lock().expect("not poisoned") = Some((report, wait));
        HeldRelease { reached, go_on }
    }
}

impl ChunkStore for WatchedStore {
    fn has_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        self.inner.has_chunk(hash)
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        self.inner.chunk(hash)
    }

    fn put_chunk(&self, hash: &ChunkHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put_chunk(hash, bytes)
    }

    fn lease_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        self.inner.lease_chunk(hash)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.inner.release_chunks(hashes);
    }

    fn discard_chunks(&self, hashes: &[ChunkHash]) -> Result<(), StoreError> {
        self.inner.discard_chunks(hashes)
    }

    fn chunk_count(&self) -> Result<u64, StoreError> {
        self.inner.chunk_count()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }
}

impl MetaStore for WatchedStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch)
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.row(family, key)
    }

    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.inner.rows(family, after, limit)
    }

    fn row_count(&self, family: Family) -> Result<u64, StoreError> {
        self.inner.row_count(family)
    }

    fn release_pages(
        &self,
        owner: Owner,
        roots: &[TreeHash],
        batch: &Batch,
    ) -> Result<u64, StoreError> {
        let hold = self.hold.lock().expect("not poisoned").take();
        if let Some((report, wait)) = hold {
            report.send(()).expect("the test waits");
            wait.recv().expect("the test lets it go on");
        }
        self.inner.release_pages(owner, roots, batch)
    }

    fn release_step(&self) -> Result<Released, StoreError> {
        self.inner.release_step()
    }

    fn reclaim_step(&self) -> Result<Reclaimed, StoreError> {
        self.inner.reclaim_step()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.size_on_disk()
    }
}
