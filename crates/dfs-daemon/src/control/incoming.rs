//! Accepts connections to the control plane, retries `accept` after transient
//! errors, and limits clients until their first authenticated call: their
//! number, the time for a TLS handshake, and the time until that call.
//!
//! One connection too many without an authenticated call closes the oldest of
//! them, so a program that only opens connections cannot keep others out.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::stream::{FuturesUnordered, Stream, StreamExt, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::limits::{MAX_CONNECTIONS, MAX_UNAUTHENTICATED};
use crate::metrics::{CloseReason, Metrics};
use crate::timing::{ACCEPT_RETRY_PAUSE, AUTH_TIMEOUT, HANDSHAKE_TIMEOUT};

/// Connections to a loopback port.
pub(super) fn tcp(
    listener: TcpListener,
    admission: Admission,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> + Send {
    incoming(listener, admission, async |stream| Ok(stream))
}

/// Connections to a Unix socket. Only the daemon's user can open it, so they
/// count as authenticated.
pub(super) fn unix(
    listener: UnixListener,
    admission: Admission,
) -> impl Stream<Item = io::Result<Connection<UnixStream>>> + Send {
    incoming(listener, admission, async |stream| Ok(stream))
}

/// Connections to a port that other machines can reach, after their TLS
/// handshake. One whose handshake fails is closed.
pub(super) fn tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    admission: Admission,
) -> impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>> + Send {
    incoming(listener, admission, move |stream| acceptor.accept(stream))
}

/// A socket that accepts connections.
trait Listener: Send + Sync {
    type Stream: Send;

    /// Whether the system lets the daemon's user alone connect.
    const IS_PRIVATE: bool;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    const IS_PRIVATE: bool = false;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // If it fails, the connection is gone, and reading reports that.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    const IS_PRIVATE: bool = true;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

/// The connections of a listener, each after `handshake`. The stream ends when
/// the listener itself is broken.
fn incoming<L, S, F>(
    listener: L,
    admission: Admission,
    handshake: impl Fn(L::Stream) -> F + Send,
) -> impl Stream<Item = io::Result<Connection<S>>> + Send
where
    L: Listener,
    S: Send,
    F: Future<Output = io::Result<S>> + Send,
{
    let opening = FuturesUnordered::new();
    unfold((listener, admission, handshake, opening), |mut state| async move {
        let (listener, admission, handshake, opening) = &mut state;
        loop {
            tokio::select! {
                accepted = accept_with_retry(listener) => {
                    let stream = accepted?;
                    let caller = admission.admit(L::IS_PRIVATE);
                    opening.push(admission.clone().open(caller, handshake(stream)));
                }
                Some(opened) = opening.next() => if let Some(connection) = opened {
                    return Some((Ok(connection), state));
                },
            }
        }
    })
}

/// Accepts a connection. Errors of one connection and of a process that has no
/// file descriptor left pass; `None` means that the listener is broken.
async fn accept_with_retry<L: Listener>(listener: &L) -> Option<L::Stream> {
    loop {
        match listener.accept().await {
            Ok(stream) => return Some(stream),
            Err(error) if is_broken(&error) => {
                tracing::error!(%error, "the control plane can accept no more connections");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for control");
                sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
}

/// Whether an error of `accept` concerns the listening socket itself.
fn is_broken(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let broken = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|error| broken.contains(&error))
}

/// Counts connections and closes those that are too many. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    unauthenticated: Arc<Mutex<Unauthenticated>>,
    metrics: Arc<Metrics>,
}

/// Connections without an authenticated call, in the order of their arrival.
#[derive(Default)]
struct Unauthenticated {
    next: u64,
    open: BTreeMap<u64, CancellationToken>,
}

impl Admission {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { places, unauthenticated: Arc::default(), metrics }
    }

    /// Counts a new connection. One that is not trusted closes the oldest
    /// unauthenticated one if there are too many of them, or no place is free.
    fn admit(&self, is_trusted: bool) -> Caller {
        let closing = CancellationToken::new();
        let mut unauthenticated = lock(&self.unauthenticated);
        let id = unauthenticated.next;
        unauthenticated.next += 1;
        let is_full = self.places.available_permits() == 0;
        let is_crowded = is_full || unauthenticated.open.len() >= MAX_UNAUTHENTICATED;
        if is_crowded && let Some((_, oldest)) = unauthenticated.open.pop_first() {
            oldest.cancel();
        }
        if !is_trusted {
            unauthenticated.open.insert(id, closing.clone());
        }
        drop(unauthenticated);
        Caller {
            state: Arc::new(CallerState {
                id,
                is_authenticated: AtomicBool::new(is_trusted),
                closing,
                unauthenticated: Arc::clone(&self.unauthenticated),
            }),
        }
    }

    /// Waits for a place and the handshake. `None` if the connection is closed
    /// before it is open.
    async fn open<S>(
        self,
        caller: Caller,
        handshake: impl Future<Output = io::Result<S>>,
    ) -> Option<Connection<S>> {
        let closing = caller.state.closing.clone();
        let opened = async {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = timeout(HANDSHAKE_TIMEOUT, handshake)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match stream {
                Ok(stream) => Some((stream, place)),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake for control failed");
                    self.metrics.control_handshakes_failed.inc();
                    None
                }
            }
        };
        tokio::select! {
            opened = opened => {
                let (stream, place) = opened?;
                Some(Connection::new(stream, place, caller, self.metrics))
            }
            () = closing.cancelled() => {
                self.metrics.closed(CloseReason::Displaced);
                None
            }
        }
    }
}

