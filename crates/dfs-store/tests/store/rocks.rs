//! The store on disk alone: crashes, disk space, locks and versions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dfs_core::{Kind, Leaf, ManifestBuilder, Page, Profile, TreeHash};
use dfs_store::{
    Batch, ChunkStore, Downloads, Items, Manifests, MetaStore, Owner, Pages, ProvideRecord,
    Provides, RocksOptions, RocksStore, STORE_VERSION, StoreError, Tables,
};

use crate::conformance::{put, put_and_record, rows, sample};

pub(crate) fn open(path: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(path, &RocksOptions::default())
}

/// What a process that is killed now leaves behind: the files as they are.
pub(crate) fn crash_copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

#[test]
fn chunks_are_written_about_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let mut chunk = vec![0; 1 << 20];
    for n in 0..64_u32 {
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut chunk);
        put_and_record(&store, &[&chunk]);
    }
    let size = store.size_on_disk().expect("size");
    assert!((64 << 20..66 << 20).contains(&size), "{size} bytes on disk for 64 MiB");
}

/// Stores a file of so many chunks of a mebibyte, and nothing else in the same
/// blob file.
fn store_file(store: &RocksStore, seed: u32, chunks: u32) -> (Owner, TreeHash) {
    let stored = store_chunks(store, seed, chunks, 1 << 20);
    store.flush().expect("flush");
    stored
}

/// Stores a page of random chunks of this length.
fn store_chunks(store: &RocksStore, seed: u32, chunks: u32, len: usize) -> (Owner, TreeHash) {
    let mut chunk = vec![0; len];
    let (mut leaves, mut batch) = (Vec::new(), Batch::default());
    for n in 0..chunks {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&n.to_le_bytes());
        hasher.finalize_xof().fill(&mut chunk);
        leaves.push(Leaf::of(&chunk));
        batch.chunks_stored(put(store, &[&chunk]));
    }
    let page = Page::new(leaves).expect("a page");
    let root = page.root().hash;
    let mut owner = [0; 32];
    owner[..4].copy_from_slice(&seed.to_le_bytes());
    let owner = Owner::staging(owner);
    store.commit(batch.put_page(owner, root, page)).expect("commit");
    (owner, root)
}

/// Reclaims until nothing is worth it, and returns the number of steps.
fn reclaim_all(store: &RocksStore) -> u64 {
    let mut steps = 0;
    loop {
        let step = store.reclaim_step().expect("reclaim");
        steps += u64::from(step.bytes > 0);
        if !step.more {
            return steps;
        }
    }
}

/// Carries out every pending delete of an earlier process.
pub(crate) fn release_all(store: &RocksStore) {
    while store.release_step().expect("step").more {}
}

/// Names of the blob files.
fn blob_files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("list");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".blob")).collect()
}

#[test]
fn reclaiming_after_a_removal_gives_the_space_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let (owner, root) = store_file(&store, 1, 64);
    assert!(store.size_on_disk().expect("size") >= 64 << 20);
    assert_eq!(store.release_pages(owner, &[root], &Batch::default()).expect("release"), 64 << 20);
    reclaim_all(&store);
    let size = store.size_on_disk().expect("size");
    assert!(size < 1 << 20, "{size} bytes on disk for nothing");
}

#[test]
fn reclaiming_little_copies_no_live_chunk() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    for seed in 0..8 {
        store_file(&store, seed, 4);
    }
    let kept = blob_files(directory.path());
    assert!(kept.len() >= 8, "each file has its own: {kept:?}");
    let (owner, root) = store_file(&store, 100, 4);
    store.release_pages(owner, &[root], &Batch::default()).expect("release");
    reclaim_all(&store);
    assert_eq!(blob_files(directory.path()), kept, "only what was removed is gone");
}

#[test]
fn reclaiming_much_copies_what_is_left_in_the_same_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    // Two files in one blob file: chunks are put before either is committed.
    let mut chunk = vec![0; 1 << 20];
    let mut put_portions = Vec::new();
    let files: Vec<_> = (0..2_u32)
        .map(|seed| {
            let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc1M));
            for n in 0..8_u32 {
                blake3::Hasher::new()
                    .update(&[seed.to_le_bytes(), n.to_le_bytes()].concat())
                    .finalize_xof()
                    .fill(&mut chunk);
                put_portions.push(put(&store, &[&chunk]));
                builder.push(Leaf::of(&chunk)).expect("a small file");
            }
            let (manifest, page) = builder.finish().expect("a file");
            let (root, page) = page.expect("the only page");
            (Owner::from(manifest.cid()), (root.hash, page))
        })
        .collect();
    let mut batch = Batch::default();
    for (owner, (root, page)) in files.clone() {
        batch.put_page(owner, root, page);
    }
    for portion in put_portions {
        batch.chunks_stored(portion);
    }
    store.commit(&batch).expect("commit");
    store.flush().expect("flush");
    assert!(store.size_on_disk().expect("size") >= 16 << 20);
    let (owner, (root, _)) = &files[0];
    store.release_pages(*owner, &[*root], &Batch::default()).expect("release");
    reclaim_all(&store);
    let size = store.size_on_disk().expect("size");
    assert!(size < 9 << 20, "{size} bytes on disk for 8 MiB");
    for leaf in files[1].1.1.leaves() {
        assert!(store.chunk(&leaf.hash).expect("read").is_some());
    }
}

