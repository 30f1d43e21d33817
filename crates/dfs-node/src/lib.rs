//! A DFS node: the store, the network and the download scheduler joined into
//! one thing that adds, serves and gets files.
//!
//! [`NodeRuntime`] owns a running node and [`NodeClient`] is the cloneable way
//! to speak to it, from this process or, through [`rpc`], from another one.
//! [`daemon`] is what `dfsd` runs. There is no global state: any number of
//! nodes live in one process.
//!
//! ```
//! use dfs_node::{AddOptions, NodeConfig, NodeRuntime};
//!
//! # #[tokio::main] async fn main() -> Result<(), dfs_node::NodeError> {
//! let node = NodeRuntime::start(NodeConfig::in_memory()).await?;
//! let added = node.client().add_bytes("hello".into(), AddOptions::default()).await?;
//! assert_eq!(added.size, 5);
//! node.shutdown().await;
//! # Ok(()) }
//! ```

mod announcements;
mod client;
mod clock;
mod config;
pub mod daemon;
mod disk;
mod error;
mod fetch;
mod import;
mod output;
mod provide;
pub mod rpc;
mod runtime;
mod serve;

pub use announcements::Heard;
pub use client::{Held, Inspection, NodeClient, NodeStatus, Verified};
pub use config::{NodeConfig, StoreConfig};
pub use dfs_core::{Cid, Profile};
pub use dfs_net::{DhtMode, Keypair, Multiaddr, PeerId, identity};
pub use error::{FailureKind, NodeError};
pub use fetch::{DownloadStatus, GetOptions, Phase};
pub use import::{AddOptions, Added};
pub use output::OutputError;
pub use runtime::NodeRuntime;
