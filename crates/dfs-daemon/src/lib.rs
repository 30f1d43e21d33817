//! What `dfsd` is made of: a node, its control plane, the metrics endpoint,
//! signals, the ready file, and the order of the end.
//!
//! [`run`] is the whole life of a daemon. The engine itself is `dfs-node`, and
//! what both ends of the control plane share is `dfs-control`.

mod control;
mod daemon;
mod error;
mod failure;
mod metrics;
mod ready;
mod rpc;
mod signals;
mod timing;

pub use control::ControlAddress;
pub use daemon::{DaemonConfig, Ending, load_identity, run};
pub use dfs_node::{DhtMode, Keypair, Multiaddr, NodeConfig, report};
pub use error::DaemonError;