#[test]
fn removals_compact_the_keys_once_for_many_and_not_once_each() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let files: Vec<_> = (0..40).map(|seed| store_chunks(&store, seed, 500, 8 << 10)).collect();
    store.flush().expect("flush");
    let mut steps = 0;
    for (owner, root) in &files[..20] {
        store.release_pages(*owner, &[*root], &Batch::default()).expect("release");
        steps += reclaim_all(&store);
    }
    assert!(steps < 15, "{steps} steps for 20 removals");
    let size = store.size_on_disk().expect("size");
    assert!(size < 230 << 20, "{size} bytes on disk for 78 MiB and what is not worth a step");
}

#[test]
fn an_interrupted_removal_of_many_pages_is_finished_in_bounded_steps() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let owner = Owner::staging([5; 32]);
    let store = open(directory.path()).expect("open");
    let samples: Vec<_> = (0..11).map(sample).collect();
    let mut batch = Batch::default();
    for sample in &samples {
        let (root, page) = sample.page.clone();
        batch.stage_page(owner, root.hash, page);
        batch.put_chunk(sample.leaf.hash, sample.bytes.clone().into());
    }
    store.commit(&batch).expect("commit");
    drop(store);
    let store = open(directory.path()).expect("reopen");
    let mut pages = Vec::new();
    loop {
        let step = store.release_step().expect("step");
        pages.push(step.pages);
        if !step.more {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 3]);
    for sample in &samples {
        assert!(!store.has_chunk(&sample.leaf.hash).expect("has"));
    }
}

#[test]
fn content_that_is_added_again_loses_its_pending_deletes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (kept, gone) = (sample(7), sample(8));
    let owner = Owner::staging([5; 32]);
    let store = open(directory.path()).expect("open");
    // A removal that was cut short before any page was released.
    let mut batch = Batch::default();
    for sample in [&kept, &gone] {
        let (root, page) = sample.page.clone();
        batch.put_chunk(sample.leaf.hash, sample.bytes.clone().into());
        batch.stage_page(owner, root.hash, page);
    }
    store.commit(&batch).expect("commit");
    drop(store);
    let store = open(directory.path()).expect("reopen");
    let (root, page) = kept.page.clone();
    store.commit(Batch::default().put_page(owner, root.hash, page)).expect("commit");
    release_all(&store);
    assert!(store.contains::<Pages>(&root.hash).expect("page"));
    assert!(store.has_chunk(&kept.leaf.hash).expect("has"));
    assert!(!store.contains::<Pages>(&gone.page.0.hash).expect("page"));
    assert!(!store.has_chunk(&gone.leaf.hash).expect("has"));
}

#[test]
fn counters_are_right_after_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let live = directory.path().join("live");
    let store = open(&live).expect("open");
    for n in 0..5 {
        store.commit(&rows(&sample(n))).expect("commit");
        let crashed = directory.path().join(format!("crashed {n}"));
        crash_copy(&live, &crashed);
        let store = open(&crashed).expect("reopen");
        let rows = store.scan::<Items>(None, 9).expect("items").len() as u64;
        assert_eq!((store.count::<Items>().expect("count"), rows), (u64::from(n) + 1, rows));
        assert_eq!(rows, u64::from(n) + 1);
    }
}

#[test]
fn only_the_commit_of_a_portion_flushes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let sample = sample(9);
    let cid = sample.manifest.cid();
    let portion = put(&store, &[&sample.bytes]);
    let provide = ProvideRecord::default();
    store.commit(Batch::default().put::<Provides>(&cid, &provide)).expect("commit");
    store.commit(&rows(&sample)).expect("commit");
    store.commit(Batch::default().delete::<Items>(&cid).delete::<Downloads>(&cid)).expect("commit");
    assert_eq!(blob_files(directory.path()).len(), 0);
    store.commit(Batch::default().chunks_stored(portion)).expect("commit");
    assert_eq!(blob_files(directory.path()).len(), 1);
}

