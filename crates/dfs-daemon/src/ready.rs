//! The ready file: addresses and process id, for programs that start a daemon.

use std::fs;
use std::path::PathBuf;

use dfs_node::NetStatus;

use crate::error::DaemonError;

/// The file. Dropping it removes it.
pub(crate) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Writes the file so that it appears whole.
    pub(crate) fn write(
        path: PathBuf,
        grpc_addr: &str,
        tls_fingerprint: Option<&str>,
        metrics_addr: Option<&str>,
        net: &NetStatus,
    ) -> Result<Self, DaemonError> {
        let listen: Vec<String> = net.dialable().iter().map(ToString::to_string).collect();
        let text = serde_json::json!({
            "peer_id": net.peer.to_string(),
            "grpc_addr": grpc_addr,
            "tls_fingerprint": tls_fingerprint,
            "metrics_addr": metrics_addr,
            "listen": listen,
            "pid": std::process::id(),
        });
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        fs::write(&temporary, format!("{text:#}\n"))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| DaemonError::ReadyFile { path: path.clone(), source })?;
        Ok(Self { path })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // A file that is gone already needs no removal.
        let _ = fs::remove_file(&self.path);
    }
}
