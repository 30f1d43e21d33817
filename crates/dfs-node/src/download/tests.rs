//! Downloads without a network: the test answers what they ask.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use dfs_core::{ChunkHash, Kind, Leaf, ManifestBuilder, Page, PageProof, Profile, ProvenPage};
use dfs_net::{Command, MockNet, PeerId, Unreachable, metadata};
use dfs_store::MetaStore;
use dfs_store::tables::Item;
use dfs_transfer::KnownPage;

use super::*;
use crate::content::{AddOptions, Content};
use crate::provide::Provide;
use crate::test_node::TestNode;
use crate::watched_store::WatchedStore;

/// A node without a network, and the contents that the test serves.
struct Bench {
    downloads: Downloads,
    content: Content,
    mock: MockNet,
    store: Arc<WatchedStore>,
}

impl Bench {
    fn new(turns: Turns) -> Self {
        let (store, disk) = WatchedStore::new();
        let (net, mock) = NetHandle::mocked();
        let (gate, tasks, metrics) = (Gate::default(), TaskScope::default(), Metrics::default());
        let (provide, _) = Provide::new(disk.clone(), net.clone(), gate.clone(), tasks.clone());
        let downloads = Downloads::new(disk.clone(), net, gate.clone(), turns, metrics.clone());
        let content = Content {
            disk,
            downloads: downloads.clone(),
            provide,
            gate,
            tasks,
            metrics,
            release: Arc::default(),
            reclaim: Arc::default(),
        };
        Self { downloads, content, mock, store }
    }

    /// Starts a download of some bytes, up to the request for its page, which
    /// the test leaves open.
    async fn start(&mut self, bytes: &'static str) -> (Cid, watch::Receiver<DownloadStatus>) {
        let profile = dfs_core::Profile::default();
        let header = *dfs_core::describe(bytes.as_bytes(), profile, |_| Ok(()))
            .expect("a small file")
            .header();
        let cid = header.cid();
        let status = self.downloads.get(cid, GetOptions::default()).await.expect("recorded");
        let connected = self.mock.expect_connected_peers().await;
        connected.send(Vec::new()).expect("the download searches");
        let (asked, found) = self.mock.expect_find_providers().await;
        assert_eq!(asked, cid);
        found.send(PeerId::random()).await.expect("the download listens");
        let (_, _, respond_to) = self.mock.expect_fetch_metadata().await;
        respond_to.send(Ok(metadata::Response::Header(header.into()))).expect("it waits");
        (cid, status)
    }
}

async fn until(status: &mut watch::Receiver<DownloadStatus>, phase: Phase, reason: &str) {
    let reached = |status: &DownloadStatus| {
        let found = status.reason.as_deref().unwrap_or_default();
        status.phase == phase && found.starts_with(reason)
    };
    status.wait_for(reached).await.expect("the download goes on");
}

#[tokio::test(start_paused = true)]
async fn downloads_beyond_the_limit_wait_for_their_turn_in_order() {
    let mut bench = Bench::new(Turns::one());
    let (first, mut status) = bench.start("first").await;
    let (_, _, _page) = bench.mock.expect_fetch_metadata().await;
    until(&mut status, Phase::FetchingManifest, "").await;

    let (_, mut second) = bench.start("second").await;
    let (_, _, _page) = bench.mock.expect_fetch_metadata().await;
    until(&mut second, Phase::Waiting, "queued").await;
    let (third, mut status) = bench.start("third").await;
    let (_, _, _page) = bench.mock.expect_fetch_metadata().await;
    until(&mut status, Phase::Waiting, "queued").await;
    assert!(bench.downloads.cancel(third).await, "a queued one can be cancelled");

    // Content that was added here needs no turn.
    let (_, mut held) = bench.start("held").await;
    let (_, _, _page) = bench.mock.expect_fetch_metadata().await;
    until(&mut held, Phase::Waiting, "queued").await;
    let bytes = Bytes::from_static(b"held");
    bench.content.add_bytes(bytes, AddOptions::default()).await.expect("added");
    until(&mut held, Phase::Done, "").await;

    assert!(bench.downloads.cancel(first).await);
    until(&mut second, Phase::FetchingManifest, "").await;
    bench.downloads.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_without_a_provider_holds_up_no_other() {
    let mut bench = Bench::new(Turns::one());
    let (_, mut first) = bench.start("first").await;
    let (_, _, page) = bench.mock.expect_fetch_metadata().await;
    until(&mut first, Phase::FetchingManifest, "").await;
    // Its provider goes away, and no other is found.
    page.send(Err(Unreachable::ConnectionClosed.into())).expect("it waits");
    loop {
        tokio::select! {
            command = bench.mock.next() => drop(command.expect("the download goes on")),
            () = until(&mut first, Phase::Waiting, "no provider") => break,
        }
    }
    assert!(bench.downloads.shared.turns.try_take().is_some(), "the turn is free");
    bench.downloads.stop().await;
}

/// What a list shows, and the error at its end.
async fn read_all<T>(
    mut list: mpsc::Receiver<Result<T, NodeError>>,
) -> (Vec<T>, Option<NodeError>) {
    let mut rows = Vec::new();
    while let Some(row) = list.recv().await {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => {
                assert!(list.recv().await.is_none(), "something follows the error");
                return (rows, Some(error));
            }
        }
    }
    (rows, None)
}