#[test]
fn adding_and_removing_at_the_same_time_leaves_all_or_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let sample = sample(6);
    let (root, cid) = (sample.page.0.hash, sample.manifest.cid());
    for _ in 0..200 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let hash = [sample.leaf.hash];
                let mut batch = rows(&sample);
                if store.lease_chunks(&hash).expect("lease") == [false] {
                    batch.chunks_stored(put(&store, &[&sample.bytes]));
                }
                store.commit(&batch).expect("add");
                store.release_chunks(&hash);
            });
            scope.spawn(|| {
                let mut batch = Batch::default();
                batch.delete::<Items>(&cid).delete::<Manifests>(&cid);
                store.release_pages(cid.into(), &[root], &batch).expect("remove");
            });
        });
        if store.get::<Items>(&cid).expect("item").is_some() {
            assert!(store.get::<Pages>(&root).expect("page").is_some(), "held without its page");
            assert!(store.has_chunk(&sample.leaf.hash).expect("has"), "held without its chunk");
        }
    }
}

/// Six acknowledged commits, and the files as a killed process leaves them.
/// Returns the write-ahead log among them.
fn killed_after_six_commits(directory: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (live, crashed) = (directory.join("live"), directory.join("crashed"));
    let store = open(&live).expect("open");
    for n in 0..6 {
        let sample = sample(n);
        let mut batch = rows(&sample);
        batch.put_chunk(sample.leaf.hash, sample.bytes[..3000].to_vec().into());
        store.commit(&batch).expect("commit");
    }
    crash_copy(&live, &crashed);
    let logs = fs::read_dir(&crashed).expect("list").map(|entry| entry.expect("entry").path());
    let logs = logs.filter(|path| path.extension().is_some_and(|name| name == "log"));
    let log = logs.max_by_key(|path| path.metadata().expect("a file").len());
    (crashed, log.expect("a log"))
}

#[test]
fn a_damaged_log_stops_the_opening_and_nothing_acknowledged_is_lost_silently() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (crashed, log) = killed_after_six_commits(directory.path());
    let mut bytes = fs::read(&log).expect("read");
    assert!(bytes.len() > 18_000, "{} bytes", bytes.len());
    bytes[9000] ^= 1;
    fs::write(&log, &bytes).expect("write");
    let Err(error) = open(&crashed) else { panic!("opened with a damaged log") };
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&crashed.display().to_string()), "{text}");
    assert!(text.contains("keep a copy"), "{text}");
    // The user may ask for what is left.
    let mut options = RocksOptions::default();
    options.drop_damaged_log = true;
    let store = RocksStore::open(&crashed, &options).expect("open");
    let left = store.scan::<Items>(None, 99).expect("items").len();
    assert!((1..6).contains(&left), "{left} of six are left");
    assert_eq!(store.count::<Items>().expect("count"), left as u64);
}

/// A flush of chunks begins a new log, and the one before stays for the rows of
/// the other families. Damage there cannot be mended by going back in time.
#[test]
fn damage_in_an_older_log_costs_only_the_damaged_records() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let store = open(&live).expect("open");
    for n in 0..6 {
        let sample = sample(n);
        let mut batch = rows(&sample);
        batch.put_chunk(sample.leaf.hash, sample.bytes[..3000].to_vec().into());
        store.commit(&batch).expect("commit");
        if n % 2 == 1 {
            let bytes = n.to_le_bytes().repeat(2000);
            put_and_record(&store, &[&bytes]);
        }
    }
    crash_copy(&live, &crashed);
    let mut logs: Vec<_> = fs::read_dir(&crashed)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|name| name == "log"))
        .collect();
    logs.sort();
    assert!(logs.len() > 2, "{logs:?}");
    let mut bytes = fs::read(&logs[0]).expect("read");
    bytes[1000] ^= 1;
    fs::write(&logs[0], &bytes).expect("write");

    assert!(matches!(open(&crashed), Err(StoreError::Corrupt { .. })), "it is not opened silently");
    let mut options = RocksOptions::default();
    options.drop_damaged_log = true;
    let store = RocksStore::open(&crashed, &options).expect("open");
    let left: Vec<_> = store.scan::<Items>(None, 99).expect("items");
    assert!((4..6).contains(&left.len()), "{} of six are left", left.len());
    for n in 2..6 {
        let cid = sample(n).manifest.cid();
        assert!(store.get::<Manifests>(&cid).expect("a look").is_some(), "{n} is in a later log");
    }
}

