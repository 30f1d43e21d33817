//! Answering the requests of peers from the store.
//!
//! [`NetworkEvents`] routes what the network reports; [`Serving`] answers
//! requests, a bounded number at a time. How many bytes may be served, and to
//! whom, `dfs-net` has decided before a request arrives here.

use bytes::Bytes;
use dfs_core::merkle::page::LEAF_LEN;
use dfs_core::{ChunkHash, Cid, Header, Page, ProvenPage};
use dfs_net::{NetEvent, NetHandle, PeerId, RequestId};
use dfs_store::tables::{Items, Manifests, Pages};
use dfs_store::{Store, StoreError, Tables};
use dfs_wire::metadata;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{Instrument, Span};

use crate::blocking::Disk;
use crate::error::NodeError;
use crate::feed::Feed;
use crate::limits::{MAX_ANSWERS, MAX_WAITING_REQUESTS};
use crate::metrics::{Metrics, OutcomeLabel};
use crate::provide::Provide;
use crate::workers::{Worker, panic_message};

/// A request of a peer.
pub(crate) enum Request {
    Metadata { id: RequestId, request: metadata::Request, span: Span },
    Chunks(ChunkRequest),
}

/// A request for chunks; the fields are those of [`NetEvent::ChunkRequest`].
pub(crate) struct ChunkRequest {
    peer: PeerId,
    hashes: Vec<ChunkHash>,
    max_bytes: u64,
    respond_to: oneshot::Sender<Vec<Option<Bytes>>>,
}

/// Routes the events of the network to the parts of the node.
pub(crate) struct NetworkEvents {
    events: mpsc::Receiver<NetEvent>,
    requests: mpsc::Sender<Request>,
    provide: Provide,
    feed: Feed,
    metrics: Metrics,
}

impl NetworkEvents {
    /// The router, and the requests that it passes on.
    pub(crate) fn new(
        events: mpsc::Receiver<NetEvent>,
        provide: Provide,
        feed: Feed,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(MAX_WAITING_REQUESTS);
        (Self { events, requests, provide, feed, metrics }, receiver)
    }
}

impl Worker for NetworkEvents {
    const NAME: &'static str = "network events";
    const ESSENTIAL: bool = true;
    type Work = NetEvent;

    async fn wait(&mut self) -> Option<NetEvent> {
        // Without room for a request, events wait in the network, which
        // bounds them.
        let _room = self.requests.reserve().await.ok()?;
        self.events.recv().await
    }

    async fn step(&mut self, event: NetEvent) -> Result<(), NodeError> {
        let request = match event {
            NetEvent::DhtJoined => {
                self.provide.dht_joined();
                return Ok(());
            }
            NetEvent::Announced { sender, announcement } => {
                self.metrics.announcements_heard.inc();
                self.feed.push(sender, announcement);
                return Ok(());
            }
            NetEvent::MetadataRequest { id, request, span, .. } => {
                Request::Metadata { id, request, span }
            }
            NetEvent::ChunkRequest { peer, hashes, max_bytes, respond_to } => {
                Request::Chunks(ChunkRequest { peer, hashes, max_bytes, respond_to })
            }
        };
        self.requests.send(request).await.map_err(|_| NodeError::ShuttingDown)
    }
}

/// Answers requests.
pub(crate) struct Serving {
    disk: Disk,
    net: NetHandle,
    requests: mpsc::Receiver<Request>,
    answers: JoinSet<()>,
    metrics: Metrics,
}

impl Serving {
    pub(crate) fn new(
        disk: Disk,
        net: NetHandle,
        requests: mpsc::Receiver<Request>,
        metrics: Metrics,
    ) -> Self {
        Self { disk, net, requests, answers: JoinSet::new(), metrics }
    }
}

impl Worker for Serving {
    const NAME: &'static str = "serving";
    const ESSENTIAL: bool = true;
    type Work = Request;

    async fn wait(&mut self) -> Option<Request> {
        loop {
            tokio::select! {
                Some(ended) = self.answers.join_next() => {
                    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                        tracing::error!(cause = panic_message(&*panic), "an answer to a peer failed");
                    }
                }
                request = self.requests.recv(), if self.answers.len() < MAX_ANSWERS => {
                    return request;
                }
            }
        }
    }

    async fn step(&mut self, request: Request) -> Result<(), NodeError> {
        let (disk, net, metrics) = (self.disk.clone(), self.net.clone(), self.metrics.clone());
        let span = match &request {
            Request::Metadata { span, .. } => span.clone(),
            Request::Chunks(ChunkRequest { peer, .. }) => {
                tracing::debug_span!("chunk request", %peer)
            }
        };
        let answer = async move {
            let outcome = answer(&disk, &net, request).await;
            metrics.uploads.get_or_create(&OutcomeLabel::of(outcome)).inc();
        };
        self.answers.spawn(answer.instrument(span));
        Ok(())
    }

    async fn stop(&mut self) {
        self.answers.shutdown().await;
    }
}

