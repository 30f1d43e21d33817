//! What `dfsd` is made of: a node, its control plane, the metrics endpoint,
//! signals, the log and the ready file.
//!
//! [`run`] is the whole life of a daemon. The engine itself is `dfs-node`, and
//! what both ends of the control plane share is `dfs-control`.

mod control;
mod daemon;
mod endpoint;
mod error;
mod failure;
mod limits;
mod log;
mod metrics;
mod ready;
mod rpc;
mod signals;
mod timing;

pub use control::{ControlAddress, InvalidAddress, SocketError};
pub use daemon::{DaemonConfig, Ending, check_addresses, load_identity, run};
pub use dfs_control::ReplaceError;
pub use dfs_control::tls::CertificateError;
pub use dfs_control::token::TokenError;
pub use dfs_metrics::Counter;
pub use dfs_node::{DhtMode, Keypair, Multiaddr, NodeConfig, NodeError, RocksOptions, StoreConfig};
pub use error::DaemonError;
pub use log::{Log, LogError, LogFormat, print_error};
pub use signals::survive_file_size_limit;
/// Source of [`LogError::Invalid`].
pub use tracing_subscriber::filter::ParseError;
