//! Chunk requests of peers between their arrival and the end of their answer.
//!
//! Chunks are large, so what is being read for a peer or waits to be written
//! to it is counted in bytes. Requests beyond that wait in a short queue, and
//! beyond the queue the answer is "busy" at once: a peer that asks for much and
//! reads nothing costs a fixed amount of memory.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use dfs_core::limits::MAX_CHUNK_LEN;
use dfs_wire::chunk::{Request, Response};
use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use tracing::Span;

use super::Serve;
use crate::event::NetEvent;
use crate::limits::{MAX_QUEUED_CHUNK_REQUESTS, MAX_SERVED_BYTES, MAX_SERVED_BYTES_PER_PEER};
use crate::metrics::{Exchange, Metrics};
use crate::request_id::{RequestId, RequestIds};
use crate::timing::BUSY_RETRY_MS;

/// All chunk requests of peers.
///
/// `K` names a request in libp2p and `C` is its way back; tests use their own.
#[derive(Debug)]
pub(crate) struct ChunkServer<K = InboundRequestId, C = ResponseChannel<Response>> {
    ids: RequestIds,
    peers: HashMap<PeerId, Load<K, C>>,
    admitted: HashMap<RequestId, Admitted<C>>,
    by_key: HashMap<K, RequestId>,
    /// What all admitted requests count for, in bytes.
    bytes: u64,
    metrics: Metrics,
}

/// What one peer has asked for.
#[derive(Debug)]
struct Load<K, C> {
    /// What its admitted requests count for, in bytes.
    bytes: u64,
    queue: VecDeque<Queued<K, C>>,
}

#[derive(Debug)]
struct Queued<K, C> {
    key: K,
    request: Request,
    channel: C,
    /// Lasts from the arrival to the end of the answer.
    span: Span,
}

#[derive(Debug)]
struct Admitted<C> {
    peer: PeerId,
    /// The largest chunk until the length of the answer is known.
    bytes: u64,
    /// Taken when the answer is handed over.
    channel: Option<C>,
    span: Span,
}

