//! Downloads from a mocked network into a watched store.

mod linked;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{
    ChunkHash, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, PageProof, Profile, ProvenPage,
};
use dfs_net::{Command, FetchError, MockNet, NetHandle, PeerId, metadata};
use dfs_store::tables::{self, DownloadRecord, DownloadState, Items};
use dfs_store::{Batch, ChunkStore, MetaStore, Tables};

use crate::download::{Downloads, GetOptions, Turns};
use crate::error::{FailureKind, NodeError};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::watched_store::WatchedStore;

const CHUNK: usize = 64 << 10;

/// Content of one page, cut every 64 KiB.
#[derive(Clone)]
struct Content {
    bytes: Vec<u8>,
    chunks: HashMap<ChunkHash, Bytes>,
    manifest: Manifest,
    page: Page,
}

impl Content {
    /// One chunk for each letter; `0` stands for zeros.
    fn of(letters: &str) -> Self {
        let fill = |letter| if letter == b'0' { 0 } else { letter };
        let bytes: Vec<u8> = letters.bytes().flat_map(|letter| [fill(letter); CHUNK]).collect();
        let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
        let mut chunks = HashMap::new();
        for chunk in bytes.chunks(CHUNK) {
            assert!(builder.push(Leaf::of(chunk)).expect("a few chunks").is_none(), "one page");
            chunks.insert(ChunkHash::of(chunk), Bytes::copy_from_slice(chunk));
        }
        let (manifest, page) = builder.finish().expect("a file");
        let page = page.expect("the last page").1;
        Self { bytes, chunks, manifest, page }
    }

    fn cid(&self) -> Cid {
        self.manifest.cid()
    }

    /// Serves the content as the only provider, until every handle has gone. Before
    /// it serves the first chunk it calls `meanwhile`.
    async fn serve(self, mut net: MockNet, meanwhile: impl FnOnce()) {
        let mut meanwhile = Some(meanwhile);
        while let Some(command) = net.next().await {
            match command {
                Command::ConnectedPeers { respond_to } => {
                    respond_to.send(Vec::new()).expect("the download searches");
                }
                Command::FindProviders { found, .. } => {
                    found.send(PeerId::random()).await.expect("the download searches");
                }
                Command::FetchMetadata { request, respond_to, .. } => {
                    let response = match request {
                        metadata::Request::Header { .. } => {
                            metadata::Response::Header((*self.manifest.header()).into())
                        }
                        metadata::Request::Page { .. } => {
                            let proof = PageProof::default();
                            let page = self.page.clone();
                            metadata::Response::Page(ProvenPage { index: 0, page, proof })
                        }
                        metadata::Request::Provided { .. } => metadata::Response::NotFound,
                    };
                    respond_to.send(Ok(response)).expect("the download waits");
                }
                Command::FetchChunks { leaves, results, .. } => {
                    if let Some(meanwhile) = meanwhile.take() {
                        meanwhile();
                    }
                    for leaf in leaves {
                        let chunk = self.chunks.get(&leaf.hash).cloned();
                        results.send(chunk.ok_or(FetchError::NotFound)).await.expect("it waits");
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn downloads() -> (Downloads, Arc<WatchedStore>, MockNet) {
    let (store, disk) = WatchedStore::new();
    let (net, mock) = NetHandle::mocked();
    let one = Turns::one();
    (Downloads::new(disk, net, Gate::default(), one, Metrics::default()), store, mock)
}

fn to(path: &Path) -> GetOptions {
    GetOptions { path: Some(path.to_owned()), ..GetOptions::default() }
}

#[tokio::test]
async fn content_goes_to_its_file_as_it_arrives_and_nothing_is_read_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, store, mock) = downloads();
    let content = Content::of("ab0acb0");
    let provider = tokio::spawn(content.clone().serve(mock, || {}));
    downloads.get_and_wait(content.cid(), to(&path)).await.expect("it is got");
    assert!(fs::read(&path).expect("the file") == content.bytes);
    assert_eq!(store.chunk_reads(), 0);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    downloads.stop().await;
    drop(downloads);
    provider.await.expect("no panic");
}

#[tokio::test]
async fn what_the_store_has_already_is_read_and_the_rest_is_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let (downloads, store, mock) = downloads();
    let content = Content::of("abcadb");
    let held = Bytes::from(vec![b'a'; CHUNK]);
    let portion = store.put_chunks(&[(ChunkHash::of(&held), &held)]).expect("in memory");
    store.commit(Batch::default().chunks_stored(portion)).expect("in memory");
    let provider = tokio::spawn(content.clone().serve(mock, || {}));
    downloads.get_and_wait(content.cid(), to(&path)).await.expect("it is got");
    assert!(fs::read(&path).expect("the file") == content.bytes);
    assert_eq!(store.chunk_reads(), 2, "the chunk that was there, at both its places");
    downloads.stop().await;
    drop(downloads);
    provider.await.expect("no panic");
}

#[tokio::test]
async fn content_is_held_although_its_file_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, other) = (directory.path().join("file"), directory.path().join("other"));
    let (downloads, store, mock) = downloads();
    let content = Content::of("abc");
    let appears = path.clone();
    let serve = content
        .clone()
        .serve(mock, move || fs::write(appears, "of another program").expect("written"));
    let provider = tokio::spawn(serve);
    let failed = downloads.get_and_wait(content.cid(), to(&path)).await;
    let Err(NodeError::Download { kind: FailureKind::Exists, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(fs::read(&path).expect("the file"), b"of another program");
    downloads.get_and_wait(content.cid(), to(&other)).await.expect("it is held");
    assert!(fs::read(&other).expect("the file") == content.bytes);
    assert_eq!(store.chunk_reads(), 3);
    downloads.stop().await;
    drop(downloads);
    provider.await.expect("no panic");
}

/// Turns the record of an ended download into that of one that a crash has cut short right
/// after its file was renamed.
fn forget_the_end(store: &WatchedStore, cid: Cid, change: impl FnOnce(&mut DownloadRecord)) {
    let mut record = store.get::<tables::Downloads>(&cid).expect("a look").expect("a record");
    assert!(record.destinations.iter().all(|known| known.is_written), "{record:?}");
    record.state = DownloadState::Active;
    for known in &mut record.destinations {
        known.is_written = false;
    }
    change(&mut record);
    let mut batch = Batch::default();
    store.commit(batch.put::<tables::Downloads>(&cid, &record)).expect("in memory");
}

async fn resumed(downloads: &Downloads, cid: Cid) -> DownloadState {
    downloads.resume().await.expect("the records are readable");
    let mut job = downloads.follow(&cid).expect("it goes on").status;
    // The error means that the job has ended.
    let _ = job.wait_for(|status| status.is_last()).await;
    drop(job);
    while downloads.active() > 0 {
        tokio::task::yield_now().await;
    }
    let record = downloads.shared.disk.store().get::<tables::Downloads>(&cid);
    record.expect("a look").expect("a record").state
}

#[tokio::test]
async fn a_file_that_was_written_before_a_crash_is_done_and_belongs_to_the_user() {
    for force in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let (downloads, store, mock) = downloads();
        let content = Content::of("abc");
        let _provider = tokio::spawn(content.clone().serve(mock, || {}));
        let options = GetOptions { force, ..to(&path) };
        downloads.get_and_wait(content.cid(), options).await.expect("it is got");
        forget_the_end(&store, content.cid(), |_| {});
        // The same file, as an editor leaves it that writes in place.
        let file = fs::OpenOptions::new().write(true).open(&path).expect("the file");
        std::io::Write::write_all(&mut &file, b"edited").expect("written");
        assert_eq!(resumed(&downloads, content.cid()).await, DownloadState::Done);
        assert!(fs::read(&path).expect("the file").starts_with(b"edited"));
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);

        // Another file under that name is none of the download.
        forget_the_end(&store, content.cid(), |_| {});
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "of the user").expect("written");
        let state = resumed(&downloads, content.cid()).await;
        assert_eq!(matches!(state, DownloadState::Failed { .. }), !force, "{state:?}");
        assert_eq!(fs::read(&path).expect("the file") == content.bytes, force);
        downloads.stop().await;
    }
}

