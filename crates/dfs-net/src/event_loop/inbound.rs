//! Requests of peers between their arrival and the end of their answer.
//!
//! Chunks are large, so what is being read for a peer or waits to be written
//! to it is counted in bytes. Requests beyond that wait in a short queue, and
//! beyond the queue the answer is "busy" at once: one peer that asks for much
//! and reads nothing costs a fixed amount of memory.

use std::collections::{HashMap, VecDeque};

use dfs_core::limits::MAX_CHUNK_LEN;
use dfs_wire::chunk;
use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};

use crate::command::RequestId;
use crate::event::NetEvent;

/// Bytes being served to one peer.
const MAX_BYTES_PER_PEER: u64 = 16 << 20;
/// Bytes being served to all peers.
const MAX_BYTES: u64 = 64 << 20;
/// Requests of one peer that wait for their turn.
const MAX_QUEUE: usize = 64;
/// What a peer over its queue is told to wait, in milliseconds.
pub(crate) const RETRY_MS: u32 = 500;

type Channel = ResponseChannel<chunk::Response>;

/// All chunk requests of peers.
#[derive(Default)]
pub(crate) struct Inbound {
    peers: HashMap<PeerId, Load>,
    /// Admitted requests; what each one counts for, in bytes.
    admitted: HashMap<InboundRequestId, Admitted>,
    bytes: u64,
}

#[derive(Default)]
struct Load {
    bytes: u64,
    queue: VecDeque<(InboundRequestId, chunk::Request, Channel)>,
}

struct Admitted {
    peer: PeerId,
    bytes: u64,
    /// Taken when the answer is handed over.
    channel: Option<Channel>,
}

impl Inbound {
    /// Takes a request. Returns the channel back if the peer has to be told
    /// that this node is busy.
    pub(crate) fn arrived(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: chunk::Request,
        channel: Channel,
    ) -> Result<(), Channel> {
        let load = self.peers.entry(peer).or_default();
        if load.queue.len() >= MAX_QUEUE {
            return Err(channel);
        }
        load.queue.push_back((id, request, channel));
        Ok(())
    }

    /// The next request for whose answer there is room, whichever peer's.
    pub(crate) fn admit(&mut self) -> Option<NetEvent> {
        let worst = u64::from(MAX_CHUNK_LEN);
        if self.bytes + worst > MAX_BYTES {
            return None;
        }
        // The peer with the least in flight goes first, so that a greedy one
        // does not hold up the others.
        let (&peer, load) = self
            .peers
            .iter_mut()
            .filter(|(_, load)| !load.queue.is_empty())
            .filter(|(_, load)| load.bytes + worst <= MAX_BYTES_PER_PEER)
            .min_by_key(|(_, load)| load.bytes)?;
        let (id, request, channel) = load.queue.pop_front()?;
        load.bytes += worst;
        self.bytes += worst;
        self.admitted.insert(id, Admitted { peer, bytes: worst, channel: Some(channel) });
        Some(NetEvent::ChunkRequest { peer, id: RequestId(id), request })
    }

    /// The node has an answer of `len` bytes: its channel, if the request is
    /// still open.
    pub(crate) fn answer(&mut self, id: RequestId, len: usize) -> Option<(PeerId, Channel)> {
        let admitted = self.admitted.get_mut(&id.0)?;
        let channel = admitted.channel.take()?;
        let (len, was) = (len as u64, admitted.bytes);
        admitted.bytes = len;
        let peer = admitted.peer;
        if let Some(load) = self.peers.get_mut(&peer) {
            load.bytes = load.bytes + len - was;
        }
        self.bytes = self.bytes + len - was;
        Some((peer, channel))
    }

    /// The answer has been written, or never will be.
    pub(crate) fn ended(&mut self, peer: PeerId, id: InboundRequestId) {
        let freed = self.admitted.remove(&id).map_or(0, |admitted| admitted.bytes);
        self.bytes -= freed;
        if let Some(load) = self.peers.get_mut(&peer) {
            load.bytes -= freed;
            load.queue.retain(|(queued, ..)| *queued != id);
            if load.bytes == 0 && load.queue.is_empty() {
                self.peers.remove(&peer);
            }
        }
    }
}
