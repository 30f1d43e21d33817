//! The disk space of removed chunks.
//!
//! Deleting a chunk frees nothing: RocksDB counts its bytes as garbage once a
//! compaction of keys meets the deletion, and drops a blob file once all of its
//! bytes are garbage. A blob file with some live bytes stays until a compaction
//! with blob collection has copied these. A step does one of the two, whichever
//! is worth its cost, and a caller repeats it from the background.
//!
//! | step | costs | is done once |
//! | --- | --- | --- |
//! | compact the keys | rewrites all keys, about 75 bytes a chunk | the chunks removed since the last time have 8 times the bytes of the keys, or a quarter of the store |
//! | collect blobs | copies the live bytes of the oldest blob files, at most the larger of 1 GiB and 2 % of the store, and rewrites all keys | a quarter of all blob bytes is garbage |
//!
//! So n removals cost a fraction of the bytes that they remove, not n times the
//! keys of the store.
//!
//! Blob collection copies every live blob of the oldest files, whether there is
//! garbage or not. Each step takes the oldest files, and the copies are the
//! youngest, so steps walk once through the store at most.
//!
//! No commit waits for a step: manual compactions are not exclusive, they leave
//! a compaction slot to all families, and the number of files in level 0 stops
//! no write ([`super::options`]).

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::RocksEngine;
use crate::error::StoreError;
use crate::layout::CHUNK;
use crate::retention::Retention;
use crate::space::Space;
use crate::store::Reclaimed;

/// Part of all bytes that has to be garbage before live bytes are copied, or
/// removed before all keys are rewritten, as a divisor.
const GARBAGE_DIVISOR: u64 = 4;
/// Bytes that have to be removed for each byte of keys that is rewritten.
const REMOVED_PER_KEY_BYTE: u64 = 8;
/// Bytes of blob files that one step copies at most, in a small store.
const STEP_BYTES: u64 = 1 << 30;
/// The same as a part of a large store, as a divisor.
const STEP_DIVISOR: u64 = 50;

/// Whether compactions copy blobs.
const BLOB_GC: &str = "enable_blob_garbage_collection";
/// Part of the blob files, the oldest first, whose blobs compactions copy.
const CUTOFF: &str = "blob_garbage_collection_age_cutoff";

/// Runs one step at a time.
#[derive(Debug, Default)]
pub(super) struct Reclaimer {
    running: Mutex<()>,
}

/// Bytes of family `chunk`, as RocksDB counts them.
struct Sizes {
    keys: u64,
    blobs: u64,
    garbage: u64,
}

impl Sizes {
    fn of(engine: &RocksEngine) -> Result<Self, StoreError> {
        Ok(Self {
            keys: engine.chunk_property("rocksdb.live-sst-files-size")?,
            blobs: engine.chunk_property("rocksdb.live-blob-file-size")?,
            garbage: engine.chunk_property("rocksdb.live-blob-file-garbage-size")?,
        })
    }

    fn total(&self) -> u64 {
        self.keys + self.blobs
    }

    /// Whether so many removed bytes are worth a compaction of all keys.
    fn worth_compacting(&self, removed: u64) -> bool {
        let enough = (self.keys * REMOVED_PER_KEY_BYTE).min(self.total() / GARBAGE_DIVISOR);
        removed > 0 && removed >= enough
    }

    /// Whether there is enough garbage to copy live bytes.
    fn worth_collecting(&self) -> bool {
        self.garbage > 0 && self.garbage >= self.blobs / GARBAGE_DIVISOR
    }

    fn step_bytes(&self) -> u64 {
        STEP_BYTES.max(self.total() / STEP_DIVISOR)
    }
}

impl Reclaimer {
    /// Does what is worth it; `None` if nothing is.
    pub(super) fn step(
        &self,
        engine: &RocksEngine,
        retention: &Retention,
        space: &Space,
    ) -> Result<Option<Reclaimed>, StoreError> {
        let _one_at_a_time = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Sizes::of(engine)?;
        let removed = retention.removed(engine)?;
        let did = if before.worth_compacting(removed) {
            // Moves keys only, so it works on a disk without room.
            compact(engine)?;
            retention.forget_removed(engine, removed)?;
            true
        } else if before.worth_collecting() {
            collect(engine, before.step_bytes().min(space.available()?))?
        } else {
            false
        };
        if !did {
            return Ok(None);
        }
        let after = Sizes::of(engine)?;
        let bytes = before.total().saturating_sub(after.total());
        Ok(Some(Reclaimed { bytes, more: after.worth_collecting() }))
    }
}

