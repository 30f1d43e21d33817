//! What the owner of a node chooses about its network.

use libp2p::Multiaddr;
use libp2p::identity::Keypair;

use crate::limits::{MAX_CONNECTIONS, MAX_SERVED_BYTES};

/// Role of a node in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhtMode {
    /// Sends queries and answers those of other nodes.
    #[default]
    Server,
    /// Only sends queries, as suits a node that cannot be reached.
    Client,
}

/// Settings of the network. Fields not set keep the defaults of
/// [`NetConfig::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetConfig {
    /// Identity of the node.
    pub keypair: Keypair,
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Nodes to connect to at the start, and again while no peer is connected.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to find nodes in the local network.
    pub mdns: bool,
    /// Role in the DHT.
    pub dht_mode: DhtMode,
    /// Name and version of the program, as peers see it.
    pub agent: String,
    /// Largest number of connections in each direction.
    pub max_connections: u32,
    /// Most chunk bytes, for all peers, between the read from the store and the end
    /// of the write to the connection. Room for one batch is always there, which may
    /// take 4.5 MiB.
    pub max_served_bytes: u64,
}

impl NetConfig {
    /// The defaults for a node with this key: mDNS on, DHT server, no address
    /// to listen on.
    #[must_use]
    pub fn new(keypair: Keypair) -> Self {
        Self {
            keypair,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            mdns: true,
            dht_mode: DhtMode::default(),
            agent: concat!("dfs/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_connections: MAX_CONNECTIONS,
            max_served_bytes: MAX_SERVED_BYTES,
        }
    }
}
