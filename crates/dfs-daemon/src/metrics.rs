//! What the daemon counts, and the HTTP endpoint that exports all metrics.
//!
//! `/metrics` is OpenMetrics text, `/healthz` says whether the parts of the
//! node are alive, `/readyz` whether the daemon takes calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use dfs_metrics::{Counter, EncodeLabelSet, Family, Gauge, Registry, encode, metrics};
use dfs_node::{NodeClient, WorkerState};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::DaemonError;
use crate::log::Log;

metrics! {
    /// What the daemon counts.
    pub(crate) struct Metrics("daemon") {
        /// Control calls admitted, with a valid token or on a Unix socket.
        pub(crate) control_calls: Counter,
        /// Control calls refused for their token.
        pub(crate) control_refused: Counter,
        /// Control connections open now.
        pub(crate) control_connections: Gauge,
        /// Control connections closed before an authenticated call, by reason.
        pub(crate) control_closed: Family<CloseReasonLabel, Counter>,
        /// TLS handshakes of control connections that failed.
        pub(crate) control_handshakes_failed: Counter,
        /// Log lines that could not be written.
        pub(crate) log_lines_dropped: Counter,
        /// Requests for metrics.
        pub(crate) scrapes: Counter,
        /// Time of the start since the Unix epoch.
        pub(crate) start_time: Gauge [Seconds],
    }
}

/// Why a control connection was closed before an authenticated call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CloseReason {
    /// A newer connection took its place.
    Displaced,
    /// The time for an authenticated call was over.
    NoToken,
}

/// The reason that a metric is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CloseReasonLabel {
    /// The reason in one word.
    pub(crate) reason: &'static str,
}

impl Metrics {
    /// Metrics of a daemon that starts now and logs there.
    pub(crate) fn of(log: &Log) -> Self {
        let metrics = Self { log_lines_dropped: log.lines_dropped(), ..Self::default() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.start_time.set(now.as_secs());
        // Every reason is exported from the start.
        for reason in [CloseReason::Displaced, CloseReason::NoToken] {
            drop(metrics.control_closed.get_or_create(&reason.label()));
        }
        metrics
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.control_closed.get_or_create(&reason.label()).inc();
    }
}

impl CloseReason {
    fn label(self) -> CloseReasonLabel {
        let reason = match self {
            Self::Displaced => "displaced",
            Self::NoToken => "no_token",
        };
        CloseReasonLabel { reason }
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
    metrics: Arc<Metrics>,
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
        metrics: Arc<Metrics>,
        client: NodeClient,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let stopping = AtomicBool::new(false);
        let exported = Arc::new(Exported { registry, metrics, client, stopping });
        let router = Router::new()
            .route("/metrics", get(scrape))
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

async fn scrape(State(exported): State<Arc<Exported>>) -> impl IntoResponse {
    exported.metrics.scrapes.inc();
    // Gauges that are measured and not counted.
    let measured = exported.client.status().await;
    if let Err(error) = measured {
        tracing::debug!(error = error.report(), "gauges are not fresh");
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], encode(&exported.registry))
}

async fn healthz(State(exported): State<Arc<Exported>>) -> (StatusCode, String) {
    for worker in exported.client.workers() {
        let wrong = match worker.state {
            WorkerState::Ended => "has ended",
            WorkerState::Restarting if worker.is_essential => "has failed and is started again",
            WorkerState::Restarting | WorkerState::Waiting | WorkerState::Working => continue,
        };
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{} {wrong}\n", worker.name));
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
