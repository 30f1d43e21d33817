//! A store for tests: it counts commits and reads of chunks, holds a release of pages until the
//! test lets it go on, and fails or panics on request.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use dfs_core::{ChunkHash, TreeHash};
use dfs_store::layout::Family;
use dfs_store::{
    Batch, ChunkStore, Damage, Have, MemoryStore, MetaStore, Owner, Portion, Reclaimed, Record,
    Released, Store, StoreError, Table,
};

use crate::blocking::Disk;

/// The store.
#[derive(Default)]
pub(crate) struct WatchedStore {
    inner: MemoryStore,
    commits: AtomicU64,
    chunk_reads: AtomicU64,
    /// The next release of pages reports here, and then waits.
    hold: Mutex<Option<(mpsc::SyncSender<()>, mpsc::Receiver<()>)>>,
    /// The next read of a row of this family panics.
    panic_at: Mutex<Option<Family>>,
    /// Every list of rows fails.
    lists_fail: AtomicBool,
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

    /// Chunks read so far.
    pub(crate) fn chunk_reads(&self) -> u64 {
        self.chunk_reads.load(Ordering::SeqCst)
    }

    /// Makes the next read of a row of a family panic.
    pub(crate) fn panic_at_row_of(&self, family: Family) {
        *self.panic_at.lock().expect("not poisoned") = Some(family);
    }

    /// Makes lists of rows fail, or succeed again.
    pub(crate) fn fail_lists(&self, fail: bool) {
        self.lists_fail.store(fail, Ordering::SeqCst);
    }

    /// Replaces a row with bytes that are no record.
    pub(crate) fn damage<T: Table>(&self, key: &T::Key) {
        self.inner.commit(Batch::default().put::<Garbage<T>>(key, &())).expect("commit");
    }

    /// Holds the next release of pages.
    pub(crate) fn hold_release(&self) -> HeldRelease {
        let (report, reached) = mpsc::sync_channel(1);
        let (go_on, wait) = mpsc::sync_channel(1);
        *self.hold.lock().expect("not poisoned") = Some((report, wait));
        HeldRelease { reached, go_on }
    }
}

/// A table whose rows are no records of `T`.
struct Garbage<T>(PhantomData<T>);

impl<T: Table> Table for Garbage<T> {
    const FAMILY: Family = T::FAMILY;
    type Key = T::Key;
    type Row = ();

    fn encode((): &()) -> Vec<u8> {
        vec![0xff]
    }

    fn decode(_: &T::Key, _: &[u8]) -> Result<(), Damage> {
        Ok(())
    }
}

impl<T: Table> Record for Garbage<T> {}

impl ChunkStore for WatchedStore {
    fn haves(&self, hashes: &[ChunkHash]) -> Result<Vec<Have>, StoreError> {
        self.inner.haves(hashes)
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        self.chunk_reads.fetch_add(1, Ordering::SeqCst);
        self.inner.chunk(hash)
    }

    fn put_chunks(&self, chunks: &[(ChunkHash, &[u8])]) -> Result<Portion, StoreError> {
        self.inner.put_chunks(chunks)
    }

    fn lease_chunks(&self, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError> {
        self.inner.lease_chunks(hashes)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.inner.release_chunks(hashes);
    }

    fn discard_chunks(&self, leased: &[ChunkHash], portions: &[Portion]) -> Result<(), StoreError> {
        self.inner.discard_chunks(leased, portions)
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
        let panics = self.panic_at.lock().expect("not poisoned").take_if(|at| *at == family);
        assert!(panics.is_none(), "as the test has asked");
        self.inner.row(family, key)
    }

    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        if self.lists_fail.load(Ordering::SeqCst) {
            let source = std::io::ErrorKind::Other.into();
            return Err(StoreError::Directory { path: "/".into(), source });
        }
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

    fn postpone_releases(&self) {
        self.inner.postpone_releases();
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