/// Answers a request and names the outcome. An error of `respond` means that
/// the network has ended.
async fn answer(disk: &Disk, net: &NetHandle, request: Request) -> &'static str {
    match request {
        Request::Metadata { id, request, .. } => {
            let read = disk.run(move |store| metadata_for(store, &request)).await;
            let (response, outcome) = match read {
                Ok(Some(response)) => (response, "found"),
                Ok(None) => (metadata::Response::NotFound, "not_found"),
                Err(error) => (metadata::Response::NotFound, store_failed(&error)),
            };
            let _ = net.respond_metadata(id, response).await;
            outcome
        }
        Request::Chunks(ChunkRequest { hashes, max_bytes, respond_to, .. }) => {
            let read = disk.run(move |store| Ok(chunks_of(store, &hashes, max_bytes))).await;
            let (chunks, outcome) = match read {
                Ok((chunks, outcome)) => (chunks, outcome),
                Err(error) => (Vec::new(), store_failed(&error)),
            };
            // The error means that the stream has ended.
            let _ = respond_to.send(chunks);
            outcome
        }
    }
}

/// Reads chunks until they have `max_bytes` together, and names the outcome. A
/// chunk that cannot be read is not held, as far as the peer is concerned.
fn chunks_of(
    store: &dyn Store,
    hashes: &[ChunkHash],
    max_bytes: u64,
) -> (Vec<Option<Bytes>>, &'static str) {
    let (mut chunks, mut bytes, mut outcome) = (Vec::new(), 0, "found");
    for hash in hashes {
        let chunk = match store.chunk(hash) {
            Ok(chunk) => chunk,
            Err(error) => {
                outcome = store_failed(&error);
                None
            }
        };
        match &chunk {
            Some(chunk) => bytes += chunk.len() as u64,
            None if outcome == "found" => outcome = "not_found",
            None => {}
        }
        chunks.push(chunk);
        if bytes >= max_bytes {
            break;
        }
    }
    (chunks, outcome)
}

fn store_failed(error: &StoreError) -> &'static str {
    tracing::error!(error = crate::error::report(error), "a request was not answered");
    "store_failed"
}

fn metadata_for(
    store: &dyn Store,
    request: &metadata::Request,
) -> Result<Option<metadata::Response>, StoreError> {
    match *request {
        metadata::Request::Header { cid, room } => {
            let Some(item) = store.get::<Items>(&cid)? else { return Ok(None) };
            Ok(Some(metadata::Response::Header(describe(store, item.header, room))))
        }
        metadata::Request::Page { cid, offset } => page_at(store, &cid, offset),
        // The network keeps provider records and answers this itself.
        metadata::Request::Provided { .. } => Ok(None),
    }
}

/// A header, with the page and the chunks of a content that is small enough. What cannot
/// be read stays out, and the peer asks for it.
fn describe(store: &dyn Store, header: Header, room: u32) -> metadata::Description {
    let mut description = metadata::Description::from(header);
    let room = u64::from(room.min(metadata::MAX_ROOM));
    let page_len = header.chunk_count() * LEAF_LEN as u64;
    if header.page_count() != 1 || page_len > room {
        return description;
    }
    description.page = only_page(store, &header.cid()).unwrap_or_else(|error| {
        store_failed(&error);
        None
    });
    if let Some(page) = &description.page
        && page_len + header.size() <= room
    {
        let hashes: Vec<_> = page.leaves().iter().map(|leaf| leaf.hash).collect();
        let (chunks, _) = chunks_of(store, &hashes, u64::MAX);
        let chunks: Option<Vec<Bytes>> = chunks.into_iter().collect();
        let chunks = chunks.unwrap_or_default();
        // The peer cuts the content at the lengths in the page. If one of them is false, it
        // finds out when it asks for the chunk.
        let lengths = page.leaves().iter().map(|leaf| leaf.len as usize);
        if chunks.iter().map(Bytes::len).eq(lengths) {
            description.content = chunks.concat().into();
        }
    }
    description
}

fn only_page(store: &dyn Store, cid: &Cid) -> Result<Option<Page>, StoreError> {
    let manifest = store.get::<Manifests>(cid)?;
    let root = manifest.as_ref().and_then(|manifest| manifest.page_roots().first());
    root.map_or(Ok(None), |root| store.get::<Pages>(&root.hash))
}

