//! A peer that is not a node: it provides content, and the test decides what
//! it answers.

use bytes::Bytes;
use dfs_core::{
    ChunkHash, Chunker, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, ProvenPage,
};
use dfs_net::{NetConfig, NetEvent, NetHandle, RequestId};
use dfs_node::{Cid, GetOptions, Keypair, Multiaddr, NodeConfig, NodeRuntime};
use dfs_wire::metadata;
use tokio::sync::oneshot;

/// A file as a provider has it.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// By the leaves of the page.
    chunks: Vec<Bytes>,
    pub(crate) manifest: Manifest,
    pub(crate) page: Page,
}

impl Content {
    /// A file of `chunks` different chunks.
    pub(crate) fn new(chunks: usize) -> Self {
        let mut bytes = vec![0; chunks << 16];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        Self::of(bytes)
    }

    /// A file of these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
        let mut chunker = Chunker::new(&bytes[..], Profile::Fixed);
        let mut chunks = Vec::new();
        while let Some(chunk) = chunker.next_chunk().expect("memory") {
            builder.push(Leaf::of(chunk)).expect("a small file");
            chunks.push(chunk.to_vec().into());
        }
        Self::finish(builder, chunks, bytes)
    }

    /// A content of one chunk that says that the chunk has another length.
    pub(crate) fn with_false_length(bytes: Vec<u8>, len: u32) -> Self {
        let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc));
        builder.push(Leaf { len, ..Leaf::of(&bytes) }).expect("a possible length");
        Self::finish(builder, vec![bytes.clone().into()], bytes)
    }

    fn finish(builder: ManifestBuilder, chunks: Vec<Bytes>, bytes: Vec<u8>) -> Self {
        let (manifest, page) = builder.finish().expect("a file");
        Self { manifest, page: page.expect("one page").1, chunks, bytes }
    }

    pub(crate) fn cid(&self) -> Cid {
        self.manifest.cid()
    }

    /// What an honest provider answers.
    pub(crate) fn metadata(&self, request: &metadata::Request) -> metadata::Response {
        match *request {
            metadata::Request::Header { cid, .. } if cid == self.cid() => {
                metadata::Response::Header((*self.manifest.header()).into())
            }
            metadata::Request::Page { cid, .. } if cid == self.cid() => {
                let proof = self.manifest.prove_page(0).expect("the only page");
                metadata::Response::Page(ProvenPage { index: 0, page: self.page.clone(), proof })
            }
            _ => metadata::Response::NotFound,
        }
    }

    /// What an honest provider answers.
    pub(crate) fn chunk(&self, hash: &ChunkHash) -> Option<Bytes> {
        let position = self.page.leaves().iter().position(|leaf| leaf.hash == *hash)?;
        Some(self.chunks[position].clone())
    }
}

/// A request to the peer, which may answer it or not.
pub(crate) enum Question {
    Metadata(RequestId, metadata::Request),
    Chunks(Vec<ChunkHash>, oneshot::Sender<Vec<Option<Bytes>>>),
}

/// A running peer.
pub(crate) struct Peer {
    pub(crate) net: NetHandle,
    pub(crate) addr: Multiaddr,
}

impl Peer {
    /// Starts a peer that knows `others`; `answer` handles each request.
    pub(crate) async fn start<F>(
        others: Vec<Multiaddr>,
        answer: impl Fn(NetHandle, Question) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut config = NetConfig::new(Keypair::generate_ed25519());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        config.bootstrap = others;
        config.mdns = false;
        let (net, mut events) = dfs_net::spawn(config, &mut dfs_node::Registry::default())
            .await
            .expect("a network on loopback");
        let status = net.status().await.expect("status");
        let addr = status.listen[0].clone().with_p2p(status.peer).expect("without a peer");
        let handle = net.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let question = match event {
                    NetEvent::MetadataRequest { id, request, .. } => {
                        Question::Metadata(id, request)
                    }
                    NetEvent::ChunkRequest { hashes, respond_to, .. } => {
                        Question::Chunks(hashes, respond_to)
                    }
                    _ => continue,
                };
                tokio::spawn(answer(handle.clone(), question));
            }
        });
        Self { net, addr }
    }

    /// Publishes a provider record until at least one node has received it.
    pub(crate) async fn announce(&self, cid: Cid) {
        while self.net.start_providing(cid).await.expect("announce") == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// A node in memory that knows these peers.
pub(crate) async fn node(peers: &[&Peer]) -> NodeRuntime {
    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = peers.iter().map(|peer| peer.addr.clone()).collect();
    NodeRuntime::start(config).await.expect("a node in memory")
}

/// Options that write no file and fail after so many seconds.
pub(crate) fn hold(seconds: u64) -> GetOptions {
    let mut options = GetOptions::default();
    options.timeout = Some(std::time::Duration::from_secs(seconds));
    options
}