#[test]
fn a_torn_end_of_the_log_loses_only_what_was_not_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (crashed, log) = killed_after_six_commits(directory.path());
    let bytes = fs::read(&log).expect("read");
    // A seventh commit was cut short: its first bytes are there, or zeros.
    for torn in [&bytes[..2000], &[0; 4096][..]] {
        fs::write(&log, [&bytes[..], torn].concat()).expect("write");
        let copy = directory.path().join(format!("copy {}", torn.len()));
        crash_copy(&crashed, &copy);
        let store = open(&copy).expect("open");
        assert_eq!(store.scan::<Items>(None, 99).expect("items").len(), 6);
    }
    // A torn last record.
    fs::write(&log, &bytes[..bytes.len() - 100]).expect("write");
    let store = open(&crashed).expect("open");
    assert_eq!(store.scan::<Items>(None, 99).expect("items").len(), 5);
}

#[test]
fn damage_in_a_table_is_reported_with_the_database_and_advice() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = killed_after_six_commits(directory.path());
    // Opening moves the rows from the log to tables.
    drop(open(&path).expect("open"));
    for entry in fs::read_dir(&path).expect("list") {
        let file = entry.expect("entry").path();
        if file.extension().is_some_and(|name| name == "sst") {
            let mut bytes = fs::read(&file).expect("read");
            bytes[20] ^= 1;
            fs::write(&file, bytes).expect("write");
        }
    }
    let read = open(&path).and_then(|store| store.scan::<Items>(None, 99));
    let error = read.expect_err("the rows are damaged");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_store_counts_what_it_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let (sample, metrics) = (sample(1), store.metrics());
    let (root, cid, len) = (sample.page.0.hash, sample.manifest.cid(), sample.bytes.len() as u64);
    let portion = put(&store, &[&sample.bytes]);
    store.commit(rows(&sample).chunks_stored(portion)).expect("commit");
    assert!(store.chunk(&sample.leaf.hash).expect("read").is_some());
    assert_eq!(store.count::<Items>().expect("count"), 1);
    let size = store.size_on_disk().expect("size");
    assert_eq!((metrics.chunks_put.get(), metrics.put.get()), (1, len));
    assert_eq!((metrics.chunks_read.get(), metrics.read.get()), (1, len));
    assert_eq!((metrics.items.get(), metrics.disk.get()), (1, size));
    let mut batch = Batch::default();
    batch.delete::<Items>(&cid).delete::<Manifests>(&cid);
    store.release_pages(cid.into(), &[root], &batch).expect("release");
    assert_eq!((metrics.pages_released.get(), metrics.chunks_removed.get()), (1, 1));
    reclaim_all(&store);
    assert!(metrics.reclaimed.get() >= len, "{}", metrics.reclaimed.get());
    let mut registry = dfs_metrics::Registry::default();
    metrics.register(&mut registry);
    let text = dfs_metrics::encode(&registry);
    for line in ["store_flush_seconds_count 1", "store_commit_seconds_count 1"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn a_second_opening_names_the_process_that_holds_the_lock() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let _store = open(directory.path()).expect("open");
    let Err(StoreError::Locked { pid, .. }) = open(directory.path()) else {
        panic!("opened twice");
    };
    assert_eq!(pid, Some(std::process::id()));
}

#[test]
fn a_newer_store_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let newer = format!("dfs-store {}\n", STORE_VERSION + 1);
    fs::write(path.join("FORMAT"), &newer).expect("write");
    let Err(error) = open(path) else { panic!("opened a newer store") };
    assert!(matches!(error, StoreError::Newer { found: 7, known: 6, .. }), "{error}");
    assert!(error.to_string().contains("newer release"));
    assert_eq!(fs::read_dir(path).expect("list").count(), 1);
    assert_eq!(fs::read_to_string(path.join("FORMAT")).expect("read"), newer);
}

#[test]
fn a_store_from_before_the_first_release_is_refused_with_advice_and_left_untouched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    fs::write(path.join("FORMAT"), "dfs-store 1\n").expect("write");
    let Err(error) = open(path) else { panic!("opened a store of the first build") };
    assert!(matches!(error, StoreError::Unreleased { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nothing had been released"), "{text}");
    assert!(text.contains("add your files anew"), "{text}");
    assert_eq!(fs::read_dir(path).expect("list").count(), 1);
    assert_eq!(fs::read_to_string(path.join("FORMAT")).expect("read"), "dfs-store 1\n");
}

#[test]
fn a_format_file_that_is_not_exact_is_refused_and_left_untouched() {
    for text in
        ["dfs-store +5\n", "dfs-store 05\n", "dfs-store 5", "dfs-store 5\n\n", "dfs-store 0\n"]
    {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("FORMAT"), text).expect("write");
        let Err(error) = open(directory.path()) else { panic!("opened {text:?}") };
        assert!(matches!(error, StoreError::Foreign { .. }), "{text:?}: {error}");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}

#[test]
fn a_directory_with_other_things_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("thesis.txt"), "years of work").expect("write");
    let Err(error) = open(directory.path()) else { panic!("opened a foreign directory") };
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
}