#[tokio::test]
async fn a_damaged_row_hides_no_other_row_of_a_list() {
    let bench = Bench::new(Turns::one());
    let mut cids = Vec::new();
    for bytes in ["one", "two", "three"] {
        let added = bench.content.add_bytes(bytes.into(), AddOptions::default()).await;
        let cid = added.expect("added").cid;
        let record = bench.downloads.new_record(cid, None, DOWNLOAD_TIMEOUT).await;
        bench.downloads.record(cid, &record.expect("a record")).await.expect("recorded");
        let provide = tables::ProvideRecord::default();
        let mut batch = Batch::default();
        bench.store.commit(batch.put::<tables::Provides>(&cid, &provide)).expect("commit");
        cids.push(cid);
    }
    cids.sort();
    bench.store.damage::<tables::Downloads>(&cids[0]);
    let (listed, error) = read_all(bench.downloads.list()).await;
    assert_eq!(listed.iter().map(|status| status.cid).collect::<Vec<_>>(), cids[1..]);
    assert!(matches!(error, Some(NodeError::Store(_))), "{error:?}");

    let (listed, error) = read_all(bench.content.list()).await;
    assert!(listed.len() == 3 && error.is_none(), "{error:?}");
    bench.store.damage::<tables::Provides>(&cids[0]);
    let (listed, error) = read_all(bench.content.provide.list()).await;
    assert_eq!(listed.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), cids[1..]);
    assert!(error.is_some());
    // Of the first one it is not known whether it is provided.
    bench.store.damage::<Items>(&cids[1]);
    let (listed, error) = read_all(bench.content.list()).await;
    assert_eq!(listed.iter().map(|held| held.cid).collect::<Vec<_>>(), cids[2..]);
    assert!(error.is_some());
}