/// Copies the live blobs of the oldest files, at most so many bytes. False if
/// there is no room for the smallest step.
fn collect(engine: &RocksEngine, bytes: u64) -> Result<bool, StoreError> {
    let failed = |source| StoreError::Directory { path: engine.path().to_owned(), source };
    let sizes = blob_sizes(engine.path()).map_err(failed)?;
    let oldest = oldest_within(&sizes, bytes);
    if oldest == 0 {
        return Ok(false);
    }
    let files = engine.chunk_property("rocksdb.num-blob-files")?;
    let part = cutoff(oldest, files);
    let family = engine.family(CHUNK);
    let on = engine.db().set_options_cf(family, &[(BLOB_GC, "true"), (CUTOFF, &part)]);
    let collected = engine.checked(on).and_then(|()| compact(engine));
    // Off again also after a failure: the option may be on although noting it
    // has failed.
    let off = engine.db().set_options_cf(family, &[(BLOB_GC, "false")]);
    collected.and(engine.checked(off))?;
    Ok(true)
}

/// Merges all keys of family `chunk`, so that deleted ones are really gone.
///
/// The C interface does not say whether a compaction has failed, so the count of
/// background errors does. A flush that fails meanwhile counts too; the step is
/// then repeated for nothing.
fn compact(engine: &RocksEngine) -> Result<(), StoreError> {
    let errors = engine.background_errors()?;
    let mut options = CompactOptions::default();
    // RocksDB may move files to the lowest level without merging them. This
    // merges these too, and leaves out what the compaction has just written.
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    // An exclusive one would keep all other compactions of the database waiting.
    options.set_exclusive_manual_compaction(false);
    let family = engine.family(CHUNK);
    engine.db().compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    if engine.background_errors()? > errors {
        return Err(StoreError::Compaction { path: engine.path().to_owned() });
    }
    Ok(())
}

/// Sizes of the blob files, the oldest first. RocksDB numbers its files upwards.
fn blob_sizes(path: &Path) -> std::io::Result<Vec<u64>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".blob"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            // A file that has gone meanwhile has no bytes.
            files.push((number, entry.metadata().map_or(0, |file| file.len())));
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, len)| len).collect())
}

/// How many of the oldest files have at most so many bytes together.
fn oldest_within(sizes: &[u64], bytes: u64) -> u64 {
    let mut sum: u64 = 0;
    let within = sizes.iter().take_while(|&&len| {
        sum = sum.saturating_add(len);
        sum <= bytes
    });
    within.count() as u64
}

