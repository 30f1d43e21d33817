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
    /// Memory for content that is being fetched, in bytes. The downloads that fetch
    /// divide it evenly.
    pub download_memory: u64,
}

impl NodeConfig {
    /// The default of [`Self::max_downloads`].
    pub const MAX_DOWNLOADS: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

    /// The default of [`Self::set_memory_budget`], in bytes.
    pub const MEMORY_BUDGET: u64 = 256 << 20;

    /// The smallest value for [`Self::set_memory_budget`], in bytes. With less, the
    /// largest chunk would not fit its part.
    pub const MIN_MEMORY_BUDGET: u64 = 64 << 20;

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
        let mut config = Self {
            net,
            store,
            provide_interval: PROVIDE_INTERVAL,
            max_downloads: Self::MAX_DOWNLOADS,
            download_memory: 0,
        };
        config.set_memory_budget(Self::MEMORY_BUDGET);
        config
    }

    /// Divides memory for content among the parts of the node: one half for the
    /// database, a quarter for downloads, an eighth for content that is being served.
    /// The last eighth is left for additions and for the buffers of connections. The
    /// program itself, its peers and its lists come on top, about 50 MiB.
    ///
    /// Sets `memory_budget` of the database, `max_served_bytes` of the network and
    /// [`Self::download_memory`]. Values below [`Self::MIN_MEMORY_BUDGET`] count as
    /// that.
    pub fn set_memory_budget(&mut self, bytes: u64) {
        let bytes = bytes.max(Self::MIN_MEMORY_BUDGET);
        if let StoreConfig::Rocks { options, .. } = &mut self.store {
            options.memory_budget = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        }
        self.download_memory = bytes / 4;
        self.net.max_served_bytes = bytes / 8;
    }
}
