//! What every store promises, run on both of them.

use bytes::Bytes;
use dfs_core::{
    ChunkHash, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, Subtree, TreeHash,
};
use dfs_store::{
    Batch, ChunkStore, Destination, DownloadRecord, DownloadState, Downloads, FailureKind, FileId,
    Item, Items, Manifests, MemoryStore, Owner, Pages, Portion, ProvideRecord, Provides,
    RocksOptions, RocksStore, Store, Tables, layout,
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
        header: *sample.manifest.header(),
        name: Some("na\u{ef}ve name".to_owned()),
        added_ms: 1_700_000_000_000,
        public: true,
        pinned: true,
        used_ms: 1_700_000_000_001,
        files: vec![FileId(7)],
    }
}

/// Everything that holds a sample, but its chunk.
pub(crate) fn rows(sample: &Sample) -> Batch {
    let (root, page) = sample.page.clone();
    let cid = sample.manifest.cid();
    let mut batch = Batch::default();
    batch.put_page(cid.into(), root.hash, page);
    batch.put::<Manifests>(&cid, &sample.manifest).put::<Items>(&cid, &item(sample));
    batch
}

/// Puts chunks that nothing records yet.
pub(crate) fn put(store: &impl ChunkStore, chunks: &[&[u8]]) -> Portion {
    let chunks: Vec<_> = chunks.iter().map(|bytes| (ChunkHash::of(bytes), *bytes)).collect();
    store.put_chunks(&chunks).expect("put")
}

/// Puts chunks and records them.
pub(crate) fn put_and_record(store: &impl Store, chunks: &[&[u8]]) {
    let portion = put(store, chunks);
    store.commit(Batch::default().chunks_stored(portion)).expect("record the chunks");
}

fn download(sample: &Sample) -> DownloadRecord {
    DownloadRecord {
        started_ms: 7,
        state: DownloadState::Failed {
            cause: "no provider".to_owned(),
            kind: FailureKind::NoProvider,
        },
        destinations: vec![Destination {
            path: b"/tmp/\xff".to_vec(),
            force: true,
            link: true,
            file: None,
            is_written: false,
        }],
        header: Some(*sample.manifest.header()),
        bytes_done: 1,
        chunks_done: 2,
        bytes_fetched: 3,
        leftovers: vec![dfs_store::FileId(4)],
        timeout_s: 600,
        file: Some(FileId(8)),
    }
}

fn chunks_are_present_once_they_are_recorded(store: &impl Store) {
    let sample = sample(1);
    let hash = sample.leaf.hash;
    assert!(!store.has_chunk(&hash).expect("has"));
    assert_eq!(store.chunk(&hash).expect("get"), None);
    let portion = put(store, &[&sample.bytes]);
    assert_eq!(portion.hashes(), [hash]);
    assert!(!store.has_chunk(&hash).expect("has"), "a crash would lose it");
    assert_eq!(store.chunk(&hash).expect("get").expect("it can be read"), sample.bytes);
    let again = put(store, &[&sample.bytes]);
    store.commit(Batch::default().chunks_stored(portion)).expect("commit");
    assert!(store.has_chunk(&hash).expect("has"));
    store.commit(Batch::default().chunks_stored(again)).expect("commit");
    let absent = ChunkHash::of(b"absent");
    assert_eq!(store.has_chunks(&[absent, hash, absent]).expect("has"), [false, true, false]);
    assert_eq!(store.rows(layout::INTENT, None, 9).expect("rows").len(), 0);
}

