//! What every store promises, run on both of them.

use bytes::Bytes;
use dfs_core::{
    ChunkHash, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, Subtree, TreeHash,
};
use dfs_store::{
    Batch, Destination, DownloadRecord, DownloadState, Item, MemoryStore, Owner, ProvideRecord,
    RocksOptions, RocksStore, Row, Store,
};

/// A one-chunk file: its chunk, page and manifest.
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaf: Leaf,
    pub(crate) page: (Subtree, Page),
    pub(crate) manifest: Manifest,
}

pub(crate) fn sample(n: u32) -> Sample {
    let bytes = [b"sample ".as_slice(), &n.to_le_bytes()].concat().repeat(1000);
    let leaf = Leaf::of(&bytes);
    let mut builder = ManifestBuilder::new(Kind::File(Profile::default()));
    assert!(builder.push(leaf).expect("a small file").is_none());
    let (manifest, page) = builder.finish().expect("one small chunk is a file");
    Sample { bytes, leaf, page: page.expect("the only page"), manifest }
}

pub(crate) fn item(sample: &Sample) -> Item {
    Item {
        manifest: sample.manifest.clone(),
        name: Some("na\u{ef}ve name".to_owned()),
        added_ms: 1_700_000_000_000,
        public: true,
    }
}

pub(crate) fn rows(sample: &Sample) -> Batch {
    let (root, page) = sample.page.clone();
    let (root, owner) = (root.hash, sample.manifest.cid().into());
    [Row::Page { owner, root, page }, Row::Item(Box::new(item(sample)))].into_iter().collect()
}

fn download(sample: &Sample) -> DownloadRecord {
    DownloadRecord {
        started_ms: 7,
        state: DownloadState::Failed { cause: "no provider".to_owned(), code: 4 },
        destinations: vec![Destination { path: b"/tmp/\xff".to_vec(), force: true }],
        header: Some(*sample.manifest.header()),
        page_roots: vec![(0, sample.page.0)],
        bytes_done: 1,
        chunks_done: 2,
        bytes_fetched: 3,
        timeout_s: 600,
    }
}

fn chunks_are_found_by_their_hash(store: &impl Store) {
    let sample = sample(1);
    assert!(!store.has_chunk(&sample.leaf.hash).expect("has"));
    assert_eq!(store.chunk(&sample.leaf.hash).expect("get"), None);
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put twice");
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    store.flush().expect("flush");
    let bytes = store.chunk(&sample.leaf.hash).expect("get").expect("present");
    assert_eq!(bytes, sample.bytes);
}

fn what_came_to_nothing_is_discarded_and_nothing_else(store: &impl Store) {
    let [kept, leased, lost] = [101, 102, 103].map(sample);
    for sample in [&kept, &leased, &lost] {
        store.lease_chunk(&sample.leaf.hash).expect("lease");
        store.put_chunk(&sample.leaf.hash, &sample.bytes).expect("put");
    }
    // A page has the first, somebody else counts on the second.
    store.commit(rows(&kept)).expect("commit");
    assert!(store.lease_chunk(&leased.leaf.hash).expect("lease"));
    store.discard_chunks(&[&kept, &leased, &lost].map(|sample| sample.leaf.hash)).expect("discard");
    assert!(store.has_chunk(&kept.leaf.hash).expect("has"));
    assert!(store.has_chunk(&leased.leaf.hash).expect("has"));
    assert!(!store.has_chunk(&lost.leaf.hash).expect("has"));
    store.discard_chunks(&[leased.leaf.hash]).expect("discard");
    assert!(!store.has_chunk(&leased.leaf.hash).expect("has"));
}

fn a_batch_applies_as_a_whole_and_in_order(store: &impl Store) {
    let sample = sample(2);
    let cid = sample.manifest.cid();
    let chunk = Row::Chunk(sample.leaf.hash, Bytes::from(sample.bytes.clone()));
    store.commit(rows(&sample).with(chunk)).expect("commit");
    assert_eq!(store.item(&cid).expect("item"), Some(item(&sample)));
    assert_eq!(store.page(&sample.page.0.hash).expect("page"), Some(sample.page.1.clone()));
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    let twice =
        Batch::default().with(Row::RemoveItem(cid)).with(Row::Item(Box::new(item(&sample))));
    store.commit(twice).expect("commit");
    assert!(store.item(&cid).expect("item").is_some());
    store.commit(Batch::default().with(Row::RemoveItem(cid))).expect("commit");
    assert_eq!(store.item(&cid).expect("item"), None);
}

fn records_round_trip_and_go_away(store: &impl Store) {
    let sample = sample(3);
    let cid = sample.manifest.cid();
    let provide = ProvideRecord { since_ms: 1, announced_ms: Some(2), due_ms: 3, sent_to: 4 };
    let download = download(&sample);
    let batch = Batch::default()
        .with(Row::Provide(cid, provide.clone()))
        .with(Row::Download(cid, Box::new(download.clone())));
    store.commit(batch).expect("commit");
    assert_eq!(store.provide(&cid).expect("provide"), Some(provide.clone()));
    assert_eq!(store.download(&cid).expect("download"), Some(download.clone()));
    assert_eq!(store.provides(None, 9).expect("provides"), vec![(cid, provide)]);
    assert_eq!(store.downloads(None, 9).expect("downloads"), vec![(cid, download)]);
    let batch = Batch::default().with(Row::RemoveProvide(cid)).with(Row::RemoveDownload(cid));
    store.commit(batch).expect("commit");
    assert!(store.provides(None, 9).expect("provides").is_empty());
    assert!(store.downloads(None, 9).expect("downloads").is_empty());
}