/// The oldest files as a part of all. RocksDB multiplies and rounds down, so the
/// part lies between two numbers of files.
fn cutoff(oldest: u64, files: u64) -> String {
    if oldest >= files {
        return "1".to_owned();
    }
    // Numbers of files are far below the precision of a double.
    format!("{:.9}", (oldest as f64 + 0.5) / files as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use dfs_core::{ChunkHash, Leaf, Page, TreeHash};
    use rocksdb::{CompactionDecision as Decision, Options};

    use super::*;
    use crate::batch::Batch;
    use crate::owner::Owner;
    use crate::rocks::{RocksOptions, RocksStore};
    use crate::store::{ChunkStore, MetaStore};

    #[test]
    fn a_step_takes_the_oldest_files_that_fit() {
        assert_eq!(oldest_within(&[100, 50, 7], 157), 3);
        assert_eq!(oldest_within(&[100, 50, 7], 156), 2);
        assert_eq!(oldest_within(&[100, 50, 7], 99), 0);
        assert_eq!(oldest_within(&[u64::MAX, 2], u64::MAX), 2);
    }

    #[test]
    fn the_cut_off_selects_exactly_so_many_files() {
        for files in [1, 2, 3, 7, 100, 43_000] {
            for oldest in [1, 2, 3, 42_999] {
                let cutoff: f64 = cutoff(oldest, files).parse().expect("a number");
                assert_eq!((cutoff * files as f64).floor(), oldest.min(files) as f64);
            }
        }
    }

    #[test]
    fn keys_are_compacted_when_the_removed_bytes_pay_for_it() {
        let sizes = |keys, blobs, garbage| Sizes { keys, blobs, garbage };
        assert!(!sizes(0, 0, 0).worth_compacting(0));
        // A terabyte of chunks of 64 KiB has a gigabyte of keys.
        assert!(!sizes(1 << 30, 1 << 40, 0).worth_compacting(7 << 30));
        assert!(sizes(1 << 30, 1 << 40, 0).worth_compacting(8 << 30));
        // Small chunks stand beside their keys.
        assert!(sizes(1 << 30, 0, 0).worth_compacting(1 << 28));
    }

    #[test]
    fn live_bytes_are_copied_from_a_quarter_of_garbage_on() {
        let sizes = |garbage| Sizes { keys: 0, blobs: 100, garbage };
        assert!(!sizes(0).worth_collecting());
        assert!(!sizes(24).worth_collecting());
        assert!(sizes(25).worth_collecting());
    }

    /// A compaction that does not end must hold up nothing: it would be forty
    /// files in level 0 later that RocksDB stops all writes by default, and
    /// makes flushes wait.
    #[test]
    fn commits_go_on_while_a_compaction_is_stuck() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (entered_by, entered) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let released = Arc::new(Mutex::new(Some(released)));
        let tune = |options: &mut Options| {
            let (entered_by, released) = (entered_by.clone(), Arc::clone(&released));
            options.set_compaction_filter("stuck", move |_, _: &[u8], _: &[u8]| {
                let first = released.lock().expect("the lock").take();
                if let Some(released) = first {
                    entered_by.send(()).expect("the test waits");
                    // The test has ended if there is no sender.
                    let _ = released.recv();
                }
                Decision::Keep
            });
        };
        let store = RocksStore::open_tuned(directory.path(), &RocksOptions::default(), &tune);
        let store = Arc::new(store.expect("open"));
        let (owner, root) = store_page(&store, 0);
        store_page(&store, 1);
        store.flush().expect("flush");
        store.release_pages(owner, &[root], &Batch::default()).expect("release");

        let reclaiming = Arc::clone(&store);
        let reclaiming = std::thread::spawn(move || reclaiming.reclaim_step());
        entered.recv_timeout(LONG).expect("the compaction has begun");
        let (committed_by, committed) = sync_channel(1);
        let committing = Arc::clone(&store);
        std::thread::spawn(move || {
            for n in 2..50 {
                let (owner, root) = store_page(&committing, n);
                let leased = [ChunkHash::of(b"absent")];
                committing.discard_chunks(&leased, &[]).expect("discard");
                if n % 8 == 0 {
                    let batch = Batch::default();
                    committing.release_pages(owner, &[root], &batch).expect("release");
                }
            }
            committed_by.send(()).expect("the test waits");
        });
        committed.recv_timeout(LONG).expect("commits wait for the compaction");
        assert!(!reclaiming.is_finished(), "the compaction was stuck all the time");
        release.send(()).expect("the compaction waits");
        reclaiming.join().expect("no panic").expect("reclaim");
    }

    #[test]
    fn a_failed_compaction_is_an_error_and_is_tried_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = RocksStore::open(directory.path(), &RocksOptions::default()).expect("open");
        let (owner, root) = store_page(&store, 0);
        store_page(&store, 1);
        store.flush().expect("flush");
        store.release_pages(owner, &[root], &Batch::default()).expect("release");
        store.flush().expect("flush");
        let removed = store.retention.removed(&store.engine).expect("a counter");
        assert!(removed > 0);
        // The blocks of keys are read again by the compaction.
        for entry in std::fs::read_dir(directory.path()).expect("list") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|name| name == "sst") {
                let mut bytes = std::fs::read(&path).expect("read");
                bytes[..20].fill(0xa5);
                std::fs::write(&path, bytes).expect("write");
            }
        }
        let failed = store.reclaim_step();
        assert!(matches!(failed, Err(StoreError::Compaction { .. })), "{failed:?}");
        assert_eq!(store.retention.removed(&store.engine).expect("a counter"), removed);
    }

    /// Far longer than all commits of the test take.
    const LONG: Duration = Duration::from_secs(60);

    fn store_page(store: &RocksStore, n: u8) -> (Owner, TreeHash) {
        let bytes = [n; 8 << 10];
        let leaf = Leaf::of(&bytes);
        let portion = store.put_chunks(&[(leaf.hash, &bytes)]).expect("put");
        let page = Page::new(vec![leaf]).expect("a page");
        let (owner, root) = (Owner::staging([n; 32]), page.root().hash);
        let mut batch = Batch::default();
        store.commit(batch.put_page(owner, root, page).chunks_stored(portion)).expect("commit");
        (owner, root)
    }
}
