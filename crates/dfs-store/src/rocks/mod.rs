//! The store on disk: RocksDB with one column family per kind of row.
//!
//! | family | key | value | options |
//! | --- | --- | --- | --- |
//! | `chunk` | chunk hash | the bytes | blob files, no compression |
//! | `page` | hash of the page root, 32 bytes | leaves | LZ4 |
//! | `meta` | CID | item record | LZ4 |
//! | `provide` | CID | provide record | LZ4 |
//! | `download` | CID | download record | LZ4 |
//! | `ref` | see [`refs`] | | LZ4 |
//!
//! [`durable`] owns the ordering rule, [`refs`] who needs which chunk, [`space`]
//! how full the disk may be, and [`options`] every setting of RocksDB.

mod durable;
mod options;
mod refs;
mod space;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Page, TreeHash};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

pub use options::RocksOptions;

use crate::batch::{Batch, Owner, Row};
use crate::error::StoreError;
use crate::format;
use crate::lease::Leases;
use crate::record::{DownloadRecord, Item, ProvideRecord, Record, damaged};
use crate::store::{ChunkStore, MetaStore};
use durable::Watermark;
use space::Space;

const CHUNK: &str = "chunk";
const PAGE: &str = "page";
const REF: &str = "ref";
const META: &str = Item::FAMILY;
const PROVIDE: &str = ProvideRecord::FAMILY;
const DOWNLOAD: &str = DownloadRecord::FAMILY;

/// Chunk bytes in memory that are worth a flush when room is short.
const MUCH_UNWRITTEN: u64 = 4 << 20;

/// A store in a directory, opened by one process at a time.
pub struct RocksStore {
    db: DB,
    path: PathBuf,
    watermark: Watermark,
    leases: Leases,
    space: Space,
    /// Held while blob files are rewritten.
    reclaiming: Mutex<()>,
}

impl RocksStore {
    /// Opens the store in `path`; creates it if the directory is absent or
    /// empty.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a process has it open, [`StoreError::Newer`],
    /// [`StoreError::Unreleased`] and [`StoreError::Foreign`] if it is not a
    /// store that this release reads, and whatever the file system or RocksDB answers.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        format::claim(path)?;
        let db = options.open(path).map_err(|error| locked(path, error))?;
        let (watermark, leases) = (Watermark::default(), Leases::default());
        let space = Space::new(path.to_owned());
        let reclaiming = Mutex::default();
        let store = Self { db, path: path.to_owned(), watermark, leases, space, reclaiming };
        store.let_go_of_leftovers()?;
        Ok(store)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every family is created when the store is opened")
    }

    fn record<T: Record>(&self, cid: &Cid) -> Result<Option<T>, StoreError> {
        let row = self.db.get_pinned_cf(self.family(T::FAMILY), cid.as_bytes())?;
        row.map(|row| T::decode(cid, &row)).transpose()
    }

    fn records<T: Record>(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, T)>, StoreError> {
        let mode = after.map_or(IteratorMode::Start, |cid| {
            IteratorMode::From(cid.as_bytes(), Direction::Forward)
        });
        let mut records = Vec::new();
        for row in self.db.iterator_cf(self.family(T::FAMILY), mode) {
            let (key, value) = row?;
            let key: [u8; 32] = key.as_ref().try_into().map_err(|_| {
                damaged(T::FAMILY, format!("a key has {} bytes instead of 32", key.len()))
            })?;
            let cid = Cid::from_bytes(key);
            if after == Some(&cid) {
                continue;
            }
            if records.len() == limit {
                break;
            }
            records.push((cid, T::decode(&cid, &value)?));
        }
        Ok(records)
    }

    /// Whether there is room for a chunk.
    fn check_space(&self, len: usize) -> Result<(), StoreError> {
        let in_memory = "rocksdb.cur-size-all-mem-tables";
        let unwritten = || -> Result<u64, StoreError> {
            Ok(self.db.property_int_value_cf(self.family(CHUNK), in_memory)?.unwrap_or(0))
        };
        match self.space.check(len, unwritten) {
            // Before it is refused, what is counted twice, in memory and in a file
            // that is just being written, is written.
            Err(StoreError::NoSpace { .. }) if unwritten()? > MUCH_UNWRITTEN => {
                self.db.flush_cf(self.family(CHUNK))?;
                self.space.check(len, unwritten)
            }
            checked => checked,
        }
    }

    fn append(&self, batch: &mut WriteBatch, row: &Row) {
        match row {
            Row::Chunk(hash, bytes) => batch.put_cf(self.family(CHUNK), hash.as_bytes(), bytes),
            Row::Page { owner, root, page } => {
                batch.put_cf(self.family(PAGE), root.as_bytes(), page.encode());
                self.refer(batch, *owner, root, page);
            }
            Row::Adopt { from, to, roots } => self.adopt(batch, *from, *to, roots),
            Row::Provisional { owner, roots } => self.mark(batch, *owner, roots),
            Row::Item(item) => {
                let cid = item.manifest.cid();
                batch.put_cf(self.family(META), cid.as_bytes(), item.encode());
            }
            Row::RemoveItem(cid) => batch.delete_cf(self.family(META), cid.as_bytes()),
            Row::Provide(cid, record) => {
                batch.put_cf(self.family(PROVIDE), cid.as_bytes(), record.encode());
            }
            Row::RemoveProvide(cid) => batch.delete_cf(self.family(PROVIDE), cid.as_bytes()),
            Row::Download(cid, record) => {
                batch.put_cf(self.family(DOWNLOAD), cid.as_bytes(), record.encode());
            }
            Row::RemoveDownload(cid) => batch.delete_cf(self.family(DOWNLOAD), cid.as_bytes()),
        }
    }
}