fn listings_come_in_bounded_parts(store: &impl Store) {
    let samples: Vec<Sample> = (100..110).map(sample).collect();
    for sample in &samples {
        store.commit(rows(sample)).expect("commit");
    }
    let mut expected: Vec<Cid> = samples.iter().map(|sample| sample.manifest.cid()).collect();
    expected.sort_unstable();
    let mut found: Vec<Cid> = Vec::new();
    loop {
        let part = store.items(found.last(), 3).expect("items");
        assert!(part.len() <= 3);
        if part.is_empty() {
            break;
        }
        found.extend(part.iter().map(|(cid, _)| *cid));
    }
    assert_eq!(found, expected);
    assert_eq!(store.item_count().expect("count"), expected.len() as u64);
}

fn pages_of_equal_chunk_and_different_length_are_told_apart(store: &impl Store) {
    // A liar may pair a true hash with a false length. The page of the honest
    // file has another root.
    let hash = ChunkHash::of(b"one");
    for len in [3, 4] {
        let page = Page::new(vec![Leaf { hash, len }]).expect("one leaf");
        let owner = Owner::provisional([7; 32]);
        let row = Row::Page { owner, root: page.root().hash, page };
        store.commit(Batch::default().with(row)).expect("commit");
    }
    for len in [3, 4] {
        let page = Page::new(vec![Leaf { hash, len }]).expect("one leaf");
        assert_eq!(store.page(&page.root().hash).expect("page"), Some(page));
    }
}

/// A file of these chunks: its page and manifest.
fn file_of(chunks: &[&[u8]]) -> (TreeHash, Page, Manifest) {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::default()));
    for chunk in chunks {
        builder.push(Leaf { len: 1 << 16, ..Leaf::of(chunk) }).expect("a small file");
    }
    let (manifest, page) = builder.finish().expect("chunks of a legal length");
    let (root, page) = page.expect("the only page");
    (root.hash, page, manifest)
}

fn letting_go_removes_exactly_what_no_other_owner_needs(store: &impl Store) {
    let (own, shared, leased) = (b"own".as_slice(), b"shared".as_slice(), b"leased".as_slice());
    for chunk in [own, shared, leased] {
        store.put_chunk(&ChunkHash::of(chunk), chunk).expect("put");
    }
    let first = file_of(&[own, shared, own, leased]);
    let second = file_of(&[shared]);
    for (root, page, manifest) in [first.clone(), second.clone()] {
        let owner = manifest.cid().into();
        store.commit(Batch::default().with(Row::Page { owner, root, page })).expect("commit");
    }
    assert!(store.lease_chunk(&ChunkHash::of(leased)).expect("lease"));
    let has = |chunk| store.has_chunk(&ChunkHash::of(chunk)).expect("has");

    let owner = first.2.cid().into();
    store.let_go(owner, &[first.0], Batch::default()).expect("let go");
    assert_eq!(store.page(&first.0).expect("page"), None);
    assert!(!has(own) && has(shared) && has(leased));
    store.reclaim().expect("reclaim");
    assert!(has(shared) && has(leased));

    let owner = second.2.cid().into();
    store.let_go(owner, &[second.0], Batch::default()).expect("let go");
    assert!(!has(shared));
    store.release_chunks(&[ChunkHash::of(leased)]);
}

fn a_page_with_two_owners_stays_until_both_let_go(store: &impl Store) {
    let chunk = b"chunk".as_slice();
    store.put_chunk(&ChunkHash::of(chunk), chunk).expect("put");
    let (root, page, manifest) = file_of(&[chunk]);
    let (job, cid) = (Owner::provisional([9; 32]), Owner::from(manifest.cid()));
    let other = Owner::provisional([8; 32]);
    for owner in [job, other] {
        let row = Row::Page { owner, root, page: page.clone() };
        store.commit(Batch::default().with(row)).expect("commit");
    }
    let adopt = Row::Adopt { from: job, to: cid, roots: vec![root] };
    store.commit(Batch::default().with(adopt)).expect("commit");
    // The job holds nothing any more.
    store.let_go(job, &[root], Batch::default()).expect("let go");
    store.let_go(other, &[root], Batch::default()).expect("let go");
    assert!(store.has_chunk(&ChunkHash::of(chunk)).expect("has"));
    store.let_go(cid, &[root], Batch::default()).expect("let go");
    assert!(!store.has_chunk(&ChunkHash::of(chunk)).expect("has"));
}

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $case() { super::$case(&super::MemoryStore::default()); })*
        }
        mod rocks {
            $(#[test] fn $case() {
                let directory = tempfile::tempdir().expect("a temporary directory");
                let options = super::RocksOptions::default();
                let store = super::RocksStore::open(directory.path(), &options).expect("open");
                super::$case(&store);
            })*
        }
    };
}

suite! {
    chunks_are_found_by_their_hash,
    what_came_to_nothing_is_discarded_and_nothing_else,
    a_batch_applies_as_a_whole_and_in_order,
    records_round_trip_and_go_away,
    listings_come_in_bounded_parts,
    pages_of_equal_chunk_and_different_length_are_told_apart,
    letting_go_removes_exactly_what_no_other_owner_needs,
    a_page_with_two_owners_stays_until_both_let_go,
}
