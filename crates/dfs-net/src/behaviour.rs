//! The libp2p behaviours of a node: which protocols take part in a connection,
//! with the settings that belong to no subsystem.

use dfs_metrics::Registry;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, memory_connection_limits, ping, request_response};

use crate::config::NetConfig;
use crate::dht::{self, Kad};
use crate::exchange::{self, ChunkExchange, MetadataCodec};
use crate::gossip::{self, Gossip};
use crate::limits::{MAX_CONNECTIONS_PER_PEER, MAX_MEMORY_SHARE, MAX_PENDING_CONNECTIONS};
use crate::metrics::Metrics;
use crate::peers::Mdns;
use crate::tasks::Tasks;

/// Version under which nodes identify themselves.
const IDENTIFY_PROTOCOL: &str = "/dfs/1.0.0";

/// Everything that takes part in a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct NodeBehaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: Kad,
    pub(crate) gossip: Gossip,
    pub(crate) mdns: Toggle<Mdns>,
    pub(crate) metadata: request_response::Behaviour<MetadataCodec>,
    pub(crate) chunks: ChunkExchange,
}

impl NodeBehaviour {
    /// The metrics of gossipsub go to the registry.
    pub(crate) fn new(
        config: &NetConfig,
        chunks: ChunkExchange,
        metrics: &Metrics,
        registry: &mut Registry,
        tasks: Tasks,
    ) -> Self {
        let keypair = &config.keypair;
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true);
        Self {
            limits: connection_limits::Behaviour::new(limits(config.max_connections)),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY_SHARE),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad: dht::behaviour(keypair, config.dht_mode, metrics),
            gossip: gossip::behaviour(keypair, registry),
            mdns: mdns(keypair, config.mdns, tasks).into(),
            metadata: exchange::metadata_behaviour(),
            chunks,
        }
    }
}

fn limits(max: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established_incoming(Some(max))
        .with_max_established_outgoing(Some(max))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(MAX_PENDING_CONNECTIONS))
}

/// mDNS, if it is wanted and the operating system permits it. A node works
/// without it.
fn mdns(keypair: &Keypair, wanted: bool, tasks: Tasks) -> Option<Mdns> {
    if !wanted {
        return None;
    }
    let peer = keypair.public().to_peer_id();
    match Mdns::new(peer, tasks) {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "nodes of the local network will not be found");
            None
        }
    }
}
