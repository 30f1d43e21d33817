//! Downloads from a mocked network into a watched store.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile};
use dfs_net::{Command, FetchError, MockNet, NetHandle, PeerId, metadata};
use dfs_store::{Batch, ChunkStore, MetaStore};

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
                        metadata::Request::Page { index, .. } => {
                            let proof = self.manifest.prove_page(index).expect("a page of it");
                            metadata::Response::Page(self.page.clone(), proof)
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