fn page_at(
    store: &dyn Store,
    cid: &Cid,
    offset: u64,
) -> Result<Option<metadata::Response>, StoreError> {
    let Some(manifest) = store.get::<Manifests>(cid)? else { return Ok(None) };
    let Some((index, place)) = manifest.page_at(offset) else { return Ok(None) };
    let Some(proof) = manifest.prove_page(index) else { return Ok(None) };
    let page = store.get::<Pages>(&place.root.hash)?;
    Ok(page.map(|page| metadata::Response::Page(ProvenPage { index, page, proof })))
}

#[cfg(test)]
mod tests {
    use dfs_core::{Kind, Leaf, ManifestBuilder, Profile};
    use dfs_store::tables::Item;
    use dfs_store::{Batch, MetaStore};

    use super::*;
    use crate::content::AddOptions;
    use crate::error::Damage;
    use crate::test_node::TestNode;

    async fn add(test: &TestNode, bytes: &'static [u8]) -> Cid {
        let bytes = Bytes::from_static(bytes);
        let added = test.node.client().content().add_bytes(bytes, AddOptions::default()).await;
        added.expect("added").cid
    }

    #[tokio::test]
    async fn a_header_is_sent_although_what_could_come_with_it_cannot_be_read() {
        let test = TestNode::start().await;
        let cid = add(&test, b"content").await;
        let ask = || {
            let request = metadata::Request::Header { cid, room: 1000 };
            match metadata_for(&*test.store, &request).expect("an answer") {
                Some(metadata::Response::Header(description)) => description,
                other => panic!("{other:?}"),
            }
        };
        let whole = ask();
        assert_eq!(whole.content, Bytes::from_static(b"content"));

        let page = whole.page.expect("the only page");
        test.store.damage::<Pages>(&page.root().hash);
        assert_eq!(ask(), whole.header.into());
        test.store.damage::<Manifests>(&cid);
        assert_eq!(ask(), whole.header.into());
        test.stop().await;
    }

    #[tokio::test]
    async fn content_with_a_false_length_is_neither_sent_with_its_header_nor_read() {
        let test = TestNode::start().await;
        add(&test, b"content").await;
        let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc));
        builder.push(Leaf { len: 3, ..Leaf::of(b"content") }).expect("a possible length");
        let (manifest, page) = builder.finish().expect("a file");
        let (cid, (_, page)) = (manifest.cid(), page.expect("one page"));
        let item = Item {
            header: *manifest.header(),
            name: None,
            added_ms: 0,
            public: false,
            pinned: false,
            used_ms: 0,
            files: Vec::new(),
        };
        let mut batch = Batch::default();
        batch.put::<Manifests>(&cid, &manifest).put::<Items>(&cid, &item);
        batch.put_page(cid.into(), page.root().hash, page);
        test.store.commit(&batch).expect("committed");

        let request = metadata::Request::Header { cid, room: 1000 };
        let sent = metadata_for(&*test.store, &request).expect("an answer");
        let Some(metadata::Response::Header(sent)) = sent else { panic!("{sent:?}") };
        assert!(sent.page.is_some() && sent.content.is_empty(), "{sent:?}");

        let mut parts = test.node.client().content().read(cid).await.expect("held");
        let error = parts.recv().await.expect("a result").expect_err("a false length");
        let NodeError::Damaged { source, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(source, Damage::FalseLength(hash) if *hash == ChunkHash::of(b"content")));
        test.stop().await;
    }

    #[tokio::test]
    async fn requests_of_peers_are_answered_from_the_store() {
        let mut test = TestNode::start().await;
        let cid = add(&test, b"content").await;
        let peer = PeerId::random();
        for (number, asked) in [(1, cid), (2, Cid::from_bytes([9; 32]))] {
            let request = metadata::Request::Header { cid: asked, room: 0 };
            let (id, span) = (RequestId::new(number), Span::none());
            let event = NetEvent::MetadataRequest { peer, id, request, span };
            test.events.send(event).await.expect("the node listens");
            let (answered, response) = test.mock.expect_respond_metadata().await;
            assert_eq!(answered, id);
            match response {
                metadata::Response::Header(found) => assert_eq!(found.header.cid(), asked),
                other => assert_eq!((other, number), (metadata::Response::NotFound, 2)),
            }
        }
        let (respond_to, response) = oneshot::channel();
        let hashes = vec![ChunkHash::of(b"content"), ChunkHash::of(b"absent")];
        let event = NetEvent::ChunkRequest { peer, hashes, max_bytes: 1 << 20, respond_to };
        test.events.send(event).await.expect("the node listens");
        let chunks = response.await.expect("an answer");
        assert_eq!(chunks, [Some(Bytes::from_static(b"content")), None]);
        test.stop().await;
    }
}
