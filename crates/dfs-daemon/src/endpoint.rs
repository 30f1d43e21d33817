//! The HTTP endpoint that exports metrics and health.
//!
//! `/metrics` is OpenMetrics text, `/healthz` says whether the parts of the
//! node are alive, `/readyz` whether the daemon takes calls. Owns its listener
//! and its connections; what is exported belongs to the crates that count.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use dfs_metrics::{Registry, encode};
use dfs_node::{NodeClient, WorkerState};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::DaemonError;
use crate::limits::MAX_METRICS_CONNECTIONS;
use crate::metrics::Metrics;
use crate::timing::{
    ACCEPT_RETRY_PAUSE, METRICS_ANSWER_TIMEOUT, METRICS_CONNECTION_AGE, METRICS_FRESH,
    METRICS_HEADER_TIMEOUT,
};

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
    /// Gauges that are measured cost a look at every file of the store.
    measuring: Throttle,
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
    ) {
        let stopping = AtomicBool::new(false);
        let exported = Arc::new(Exported {
            registry,
            metrics,
            client,
            stopping,
            measuring: Throttle::default(),
        });
        let router = Router::new()
            .route("/metrics", get(scrape))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(Arc::clone(&exported));
        let stopped = async {
            stop.cancelled().await;
            exported.stopping.store(true, Ordering::Relaxed);
        };
        let connections = Connections::new(router);
        tokio::join!(stopped, connections.accept(self.listener, stop.clone()));
    }
}

/// The open connections.
struct Connections {
    router: Router,
    places: Arc<Semaphore>,
    /// Ended with the value, if it is dropped before `stop`.
    tasks: JoinSet<()>,
}

impl Connections {
    fn new(router: Router) -> Self {
        let places = Arc::new(Semaphore::new(MAX_METRICS_CONNECTIONS));
        Self { router, places, tasks: JoinSet::new() }
    }

    /// Accepts connections until `stop`, and waits for the requests under way.
    async fn accept(mut self, listener: TcpListener, stop: CancellationToken) {
        while !stop.is_cancelled() {
            while self.tasks.try_join_next().is_some() {}
            let next = async {
                let place = Arc::clone(&self.places).acquire_owned().await;
                let place = place.expect("the semaphore is never closed");
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serve = serve(TokioIo::new(stream), self.router.clone(), stop.clone());
                    self.tasks.spawn(async move {
                        serve.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves one connection, for a while. A client that sends no whole request in time, or
/// does not read the answers, is disconnected.
async fn serve<I>(stream: I, router: Router, stop: CancellationToken)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(METRICS_HEADER_TIMEOUT)
        .serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        _ = timeout(METRICS_CONNECTION_AGE, stop.cancelled()) => {
            connection.as_mut().graceful_shutdown();
            match timeout(METRICS_ANSWER_TIMEOUT, connection).await {
                Ok(served) => served,
                Err(_) => return tracing::debug!("a client for metrics did not read its answer"),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics has failed");
    }
}

/// Lets something happen at most once an interval.
#[derive(Debug, Default)]
struct Throttle {
    last: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Whether it may happen now.
    fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= METRICS_FRESH);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

async fn scrape(State(exported): State<Arc<Exported>>) -> impl IntoResponse {
    exported.metrics.scrapes.inc();
    // Gauges that are measured and not counted.
    if exported.measuring.is_due()
        && let Err(error) = exported.client.status().await
    {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn router() -> Router {
        Router::new().route("/", get(async || "here"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_request_is_disconnected() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\n").await.expect("room");
        let before = Instant::now();
        serve(TokioIo::new(server), router(), CancellationToken::new()).await;
        assert_eq!(before.elapsed().as_secs(), METRICS_HEADER_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_no_answer_is_disconnected() {
        for is_stopping in [false, true] {
            // The answers to its requests do not fit.
            let (mut client, server) = tokio::io::duplex(64);
            let stop = CancellationToken::new();
            let serving = tokio::spawn(serve(TokioIo::new(server), router(), stop.clone()));
            let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            client.write_all(ask).await.expect("room");
            client.read_u8().await.expect("the first byte of an answer");
            let asking = tokio::spawn(async move { client.write_all(&ask.repeat(100)).await });
            if is_stopping {
                stop.cancel();
            }
            let before = Instant::now();
            serving.await.expect("no panic");
            let age = if is_stopping { Duration::ZERO } else { METRICS_CONNECTION_AGE };
            assert_eq!(before.elapsed(), age + METRICS_ANSWER_TIMEOUT);
            assert!(asking.await.expect("no panic").is_err(), "not everything was read");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_and_the_stop_ends_idle_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let mut connections = Connections::new(router());
        connections.places = Arc::new(Semaphore::new(1));
        let stop = CancellationToken::new();
        let (places, stopping) = (Arc::clone(&connections.places), stop.clone());
        let serving = tokio::spawn(async move { connections.accept(listener, stopping).await });
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let idle = tokio::net::TcpStream::connect(addr).await.expect("the backlog");
        while places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut second = tokio::net::TcpStream::connect(addr).await.expect("the backlog");
        second.write_all(ask).await.expect("written");
        drop(idle);
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.ends_with("here"), "{answer}");

        let _idle = tokio::net::TcpStream::connect(addr).await.expect("the backlog");
        stop.cancel();
        serving.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn measuring_is_shared_by_the_requests_of_a_second() {
        let throttle = Throttle::default();
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
        tokio::time::advance(METRICS_FRESH).await;
        assert!(throttle.is_due());
    }
}