/// A panic leaves the map whole, because each change is one call.
fn lock(unauthenticated: &Mutex<Unauthenticated>) -> MutexGuard<'_, Unauthenticated> {
    unauthenticated.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client of a connection, as every request of the connection carries it.
#[derive(Clone)]
pub(super) struct Caller {
    state: Arc<CallerState>,
}

struct CallerState {
    id: u64,
    is_authenticated: AtomicBool,
    /// Cancelled to close the connection.
    closing: CancellationToken,
    unauthenticated: Arc<Mutex<Unauthenticated>>,
}

impl Caller {
    /// A call of this client was authenticated: its connection stays.
    pub(super) fn authenticate(&self) {
        if !self.state.is_authenticated.swap(true, Ordering::Relaxed) {
            self.state.forget();
        }
    }

    fn is_authenticated(&self) -> bool {
        self.state.is_authenticated.load(Ordering::Relaxed)
    }
}

impl CallerState {
    fn forget(&self) {
        lock(&self.unauthenticated).open.remove(&self.id);
    }
}

impl Drop for CallerState {
    fn drop(&mut self) {
        self.forget();
    }
}

/// An open connection, which holds its place.
pub(super) struct Connection<S> {
    stream: S,
    _place: OwnedSemaphorePermit,
    caller: Caller,
    /// The connection is closed then, unless its client is authenticated.
    deadline: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set once the connection is to be closed: every further call fails with it.
    closed: Option<io::ErrorKind>,
    metrics: Arc<Metrics>,
}

