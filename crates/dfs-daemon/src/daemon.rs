//! The life of a daemon, from its start to its end.
//!
//! Owns the order of the start, the tasks of the servers, and what ends the daemon. The order
//! in which the node stops is in `dfs-node`; sockets, tokens and files are in the modules that
//! make them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dfs_metrics::Registry;
use dfs_node::{Keypair, NodeConfig, NodeError, NodeRuntime, identity};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::control::{Control, ControlAddress, PlacedToken};
use crate::endpoint::Endpoint;
use crate::error::DaemonError;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::ready::{self, Addresses};
use crate::signals::Signals;
use crate::timing::{CALLS_TIMEOUT, STOP_TIMEOUT};

/// Settings of a daemon.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Settings of the node.
    pub node: NodeConfig,
    /// Where the control plane listens.
    pub grpc_addr: ControlAddress,
    /// File for the control token; by default where `dfsctl` looks for it.
    pub token_file: Option<PathBuf>,
    /// Whether control and metrics may listen beyond loopback.
    pub allow_remote_control: bool,
    /// Key and certificate for TLS; made when first needed.
    pub certificate_file: PathBuf,
    /// Written when everything is up, removed at the end.
    pub ready_file: Option<PathBuf>,
    /// Where the metrics endpoint listens; `None` for no endpoint.
    pub metrics_addr: Option<SocketAddr>,
}

/// How a daemon has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is saved and closed.
    Orderly,
    /// The stop took too long, or a second signal arrived. Work may still be
    /// under way on blocking threads. What was acknowledged is safe.
    Cut,
}

/// Reads the key file, or creates it.
///
/// # Errors
/// [`DaemonError::Node`] if other users can read it or it is not a key.
pub fn load_identity(path: &Path) -> Result<Keypair, DaemonError> {
    identity::load_or_create(path).map_err(|error| NodeError::from(error).into())
}

/// Runs a daemon until a signal, or until a part has ended that it cannot do
/// without.
///
/// # Errors
/// [`DaemonError`] if it cannot start or such a part has ended.
pub async fn run(config: DaemonConfig, log: &Log) -> Result<Ending, DaemonError> {
    check_addresses(&config.grpc_addr, config.metrics_addr, config.allow_remote_control)?;
    let mut signals = Signals::new().map_err(|source| DaemonError::Signals { source })?;
    let mut registry = Registry::with_prefix("dfs");
    let metrics = Arc::new(Metrics::of(log));
    metrics.register(&mut registry);
    let mut control = Control::open(&config.grpc_addr, &config.certificate_file).await?;
    let endpoint = match config.metrics_addr {
        Some(addr) => Some(Endpoint::bind(addr).await?),
        None => None,
    };
    let address = control.address();
    let fingerprint = control.certificate().map(|made| made.fingerprint().to_string());
    if let Some(fingerprint) = &fingerprint {
        tracing::info!(tls_fingerprint = %fingerprint, "control with TLS");
    }
    let node = tokio::select! {
        started = NodeRuntime::start_with_metrics(config.node, &mut registry) => started?,
        // Opening a large store takes a while, and goes on on its thread until the
        // process ends. A store is safe against that as against a crash.
        signal = signals.recv() => {
            tracing::info!(signal, "stopping before the start has ended");
            return Ok(Ending::Cut);
        }
    };
    let token = match control.place_token(config.token_file.as_deref()) {
        Ok(token) => token,
        Err(error) => {
            node.shutdown().await;
            return Err(error);
        }
    };
    let stop = CancellationToken::new();
    let mut servers = Servers::start(control, token, endpoint, registry, metrics, &node, &stop);

    let ended = async {
        let metrics_addr = servers.metrics_addr.map(|addr| addr.to_string());
        let addresses = Addresses {
            grpc_addr: &address,
            tls_fingerprint: fingerprint.as_deref(),
            metrics_addr: metrics_addr.as_deref(),
        };
        // The file is removed when the stop begins.
        let _ready = match &config.ready_file {
            Some(path) => {
                let net = node.client().network().status().await?;
                let written = ready::write(path, &addresses, &net);
                Some(written.map_err(|source| DaemonError::ReadyFile { source })?)
            }
            None => None,
        };
        tracing::info!(grpc_addr = %address, "ready");
        tokio::select! {
            name = signals.recv() => Ok(name),
            error = servers.ended() => Err(error),
            error = node.failed() => Err(error.into()),
        }
    }
    .await;
    match &ended {
        Ok(signal) => tracing::info!(signal, "stopping"),
        Err(error) => tracing::error!(error = error.report(), "stopping"),
    }
    let ending = tokio::select! {
        stopped = timeout(STOP_TIMEOUT, stop_all(node, servers, stop)) => match stopped {
            Ok(ending) => ending,
            Err(_) => {
                tracing::warn!("stopping took too long; what was acknowledged is safe");
                Ending::Cut
            }
        },
        name = signals.recv() => {
            tracing::warn!(signal = name, "stopping at once");
            Ending::Cut
        }
    };
    ended.map(|_| ending)
}

