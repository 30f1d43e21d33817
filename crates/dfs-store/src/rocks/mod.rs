//! The store on disk: RocksDB with the families of [`crate::layout`].
//!
//! [`durable`] knows what has reached the disk, [`reclaim`] owns the disk space of removed
//! chunks, [`options`] every setting of RocksDB, and [`engine`] rows and errors.
//! References and counters are in [`crate::retention`].

mod durable;
mod engine;
mod options;
mod reclaim;

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use dfs_core::{ChunkHash, TreeHash};

pub(crate) use engine::RocksEngine;
pub use options::RocksOptions;

use crate::batch::Batch;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::format;
use crate::layout::{Family, ITEM};
use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::portion::Portion;
use crate::retention::Retention;
use crate::space::Space;
use crate::store::{ChunkStore, EncodedRow, MetaStore, Reclaimed, Released};
use crate::tables::Have;
use durable::Watermark;
use options::Tune;
use reclaim::Reclaimer;

/// Chunk bytes in memory that are worth a flush when room is short.
const MUCH_UNWRITTEN: u64 = 4 << 20;

/// A store in a directory, opened by one process at a time.
pub struct RocksStore {
    engine: RocksEngine,
    watermark: Watermark,
    retention: Retention,
    reclaimer: Reclaimer,
    space: Space,
    metrics: Metrics,
}

impl RocksStore {
    /// Opens the store in `path`; creates it if the directory is absent or
    /// empty. A store of an older format is migrated first.
    ///
    /// Removes the chunks that an earlier process has put and not recorded: a few
    /// milliseconds for each GiB of them. Its pending deletes are not carried out here,
    /// so that a large one does not delay the start: call [`MetaStore::release_step`]
    /// until nothing is left.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a process has it open, [`StoreError::Newer`],
    /// [`StoreError::Unreleased`] and [`StoreError::Foreign`] if it is not a
    /// store that this release reads, and the errors of the file system and of
    /// RocksDB.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        Self::open_tuned(path, options, &|_| {})
    }

    /// Like [`Self::open`], with changed options of family `chunk`.
    fn open_tuned(path: &Path, options: &RocksOptions, tune: Tune<'_>) -> Result<Self, StoreError> {
        let found = format::claim(path)?;
        let engine = RocksEngine::open(path, options, tune)?;
        format::migrate(path, found, &engine)?;
        let metrics = Metrics::default();
        let retention = Retention::new(metrics.clone());
        retention.recover(&engine)?;
        Ok(Self {
            engine,
            watermark: Watermark::default(),
            retention,
            reclaimer: Reclaimer::default(),
            space: Space::new(path.to_owned()),
            metrics,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.engine.path()
    }

    /// The metrics, for the owner of the process to register.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Whether there is room for chunks of this length.
    fn check_space(&self, len: usize) -> Result<(), StoreError> {
        let unwritten = || self.engine.chunk_property("rocksdb.cur-size-all-mem-tables");
        let checked = match self.space.check(len, unwritten) {
            // Flush first: bytes in a write buffer that is just being flushed
            // would otherwise count twice.
            Err(StoreError::NoSpace { .. }) if unwritten()? > MUCH_UNWRITTEN => {
                self.engine.flush_chunks()?;
                self.space.check(len, unwritten)
            }
            checked => checked,
        };
        if matches!(checked, Err(StoreError::NoSpace { .. })) {
            self.metrics.space_refusals.inc();
        }
        checked
    }

    /// What must be true before a batch is written.
    fn prepare(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.has_portions() {
            self.flush()?;
        }
        let bytes = batch.chunk_bytes();
        if bytes > 0 { self.check_space(bytes) } else { Ok(()) }
    }
}

impl ChunkStore for RocksStore {
    fn haves(&self, hashes: &[ChunkHash]) -> Result<Vec<Have>, StoreError> {
        self.retention.haves(&self.engine, hashes)
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        let chunk = self.engine.chunk(hash.as_bytes())?;
        let chunk = match chunk {
            Some(bytes) => Some(Bytes::copy_from_slice(&bytes)),
            None => self.retention.linked_chunk(&self.engine, hash)?,
        };
        if let Some(bytes) = &chunk {
            self.metrics.chunks_read.inc();
            self.metrics.read.inc_by(bytes.len() as u64);
        }
        Ok(chunk)
    }

    fn put_chunks(&self, chunks: &[(ChunkHash, &[u8])]) -> Result<Portion, StoreError> {
        let bytes = chunks.iter().map(|(_, bytes)| bytes.len()).sum();
        self.check_space(bytes)?;
        let hashes = chunks.iter().map(|(hash, _)| *hash).collect();
        let portion = self.retention.begin_portion(&self.engine, hashes)?;
        self.watermark.put(|| self.engine.put_unlogged(chunks))?;
        self.metrics.chunks_put.inc_by(chunks.len() as u64);
        self.metrics.put.inc_by(bytes as u64);
        Ok(portion)
    }

    fn lease_chunks(&self, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError> {
        self.retention.lease(hashes);
        self.has_chunks(hashes)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.retention.end_leases(hashes);
    }

    fn discard_chunks(&self, leased: &[ChunkHash], portions: &[Portion]) -> Result<(), StoreError> {
        self.retention.discard(&self.engine, leased, portions)
    }

    fn chunk_count(&self) -> Result<u64, StoreError> {
        self.engine.chunk_property("rocksdb.estimate-num-keys")
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.watermark.flush(|| {
            let start = Instant::now();
            self.engine.flush_chunks()?;
            self.metrics.flush.observe(start.elapsed().as_secs_f64());
            Ok(())
        })
    }
}

impl MetaStore for RocksStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let start = Instant::now();
        self.prepare(batch)?;
        self.retention.commit(&self.engine, batch)?;
        self.metrics.commit.observe(start.elapsed().as_secs_f64());
        Ok(())
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.row(family, key)
    }

    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        self.engine.rows(family, after, limit)
    }

    fn row_count(&self, family: Family) -> Result<u64, StoreError> {
        let count = self.retention.count(&self.engine, family)?;
        if family == ITEM {
            self.metrics.items.set(count);
        }
        Ok(count)
    }

    fn release_pages(
        &self,
        owner: Owner,
        roots: &[TreeHash],
        batch: &Batch,
    ) -> Result<u64, StoreError> {
        self.prepare(batch)?;
        self.retention.release_pages(&self.engine, owner, roots, batch)
    }

    fn postpone_releases(&self) {
        self.retention.postpone_releases();
    }

    fn release_step(&self) -> Result<Released, StoreError> {
        self.retention.release_step(&self.engine)
    }

    fn reclaim_step(&self) -> Result<Reclaimed, StoreError> {
        let start = Instant::now();
        let step = self.reclaimer.step(&self.engine, &self.retention, &self.space)?;
        if let Some(reclaimed) = step {
            self.metrics.reclaim.observe(start.elapsed().as_secs_f64());
            self.metrics.reclaimed.inc_by(reclaimed.bytes);
        }
        Ok(step.unwrap_or_default())
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let failed = |source| StoreError::Directory { path: self.path().to_owned(), source };
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.path()).map_err(failed)? {
            // A file that has gone meanwhile takes no space.
            bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len());
        }
        self.metrics.disk.set(bytes);
        Ok(bytes)
    }
}
