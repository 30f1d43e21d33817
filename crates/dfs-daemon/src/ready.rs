//! The ready file: addresses and process id, for programs that start a daemon.

use std::path::Path;

use dfs_control::{ReplaceError, RunFile};
use dfs_node::NetStatus;

/// What the file says of the daemon, besides its node.
pub(crate) struct Addresses<'a> {
    pub(crate) grpc_addr: &'a str,
    pub(crate) tls_fingerprint: Option<&'a str>,
    pub(crate) metrics_addr: Option<&'a str>,
}

/// Writes the file. Dropping the result removes it.
pub(crate) fn write(
    path: &Path,
    addresses: &Addresses<'_>,
    net: &NetStatus,
) -> Result<RunFile, ReplaceError> {
    let listen: Vec<String> = net.dialable().iter().map(ToString::to_string).collect();
    let text = serde_json::json!({
        "peer_id": net.peer.to_string(),
        "grpc_addr": addresses.grpc_addr,
        "tls_fingerprint": addresses.tls_fingerprint,
        "metrics_addr": addresses.metrics_addr,
        "listen": listen,
        "pid": std::process::id(),
    });
    RunFile::write(path, &format!("{text:#}\n"), 0o666)
}
