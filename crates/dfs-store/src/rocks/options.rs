//! Every setting of RocksDB, with its reason.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    ErrorKind, Options, WriteBufferManager,
};

use crate::layout::{CHUNK, FAMILIES};

/// Changes the options of family `chunk`; for tests.
pub(super) type Tune<'a> = &'a dyn Fn(&mut Options);

/// What a user may choose about the database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RocksOptions {
    /// Memory for blocks and write buffers together, in bytes.
    pub memory_budget: usize,
    /// Opens a database whose write-ahead log is damaged before its end, and
    /// drops the commits behind the damage; if a later flush rules that out,
    /// the damaged records alone. A power failure may damage the end of the log
    /// in a way that cannot be told from damage before it.
    pub drop_damaged_log: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { memory_budget: 128 << 20, drop_damaged_log: false }
    }
}

/// Write buffers of the chunk family: one takes chunks while the other is flushed.
const CHUNK_WRITE_BUFFERS: u8 = 2;

/// Write buffer of every other family: rows are small.
const ROW_WRITE_BUFFER: usize = 4 << 20;

/// Bytes that a file gathers before it writes them.
const FILE_BUFFER: u64 = 64 << 10;

/// Largest blob file, about.
const BLOB_FILE: u64 = 256 << 20;

/// Values from this size on go to blob files; smaller ones are cheaper inline.
const MIN_BLOB: u64 = 4 << 10;

/// Threads for flushes and compactions together: one flush and three
/// compactions, so that a long compaction of chunk keys leaves slots to others.
const BACKGROUND_JOBS: i32 = 4;

/// Files in level 0 from which on RocksDB slows down and stops the writes of the
/// whole database, and makes flushes wait: never. A commit must not wait for a
/// compaction; the files have filters, so more of them cost reads little.
const LEVEL_0_STALL: i32 = i32::MAX;

impl RocksOptions {
    pub(super) fn open(&self, path: &Path, tune: Tune<'_>) -> Result<DB, rocksdb::Error> {
        if !self.drop_damaged_log {
            // A record that a crash has cut short ends the log: it was not
            // acknowledged. Damage before the end is an error. With the default,
            // everything behind the damage would be dropped in silence.
            return self.open_with(path, tune, DBRecoveryMode::TolerateCorruptedTailRecords);
        }
        let until_damage = self.open_with(path, tune, DBRecoveryMode::PointInTime);
        match until_damage {
            // A family is on the disk beyond the damage, so there is no point in
            // time to which all families can go back. What can be read of every
            // log is kept instead; content that lacks rows is found damaged when
            // it is read.
            Err(error) if error.kind() == ErrorKind::Corruption => {
                tracing::warn!(%error, "damaged records of the write-ahead log are skipped");
                self.open_with(path, tune, DBRecoveryMode::SkipAnyCorruptedRecord)
            }
            opened => opened,
        }
    }

    fn open_with(
        &self,
        path: &Path,
        tune: Tune<'_>,
        recovery: DBRecoveryMode,
    ) -> Result<DB, rocksdb::Error> {
        let cache = Cache::new_lru_cache(self.memory_budget / 4);
        let families = FAMILIES.map(|family| {
            let options = if family == CHUNK {
                let mut options = chunk_options(&cache, self.write_buffers());
                tune(&mut options);
                options
            } else {
                row_options(&cache)
            };
            ColumnFamilyDescriptor::new(family.name, options)
        });
        DB::open_cf_descriptors(&self.database(recovery), path, families)
    }

    /// Memory for write buffers, in bytes; the rest is for blocks.
    fn write_buffers(&self) -> usize {
        self.memory_budget - self.memory_budget / 4
    }

    fn database(&self, recovery: DBRecoveryMode) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let buffers = self.write_buffers();
        // The budget must not stall writes: a stall waits for a flush, and on a
        // full disk no flush ends, so the stall would not end either. The number
        // of write buffers of the chunk family bounds the memory instead, and
        // that wait ends with an error.
        let manager = WriteBufferManager::new_write_buffer_manager(buffers, false);
        options.set_write_buffer_manager(&manager);
        options.set_max_background_jobs(BACKGROUND_JOBS);
        options.set_max_open_files(256);
        // A value that does not fit goes to the file as it is. With the default of
        // 1 MiB, chunks are gathered in this buffer first, and an add of 1 GiB
        // takes a third longer (2.0 s instead of 1.5 s).
        options.set_writable_file_max_buffer_size(FILE_BUFFER);
        // Written back steadily, not in one burst when a file is closed.
        options.set_bytes_per_sync(4 << 20);
        options.set_max_total_wal_size(64 << 20);
        options.set_wal_recovery_mode(recovery);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        options
    }
}

fn chunk_options(cache: &Cache, write_buffers: usize) -> Options {
    let mut options = row_options(cache);
    options.set_write_buffer_size(write_buffers / usize::from(CHUNK_WRITE_BUFFERS));
    options.set_max_write_buffer_number(CHUNK_WRITE_BUFFERS.into());
    options.set_compression_type(DBCompressionType::None);
    // Each byte is written once into a blob file, and compaction moves keys
    // only. Without this, every chunk is written about 2.8 times.
    options.set_enable_blob_files(true);
    options.set_min_blob_size(MIN_BLOB);
    options.set_blob_file_size(BLOB_FILE);
    options.set_blob_compression_type(DBCompressionType::None);
    // A compaction that collects garbage copies every live blob of the oldest
    // files, whether there is garbage or not; and since keys are few, each
    // compaction meets them all. So it is switched on in steps of `reclaim` only.
    options.set_enable_blob_gc(false);
    options
}

fn row_options(cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(ROW_WRITE_BUFFER);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_zero_slowdown_writes_trigger(LEVEL_0_STALL);
    options.set_level_zero_stop_writes_trigger(LEVEL_0_STALL);
    // 0 is "no limit": bytes that wait for a compaction stop no write either.
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&table);
    options
}