fn discarding_removes_only_chunks_without_page_and_lease(store: &impl Store) {
    let [kept, leased, lost] = [101, 102, 103].map(sample);
    let hashes = [&kept, &leased, &lost].map(|sample| sample.leaf.hash);
    store.lease_chunks(&hashes).expect("lease");
    let portion = put(store, &[&kept.bytes, &leased.bytes, &lost.bytes]);
    // A page contains the first, another job relies on the second.
    let mut batch = rows(&kept);
    store.commit(batch.chunks_stored(portion.clone())).expect("commit");
    assert_eq!(store.lease_chunks(&[leased.leaf.hash]).expect("lease"), [true]);
    store.discard_chunks(&hashes, &[portion]).expect("discard");
    assert_eq!(store.has_chunks(&hashes).expect("has"), [true, true, false]);
    assert_eq!(store.chunk(&lost.leaf.hash).expect("get"), None);
    store.discard_chunks(&[leased.leaf.hash], &[]).expect("discard");
    assert!(!store.has_chunk(&leased.leaf.hash).expect("has"));
    assert_eq!(store.rows(layout::HAVE, None, 9).expect("rows").len(), 1, "of the kept one");
}

fn discarding_removes_chunks_that_were_never_recorded(store: &impl Store) {
    let [one, two] = [104, 105].map(sample);
    store.lease_chunks(&[one.leaf.hash, two.leaf.hash]).expect("lease");
    let first = put(store, &[&one.bytes]);
    let second = put(store, &[&two.bytes, &one.bytes]);
    // Another job has put the second one too, and records it.
    let other = put(store, &[&two.bytes]);
    let mut batch = rows(&two);
    store.commit(batch.chunks_stored(other)).expect("commit");
    store.discard_chunks(&[one.leaf.hash, two.leaf.hash], &[first, second]).expect("discard");
    assert_eq!(store.chunk(&one.leaf.hash).expect("get"), None);
    assert_eq!(store.chunk(&two.leaf.hash).expect("get").expect("recorded"), two.bytes);
    assert_eq!(store.rows(layout::INTENT, None, 9).expect("rows").len(), 0);
}

/// The number of pages is kept in the rows of chunks, so a page that is put again
/// must not count again.
fn a_page_that_is_put_again_counts_once(store: &impl Store) {
    let sample = sample(106);
    let (root, page) = sample.page.clone();
    let [one, two] = [1, 2].map(|n| Owner::staging([n; 32]));
    let mut batch = Batch::default();
    batch.put_chunk(sample.leaf.hash, sample.bytes.clone().into());
    batch.put_page(one, root.hash, page.clone()).put_page(two, root.hash, page.clone());
    store.commit(&batch).expect("commit");
    store.commit(Batch::default().put_page(one, root.hash, page)).expect("commit");
    store.release_pages(one, &[root.hash], &Batch::default()).expect("release");
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    store.release_pages(two, &[root.hash], &Batch::default()).expect("release");
    assert!(!store.has_chunk(&sample.leaf.hash).expect("has"));
    assert_eq!(store.rows(layout::HAVE, None, 9).expect("rows").len(), 0);
}

fn a_batch_applies_as_a_whole_and_in_order(store: &impl Store) {
    let sample = sample(2);
    let cid = sample.manifest.cid();
    let mut batch = rows(&sample);
    batch.put_chunk(sample.leaf.hash, Bytes::from(sample.bytes.clone()));
    store.commit(&batch).expect("commit");
    assert_eq!(store.get::<Items>(&cid).expect("item"), Some(item(&sample)));
    assert_eq!(store.get::<Manifests>(&cid).expect("manifest"), Some(sample.manifest.clone()));
    let page = store.get::<Pages>(&sample.page.0.hash).expect("page");
    assert_eq!(page, Some(sample.page.1.clone()));
    assert!(store.has_chunk(&sample.leaf.hash).expect("has"));
    store
        .commit(Batch::default().delete::<Items>(&cid).put::<Items>(&cid, &item(&sample)))
        .expect("commit");
    assert!(store.contains::<Items>(&cid).expect("item"));
    store.commit(Batch::default().delete::<Items>(&cid)).expect("commit");
    assert_eq!(store.get::<Items>(&cid).expect("item"), None);
}

