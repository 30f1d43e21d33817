//! The network of a DFS node: one task that owns the libp2p swarm, and the
//! cloneable [`NetHandle`] through which everybody else speaks to it.
//!
//! [`spawn`] starts the task. Commands go in through the handle; requests of
//! other nodes come out as [`NetEvent`]s and are answered through the handle,
//! so this crate never sees a store. Nothing here knows what a download is.
//!
//! ```
//! use dfs_net::{Keypair, NetConfig, spawn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), dfs_net::NetError> {
//! let mut config = NetConfig::new(Keypair::generate_ed25519());
//! config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
//! config.mdns = false;
//! let (net, _events) = spawn(config).await?;
//! let status = net.status().await?;
//! assert_eq!(status.listen.len(), 1);
//! net.shutdown().await;
//! # Ok(()) }
//! ```

mod address;
mod behaviour;
mod command;
mod config;
mod error;
mod event;
mod event_loop;
mod exchange;
mod gossip;
mod handle;
pub mod identity;
mod peer_book;
mod provider_store;
mod rate;

pub use command::RequestId;
pub use config::{DhtMode, NetConfig};
pub use error::{FetchError, NetError};
pub use event::{GossipCounters, NetEvent, NetStatus, PeerInfo};
pub use event_loop::spawn;
pub use handle::NetHandle;
pub use libp2p::identity::Keypair;
pub use libp2p::{Multiaddr, PeerId};
pub use rate::Rate;
