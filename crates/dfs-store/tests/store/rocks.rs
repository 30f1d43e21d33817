//! What holds for the store on disk alone: crashes, locks and versions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dfs_core::{Kind, Leaf, ManifestBuilder, Profile, TreeHash};
use dfs_store::{
    Batch, ChunkStore, MetaStore, Owner, RocksOptions, RocksStore, Row, STORE_VERSION, StoreError,
};

use crate::conformance::{Sample, item, rows, sample};

fn open(path: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(path, &RocksOptions::default())
}

/// What a process that is killed now leaves behind: the files as they are.
fn crash_copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

#[test]
fn a_crash_before_the_commit_leaves_neither_reference_nor_promise() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let sample = sample(1);
    let store = open(&live).expect("open");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    crash_copy(&live, &crashed);
    let store = open(&crashed).expect("reopen");
    assert!(!store.has_chunk(&sample.leaf.hash).expect("has"));
    assert_eq!(store.item(&sample.manifest.cid()).expect("item"), None);
}

#[test]
fn a_committed_item_has_its_bytes_after_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let sample = sample(2);
    let store = open(&live).expect("open");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    store.commit(rows(&sample)).expect("commit");
    crash_copy(&live, &crashed);
    let store = open(&crashed).expect("reopen");
    let bytes = store.chunk(&sample.leaf.hash).expect("chunk").expect("present");
    assert_eq!(bytes, sample.bytes);
    assert_eq!(store.item(&sample.manifest.cid()).expect("item"), Some(item(&sample)));
}

#[test]
fn a_chunk_that_another_job_put_is_durable_with_the_commit_that_counts_on_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let sample = sample(3);
    let store = open(&live).expect("open");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put by the first job");
    // The second job finds the chunk present, puts nothing and commits.
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    store.commit(rows(&sample)).expect("commit");
    crash_copy(&live, &crashed);
    let store = open(&crashed).expect("reopen");
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
}

#[test]
fn chunks_are_written_about_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let mut chunk = vec![0; 1 << 20];
    for n in 0..64_u32 {
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut chunk);
        store.put_chunk(&dfs_core::ChunkHash::of(&chunk), &chunk).expect("put");
    }
    store.flush().expect("flush");
    let size = store.size_on_disk().expect("size");
    assert!((64 << 20..66 << 20).contains(&size), "{size} bytes on disk for 64 MiB");
}

/// Stores a file of so many chunks of a mebibyte, and nothing else in the same
/// blob file.
fn store_file(store: &RocksStore, seed: u32, chunks: u32) -> (Owner, TreeHash) {
    let mut chunk = vec![0; 1 << 20];
    let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc1M));
    for n in 0..chunks {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&n.to_le_bytes());
        hasher.finalize_xof().fill(&mut chunk);
        let leaf = Leaf::of(&chunk);
        store.put_chunk(&leaf.hash, &chunk).expect("put");
        builder.push(leaf).expect("a small file");
    }
    let (manifest, page) = builder.finish().expect("a file");
    let (root, page) = page.expect("the only page");
    let root = root.hash;
    let owner = manifest.cid().into();
    store.commit(Batch::default().with(Row::Page { owner, root, page })).expect("commit");
    (owner, root)
}

/// Names of the blob files.
fn blob_files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("list");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".blob")).collect()
}

#[test]
fn removing_gives_the_space_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let (owner, root) = store_file(&store, 1, 64);
    assert!(store.size_on_disk().expect("size") >= 64 << 20);
    assert_eq!(store.let_go(owner, &[root], Batch::default()).expect("let go"), 64 << 20);
    store.reclaim().expect("reclaim");
    let size = store.size_on_disk().expect("size");
    assert!(size < 1 << 20, "{size} bytes on disk for nothing");
}

#[test]
fn removing_little_rewrites_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    for seed in 0..8 {
        store_file(&store, seed, 4);
    }
    let kept = blob_files(directory.path());
    assert!(kept.len() >= 8, "each file has its own: {kept:?}");
    let (owner, root) = store_file(&store, 100, 4);
    store.let_go(owner, &[root], Batch::default()).expect("let go");
    store.reclaim().expect("reclaim");
    assert_eq!(blob_files(directory.path()), kept, "only what was removed is gone");
}

