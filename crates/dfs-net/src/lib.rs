//! The network of a DFS node: one task that owns the libp2p swarm, and the
//! cloneable [`NetHandle`] that sends it commands.
//!
//! [`spawn`] starts the task. Commands go in through the handle; requests of
//! peers come out as [`NetEvent`]s and are answered through the handle, so this
//! crate never sees a store. It knows nothing of downloads either. Code that
//! uses a handle is tested without a network by [`NetHandle::mocked`].
//!
//! ```
//! use dfs_net::{Keypair, NetConfig, Registry, spawn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), dfs_net::NetError> {
//! let mut config = NetConfig::new(Keypair::generate_ed25519());
//! config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
//! config.mdns = false;
//! let (net, _events) = spawn(config, &mut Registry::default()).await?;
//! let status = net.status().await?;
//! assert_eq!(status.listen.len(), 1);
//! net.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! Where to look: [`swarm`] is the event loop, [`peers`], [`dht`], [`gossip`]
//! and [`exchange`] are the subsystems that it routes to, [`limits`] holds every
//! limit on peers and [`timing`] every interval, timeout and back-off.

mod behaviour;
#[cfg(test)]
mod captured_log;
mod command;
mod config;
mod dht;
mod effect;
mod error;
mod event;
mod exchange;
mod gossip;
mod handle;
pub mod identity;
mod limits;
mod metrics;
mod mock;
mod peers;
mod request_id;
mod status;
mod swarm;
mod tasks;
mod timing;
mod transport;

pub use bytes::Bytes;
pub use command::{Command, Reply};
pub use config::{DhtMode, NetConfig};
pub use dfs_core::{ChunkHash, Cid, Header, Leaf, Page, PageProof};
pub use dfs_metrics::Registry;
pub use dfs_wire::{Announcement, Breach, metadata};
pub use error::{FetchError, NetError, PeerFault, SetupError, Unreachable};
pub use event::NetEvent;
pub use handle::NetHandle;
pub use libp2p::identity::{DecodingError, Keypair};
pub use libp2p::kad::store::Error as RecordStoreError;
pub use libp2p::noise::Error as NoiseError;
pub use libp2p::{Multiaddr, PeerId};
pub use mock::MockNet;
pub use peers::Rate;
pub use request_id::RequestId;
pub use status::{BootstrapStatus, GossipCounters, NetStatus, PeerInfo};
pub use swarm::spawn;