fn records_round_trip_and_go_away(store: &impl Store) {
    let sample = sample(3);
    let cid = sample.manifest.cid();
    let provide = ProvideRecord { since_ms: 1, announced_ms: Some(2), due_ms: 3, sent_to: 4 };
    let download = download(&sample);
    let mut batch = Batch::default();
    batch.put::<Provides>(&cid, &provide).put::<Downloads>(&cid, &download);
    store.commit(&batch).expect("commit");
    assert_eq!(store.get::<Provides>(&cid).expect("provide"), Some(provide.clone()));
    assert_eq!(store.get::<Downloads>(&cid).expect("download"), Some(download.clone()));
    assert_eq!(store.scan::<Provides>(None, 9).expect("provides"), vec![(cid, provide)]);
    assert_eq!(store.scan::<Downloads>(None, 9).expect("downloads"), vec![(cid, download)]);
    store
        .commit(Batch::default().delete::<Provides>(&cid).delete::<Downloads>(&cid))
        .expect("commit");
    assert!(store.scan::<Provides>(None, 9).expect("provides").is_empty());
    assert!(store.scan::<Downloads>(None, 9).expect("downloads").is_empty());
}

fn rows_are_counted_when_they_appear_and_go(store: &impl Store) {
    let [one, two] = [1, 2].map(sample);
    let cids = [one.manifest.cid(), two.manifest.cid()];
    let counts = || {
        [store.count::<Items>(), store.count::<Provides>(), store.count::<Downloads>()]
            .map(|count| count.expect("count"))
    };
    assert_eq!(counts(), [0, 0, 0]);
    store.commit(Batch::default().delete::<Items>(&cids[0])).expect("commit");
    assert_eq!(counts(), [0, 0, 0], "an absent row was deleted");
    for _ in 0..2 {
        store.commit(&rows(&one)).expect("commit");
        assert_eq!(counts(), [1, 0, 0], "the same row was put again");
    }
    let mut batch = rows(&two);
    batch.put::<Provides>(&cids[0], &ProvideRecord::default());
    batch.put::<Downloads>(&cids[0], &download(&one)).put::<Downloads>(&cids[1], &download(&two));
    store.commit(&batch).expect("commit");
    assert_eq!(counts(), [2, 1, 2]);
    // Only the last change of a row in a batch counts.
    let mut batch = Batch::default();
    batch.delete::<Items>(&cids[0]).put::<Items>(&cids[0], &item(&one));
    batch.put::<Downloads>(&cids[1], &download(&two)).delete::<Downloads>(&cids[1]);
    store.commit(&batch).expect("commit");
    assert_eq!(counts(), [2, 1, 1]);
    let mut batch = Batch::default();
    batch.delete::<Items>(&cids[0]).delete::<Manifests>(&cids[0]);
    store.release_pages(cids[0].into(), &[one.page.0.hash], &batch).expect("release");
    assert_eq!(counts(), [1, 1, 1]);
}

fn counters_are_right_after_concurrent_commits(store: &impl Store) {
    let cids: Vec<Cid> = (0..8).map(|n| Cid::from_bytes([n; 32])).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cids = &cids;
            scope.spawn(move || {
                for round in 0..20 {
                    let cid = &cids[(thread * 3 + round) % cids.len()];
                    let mut batch = Batch::default();
                    if (thread + round) % 3 == 0 {
                        batch.delete::<Provides>(cid);
                    } else {
                        batch.put::<Provides>(cid, &ProvideRecord::default());
                    }
                    store.commit(&batch).expect("commit");
                }
            });
        }
    });
    let rows = store.scan::<Provides>(None, 100).expect("provides").len() as u64;
    assert_eq!(store.count::<Provides>().expect("count"), rows);
}