/// Refuses addresses that other machines can reach, unless remote control is
/// allowed. Metrics tell other machines what a node does.
///
/// # Errors
/// [`DaemonError::NotLoopback`], [`DaemonError::MetricsNotLoopback`].
pub fn check_addresses(
    grpc_addr: &ControlAddress,
    metrics_addr: Option<SocketAddr>,
    allow_remote: bool,
) -> Result<(), DaemonError> {
    let is_remote = |addr: &SocketAddr| !addr.ip().is_loopback() && !allow_remote;
    if let ControlAddress::Tcp(addr) = *grpc_addr
        && is_remote(&addr)
    {
        return Err(DaemonError::NotLoopback { addr });
    }
    match metrics_addr.filter(is_remote) {
        Some(addr) => Err(DaemonError::MetricsNotLoopback { addr }),
        None => Ok(()),
    }
}

/// Stops the servers and then the node; the list of the order is in
/// [`NodeRuntime::shutdown_after`].
async fn stop_all(node: NodeRuntime, servers: Servers, stop: CancellationToken) -> Ending {
    let mut ending = Ending::Orderly;
    let control = async {
        stop.cancel();
        if !servers.join().await {
            ending = Ending::Cut;
        }
    };
    node.shutdown_after(control).await;
    ending
}

/// The tasks that serve calls and metrics.
struct Servers {
    control: JoinHandle<Result<(), tonic::transport::Error>>,
    endpoint: Option<JoinHandle<()>>,
    metrics_addr: Option<SocketAddr>,
}

impl Servers {
    fn start(
        control: Control,
        token: PlacedToken,
        endpoint: Option<Endpoint>,
        registry: Registry,
        metrics: Arc<Metrics>,
        node: &NodeRuntime,
        stop: &CancellationToken,
    ) -> Self {
        let client = node.client();
        let exported = Arc::clone(&metrics);
        let control = tokio::spawn(control.serve(token, client.clone(), metrics, stop.clone()));
        let metrics_addr = endpoint.as_ref().map(Endpoint::addr);
        let endpoint = endpoint.map(|endpoint| {
            tracing::info!(metrics_addr = %endpoint.addr(), "metrics");
            tokio::spawn(endpoint.serve(registry, exported, client.clone(), stop.clone()))
        });
        Self { control, endpoint, metrics_addr }
    }

    /// Waits until a server has ended by itself.
    async fn ended(&mut self) -> DaemonError {
        let endpoint = async {
            match &mut self.endpoint {
                Some(endpoint) => endpoint.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut self.control => match ended {
                Ok(Err(source)) => DaemonError::Serve { source },
                Ok(Ok(())) => server_ended("the control plane", None),
                Err(error) => server_ended("the control plane", Some(error)),
            },
            ended = endpoint => server_ended("the metrics endpoint", ended.err()),
        }
    }

    /// Waits up to [`CALLS_TIMEOUT`] for the last calls. Returns whether they have ended by
    /// themselves.
    async fn join(self) -> bool {
        // The socket and the token file of the control plane go with its task.
        let endpoint = async {
            match self.endpoint {
                Some(endpoint) => end(endpoint).await,
                None => true,
            }
        };
        let (control, endpoint) = tokio::join!(end(self.control), endpoint);
        control && endpoint
    }
}

fn server_ended(server: &'static str, source: Option<JoinError>) -> DaemonError {
    DaemonError::ServerEnded { server, source }
}

/// Waits for a server, and aborts it after [`CALLS_TIMEOUT`]. Returns whether it has ended
/// by itself. What it has ended with, [`Servers::ended`] has told if it was before the stop.
async fn end<T>(mut server: JoinHandle<T>) -> bool {
    if server.is_finished() || timeout(CALLS_TIMEOUT, &mut server).await.is_ok() {
        return true;
    }
    server.abort();
    // The error is the abort.
    let _ = server.await;
    false
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn endless<T: Send + 'static>() -> JoinHandle<T> {
        tokio::spawn(std::future::pending())
    }

    #[tokio::test]
    async fn a_server_that_ends_by_itself_is_an_error_with_its_cause() {
        let panics = tokio::spawn(async { panic!("expected by the test") });
        let mut servers =
            Servers { control: endless(), endpoint: Some(panics), metrics_addr: None };
        let error = servers.ended().await;
        let expected = |server| server == "the metrics endpoint";
        assert!(
            matches!(error, DaemonError::ServerEnded { server, source: Some(_) } if expected(server)),
            "{error:?}"
        );
        let ended = tokio::spawn(async { Ok(()) });
        let mut servers = Servers { control: ended, endpoint: None, metrics_addr: None };
        let error = servers.ended().await;
        assert!(matches!(error, DaemonError::ServerEnded { source: None, .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_end_is_cut() {
        for (endpoint, is_cut) in [(Some(endless()), true), (None, false)] {
            let control = tokio::spawn(async { Ok(()) });
            let start = Instant::now();
            let servers = Servers { control, endpoint, metrics_addr: None };
            assert_eq!(servers.join().await, !is_cut);
            assert_eq!(start.elapsed() >= CALLS_TIMEOUT, is_cut);
        }
    }
}