/// The only page of a content, which needs no proof.
fn first_page(page: Page) -> metadata::Response {
    metadata::Response::Page(ProvenPage { index: 0, page, proof: PageProof::default() })
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_lies_is_banned() {
    let mut bench = Bench::new(Turns::one());
    let _download = bench.start("content").await;
    let (liar, _, page) = bench.mock.expect_fetch_metadata().await;
    let other = Page::new(vec![Leaf::of(b"another")]).expect("a page");
    let answer = first_page(other);
    page.send(Ok(answer)).expect("it waits");
    let banned = loop {
        let command = bench.mock.next().await.expect("the download goes on");
        if let Command::Ban { peer } = command {
            break peer;
        }
    };
    assert_eq!(banned, liar);
    bench.downloads.stop().await;
}

#[tokio::test]
async fn a_reader_waits_for_a_page_that_is_listed_and_not_stored() {
    let mut bench = Bench::new(Turns::one());
    let (cid, _status) = bench.start("content").await;
    let (_, _, asked) = bench.mock.expect_fetch_metadata().await;
    let page = Page::new(vec![Leaf::of(b"content")]).expect("a page");
    let mut batch = Batch::default();
    let known = KnownPage { index: 0, start: 0, root: page.root(), is_complete: false };
    pages::put(&mut batch, cid, &known);
    bench.store.commit(&batch).expect("recorded");
    let mut parts = bench.content.follow(cid);
    for _ in 0..1000 {
        assert!(parts.try_recv().is_err_and(|empty| empty == mpsc::error::TryRecvError::Empty));
        tokio::task::yield_now().await;
    }
    asked.send(Ok(first_page(page))).expect("it waits");
    let (_, _, results) = bench.mock.expect_fetch_chunks().await;
    results.send(Ok(Bytes::from_static(b"content"))).await.expect("it waits");
    let part = parts.recv().await.expect("a part").expect("no error");
    assert_eq!(part, Bytes::from_static(b"content"));
    assert!(parts.recv().await.is_none());
    bench.downloads.stop().await;
}

#[tokio::test]
async fn pages_that_an_earlier_run_has_completed_are_not_looked_at() {
    let Bench { downloads, mut mock, store, .. } = Bench::new(Turns::one());
    // Equal chunks, and one other in the third page or so.
    let chunk = |n: u32| Bytes::from(vec![u8::from(n == 8000); 1 << 16]);
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let cut = (0..9000).filter_map(|n| builder.push(Leaf::of(&chunk(n))).expect("a small file"));
    let mut cut: Vec<_> = cut.collect();
    let (manifest, last) = builder.finish().expect("a file");
    cut.extend(last);
    let (cid, other) = (manifest.cid(), ChunkHash::of(&chunk(8000)));
    let is_refused = Arc::new(AtomicBool::new(true));
    let (sent, refuses) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&is_refused));
    let counted = Arc::clone(&sent);
    let pages: Vec<_> = cut.iter().map(|(_, page)| page.clone()).collect();
    let provider = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Some(command) = mock.next().await {
            match command {
                Command::ConnectedPeers { respond_to } => drop(respond_to.send(Vec::new())),
                Command::FindProviders { found, .. } => drop(found.send(PeerId::random()).await),
                Command::FetchMetadata { request, respond_to, .. } => {
                    let metadata::Request::Page { offset, .. } = request else {
                        let header = metadata::Response::Header((*manifest.header()).into());
                        drop(respond_to.send(Ok(header)));
                        continue;
                    };
                    counted.fetch_add(1, Ordering::Relaxed);
                    let (index, _) = manifest.page_at(offset).expect("a byte of it");
                    let proof = manifest.prove_page(index).expect("a page of it");
                    let page = pages[usize::try_from(index).expect("few")].clone();
                    let proven = ProvenPage { index, page, proof };
                    drop(respond_to.send(Ok(metadata::Response::Page(proven))));
                }
                Command::FetchChunks { leaves, results, .. } => {
                    for leaf in leaves {
                        let is_other = leaf.hash == other;
                        if is_other && refuses.load(Ordering::Relaxed) {
                            break;
                        }
                        drop(results.send(Ok(chunk(if is_other { 8000 } else { 0 }))).await);
                    }
                    open.push(results);
                }
                unexpected => panic!("{unexpected:?}"),
            }
        }
    });
    let mut status = downloads.get(cid, GetOptions::default()).await.expect("started");
    status.wait_for(|status| status.chunks_done == 8999).await.expect("it goes on");
    assert!(downloads.cancel(cid).await);
    until_idle(&downloads).await;
    let known = pages::known(&*store, cid).expect("rows");
    assert_eq!(known.len(), cut.len());
    let (complete, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|page| page.is_complete);
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(rest[0].range().contains(&(8000 << 16)));

    // Nothing of them is read again.
    complete.iter().for_each(|page| store.damage::<tables::Pages>(&page.root.hash));
    is_refused.store(false, Ordering::Relaxed);
    downloads.get_and_wait(cid, GetOptions::default()).await.expect("it is got");
    assert_eq!(sent.load(Ordering::Relaxed), cut.len(), "each page was sent once");
    assert_eq!(pages::known(&*store, cid).expect("rows"), [], "the manifest has them");
    downloads.stop().await;
    drop(downloads);
    provider.await.expect("no panic");
}

