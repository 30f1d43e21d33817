//! A peer that does not use our codecs: it writes arbitrary bytes on the streams
//! of our protocols, as many as the node reads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_node::{Cid, FailureKind, Multiaddr, NodeRuntime};
use dfs_wire::chunk::Answer;
use dfs_wire::{chunk, metadata};
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use futures::{AsyncReadExt, StreamExt};
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, kad, noise, tcp, yamux};

use crate::peer::{Content, hold, node};

/// What the peer writes in answer to one kind of request.
#[derive(Clone, Debug)]
enum Script {
    /// What an honest provider answers.
    Truth,
    /// These bytes, and then zeros for as long as the node reads.
    Endless(Vec<u8>),
    /// These bytes, and then the end.
    CutOff(Vec<u8>),
}

/// The bytes to be written, and whether they never end.
type Reply = (Vec<u8>, bool);

/// A request of the node.
#[derive(Debug)]
enum Question {
    Metadata(metadata::Request),
    Chunks(chunk::Request),
}

/// Reads a request, the first one of a chunk stream, and writes any bytes as the
/// answer.
#[derive(Clone)]
struct RawCodec {
    written: Arc<AtomicU64>,
}

impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Reply;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Question> {
        if protocol.as_ref() == metadata::PROTOCOL {
            return Ok(Question::Metadata(metadata::read_request(io).await?));
        }
        match chunk::read_request(io).await? {
            Some(request) => Ok(Question::Chunks(request)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok((bytes, false))
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Question,
    ) -> io::Result<()> {
        match request {
            Question::Metadata(request) => metadata::write_request(io, &request).await?,
            Question::Chunks(request) => chunk::write_request(io, &request).await?,
        }
        Ok(())
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (bytes, endless): Reply,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        if !endless {
            return io.flush().await;
        }
        let zeros = [0; 16 << 10];
        loop {
            io.write_all(&zeros).await?;
            self.written.fetch_add(zeros.len() as u64, Ordering::Relaxed);
        }
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    metadata: request_response::Behaviour<RawCodec>,
    chunk: request_response::Behaviour<RawCodec>,
}

/// A peer that provides the content to a node and follows its scripts.
struct Raw {
    peer: PeerId,
    /// Bytes of endless answers that the node has read.
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Raw {
    async fn start(to: Multiaddr, content: Content, metadata: Script, chunk: Script) -> Self {
        let written = Arc::new(AtomicU64::new(0));
        let mut swarm = swarm(&RawCodec { written: Arc::clone(&written) });
        let peer = *swarm.local_peer_id();
        introduce(&mut swarm, to, content.cid()).await;
        let task = tokio::spawn(async move {
            loop {
                let SwarmEvent::Behaviour(event) = swarm.select_next_some().await else {
                    continue;
                };
                let behaviour = swarm.behaviour_mut();
                let (exchange, message, script) = match event {
                    BehaviourEvent::Metadata(request_response::Event::Message {
                        message, ..
                    }) => (&mut behaviour.metadata, message, &metadata),
                    BehaviourEvent::Chunk(request_response::Event::Message { message, .. }) => {
                        (&mut behaviour.chunk, message, &chunk)
                    }
                    _ => continue,
                };
                let request_response::Message::Request { request, channel, .. } = message else {
                    continue;
                };
                let answer = match script {
                    Script::Truth => (truth(&content, &request).await, false),
                    Script::Endless(bytes) => (bytes.clone(), true),
                    Script::CutOff(bytes) => (bytes.clone(), false),
                };
                // The error means that the node has closed the connection.
                let _ = exchange.send_response(channel, answer);
            }
        });
        Self { peer, written, task }
    }
}

/// What an honest provider writes.
async fn truth(content: &Content, question: &Question) -> Vec<u8> {
    let mut bytes = Vec::new();
    match question {
        Question::Metadata(request) => {
            let response = content.metadata(request);
            metadata::write_response(&mut bytes, &response).await.expect("a vector");
        }
        Question::Chunks(chunk::Request::Chunks { hashes }) => {
            for hash in hashes {
                let answer = content.chunk(hash).map_or(Answer::NotFound, Answer::Found);
                chunk::write_answer(&mut bytes, &answer).await.expect("a vector");
            }
        }
        Question::Chunks(chunk::Request::Cancel { .. }) => {}
    }
    bytes
}

fn swarm(codec: &RawCodec) -> Swarm<Behaviour> {
    let exchange = |name| {
        let protocols = [(StreamProtocol::new(name), ProtocolSupport::Full)];
        let config = request_response::Config::default();
        request_response::Behaviour::with_codec(codec.clone(), protocols, config)
    };
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("tcp")
        .with_behaviour(|keypair| {
            let peer = keypair.public().to_peer_id();
            let kad = kad::Config::new(StreamProtocol::new("/dfs/kad/1.0.0"));
            Behaviour {
                kad: kad::Behaviour::with_config(peer, MemoryStore::new(peer), kad),
                metadata: exchange(metadata::PROTOCOL),
                chunk: exchange(chunk::PROTOCOL),
            }
        })
        .expect("a behaviour")
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// Connects to a node and publishes a provider record there.
async fn introduce(swarm: &mut Swarm<Behaviour>, to: Multiaddr, cid: Cid) {
    let Some(libp2p::multiaddr::Protocol::P2p(peer)) = to.iter().last() else {
        panic!("{to} names no peer");
    };
    swarm.behaviour_mut().kad.add_address(&peer, to);
    let key = kad::RecordKey::new(cid.as_bytes());
    swarm.behaviour_mut().kad.start_providing(key).expect("room for one record");
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::StartProviding(result),
            ..
        })) = event
        {
            result.expect("the node was told");
            return;
        }
    }
}

