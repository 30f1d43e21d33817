//! The DHT: which nodes provide which content.
//!
//! Owns the settings of Kademlia, the records that this node keeps ([`records`])
//! and the queries under way ([`queries`]). Deciding when content is provided
//! again is up to the owner of the network. The event loop calls [`Dht`] with
//! commands and with the events of Kademlia.

mod queries;
mod records;

use libp2p::identity::Keypair;
use libp2p::{StreamProtocol, identify, kad};

use crate::config::DhtMode;
use crate::metrics::Metrics;
use crate::timing::{PROVIDER_TTL, QUERY_TIMEOUT};
pub(crate) use queries::{Dht, routing_peers};
pub(crate) use records::ProviderStore;

/// Kademlia on the provider records of this node.
pub(crate) type Kad = kad::Behaviour<ProviderStore>;

/// The DHT of DFS nodes only; the default name is that of IPFS.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/dfs/kad/1.0.0");

/// Kademlia with every setting and its reason.
pub(crate) fn behaviour(keypair: &Keypair, mode: DhtMode, metrics: &Metrics) -> Kad {
    let peer = keypair.public().to_peer_id();
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config.set_query_timeout(QUERY_TIMEOUT);
    config.set_provider_record_ttl(Some(PROVIDER_TTL));
    // The owner of the network schedules its records. Kademlia would copy all
    // keys at once, forget them at a restart and spread nothing over time.
    config.set_provider_publication_interval(None);
    config.set_publication_interval(None);
    config.set_replication_interval(None);
    // Records of other nodes pass through the event loop before they are kept.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let store = ProviderStore::new(peer, metrics);
    let mut kad = kad::Behaviour::with_config(peer, store, config);
    // Without an explicit mode a node stays a client until an external address
    // is confirmed, and no node of a DHT on a LAN answers queries.
    kad.set_mode(Some(match mode {
        DhtMode::Server => kad::Mode::Server,
        DhtMode::Client => kad::Mode::Client,
    }));
    kad
}

/// Whether a peer answers queries of the DHT.
pub(crate) fn is_server(info: &identify::Info) -> bool {
    info.protocols.contains(&KAD_PROTOCOL)
}
