//! What the network tells the node, unasked and when asked.

use std::time::Duration;

use dfs_wire::{Announcement, chunk, metadata};
use libp2p::{Multiaddr, PeerId};

use crate::command::RequestId;
use crate::config::DhtMode;

/// Something happened that the node may have to act upon.
#[derive(Debug)]
pub enum NetEvent {
    /// A peer asks for a header or a page; to be answered with
    /// [`crate::NetHandle::respond_metadata`].
    MetadataRequest {
        /// Who asks.
        peer: PeerId,
        /// Names the request in the answer.
        id: RequestId,
        /// What it asks for.
        request: metadata::Request,
    },
    /// A peer asks for a chunk; to be answered with
    /// [`crate::NetHandle::respond_chunk`].
    ChunkRequest {
        /// Who asks.
        peer: PeerId,
        /// Names the request in the answer.
        id: RequestId,
        /// What it asks for.
        request: chunk::Request,
    },
    /// Somebody has announced content to everybody.
    Announced {
        /// Who signed the announcement.
        sender: PeerId,
        /// What was announced.
        announcement: Announcement,
    },
    /// The DHT has come to know its first node, so announcements that reached
    /// nobody are worth repeating.
    DhtJoined,
}

/// The network at a glance.
#[derive(Debug, Clone)]
pub struct NetStatus {
    /// This node.
    pub peer: PeerId,
    /// Addresses listened on.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node, as far as confirmed.
    pub external: Vec<Multiaddr>,
    /// Connected peers.
    pub connected: usize,
    /// Part taken in the DHT.
    pub dht_mode: DhtMode,
    /// Nodes in the routing table.
    pub dht_peers: usize,
    /// Content bytes per second sent to peers over the last seconds.
    pub send_rate: u64,
    /// Content bytes per second received from peers over the last seconds.
    pub receive_rate: u64,
    /// What has become of announcements of others.
    pub gossip: GossipCounters,
}

impl NetStatus {
    /// The addresses listened on with this node's identity, as others can dial
    /// them.
    #[must_use]
    pub fn dialable(&self) -> Vec<Multiaddr> {
        let with_peer = |addr: &Multiaddr| addr.clone().with_p2p(self.peer).ok();
        self.listen.iter().filter_map(with_peer).collect()
    }
}

/// What has become of announcements of others since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GossipCounters {
    /// Taken and passed on.
    pub accepted: u64,
    /// Too large or no announcement; not passed on.
    pub malformed: u64,
    /// Without the signature of the author it names, or too large to be looked
    /// at; not passed on.
    pub dropped: u64,
    /// From somebody who announces too much; not passed on.
    pub flooding: u64,
}

/// What is known of a peer, kept after it has gone until others push it out.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it is.
    pub peer: PeerId,
    /// What it calls itself. Its own words: escape before showing them.
    pub agent: Option<String>,
    /// Addresses it is or was reached under.
    pub addresses: Vec<Multiaddr>,
    /// Open connections that we dialled.
    pub outbound: u32,
    /// Open connections that it dialled.
    pub inbound: u32,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
    /// Content and metadata bytes sent to it since this node started.
    pub bytes_sent: u64,
    /// Content and metadata bytes received from it since this node started.
    pub bytes_received: u64,
    /// What the last connection runs over, such as "tcp".
    pub transport: &'static str,
}

impl PeerInfo {
    /// Whether a connection is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inbound + self.outbound > 0
    }
}
