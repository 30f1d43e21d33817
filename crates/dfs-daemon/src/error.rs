//! Why a daemon cannot start or has ended.

use std::io;
use std::net::SocketAddr;

use dfs_control::ReplaceError;
use dfs_control::tls::CertificateError;
use dfs_control::token::TokenError;
use dfs_node::NodeError;

use crate::control::socket::SocketError;

/// Why a daemon cannot start or has ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The control address is not loopback.
    #[error(
        "--grpc-addr {addr} is not a loopback address: other machines could reach the control plane; if that is meant, add --allow-remote-control, which protects it with TLS, else use 127.0.0.1 or unix:PATH"
    )]
    NotLoopback {
        /// The address.
        addr: SocketAddr,
    },
    /// The control port cannot be listened on.
    #[error("cannot listen on {addr} for control")]
    Control {
        /// The address.
        addr: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The control socket cannot be listened on.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no certificate for TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The token cannot be written where `dfsctl` finds it.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The metrics address is not loopback.
    #[error(
        "--metrics-addr {addr} is not a loopback address: other machines could read the metrics; if that is meant, add --allow-remote-control, else use 127.0.0.1"
    )]
    MetricsNotLoopback {
        /// The address.
        addr: SocketAddr,
    },
    /// The metrics address cannot be listened on.
    #[error("cannot listen on {addr} for metrics")]
    MetricsAddress {
        /// The address.
        addr: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The control plane failed.
    #[error("the control plane failed")]
    Serve {
        /// What the server reports.
        source: tonic::transport::Error,
    },
    /// A server has ended by itself.
    #[error("{server} has ended")]
    ServerEnded {
        /// Which.
        server: &'static str,
        /// Why, if its task has panicked.
        source: Option<tokio::task::JoinError>,
    },
    /// The ready file cannot be written.
    #[error("cannot write the ready file")]
    ReadyFile {
        /// Why.
        source: ReplaceError,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals {
        /// What the system answered.
        source: io::Error,
    },
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}