/// A provider of one content, until every handle of the network has gone. It sends no chunk
/// while `is_silent`.
async fn serve_one(mut mock: MockNet, bytes: &'static [u8], is_silent: Arc<AtomicBool>) {
    let manifest = dfs_core::describe(bytes, dfs_core::Profile::default(), |_| Ok(()));
    let manifest = manifest.expect("a small file");
    let mut open = Vec::new();
    while let Some(command) = mock.next().await {
        match command {
            Command::ConnectedPeers { respond_to } => drop(respond_to.send(Vec::new())),
            Command::FindProviders { found, .. } => drop(found.send(PeerId::random()).await),
            Command::FetchMetadata { request, respond_to, .. } => {
                let page = Page::new(vec![Leaf::of(bytes)]).expect("a page");
                drop(respond_to.send(Ok(match request {
                    metadata::Request::Page { .. } => first_page(page),
                    _ => metadata::Response::Header((*manifest.header()).into()),
                })));
            }
            Command::FetchChunks { results, .. } => {
                if !is_silent.load(Ordering::Relaxed) {
                    drop(results.send(Ok(Bytes::from_static(bytes))).await);
                }
                open.push(results);
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }
}

/// A node and the only provider of one content.
struct Served {
    downloads: Downloads,
    content: Content,
    store: Arc<WatchedStore>,
    cid: Cid,
    is_silent: Arc<AtomicBool>,
    provider: tokio::task::JoinHandle<()>,
}

impl Served {
    /// The provider sends no chunk at first.
    fn silent() -> Self {
        let bytes = b"content";
        let Bench { downloads, content, mock, store } = Bench::new(Turns::one());
        let is_silent = Arc::new(AtomicBool::new(true));
        let provider = tokio::spawn(serve_one(mock, bytes, Arc::clone(&is_silent)));
        let manifest = dfs_core::describe(&bytes[..], dfs_core::Profile::default(), |_| Ok(()));
        let cid = manifest.expect("a small file").cid();
        Self { downloads, content, store, cid, is_silent, provider }
    }
}

async fn until_idle(downloads: &Downloads) {
    while downloads.active() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_for_a_reader_ends_with_the_reader_and_leaves_no_download_to_resume() {
    let Served { downloads, content, store, cid, is_silent, provider } = Served::silent();
    let parts = content.read_range(cid, 2..5, None).await.expect("started");
    let mut status = downloads.follow(&cid).expect("a job").status;
    status.wait_for(|status| status.size.is_some()).await.expect("it goes on");
    drop(parts);
    until_idle(&downloads).await;
    let record = store.get::<tables::Downloads>(&cid).expect("a look").expect("a record");
    assert_eq!(record.state, DownloadState::Cancelled);

    is_silent.store(false, Ordering::Relaxed);
    let mut parts = content.read_range(cid, 2..5, None).await.expect("started");
    assert_eq!(parts.recv().await.expect("a part").expect("no error"), "nte");
    assert!(parts.recv().await.is_none());
    until_idle(&downloads).await;
    assert!(store.contains::<Items>(&cid).expect("a look"), "all of it was read");
    downloads.stop().await;
    drop((downloads, content));
    provider.await.expect("no panic");
}

#[tokio::test]
async fn a_get_that_joins_a_reader_outlives_it() {
    let Served { downloads, content, store, cid, is_silent, provider } = Served::silent();
    let parts = content.read_range(cid, 0..1, None).await.expect("started");
    let mut status = downloads.get(cid, GetOptions::default()).await.expect("joined");
    drop(parts);
    let record = store.get::<tables::Downloads>(&cid).expect("a look").expect("a record");
    assert_eq!(record.state, DownloadState::Active, "a restart resumes it");
    status.wait_for(|status| status.size.is_some()).await.expect("it goes on");
    assert!(downloads.cancel(cid).await);

    // One that comes while a job ends has a job of its own.
    is_silent.store(false, Ordering::Relaxed);
    let mut parts = content.read_range(cid, 0..9, None).await.expect("started");
    assert_eq!(parts.recv().await.expect("a part").expect("no error"), "content");
    drop(parts);
    until_idle(&downloads).await;
    downloads.stop().await;
    drop((downloads, content));
    provider.await.expect("no panic");
}

#[tokio::test]
async fn getting_content_that_is_held_is_a_use_of_it() {
    let test = TestNode::start().await;
    let content = test.node.client().content();
    let added = content.add_bytes("content".into(), AddOptions::default()).await.expect("added");
    let cid = added.cid;
    let mut batch = Batch::default();
    batch.update::<Items>(&cid, |known| Some(Item { used_ms: 1, ..known? }));
    test.store.commit(&batch).expect("committed");
    let downloads = test.node.client().downloads();
    downloads.get_and_wait(cid, GetOptions::default()).await.expect("held");
    let item = test.store.get::<Items>(&cid).expect("a look").expect("held");
    assert!(item.used_ms > 1 && item.pinned, "{item:?}");
    test.stop().await;
}
