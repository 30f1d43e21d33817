//! What the network reports to its owner on its own account.

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_wire::{Announcement, metadata};
use libp2p::PeerId;
use tokio::sync::oneshot;

use crate::request_id::RequestId;

/// Something that the owner of the network may have to act upon.
#[derive(Debug)]
pub enum NetEvent {
    /// A peer asks for a header or a page. Answer with
    /// [`crate::NetHandle::respond_metadata`].
    MetadataRequest {
        /// The peer that asks.
        peer: PeerId,
        /// Identifies the request in the answer.
        id: RequestId,
        /// What the peer asks for.
        request: metadata::Request,
        /// What is logged about the request belongs there. It has peer and CID.
        span: tracing::Span,
    },
    /// A peer asks for chunks.
    ChunkRequest {
        /// The peer that asks.
        peer: PeerId,
        /// The chunks, in the order in which the peer wants them.
        hashes: Vec<ChunkHash>,
        /// The answer ends with the chunk that makes it at least this long, in
        /// bytes. The rest is requested again.
        max_bytes: u64,
        /// Takes the chunks in the order of the hashes, `None` for one that is not
        /// held. The last ones may be left out.
        respond_to: oneshot::Sender<Vec<Option<Bytes>>>,
    },
    /// A node has announced content by gossip.
    Announced {
        /// The author, whose signature has been checked.
        sender: PeerId,
        /// The announcement.
        announcement: Announcement,
    },
    /// The routing table of the DHT has its first node. Provider records that
    /// were sent to no node are worth sending again.
    DhtJoined,
}
