//! A DFS node in process: store, network and downloads joined into an engine
//! that adds, serves and gets files.
//!
//! [`NodeRuntime`] owns a running node. [`NodeClient`] is its cloneable handle,
//! with one part for each area: [`Content`], [`Downloads`], [`Provide`] and
//! [`Network`]. There is no global state, so any number of nodes live in one
//! process. Signals, exit codes and the control plane are not here.
//!
//! ```
//! use dfs_node::{AddOptions, NodeConfig, NodeRuntime};
//!
//! # #[tokio::main] async fn main() -> Result<(), dfs_node::NodeError> {
//! let node = NodeRuntime::start(NodeConfig::in_memory()).await?;
//! let added = node.client().content().add_bytes("hello".into(), AddOptions::default()).await?;
//! assert_eq!(added.size, 5);
//! node.shutdown().await;
//! # Ok(()) }
//! ```

mod blocking;
mod client;
mod clock;
mod config;
mod content;
mod download;
mod error;
mod feed;
mod gate;
mod limits;
mod maintenance;
mod metrics;
mod network;
mod node;
mod provide;
mod scope;
#[cfg(test)]
mod test_node;
mod timing;
mod upload;
#[cfg(test)]
mod watched_store;
mod workers;

pub use client::{NodeClient, NodeStatus};
pub use config::{NodeConfig, StoreConfig};
pub use content::{AddOptions, Added, Adding, Content, FileState, Held, Inspection, Linked};
pub use dfs_core::{ChunkHash, Cid, Header, HeaderError, Kind, Leaf, Manifest, Profile, TreeHash};
pub use dfs_metrics::Registry;
pub use dfs_net::{
    BootstrapStatus, Bytes, DhtMode, GossipCounters, Keypair, Multiaddr, NetConfig, NetError,
    NetStatus, PeerId, PeerInfo, SetupError, identity,
};
pub use dfs_store::{
    Damage as StoreDamage, Foreign, Item, NoSpace, ProvideRecord, RocksError, RocksOptions,
    StoreError,
};
pub use dfs_wire::Announcement;
pub use download::{DownloadStatus, Downloads, GetOptions, Phase, Unwritten};
pub use error::{Damage, FailureKind, NodeError, OutputError, report};
pub use feed::Heard;
pub use metrics::{Metrics, OutcomeLabel, WorkerLabel};
pub use network::Network;
pub use node::NodeRuntime;
pub use provide::{Provide, Verified};
pub use workers::{WorkerState, WorkerStatus};
