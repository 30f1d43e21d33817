//! What the network reports to its owner on its own account.

use dfs_wire::{Announcement, chunk, metadata};
use libp2p::PeerId;

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
    },
    /// A peer asks for a chunk. Answer with
    /// [`crate::NetHandle::respond_chunk`].
    ChunkRequest {
        /// The peer that asks.
        peer: PeerId,
        /// Identifies the request in the answer.
        id: RequestId,
        /// What the peer asks for.
        request: chunk::Request,
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