impl<S> Connection<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, caller: Caller, metrics: Arc<Metrics>) -> Self {
        let closing = Box::pin(caller.state.closing.clone().cancelled_owned());
        let deadline = Box::pin(sleep(AUTH_TIMEOUT));
        metrics.control_connections.inc();
        Self { stream, _place: place, caller, deadline, closing, closed: None, metrics }
    }

    /// Fails if the connection has to be closed. Reads and writes ask: a client that
    /// reads nothing keeps HTTP/2 at its writes.
    fn check_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.closed.is_none() && !self.caller.is_authenticated() {
            self.closed = self.poll_closed(cx);
        }
        self.closed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Whether the connection has to be closed now, and as which error.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Option<io::ErrorKind> {
        if self.closing.as_mut().poll(cx).is_ready() {
            self.metrics.closed(CloseReason::Displaced);
            return Some(io::ErrorKind::ConnectionAborted);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.metrics.closed(CloseReason::NoToken);
            return Some(io::ErrorKind::TimedOut);
        }
        None
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.metrics.control_connections.dec();
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    use dfs_control::tls::Certificate;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    fn admission() -> Admission {
        Admission::new(Arc::default())
    }

    async fn listener() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        (listener, addr)
    }

    /// A connection of a client that sends nothing.
    async fn connection(
        admission: &Admission,
    ) -> (Connection<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (other_end, stream) = tokio::io::duplex(64);
        let caller = admission.admit(false);
        let opened = admission.clone().open(caller, async { Ok(stream) }).await;
        (opened.expect("it is open"), other_end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_token_is_closed_after_a_while() {
        for is_authenticated in [false, true] {
            let (mut connection, _other_end) = connection(&admission()).await;
            if is_authenticated {
                connection.connect_info().authenticate();
            }
            let start = Instant::now();
            let read = timeout(2 * AUTH_TIMEOUT, connection.read_u8()).await;
            match read {
                Ok(read) => assert_eq!(read.expect_err("no byte").kind(), io::ErrorKind::TimedOut),
                Err(_) => assert!(is_authenticated),
            }
            assert_eq!(start.elapsed() >= 2 * AUTH_TIMEOUT, is_authenticated);
        }
    }

    /// A client floods the server with what it must answer, and reads no answer.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_reads_nothing_is_closed_too() {
        let admission = admission();
        let places = admission.places.available_permits();
        let (mut connection, _other_end) = connection(&admission).await;
        let start = Instant::now();
        let error = connection.write_all(&[0; 1000]).await.expect_err("nothing is read");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), AUTH_TIMEOUT);
        assert_eq!(connection.shutdown().await.expect_err("closed").kind(), error.kind());
        drop(connection);
        assert_eq!(admission.places.available_permits(), places);
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_too_many_closes_the_oldest_without_a_token() {
        let admission = admission();
        let (mut authenticated, _client) = connection(&admission).await;
        authenticated.connect_info().authenticate();
        let mut idle = Vec::new();
        for _ in 0..=MAX_UNAUTHENTICATED {
            idle.push(connection(&admission).await);
        }
        let (oldest, _) = &mut idle[0];
        let error = oldest.read_u8().await.expect_err("it is closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        for (connection, _) in &mut idle[1..] {
            assert!(futures::poll!(Box::pin(connection.read_u8())).is_pending());
        }
        assert!(futures::poll!(Box::pin(authenticated.read_u8())).is_pending());

        // The share shrinks with its connections.
        idle.truncate(1);
        assert!(lock(&admission.unauthenticated).open.is_empty());
    }

    #[tokio::test]
    async fn a_connection_waits_for_a_place_and_takes_it() {
        let (listener, addr) = listener().await;
        let mut admission = admission();
        admission.places = Arc::new(Semaphore::new(1));
        let mut incoming = std::pin::pin!(tcp(listener, admission));
        let _one = TcpStream::connect(addr).await.expect("it listens");
        let first = incoming.next().await.expect("no end").expect("a connection");
        first.connect_info().authenticate();
        let _two = TcpStream::connect(addr).await.expect("the backlog takes it");
        let waiting = futures::future::poll_immediate(incoming.next()).await;
        assert!(waiting.is_none(), "there is no place");
        drop(first);
        incoming.next().await.expect("no end").expect("the second one");
    }

    #[tokio::test]
    async fn a_client_without_a_tls_handshake_does_not_delay_others() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificate =
            Certificate::load_or_create(&directory.path().join("pem")).expect("a new one");
        let (listener, addr) = listener().await;
        let mut incoming = std::pin::pin!(tls(listener, certificate.acceptor(), admission()));
        let mut idle = Vec::new();
        for _ in 0..5 {
            idle.push(TcpStream::connect(addr).await.expect("it listens"));
        }
        let url = format!("https://{addr}").parse::<dfs_control::Endpoint>().expect("an address");
        let client = tokio::spawn(async move {
            let certificate = Some(certificate.fingerprint());
            // The call fails for lack of a token, after the handshake.
            let credentials = dfs_control::Credentials { token_file: None, certificate };
            dfs_control::connect(&url, credentials).await.map(drop)
        });
        let connection = incoming.next().await.expect("no end").expect("the client");
        drop((connection, idle));
        client.abort();
    }

    #[tokio::test]
    async fn a_broken_listener_ends_the_stream() {
        // A datagram socket accepts no connections, and never will.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        // With a datagram it counts as ready, so that `accept` is tried.
        let addr = socket.local_addr().expect("its address");
        socket.send_to(b"ready", addr).expect("send");
        socket.set_nonblocking(true).expect("for tokio");
        let broken = std::net::TcpListener::from(OwnedFd::from(socket));
        let broken = TcpListener::from_std(broken).expect("a file descriptor");
        let mut incoming = std::pin::pin!(tcp(broken, admission()));
        assert!(incoming.next().await.is_none());
    }
}