/// Has a node get the content from such a peer alone. Returns how many bytes of
/// endless answers the node has read. The peer has to be banned in the end.
async fn alone_with(metadata: Script, chunk: Script) -> u64 {
    let node: NodeRuntime = node(&[]).await;
    let addr = node.client().status().await.expect("status").net.dialable()[0].clone();
    let content = Content::new(2);
    let cid = content.cid();
    let what = format!("{metadata:.60?} {chunk:.60?}");
    let raw = Raw::start(addr, content, metadata, chunk).await;
    let error = node.client().downloads().get_and_wait(cid, hold(3)).await.expect_err("a lie");
    assert_eq!(error.kind(), FailureKind::NoProvider, "{what}: {error}");
    let known = node.client().network().peers().await.expect("peers");
    let known = known.iter().find(|known| known.peer == raw.peer).expect("known");
    assert!(!known.is_connected(), "kept out after {what}");
    node.shutdown().await;
    raw.task.abort();
    raw.written.load(Ordering::Relaxed)
}

/// Bytes that may be in buffers on both sides when a stream is reset.
const BUFFERED: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_cut_off_and_its_sender_banned() {
    let largest_chunk = [&[0][..], &(4_u32 << 20).to_le_bytes()].concat();
    let largest_page = metadata::MAX_RESPONSE.to_le_bytes().to_vec();
    let (chunks, pages) = tokio::join!(
        alone_with(Script::Truth, Script::Endless(largest_chunk)),
        alone_with(Script::Endless(largest_page), Script::Truth),
    );
    eprintln!("taken: {chunks} bytes for chunks, {pages} for pages");
    assert!(chunks <= 2 * (4 << 20) + BUFFERED, "{chunks} bytes were taken");
    assert!(pages <= BUFFERED, "{pages} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_an_impossible_length_is_banned() {
    let too_large = [&[0][..], &u32::MAX.to_le_bytes()].concat();
    let too_large_page = u32::MAX.to_le_bytes().to_vec();
    let (chunks, pages) = tokio::join!(
        alone_with(Script::Truth, Script::Endless(too_large)),
        alone_with(Script::Endless(too_large_page), Script::Truth),
    );
    eprintln!("taken: {chunks} bytes for chunks, {pages} for pages");
    assert!(chunks <= BUFFERED && pages <= BUFFERED, "{chunks}, {pages} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_garbage_is_banned() {
    let garbage = [&7_u32.to_le_bytes()[..], b"garbage"].concat();
    tokio::join!(
        alone_with(Script::Truth, Script::CutOff(vec![9, 0, 0, 0, 0])),
        alone_with(Script::Truth, Script::CutOff(vec![0, 0, 0, 0, 0])),
        alone_with(Script::CutOff(garbage), Script::Truth),
    );
}