/// Each of two commits makes its row from that of the other.
fn an_update_sees_every_commit_before_it(store: &impl Store) {
    let sample = sample(1);
    let cid = sample.manifest.cid();
    let found = || store.get::<Items>(&cid).expect("get");
    let files = |id: u64| {
        let (cid, item) = (cid, Item { files: Vec::new(), ..item(&sample) });
        let mut batch = Batch::default();
        batch.update::<Items>(&cid, move |known| {
            let mut item = known.unwrap_or_else(|| item.clone());
            item.files.push(FileId(id));
            Some(item)
        });
        batch
    };
    // A batch that was made before another commit does not undo it.
    let (first, second) = (files(1), files(2));
    store.commit(&second).expect("commit");
    store.commit(&first).expect("commit");
    assert_eq!(found().expect("a row").files, [FileId(2), FileId(1)]);
    assert_eq!(store.count::<Items>().expect("count"), 1);
    std::thread::scope(|scope| {
        for id in 3..11 {
            let batch = files(id);
            scope.spawn(move || store.commit(&batch).expect("commit"));
        }
    });
    let mut all = found().expect("a row").files;
    all.sort_unstable();
    assert_eq!(all, (1..11).map(FileId).collect::<Vec<_>>());

    let mut nothing = Batch::default();
    nothing.update::<Items>(&cid, |_| None);
    store.commit(&nothing).expect("commit");
    assert_eq!(found().expect("a row").files.len(), 10, "it stays as it is");
}

fn listings_come_in_bounded_parts(store: &impl Store) {
    let samples: Vec<Sample> = (100..110).map(sample).collect();
    for sample in &samples {
        store.commit(&rows(sample)).expect("commit");
    }
    let mut expected: Vec<Cid> = samples.iter().map(|sample| sample.manifest.cid()).collect();
    expected.sort_unstable();
    let mut found: Vec<Cid> = Vec::new();
    loop {
        let part = store.scan::<Items>(found.last(), 3).expect("items");
        assert!(part.len() <= 3);
        if part.is_empty() {
            break;
        }
        found.extend(part.iter().map(|(cid, _)| *cid));
    }
    assert_eq!(found, expected);
    assert_eq!(store.count::<Items>().expect("count"), expected.len() as u64);
}