impl<K: Copy + Eq + Hash, C> ChunkServer<K, C> {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            ids: RequestIds::default(),
            peers: HashMap::new(),
            admitted: HashMap::new(),
            by_key: HashMap::new(),
            bytes: 0,
            metrics,
        }
    }

    /// A request has arrived.
    pub(crate) fn on_request(
        &mut self,
        peer: PeerId,
        key: K,
        request: Request,
        channel: C,
    ) -> Vec<Serve<C, Response>> {
        let span = tracing::debug_span!("serve", protocol = "chunk", %peer);
        let load =
            self.peers.entry(peer).or_insert_with(|| Load { bytes: 0, queue: VecDeque::new() });
        if load.queue.len() >= MAX_QUEUED_CHUNK_REQUESTS {
            span.in_scope(|| tracing::debug!(outcome = "busy", "answered"));
            self.count("busy");
            let busy = Response::Busy { retry_ms: BUSY_RETRY_MS };
            return vec![Serve::Respond(channel, busy)];
        }
        load.queue.push_back(Queued { key, request, channel, span });
        self.admit()
    }

    /// The owner of the network has an answer. Returns the peer and its
    /// channel, unless the peer has given up.
    pub(crate) fn on_answer(&mut self, id: RequestId, response: &Response) -> Option<(PeerId, C)> {
        let admitted = self.admitted.get_mut(&id)?;
        let channel = admitted.channel.take()?;
        let (len, outcome) = match response {
            Response::Found(bytes) => (bytes.len() as u64, "found"),
            Response::NotFound => (0, "not_found"),
            Response::Busy { .. } => (0, "busy"),
        };
        admitted.span.in_scope(|| tracing::debug!(outcome, bytes = len, "answered"));
        let (peer, before) = (admitted.peer, admitted.bytes);
        admitted.bytes = len;
        if let Some(load) = self.peers.get_mut(&peer) {
            load.bytes = load.bytes + len - before;
        }
        self.bytes = self.bytes + len - before;
        self.count(outcome);
        Some((peer, channel))
    }

    /// The answer has been written, or the request has failed. Returns the
    /// requests for which there is room now.
    pub(crate) fn on_ended(&mut self, peer: PeerId, key: K) -> Vec<Serve<C, Response>> {
        let mut given_up = false;
        if let Some(admitted) = self.by_key.remove(&key).and_then(|id| self.admitted.remove(&id)) {
            given_up = admitted.channel.is_some();
            self.bytes -= admitted.bytes;
            if let Some(load) = self.peers.get_mut(&peer) {
                load.bytes -= admitted.bytes;
            }
        }
        if let Some(load) = self.peers.get_mut(&peer) {
            let before = load.queue.len();
            load.queue.retain(|queued| queued.key != key);
            given_up |= load.queue.len() < before;
            if load.bytes == 0 && load.queue.is_empty() {
                self.peers.remove(&peer);
            }
        }
        if given_up {
            self.count("failed");
        }
        self.admit()
    }

    /// The requests of all peers for whose answers there is room.
    pub(crate) fn admit(&mut self) -> Vec<Serve<C, Response>> {
        let mut admitted = Vec::new();
        while let Some(event) = self.admit_one() {
            admitted.push(Serve::Emit(event));
        }
        let queued: usize = self.peers.values().map(|load| load.queue.len()).sum();
        self.metrics.queued_chunk_requests.set(queued as u64);
        self.metrics.chunks_being_served.set(self.bytes);
        admitted
    }

    fn admit_one(&mut self) -> Option<NetEvent> {
        let worst = u64::from(MAX_CHUNK_LEN);
        if self.bytes + worst > MAX_SERVED_BYTES {
            return None;
        }
        // The peer with the fewest bytes in flight goes first, so that a greedy
        // peer does not hold up the others.
        let (&peer, load) = self
            .peers
            .iter_mut()
            .filter(|(_, load)| !load.queue.is_empty())
            .filter(|(_, load)| load.bytes + worst <= MAX_SERVED_BYTES_PER_PEER)
            .min_by_key(|(_, load)| load.bytes)?;
        let Queued { key, request, channel, span } = load.queue.pop_front()?;
        load.bytes += worst;
        self.bytes += worst;
        let id = self.ids.next();
        self.by_key.insert(key, id);
        self.admitted.insert(id, Admitted { peer, bytes: worst, channel: Some(channel), span });
        Some(NetEvent::ChunkRequest { peer, id, request })
    }

    fn count(&self, outcome: &'static str) {
        let exchange = Exchange { protocol: "chunk", outcome };
        self.metrics.requests_served.get_or_create(&exchange).inc();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dfs_core::ChunkHash;

    use super::*;

    /// Requests admitted for one peer before any length is known.
    const ADMITTED: usize = 4;

    type Server = ChunkServer<usize, usize>;

    fn server() -> Server {
        ChunkServer::new(Metrics::default())
    }

    fn ask(server: &mut Server, peer: PeerId, key: usize) -> Vec<Serve<usize, Response>> {
        server.on_request(peer, key, Request { hash: ChunkHash::of(b"a chunk") }, key)
    }

    fn admitted(effects: &[Serve<usize, Response>]) -> Vec<RequestId> {
        let id = |effect: &Serve<usize, Response>| match effect {
            Serve::Emit(NetEvent::ChunkRequest { id, .. }) => *id,
            other => panic!("{other:?}"),
        };
        effects.iter().map(id).collect()
    }

    #[test]
    fn one_peer_costs_a_fixed_amount_of_memory() {
        let mut server = server();
        let peer = PeerId::random();
        let effects: Vec<_> = (0..500).flat_map(|key| ask(&mut server, peer, key)).collect();
        let (reported, refused): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Serve::Emit(_)));
        assert_eq!(reported.len(), ADMITTED);
        assert_eq!(ADMITTED as u64 * u64::from(MAX_CHUNK_LEN), MAX_SERVED_BYTES_PER_PEER);
        assert_eq!(refused.len(), 500 - ADMITTED - MAX_QUEUED_CHUNK_REQUESTS);
        assert_eq!(server.metrics.chunks_being_served.get(), MAX_SERVED_BYTES_PER_PEER);
        assert_eq!(server.metrics.queued_chunk_requests.get(), 64);
        assert_eq!(admitted(&ask(&mut server, PeerId::random(), 500)).len(), 1, "another peer");
    }

    #[test]
    fn an_answer_counts_until_it_is_written() {
        let mut server = server();
        let peer = PeerId::random();
        let first: Vec<_> = (0..=ADMITTED).flat_map(|key| ask(&mut server, peer, key)).collect();
        let first = admitted(&first);
        assert_eq!(first.len(), ADMITTED, "the last one waits");
        let full = Response::Found(Bytes::from(vec![0; MAX_CHUNK_LEN as usize]));
        assert_eq!(server.on_answer(first[0], &full), Some((peer, 0)));
        assert_eq!(server.on_answer(first[0], &full), None, "answered once");
        assert!(server.admit().is_empty(), "the bytes are still being written");
        assert_eq!(admitted(&server.on_ended(peer, 0)).len(), 1);
        // A small answer makes room at once.
        ask(&mut server, peer, 100);
        server.on_answer(first[1], &Response::NotFound).expect("open");
        assert_eq!(admitted(&server.admit()).len(), 1);
    }

    #[test]
    fn a_peer_that_disconnects_leaves_nothing_behind() {
        let mut server = server();
        let peer = PeerId::random();
        for key in 0..20 {
            ask(&mut server, peer, key);
        }
        for key in 0..20 {
            server.on_ended(peer, key);
        }
        assert!(server.peers.is_empty() && server.admitted.is_empty() && server.by_key.is_empty());
        assert_eq!((server.bytes, server.metrics.queued_chunk_requests.get()), (0, 0));
        let failed = Exchange { protocol: "chunk", outcome: "failed" };
        assert_eq!(server.metrics.requests_served.get_or_create(&failed).get(), 20);
    }
}
