//! Why a daemon cannot start or has ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use dfs_control::tls::CertificateError;
use dfs_control::token::TokenError;
use dfs_node::NodeError;

use crate::control::ControlAddress;

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
    /// The control address cannot be listened on.
    #[error("cannot listen on {address} for control{}", in_use(source))]
    Control {
        /// The address.
        address: ControlAddress,
        /// What the system answered.
        source: io::Error,
    },
    /// There is no certificate for TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The token cannot be left where `dfsctl` finds it.
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
    #[error("cannot listen on {addr} for metrics; choose another port with --metrics-addr")]
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
    },
    /// The ready file cannot be written.
    #[error("cannot write the ready file {}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
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

fn in_use(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another daemon may be running, choose another port with --grpc-addr"
    } else {
        ""
    }
}