fn pages_of_equal_chunk_and_different_length_are_told_apart(store: &impl Store) {
    // A malicious peer may pair a true hash with a false length. The page of the
    // honest file has another root.
    let hash = ChunkHash::of(b"one");
    for len in [3, 4] {
        let page = Page::new(vec![Leaf { hash, len }]).expect("one leaf");
        let owner = Owner::staging([7; 32]);
        let root = page.root().hash;
        store.commit(Batch::default().put_page(owner, root, page)).expect("commit");
    }
    for len in [3, 4] {
        let page = Page::new(vec![Leaf { hash, len }]).expect("one leaf");
        assert_eq!(store.get::<Pages>(&page.root().hash).expect("page"), Some(page));
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

fn releasing_removes_exactly_what_no_other_owner_needs(store: &impl Store) {
    let (own, shared, leased) = (b"own".as_slice(), b"shared".as_slice(), b"leased".as_slice());
    put_and_record(store, &[own, shared, leased]);
    let first = file_of(&[own, shared, own, leased]);
    let second = file_of(&[shared]);
    for (root, page, manifest) in [first.clone(), second.clone()] {
        let owner = manifest.cid().into();
        store.commit(Batch::default().put_page(owner, root, page)).expect("commit");
    }
    assert_eq!(store.lease_chunks(&[ChunkHash::of(leased)]).expect("lease"), [true]);
    let has = |chunk| store.has_chunk(&ChunkHash::of(chunk)).expect("has");

    let owner = first.2.cid().into();
    store.release_pages(owner, &[first.0], &Batch::default()).expect("release");
    assert_eq!(store.get::<Pages>(&first.0).expect("page"), None);
    assert!(!has(own) && has(shared) && has(leased));
    store.reclaim_step().expect("reclaim");
    assert!(has(shared) && has(leased));

    let owner = second.2.cid().into();
    store.release_pages(owner, &[second.0], &Batch::default()).expect("release");
    assert!(!has(shared));
    store.release_chunks(&[ChunkHash::of(leased)]);
}

fn a_page_with_two_owners_stays_until_both_release_it(store: &impl Store) {
    let chunk = b"chunk".as_slice();
    put_and_record(store, &[chunk]);
    let (root, page, manifest) = file_of(&[chunk]);
    let (job, cid) = (Owner::staging([9; 32]), Owner::from(manifest.cid()));
    let other = Owner::staging([8; 32]);
    for owner in [job, other] {
        store.commit(Batch::default().put_page(owner, root, page.clone())).expect("commit");
    }
    store.commit(Batch::default().reassign_pages(job, cid, vec![root])).expect("commit");
    // The job needs no page any more.
    store.release_pages(job, &[root], &Batch::default()).expect("release");
    store.release_pages(other, &[root], &Batch::default()).expect("release");
    assert!(store.has_chunk(&ChunkHash::of(chunk)).expect("has"));
    store.release_pages(cid, &[root], &Batch::default()).expect("release");
    assert!(!store.has_chunk(&ChunkHash::of(chunk)).expect("has"));
}

fn staged_pages_of_a_running_addition_are_not_released(store: &impl Store) {
    let chunk = b"chunk".as_slice();
    put_and_record(store, &[chunk]);
    let (root, page, manifest) = file_of(&[chunk]);
    let staging = Owner::staging([9; 32]);
    store.commit(Batch::default().stage_page(staging, root, page.clone())).expect("commit");
    assert_eq!(store.release_step().expect("step"), dfs_store::Released::default());
    assert!(store.contains::<Pages>(&root).expect("page"));
    // The addition ends well: nothing is left to release.
    let cid = Owner::from(manifest.cid());
    store.commit(Batch::default().reassign_pages(staging, cid, vec![root])).expect("commit");
    assert_eq!(store.release_step().expect("step"), dfs_store::Released::default());
    assert!(store.contains::<Pages>(&root).expect("page"));
    // Another one is abandoned.
    let other = Owner::staging([8; 32]);
    store.commit(Batch::default().stage_page(other, root, page)).expect("commit");
    store.release_pages(other, &[root], &Batch::default()).expect("release");
    store.release_pages(cid, &[root], &Batch::default()).expect("release");
    assert!(!store.has_chunk(&ChunkHash::of(chunk)).expect("has"));
}

/// A record kind that the store does not know: no method of it names the type.
enum Notes {}

impl dfs_store::Table for Notes {
    const FAMILY: dfs_store::layout::Family = dfs_store::layout::PROVIDE;
    type Key = TreeHash;
    type Row = String;

    fn encode(row: &String) -> Vec<u8> {
        row.clone().into_bytes()
    }

    fn decode(_: &TreeHash, value: &[u8]) -> Result<String, dfs_store::Damage> {
        String::from_utf8(value.to_vec()).map_err(|_| dfs_store::Damage::Empty)
    }
}

impl dfs_store::Record for Notes {}

fn an_untyped_family_is_kept_like_any_other(store: &impl Store) {
    let store: &dyn Store = store;
    let key = TreeHash::from_bytes([1; 32]);
    store.commit(Batch::default().put::<Notes>(&key, &"a note".to_owned())).expect("commit");
    assert_eq!(store.get::<Notes>(&key).expect("get").as_deref(), Some("a note"));
    assert_eq!(store.count::<Notes>().expect("count"), 1);
    // The family's own record kind reports the foreign row instead of reading it.
    let error = store.scan::<Provides>(None, 9).expect_err("another codec");
    assert!(matches!(error, dfs_store::StoreError::Damaged { family: "provide", .. }), "{error}");
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
    chunks_are_present_once_they_are_recorded,
    discarding_removes_only_chunks_without_page_and_lease,
    discarding_removes_chunks_that_were_never_recorded,
    a_page_that_is_put_again_counts_once,
    a_batch_applies_as_a_whole_and_in_order,
    records_round_trip_and_go_away,
    rows_are_counted_when_they_appear_and_go,
    counters_are_right_after_concurrent_commits,
    staged_pages_of_a_running_addition_are_not_released,
    an_untyped_family_is_kept_like_any_other,
    an_update_sees_every_commit_before_it,
    listings_come_in_bounded_parts,
    pages_of_equal_chunk_and_different_length_are_told_apart,
    releasing_removes_exactly_what_no_other_owner_needs,
    a_page_with_two_owners_stays_until_both_release_it,
}
