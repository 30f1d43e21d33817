//! What the owner of a node chooses about its network.

use libp2p::Multiaddr;
use libp2p::identity::Keypair;

/// Part that a node takes in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhtMode {
    /// Asks others and answers them.
    #[default]
    Server,
    /// Only asks others, as suits a node that nobody can reach.
    Client,
}

/// Settings of the network. Fields not set keep the defaults of
/// [`NetConfig::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetConfig {
    /// Who the node is.
    pub keypair: Keypair,
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Nodes to know from the start; tried again while nobody is connected.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to find nodes in the local network.
    pub mdns: bool,
    /// Part taken in the DHT.
    pub dht_mode: DhtMode,
    /// What the node calls itself to others.
    pub agent: String,
    /// Connections in each direction.
    pub max_connections: u32,
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
            max_connections: 96,
        }
    }
}
