//! The libp2p behaviours of a node, with every setting and its reason.

use std::error::Error;
use std::time::Duration;

use dfs_wire::{chunk, metadata};
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, kad, mdns, memory_connection_limits, ping};

use crate::config::{DhtMode, NetConfig};
use crate::exchange::{ChunkCodec, MetadataCodec};
use crate::gossip::{self, Dropped, Gossip};
use crate::provider_store::ProviderStore;

/// The DHT of DFS nodes only; the default name is that of IPFS.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/dfs/kad/1.0.0");
/// Version under which nodes identify themselves.
const IDENTIFY_PROTOCOL: &str = "/dfs/1.0.0";
/// Connections to one peer: both may dial at once, and mDNS at the same time.
const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Connections being set up in each direction.
const MAX_PENDING: u32 = 32;
/// Requests on one connection, those of both sides together.
const MAX_STREAMS: usize = 128;
/// Only a lid: the codecs limit silence, not length.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(3600);
/// A search that takes longer has met too many dead nodes.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long others keep our records, and we theirs.
const PROVIDER_TTL: Duration = Duration::from_secs(48 * 3600);

/// Everything that takes part in a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct NodeBehaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<ProviderStore>,
    pub(crate) gossip: Gossip,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) metadata: request_response::Behaviour<MetadataCodec>,
    pub(crate) chunk: request_response::Behaviour<ChunkCodec>,
}

impl NodeBehaviour {
    pub(crate) fn new(
        keypair: &Keypair,
        config: &NetConfig,
        dropped: &mut Dropped,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true);
        let exchange = request_response::Config::default()
            .with_request_timeout(EXCHANGE_TIMEOUT)
            .with_max_concurrent_streams(MAX_STREAMS);
        let protocol = |name| [(StreamProtocol::new(name), ProtocolSupport::Full)];
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits(config.max_connections)),
            memory: memory_connection_limits::Behaviour::with_max_percentage(0.9),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad: kad(keypair, config.dht_mode),
            gossip: gossip::behaviour(keypair, dropped)?,
            mdns: mdns(keypair, config.mdns).into(),
            metadata: request_response::Behaviour::new(
                protocol(metadata::PROTOCOL),
                exchange.clone(),
            ),
            chunk: request_response::Behaviour::new(protocol(chunk::PROTOCOL), exchange),
        })
    }
}

/// Without these, libp2p accepts any number of connections.
fn limits(max: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established_incoming(Some(max))
        .with_max_established_outgoing(Some(max))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING))
}

fn kad(keypair: &Keypair, mode: DhtMode) -> kad::Behaviour<ProviderStore> {
    let peer = keypair.public().to_peer_id();
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config.set_query_timeout(QUERY_TIMEOUT);
    config.set_provider_record_ttl(Some(PROVIDER_TTL));
    // The node schedules its own announcements: the built-in way copies all
    // keys at once, knows nothing of restarts and spreads nothing over time.
    config.set_provider_publication_interval(None);
    config.set_publication_interval(None);
    config.set_replication_interval(None);
    // Records of others pass through the event loop before they are kept.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, ProviderStore::new(peer), config);
    // Left to itself, a node stays a client until an external address is
    // confirmed, and a DHT on a LAN then answers nobody.
    kad.set_mode(Some(match mode {
        DhtMode::Server => kad::Mode::Server,
        DhtMode::Client => kad::Mode::Client,
    }));
    kad
}

/// mDNS, if it is wanted and the system lets us; a node without it works.
fn mdns(keypair: &Keypair, wanted: bool) -> Option<mdns::tokio::Behaviour> {
    if !wanted {
        return None;
    }
    let peer = keypair.public().to_peer_id();
    match mdns::tokio::Behaviour::new(mdns::Config::default(), peer) {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "nodes of the local network will not be found");
            None
        }
    }
}

/// Whether a peer takes part in the DHT as a server.
pub(crate) fn serves_dht(info: &identify::Info) -> bool {
    info.protocols.contains(&KAD_PROTOCOL)
}

/// How long a peer that lied is kept out.
pub(crate) const BAN: Duration = Duration::from_secs(3600);
