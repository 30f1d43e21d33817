//! What the daemon counts, and the HTTP endpoint that exports all metrics.
//!
//! `/metrics` is OpenMetrics text, `/healthz` says whether the parts of the
//! node are alive, `/readyz` whether the daemon takes calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use dfs_metrics::{Counter, Registry, encode, metrics};
use dfs_node::{NodeClient, WorkerState};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::DaemonError;

metrics! {
    /// What the daemon counts.
    pub struct Metrics("daemon") {
        /// Control calls with a valid token.
        pub control_calls: Counter,
        /// Control calls refused for their token.
        pub control_refused: Counter,
        /// Log lines that could not be written.
        pub log_lines_dropped: Counter,
    }
}

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the endpoint listens.
pub(crate) struct Endpoint {
    listener: TcpListener,
    addr: SocketAddr,
}

/// What the handlers share.
struct Exported {
    registry: Registry,
    client: NodeClient,
    stopping: AtomicBool,
}

impl Endpoint {
    pub(crate) async fn bind(addr: SocketAddr) -> Result<Self, DaemonError> {
        let failed = |source| DaemonError::MetricsAddress { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// Address and port, the latter chosen by the system if none was given.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(
        self,
        registry: Registry,
        client: NodeClient,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let exported = Arc::new(Exported { registry, client, stopping: AtomicBool::new(false) });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(Arc::clone(&exported));
        let stopped = async move {
            stop.cancelled().await;
            exported.stopping.store(true, Ordering::Relaxed);
        };
        axum::serve(self.listener, router).with_graceful_shutdown(stopped).await
    }
}

async fn metrics(State(exported): State<Arc<Exported>>) -> impl IntoResponse {
    // Gauges that are measured and not counted.
    let measured = exported.client.status().await;
    if let Err(error) = measured {
        tracing::debug!(error = error.report(), "gauges are not fresh");
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], encode(&exported.registry))
}

async fn healthz(State(exported): State<Arc<Exported>>) -> (StatusCode, String) {
    let ended = exported.client.workers().into_iter().find(|w| w.state == WorkerState::Ended);
    if let Some(worker) = ended {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{} has ended\n", worker.name));
    }
    match exported.client.network().status().await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.report())),
    }
}

async fn readyz(State(exported): State<Arc<Exported>>) -> (StatusCode, &'static str) {
    if exported.stopping.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
