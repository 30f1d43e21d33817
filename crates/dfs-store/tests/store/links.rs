//! Chunks in files of the user: read while they are there, and never served wrong.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dfs_core::{ChunkHash, Leaf, Page, TreeHash};
use dfs_store::{
    Batch, ChunkStore, FileId, Files, Have, Link, LinkedFile, MemoryStore, MetaStore, Owner, Store,
    layout,
};

use crate::conformance::put;
use crate::recovery::live;

const OWNER: Owner = Owner::staging([5; 32]);

/// A file of these chunks in a directory.
fn file_of(directory: &Path, name: &str, chunks: &[&[u8]]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, chunks.concat()).expect("write");
    path
}

/// Links the chunks of a file, in a page of their own.
fn link(store: &dyn Store, file: FileId, path: &Path, chunks: &[&[u8]]) -> TreeHash {
    let page = Page::new(chunks.iter().map(|chunk| Leaf::of(chunk)).collect()).expect("a page");
    let (root, mut batch, mut offset) = (page.root().hash, Batch::default(), 0);
    let links = chunks.iter().map(|chunk| {
        let Leaf { hash, len } = Leaf::of(chunk);
        let link = Link { file, offset, len };
        offset += u64::from(len);
        (hash, link)
    });
    batch.link_chunks(links.collect()).put_page(OWNER, root, page);
    let path = path.as_os_str().as_bytes().to_vec();
    let row = LinkedFile { path, device: 0, inode: 0, size: 0, modified_ns: Some(0) };
    store.commit(batch.put::<Files>(&file, &row)).expect("commit");
    root
}

fn read(store: &dyn Store, chunk: &[u8]) -> Option<Vec<u8>> {
    store.chunk(&ChunkHash::of(chunk)).expect("a look").map(|bytes| bytes.to_vec())
}

#[test]
fn a_linked_chunk_is_read_from_its_file_and_is_not_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_directory, rocks, _) = live();
    for store in [&rocks as &dyn Store, &MemoryStore::default()] {
        let chunks = [b"first".as_slice(), b"second", b"first"];
        let path = file_of(directory.path(), "file", &chunks);
        let root = link(store, FileId(1), &path, &chunks);
        assert_eq!(read(store, b"first").expect("linked"), b"first");
        assert_eq!(read(store, b"second").expect("linked"), b"second");
        assert!(!store.has_chunk(&ChunkHash::of(b"first")).expect("has"), "it may be edited");
        store.release_pages(OWNER, &[root], &Batch::default()).expect("release");
        assert_eq!(read(store, b"first"), None);
        assert_eq!(store.rows(layout::HAVE, None, 9).expect("rows").len(), 0);
        assert_eq!(fs::read(&path).expect("the file"), chunks.concat());
    }
}

#[test]
fn a_file_that_changed_is_never_served_and_the_next_one_is_tried() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = MemoryStore::default();
    let chunks = [b"first".as_slice(), b"second"];
    let [one, two] = ["one", "two"].map(|name| file_of(directory.path(), name, &chunks));
    link(&store, FileId(1), &one, &chunks);
    link(&store, FileId(2), &two, &chunks);
    fs::write(&one, "FIRSTsecond").expect("edit");
    assert_eq!(read(&store, b"first").expect("from the second file"), b"first");
    fs::write(&two, "fir").expect("cut short");
    assert_eq!(read(&store, b"first"), None);
    assert_eq!(read(&store, b"second").expect("its part did not change"), b"second");
    // Whatever stands in its place does not stop the node.
    fs::remove_file(&one).expect("removed");
    fs::create_dir(&one).expect("a directory");
    fs::remove_file(&two).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &two, rustix::fs::Mode::RUSR).expect("a pipe");
    assert_eq!(read(&store, b"second"), None);
}

#[test]
fn links_to_files_that_are_gone_make_room_for_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = MemoryStore::default();
    let chunks = [b"zeros".as_slice()];
    let path = file_of(directory.path(), "file", &chunks);
    let files = || {
        let haves = store.haves(&[ChunkHash::of(b"zeros")]).expect("haves");
        let [Have { links, .. }] = &haves[..] else { panic!("one chunk") };
        links.iter().map(|link| link.file.0).collect::<Vec<_>>()
    };
    let is_to_be_stored =
        || store.haves(&[ChunkHash::of(b"zeros")]).expect("haves")[0].is_to_be_stored();
    for n in 1..=8 {
        assert!(!is_to_be_stored(), "{n}");
        link(&store, FileId(n), &path, &chunks);
    }
    assert!(is_to_be_stored());
    store.commit(Batch::default().delete::<Files>(&FileId(3))).expect("commit");
    link(&store, FileId(9), &path, &chunks);
    assert_eq!(files(), [1, 2, 4, 5, 6, 7, 8, 9]);
    // Without one that leads nowhere, the oldest one goes.
    link(&store, FileId(10), &path, &chunks);
    assert_eq!(files(), [2, 4, 5, 6, 7, 8, 9, 10]);
    let portion = put(&store, &chunks);
    store.commit(Batch::default().chunks_stored(portion)).expect("commit");
    assert!(!is_to_be_stored());
}

#[test]
fn a_chunk_that_is_stored_too_is_read_from_the_store() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = MemoryStore::default();
    let chunks = [b"both".as_slice()];
    let path = file_of(directory.path(), "file", &chunks);
    link(&store, FileId(1), &path, &chunks);
    let portion = put(&store, &chunks);
    store.commit(Batch::default().chunks_stored(portion)).expect("commit");
    fs::remove_file(&path).expect("removed");
    assert_eq!(read(&store, b"both").expect("stored"), b"both");
}