#[tokio::test]
async fn a_get_of_the_same_path_joins_it_and_does_not_write_a_second_file() {
    for link in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let (downloads, store, mock) = downloads();
        let content = Content::of("abc");
        let (cid, go_on) = (content.cid(), Arc::new(tokio::sync::Notify::new()));
        let first = GetOptions { link, ..to(&path) };
        let mut status = downloads.get(cid, first).await.expect("started");
        downloads.get(cid, GetOptions { force: true, ..to(&path) }).await.expect("joined");
        let record = store.get::<tables::Downloads>(&cid).expect("a look").expect("a record");
        assert_eq!(record.destinations.len(), 1);
        assert!(record.destinations[0].force);
        let _provider = tokio::spawn(content.clone().serve(mock, move || go_on.notify_one()));
        let last = status.wait_for(|status| status.is_last()).await.expect("it ends").clone();
        assert!(last.unwritten.is_empty() && last.failure.is_none(), "{last:?}");
        assert!(fs::read(&path).expect("the file") == content.bytes);
        downloads.stop().await;
    }
}

#[tokio::test]
async fn each_destination_fails_with_its_own_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (exists, no_parent) = (directory.path().join("exists"), directory.path().join("deep/file"));
    let third = directory.path().join("third");
    let (downloads, _store, mock) = downloads();
    let content = Content::of("abc");
    let mut status = downloads.get(content.cid(), to(&exists)).await.expect("started");
    for path in [&no_parent, &third] {
        downloads.get(content.cid(), to(path)).await.expect("joined");
    }
    let (file, parent) = (exists.clone(), directory.path().join("deep"));
    let serve = content.clone().serve(mock, move || {
        fs::write(file, "of another program").expect("written");
        fs::write(parent, "a file").expect("written");
    });
    let _provider = tokio::spawn(serve);
    let last = status.wait_for(|status| status.is_last()).await.expect("it ends").clone();
    for (path, kind) in [(&exists, FailureKind::Exists), (&no_parent, FailureKind::Other)] {
        let mine = last.for_destination(Some(path));
        assert_eq!(mine.failure, Some(kind), "{mine:?}");
        assert!(mine.reason.is_some_and(|reason| reason.contains(&*path.to_string_lossy())));
    }
    assert_eq!(last.for_destination(Some(&third)).failure, None);
    assert_eq!(last.for_destination(None).failure, None);
    assert!(fs::read(&third).expect("the file") == content.bytes);
    downloads.stop().await;
}