#[test]
fn removing_much_rewrites_what_is_left_in_the_same_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    // Two files in one blob file: chunks are put before either is committed.
    let mut chunk = vec![0; 1 << 20];
    let files: Vec<_> = (0..2_u32)
        .map(|seed| {
            let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc1M));
            for n in 0..8_u32 {
                blake3::Hasher::new()
                    .update(&[seed.to_le_bytes(), n.to_le_bytes()].concat())
                    .finalize_xof()
                    .fill(&mut chunk);
                let leaf = Leaf::of(&chunk);
                store.put_chunk(&leaf.hash, &chunk).expect("put");
                builder.push(leaf).expect("a small file");
            }
            let (manifest, page) = builder.finish().expect("a file");
            let (root, page) = page.expect("the only page");
            (Owner::from(manifest.cid()), (root.hash, page))
        })
        .collect();
    for (owner, (root, page)) in files.clone() {
        store.commit(Batch::default().with(Row::Page { owner, root, page })).expect("commit");
    }
    assert!(store.size_on_disk().expect("size") >= 16 << 20);
    let (owner, (root, _)) = &files[0];
    store.let_go(*owner, &[*root], Batch::default()).expect("let go");
    store.reclaim().expect("reclaim");
    let size = store.size_on_disk().expect("size");
    assert!(size < 9 << 20, "{size} bytes on disk for 8 MiB");
    for leaf in files[1].1.1.leaves() {
        assert!(store.chunk(&leaf.hash).expect("read").is_some());
    }
}

#[test]
fn what_a_crash_left_provisional_is_let_go_at_the_next_opening() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let sample = sample(4);
    let (root, page) = sample.page.clone();
    let root = root.hash;
    let store = open(&live).expect("open");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    let owner = Owner::provisional([5; 32]);
    let batch = Batch::default()
        .with(Row::Page { owner, root, page })
        .with(Row::Provisional { owner, roots: vec![root] });
    store.commit(batch).expect("commit");
    crash_copy(&live, &crashed);
    let store = open(&crashed).expect("reopen");
    assert_eq!(store.page(&root).expect("page"), None);
    assert!(!store.has_chunk(&sample.leaf.hash).expect("has"));
}

#[test]
fn content_that_is_added_again_survives_an_old_promise_to_let_go() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sample = sample(5);
    let (root, owner) = (sample.page.0.hash, Owner::from(sample.manifest.cid()));
    let store = open(directory.path()).expect("open");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    // A removal that was cut short after its promise, then the content again.
    let promise = Row::Provisional { owner, roots: vec![root] };
    store.commit(rows(&sample).with(promise)).expect("commit");
    store.commit(rows(&sample)).expect("commit");
    drop(store);
    let store = open(directory.path()).expect("reopen");
    assert!(store.page(&root).expect("page").is_some());
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
}

#[test]
fn a_page_that_is_stored_again_survives_a_removal_and_the_others_go() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    let owner = Owner::provisional([5; 32]);
    let (kept, gone) = (sample(7), sample(8));
    let page = |sample: &Sample| {
        let (root, page) = sample.page.clone();
        Row::Page { owner, root: root.hash, page }
    };
    let roots = [&kept, &gone].map(|sample| sample.page.0.hash);
    for sample in [&kept, &gone] {
        store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
        store.commit(Batch::default().with(page(sample))).expect("commit");
    }
    // A removal that was cut short, then the first page once more.
    let promise = Row::Provisional { owner, roots: roots.to_vec() };
    store.commit(Batch::default().with(promise)).expect("commit");
    store.commit(Batch::default().with(page(&kept))).expect("commit");
    drop(store);
    let store = open(directory.path()).expect("reopen");
    assert!(store.page(&roots[0]).expect("page").is_some());
    assert!(store.has_chunk(&kept.leaf.hash).expect("has"));
    assert_eq!(store.page(&roots[1]).expect("page"), None);
    assert!(!store.has_chunk(&gone.leaf.hash).expect("has"));
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
                store.lease_chunk(&sample.leaf.hash).expect("lease");
                store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
                store.commit(rows(&sample)).expect("add");
                store.release_chunks(&[sample.leaf.hash]);
            });
            scope.spawn(|| {
                let batch = Batch::default().with(Row::RemoveItem(cid));
                store.let_go(cid.into(), &[root], batch).expect("remove");
            });
        });
        if store.item(&cid).expect("item").is_some() {
            assert!(store.page(&root).expect("page").is_some(), "held without its page");
            assert!(store.has_chunk(&sample.leaf.hash).expect("has"), "held without its chunk");
        }
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
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }), "{error}");
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
        ["dfs-store +2\n", "dfs-store 02\n", "dfs-store 2", "dfs-store 2\n\n", "dfs-store 0\n"]
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
