//! What a crash leaves of chunks: those that are recorded with all of their bytes, and
//! nothing of the others.

use std::path::{Path, PathBuf};

use dfs_core::{ChunkHash, Leaf, Page};
use dfs_store::{Batch, ChunkStore, Items, MetaStore, Owner, Pages, RocksStore, Tables, layout};
use rocksdb::{DB, Options};

use crate::conformance::{item, put, put_and_record, rows, sample};
use crate::rocks::{crash_copy, open, release_all};

/// An open store, and where a copy of it goes.
pub(crate) fn live() -> (tempfile::TempDir, RocksStore, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(&directory.path().join("live")).expect("open");
    let crashed = directory.path().join("crashed");
    (directory, store, crashed)
}

/// The store as it is opened after the process was killed.
fn crash(store: &RocksStore, crashed: &Path) -> RocksStore {
    crash_copy(store.path(), crashed);
    open(crashed).expect("reopen")
}

/// Whether there is a row in family `chunk`, recorded or not.
fn is_there(store: &RocksStore, bytes: &[u8]) -> bool {
    store.chunk(&ChunkHash::of(bytes)).expect("a look").is_some()
}

/// Makes chunks that were put durable, as RocksDB may do at any time.
fn flush(store: &RocksStore) {
    store.flush().expect("flush");
}

#[test]
fn a_crash_before_the_commit_leaves_neither_item_nor_chunk() {
    let (_directory, store, crashed) = live();
    let sample = sample(1);
    let _portion = put(&store, &[&sample.bytes]);
    flush(&store);
    let store = crash(&store, &crashed);
    assert!(!is_there(&store, &sample.bytes));
    assert_eq!(store.get::<Items>(&sample.manifest.cid()).expect("item"), None);
    assert_eq!(store.rows(layout::INTENT, None, 9).expect("rows").len(), 0);
}

#[test]
fn a_committed_item_has_its_bytes_after_a_crash() {
    let (_directory, store, crashed) = live();
    let sample = sample(2);
    let portion = put(&store, &[&sample.bytes]);
    store.commit(rows(&sample).chunks_stored(portion)).expect("commit");
    let store = crash(&store, &crashed);
    let bytes = store.chunk(&sample.leaf.hash).expect("chunk").expect("present");
    assert_eq!(bytes, sample.bytes);
    assert_eq!(store.get::<Items>(&sample.manifest.cid()).expect("item"), Some(item(&sample)));
}

#[test]
fn a_chunk_that_another_job_has_put_counts_only_once_it_is_durable() {
    let (_directory, store, crashed) = live();
    let sample = sample(3);
    let _first = put(&store, &[&sample.bytes]);
    // The second job finds the chunk absent, and so puts and records it.
    assert_eq!(store.lease_chunks(&[sample.leaf.hash]).expect("lease"), [false]);
    let second = put(&store, &[&sample.bytes]);
    store.commit(rows(&sample).chunks_stored(second)).expect("commit");
    // The portion of the first one is still there, and its chunk must stay.
    let store = crash(&store, &crashed);
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    assert!(is_there(&store, &sample.bytes));
}

#[test]
fn an_unfinished_addition_is_released_after_a_crash() {
    let (_directory, store, crashed) = live();
    let sample = sample(4);
    let (root, page) = sample.page.clone();
    let portion = put(&store, &[&sample.bytes]);
    let owner = Owner::staging([5; 32]);
    let mut batch = Batch::default();
    batch.stage_page(owner, root.hash, page).chunks_stored(portion);
    store.commit(&batch).expect("commit");
    let store = crash(&store, &crashed);
    release_all(&store);
    assert_eq!(store.get::<Pages>(&root.hash).expect("page"), None);
    assert!(!is_there(&store, &sample.bytes));
}

#[test]
fn chunks_of_a_page_that_were_not_recorded_are_absent_after_a_crash() {
    let (_directory, store, crashed) = live();
    let (kept, lost) = (b"kept".repeat(2000), b"lost".repeat(2000));
    let page = Page::new(vec![Leaf::of(&kept), Leaf::of(&lost)]).expect("a page");
    let (owner, root) = (Owner::staging([5; 32]), page.root().hash);
    store.commit(Batch::default().put_page(owner, root, page)).expect("commit");
    put_and_record(&store, &[&kept]);
    let _portion = put(&store, &[&lost, &kept]);
    flush(&store);
    let store = crash(&store, &crashed);
    let hashes = [&kept, &lost].map(|bytes| ChunkHash::of(bytes));
    assert_eq!(store.has_chunks(&hashes).expect("has"), [true, false]);
    assert!(is_there(&store, &kept) && !is_there(&store, &lost));
    // It is fetched again, and goes with its page.
    put_and_record(&store, &[&lost]);
    store.release_pages(owner, &[root], &Batch::default()).expect("release");
    assert!(!is_there(&store, &kept) && !is_there(&store, &lost));
    assert_eq!(store.rows(layout::HAVE, None, 9).expect("rows").len(), 0);
}

#[test]
fn many_interrupted_portions_are_removed_when_the_store_is_opened() {
    let (_directory, store, crashed) = live();
    let chunks: Vec<Vec<u8>> = (0..100_u32).map(|n| n.to_le_bytes().repeat(20_000)).collect();
    for chunk in &chunks {
        let _portion = put(&store, &[chunk]);
    }
    flush(&store);
    let store = crash(&store, &crashed);
    assert!(chunks.iter().all(|chunk| !is_there(&store, chunk)));
    assert_eq!(store.rows(layout::INTENT, None, 9).expect("rows").len(), 0);
    store.reclaim_step().expect("reclaim");
    let size = store.size_on_disk().expect("size");
    assert!(size < 1 << 20, "{size} bytes on disk for nothing");
}

#[test]
fn damaged_rows_of_chunks_cost_neither_the_start_nor_other_chunks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let store = open(path).expect("open");
    let [one, two] = [1, 2].map(sample);
    let mut batch = rows(&one);
    batch.put_chunk(one.leaf.hash, one.bytes.clone().into());
    store.commit(&batch).expect("commit");
    let _portion = put(&store, &[&two.bytes]);
    flush(&store);
    drop(store);
    {
        let mut options = Options::default();
        options.create_if_missing(false);
        let families = layout::FAMILIES.map(|family| family.name);
        let db = DB::open_cf(&options, path, families).expect("open");
        let family = |family: layout::Family| db.cf_handle(family.name).expect("a family");
        db.put_cf(family(layout::HAVE), one.leaf.hash.as_bytes(), [1, 200]).expect("put");
        db.put_cf(family(layout::INTENT), [7], [0; 32]).expect("put");
        db.put_cf(family(layout::INTENT), [7; 8], [0; 31]).expect("put");
    }
    let store = open(path).expect("open");
    assert_eq!(store.rows(layout::INTENT, None, 9).expect("rows").len(), 0);
    assert!(!is_there(&store, &two.bytes));
    // The chunk counts as absent, and is neither lost nor in the way.
    assert!(!store.has_chunk(&one.leaf.hash).expect("has"));
    assert!(is_there(&store, &one.bytes));
    put_and_record(&store, &[&one.bytes]);
    assert!(store.has_chunk(&one.leaf.hash).expect("has"));
    let (root, cid) = (one.page.0.hash, one.manifest.cid());
    store.release_pages(cid.into(), &[root], &Batch::default()).expect("release");
    assert!(is_there(&store, &one.bytes), "the number of its pages is not known");
}
