//! What `dfsd` runs: a node, its control plane, and an orderly end.

mod control;
mod incoming;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dfs_control::tls::CertificateError;
use dfs_control::token::TokenError;
use dfs_net::identity;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::runtime::NodeRuntime;
use control::Control;
pub use control::ControlAddress;

/// Time that an orderly end may take.
const GRACE: Duration = Duration::from_secs(5);

/// Settings of a daemon.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Settings of the node.
    pub node: NodeConfig,
    /// Where the control plane listens.
    pub grpc_addr: ControlAddress,
    /// Where its token is left; by default where `dfsctl` looks for it.
    pub token_file: Option<PathBuf>,
    /// Whether that may be another address than loopback, with TLS.
    pub allow_remote_control: bool,
    /// Key and certificate for that; made when first needed.
    pub certificate_file: PathBuf,
    /// Written when everything is up, removed at the end.
    pub ready_file: Option<PathBuf>,
}

/// Why a daemon cannot start or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The control plane broke.
    #[error("the control plane broke")]
    Serve(#[from] tonic::transport::Error),
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

/// Reads the key file, or creates it.
///
/// # Errors
/// [`DaemonError::Node`] if others can read it or it is not a key.
pub fn load_identity(path: &Path) -> Result<dfs_net::Keypair, DaemonError> {
    identity::load_or_create(path).map_err(|error| NodeError::from(error).into())
}

/// How a daemon has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is saved and closed.
    Orderly,
    /// It took too long, or the user was in a hurry: work is still under way on
    /// blocking threads and need not be waited for. What was acknowledged is
    /// safe.
    Cut,
}

/// Runs a daemon until SIGINT or SIGTERM.
///
/// # Errors
/// [`DaemonError`] if it cannot start or its control plane breaks.
pub async fn run(config: DaemonConfig) -> Result<Ending, DaemonError> {
    config.grpc_addr.check(config.allow_remote_control)?;
    let mut signals = Signals::new().map_err(|source| DaemonError::Signals { source })?;
    let control =
        Control::open(&config.grpc_addr, config.token_file, &config.certificate_file).await?;
    let address = control.address();
    let fingerprint = control.certificate().map(|made| made.fingerprint().to_string());
    if let Some(fingerprint) = &fingerprint {
        tracing::info!(tls_fingerprint = %fingerprint, "control with TLS");
    }
    let node = NodeRuntime::start(config.node).await?;
    let stop = CancellationToken::new();
    let mut server = tokio::spawn(control.serve(node.client().clone(), stop.clone()));
    let ready = Ready::write(config.ready_file, &address, fingerprint, &node).await?;
    tracing::info!(grpc_addr = %address, "ready");

    tokio::select! {
        name = signals.recv() => tracing::info!(signal = name, "stopping"),
        ended = &mut server => {
            tracing::error!("the control plane has ended by itself");
            node.shutdown().await;
            return ended.unwrap_or(Ok(())).map(|()| Ending::Orderly).map_err(DaemonError::from);
        }
    }
    drop(ready);
    let orderly = async {
        stop.cancel();
        // Downloads save their progress and end the streams that show them,
        // which lets the control plane end; then the network and the store.
        node.shutdown().await;
        let ended = timeout(Duration::from_secs(1), &mut server).await.is_ok();
        if !ended {
            // With its task go its socket and its token file.
            server.abort();
            let _ = server.await;
        }
        ended
    };
    Ok(tokio::select! {
        ended = timeout(GRACE, orderly) => match ended {
            Ok(true) => Ending::Orderly,
            // A call that does not end by itself; nobody waits for its outcome.
            Ok(false) => Ending::Cut,
            Err(_) => {
                tracing::warn!("stopping took too long; what was acknowledged is safe");
                Ending::Cut
            }
        },
        name = signals.recv() => {
            tracing::warn!(signal = name, "stopping at once");
            Ending::Cut
        }
    })
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The ready file, while the daemon is.
struct Ready {
    path: Option<PathBuf>,
}

impl Ready {
    /// Writes who and where the node is, so that the file appears whole.
    async fn write(
        path: Option<PathBuf>,
        grpc_addr: &str,
        tls_fingerprint: Option<String>,
        node: &NodeRuntime,
    ) -> Result<Self, DaemonError> {
        let Some(path) = path else { return Ok(Self { path }) };
        let status = node.client().status().await?.net;
        let listen: Vec<String> = status.dialable().iter().map(ToString::to_string).collect();
        let text = serde_json::json!({
            "peer_id": status.peer.to_string(),
            "grpc_addr": grpc_addr,
            "tls_fingerprint": tls_fingerprint,
            "listen": listen,
            "pid": std::process::id(),
        });
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        fs::write(&temporary, format!("{text:#}\n"))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| DaemonError::ReadyFile { path: path.clone(), source })?;
        Ok(Self { path: Some(path) })
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A file that is gone already is as it should be.
            let _ = fs::remove_file(path);
        }
    }
}

/// An error and everything behind it in one line, for a terminal.
#[must_use]
pub fn report(error: &DaemonError) -> String {
    crate::error::report(error)
}
