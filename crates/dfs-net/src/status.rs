//! What the network tells about itself and its peers when asked.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::config::DhtMode;

/// The state of the network at a glance.
#[derive(Debug, Clone)]
pub struct NetStatus {
    /// Identity of this node.
    pub peer: PeerId,
    /// Addresses listened on.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which other nodes reach this one, as far as confirmed.
    pub external: Vec<Multiaddr>,
    /// Connected peers.
    pub connected: usize,
    /// How many bootstrap nodes answered.
    pub bootstrap: BootstrapStatus,
    /// Role in the DHT.
    pub dht_mode: DhtMode,
    /// Nodes in the routing table.
    pub dht_peers: usize,
    /// Content bytes per second sent to peers over the last seconds.
    pub send_rate: u64,
    /// Content bytes per second received from peers over the last seconds.
    pub receive_rate: u64,
    /// What this node did with the announcements of other nodes.
    pub gossip: GossipCounters,
}

impl NetStatus {
    /// The addresses listened on with this node's identity, as other nodes can
    /// dial them.
    #[must_use]
    pub fn dialable(&self) -> Vec<Multiaddr> {
        let with_peer = |addr: &Multiaddr| addr.clone().with_p2p(self.peer).ok();
        self.listen.iter().filter_map(with_peer).collect()
    }
}

/// How many bootstrap nodes answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootstrapStatus {
    /// Bootstrap addresses configured, without those of this node itself.
    pub configured: usize,
    /// Bootstrap addresses whose node was connected at the last attempt.
    pub reached: usize,
}

/// What this node has done with the announcements of other nodes since the
/// start. Messages without a valid signature, or too large, are dropped by
/// gossipsub itself and counted in its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GossipCounters {
    /// Accepted and passed on.
    pub accepted: u64,
    /// Not an announcement; not passed on.
    pub malformed: u64,
    /// Beyond the rate that an author may announce at; not passed on.
    pub flooding: u64,
}

/// What this node knows of a peer. Disconnected peers are kept until new ones
/// need the room.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Identity of the peer.
    pub peer: PeerId,
    /// Name and version that the peer claims. Escape it before showing it.
    pub agent: Option<String>,
    /// Addresses at which the peer is or was reached, the latest first.
    pub addresses: Vec<Multiaddr>,
    /// Open connections that this node dialled.
    pub outbound: u32,
    /// Open connections that the peer dialled.
    pub inbound: u32,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
    /// Content and metadata bytes sent to the peer since this node started.
    pub bytes_sent: u64,
    /// Content and metadata bytes received from the peer since this node started.
    pub bytes_received: u64,
    /// Transport of the last connection, such as "tcp".
    pub transport: &'static str,
}

impl PeerInfo {
    /// Whether a connection is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inbound + self.outbound > 0
    }
}
