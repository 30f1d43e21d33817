//! RocksDB as an [`Engine`]: families, rows, errors.

use std::path::{Path, PathBuf};

use dfs_core::ChunkHash;
use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, Direction, IteratorMode, PrefixRange, ReadOptions,
    WriteBatch, WriteOptions,
};

use super::durable::Watermark;
use super::options::{RocksOptions, Tune};
use crate::engine::{Engine, Visit, Writes};
use crate::error::{RocksError, StoreError};
use crate::layout::{CHUNK, Family};
use crate::store::EncodedRow;

/// An open database and its directory.
pub(crate) struct RocksEngine {
    db: DB,
    path: PathBuf,
    /// What of the write-ahead log is synced.
    log: Watermark,
}

impl RocksEngine {
    pub(crate) fn open(
        path: &Path,
        options: &RocksOptions,
        tune: Tune<'_>,
    ) -> Result<Self, StoreError> {
        let db = options.open(path, tune).map_err(|error| locked(path, error))?;
        Ok(Self { db, path: path.to_owned(), log: Watermark::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name).expect("every family is created when the store is opened")
    }

    /// A chunk, which is read once and not worth caching.
    pub(super) fn chunk(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        self.checked(self.db.get_pinned_cf_opt(self.family(CHUNK), key, &options))
    }

    /// Puts chunks that bypass the write-ahead log.
    pub(super) fn put_unlogged(&self, chunks: &[(ChunkHash, &[u8])]) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let family = self.family(CHUNK);
        for (hash, bytes) in chunks {
            self.checked(self.db.put_cf_opt(family, hash.as_bytes(), bytes, &options))?;
        }
        Ok(())
    }

    pub(super) fn flush_chunks(&self) -> Result<(), StoreError> {
        self.checked(self.db.flush_cf(self.family(CHUNK)))
    }

    /// A number that RocksDB keeps about family `chunk`.
    pub(super) fn chunk_property(&self, name: &str) -> Result<u64, StoreError> {
        let value = self.db.property_int_value_cf(self.family(CHUNK), name);
        Ok(self.checked(value)?.unwrap_or(0))
    }

    /// How often a flush or a compaction has failed since the store was opened.
    pub(super) fn background_errors(&self) -> Result<u64, StoreError> {
        let value = self.db.property_int_value("rocksdb.background-errors");
        Ok(self.checked(value)?.unwrap_or(0))
    }

    pub(super) fn checked<T>(&self, result: Result<T, rocksdb::Error>) -> Result<T, StoreError> {
        result.map_err(|error| RocksError::classify(self.path.clone(), error))
    }
}

impl Engine for RocksEngine {
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.checked(self.db.get_pinned_cf(self.family(family), key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn values(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let values = self.db.batched_multi_get_cf(self.family(family), keys.iter(), false);
        let values = values.into_iter().map(|value| {
            let value = self.checked(value)?;
            Ok(value.map(|value| value.to_vec()))
        });
        values.collect()
    }

    fn has(&self, family: Family, key: &[u8]) -> Result<bool, StoreError> {
        // Without a copy of the value.
        let there = || self.checked(self.db.get_pinned_cf(self.family(family), key));
        Ok(self.may_have(family, key) && there()?.is_some())
    }

    fn may_have(&self, family: Family, key: &[u8]) -> bool {
        self.db.key_may_exist_cf(self.family(family), key)
    }

    fn visit(
        &self,
        family: Family,
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mode =
            after.map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
        for row in self.db.iterator_cf(self.family(family), mode) {
            let (key, value) = self.checked(row)?;
            if after == Some(&*key) {
                continue;
            }
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn rows_with_prefix(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        let mut options = ReadOptions::default();
        // Deleted keys behind the prefix, of which a large removal leaves
        // millions, are not walked over.
        options.set_iterate_range(PrefixRange(prefix));
        let rows = self.db.iterator_cf_opt(self.family(family), options, IteratorMode::Start);
        let rows = rows.take(limit).map(|row| {
            let (key, value) = self.checked(row)?;
            Ok((key.into_vec(), value.into_vec()))
        });
        rows.collect()
    }

    fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for write in writes.changes() {
            let family = self.family(write.family);
            match &write.value {
                Some(value) => batch.put_cf(family, &write.key, value),
                None => batch.delete_cf(family, &write.key),
            }
        }
        self.log.put(|| self.checked(self.db.write(batch)))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.log.flush(|| self.checked(self.db.flush_wal(true)))
    }
}

/// Tells a lock held by another process from every other failure to open.
fn locked(path: &Path, error: rocksdb::Error) -> StoreError {
    let text = error.as_ref();
    if text.contains("lock hold by current process") {
        return StoreError::Locked { path: path.to_owned(), pid: Some(std::process::id()) };
    }
    if text.contains("While lock file") {
        return StoreError::Locked { path: path.to_owned(), pid: lock_holder(path) };
    }
    RocksError::classify(path.to_owned(), error)
}

/// The process that holds RocksDB's POSIX lock.
fn lock_holder(path: &Path) -> Option<u32> {
    let file = std::fs::File::open(path.join("LOCK")).ok()?;
    let lock = rustix::process::Flock::from(rustix::process::FlockType::WriteLock);
    let holder = rustix::process::fcntl_getlk(&file, &lock).ok()??;
    u32::try_from(holder.pid?.as_raw_nonzero().get()).ok()
}
