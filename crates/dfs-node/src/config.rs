//! Settings of a node.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use dfs_net::{Keypair, NetConfig};
use dfs_store::RocksOptions;

use crate::timing::PROVIDE_INTERVAL;

/// Where a node keeps its content and state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreConfig {
    /// In a RocksDB directory.
    Rocks {
        /// The directory.
        path: PathBuf,
        /// Settings of the database.
        options: RocksOptions,
    },
    /// In memory, for tests and for nodes without a disk.
    Memory,
}

/// Settings of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Settings of the network, the identity among them.
    pub net: NetConfig,
    /// Where it keeps its content and state.
    pub store: StoreConfig,
    /// Longest time between two publications of a provided CID, well below the
    /// two days that other nodes keep a provider record. The actual time is up
    /// to a sixth less, spread by CID.
    pub provide_interval: Duration,
    /// Downloads that fetch at the same time. A further one asks for a turn once it
    /// knows the header, and turns go in the order of asking.
    pub max_downloads: NonZeroUsize,
}

impl NodeConfig {
    /// The default of [`Self::max_downloads`]. Each download has buffers of its
    /// own of up to 60 MB.
    pub const MAX_DOWNLOADS: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

    /// A node with this key whose database is in `db_path`.
    #[must_use]
    pub fn new(keypair: Keypair, db_path: PathBuf) -> Self {
        let store = StoreConfig::Rocks { path: db_path, options: RocksOptions::default() };
        Self::with(NetConfig::new(keypair), store)
    }

    /// A node with a new key that keeps everything in memory, does not look
    /// for nodes in the local network and listens on a free port of loopback.
    #[must_use]
    pub fn in_memory() -> Self {
        let mut net = NetConfig::new(Keypair::generate_ed25519());
        net.mdns = false;
        net.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a valid address")];
        Self::with(net, StoreConfig::Memory)
    }

    fn with(net: NetConfig, store: StoreConfig) -> Self {
        Self { net, store, provide_interval: PROVIDE_INTERVAL, max_downloads: Self::MAX_DOWNLOADS }
    }
}