impl ChunkStore for RocksStore {
    fn has_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        // The filter answers for almost every absent chunk. The C interface
        // cannot look for a key without its value, so a present one is read.
        let family = self.family(CHUNK);
        if !self.db.key_may_exist_cf(family, hash.as_bytes()) {
            return Ok(false);
        }
        Ok(self.db.get_pinned_cf_opt(family, hash.as_bytes(), &once())?.is_some())
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        let row = self.db.get_pinned_cf_opt(self.family(CHUNK), hash.as_bytes(), &once())?;
        Ok(row.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn put_chunk(&self, hash: &ChunkHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_space(bytes.len())?;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.watermark
            .put(|| Ok(self.db.put_cf_opt(self.family(CHUNK), hash.as_bytes(), bytes, &options)?))
    }

    fn lease_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        self.leases.lease(hash);
        self.has_chunk(hash)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.leases.release(hashes);
    }

    fn discard_chunks(&self, hashes: &[ChunkHash]) -> Result<(), StoreError> {
        self.leases.release(hashes);
        self.remove_unneeded(hashes)
    }

    fn chunk_count(&self) -> Result<u64, StoreError> {
        let property = "rocksdb.estimate-num-keys";
        Ok(self.db.property_int_value_cf(self.family(CHUNK), property)?.unwrap_or(0))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.watermark.flush(|| Ok(self.db.flush_cf(self.family(CHUNK))?))
    }
}

impl MetaStore for RocksStore {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.flush()?;
        let mut rows = WriteBatch::default();
        for row in batch.rows() {
            if let Row::Chunk(_, bytes) = row {
                self.check_space(bytes.len())?;
            }
            self.append(&mut rows, row);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        // Pages are not committed while others are being let go of, so a
        // removal sees that its owner has come back.
        let holds = |row: &Row| matches!(row, Row::Page { .. } | Row::Adopt { .. });
        let _removing = batch.rows().iter().any(holds).then(|| self.leases.removing());
        Ok(self.db.write_opt(rows, &options)?)
    }

    fn let_go(&self, owner: Owner, roots: &[TreeHash], batch: Batch) -> Result<u64, StoreError> {
        // First the promise to let go, together with the batch; a crash from
        // then on is made up for at the next opening.
        self.commit(batch.with(Row::Provisional { owner, roots: roots.to_vec() }))?;
        self.let_go_of_pages(owner, roots)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.reclaim_blobs()
    }

    fn item(&self, cid: &Cid) -> Result<Option<Item>, StoreError> {
        self.record(cid)
    }

    fn items(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<(Cid, Item)>, StoreError> {
        self.records(after, limit)
    }

    fn item_count(&self) -> Result<u64, StoreError> {
        let rows = self.db.iterator_cf(self.family(META), IteratorMode::Start);
        rows.map(|row| Ok(row.map(|_| 1)?)).sum()
    }

    fn page(&self, root: &TreeHash) -> Result<Option<Page>, StoreError> {
        let row = self.db.get_pinned_cf(self.family(PAGE), root.as_bytes())?;
        row.map(|row| Page::decode(&row).map_err(|error| damaged(PAGE, error.to_string())))
            .transpose()
    }

    fn provide(&self, cid: &Cid) -> Result<Option<ProvideRecord>, StoreError> {
        self.record(cid)
    }

    fn provides(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, ProvideRecord)>, StoreError> {
        self.records(after, limit)
    }

    fn download(&self, cid: &Cid) -> Result<Option<DownloadRecord>, StoreError> {
        self.record(cid)
    }

    fn downloads(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, DownloadRecord)>, StoreError> {
        self.records(after, limit)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let failed = |source| StoreError::Directory { path: self.path.clone(), source };
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            // A file that has gone meanwhile takes no space.
            bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len());
        }
        Ok(bytes)
    }
}

/// Options for reading a chunk, which is read once and not worth caching.
fn once() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
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
    error.into()
}

/// The process that holds RocksDB's POSIX lock.
fn lock_holder(path: &Path) -> Option<u32> {
    let file = std::fs::File::open(path.join("LOCK")).ok()?;
    let lock = rustix::process::Flock::from(rustix::process::FlockType::WriteLock);
    let holder = rustix::process::fcntl_getlk(&file, &lock).ok()??;
    u32::try_from(holder.pid?.as_raw_nonzero().get()).ok()
}
