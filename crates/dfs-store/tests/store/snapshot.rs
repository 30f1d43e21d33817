//! Every raw key and value of a small store, compared with a file, so that no
//! codec changes unseen. `DFS_UPDATE_SNAPSHOTS=1` rewrites the files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use dfs_core::{Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, Subtree};
use dfs_store::layout::FAMILIES;
use dfs_store::{
    Batch, Destination, DownloadPage, DownloadPages, DownloadRecord, DownloadState, Downloads,
    FailureKind, FileId, FileIdentity, Files, Item, Items, Link, LinkedFile, Manifests,
    MemoryStore, Owner, PageEnd, ProvideRecord, Provides, Store,
};

use crate::rocks::open;

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/snapshots").join(name)
}

/// Compares a dump with a file.
pub(crate) fn check(name: &str, found: &str) {
    let path = path(name);
    if std::env::var_os("DFS_UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).expect("write the snapshot");
    }
    let expected = std::fs::read_to_string(&path).expect("read the snapshot");
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", line + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{name}");
}

/// Family, key and value of every row; families in the order of the layout.
pub(crate) fn dump(store: &dyn Store) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        for (key, value) in store.rows(family, None, usize::MAX).expect("rows") {
            writeln!(text, "{} {} {}", family.name, hex(&key), hex(&value)).expect("a string");
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim_start_matches('-');
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn content(n: u32) -> (Vec<u8>, Leaf, Subtree, Page, Manifest) {
    let bytes = [b"sample ".as_slice(), &n.to_le_bytes()].concat();
    let leaf = Leaf::of(&bytes);
    let mut builder = ManifestBuilder::new(Kind::File(Profile::default()));
    builder.push(leaf).expect("a small file");
    let (manifest, page) = builder.finish().expect("one chunk");
    let (root, page) = page.expect("the only page");
    (bytes, leaf, root, page, manifest)
}

fn download(n: u32, state: DownloadState) -> DownloadRecord {
    let (.., manifest) = content(n);
    DownloadRecord {
        started_ms: 1_795_398_684_381,
        state,
        destinations: vec![Destination {
            path: b"/tmp/\xff".to_vec(),
            force: true,
            link: n == 2,
            file: (n == 3).then_some(FileIdentity { device: 1, inode: 2, created_ns: Some(3) }),
            is_written: n == 2,
        }],
        header: Some(*manifest.header()),
        bytes_done: 11,
        chunks_done: 1,
        bytes_fetched: 12,
        timeout_s: 600,
        file: (n == 2).then_some(FileId(9)),
        leftovers: if n == 3 { vec![FileId(8)] } else { Vec::new() },
    }
}

/// Rows of every family and kind, and every variant of every record.
fn fill(store: &dyn Store) {
    for (n, name) in [(1, Some("hello.txt".to_owned())), (2, None)] {
        let (bytes, leaf, root, page, manifest) = content(n);
        let cid = manifest.cid();
        let header = *manifest.header();
        let item = Item {
            header,
            name,
            added_ms: 1_795_398_684_381,
            public: n == 2,
            pinned: n == 1,
            used_ms: 1_795_398_684_382,
            files: if n == 2 { vec![FileId(9)] } else { Vec::new() },
        };
        let mut batch = Batch::default();
        batch.put_chunk(leaf.hash, bytes.into()).put_page(cid.into(), root.hash, page);
        batch.put::<Manifests>(&cid, &manifest).put::<Items>(&cid, &item);
        store.commit(&batch).expect("commit");
    }
    let record = ProvideRecord { since_ms: 1, announced_ms: Some(2), due_ms: 3, sent_to: 4 };
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| content(n).4.cid());
    let mut batch = Batch::default();
    batch.put::<Provides>(&one, &record).put::<Provides>(&two, &ProvideRecord::default());
    let (_, _, root, page, _) = content(3);
    batch.put_page(three.into(), root.hash, page);
    batch.put::<Downloads>(&three, &download(3, DownloadState::Active));
    for (n, is_complete) in [(3, false), (4, true)] {
        let (.., root, _, manifest) = content(n);
        let key = PageEnd { cid: manifest.cid(), end: root.len };
        batch.put::<DownloadPages>(&key, &DownloadPage { index: 0, root, is_complete });
    }
    batch.put::<Downloads>(&two, &download(2, DownloadState::Done));
    batch.put::<Downloads>(&four, &download(4, DownloadState::Cancelled));
    for (n, kind) in (101..).zip(FailureKind::ALL) {
        let state = DownloadState::Failed { cause: format!("{kind:?}"), kind };
        let record =
            DownloadRecord { header: None, destinations: Vec::new(), ..download(n, state) };
        batch.put::<Downloads>(&content(n).4.cid(), &record);
    }
    store.commit(&batch).expect("commit");
    // An unfinished addition, and a removal.
    let (bytes, leaf, root, page, _) = content(5);
    let mut batch = Batch::default();
    batch.put_chunk(leaf.hash, bytes.into());
    batch.stage_page(Owner::staging([5; 32]), root.hash, page);
    store.commit(&batch).expect("commit");
    let (bytes, leaf, root, page, _) = content(6);
    let owner = Owner::staging([6; 32]);
    let mut batch = Batch::default();
    batch.put_chunk(leaf.hash, bytes.into()).put_page(owner, root.hash, page);
    store.commit(&batch).expect("commit");
    store.release_pages(owner, &[root.hash], &Batch::default()).expect("release");
    // A linked file: of a download under way, and whole.
    let (bytes, leaf, ..) = content(2);
    let (path, size) = (b"/tmp/\xff".to_vec(), bytes.len() as u64);
    let file = LinkedFile { path, device: 1, inode: 2, size, modified_ns: None };
    let len = leaf.len;
    let mut batch = Batch::default();
    batch.put::<Files>(&FileId(8), &file);
    batch.put::<Files>(&FileId(9), &LinkedFile { modified_ns: Some(-3), ..file });
    batch.link_chunks(vec![(leaf.hash, Link { file: FileId(9), offset: 300, len })]);
    store.commit(&batch).expect("commit");
    // A chunk that was put and is not recorded, and one that is.
    let (bytes, leaf, ..) = content(7);
    let _portion = store.put_chunks(&[(leaf.hash, &bytes)]).expect("put");
    let (bytes, leaf, ..) = content(8);
    let portion = store.put_chunks(&[(leaf.hash, &bytes)]).expect("put");
    store.commit(Batch::default().chunks_stored(portion)).expect("commit");
}

#[test]
fn every_row_of_a_small_store_in_rocksdb_is_as_in_the_snapshot() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path()).expect("open");
    fill(&store);
    check("format-6.txt", &dump(&store));
}

#[test]
fn every_row_of_a_small_store_in_memory_is_as_in_the_snapshot() {
    let store = MemoryStore::default();
    fill(&store);
    check("format-6.txt", &dump(&store));
}
